//! What the viewer does reaches the programs; what they do to the pointer reaches the viewer.

use sandbox_protocol::local::worker::ToWorker;
use sandbox_protocol::wire::input::{Event, HERE, Move};
use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::{ChangeWindowAttributesAux, ConnectionExt as _};

use crate::harness::{Desktop, SIZE};
use crate::program::{Program, Reader, Seen, connect};
use crate::selection::Editor;
use crate::{A, STREAM, key, press};

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
fn a_program_that_changes_the_pointer_without_end_floods_nobody() {
    let desktop = Desktop::start();
    let mut viewer = desktop.attach(SIZE);
    viewer.wait_for_cursor();
    let x = connect(&desktop);
    let root = x.setup().roots[0].root;
    let font = x.generate_id().unwrap();
    x.open_font(font, b"cursor").unwrap();
    let shapes = [0_u16, 34].map(|shape| {
        let cursor = x.generate_id().unwrap();
        x.create_glyph_cursor(cursor, font, font, shape, shape + 1, 0, 0, 0, 9, 9, 9)
            .unwrap();
        cursor
    });
    let start = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    for shape in shapes.into_iter().cycle().take(2_000) {
        let aux = ChangeWindowAttributesAux::new().cursor(shape);
        x.change_window_attributes(root, &aux).unwrap();
        x.get_input_focus().unwrap().reply().unwrap();
    }
    let end = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    viewer.counters();
    let slots = (end - start).tv_sec * 60 + 60;
    let pictures = viewer.cursors_waiting();
    assert!(pictures > 0, "the last change is told");
    assert!(
        pictures <= usize::try_from(slots).unwrap() + 2,
        "{pictures}"
    );
}

#[test]
fn the_pointer_goes_where_the_viewer_points_but_never_outside() {
    let desktop = Desktop::start();
    let program = Program::start(&desktop);
    let mut viewer = desktop.attach(SIZE);
    let (_, before) = viewer.wait_for_rest();
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
    let captures = viewer.counters().captures;
    assert_eq!(captures, before.captures, "the viewer draws the pointer");
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
fn the_pointer_moves_by_steps_and_is_clicked_where_it_is() {
    let desktop = Desktop::start();
    let program = Program::start(&desktop);
    let mut viewer = desktop.attach(SIZE);
    let (x, y) = HERE;
    let place = Event::Button {
        button: 0,
        is_down: false,
        x: 20,
        y: 30,
    };
    let click = [true, false].map(|is_down| Event::Button {
        button: 0,
        is_down,
        x,
        y,
    });
    // Steps of a fast hand, too: none is made longer.
    let by = |dx, dy| Event::MoveBy { dx, dy };
    viewer.send_events(
        STREAM,
        1,
        &[place, by(100, 40), by(-7, 3), click[0], click[1]],
    );
    viewer.wait_for_ack(STREAM, 5);
    let seen: Vec<_> = (0..4).map(|_| program.next()).collect();
    let at = |x, y| Seen::Moved { x, y };
    let clicked = Seen::Button {
        button: 1,
        x: 113,
        y: 73,
    };
    assert_eq!(seen, [at(20, 30), at(120, 70), at(113, 73), clicked]);
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
fn a_layout_that_changes_is_followed() {
    let desktop = Desktop::start();
    let program = Program::start(&desktop);
    let mut viewer = desktop.attach(SIZE);
    press(&mut viewer, 1, A);
    assert_eq!(program.next_keys(2), [Seen::KeyDown(A.1), Seen::KeyUp(A.1)]);
    let x = connect(&desktop);
    let other = u32::from('o');
    let keycode_of_a = 38;
    x.change_keyboard_mapping(1, keycode_of_a, 2, &[other, other])
        .unwrap()
        .check()
        .unwrap();
    // Its answer comes when the worker has read what X said before.
    viewer.counters();
    press(&mut viewer, 3, A);
    assert_eq!(program.next_keys(2), [Seen::KeyDown(A.1), Seen::KeyUp(A.1)]);
}

#[test]
fn what_a_program_copies_goes_out_only_after_a_key_or_click() {
    let desktop = Desktop::start();
    let mut viewer = desktop.attach(SIZE);
    let editor = Editor::start(&desktop);
    editor.copy("unasked");
    let wheel = Event::Wheel {
        dx: 0,
        dy: 120,
        x: 5,
        y: 5,
    };
    viewer.send_events(STREAM, 1, &[wheel]);
    viewer.wait_for_ack(STREAM, 1);
    editor.copy("after a wheel step");
    // Its answer comes when the worker has read what X said before.
    viewer.counters();
    press(&mut viewer, 2, A);
    editor.copy("schöne Grüße");
    assert_eq!(viewer.wait_for_copy(), "schöne Grüße");
    // As much as may be, in pieces; what is longer stays inside.
    for (first_seq, length) in [(4, 1 << 20), (6, (1 << 20) + 1), (8, 300_000)] {
        press(&mut viewer, first_seq, A);
        editor.copy(&"x".repeat(length));
        if length <= 1 << 20 {
            assert_eq!(viewer.wait_for_copy().len(), length);
        } else {
            editor.wait_until_read();
        }
    }
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
fn a_text_takes_the_place_of_the_one_before_it() {
    let desktop = Desktop::start();
    let viewer = desktop.attach(SIZE);
    let reader = Reader::new(&desktop);
    for text in ["one", "two", "three"] {
        viewer.send(&ToWorker::Paste {
            text: text.to_owned(),
            last: true,
        });
        // The word of what was taken back comes after the new offer, and is not about it.
        while reader.read("CLIPBOARD").as_deref() != Some(text) {}
    }
    assert_eq!(reader.read("CLIPBOARD").as_deref(), Some("three"));
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
