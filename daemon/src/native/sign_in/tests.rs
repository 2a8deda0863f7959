//! Every way to sign in, right and wrong.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use sandbox_protocol::local::Version;
use sandbox_protocol::{Bitrate, UserIndex};

use super::*;
use crate::auth::password::{self, Checker};
use crate::auth::token::Tokens;
use crate::auth::{new_code, random};
use crate::changes::Changes;
use crate::config::{Config, Host};
use crate::http::Parts;
use crate::identity::{self, NativeAddress};
use crate::media::{Media, MediaConfig};
use crate::sessions::{Commands, Sessions};
use crate::state::Store;
use crate::state::sign_ins::{Purpose, add_code, revoke};
use crate::state::users::{self, Role};
use crate::tasks::Tasks;

const PASSWORD: &str = "correct horse battery";
const EXPORTER: Exporter = [5; 32];
const OTHER_EXPORTER: Exporter = [6; 32];
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What signs in, with two accounts: ada, and bob who is disabled.
struct Place {
    app: Arc<App>,
    ada: UserIndex,
    /// Nobody listens: there are no sessions here.
    _commands: Commands,
}

fn app(name: &str) -> (Arc<App>, Commands) {
    let name = format!("sandbox-native-{name}-{}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&dir).unwrap();
    let host = Host {
        is_root: false,
        user_state_dir: Some(dir.clone()),
        name: "node1".into(),
        memory_mb: 1_024,
        is_terminal: false,
    };
    let limits = [("RATE_LIMIT_LOGIN", "6"), ("RATE_LIMIT_API", "10")];
    let limits = limits.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = Config::load(&[], limits, &host).unwrap().daemon;
    let node = identity::read_or_make(&dir).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    let (sessions, commands) = Sessions::new();
    let media = MediaConfig {
        advertise: Vec::new(),
        tcp_candidates: Vec::new(),
        bitrate_max: Bitrate::kbps(1_000),
        fps_max: 60,
        native: node.setup,
        workers: Version::OWN,
    };
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let app = App::new(Parts {
        tokens: Tokens::with_secret(&[1; 32], config.access_expiry),
        checker: Checker::start().unwrap(),
        store: Store::start(std::path::Path::new(":memory:")).unwrap(),
        media: Media::start(vec![socket], media).unwrap(),
        native: NativeAddress::new(&config, 3478, node.fingerprint),
        sessions,
        changes: Changes::default(),
        tasks: Tasks::default(),
        tls: None,
        notices: Vec::new(),
        config,
    });
    (app, commands)
}

impl Place {
    fn new(name: &str) -> Self {
        let (app, commands) = app(name);
        let hash = password::hash(PASSWORD).unwrap();
        let ada = smol::block_on(app.store.run(move |connection| {
            let ada = users::create(connection, "ada", Role::User, &hash, 1)?.unwrap();
            let bob = users::create(connection, "bob", Role::User, &hash, 1)?.unwrap();
            users::disable(connection, bob, 2)?;
            Ok(ada)
        }));
        Self {
            app,
            ada: ada.unwrap(),
            _commands: commands,
        }
    }

    fn sign_in(&self, method: AuthMethod) -> Result<Caller, Refusal> {
        smol::block_on(sign_in(&self.app, ADDRESS, method, &EXPORTER))
    }

    #[track_caller]
    fn welcomes(&self, method: AuthMethod) -> Caller {
        let caller = self.sign_in(method).unwrap();
        assert_eq!(caller.user.name, "ada");
        caller
    }

    #[track_caller]
    fn is_wrong(&self, method: AuthMethod) {
        let outcome = self.sign_in(method);
        assert!(matches!(outcome, Err(Refusal::Wrong)), "{outcome:?}");
    }

    fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut rusqlite::Connection, UserIndex) -> T + Send + 'static,
    ) -> T {
        let ada = self.ada;
        let store = &self.app.store;
        smol::block_on(store.run(move |connection| Ok(change(connection, ada)))).unwrap()
    }

    fn code(&self, purpose: Purpose) -> String {
        let code = new_code();
        let (hash, now) = (code_hash(&code), clock::unix_seconds());
        self.change(move |it, ada| add_code(it, &hash, purpose, ada, now, now + 600).unwrap());
        code
    }

    fn end(&self, caller: &Caller) {
        let (family, now) = (caller.family.id, clock::unix_seconds());
        self.change(move |it, _| revoke(it, family, now).unwrap());
    }
}

fn by_password(user: &str, password: &str) -> AuthMethod {
    AuthMethod::Password {
        user: user.into(),
        password: Secret(password.into()),
    }
}

fn proof(key: &[u8; 32], exporter: &Exporter) -> Secret<[u8; 32]> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    Secret(hmac::sign(&key, exporter).as_ref().try_into().unwrap())
}

/// A device's key pair.
struct Device(Ed25519KeyPair);

impl Device {
    fn new() -> Self {
        Self(Ed25519KeyPair::generate().unwrap())
    }

    fn key(&self) -> DeviceKey {
        DeviceKey(self.0.public_key().as_ref().try_into().unwrap())
    }

    fn signature(&self, exporter: &Exporter) -> Secret<[u8; 64]> {
        Secret(self.0.sign(exporter).as_ref().try_into().unwrap())
    }

    fn signs_in(&self) -> AuthMethod {
        AuthMethod::DeviceKey {
            key: self.key().0,
            signature: self.signature(&EXPORTER),
        }
    }

    fn enrols(&self, code: &str) -> AuthMethod {
        AuthMethod::Enrol {
            code: Secret(code.into()),
            key: self.key().0,
            signature: self.signature(&EXPORTER),
            name: "laptop".into(),
        }
    }
}

#[test]
fn a_password_signs_in_within_the_limits_of_the_api() {
    let place = Place::new("password");
    place.is_wrong(by_password("ada", "wrong horse"));
    place.is_wrong(by_password("nobody", PASSWORD));
    let disabled = place.sign_in(by_password("bob", PASSWORD));
    assert!(matches!(disabled, Err(Refusal::Disabled)), "{disabled:?}");
    place.is_wrong(by_password("bob", "wrong horse"));
    place.welcomes(by_password("ada", PASSWORD));
    place.is_wrong(by_password("ada", &"x".repeat(2_000)));
    let seventh = place.sign_in(by_password("ada", PASSWORD));
    assert!(matches!(seventh, Err(Refusal::TooMany(_))), "{seventh:?}");
}

#[test]
fn a_token_signs_in_with_the_proof_of_its_own_connection() {
    let place = Place::new("token");
    let page = place.welcomes(by_password("ada", PASSWORD));
    let (family, now) = (&page.family, clock::unix_seconds());
    let tokens = &place.app.tokens;
    let token = tokens.issue(page.user.index.0, family.id, family.expires_at, now);
    let with = |proof| AuthMethod::Token {
        token: Secret(token.clone()),
        proof,
    };
    let key = code_hash(&token);
    let caller = place.welcomes(with(proof(&key, &EXPORTER)));
    assert_eq!(caller.family.id, family.id, "it is the page's sign-in");
    place.is_wrong(with(proof(&key, &OTHER_EXPORTER)));
    place.is_wrong(with(proof(&[0; 32], &EXPORTER)));
    place.end(&page);
    place.is_wrong(with(proof(&key, &EXPORTER)));
}

#[test]
fn a_ticket_goes_on_with_its_sign_in() {
    let place = Place::new("ticket");
    let first = place.welcomes(by_password("ada", PASSWORD));
    let id = TicketId(random());
    let (family, now) = (first.family.clone(), clock::unix_seconds());
    place.change(move |it, _| tickets::add(it, id, &family, now).unwrap());
    let key = place.app.tokens.tickets().key(id);
    let with = |id: TicketId, proof| AuthMethod::Ticket { id: id.0, proof };
    place.is_wrong(with(id, proof(&key, &OTHER_EXPORTER)));
    place.is_wrong(with(id, proof(&[0; 32], &EXPORTER)));
    let unknown = TicketId(random());
    let unknown_key = place.app.tokens.tickets().key(unknown);
    place.is_wrong(with(unknown, proof(&unknown_key, &EXPORTER)));
    let caller = place.welcomes(with(id, proof(&key, &EXPORTER)));
    assert_eq!(caller.family, first.family);
    place.end(&first);
    place.is_wrong(with(id, proof(&key, &EXPORTER)));
}

#[test]
fn a_code_enrols_a_device_that_signs_in_from_then_on() {
    let place = Place::new("device");
    let device = Device::new();
    place.is_wrong(device.signs_in());
    let (link, code) = (place.code(Purpose::SignIn), place.code(Purpose::Enrol));
    place.is_wrong(device.enrols(&link));
    let stranger = AuthMethod::Enrol {
        code: Secret(code.clone()),
        key: device.key().0,
        signature: Device::new().signature(&EXPORTER),
        name: "laptop".into(),
    };
    place.is_wrong(stranger);
    let enrolled = place.welcomes(device.enrols(&code));
    place.is_wrong(Device::new().enrols(&code));
    let signed_in = place.welcomes(device.signs_in());
    assert_ne!(signed_in.family.id, enrolled.family.id);
    let relayed = AuthMethod::DeviceKey {
        key: device.key().0,
        signature: device.signature(&OTHER_EXPORTER),
    };
    place.is_wrong(relayed);

    place.change(|it, ada| users::disable(it, ada, 3).unwrap());
    let disabled = place.sign_in(device.signs_in());
    assert!(matches!(disabled, Err(Refusal::Disabled)), "{disabled:?}");
    place.change(|it, ada| users::enable(it, ada).unwrap());
    let caller = place.welcomes(device.signs_in());
    let (key, id) = (device.key(), caller.family.id);
    place.change(move |it, _| devices::revoke(it, key).unwrap());
    place.is_wrong(device.signs_in());
    let still = smol::block_on(caller::still_holds(&place.app, id)).unwrap();
    assert_eq!(still, None, "what it signed in ends with it");
}

#[test]
fn proofs_are_limited_too() {
    let place = Place::new("limit");
    let device = Device::new();
    for _ in 0..10 {
        place.is_wrong(device.signs_in());
    }
    let eleventh = place.sign_in(device.signs_in());
    assert!(matches!(eleventh, Err(Refusal::TooMany(_))), "{eleventh:?}");
}
