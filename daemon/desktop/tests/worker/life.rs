//! How a worker starts, is attached, left and ended.

use std::os::fd::AsFd as _;

use rustix::fs::SealFlags;
use rustix::net::{SendFlags, send};
use sandbox_protocol::local::worker::{FromWorker, Pictures, ToWarden, ToWorker};
use sandbox_protocol::{Bitrate, Size};

use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::ConnectionExt as _;

use crate::harness::{Desktop, SIZE, is_closed, stays_silent};
use crate::program::{Noise, Program, Seen, connect};
use crate::{A, STREAM, key};

#[test]
fn an_attach_brings_hello_cursor_and_a_keyframe() {
    let desktop = Desktop::start();
    let mut viewer = desktop.attach_silently();
    let hello = viewer.wait_for(|it| Some(it.clone()));
    assert!(
        matches!(&hello, FromWorker::Hello { size, .. } if *size == SIZE),
        "{hello:?}"
    );
    assert!(!viewer.has_access_unit(), "nobody has asked for one");
    drop(viewer);
    let mut viewer = desktop.attach(SIZE);
    let (header, payload) = viewer.access_unit();
    assert!(header.is_keyframe && !header.is_refinement);
    assert_eq!((header.frame, header.size), (1, SIZE));
    assert!(payload.starts_with(&[0, 0, 0, 1]), "Annex B");
    assert!(header.captured <= header.encoded);
    let cursor = viewer.wait_for_cursor();
    let pixels = usize::from(cursor.size.width) * usize::from(cursor.size.height);
    assert!(pixels > 0);
    assert_eq!(cursor.rgba.len(), 4 * pixels);
    assert_eq!(desktop.end(), 0);
}

#[test]
fn a_fresh_attach_ends_the_old_one_and_begins_with_a_keyframe() {
    let desktop = Desktop::start();
    let program = Program::start(&desktop);
    let mut first = desktop.attach(SIZE);
    first.access_unit();
    first.wait_for_cursor();
    first.send_events(STREAM, 1, &[key(A, true)]);
    first.wait_for_ack(STREAM, 1);
    let mut second = desktop.attach(SIZE);
    let (header, _) = second.access_unit();
    assert!(header.is_keyframe);
    assert_eq!(header.frame, 1);
    while !is_closed(first.control.as_fd()) {}
    second.send_events(STREAM, 1, &[key(A, true), key(A, false)]);
    second.wait_for_ack(STREAM, 2);
    assert_eq!(
        program.next_keys(2),
        [Seen::KeyDown(A.1), Seen::KeyUp(A.1)],
        "the stream goes on where it was"
    );
}

#[test]
fn a_viewer_that_leaves_holds_nothing_down_and_costs_nothing() {
    let desktop = Desktop::start();
    let program = Program::start(&desktop);
    let mut viewer = desktop.attach(SIZE);
    viewer.wait_for_rest();
    let before = viewer.counters();
    viewer.send_events(STREAM, 1, &[key(A, true)]);
    viewer.wait_for_ack(STREAM, 1);
    assert_eq!(program.next(), Seen::KeyDown(A.1));
    drop(viewer);
    while program.next() != Seen::KeyUp(A.1) {}
    let painters = [0; 5].map(|_| Program::start(&desktop));
    let mut viewer = desktop.attach_silently();
    let after = viewer.counters();
    assert!(
        after.damage_reports <= before.damage_reports + 2,
        "the key's own and that of the attach at most: {before:?} {after:?}"
    );
    drop(painters);
}

#[test]
fn a_desktop_that_nobody_watches_or_that_rests_does_not_wake_its_worker() {
    let desktop = Desktop::start();
    let sleeps = desktop.sleeps();
    let mut noise = Noise::start(&desktop, 3);
    let mut viewer = desktop.attach(SIZE);
    viewer.wait_for_rest();
    let before = sleeps();
    assert!(stays_silent(viewer.media.as_fd()));
    // It may have been about to fall asleep after its answer.
    assert!(sleeps() <= before + 1, "at rest");
    drop(viewer);
    // The worker has noticed when the next viewer is greeted; that one leaves without a frame.
    let mut viewer = desktop.attach_silently();
    viewer.counters();
    let control = viewer.leave();
    while !is_closed(control.as_fd()) {}
    let before = sleeps();
    for _ in 0..100 {
        noise.draw(1);
    }
    // It may have been about to let go when it closed its end.
    assert!(sleeps() <= before + 3, "unwatched");
}

#[test]
fn the_warden_is_told_why_a_worker_cannot_start() {
    let unsealed = Desktop::start_with(|_| (), SealFlags::GROW);
    let unknown = Desktop::start_with(|it| it.codec = "vp8".to_owned(), SealFlags::SHRINK);
    let wide = Desktop::start_with(|it| it.stride += 1, SealFlags::SHRINK);
    for (mut desktop, expected) in [(unsealed, "sealed"), (unknown, "vp8"), (wide, "bytes")] {
        let ToWarden::Failed { detail, .. } = desktop.word_of_worker() else {
            panic!("a worker started: {expected}");
        };
        assert!(detail.contains(expected), "{detail}");
        assert_eq!(desktop.worker.take().unwrap().join().unwrap(), 1);
    }
}

#[test]
fn a_worker_ends_with_its_x_server() {
    let mut desktop = Desktop::start();
    desktop.kill_x_server();
    let ToWarden::Failed { layer, .. } = desktop.word_of_worker() else {
        panic!("the worker goes on");
    };
    assert_eq!(layer, "", "nothing is missing on this host");
    assert_eq!(desktop.worker.take().unwrap().join().unwrap(), 1);
}

#[test]
fn a_message_that_is_none_ends_the_attach_and_not_the_worker() {
    let desktop = Desktop::start();
    let stranger = desktop.attach_silently();
    send(&stranger.control, b"?", SendFlags::empty()).unwrap();
    while !is_closed(stranger.control.as_fd()) {}
    let other = desktop.attach_silently();
    other.send(&ToWorker::Hello {
        version: u16::MAX,
        bitrate: Bitrate::kbps(1),
        size: SIZE,
        pictures: Pictures::ACCESS_UNITS,
    });
    while !is_closed(other.control.as_fd()) {}
    assert!(desktop.attach(SIZE).access_unit().0.is_keyframe);
}

#[test]
fn an_x_server_that_answers_nobody_is_reported() {
    let desktop = Desktop::start();
    let viewer = desktop.attach(SIZE);
    desktop.freeze_x_server();
    let text = "asks the X server for an owner".to_owned();
    viewer.send(&ToWorker::Paste { text, last: true });
    assert_eq!(desktop.word_of_worker(), ToWarden::XHeld);
}

#[test]
fn an_x_server_that_takes_input_and_says_nothing_is_reported() {
    let desktop = Desktop::start();
    let mut viewer = desktop.attach_silently();
    // Of one that was asked a moment ago, too.
    viewer.send_events(STREAM, 1, &[key(A, true)]);
    viewer.wait_for_ack(STREAM, 1);
    desktop.freeze_x_server();
    viewer.send_events(STREAM, 2, &[key(A, false)]);
    assert_eq!(desktop.word_of_worker(), ToWarden::XHeld);
}

#[test]
fn each_next_worker_goes_on_with_the_same_desktop_and_repeats_no_key() {
    let mut desktop = Desktop::start();
    let program = Program::start(&desktop);
    let stranger = connect(&desktop);
    let size = Size {
        width: 800,
        height: 600,
    };
    for generation in 0..3 {
        let seq = generation * 2 + 1;
        let mut viewer = desktop.attach(size);
        let (header, _) = viewer.access_unit();
        assert!(header.is_keyframe);
        viewer.send_events(STREAM, seq, &[key(A, true)]);
        viewer.wait_for_ack(STREAM, seq);
        assert_eq!(program.next(), Seen::KeyDown(A.1));
        // Told to every connection, the spare one too.
        stranger.set_pointer_mapping(&[1, 2, 3]).unwrap();
        stranger.flush().unwrap();

        let ToWarden::Ready { size: kept, .. } = desktop.replace_worker() else {
            panic!("worker {generation} has no successor");
        };
        assert_eq!(kept, size);
        assert_eq!(program.next(), Seen::KeyUp(A.1), "it is released");
        let mut viewer = desktop.attach(size);
        let release = [key(A, true), key(A, false)];
        viewer.send_events(STREAM, seq, &release);
        viewer.wait_for_ack(STREAM, seq + 1);
    }
    let mut viewer = desktop.attach(size);
    viewer.send_events(STREAM, 7, &[key((48, u32::from('b')), true)]);
    viewer.wait_for_ack(STREAM, 7);
    assert_eq!(
        program.next(),
        Seen::KeyDown('b'.into()),
        "a came once more"
    );
}

#[test]
fn a_worker_that_a_program_keeps_from_the_x_server_says_so() {
    let mut desktop = Desktop::start();
    let program = connect(&desktop);
    program.grab_server().unwrap();
    program.get_input_focus().unwrap().reply().unwrap();
    assert_eq!(desktop.replace_worker(), ToWarden::XHeld);
}
