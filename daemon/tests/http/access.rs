//! Who gets in, and what is answered to those who do not.

use std::time::Duration;

use sandbox_daemon::auth::token::Tokens;
use sandbox_daemon::auth::{code_hash, new_code};
use sandbox_daemon::config::Cidr;
use sandbox_daemon::redacted::Redacted;
use sandbox_daemon::state::sign_ins::{FamilyId, Purpose, add_code};
use sandbox_daemon::state::users::{self, Role};
use sandbox_daemon::{changes, clock};

use crate::world::{PASSWORD, World};

#[test]
fn the_right_password_gives_a_token_that_is_believed() {
    let world = World::start();
    world.add_user("demo", Role::User);
    let answer = world.try_login("demo", PASSWORD);
    let token = answer.json();
    assert_eq!(token["token_type"], "Bearer");
    assert_eq!(token["expires_in"], 900);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let token = token["access_token"].as_str().unwrap();
    let list = world.request("GET", "/api/sessions", Some(token), None);
    assert_eq!(
        (list.status, list.body.as_str()),
        (200, r#"{"sessions":[]}"#)
    );
}

#[test]
fn a_wrong_password_and_an_unknown_user_are_answered_alike() {
    let world = World::start();
    world.add_user("demo", Role::User);
    let wrong = world.try_login("demo", "not the password");
    wrong.is_problem(401, "invalid_credentials");
    for (name, password) in [
        ("nobody", PASSWORD),
        ("", ""),
        ("../etc", "x"),
        ("demo", ""),
        ("demo", &"x".repeat(5_000)),
    ] {
        let answer = world.try_login(name, password);
        assert_eq!((answer.status, &answer.body), (401, &wrong.body), "{name}");
    }
}

#[test]
fn a_disabled_account_is_told_so_only_with_its_password() {
    let world = World::start();
    world.add_user("demo", Role::User);
    let token = world.login("demo");
    let mut database = world.database();
    let user = users::by_name(&database, "demo").unwrap().unwrap();
    users::disable(&mut database, user.index, clock::unix_seconds()).unwrap();
    world
        .try_login("demo", "wrong")
        .is_problem(401, "invalid_credentials");
    world
        .try_login("demo", PASSWORD)
        .is_problem(403, "user_disabled");
    let list = world.request("GET", "/api/sessions", Some(&token), None);
    list.is_problem(401, "token_invalid");
}

#[test]
fn the_sixth_sign_in_of_an_address_waits() {
    let world = World::with(|config| config.rate_limit_login = 5);
    for number in 0..5 {
        let answer = world.try_login(&format!("user{number}"), "wrong");
        answer.is_problem(401, "invalid_credentials");
    }
    let answer = world.try_login("another", "wrong");
    answer.is_problem(429, "rate_limited");
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=12).contains(&wait), "{wait}");
}

/// Many addresses against one account, as a botnet does it.
#[test]
fn an_account_is_protected_from_many_addresses() {
    let world = World::with(|config| {
        config.rate_limit_login = 3;
        config.trusted_proxies = vec![Cidr::parse("127.0.0.0/8").unwrap()];
    });
    world.add_user("demo", Role::User);
    let attempt = |from: u8| {
        let body = r#"{"username":"demo","password":"wrong"}"#;
        let request = format!(
            "POST /api/auth/login HTTP/1.1\r\nHost: localhost:{0}\r\n\
             Origin: http://localhost:{0}\r\nX-Forwarded-For: 192.0.2.{from}\r\n\
             Content-Type: application/json\r\nContent-Length: {1}\r\nConnection: close\r\n\r\n{body}",
            world.port,
            body.len(),
        );
        world.raw(request.as_bytes()).status
    };
    let statuses: Vec<u16> = (1..=5).map(attempt).collect();
    assert_eq!(statuses, [401, 401, 401, 429, 429]);
}

#[test]
fn a_success_does_not_count_against_the_account() {
    let world = World::with(|config| {
        config.rate_limit_login = 3;
        config.trusted_proxies = vec![Cidr::parse("127.0.0.0/8").unwrap()];
    });
    world.add_user("demo", Role::User);
    // The address is used up after three; it is the account that must not be.
    for _ in 0..3 {
        world.login("demo");
    }
    let body = format!(r#"{{"username":"demo","password":"{PASSWORD}"}}"#);
    let request = format!(
        "POST /api/auth/login HTTP/1.1\r\nHost: localhost:{0}\r\nOrigin: http://localhost:{0}\r\n\
         X-Forwarded-For: 192.0.2.9\r\nContent-Type: application/json\r\n\
         Content-Length: {1}\r\nConnection: close\r\n\r\n{body}",
        world.port,
        body.len(),
    );
    assert_eq!(world.raw(request.as_bytes()).status, 200);
}

#[test]
fn a_single_use_link_works_once() {
    let world = World::start();
    world.add_user("demo", Role::User);
    let mut database = world.database();
    let user = users::by_name(&database, "demo").unwrap().unwrap();
    let now = clock::unix_seconds();
    let (fresh, stale) = (new_code(), new_code());
    add_code(
        &mut database,
        &code_hash(&fresh),
        Purpose::SignIn,
        user.index,
        now,
        now + 600,
    )
    .unwrap();
    add_code(
        &mut database,
        &code_hash(&stale),
        Purpose::SignIn,
        user.index,
        now - 700,
        now - 100,
    )
    .unwrap();
    let redeem = |code: &str| {
        let body = format!(r#"{{"code":"{code}"}}"#);
        world.request("POST", "/api/auth/once", None, Some(&body))
    };
    let token = redeem(&fresh).json()["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        world
            .request("GET", "/api/sessions", Some(&token), None)
            .status,
        200
    );
    for code in [&fresh, &stale, "", "nonsense", &"x".repeat(1_000)] {
        redeem(code).is_problem(401, "invalid_code");
    }
}

#[test]
fn signing_out_makes_the_token_worthless() {
    let world = World::start();
    world.add_user("demo", Role::User);
    let (first, second) = (world.login("demo"), world.login("demo"));
    let out = world.request("POST", "/api/auth/logout", Some(&first), Some("{}"));
    assert_eq!(out.status, 204, "{}", out.body);
    let list = |token: &str| {
        world
            .request("GET", "/api/sessions", Some(token), None)
            .status
    };
    assert_eq!((list(&first), list(&second)), (401, 200));
}

#[test]
fn expired_forged_and_missing_tokens_are_refused() {
    const SECRET: [u8; 32] = [7; 32];
    let world = World::with(|config| config.jwt_secret = Some(Redacted::new(SECRET.to_vec())));
    world.add_user("demo", Role::User);
    let real = world.login("demo");
    let tokens = Tokens::with_secret(&SECRET, Duration::from_secs(60));
    let now = clock::unix_seconds();
    let nobodys = tokens.issue(1, FamilyId([1; 16]), i64::MAX, now);
    let expired = tokens.issue(1, FamilyId([1; 16]), i64::MAX, now - 3_600);
    let other_key = Tokens::with_secret(&[8; 32], Duration::from_secs(60));
    let forged = other_key.issue(1, FamilyId([1; 16]), i64::MAX, now);
    for token in [
        &nobodys,
        &expired,
        &forged,
        "",
        "a.b.c",
        "eyJhbGciOiJub25lIn0.e30.",
    ] {
        let answer = world.request("GET", "/api/sessions", Some(token), None);
        answer.is_problem(401, "token_invalid");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    let none = world.request("GET", "/api/sessions", None, None);
    none.is_problem(401, "token_invalid");
    assert_eq!(
        world
            .request("GET", "/api/sessions", Some(&real), None)
            .status,
        200
    );
}

#[test]
fn another_name_than_ours_is_misdirected() {
    let world = World::with(|config| {
        config.host_aliases = vec![("desk.example".into(), None)];
    });
    let ask = |head: &str| {
        let request = format!("GET /health HTTP/1.1\r\n{head}Connection: close\r\n\r\n");
        world.raw(request.as_bytes())
    };
    let port = world.port;
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        assert_eq!(
            ask(&format!("Host: {host}:{port}\r\n")).status,
            200,
            "{host}"
        );
    }
    assert_eq!(ask("Host: desk.example\r\n").status, 200);
    for head in [
        "Host: evil.example\r\n",
        "Host: localhost:1\r\n",
        "Host: \r\n",
        "",
        &format!("Host: localhost:{port}\r\nHost: evil.example\r\n"),
    ] {
        ask(head).is_problem(421, "misdirected");
    }
    let absolute = format!(
        "GET http://evil.example/health HTTP/1.1\r\nHost: localhost:{port}\r\n\
         Connection: close\r\n\r\n"
    );
    world
        .raw(absolute.as_bytes())
        .is_problem(421, "misdirected");
}

#[test]
fn pages_of_others_may_not_sign_anybody_in_or_out() {
    let world = World::start();
    world.add_user("demo", Role::User);
    let token = world.login("demo");
    let port = world.port;
    for path in ["/api/auth/login", "/api/auth/once", "/api/auth/logout"] {
        for origin in [
            "Origin: http://evil.example\r\n".to_owned(),
            "Origin: http://localhost:3000\r\n".to_owned(),
            "Origin: null\r\n".to_owned(),
            String::new(),
            format!("Origin: http://localhost:{port}\r\nOrigin: http://evil.example\r\n"),
        ] {
            let request = format!(
                "POST {path} HTTP/1.1\r\nHost: localhost:{port}\r\n{origin}\
                 Authorization: Bearer {token}\r\nContent-Type: application/json\r\n\
                 Content-Length: 2\r\nConnection: close\r\n\r\n{{}}"
            );
            world
                .raw(request.as_bytes())
                .is_problem(403, "foreign_origin");
        }
    }
    assert_eq!(
        world
            .request("GET", "/api/sessions", Some(&token), None)
            .status,
        200
    );
}

#[test]
fn bodies_that_are_not_what_they_should_be_are_refused_by_kind() {
    let world = World::start();
    let port = world.port;
    let post = |kind: &str, body: &str| {
        let request = format!(
            "POST /api/auth/login HTTP/1.1\r\nHost: localhost:{port}\r\n\
             Origin: http://localhost:{port}\r\n{kind}Content-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        );
        world.raw(request.as_bytes())
    };
    let json = "Content-Type: application/json\r\n";
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    post(form, "username=a").is_problem(415, "media_type");
    post("", "{}").is_problem(415, "media_type");
    post(json, "{").is_problem(400, "malformed");
    post(json, "{}").is_problem(422, "invalid_field");
    let unknown = r#"{"username":"a","password":"b","admin":true}"#;
    post(json, unknown).is_problem(422, "invalid_field");
    let secret = post(json, r#"{"username":5,"password":"hunter2-secret"}"#);
    secret.is_problem(422, "invalid_field");
    assert!(!secret.body.contains("hunter2"), "{}", secret.body);
    let secret = post(json, r#"{"username":"a","password":["hunter2-secret"]}"#);
    assert!(!secret.body.contains("hunter2"), "{}", secret.body);
    let large = format!(r#"{{"username":"{}"}}"#, "x".repeat(1 << 20));
    post(json, &large).is_problem(413, "too_large");
}

#[test]
fn requests_over_the_limit_wait_and_the_page_does_not_count() {
    let world = World::with(|config| config.rate_limit_api = 3);
    let list = || world.request("GET", "/api/sessions", None, None);
    for _ in 0..3 {
        list().is_problem(401, "token_invalid");
    }
    let answer = list();
    answer.is_problem(429, "rate_limited");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(world.request("GET", "/health", None, None).status, 200);
    assert_eq!(world.request("GET", "/", None, None).status, 200);
}

#[test]
fn an_address_holds_only_so_many_connections() {
    let world = World::with(|config| config.connections_per_address = 2);
    let address = (std::net::Ipv4Addr::LOCALHOST, world.port);
    let held: Vec<_> = (0..2)
        .map(|_| std::net::TcpStream::connect(address).unwrap())
        .collect();
    let refused = world.raw(b"");
    assert_eq!(refused.status, 429, "{}", refused.head);
    drop(held);
    // The places come back once the server has seen the ends.
    while world.request("GET", "/health", None, None).status != 200 {}
}

#[test]
fn an_account_that_another_program_disables_loses_its_desktop() {
    let world = World::start();
    world.add_user("demo", Role::User);
    world.add_user("boss", Role::Admin);
    let (token, admin) = (world.login("demo"), world.login("boss"));
    let id = world.session(&token);
    let mut database = world.database();
    let user = users::by_name(&database, "demo").unwrap().unwrap();
    users::disable(&mut database, user.index, clock::unix_seconds()).unwrap();
    changes::touch(&world.dir).unwrap();
    let session = world.until_state(&admin, &id, "ended");
    assert_eq!(session["reason"], "user_disabled");
}
