//! A daemon that was upgraded, and the workers of the warden that runs on: they speak the version
//! before.

use std::net::UdpSocket;

use sandbox_protocol::local::worker::ToWorker;
use sandbox_protocol::local::{VERSION, Version};
use sandbox_protocol::wire::control::{FEATURES, Features, FromServer};
use sandbox_protocol::wire::input::{Event, Packet};

use super::{Attached, attach, control, key, session, sign_in};
use crate::media::loopback::page::Page;
use crate::media::loopback::worker::{Worker, as_told};
use crate::media::loopback::{enter, start_with_workers};
use crate::media::{LeftReason, Media, ViewerEvent};

const BEFORE: u16 = VERSION - 1;

fn start() -> Media {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let workers = Version::known(BEFORE).unwrap();
    start_with_workers(workers, vec![socket], Vec::new())
}

/// A viewer in control of a worker of that version, which has been greeted in it.
fn connect(media: &Media) -> Attached {
    let (worker, control, stream) = Worker::speaking(BEFORE);
    let signed_in = sign_in(media, 64, 5);
    let attached = attach(media, signed_in, worker, Some([control, stream]));
    control::give(media, session(1), attached.viewer);
    let hello = attached.worker.receive();
    let ToWorker::Hello { version, .. } = hello else {
        panic!("{hello:?}");
    };
    assert_eq!(version, BEFORE);
    attached.worker.hear(&ToWorker::Whole);
    attached
}

/// A step of the pointer, which such a worker could not read.
fn step(stream: u64, first_seq: u32) -> Packet {
    Packet {
        events: vec![Event::MoveBy { dx: 3, dy: -1 }],
        ..key(stream, first_seq)
    }
}

#[test]
fn it_is_told_what_it_knows_and_viewers_are_offered_no_more() {
    let media = start();
    let mut attached = connect(&media);
    let Some(FromServer::Hello { features, .. }) = attached.client.told.first() else {
        panic!("{:?}", attached.client.told);
    };
    let offered = FEATURES.without(Features::RELATIVE_POINTER);
    assert_eq!(Features(*features), offered);
    attached.show(b"first", true);
    attached.client.send(&key(5, 1).encode());
    let worker = attached.worker.clone();
    attached.client.run_until(|_| worker.has_input());
    worker.skip_over_keyframes_to(&as_told(key(5, 1)));
}

#[test]
fn a_step_of_the_pointer_ends_the_viewer_that_sends_it_and_never_gets_there() {
    let media = start();
    let mut native = connect(&media);
    native.show(b"first", true);
    let worker = native.worker.clone();
    let mut page = enter(&media, session(1), Page::new(), worker.clone(), None);
    page.page.run_until(Page::is_ready);
    assert_eq!(page.event(), ViewerEvent::Connected);

    native.client.send(&step(5, 1).encode());
    let reason = native.left();
    assert!(
        matches!(&reason, LeftReason::Malformed(words) if words.contains("by steps")),
        "{reason:?}"
    );
    control::give(&media, session(1), page.viewer);
    page.page.send_input(&key(1, 1).encode());
    page.synchronize();
    // The worker reads on, and what it reads is the other one's key.
    worker.skip_over_keyframes_to(&as_told(key(1, 1)));
    page.page.send_input(&step(1, 2).encode());
    assert!(matches!(page.left(), LeftReason::Malformed(_)));
}
