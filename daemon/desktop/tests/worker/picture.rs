//! What the viewer sees, and when it costs nothing.

use sandbox_protocol::Size;
use sandbox_protocol::local::worker::{FromWorker, ToWorker};
use x11rb::connection::Connection as _;
use x11rb::protocol::randr::ConnectionExt as _;
use x11rb::protocol::xproto::ConnectionExt as _;

use crate::harness::{Desktop, SIZE};
use crate::program::{Noise, Program, connect};
use crate::{A, STREAM, key, press};

#[test]
fn a_still_picture_becomes_sharp_and_then_costs_nothing() {
    let desktop = Desktop::start();
    let program = Program::start(&desktop);
    let mut viewer = desktop.attach(SIZE);
    let (last, before) = viewer.wait_for_rest();
    assert!(last.is_refinement && last.qp <= 14, "{last:?}");
    press(&mut viewer, 1, A);
    program.next_keys(2);
    let (last, after) = viewer.wait_for_rest();
    assert!(last.is_refinement && last.qp <= 14, "{last:?}");
    assert_eq!(after.keyframes, before.keyframes, "no key frame for a key");
    assert_eq!(
        after.captures,
        before.captures + 1,
        "one change, one capture"
    );
}

#[test]
fn a_resize_reaches_the_screen_and_begins_with_a_keyframe() {
    let desktop = Desktop::start();
    let mut viewer = desktop.attach(SIZE);
    viewer.access_unit();
    let x = connect(&desktop);
    let root = x.setup().roots[0].root;
    for (asked, expected) in [
        ((801, 599), (800, 598)),
        ((9_000, 9_000), (1_280, 720)),
        ((1, 1), (320, 200)),
    ] {
        let size = |(width, height)| Size { width, height };
        viewer.send(&ToWorker::Resize(size(asked)));
        viewer.wait_for(|it| (*it == FromWorker::Resized(size(expected))).then_some(()));
        let header = loop {
            let (header, _) = viewer.access_unit();
            if header.size == size(expected) {
                break header;
            }
        };
        assert!(header.is_keyframe);
        let geometry = x.get_geometry(root).unwrap().reply().unwrap();
        assert_eq!((geometry.width, geometry.height), expected);
    }
}

#[test]
fn a_full_link_stops_captures_until_it_has_room() {
    let desktop = Desktop::start();
    let program = Program::start(&desktop);
    let mut viewer = desktop.attach(SIZE);
    viewer.wait_for_rest();
    viewer.send(&ToWorker::Flow(false));
    let before = viewer.counters();
    for seq in [1, 3, 5] {
        press(&mut viewer, seq, A);
        program.next_keys(2);
    }
    assert_eq!(viewer.counters().captures, before.captures);
    assert!(!viewer.has_access_unit());
    viewer.send(&ToWorker::Flow(true));
    let (header, _) = viewer.access_unit();
    assert_eq!(header.input_seq, 6, "only the newest picture is sent");
}

#[test]
fn a_keyframe_comes_when_asked_for() {
    let desktop = Desktop::start();
    let mut viewer = desktop.attach(SIZE);
    let (_, before) = viewer.wait_for_rest();
    viewer.send(&ToWorker::Keyframe);
    let (header, _) = viewer.access_unit();
    assert!(header.is_keyframe);
    assert_eq!(
        viewer.counters().captures,
        before.captures,
        "nothing changed"
    );
}

#[test]
fn a_frame_that_shows_nothing_new_comes_when_asked_for_and_is_small() {
    let desktop = Desktop::start();
    let mut viewer = desktop.attach(SIZE);
    viewer.wait_for_rest();
    viewer.send(&ToWorker::Touch);
    let (header, payload) = viewer.access_unit();
    assert!(!header.is_keyframe);
    assert!(payload.len() < 1_000, "{} bytes", payload.len());
}

#[test]
fn what_the_viewer_sees_at_rest_is_what_the_x_server_drew() {
    let desktop = Desktop::start();
    let seed = 0x2545_f491;
    println!("seed {seed:#x}");
    let mut noise = Noise::start(&desktop, seed);
    let mut viewer = desktop.attach(SIZE);
    // Some at once, so that there is more damage than is taken rectangle by rectangle.
    for count in [1, 7, 300, 1, 2, 3] {
        noise.draw(count);
        viewer.access_unit();
    }
    viewer.wait_for_rest();
    let psnr = viewer.eye.psnr(&desktop.screen(SIZE));
    assert!(psnr >= 40.0, "{psnr} dB");
    for (width, height) in [(500, 300), (1_000, 700)] {
        let size = Size { width, height };
        viewer.send(&ToWorker::Resize(size));
        while viewer.access_unit().0.size != size {}
        noise.draw(50);
        viewer.wait_for_rest();
        let psnr = viewer.eye.psnr(&desktop.screen(size));
        assert!(psnr >= 40.0, "{psnr} dB at {size}");
    }
}

#[test]
fn a_daemon_that_reads_slowly_gets_the_newest_picture_and_no_backlog() {
    let desktop = Desktop::start();
    let mut noise = Noise::start(&desktop, 7);
    let mut viewer = desktop.attach(SIZE);
    viewer.access_unit();
    // Until the media socket is full: then nothing is captured however much is drawn.
    let mut captures = viewer.counters().captures;
    let mut without_capture = 0;
    for _ in 0..100_000 {
        noise.draw(200);
        let before = std::mem::replace(&mut captures, viewer.counters().captures);
        without_capture = if captures == before {
            without_capture + 1
        } else {
            0
        };
        if without_capture == 300 {
            break;
        }
    }
    assert_eq!(without_capture, 300, "{captures} captures");
    viewer.send_events(STREAM, 1, &[key(A, true), key(A, false)]);
    viewer.wait_for_ack(STREAM, 2);
    noise.draw(1);
    let (last, counters) = viewer.wait_for_rest();
    assert_eq!(last.input_seq, 2);
    assert!(counters.captures <= captures + 3, "{captures} {counters:?}");
    assert!(viewer.eye.psnr(&desktop.screen(SIZE)) >= 40.0);
}

#[test]
fn a_program_that_changes_the_screen_changes_the_picture() {
    let desktop = Desktop::start();
    let mut viewer = desktop.attach(SIZE);
    viewer.access_unit();
    let x = connect(&desktop);
    let root = x.setup().roots[0].root;
    x.randr_set_screen_size(root, 801, 601, 100, 100)
        .unwrap()
        .check()
        .unwrap();
    let expected = Size {
        width: 800,
        height: 600,
    };
    viewer.wait_for(|it| (*it == FromWorker::Resized(expected)).then_some(()));
    while viewer.access_unit().0.size != expected {}
}
