//! A viewer's connection and a server, in simulated time.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "a panic is a failed test; the world's clock has to begin somewhere"
)]

#[path = "../../../tests/sim/chance.rs"]
#[allow(
    dead_code,
    clippy::indexing_slicing,
    reason = "shared with the simulated worlds"
)]
mod chance;
#[path = "../fake/mod.rs"]
mod fake;
mod orders;
mod pasting;
mod violations;
mod world;

use std::time::Duration;

use sandbox_client::connection::{Credentials, End, Proof, Ticket, Told};
use sandbox_client::device::DeviceKey;
use sandbox_client::screen::Screen;
use sandbox_protocol::wire::codes::CloseCode;
use sandbox_protocol::wire::control::{AuthFailure, FromServer, FromViewer, Secret};
use sandbox_protocol::wire::input::Event as Input;
use sandbox_protocol::{Rect, Size};
use sandbox_quic::Fingerprint;

use self::fake::{CODE, Server};
use self::world::{SIZE, World, credentials, setup};

fn key(is_down: bool) -> Input {
    Input::Key {
        code: 30,
        keysym: 0x61,
        is_down,
    }
}

#[test]
fn a_viewer_signs_in_and_shows_what_the_server_shows() {
    let world = World::live();
    assert_eq!(world.server.methods, ["password"]);
    assert!(
        world
            .told
            .iter()
            .any(|it| matches!(it, Told::Attached { notices, .. } if notices == &["a notice"]))
    );
}

#[test]
fn an_update_too_large_for_datagrams_comes_on_a_stream_and_later_ones_follow_it() {
    let mut world = World::live();
    for seed in 3..8 {
        world.server.paint(seed);
        world.run_until(World::is_same);
    }
}

#[test]
fn under_loss_the_picture_becomes_the_same() {
    let mut world = World::new();
    world.loses = 9;
    world.run_until(World::is_same);
    for n in 0..40_u16 {
        let rect = Rect {
            x: n * 3,
            y: n * 5,
            width: 100,
            height: 60,
        };
        world.server.fill(rect, u32::from(n) * 5_000);
        for _ in 0..3 {
            world.step();
        }
    }
    world.run_until(World::is_same);
    let counters = world.client.counters();
    assert!(
        counters.packets_sent > counters.packets_came,
        "{counters:?}"
    );
}

#[test]
fn a_key_reaches_the_desktop_once_and_its_pixels_come_back() {
    let mut world = World::live();
    let before = world.server.hash();
    let seq = world.client.handle_input(world.now, key(true));
    assert_eq!(seq, Some(1));
    world.client.handle_input(world.now, key(false));
    world.client.handle_move(world.now, 12, 34);
    world.run_until(|it| it.server.input.len() == 2 && !it.server.moves.is_empty());
    assert_eq!(world.server.input, [key(true), key(false)]);
    assert_eq!(world.server.moves[0], (12, 34));
    world.run_until(World::is_same);
    assert_ne!(world.server.hash(), before);
}

#[test]
fn nothing_is_said_to_a_server_before_its_key_is_trusted() {
    let server = Server::new(SIZE);
    let shown = server.fingerprint;
    let mut world = World::with(server, setup(None));
    world.run_until(|it| it.told == [Told::FirstUse(shown)]);
    for _ in 0..20 {
        world.step();
    }
    assert!(world.server.heard.is_empty());
    world.client.trust(world.now);
    world.run_until(World::is_same);
}

#[test]
fn a_server_that_is_not_trusted_is_left() {
    let server = Server::new(SIZE);
    let shown = server.fingerprint;
    let mut world = World::with(server, setup(None));
    world.run_until(|it| !it.told.is_empty());
    world.client.distrust(world.now, shown);
    world.run_until(|it| it.end() == Some(&End::Distrusted(shown)));
    assert!(world.server.heard.is_empty());
}

#[test]
fn another_key_than_the_known_one_is_refused_before_a_word() {
    let server = Server::new(SIZE);
    let (known, shown) = (Fingerprint([0; 32]), server.fingerprint);
    let mut world = World::with(server, setup(Some(known)));
    world.run_until(|it| it.end().is_some());
    assert_eq!(world.end(), Some(&End::WrongKey { known, shown }));
    assert!(world.server.heard.is_empty());
}

#[test]
fn a_wrong_password_is_told() {
    let mut server = Server::new(SIZE);
    server.refuses_password = true;
    let known = Some(server.fingerprint);
    let mut world = World::with(server, setup(known));
    world.run_until(|it| it.end().is_some());
    let expected = End::SignIn {
        why: AuthFailure::Refused,
        retry_after: Duration::ZERO,
    };
    assert_eq!(world.end(), Some(&expected));
}

#[test]
fn a_ticket_signs_in_and_the_password_follows_where_it_is_refused() {
    for (id, expected) in [
        ([4; 16], &["ticket"][..]),
        ([9; 16], &["ticket", "password"]),
    ] {
        let server = Server::new(SIZE);
        let mut setup = setup(Some(server.fingerprint));
        setup.credentials.ticket = Some(Ticket {
            id,
            key: Secret([5; 32]),
        });
        let mut world = World::with(server, setup);
        world.run_until(World::is_same);
        assert_eq!(world.server.methods, expected);
    }
}

#[test]
fn a_device_is_enrolled_by_its_code_and_signs_in_by_its_key_from_then_on() {
    let key = DeviceKey::make().unwrap();
    let code = Secret(CODE.to_owned());
    let mut credentials = Credentials {
        proof: Proof::Enrol {
            code,
            key,
            name: "laptop".to_owned(),
        },
        ..credentials()
    };
    for expected in ["enrol", "device"] {
        let server = Server::new(SIZE);
        let mut setup = setup(Some(server.fingerprint));
        setup.credentials = credentials.clone();
        let mut world = World::with(server, setup);
        world.run_until(World::is_same);
        assert_eq!(world.server.methods, [expected]);
        let welcomes = world.told.iter().filter_map(|it| match it {
            Told::Welcome(ticket) => Some(ticket.clone()),
            _ => None,
        });
        welcomes.for_each(|it| credentials.handle_welcome(it));
        // As long after the connection has ended.
        credentials.ticket = None;
    }
}

#[test]
fn another_size_is_asked_for_and_shown() {
    let mut world = World::live();
    let size = Size {
        width: 801,
        height: 601,
    };
    world.client.handle_size(world.now, size);
    world.run_until(|it| it.server.size.width == 800 && it.is_same());
    let configs = world.told.iter().filter(|it| matches!(it, Told::Config(_)));
    assert_eq!(configs.count(), 2);
}

#[test]
fn who_gets_control_back_gets_its_size_back() {
    let mut world = World::live();
    for has_control in [true, false] {
        world.server.say(&FromServer::Control { has_control });
    }
    world.run_until(|it| it.told.contains(&Told::Control(false)));
    let asks = |it: &World| {
        let sizes = it.server.heard.iter();
        sizes
            .filter(|it| matches!(it, FromViewer::Displays(_)))
            .count()
    };
    assert_eq!(asks(&world), 0);
    world.client.take_control(world.now);
    world.run_until(|it| it.server.heard.contains(&FromViewer::TakeControl));
    world.server.say(&FromServer::Control { has_control: true });
    world.run_until(|it| asks(it) == 1);
}

#[test]
fn what_its_network_has_carried_is_said_before_media_flow_and_what_it_carries_is_told() {
    let server = Server::new(SIZE);
    let mut setup = setup(Some(server.fingerprint));
    setup.link_kbps = Some(7_000);
    let mut world = World::with(server, setup);
    world.run_until(World::is_same);
    let hint = FromViewer::LinkRate { kbps: 7_000 };
    let heard = &world.server.heard;
    let at = |wanted| heard.iter().position(|it| *it == wanted);
    assert!(at(hint).unwrap() < at(FromViewer::Start).unwrap());
    world.server.say(&FromServer::LinkRate { kbps: 9_000 });
    world.run_until(|it| it.told.contains(&Told::LinkRate(9_000)));
    let unknown = World::live();
    let is_hint = |it: &FromViewer| matches!(it, FromViewer::LinkRate { .. });
    assert!(!unknown.server.heard.iter().any(is_hint));
}

#[test]
fn texts_go_both_ways_in_pieces() {
    let mut world = World::live();
    let text = "ä".repeat(40_000);
    assert!(world.client.handle_paste(world.now, &text));
    world.run_until(|it| {
        it.server
            .heard
            .iter()
            .any(|it| matches!(it, FromViewer::Paste { is_last: true, .. }))
    });
    let pieces = world.server.heard.iter().filter_map(|it| match it {
        FromViewer::Paste { text, .. } => Some(text.as_str()),
        _ => None,
    });
    assert_eq!(pieces.collect::<String>(), text);

    for (text, is_first, is_last) in [
        ("lost", true, false),
        ("one ", true, false),
        ("two", false, true),
    ] {
        world.server.say(&FromServer::Copied {
            text: text.to_owned(),
            is_first,
            is_last,
        });
    }
    world.run_until(|it| it.told.contains(&Told::Copied("one two".to_owned())));
}

#[test]
fn the_servers_reason_comes_with_its_words() {
    let mut world = World::live();
    let code = CloseCode::Shutdown.number();
    world.server.say(&FromServer::Goodbye {
        code,
        retry_after_ms: 700,
        node: String::new(),
    });
    world.run_until(|it| it.packets.is_empty() || it.end().is_some());
    world.server.close(world.now, code, "back soon");
    world.run_until(|it| it.end().is_some());
    let end = world.end().unwrap();
    assert!(end.may_reconnect());
    assert!(end.to_string().contains("back soon"), "{end}");
}

#[test]
fn words_before_the_end_count_where_the_end_itself_is_lost() {
    let mut world = World::live();
    let code = CloseCode::SessionEnded.number();
    world.server.say(&FromServer::Goodbye {
        code,
        retry_after_ms: 0,
        node: String::new(),
    });
    let until = world.now + Duration::from_millis(100);
    world.run_until(|it| it.now >= until);
    world.is_cut = true;
    world.run_until(|it| it.end().is_some());
    let end = world.end().unwrap();
    assert_eq!((end.may_reconnect(), end.exit_code()), (false, 0), "{end}");
}

#[test]
fn what_is_no_update_makes_the_picture_worth_nothing() {
    let mut screen = Screen::new().unwrap();
    let update = sandbox_protocol::stream::reassemble::Update {
        epoch: sandbox_protocol::wire::datagram::Epoch(1),
        number: 1,
        bytes: &[1, 2, 3],
        is_video_broken: false,
    };
    assert!(screen.apply(&update).is_err());
}

#[test]
fn a_silent_server_is_told_from_one_that_never_answered() {
    let mut world = World::live();
    world.is_cut = true;
    world.run_until(|it| it.end().is_some());
    assert_eq!(world.end(), Some(&End::Silent));
    let mut world = World::new();
    world.is_cut = true;
    world.run_until(|it| it.end().is_some());
    assert_eq!(world.end(), Some(&End::NoAnswer));
}

#[test]
fn keys_of_an_outage_arrive_once_each_when_the_way_is_back() {
    let mut world = World::live();
    world.run_until(|it| it.client.unanswered_since().is_none());
    world.is_cut = true;
    let began = world.now;
    let mut pressed = Vec::new();
    while world.now - began < Duration::from_secs(5) {
        for event in [key(true), key(false)] {
            world.client.handle_input(world.now, event);
            pressed.push(event);
        }
        let next = world.now + Duration::from_millis(100);
        world.run_until(|it| it.now >= next);
    }
    assert_eq!(world.client.unanswered_since(), Some(began));
    world.is_cut = false;
    world.run_until(|it| it.server.input.len() >= pressed.len());
    world.run_until(|it| it.client.unanswered_since().is_none());
    assert_eq!(world.server.input, pressed);
    world.run_until(World::is_same);
}

#[test]
fn who_leaves_lets_go_of_the_keys() {
    let mut world = World::live();
    world.client.handle_input(world.now, key(true));
    world.run_until(|it| it.server.input.len() == 1);
    world.client.leave(world.now);
    assert_eq!(world.client.poll_told(), Some(Told::Over(End::Left)));
    world.run_until(|it| !it.server.is_live());
}

#[test]
fn a_still_desktop_costs_keepalives_alone() {
    let mut world = World::live();
    let until = world.now + Duration::from_secs(5);
    world.run_until(|it| it.now >= until);
    let (before, until) = (world.count, until + Duration::from_secs(30));
    world.run_until(|it| it.now >= until);
    assert!(
        world.count - before < 60,
        "{} packets",
        world.count - before
    );
}
