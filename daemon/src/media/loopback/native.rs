//! Native viewers over real sockets, with the daemon's part of a sign-in in the test's hands.

mod client;
mod hostile;
mod older;
mod pictures;
mod together;
mod tunnels;

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use async_channel::Receiver;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use sandbox_protocol::limits::DESKTOP_SIZE_MAX;
use sandbox_protocol::local::worker::{FromWorker, Pictures, ToWorker};
use sandbox_protocol::wire::codes::CloseCode;
use sandbox_protocol::wire::control::{
    AuthFailure, AuthMethod, Chroma, Codec, Display, FEATURES, FromServer, FromViewer, Profile,
    Secret, StreamConfig, VideoCapability,
};
use sandbox_protocol::wire::input::{Event as InputEvent, Packet};
use sandbox_protocol::{Size, ViewerId};
use sandbox_quic::{Identity, ServerSetup};

use self::client::Client;
use super::worker::{Worker, as_told, within_limit};
use super::{SIZE, control, session, start, start_on};
use crate::media::{
    Ask, AttachError, AttachNative, LeftReason, Media, Peer, StreamCounters, ViewerEvent, Welcome,
};

/// Tiles that the worker is to keep for a viewer that offers as much as we take.
const SLOTS: u16 = 4_096;

/// A node of the test's own.
pub(super) fn setup() -> ServerSetup {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap();
    ServerSetup {
        identity: Identity {
            certificate: certificate.der().clone(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        },
        secret: [7; 32],
    }
}

/// A native viewer at a session, its worker, and what the daemon is told about them.
struct Attached {
    client: Client,
    worker: Worker,
    peer: Peer,
    events: Receiver<ViewerEvent>,
    viewer: ViewerId,
}

fn hello(cache_mib: u16) -> FromViewer {
    FromViewer::Hello {
        minor_min: 0,
        minor_max: 0,
        features: FEATURES.0,
        video: vec![VideoCapability {
            codec: Codec::H264,
            profile: Profile::High,
            chroma: Chroma::Yuv420,
            size: DESKTOP_SIZE_MAX,
            decode_us: 1_000,
        }],
        cache_mib,
        agent: "loopback".to_owned(),
    }
}

fn password(password: &str) -> AuthMethod {
    AuthMethod::Password {
        user: "ada".to_owned(),
        password: Secret(password.to_owned()),
    }
}

fn attach_wish() -> FromViewer {
    FromViewer::Attach {
        session: Some(session(1)),
        profile: None,
        displays: displays(SIZE),
    }
}

fn displays(size: Size) -> Vec<Display> {
    vec![Display {
        x: 0,
        y: 0,
        size,
        scale: 100,
    }]
}

fn welcome() -> Welcome {
    Welcome {
        user: "ada".to_owned(),
        ticket: ([1; 16], Secret([2; 32])),
        ticket_lifetime: Duration::from_secs(60),
    }
}

/// A viewer that has said hello, and what the daemon is told of it.
fn greet(media: &Media, cache_mib: u16, stream: u64) -> (Client, Peer) {
    let mut client = Client::new(media, stream);
    client.say(&hello(cache_mib));
    client.run_until(|it| matches!(it.told[..], [FromServer::Hello { .. }]));
    let peer = within_limit(media.newcomers().recv()).unwrap();
    (client, peer)
}

/// The next wish of a viewer, which goes on meanwhile.
fn ask(client: &mut Client, peer: &Peer) -> Ask {
    client.run_until(|_| !peer.asks.is_empty());
    peer.asks.try_recv().unwrap()
}

/// A viewer that has signed in.
fn sign_in(media: &Media, cache_mib: u16, stream: u64) -> (Client, Peer) {
    let (mut client, peer) = greet(media, cache_mib, stream);
    client.say(&FromViewer::Auth(password("right")));
    let asked = ask(&mut client, &peer);
    let method = password("right");
    let exporter = client.exporter();
    assert_eq!(asked, Ask::SignIn { method, exporter });
    smol::block_on(media.welcome(peer.id, welcome()));
    client.run_until(|it| matches!(it.told.last(), Some(FromServer::Welcome { .. })));
    (client, peer)
}

/// Attaches a viewer that asks for it, to a fresh worker or the one that others have.
fn attach(
    media: &Media,
    (mut client, peer): (Client, Peer),
    worker: Worker,
    pair: Option<[OwnedFd; 2]>,
) -> Attached {
    client.say(&attach_wish());
    let asked = ask(&mut client, &peer);
    assert!(matches!(asked, Ask::Attach { session: Some(it), size: SIZE, .. } if it == session(1)));
    let (tell, events) = async_channel::bounded(4);
    let attach = AttachNative {
        peer: peer.id,
        session: session(1),
        size: SIZE,
        worker: pair,
        events: tell,
        lease: 5,
        notices: vec!["weak".to_owned()],
    };
    let viewer = smol::block_on(media.attach_native(attach)).unwrap();
    client.run_until(|it| {
        let attached = it.told.iter().rev();
        attached
            .take(2)
            .any(|it| matches!(it, FromServer::Attached { lease: 5, .. }))
    });
    client.say(&FromViewer::Start);
    client.run_until(|_| !events.is_empty());
    assert_eq!(events.try_recv(), Ok(ViewerEvent::Connected));
    Attached {
        client,
        worker,
        peer,
        events,
        viewer,
    }
}

/// A viewer in control of a session of its own, whose worker has been asked for a picture.
fn connect(media: &Media) -> Attached {
    let (worker, control, stream) = Worker::new();
    let signed_in = sign_in(media, 64, 5);
    let attached = attach(media, signed_in, worker, Some([control, stream]));
    control::give(media, session(1), attached.viewer);
    let hello = attached.worker.receive();
    let ToWorker::Hello {
        size: SIZE,
        pictures,
        ..
    } = hello
    else {
        panic!("{hello:?}");
    };
    let nothing = Pictures {
        access_units: false,
        updates: None,
    };
    assert_eq!(pictures, nothing, "media may not flow yet");
    attached.worker.hear(&ToWorker::Pictures(Pictures {
        updates: Some(SLOTS),
        ..nothing
    }));
    attached.worker.hear(&ToWorker::Whole);
    attached
}

/// Another viewer at the desktop of `first`; it watches.
fn join(media: &Media, worker: &Worker, cache_mib: u16) -> Attached {
    attach(media, sign_in(media, cache_mib, 6), worker.clone(), None)
}

impl Attached {
    /// Sends an update and waits until the viewer has it.
    fn show(&mut self, bytes: &[u8], is_whole: bool) {
        let shown = self.client.shown.len();
        self.worker.send_update(is_whole, bytes);
        self.client.run_until(|it| it.shown.len() > shown);
        assert_eq!(self.client.shown[shown].bytes, bytes);
    }

    /// What the viewer has been told when all that was said before has been handled.
    fn synchronize(&mut self, media: &Media) {
        let text = format!("{} told", self.client.told.len());
        let notice = FromServer::Notice {
            code: "test".to_owned(),
            text,
        };
        self.client.say(&FromViewer::TakeControl);
        assert_eq!(ask(&mut self.client, &self.peer), Ask::TakeControl);
        smol::block_on(media.tell(self.peer.id, notice.clone()));
        self.client.run_until(|it| it.told.last() == Some(&notice));
    }

    /// What the stream counted; the worker's answer is the test's.
    fn counters(&mut self, media: &Media) -> StreamCounters {
        let asked = media.counters(session(1));
        let worker = self.worker.clone();
        let answered = smol::unblock(move || worker.answer_next());
        let (counters, ()) = within_limit(smol::future::zip(asked, answered));
        counters.expect("the worker answered")
    }

    fn left(&mut self) -> LeftReason {
        loop {
            let events = &self.events;
            self.client.run_until(|_| !events.is_empty());
            match self.events.try_recv().unwrap() {
                ViewerEvent::Connected | ViewerEvent::WorkerLost => (),
                ViewerEvent::Left(reason) => return reason,
            }
        }
    }
}

fn key(stream: u64, first_seq: u32) -> Packet {
    Packet {
        stream,
        first_seq,
        events: vec![press()],
        pointer: None,
        held: None,
    }
}

const fn press() -> InputEvent {
    InputEvent::Key {
        code: 30,
        keysym: 0x61,
        is_down: true,
    }
}

#[test]
fn a_native_viewer_signs_in_and_sees_every_update_in_order() {
    let media = start();
    let mut attached = connect(&media);
    let Some(FromServer::Attached {
        config, notices, ..
    }) = attached.client.told.get(2)
    else {
        panic!("{:?}", attached.client.told);
    };
    let expected = StreamConfig {
        epoch: 1,
        size: SIZE,
        codec: Codec::H264,
        profile: Profile::Baseline,
        chroma: Chroma::Yuv420,
        cache_mib: 64,
    };
    assert_eq!(
        (config, &notices[..]),
        (&expected, &["weak".to_owned()][..])
    );
    // Before a whole one nothing can be shown.
    attached.worker.send_update(false, b"lost");
    attached.show(&[1; 5_000], true);
    for number in 2..20 {
        attached.show(&[number; 300], false);
    }
    let numbers: Vec<_> = attached
        .client
        .shown
        .iter()
        .map(|it| (it.epoch, it.number))
        .collect();
    assert_eq!(numbers, (1..20).map(|it| (1, it)).collect::<Vec<_>>());
}

#[test]
fn a_viewer_that_is_refused_may_try_again_on_the_same_connection() {
    let media = start();
    let (mut client, peer) = greet(&media, 64, 5);
    for _ in 0..2 {
        client.say(&FromViewer::Auth(password("wrong")));
        let Ask::SignIn { .. } = ask(&mut client, &peer) else {
            panic!("no sign-in");
        };
        let pause = Duration::from_millis(20);
        smol::block_on(media.refuse(peer.id, AuthFailure::Refused, pause));
        let told = FromServer::AuthFailed {
            why: AuthFailure::Refused,
            retry_after_ms: 20,
        };
        client.run_until(|it| it.told.last() == Some(&told));
        client.told.clear();
    }
    client.say(&FromViewer::Auth(password("right")));
    ask(&mut client, &peer);
    smol::block_on(media.welcome(peer.id, welcome()));
    client.run_until(|it| matches!(it.told[..], [FromServer::Welcome { .. }]));
}

#[test]
fn input_reaches_the_worker_and_is_acknowledged_once_it_is_applied() {
    let media = start();
    let mut attached = connect(&media);
    let now = crate::clock::now();
    attached.client.input.handle_event(now, press());
    let worker = attached.worker.clone();
    attached.client.run_until(|_| worker.has_input());
    worker.hear(&as_told(key(5, 1)));
    worker.send(&FromWorker::Applied { stream: 5, seq: 1 });
    attached.client.run_until(|it| it.input.waiting() == 0);
    assert_eq!(attached.client.acks.first(), Some(&(5, 1)));
    // What a lost acknowledgement makes it send again is the worker's to know.
    attached.client.send(&key(5, 1).encode());
    attached.client.run_until(|_| worker.has_input());
    worker.hear(&as_told(key(5, 1)));
}

#[test]
fn who_leaves_a_session_keeps_the_connection_and_may_come_again() {
    let media = start();
    let mut attached = connect(&media);
    attached.show(&[1; 3_000], true);
    attached.client.say(&FromViewer::Detach);
    assert_eq!(ask(&mut attached.client, &attached.peer), Ask::Detach);
    assert!(within_limit(attached.events.recv()).is_err());
    let told = FromServer::Detached {
        reason: "requested".to_owned(),
    };
    smol::block_on(media.tell(attached.peer.id, told.clone()));
    attached
        .client
        .run_until(|it| it.told.last() == Some(&told));

    let (worker, control, stream) = Worker::new();
    let Attached { client, peer, .. } = attached;
    let mut attached = attach(&media, (client, peer), worker, Some([control, stream]));
    attached.show(&[2; 3_000], true);
    let shown = attached.client.shown.last().unwrap();
    assert_eq!((shown.epoch, shown.number), (2, 1), "epochs go on");
}

#[test]
fn who_is_sent_away_learns_why_and_nobody_else_does() {
    let media = start();
    let mut first = connect(&media);
    let mut second = join(&media, &first.worker, 64);
    let words = "the account is disabled".to_owned();
    smol::block_on(media.dismiss(second.peer.id, CloseCode::Forbidden, words));
    second.client.run_until(|it| it.closed.is_some());
    assert_eq!(second.client.code(), Some(CloseCode::Forbidden));
    assert!(within_limit(second.events.recv()).is_err());
    assert!(within_limit(second.peer.asks.recv()).is_err());
    first.show(b"on", true);
}

#[test]
fn a_viewer_that_closes_is_told_of() {
    let media = start();
    let mut attached = connect(&media);
    attached.client.close();
    assert_eq!(attached.left(), LeftReason::Closed);
    assert!(within_limit(attached.peer.asks.recv()).is_err());

    let mut attached = connect(&media);
    attached.client.say(&FromViewer::Goodbye { code: 0x100 });
    attached.client.run_until(|it| it.closed.is_some());
    assert_eq!(attached.client.code(), Some(CloseCode::NoError));
    assert_eq!(attached.left(), LeftReason::Closed);
}

#[test]
fn nobody_is_attached_who_has_not_asked() {
    let media = start();
    let (_client, peer) = greet(&media, 64, 5);
    for id in [peer.id, crate::media::PeerId(99)] {
        let (_worker, control, stream) = Worker::new();
        let attach = AttachNative {
            peer: id,
            session: session(1),
            size: SIZE,
            worker: Some([control, stream]),
            events: async_channel::bounded(1).0,
            lease: 1,
            notices: Vec::new(),
        };
        let attached = smol::block_on(media.attach_native(attach));
        assert!(matches!(attached, Err(AttachError::NoPeer(it)) if it == id));
    }
}

#[test]
fn a_viewer_is_answered_from_the_address_that_it_came_to() {
    // One address alone, every address of a family, and every address there is.
    let bind = |address: &str| UdpSocket::bind(address).unwrap();
    let all = bind("[::]:0");
    let sockets = vec![bind("127.0.0.2:0"), bind("0.0.0.0:0"), all];
    let ports: Vec<u16> = sockets
        .iter()
        .map(|it| it.local_addr().unwrap().port())
        .collect();
    let _both = start_on(sockets, Vec::new());
    for (ip, port) in [
        ("127.0.0.2", ports[0]),
        ("127.0.0.3", ports[1]),
        ("::1", ports[2]),
    ] {
        let ip: IpAddr = ip.parse().unwrap();
        let mut client = Client::towards((ip, port).into(), 1);
        client.say(&hello(64));
        client.run_until(|it| matches!(it.told[..], [FromServer::Hello { .. }]));
    }
    // Where no socket is for IPv4 alone, the one for everything speaks it too.
    let all = bind("[::]:0");
    let port = all.local_addr().unwrap().port();
    let _media = start_on(vec![all], Vec::new());
    Client::towards((Ipv4Addr::new(127, 0, 0, 4), port).into(), 1);
}

#[test]
fn a_daemon_that_ends_says_so() {
    let media = start();
    let mut attached = connect(&media);
    drop(media);
    attached.client.run_until(|it| it.closed.is_some());
    assert_eq!(attached.client.code(), Some(CloseCode::Shutdown));
    assert_eq!(attached.left(), LeftReason::Closed);
}
