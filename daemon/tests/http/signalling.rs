//! `/ws`: the token, the offer, and everything that ends either.

use std::time::Duration;

use async_tungstenite::tungstenite::Message;
use sandbox_daemon::clock;
use sandbox_daemon::state::users::Role;
use sandbox_protocol::local::warden::{EndReason, Event, MemoryShortage, Request};
use sandbox_protocol::wire::input::{Event as InputEvent, Packet};
use serde_json::{Value, json};
use str0m::Rtc;
use str0m::media::{Direction, MediaKind};

use crate::socket::Socket;
use crate::world::World;

/// An offer as a browser makes it: H.264 to be received, and a data channel.
fn offer() -> Value {
    let mut rtc = Rtc::builder()
        .clear_codecs()
        .enable_h264(true)
        .build(clock::now());
    let mut api = rtc.sdp_api();
    api.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
    api.add_channel("ctl".into());
    let (offer, _pending) = api.apply().unwrap();
    json!({ "type": "offer", "sdp": offer.to_sdp_string(), "width": 1280, "height": 720 })
}

fn world() -> (World, String, String) {
    let world = World::start();
    world.add_user("ada", Role::User);
    let token = world.login("ada");
    let id = world.session(&token);
    (world, token, id)
}

#[test]
fn a_page_with_a_token_and_an_offer_is_answered_and_attached() {
    let (world, token, id) = world();
    let mut page = Socket::of(&world, &id, &token);
    let ready = page.expect("ready");
    assert_eq!(ready["session"], id);
    assert!(
        ready["media"][0]
            .as_str()
            .unwrap()
            .starts_with("127.0.0.1:"),
        "{ready}"
    );
    let notices = ready["notices"].to_string();
    for notice in ["not encrypted", "no Landlock", "no CPU limit"] {
        assert!(notices.contains(notice), "{notices}");
    }
    page.say(&offer());
    let answer = page.expect("answer");
    assert!(
        answer["sdp"].as_str().unwrap().contains("a=ice-lite"),
        "{answer}"
    );
    expect_control(&mut page, true);
    world.until_state(&token, &id, "attached");
    page.say(&json!({ "type": "bye" }));
    assert_eq!(page.hear(), None);
    world.until_state(&token, &id, "detached");
}

/// A page that is attached, as the observer or not; the answer has come.
pub(crate) fn attached(world: &World, id: &str, token: &str, observe: bool) -> Socket {
    let mut page = Socket::of(world, id, token);
    page.expect("ready");
    let mut offer = offer();
    if observe {
        offer["observe"] = true.into();
    }
    page.say(&offer);
    page.expect("answer");
    page
}

#[track_caller]
pub(crate) fn expect_control(page: &mut Socket, yours: bool) {
    assert_eq!(page.expect("control")["yours"], yours);
}

/// None of these pages finds a way for its picture: they take control by asking alone.
#[test]
fn a_page_takes_control_and_the_one_before_may_take_it_back() {
    let (world, token, id) = world();
    let mut first = attached(&world, &id, &token, false);
    expect_control(&mut first, true);
    let mut second = attached(&world, &id, &token, false);
    second.say(&json!({ "type": "take_control" }));
    expect_control(&mut second, true);
    expect_control(&mut first, false);
    first.say(&json!({ "type": "take_control" }));
    expect_control(&mut first, true);
    expect_control(&mut second, false);
    let mut third = attached(&world, &id, &token, true);
    expect_control(&mut third, false);
    let requests = world.policy.lock().unwrap().requests.clone();
    let session = id.parse().unwrap();
    let attaches = requests
        .iter()
        .filter(|it| **it == Request::Attach { session });
    assert_eq!(attaches.count(), 1, "they share one worker's sockets");

    // The newest that is left gets it.
    first.say(&json!({ "type": "bye" }));
    expect_control(&mut third, true);
    second.say(&json!({ "type": "bye" }));
    assert_eq!(second.hear(), None);
    world.until_state(&token, &id, "attached");
    third.say(&json!({ "type": "bye" }));
    world.until_state(&token, &id, "detached");
    let mut again = attached(&world, &id, &token, true);
    expect_control(&mut again, true);
}

#[test]
fn a_page_too_many_lets_the_oldest_observer_go() {
    let (world, token, id) = world();
    let mut first = attached(&world, &id, &token, false);
    expect_control(&mut first, true);
    let mut observers: Vec<Socket> = (1..8)
        .map(|_| attached(&world, &id, &token, true))
        .collect();
    let mut ninth = attached(&world, &id, &token, true);
    expect_control(&mut ninth, false);
    let oldest = &mut observers[0];
    expect_control(oldest, false);
    oldest.expect("taken_over");
    assert_eq!(oldest.hear(), None);
    first.say(&json!({ "type": "take_control" }));
    first.say(&json!({ "type": "bye" }));
    assert_eq!(first.hear(), None);
}

fn out_of_memory(id: &str) -> Event {
    Event::OutOfMemory {
        session: id.parse().unwrap(),
        shortage: MemoryShortage {
            limit_mb: 512,
            killed: 1,
            programs: vec!["xterm".into()],
        },
    }
}

#[test]
fn programs_that_were_ended_for_memory_are_told_to_who_watches_and_in_the_api() {
    let (world, token, id) = world();
    world.add_user("bob", Role::User);
    let of_bob = world.login("bob");
    let id_of_bob = world.session(&of_bob);
    let mut bob = attached(&world, &id_of_bob, &of_bob, false);
    expect_control(&mut bob, true);
    let mut pages = [false, true].map(|it| attached(&world, &id, &token, it));
    expect_control(&mut pages[0], true);
    expect_control(&mut pages[1], false);
    world.tell(&out_of_memory(&id));
    for page in &mut pages {
        let told = page.expect("out_of_memory");
        assert_eq!(
            (&told["limit_mb"], &told["killed"]),
            (&512.into(), &1.into())
        );
        assert_eq!(told["programs"], json!(["xterm"]));
    }
    let shown = world.until_state(&token, &id, "attached");
    let expected = json!({ "limit_mb": 512, "killed": 1, "programs": ["xterm"] });
    assert_eq!(shown["out_of_memory"], expected);
    // It has been told once: who comes later does not hear of it.
    let mut late = attached(&world, &id, &token, true);
    expect_control(&mut late, false);
    late.say(&json!({ "type": "bye" }));
    assert_eq!(late.hear(), None);
    bob.say(&json!({ "type": "bye" }));
    assert_eq!(bob.hear(), None, "it is no concern of his");
}

#[test]
fn what_was_ended_while_nobody_watched_is_told_to_whoever_comes() {
    let (world, token, id) = world();
    world.tell(&out_of_memory(&id));
    let mut page = attached(&world, &id, &token, false);
    page.expect("out_of_memory");
    expect_control(&mut page, true);
}

/// Fills what the page could read, if it read, until nothing more fits.
fn stuff(page: &mut Socket) {
    let ping = Message::Ping(vec![0; 125].into());
    // Each is answered; some megabytes are more than all queues on the way hold.
    for _ in 0..60_000 {
        page.say_message(ping.clone());
    }
}

#[test]
fn a_page_that_reads_nothing_is_let_go_and_the_others_do_not_notice() {
    let world = World::with(|config| config.access_expiry = Duration::from_secs(2));
    world.add_user("ada", Role::User);
    let token = world.login("ada");
    let id = world.session(&token);
    let mut silent = attached(&world, &id, &token, false);
    expect_control(&mut silent, true);
    stuff(&mut silent);
    // Control passes when it has left: the next token for it is one message that it did not read.
    let mut other = attached(&world, &id, &world.login("ada"), true);
    let mut last = other.hear().unwrap();
    while last != json!({ "type": "control", "yours": true }) {
        last = other.hear().expect("the other page is untouched");
    }
}

#[test]
fn a_page_learns_why_its_session_ended() {
    for (end, reason) in [(true, "requested"), (false, "x_held_by_program")] {
        let (world, token, id) = world();
        let mut page = attached(&world, &id, &token, false);
        expect_control(&mut page, true);
        if end {
            let path = format!("/api/sessions/{id}");
            world.request("DELETE", &path, Some(&token), None);
        } else {
            // The worker's sockets close first, as they do when a session dies.
            world.policy.lock().unwrap().workers.clear();
            world.tell(&Event::Ended {
                session: id.parse().unwrap(),
                reason: EndReason::XHeldByProgram,
            });
        }
        let ended = page.expect("ended");
        assert_eq!(ended["reason"], reason);
        assert_eq!(page.hear(), None);
        let mut late = Socket::of(&world, &id, &token);
        assert_eq!(late.expect("ended")["reason"], reason);
    }
}

#[test]
fn a_daemon_that_may_open_no_more_files_refuses_the_page_and_lives() {
    let (world, token, id) = world();
    world.policy.lock().unwrap().keeps_descriptors = true;
    let mut page = Socket::of(&world, &id, &token);
    page.expect("ready");
    page.say(&offer());
    page.expect_error("node_full");
    world.policy.lock().unwrap().keeps_descriptors = false;
    let mut page = Socket::of(&world, &id, &token);
    page.expect("ready");
    page.say(&offer());
    page.expect("answer");
}

#[test]
fn a_malformed_description_is_refused_and_the_desktop_lives() {
    let (world, token, id) = world();
    for sdp in ["", "v=0\r\nnonsense", "\0", &"a=".repeat(20_000)] {
        let mut page = Socket::of(&world, &id, &token);
        page.expect("ready");
        page.say(&json!({ "type": "offer", "sdp": sdp, "width": 1, "height": 1 }));
        page.expect_error("malformed_sdp");
    }
    world.until_state(&token, &id, "ready");
    let mut page = Socket::of(&world, &id, &token);
    page.expect("ready");
    page.say(&offer());
    page.expect("answer");
}

#[test]
fn a_browser_without_h264_is_told_so() {
    let (world, token, id) = world();
    let mut rtc = Rtc::builder()
        .clear_codecs()
        .enable_vp8(true)
        .build(clock::now());
    let mut api = rtc.sdp_api();
    api.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
    let (offer, _pending) = api.apply().unwrap();
    let mut page = Socket::of(&world, &id, &token);
    page.expect("ready");
    let sdp = offer.to_sdp_string();
    page.say(&json!({ "type": "offer", "sdp": sdp, "width": 800, "height": 600 }));
    page.expect_error("no_codec");
}

#[test]
fn messages_that_are_none_are_refused() {
    let (world, token, id) = world();
    for text in [
        "",
        "{",
        "[]",
        r#"{"type":"dance"}"#,
        r#"{"type":"offer","sdp":"","width":70000,"height":1}"#,
    ] {
        let mut page = Socket::of(&world, &id, &token);
        page.expect("ready");
        page.say_text(text);
        page.expect_error("malformed");
    }
    let mut page = Socket::of(&world, &id, &token);
    page.expect("ready");
    page.say_message(Message::binary(vec![1, 2, 3]));
    page.expect_error("malformed");
    let mut page = Socket::of(&world, &id, &token);
    page.expect("ready");
    page.say(&json!({ "type": "auth", "token": token }));
    page.expect_error("order");
}

#[test]
fn input_before_the_first_offer_is_dropped() {
    let (world, token, id) = world();
    let mut page = Socket::of(&world, &id, &token);
    page.expect("ready");
    let packet = Packet {
        stream: 1,
        first_seq: 1,
        events: vec![InputEvent::ReleaseAll],
        pointer: None,
        held: None,
    };
    page.say_message(Message::binary(packet.encode()));
    page.say(&json!({ "type": "bye" }));
    assert_eq!(page.hear(), None);
}

#[test]
fn a_message_over_64_kib_closes_the_socket_alone() {
    let (world, token, id) = world();
    let mut page = Socket::of(&world, &id, &token);
    page.expect("ready");
    page.say_text(&"x".repeat((64 << 10) + 1));
    page.expect_error("too_large");
    world.until_state(&token, &id, "ready");
    let mut unknown = Socket::open(&world, &format!("?session={id}"), &world.origin())
        .unwrap_or_else(|status| panic!("{status}"));
    unknown.say_text(&"x".repeat(10 << 20));
    // Ten megabytes do not fit into the way; whether the word arrives is chance, the end is not.
    while unknown.hear().is_some() {}
}

#[test]
fn the_first_message_is_the_token_and_a_bad_one_is_refused() {
    let (world, token, id) = world();
    let open = |query: &str| Socket::open(&world, query, &world.origin()).unwrap();
    let mut page = open(&format!("?session={id}"));
    page.say(&offer());
    page.expect_error("order");
    for bad in ["", "nonsense", &format!("{token}x")] {
        let mut page = Socket::of(&world, &id, bad);
        page.expect_error("token_invalid");
    }
}

#[test]
fn a_silent_page_is_closed() {
    let (world, _, id) = world();
    let mut page = Socket::open(&world, &format!("?session={id}"), &world.origin()).unwrap();
    page.expect_error("auth_timeout");
}

#[test]
fn somebody_elses_session_and_a_missing_one_are_the_same() {
    let (world, _, id) = world();
    world.add_user("bob", Role::User);
    world.add_user("boss", Role::Admin);
    for name in ["bob", "boss"] {
        let token = world.login(name);
        let said: Vec<Option<Value>> = [&*id, &"0".repeat(32), "nonsense"]
            .iter()
            .map(|it| Socket::of(&world, it, &token).hear())
            .collect();
        assert_eq!(said[0].as_ref().unwrap()["code"], "not_found");
        assert!(said.iter().all(|it| *it == said[0]), "{said:?}");
    }
}

#[test]
fn pages_of_others_and_requests_that_are_no_websocket_get_no_socket() {
    let (world, _, id) = world();
    let query = format!("?session={id}");
    for origin in ["http://evil.example", "http://localhost:3000", "null", ""] {
        assert_eq!(
            Socket::open(&world, &query, origin).err(),
            Some(403),
            "{origin}"
        );
    }
    let origin = world.origin();
    for query in ["", "?session=1&token=x", "?session=1&session=2"] {
        assert_eq!(
            Socket::open(&world, query, &origin).err(),
            Some(400),
            "{query}"
        );
    }
    let media = format!("?session={id}&mode=media");
    assert_eq!(Socket::open(&world, &media, &origin).err(), Some(400));
    let plain = world.request("GET", &format!("/ws{query}"), None, None);
    plain.is_problem(400, "no_websocket");
}

#[test]
fn signing_out_dismisses_the_page_and_leaves_the_desktop() {
    let (world, token, id) = world();
    let other = world.login("ada");
    let mut page = attached(&world, &id, &token, false);
    expect_control(&mut page, true);
    let mut unconcerned = Socket::of(&world, &id, &other);
    unconcerned.expect("ready");
    world.request("POST", "/api/auth/logout", Some(&token), Some("{}"));
    page.expect_error("token_revoked");
    world.until_state(&other, &id, "detached");
    unconcerned.say(&offer());
    unconcerned.expect("answer");
}

#[test]
fn an_open_socket_gets_a_fresh_token_before_the_old_one_runs_out() {
    let world = World::with(|config| config.access_expiry = Duration::from_secs(2));
    world.add_user("ada", Role::User);
    let token = world.login("ada");
    let id = world.session(&token);
    let mut page = Socket::of(&world, &id, &token);
    page.expect("ready");
    let list = |token: &str| {
        world
            .request("GET", "/api/sessions", Some(token), None)
            .status
    };
    let mut fresh = token.clone();
    // By the third, the first has run out.
    for _ in 0..3 {
        let message = page.expect("token");
        fresh = message["token"].as_str().unwrap().to_owned();
        assert_eq!(message["expires_in"], 2);
        assert_eq!(list(&fresh), 200);
    }
    assert_eq!(list(&token), 401);
    page.say(&json!({ "type": "renew", "token": fresh }));
    page.say(&offer());
    while let Some(message) = page.hear() {
        if message["type"] == "answer" {
            return;
        }
        assert_eq!(message["type"], "token", "{message}");
    }
    panic!("no answer");
}

#[test]
fn a_sign_in_that_ends_takes_the_socket_with_it() {
    let world = World::with(|config| {
        config.access_expiry = Duration::from_secs(60);
        config.refresh_expiry = Duration::from_secs(2);
    });
    world.add_user("ada", Role::User);
    let token = world.login("ada");
    let id = world.session(&token);
    let mut page = Socket::of(&world, &id, &token);
    page.expect("ready");
    page.expect_error("token_revoked");
}

#[test]
fn a_page_that_offers_without_end_is_stopped() {
    let (world, token, id) = world();
    let mut page = Socket::of(&world, &id, &token);
    page.expect("ready");
    let offer = offer();
    page.say(&offer);
    page.expect("answer");
    // Renegotiations of a stream that exists: the same offer again is refused or answered, and
    // after thirty in all comes the limit.
    let mut last = Value::Null;
    for _ in 0..40 {
        page.say(&offer);
        match page.hear() {
            Some(message) => last = message,
            None => break,
        }
    }
    assert_eq!(last["type"], "error", "{last}");
    world.until_state(&token, &id, "detached");
}
