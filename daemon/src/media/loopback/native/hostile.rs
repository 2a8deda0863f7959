//! Native viewers that break the rules: each is closed with its code, and nobody else notices.

use sandbox_protocol::limits::DATAGRAMS_PER_SECOND_MAX;
use sandbox_protocol::wire::codes::CloseCode;
use sandbox_protocol::wire::control::{FromViewer, encode_into};
use sandbox_protocol::wire::datagram::Ping;

use super::client::Client;
use super::{connect, greet, hello, join, key, sign_in, start};
use crate::media::LeftReason;

/// What somebody does, and the code and the reason that it ends with.
type Deed = (
    &'static str,
    fn(&mut Client),
    CloseCode,
    fn(&LeftReason) -> bool,
);

fn say_often(client: &mut Client) {
    let mut bytes = Vec::new();
    for _ in 0..201 {
        encode_into(&FromViewer::Quality(50), &mut bytes).unwrap();
    }
    client.say_bytes(&bytes);
}

fn ping_often(client: &mut Client) {
    let mut ping = Vec::new();
    Ping { number: 1 }.encode_into(&mut ping);
    client.send_often(&ping, 2 * DATAGRAMS_PER_SECOND_MAX);
}

const DEEDS: [Deed; 9] = [
    (
        "garbage on the control stream",
        |it| it.say_bytes(&[4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
        CloseCode::ProtocolViolation,
        |it| matches!(it, LeftReason::Malformed(_)),
    ),
    (
        "a message that is too long",
        |it| it.say_bytes(&(70_000_u32).to_le_bytes()),
        CloseCode::Limit,
        |it| *it == LeftReason::Flood,
    ),
    ("too many messages", say_often, CloseCode::Limit, |it| {
        *it == LeftReason::Flood
    }),
    (
        "a message out of order",
        |it| it.say(&hello(64)),
        CloseCode::ProtocolViolation,
        |it| matches!(it, LeftReason::Malformed(_)),
    ),
    (
        "a stream that no viewer opens",
        Client::open_another,
        CloseCode::ProtocolViolation,
        |it| matches!(it, LeftReason::Malformed(_)),
    ),
    (
        "a datagram that is none",
        |it| it.send(&[99, 1, 2]),
        CloseCode::ProtocolViolation,
        |it| matches!(it, LeftReason::Malformed(_)),
    ),
    (
        "a paste without an end",
        |it| {
            for _ in 0..33 {
                it.say(&FromViewer::Paste {
                    text: "x".repeat(32 << 10),
                    is_last: false,
                });
            }
        },
        CloseCode::ProtocolViolation,
        |it| matches!(it, LeftReason::Malformed(_)),
    ),
    (
        "more input than anybody can type",
        |it| it.send_often(&key(6, 1).encode(), 4_000),
        CloseCode::Limit,
        |it| *it == LeftReason::Flood,
    ),
    (
        "more datagrams than any link needs",
        ping_often,
        CloseCode::Limit,
        |it| *it == LeftReason::Flood,
    ),
];

#[test]
fn whoever_breaks_the_rules_is_closed_with_the_code_and_others_notice_nothing() {
    let media = start();
    let mut other = connect(&media);
    other.show(b"first", true);
    for (name, act, code, is_reason) in DEEDS {
        let mut hostile = join(&media, &other.worker, 64);
        act(&mut hostile.client);
        hostile.client.run_until(|it| it.closed.is_some());
        assert_eq!(hostile.client.code(), Some(code), "{name}");
        let left = hostile.left();
        assert!(is_reason(&left), "{name}: {left:?}");
        other.show(name.as_bytes(), false);
    }
}

#[test]
fn strangers_say_little_and_nothing_but_who_they_are() {
    let media = start();
    let closed = |client: &mut Client| {
        client.run_until(|it| it.closed.is_some());
        client.code().unwrap()
    };
    let mut client = Client::new(&media, 1);
    client.say_bytes(&5_000_u32.to_le_bytes());
    assert_eq!(closed(&mut client), CloseCode::Limit);
    let mut client = Client::new(&media, 1);
    client.say(&FromViewer::Start);
    assert_eq!(closed(&mut client), CloseCode::AuthRequired);
    let (mut client, _) = greet(&media, 64, 1);
    client.say(&FromViewer::Resume);
    assert_eq!(closed(&mut client), CloseCode::AuthRequired);
    let mut client = Client::new(&media, 1);
    client.say(&hello(1));
    assert_eq!(closed(&mut client), CloseCode::Limit);
    // Input before a session goes nowhere, and is not held against anybody.
    let (mut client, peer) = sign_in(&media, 64, 1);
    client.send(&key(1, 1).encode());
    client.send(&[99]);
    client.say(&super::attach_wish());
    super::ask(&mut client, &peer);
}

#[test]
fn who_wishes_more_than_can_be_answered_is_closed() {
    let media = start();
    let mut first = connect(&media);
    for _ in 0..40 {
        first.client.say(&FromViewer::TakeControl);
    }
    first.client.run_until(|it| it.closed.is_some());
    assert_eq!(first.client.code(), Some(CloseCode::Limit));
}

#[test]
fn who_does_not_say_who_it_is_is_closed() {
    let media = start();
    let mut silent = Client::new(&media, 1);
    let (mut greeted, _) = greet(&media, 64, 1);
    for client in [&mut silent, &mut greeted] {
        client.run_until(|it| it.closed.is_some());
        assert_eq!(client.code(), Some(CloseCode::AuthRequired));
    }
}
