//! TLS of the server's own, and what trusted proxies say.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use sandbox_daemon::clock;
use sandbox_daemon::config::{Certificate, Cidr, Origin};
use sandbox_daemon::state::users::Role;

use crate::world::{Answer, LIMIT, PASSWORD, World, be_https};

/// A certificate of an operator's, as two files in a folder of the test's.
struct Files {
    dir: PathBuf,
}

impl Files {
    fn new(name: &str) -> Self {
        let name = format!("sandbox-tls-{name}-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        Self { dir }
    }

    fn certificate(&self) -> PathBuf {
        self.dir.join("fullchain.pem")
    }

    fn key(&self) -> PathBuf {
        self.dir.join("privkey.pem")
    }

    /// Issues another pair, in place of the one before.
    fn renew(&self) {
        let (certificate, key) = issue();
        replace(&self.key(), &key);
        replace(&self.certificate(), &certificate);
    }

    fn world(&self) -> World {
        World::with(|config| {
            config.tls = Some(Certificate::Files {
                certificate: self.certificate(),
                key: self.key(),
            });
            be_https(config);
        })
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.dir);
    }
}

fn issue() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    (certificate, key.serialize_pem())
}

/// As certificate clients do it: a new file under the old name.
fn replace(path: &Path, text: &str) {
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, text).unwrap();
    std::fs::rename(&fresh, path).unwrap();
}

/// Whether a client that trusts the file of this moment alone gets an answer.
fn is_trusted(world: &World) -> bool {
    world.request("GET", "/health", None, None).status == 200
}

/// Files are looked at once a second at most.
#[track_caller]
fn until_trusted(world: &World) {
    let limit = clock::now() + LIMIT;
    while !is_trusted(world) {
        assert!(clock::now() < limit, "the certificate was not replaced");
        std::thread::yield_now();
    }
}

#[test]
fn a_certificate_of_its_own_serves_page_sign_in_and_secure_cookie() {
    let world = World::self_signed();
    world.add_user("demo", Role::User);
    let page = world.request("GET", "/", None, None);
    assert_eq!(page.status, 200);
    assert_eq!(page.header("strict-transport-security"), Some("max-age=0"));
    let answer = world.try_login("demo", PASSWORD);
    let cookie = answer.header("set-cookie").unwrap();
    assert!(
        cookie.starts_with("__Secure-") && cookie.ends_with("; Secure"),
        "{cookie}"
    );
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    let session = world.start_session(&token).json();
    let url = session["websocket_url"].as_str().unwrap();
    assert!(url.starts_with("wss://localhost:"), "{url}");
}

#[test]
fn plain_http_on_a_port_with_tls_is_shown_the_way() {
    let world = World::self_signed();
    let port = world.port;
    let ask = |line: &str, host: &str| {
        let request = format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        world.raw_plain(request.as_bytes())
    };
    let ours = format!("localhost:{port}");
    let answer = ask("GET /main.js?x=1", &ours);
    assert_eq!(answer.status, 308);
    let location = format!("https://localhost:{port}/main.js?x=1");
    assert_eq!(answer.header("location"), Some(&*location));
    assert_eq!(answer.header("strict-transport-security"), None);
    for (line, host) in [
        ("GET /", "evil.example"),
        ("POST /api/auth/login", &*ours),
        ("GET /", ""),
    ] {
        ask(line, host).is_problem(400, "tls_required");
    }
}

#[test]
fn the_origin_of_a_page_on_plain_http_is_foreign_to_a_server_with_tls() {
    let world = World::self_signed();
    let port = world.port;
    let request = format!(
        "POST /api/auth/refresh HTTP/1.1\r\nHost: localhost:{port}\r\n\
         Origin: http://localhost:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    world
        .raw(request.as_bytes())
        .is_problem(403, "foreign_origin");
}

#[test]
fn bytes_that_are_no_handshake_end_their_own_connection_alone() {
    let world = World::self_signed();
    for bytes in [&[22][..], &[22, 3, 1, 0, 5, 1, 0, 0, 1, 0], &[22; 4_096]] {
        let answer = world.raw_plain(&[bytes, &[0; 20_000]].concat());
        assert_eq!(answer.status, 0, "{}", answer.head);
    }
    assert!(is_trusted(&world));
}

#[test]
fn files_that_change_are_served_without_a_restart() {
    let files = Files::new("renew");
    files.renew();
    let world = files.world();
    assert!(is_trusted(&world));
    files.renew();
    until_trusted(&world);
}

#[test]
fn files_that_break_leave_the_certificate_before_in_use() {
    let files = Files::new("broken");
    files.renew();
    let mut world = files.world();
    assert!(is_trusted(&world));
    let before = files.dir.join("before.pem");
    std::fs::copy(files.certificate(), &before).unwrap();
    world.trusted = Some(before);
    let (_, strange_key) = issue();
    replace(&files.key(), &strange_key);
    let good_until = clock::now() + Duration::from_millis(2_500);
    while clock::now() < good_until {
        assert!(is_trusted(&world), "a key that does not belong");
    }
    std::fs::remove_file(files.key()).unwrap();
    std::fs::write(files.certificate(), "nonsense").unwrap();
    let good_until = clock::now() + Duration::from_millis(1_500);
    while clock::now() < good_until {
        assert!(is_trusted(&world), "a key that is gone");
    }
    files.renew();
    world.trusted = Some(files.certificate());
    until_trusted(&world);
}

fn from_proxy(world: &World, host: &str, fields: &str) -> Answer {
    let request =
        format!("GET /health HTTP/1.1\r\nHost: {host}\r\n{fields}Connection: close\r\n\r\n");
    world.raw(request.as_bytes())
}

#[test]
fn a_trusted_proxy_says_that_the_browser_came_by_https() {
    let behind = |proxies: &[&str]| {
        let proxies: Vec<Cidr> = proxies.iter().filter_map(|it| Cidr::parse(it)).collect();
        World::with(|config| {
            config.trusted_proxies = proxies;
            config.host_aliases = vec![("desk.example".into(), None)];
        })
    };
    let policy = |world: &World, fields| {
        let answer = from_proxy(world, "desk.example", fields);
        assert_eq!(answer.status, 200);
        answer
            .header("strict-transport-security")
            .map(str::to_owned)
    };
    let year = Some("max-age=31536000".to_owned());
    let world = behind(&["127.0.0.1"]);
    assert_eq!(policy(&world, "X-Forwarded-Proto: https\r\n"), year);
    assert_eq!(policy(&world, "X-Forwarded-Proto: http, HTTPS\r\n"), year);
    assert_eq!(policy(&world, "X-Forwarded-Proto: https, http\r\n"), None);
    assert_eq!(policy(&world, ""), None);
    let world = behind(&["192.0.2.0/24"]);
    assert_eq!(policy(&world, "X-Forwarded-Proto: https\r\n"), None);
}

#[test]
fn connections_and_requests_are_counted_by_whom_a_trusted_proxy_speaks_for() {
    let world = World::with(|config| {
        config.trusted_proxies = vec![Cidr::parse("127.0.0.0/8").unwrap()];
        config.rate_limit_api = 2;
        config.connections_per_address = 1;
    });
    let host = format!("localhost:{}", world.port);
    let ask = |from: &str| {
        let request = format!(
            "GET /api/sessions HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: {from}\r\n\
             Connection: close\r\n\r\n"
        );
        world.raw(request.as_bytes()).status
    };
    // The proxy's own sockets are not counted as one address.
    let _idle: Vec<_> = (0..8)
        .map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, world.port)))
        .collect();
    assert_eq!([ask("192.0.2.1"), ask("192.0.2.1")], [401, 401]);
    assert_eq!(ask("192.0.2.1"), 429);
    assert_eq!(ask("192.0.2.2"), 401, "another is untouched");
    // What the browser itself claims stands to the left of what the proxy saw.
    assert_eq!(ask("203.0.113.9, 192.0.2.1"), 429);
}

/// A socket that a proxy holds for somebody is that somebody's connection.
#[test]
fn sockets_behind_a_proxy_count_against_their_own_address() {
    let world = World::with(|config| {
        config.trusted_proxies = vec![Cidr::parse("127.0.0.0/8").unwrap()];
        config.connections_per_address = 1;
    });
    let (port, origin) = (world.port, world.origin());
    let mut held = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    held.set_read_timeout(Some(LIMIT)).unwrap();
    let upgrade = format!(
        "GET /ws?session=x HTTP/1.1\r\nHost: localhost:{port}\r\nOrigin: {origin}\r\n\
         X-Forwarded-For: 192.0.2.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    held.write_all(upgrade.as_bytes()).unwrap();
    let mut head = [0; 12];
    held.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");
    let host = format!("localhost:{port}");
    let ask = |from: &str| from_proxy(&world, &host, &format!("X-Forwarded-For: {from}\r\n"));
    ask("192.0.2.1").is_problem(429, "too_many_connections");
    assert_eq!(ask("192.0.2.2").status, 200);
    drop(held);
    let limit = clock::now() + LIMIT;
    while ask("192.0.2.1").status != 200 {
        assert!(clock::now() < limit, "the place did not come back");
    }
}

#[test]
fn a_stranger_cannot_choose_its_address() {
    let world = World::with(|config| config.rate_limit_api = 2);
    let host = format!("localhost:{}", world.port);
    let ask = |from: u8| {
        let request = format!(
            "GET /api/sessions HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: 192.0.2.{from}\r\n\
             Connection: close\r\n\r\n"
        );
        world.raw(request.as_bytes()).status
    };
    assert_eq!([ask(1), ask(2), ask(3)], [401, 401, 429]);
}

#[test]
fn nodes_have_a_name_of_their_own_beside_the_public_one() {
    let world = World::with(|config| {
        config.node_url = Origin::parse("http://node7.example").unwrap();
    });
    assert_eq!(from_proxy(&world, "node7.example", "").status, 200);
    assert_eq!(from_proxy(&world, "node8.example", "").status, 421);
    world.add_user("demo", Role::User);
    let token = world.login("demo");
    let session = world.start_session(&token).json();
    let url = session["websocket_url"].as_str().unwrap();
    assert!(url.starts_with("ws://node7.example/ws?session="), "{url}");
}
