//! The worker on a real X server, with this test in the place of warden, daemon and program.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::let_underscore_must_use,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail by panicking, wherever its helpers live"
)]

mod eye;
mod harness;
mod program;

use std::os::fd::AsFd as _;

use rustix::fs::SealFlags;
use sandbox_protocol::Size;
use sandbox_protocol::local::worker::{FromWorker, ToWarden, ToWorker};
use sandbox_protocol::wire::input::{Event, Move};
use x11rb::connection::Connection as _;
use x11rb::protocol::randr::ConnectionExt as _;
use x11rb::protocol::xproto::ConnectionExt as _;

use crate::harness::{Desktop, SIZE, Viewer, is_closed};
use crate::program::{Noise, Program, Reader, Seen, connect};

const STREAM: u64 = 7;

const A: (u16, u32) = (30, 'a' as u32);

fn key((code, keysym): (u16, u32), is_down: bool) -> Event {
    Event::Key {
        code,
        keysym,
        is_down,
    }
}

fn press(viewer: &mut Viewer, first_seq: u32, it: (u16, u32)) {
    viewer.send_events(STREAM, first_seq, &[key(it, true), key(it, false)]);
    viewer.wait_for_ack(STREAM, first_seq + 1);
}

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
fn a_key_reaches_the_program_once_and_its_answer_the_viewer() {
    let desktop = Desktop::start();
    let program = Program::start(&desktop);
    let mut viewer = desktop.attach(SIZE);
    viewer.wait_for_rest();
    let typed = [key(A, true), key(A, false)];
    for _ in 0..3 {
        viewer.send_events(STREAM, 1, &typed);
        viewer.wait_for_ack(STREAM, 2);
    }
    assert_eq!(program.next_keys(2), [Seen::KeyDown(A.1), Seen::KeyUp(A.1)]);
    let (header, _) = viewer.access_unit();
    assert!(!header.is_keyframe && !header.is_refinement, "{header:?}");
    assert_eq!(header.input_seq, 2);
    assert!(header.injected <= header.damaged && header.damaged <= header.captured);
    press(&mut viewer, 3, (48, u32::from('b')));
    assert_eq!(program.next(), Seen::KeyDown('b'.into()), "a came once");
    assert_eq!(viewer.counters().input_applied, 4);
}

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
fn the_pointer_goes_where_the_viewer_points_but_never_outside() {
    let desktop = Desktop::start();
    let program = Program::start(&desktop);
    let mut viewer = desktop.attach(SIZE);
    let point = |number, x, y| ToWorker::Input {
        stream: STREAM,
        first_seq: 1,
        events: vec![],
        pointer: Some(Move {
            after: 0,
            number,
            x,
            y,
        }),
        held: None,
    };
    viewer.send(&point(1, 50, 60));
    assert_eq!(program.next(), Seen::Moved { x: 50, y: 60 });
    let click = [true, false].map(|is_down| Event::Button {
        button: 2,
        is_down,
        x: 55,
        y: 65,
    });
    viewer.send_events(STREAM, 1, &click);
    viewer.wait_for_ack(STREAM, 2);
    assert_eq!(program.next(), Seen::Moved { x: 55, y: 65 });
    let at = |button| Seen::Button {
        button,
        x: 55,
        y: 65,
    };
    assert_eq!(program.next(), at(3));
    let wheel = |dx, dy| Event::Wheel {
        dx,
        dy,
        x: 55,
        y: 65,
    };
    viewer.send_events(
        STREAM,
        3,
        &[wheel(0, 60), wheel(0, 60), wheel(0, -120), wheel(120, 0)],
    );
    viewer.wait_for_ack(STREAM, 6);
    let turned = std::iter::from_fn(|| Some(program.next()))
        .filter(|it| matches!(it, Seen::Button { .. }))
        .take(3);
    assert_eq!(turned.collect::<Vec<_>>(), [at(5), at(4), at(7)]);
    viewer.send(&ToWorker::Input {
        stream: STREAM,
        first_seq: 7,
        events: vec![],
        pointer: Some(Move {
            after: 6,
            number: 2,
            x: u16::MAX,
            y: u16::MAX,
        }),
        held: None,
    });
    viewer.counters();
    let x = connect(&desktop);
    let pointer = x.query_pointer(x.setup().roots[0].root).unwrap();
    let pointer = pointer.reply().unwrap();
    assert_eq!((pointer.root_x, pointer.root_y), (639, 479));
}

#[test]
fn a_character_that_the_layout_lacks_is_typed_all_the_same() {
    let desktop = Desktop::start();
    let program = Program::start(&desktop);
    let mut viewer = desktop.attach(SIZE);
    let euro = 0x20ac;
    let shift = (42, 0xffe1);
    press(&mut viewer, 1, (18, euro));
    viewer.send_events(STREAM, 3, &[key(shift, true)]);
    press(&mut viewer, 4, (2, u32::from('1')));
    press(&mut viewer, 6, (21, u32::from('Z')));
    press(&mut viewer, 8, (18, euro));
    let downs: Vec<_> = program
        .next_keys(9)
        .into_iter()
        .filter_map(|it| match it {
            Seen::KeyDown(keysym) => Some(keysym),
            _ => None,
        })
        .collect();
    assert_eq!(downs, [euro, shift.1, '1'.into(), 'Z'.into(), euro]);
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
fn pasted_text_goes_to_one_program_and_is_then_gone() {
    let desktop = Desktop::start();
    let viewer = desktop.attach(SIZE);
    let (reader, other) = (Reader::new(&desktop), Reader::new(&desktop));
    for (text, last) in [("schöne ", false), ("Grüße", true)] {
        let text = text.to_owned();
        viewer.send(&ToWorker::Paste { text, last });
    }
    while reader.owner("CLIPBOARD") == 0 {}
    assert_eq!(reader.read("CLIPBOARD").as_deref(), Some("schöne Grüße"));
    assert_eq!(other.read("CLIPBOARD"), None, "it was for one");
    assert_eq!(reader.read("PRIMARY").as_deref(), Some("schöne Grüße"));
    while reader.owner("CLIPBOARD") != 0 || reader.owner("PRIMARY") != 0 {}
    assert_eq!(reader.read("CLIPBOARD"), None);
}

#[test]
fn a_paste_leaves_the_selection_that_it_may_replace() {
    let desktop = Desktop::start();
    let viewer = desktop.attach(SIZE);
    let (reader, editor) = (Reader::new(&desktop), Reader::new(&desktop));
    editor.select();
    let selected = editor.owner("PRIMARY");
    let text = "x".repeat(30_000);
    for piece in 0..35 {
        viewer.send(&ToWorker::Paste {
            text: text.clone(),
            last: piece == 34,
        });
    }
    viewer.send(&ToWorker::Paste {
        text: "short".to_owned(),
        last: true,
    });
    while reader.owner("CLIPBOARD") == 0 {}
    assert_eq!(reader.read("CLIPBOARD").as_deref(), Some("short"));
    assert_eq!(editor.owner("PRIMARY"), selected);
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
    viewer.send(&ToWorker::Resize(Size {
        width: 500,
        height: 300,
    }));
    while viewer.access_unit().0.size == SIZE {}
    noise.draw(50);
    let (last, _) = viewer.wait_for_rest();
    let psnr = viewer.eye.psnr(&desktop.screen(last.size));
    assert!(psnr >= 40.0, "{psnr} dB at {}", last.size);
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
fn a_message_that_is_none_ends_the_attach_and_not_the_worker() {
    let desktop = Desktop::start();
    let stranger = desktop.attach_silently();
    rustix::net::send(&stranger.control, b"?", rustix::net::SendFlags::empty()).unwrap();
    while !is_closed(stranger.control.as_fd()) {}
    let other = desktop.attach_silently();
    other.send(&ToWorker::Hello {
        version: u16::MAX,
        bitrate: sandbox_protocol::Bitrate::kbps(1),
        size: SIZE,
    });
    while !is_closed(other.control.as_fd()) {}
    assert!(desktop.attach(SIZE).access_unit().0.is_keyframe);
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

#[test]
fn input_gets_through_a_program_that_grabs_the_server() {
    let desktop = Desktop::start();
    let program = Program::start(&desktop);
    let mut viewer = desktop.attach(SIZE);
    viewer.wait_for_rest();
    let x = connect(&desktop);
    x.grab_server().unwrap().check().unwrap();
    press(&mut viewer, 1, A);
    x.ungrab_server().unwrap().check().unwrap();
    assert_eq!(program.next(), Seen::KeyDown(A.1));
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
fn caps_lock_follows_the_case_of_what_the_viewer_types() {
    let desktop = Desktop::start();
    let program = Program::start(&desktop);
    let mut viewer = desktop.attach(SIZE);
    let upper = (30, u32::from('A'));
    press(&mut viewer, 1, upper);
    press(&mut viewer, 3, upper);
    press(&mut viewer, 5, A);
    let letters = std::iter::from_fn(|| Some(program.next())).filter_map(|it| match it {
        Seen::KeyDown(keysym @ 1..0xff00) => Some(keysym),
        _ => None,
    });
    assert_eq!(letters.take(3).collect::<Vec<_>>(), [upper.1, upper.1, A.1]);
}
