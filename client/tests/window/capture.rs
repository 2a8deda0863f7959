//! The pointer held in the window.

use sandbox_protocol::wire::input::{Event as Input, HERE};
use x11rb::protocol::xproto::{
    BUTTON_PRESS_EVENT, BUTTON_RELEASE_EVENT, ConnectionExt as _, KEY_PRESS_EVENT,
    KEY_RELEASE_EVENT, MOTION_NOTIFY_EVENT,
};

use crate::fake::Server;
use crate::{SIZE, World, X_KEYCODE_MIN};

const CHORD: [u8; 3] = [29, 56, 42];
const KEY_M: u8 = 50;
const RELATIVE: u8 = 1;

impl World {
    pub(crate) fn press_capture(&self) {
        for key in CHORD {
            self.send(KEY_PRESS_EVENT, key + X_KEYCODE_MIN, (0, 0));
        }
        self.press(KEY_M);
        for key in CHORD {
            self.send(KEY_RELEASE_EVENT, key + X_KEYCODE_MIN, (0, 0));
        }
    }

    #[track_caller]
    fn until_in_the_middle(&self) {
        self.until("the pointer in the middle", |it| {
            (it.pointer() == (320, 200)).then_some(())
        });
    }

    fn pointer(&self) -> (i16, i16) {
        let pointer = self.x.query_pointer(self.root).unwrap().reply().unwrap();
        (pointer.root_x, pointer.root_y)
    }
}

/// How far the pointer was moved by steps.
pub(crate) fn travelled(server: &Server) -> (i32, i32) {
    server.input.iter().fold((0, 0), |(x, y), it| match it {
        Input::MoveBy { dx, dy } => (x + i32::from(*dx), y + i32::from(*dy)),
        _ => (x, y),
    })
}

#[test]
fn a_held_pointer_sends_steps_without_end_until_it_is_let_go() {
    let world = World::new("capture", Server::new(SIZE), &[]);
    world.until_same();
    world.send(MOTION_NOTIFY_EVENT, 0, (600, 45));
    world
        .host
        .until("the pointer", |it| it.moves.last() == Some(&(600, 45)));

    world.press_capture();
    world.until("words over the desktop", |it| {
        (it.shown() != it.host.server().desktop).then_some(())
    });
    world.until_in_the_middle();
    // Much further than the window is wide.
    for step in 1..=20 {
        world.send(MOTION_NOTIFY_EVENT, RELATIVE, (70, -3));
        let way = (70 * step, -3 * step);
        world.host.until("each step", |it| travelled(it) == way);
    }
    for kind in [BUTTON_PRESS_EVENT, BUTTON_RELEASE_EVENT] {
        world.send(kind, 1, (0, 0));
    }
    let (x, y) = HERE;
    let click = [true, false].map(|is_down| Input::Button {
        button: 0,
        is_down,
        x,
        y,
    });
    world
        .host
        .until("a click where it is", |it| it.input.ends_with(&click));
    let last = world.host.server().moves.last().copied();
    assert_eq!(last, Some((600, 45)), "no places");

    // The same keys let it go.
    world.press_capture();
    world.until_same();
    world.send(MOTION_NOTIFY_EVENT, 0, (900, 45));
    world.send(MOTION_NOTIFY_EVENT, 0, (100, 45));
    world
        .host
        .until("a place", |it| it.moves.last() == Some(&(100, 45)));

    // So does another window that has the keys.
    world.press_capture();
    world.until_in_the_middle();
    world.send(MOTION_NOTIFY_EVENT, RELATIVE, (1, 1));
    world
        .host
        .until("a step", |it| travelled(it) == (1_401, -59));
    world.lose_keyboard();
    world.until("a pointer that is free", |it| {
        it.send(MOTION_NOTIFY_EVENT, 0, (900, 900));
        (it.pointer() == (900, 900)).then_some(())
    });
}

#[test]
fn a_server_that_knows_no_steps_gets_none() {
    let mut server = Server::new(SIZE);
    server.features = 1;
    let world = World::new("old", server, &[]);
    world.until_same();
    world.press_capture();
    world.until("words over the desktop", |it| {
        (it.shown() != it.host.server().desktop).then_some(())
    });
    world.send(MOTION_NOTIFY_EVENT, RELATIVE, (9, 9));
    world.send(MOTION_NOTIFY_EVENT, 0, (100, 45));
    world
        .host
        .until("a place", |it| it.moves.last() == Some(&(100, 45)));
    assert_eq!(travelled(&world.host.server()), (0, 0));
}
