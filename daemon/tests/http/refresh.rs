//! The cookie that keeps a browser signed in, and what ends that.

use std::time::Duration;

use sandbox_daemon::config::Origin;
use sandbox_daemon::state::users::{self, Role};
use sandbox_daemon::{changes, clock};

use crate::socket::Socket;
use crate::world::{Answer, PASSWORD, World};

/// The cookie that an answer sets, as the browser sends it back.
#[track_caller]
fn cookie(answer: &Answer) -> String {
    let field = answer.header("set-cookie").expect("a cookie");
    field.split(';').next().unwrap().to_owned()
}

#[track_caller]
fn takes_the_cookie_away(answer: &Answer) {
    let field = answer.header("set-cookie").expect("a cookie");
    assert!(field.contains("=; Path=/api/auth; Max-Age=0"), "{field}");
}

fn post(world: &World, path: &str, cookie: &str, more: &str) -> Answer {
    let origin = world.origin();
    post_from(world, &origin, path, cookie, more)
}

fn post_from(world: &World, origin: &str, path: &str, cookie: &str, more: &str) -> Answer {
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost:{}\r\nOrigin: {origin}\r\nCookie: a=b; {cookie}\r\n\
         {more}Content-Length: 0\r\nConnection: close\r\n\r\n",
        world.port,
    );
    world.raw(request.as_bytes())
}

fn refresh(world: &World, cookie: &str) -> Answer {
    post(world, "/api/auth/refresh", cookie, "")
}

fn world() -> (World, String) {
    let world = World::start();
    world.add_user("demo", Role::User);
    let cookie = cookie(&world.try_login("demo", PASSWORD));
    (world, cookie)
}

/// Sets back the time of the last exchange.
fn age(world: &World, seconds: i64) {
    let sql = "UPDATE token_families SET refreshed_at = refreshed_at - ?1";
    world.database().execute(sql, [seconds]).unwrap();
}

fn list(world: &World, token: &str) -> u16 {
    let answer = world.request("GET", "/api/sessions", Some(token), None);
    answer.status
}

fn token(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

#[test]
fn a_sign_in_sets_a_cookie_that_scripts_and_other_sites_cannot_use() {
    let world = World::start();
    world.add_user("demo", Role::User);
    let answer = world.try_login("demo", PASSWORD);
    let field = answer.header("set-cookie").unwrap();
    assert!(
        field.ends_with("; Path=/api/auth; Max-Age=604800; HttpOnly; SameSite=Strict"),
        "{field}"
    );
    assert!(!answer.body.contains("username"), "{}", answer.body);
    let wrong = world.try_login("demo", "wrong");
    assert_eq!(wrong.header("set-cookie"), None);
}

/// What the cookie says is counted from the same second as what the database says.
#[test]
fn a_sign_in_that_waits_for_the_database_lasts_no_shorter() {
    let world = World::start();
    world.add_user("demo", Role::User);
    let database = world.database();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = std::thread::scope(|scope| {
        let answer = scope.spawn(|| world.try_login("demo", PASSWORD));
        // A password takes less than a second to check; then the sign-in waits to be written.
        let began = clock::unix_seconds();
        while clock::unix_seconds() < began + 2 {
            std::thread::yield_now();
        }
        database.execute_batch("ROLLBACK").unwrap();
        answer.join().unwrap()
    });
    let field = answer.header("set-cookie").unwrap();
    assert!(field.contains("; Max-Age=604800; "), "{field}");
    assert_eq!(answer.json()["expires_in"], 900);
}

#[test]
fn a_page_on_https_gets_a_secure_cookie_that_plain_http_cannot_use() {
    let world = World::with(|config| {
        config.public_url = Origin::parse("https://desk.example").unwrap();
    });
    world.add_user("demo", Role::User);
    let body = format!(r#"{{"username":"demo","password":"{PASSWORD}"}}"#);
    let request = format!(
        "POST /api/auth/login HTTP/1.1\r\nHost: desk.example\r\nOrigin: https://desk.example\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = world.raw(request.as_bytes());
    let field = answer.header("set-cookie").unwrap();
    assert!(field.starts_with("__Secure-"), "{field}");
    assert!(field.ends_with("; Secure"), "{field}");
    let cookie = cookie(&answer);
    let from = |origin| post_from(&world, origin, "/api/auth/refresh", &cookie, "").status;
    assert_eq!(from("https://desk.example"), 200);
    assert_eq!(from(&world.origin()), 401);
}

#[test]
fn the_cookie_is_exchanged_at_each_use_and_brings_an_access_token() {
    let (world, first) = world();
    let answer = refresh(&world, &first);
    let reply = answer.json();
    assert_eq!(reply["username"], "demo");
    assert_eq!(reply["token_type"], "Bearer");
    assert_eq!(reply["expires_in"], 900);
    assert_eq!(list(&world, &token(&answer)), 200);
    let second = cookie(&answer);
    assert_ne!(first, second);
    let third = cookie(&refresh(&world, &second));
    assert_ne!(second, third);
}

#[test]
fn two_tabs_that_refresh_at_once_get_the_same_successor() {
    let (world, first) = world();
    let (one, other) = (refresh(&world, &first), refresh(&world, &first));
    assert_eq!(cookie(&one), cookie(&other));
    assert_eq!(list(&world, &token(&one)), 200);
    assert_eq!(list(&world, &token(&other)), 200);
    assert_eq!(refresh(&world, &cookie(&other)).status, 200);
}

#[test]
fn a_replaced_cookie_that_comes_late_ends_the_sign_in_and_its_sockets() {
    let (world, stolen) = world();
    let answer = refresh(&world, &stolen);
    let (access, newest) = (token(&answer), cookie(&answer));
    let id = world.session(&access);
    let mut page = Socket::of(&world, &id, &access);
    page.expect("ready");
    age(&world, 31);
    let reused = refresh(&world, &stolen);
    reused.is_problem(401, "signed_out");
    takes_the_cookie_away(&reused);
    page.expect_error("token_revoked");
    refresh(&world, &newest).is_problem(401, "signed_out");
    assert_eq!(list(&world, &access), 401);
}

#[test]
fn cookies_that_are_none_of_ours_are_refused_and_end_nothing() {
    let (world, good) = world();
    let (name, value) = good.split_once('=').unwrap();
    for bad in [
        String::new(),
        format!("{name}="),
        format!("{name}=nonsense"),
        format!("{name}={}", "0".repeat(value.len())),
        format!("{name}={}", "x".repeat(4_000)),
        format!("other={value}"),
    ] {
        let answer = refresh(&world, &bad);
        answer.is_problem(401, "signed_out");
        takes_the_cookie_away(&answer);
    }
    assert_eq!(refresh(&world, &good).status, 200);
}

#[test]
fn other_sites_and_forms_cannot_refresh() {
    let (world, good) = world();
    for origin in ["http://localhost:3000", "http://evil.example", "null", ""] {
        for path in ["/api/auth/refresh", "/api/auth/logout"] {
            post_from(&world, origin, path, &good, "").is_problem(403, "foreign_origin");
        }
    }
    let form = "Content-Type: text/plain\r\n";
    post(&world, "/api/auth/refresh", &good, form).is_problem(415, "media_type");
    world
        .request("GET", "/api/auth/refresh", None, None)
        .is_problem(405, "method_not_allowed");
    assert_eq!(refresh(&world, &good).status, 200);
}

#[test]
fn signing_out_by_the_cookie_alone_ends_the_sign_in() {
    let (world, first) = world();
    let answer = refresh(&world, &first);
    let (access, newest) = (token(&answer), cookie(&answer));
    let out = post(&world, "/api/auth/logout", &newest, "");
    assert_eq!(out.status, 204, "{}", out.body);
    takes_the_cookie_away(&out);
    assert_eq!(list(&world, &access), 401);
    refresh(&world, &newest).is_problem(401, "signed_out");
}

#[test]
fn a_sign_in_lasts_as_long_as_it_may_however_often_it_is_refreshed() {
    let world = World::with(|config| config.refresh_expiry = Duration::from_secs(3_600));
    world.add_user("demo", Role::User);
    let first = cookie(&world.try_login("demo", PASSWORD));
    let sql = "UPDATE token_families SET expires_at = expires_at - 3500";
    world.database().execute(sql, []).unwrap();
    let answer = refresh(&world, &first);
    let field = answer.header("set-cookie").unwrap();
    let age = field.split("Max-Age=").nth(1).unwrap();
    let age: i64 = age.split(';').next().unwrap().parse().unwrap();
    assert!((1..=100).contains(&age), "{field}");
    assert!(answer.json()["expires_in"].as_i64().unwrap() <= 100);
    let sql = "UPDATE token_families SET expires_at = 1";
    world.database().execute(sql, []).unwrap();
    refresh(&world, &cookie(&answer)).is_problem(401, "signed_out");
}

#[test]
fn a_disabled_account_and_a_new_password_end_the_cookie() {
    for disables in [true, false] {
        let (world, cookie) = world();
        let mut database = world.database();
        let user = users::by_name(&database, "demo").unwrap().unwrap().index;
        let now = clock::unix_seconds();
        if disables {
            users::disable(&mut database, user, now).unwrap();
        } else {
            users::set_password(&mut database, user, "$argon2id$x", now).unwrap();
        }
        refresh(&world, &cookie).is_problem(401, "signed_out");
    }
}

#[test]
fn a_new_password_dismisses_the_page_within_five_seconds_and_leaves_the_desktop() {
    let (world, cookie) = world();
    let access = token(&refresh(&world, &cookie));
    world.add_user("boss", Role::Admin);
    let admin = world.login("boss");
    let id = world.session(&access);
    let mut page = Socket::of(&world, &id, &access);
    page.expect("ready");
    let mut database = world.database();
    let user = users::by_name(&database, "demo").unwrap().unwrap().index;
    let began = clock::now();
    users::set_password(&mut database, user, "$argon2id$x", clock::unix_seconds()).unwrap();
    changes::touch(&world.dir).unwrap();
    page.expect_error("token_revoked");
    assert!(clock::now() - began < Duration::from_secs(5));
    let path = format!("/api/sessions/{id}");
    let session = world.request("GET", &path, Some(&admin), None).json();
    assert_eq!(session["state"], "ready", "{session}");
}
