//! Native viewers over QUIC: their sign-in, their desktop, and the end of either.

use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use sandbox_daemon::auth::token::Tokens;
use sandbox_daemon::auth::{code_hash, new_code};
use sandbox_daemon::redacted::Redacted;
use sandbox_daemon::state::devices::{self, DeviceKey};
use sandbox_daemon::state::sign_ins::{FamilyId, Purpose, add_code};
use sandbox_daemon::state::tickets::TicketId;
use sandbox_daemon::state::users::{self, Role};
use sandbox_daemon::{changes, clock};
use sandbox_protocol::SessionId;
use sandbox_protocol::local::warden::{EndReason, Event, MemoryShortage, Refusal, Request};
use sandbox_protocol::wire::codes::CloseCode;
use sandbox_protocol::wire::control::{AuthFailure, AuthMethod, FromServer, FromViewer, Secret};
use sandbox_quic::Trust;
use serde_json::json;

use crate::signalling::{attached, expect_control};
use crate::tunnel;
use crate::viewer::{Heard, Ticket, Viewer, by_password};
use crate::world::{PASSWORD, World};

fn world() -> World {
    let world = World::start();
    world.add_user("ada", Role::User);
    world
}

/// A viewer whose media may flow.
fn watching(world: &World) -> (Viewer, SessionId) {
    let (mut viewer, _) = Viewer::signed_in(world, "ada");
    viewer.attach(None);
    let (session, _) = viewer.expect_attached();
    viewer.say(&FromViewer::Start);
    (viewer, session)
}

fn by_ticket(viewer: &Viewer, (id, key): &Ticket) -> AuthMethod {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key.0);
    let proof = hmac::sign(&key, &viewer.exporter());
    AuthMethod::Ticket {
        id: *id,
        proof: Secret(proof.as_ref().try_into().unwrap()),
    }
}

#[test]
fn a_password_opens_the_users_own_desktop_which_is_started_for_it() {
    let world = world();
    let mut viewer = Viewer::of(&world);
    viewer.auth(by_password("ada", "wrong horse"));
    viewer.expect_refusal(AuthFailure::Refused);
    viewer.auth(by_password("ada", PASSWORD));
    viewer.expect_welcome("ada");
    viewer.attach(None);
    let (session, notices) = viewer.expect_attached();
    for notice in ["not encrypted", "no Landlock", "no CPU limit"] {
        assert!(notices.iter().any(|it| it.contains(notice)), "{notices:?}");
    }
    viewer.say(&FromViewer::Start);
    viewer.expect_control(true);

    let token = world.login("ada");
    let shown = world.until_state(&token, &session.to_string(), "attached");
    let url = shown["quic_url"].as_str().unwrap();
    let (place, pin) = url.split_once("#pin=").unwrap();
    assert_eq!(place, format!("ada@{}", world.media));
    let pinned = Trust::Pinned(pin.parse().unwrap());
    Viewer::trusting(&world, pinned).leave();
    viewer.leave();
    world.until_state(&token, &session.to_string(), "detached");
}

#[test]
fn a_second_viewer_shares_the_desktop_and_takes_control() {
    let world = world();
    let (mut first, session) = watching(&world);
    first.expect_control(true);
    let (mut second, _) = Viewer::signed_in(&world, "ada");
    second.attach(Some(session));
    assert_eq!(second.expect_attached().0, session);
    second.say(&FromViewer::Start);
    second.expect_control(true);
    first.expect_control(false);
    first.say(&FromViewer::TakeControl);
    first.expect_control(true);
    second.expect_control(false);
    let requests = world.policy.lock().unwrap().requests.clone();
    let attaches = requests
        .iter()
        .filter(|it| **it == Request::Attach { session });
    assert_eq!(attaches.count(), 1, "they share one worker's sockets");
    first.leave();
    second.expect_control(true);
}

#[test]
fn a_page_and_a_native_viewer_share_a_desktop() {
    let world = world();
    let (mut viewer, session) = watching(&world);
    viewer.expect_control(true);
    let token = world.login("ada");
    let mut page = attached(&world, &session.to_string(), &token, false);
    page.say(&json!({ "type": "take_control" }));
    expect_control(&mut page, true);
    viewer.expect_control(false);
    viewer.say(&FromViewer::TakeControl);
    viewer.expect_control(true);
    expect_control(&mut page, false);
    viewer.leave();
    expect_control(&mut page, true);
}

#[test]
fn a_viewer_leaves_its_desktop_and_comes_back_on_the_same_connection() {
    let world = world();
    let (mut viewer, session) = watching(&world);
    viewer.expect_control(true);
    viewer.say(&FromViewer::Detach);
    let reason = "left".into();
    assert_eq!(viewer.hear(), Heard::Said(FromServer::Detached { reason }));
    let token = world.login("ada");
    world.until_state(&token, &session.to_string(), "detached");
    viewer.attach(None);
    assert_eq!(viewer.expect_attached().0, session);
    viewer.say(&FromViewer::Start);
    viewer.expect_control(true);
}

#[test]
fn what_happens_to_the_desktop_is_told() {
    let world = world();
    let (mut viewer, session) = watching(&world);
    viewer.expect_control(true);
    let shortage = MemoryShortage {
        limit_mb: 2_048,
        killed: 1,
        programs: vec!["gimp".into()],
    };
    world.tell(&Event::OutOfMemory { session, shortage });
    let notice = FromServer::Notice {
        code: "out_of_memory".into(),
        text: "The desktop ran out of memory (2048 MB): gimp was ended.".into(),
    };
    assert_eq!(viewer.hear(), Heard::Said(notice));
    let reason = EndReason::ProgramsEnded;
    world.tell(&Event::Ended { session, reason });
    let words = viewer.expect_end(CloseCode::SessionEnded);
    assert!(words.contains("its window manager closed"), "{words}");
}

#[test]
fn a_viewer_goes_on_with_the_next_worker() {
    let world = world();
    let (mut viewer, session) = watching(&world);
    viewer.expect_control(true);
    let is_attach = |it: &&Request| **it == Request::Attach { session };
    drop(world.policy.lock().unwrap().workers.remove(&session));
    let limit = clock::now() + crate::world::LIMIT;
    while world
        .policy
        .lock()
        .unwrap()
        .requests
        .iter()
        .filter(is_attach)
        .count()
        < 2
    {
        assert!(clock::now() < limit, "nobody asks for the next worker");
        std::thread::yield_now();
    }
    world.tell(&Event::Ended {
        session,
        reason: EndReason::WorkerEnded,
    });
    let words = viewer.expect_end(CloseCode::SessionEnded);
    assert!(words.contains("sends the picture"), "{words}");
}

#[test]
fn what_a_viewer_may_not_have_is_refused_with_words() {
    #[track_caller]
    fn check(world: &World, name: &str, session: Option<SessionId>, code: CloseCode, words: &str) {
        let (mut viewer, _) = Viewer::signed_in(world, name);
        viewer.attach(session);
        let said = viewer.expect_end(code);
        assert!(said.contains(words), "{said}");
    }
    let world = world();
    world.add_user("eve", Role::Viewer);
    world.add_user("root", Role::Admin);
    let id: SessionId = world.session(&world.login("ada")).parse().unwrap();
    let nobodys = SessionId::from_bytes([0; 16]);
    check(
        &world,
        "eve",
        None,
        CloseCode::Forbidden,
        "not start a desktop",
    );
    check(
        &world,
        "eve",
        Some(id),
        CloseCode::SessionNotFound,
        "not this account",
    );
    check(
        &world,
        "root",
        Some(id),
        CloseCode::SessionNotFound,
        "not this account",
    );
    check(
        &world,
        "ada",
        Some(nobodys),
        CloseCode::SessionNotFound,
        "not this account",
    );
    let refusal = Refusal::Missing {
        layer: "user namespaces".into(),
        detail: "switched off".into(),
    };
    world.policy.lock().unwrap().refusal = Some(refusal);
    check(
        &world,
        "root",
        None,
        CloseCode::Forbidden,
        "lacks user namespaces",
    );
    world.tell(&Event::Ended {
        session: id,
        reason: EndReason::DisplayEnded,
    });
    world.until_state(&world.login("ada"), &id.to_string(), "ended");
    check(
        &world,
        "ada",
        Some(id),
        CloseCode::SessionEnded,
        "its display",
    );
}

#[test]
fn whoever_has_not_signed_in_gets_no_desktop() {
    let world = world();
    let mut viewer = Viewer::of(&world);
    viewer.attach(None);
    viewer.expect_end(CloseCode::AuthRequired);
    let requests = world.policy.lock().unwrap().requests.clone();
    let is_start = |it: &Request| matches!(it, Request::Start(_));
    assert!(!requests.iter().any(is_start), "{requests:?}");
}

#[test]
fn nobody_attaches_or_takes_control_without_end() {
    let world = world();
    let (mut first, _) = watching(&world);
    first.expect_control(true);
    let (mut second, _) = watching(&world);
    second.expect_control(true);
    first.expect_control(false);
    for _ in 0..60 {
        first.say(&FromViewer::TakeControl);
        first.expect_control(true);
        second.expect_control(false);
        second.say(&FromViewer::TakeControl);
        second.expect_control(true);
        first.expect_control(false);
    }
    first.say(&FromViewer::TakeControl);
    let words = first.expect_end(CloseCode::Limit);
    assert!(words.contains("wishes for control"), "{words}");

    let (mut viewer, _) = Viewer::signed_in(&world, "ada");
    for _ in 0..30 {
        viewer.attach(None);
        viewer.expect_attached();
        viewer.say(&FromViewer::Detach);
        let reason = "left".into();
        assert_eq!(viewer.hear(), Heard::Said(FromServer::Detached { reason }));
    }
    viewer.attach(None);
    let words = viewer.expect_end(CloseCode::Limit);
    assert!(words.contains("wishes for a desktop"), "{words}");
}

#[test]
fn a_viewer_is_let_go_when_its_sign_in_ends() {
    let world = world();
    let (mut viewer, ticket) = Viewer::signed_in(&world, "ada");
    let mut database = world.database();
    let ada = users::by_name(&database, "ada").unwrap().unwrap().index;
    users::set_password(&mut database, ada, "h", clock::unix_seconds()).unwrap();
    changes::touch(&world.dir).unwrap();
    let words = viewer.expect_end(CloseCode::AuthExpired);
    assert!(words.contains("sign in again"), "{words}");
    let mut again = Viewer::of(&world);
    again.auth(by_ticket(&again, &ticket));
    again.expect_refusal(AuthFailure::Refused);
}

#[test]
fn a_viewer_is_let_go_when_its_sign_in_runs_out() {
    let world = World::with(|config| config.refresh_expiry = Duration::from_secs(1));
    world.add_user("ada", Role::User);
    let (mut viewer, _) = Viewer::signed_in(&world, "ada");
    viewer.expect_end(CloseCode::AuthExpired);
}

#[test]
fn too_many_attempts_are_told_with_the_pause() {
    let world = World::with(|config| config.rate_limit_login = 2);
    world.add_user("ada", Role::User);
    let mut viewer = Viewer::of(&world);
    for _ in 0..2 {
        viewer.auth(by_password("ada", "wrong horse"));
        viewer.expect_refusal(AuthFailure::Refused);
    }
    viewer.auth(by_password("ada", PASSWORD));
    let pause = viewer.expect_refusal(AuthFailure::TooMany);
    assert!((1..=30_000).contains(&pause), "{pause}");
    let page = world.try_login("ada", PASSWORD);
    page.is_problem(429, "rate_limited");
}

#[test]
fn an_address_has_as_many_connections_as_it_may() {
    let world = World::with(|config| config.connections_per_address = 1);
    let first = Viewer::of(&world);
    let words = Viewer::of(&world).expect_end(CloseCode::Overloaded);
    assert!(words.contains("MAX_CONNECTIONS_PER_ADDRESS"), "{words}");
    drop(first);
}

#[test]
fn a_viewer_inside_a_websocket_is_one_connection() {
    let world = World::with(|config| config.connections_per_address = 1);
    world.add_user("ada", Role::User);
    let mut first = Viewer::at(tunnel::open(&world), Trust::Asked);
    first.auth(by_password("ada", PASSWORD));
    first.expect_welcome("ada");
    Viewer::of(&world).expect_end(CloseCode::Overloaded);
    assert_eq!(world.raw(b"").status, 429);
    first.leave();
    // The place comes back with the end of the WebSocket.
    while world.request("GET", "/health", None, None).status != 200 {}
}

#[test]
fn the_end_of_a_pages_sign_in_ends_the_viewer_that_came_with_its_token() {
    let world = world();
    let token = world.login("ada");
    let mut viewer = Viewer::of(&world);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &code_hash(&token));
    let proof = hmac::sign(&key, &viewer.exporter());
    viewer.auth(AuthMethod::Token {
        token: Secret(token.clone()),
        proof: Secret(proof.as_ref().try_into().unwrap()),
    });
    viewer.expect_welcome("ada");
    let answer = world.request("POST", "/api/auth/logout", Some(&token), None);
    assert_eq!(answer.status, 204, "{}", answer.body);
    viewer.expect_end(CloseCode::AuthExpired);
}

#[test]
fn a_ticket_brings_a_viewer_back() {
    let world = world();
    let (viewer, ticket) = Viewer::signed_in(&world, "ada");
    viewer.leave();
    let mut again = Viewer::of(&world);
    again.auth(by_ticket(&again, &ticket));
    let next = again.expect_welcome("ada");
    assert_ne!(next.0, ticket.0, "each connection has one of its own");
    let mut stranger = Viewer::of(&world);
    // Made over another connection.
    stranger.auth(by_ticket(&again, &next));
    stranger.expect_refusal(AuthFailure::Refused);
}

#[test]
fn who_comes_back_ends_the_connection_before() {
    let world = world();
    let (mut first, ticket) = Viewer::signed_in(&world, "ada");
    first.attach(None);
    let (session, _) = first.expect_attached();
    first.say(&FromViewer::Start);
    first.expect_control(true);
    let mut again = Viewer::of(&world);
    again.auth(by_ticket(&again, &ticket));
    again.expect_welcome("ada");
    first.expect_end(CloseCode::Superseded);
    again.attach(Some(session));
    assert_eq!(again.expect_attached().0, session);
    again.say(&FromViewer::Start);
    again.expect_control(true);
    let mut third = Viewer::of(&world);
    third.auth(by_ticket(&third, &ticket));
    third.expect_welcome("ada");
    third.leave();
    // The used ticket ends nobody else.
    again.say(&FromViewer::Detach);
    let reason = "left".to_owned();
    assert_eq!(again.hear(), Heard::Said(FromServer::Detached { reason }));
}

#[test]
fn a_ticket_outlives_its_daemon_and_ends_a_minute_later() {
    const SECRET: [u8; 32] = [7; 32];
    let id = TicketId([3; 16]);
    let world = World::surviving(
        |config| config.jwt_secret = Some(Redacted::new(SECRET.to_vec())),
        Vec::new(),
        |connection| {
            let now = clock::unix_seconds();
            let ada = users::create(connection, "ada", Role::User, "h", now);
            let family = FamilyId([7; 16]);
            let sql = "INSERT INTO token_families (id, user_idx, created_at, expires_at)
                       VALUES (?1, ?2, ?3, ?4)";
            let values = (family.0, ada.unwrap().unwrap().0, now, now + 3_600);
            connection.execute(sql, values).unwrap();
            let sql = "INSERT INTO tickets (id, family, expires_at) VALUES (?1, ?2, ?3)";
            let values = (id.0, family.0, now + 3_600);
            connection.execute(sql, values).unwrap();
        },
    );
    let expires_at = |world: &World| -> i64 {
        let sql = "SELECT expires_at FROM tickets WHERE id = ?1";
        let found = world.database().query_row(sql, [id.0], |row| row.get(0));
        found.unwrap()
    };
    let mut viewer = Viewer::of(&world);
    assert!(expires_at(&world) <= clock::unix_seconds() + 60);
    let tokens = Tokens::with_secret(&SECRET, Duration::from_secs(900));
    let ticket = (id.0, Secret(tokens.tickets().key(id)));
    viewer.auth(by_ticket(&viewer, &ticket));
    viewer.expect_welcome("ada");
    assert!(expires_at(&world) <= clock::unix_seconds() + 10);
}

#[test]
fn a_device_that_is_revoked_is_let_go() {
    let world = world();
    let mut database = world.database();
    let ada = users::by_name(&database, "ada").unwrap().unwrap().index;
    let code = new_code();
    let (hash, now) = (code_hash(&code), clock::unix_seconds());
    add_code(&mut database, &hash, Purpose::Enrol, ada, now, now + 600).unwrap();
    let pair = Ed25519KeyPair::generate().unwrap();
    let key: [u8; 32] = pair.public_key().as_ref().try_into().unwrap();
    let signed = |viewer: &Viewer| {
        let signature = pair.sign(&viewer.exporter());
        Secret(signature.as_ref().try_into().unwrap())
    };
    let mut first = Viewer::of(&world);
    first.auth(AuthMethod::Enrol {
        code: Secret(code),
        key,
        signature: signed(&first),
        name: "laptop".into(),
    });
    first.expect_welcome("ada");
    let mut second = Viewer::of(&world);
    second.auth(AuthMethod::DeviceKey {
        key,
        signature: signed(&second),
    });
    second.expect_welcome("ada");
    let listed = devices::all(&database, None).unwrap();
    assert_eq!((listed.len(), listed[0].name.as_str()), (1, "laptop"));
    assert!(devices::revoke(&database, DeviceKey(key)).unwrap());
    changes::touch(&world.dir).unwrap();
    first.expect_end(CloseCode::AuthExpired);
    second.expect_end(CloseCode::AuthExpired);
}
