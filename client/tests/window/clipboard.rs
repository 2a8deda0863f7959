//! Texts between this screen's clipboard and the desktop's.

use sandbox_protocol::wire::control::{FromServer, FromViewer};
use sandbox_protocol::wire::input::Event as Input;
use x11rb::connection::Connection as _;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    Atom, AtomEnum, ConnectionExt as _, CreateWindowAux, EventMask, KEY_PRESS_EVENT,
    KEY_RELEASE_EVENT, MOTION_NOTIFY_EVENT, PropMode, SELECTION_NOTIFY_EVENT, SelectionNotifyEvent,
    Window, WindowClass,
};
use x11rb::wrapper::ConnectionExt as _;

use crate::fake::Server;
use crate::{SIZE, World, X_KEYCODE_MIN};

const KEY_CONTROL: u8 = 29;
const KEY_V: u8 = 47;

impl World {
    /// What a program of this screen pastes; nothing before it was copied, and nothing while the
    /// clipboard is still what the test itself has copied.
    pub(crate) fn clipboard(&self) -> Vec<u8> {
        let (clipboard, text) = (self.atom(b"CLIPBOARD"), self.atom(b"UTF8_STRING"));
        let asker = self.x.generate_id().unwrap();
        let aux = CreateWindowAux::new();
        let input_only = WindowClass::INPUT_ONLY;
        self.x
            .create_window(0, asker, self.root, 0, 0, 1, 1, 0, input_only, 0, &aux)
            .unwrap();
        self.x
            .convert_selection(asker, clipboard, text, text, x11rb::CURRENT_TIME)
            .unwrap();
        self.x.flush().unwrap();
        self.until("an answer to who pastes", |it| {
            let event = it.x.poll_for_event().unwrap()?;
            if matches!(event, Event::SelectionRequest(_)) {
                return Some(Vec::new());
            }
            let Event::SelectionNotify(told) = event else {
                return None;
            };
            if told.requestor != asker {
                return None;
            }
            if told.property == x11rb::NONE {
                return Some(Vec::new());
            }
            let property =
                it.x.get_property(true, asker, text, AtomEnum::ANY, 0, 1_024);
            Some(property.unwrap().reply().unwrap().value)
        })
    }

    pub(crate) fn atom(&self, name: &[u8]) -> Atom {
        let reply = self.x.intern_atom(false, name).unwrap().reply();
        reply.unwrap().atom
    }

    /// A program of this screen copies: its clipboard.
    fn copy(&self) -> Window {
        let owner = self.x.generate_id().unwrap();
        let aux = CreateWindowAux::new();
        let input_only = WindowClass::INPUT_ONLY;
        self.x
            .create_window(0, owner, self.root, 0, 0, 1, 1, 0, input_only, 0, &aux)
            .unwrap();
        self.x
            .set_selection_owner(owner, self.atom(b"CLIPBOARD"), x11rb::CURRENT_TIME)
            .unwrap();
        self.x.flush().unwrap();
        owner
    }

    /// Gives the copied text to whoever asks next.
    fn give(&self, text: &str) {
        let asked = self.until("somebody to paste", |it| {
            match it.x.poll_for_event().unwrap() {
                Some(Event::SelectionRequest(asked)) => Some(asked),
                _ => None,
            }
        });
        assert_eq!(asked.target, self.atom(b"UTF8_STRING"));
        self.x
            .change_property8(
                PropMode::REPLACE,
                asked.requestor,
                asked.property,
                asked.target,
                text.as_bytes(),
            )
            .unwrap();
        let told = SelectionNotifyEvent {
            response_type: SELECTION_NOTIFY_EVENT,
            sequence: 0,
            time: asked.time,
            requestor: asked.requestor,
            selection: asked.selection,
            target: asked.target,
            property: asked.property,
        };
        let nobody_else = EventMask::NO_EVENT;
        self.x
            .send_event(false, asked.requestor, nobody_else, told)
            .unwrap();
        self.x.flush().unwrap();
    }

    fn press_paste(&self) {
        self.send(KEY_PRESS_EVENT, KEY_CONTROL + X_KEYCODE_MIN, (0, 0));
        self.press(KEY_V);
        self.send(KEY_RELEASE_EVENT, KEY_CONTROL + X_KEYCODE_MIN, (0, 0));
    }
}

/// What the server was told of pasted texts and of V, in order.
fn heard(server: &Server) -> (Vec<String>, usize) {
    let mut texts = Vec::new();
    for message in &server.heard {
        if let FromViewer::Paste { text, .. } = message {
            texts.push(text.clone());
        }
    }
    (texts, server.input.iter().filter(is_v).count())
}

fn is_v(input: &&Input) -> bool {
    matches!(
        input,
        Input::Key {
            code: 47,
            is_down: true,
            ..
        }
    )
}

#[test]
fn the_clipboard_goes_to_the_desktop_when_the_user_pastes() {
    let mut server = Server::new(SIZE);
    server.confirms = false;
    let world = World::new("paste", server, &[]);
    world.until_same();
    let one = vec!["größe €".to_owned()];
    world.copy();
    world.press_paste();
    world.give("größe €");
    world.host.until("the text", |it| heard(it).0 == one);
    assert_eq!(heard(&world.host.server()).1, 0, "the key waits");
    world.host.change(|it| it.say(&FromServer::Pasted));
    world.host.until("the key", |it| heard(it).1 == 1);

    // The desktop has forgotten it with the first program that asked.
    world.host.change(|it| it.confirms = true);
    world.press_paste();
    world.give("größe €");
    let two = [one.clone(), one].concat();
    world
        .host
        .until("both again", |it| heard(it) == (two.clone(), 2));

    // What the desktop copied it has by itself.
    world.host.change(|it| {
        it.say(&FromServer::Copied {
            text: "its own".to_owned(),
            is_first: true,
            is_last: true,
        });
    });
    world.until("the copied text", |it| {
        (it.clipboard() == b"its own").then_some(())
    });
    world.press_paste();
    world
        .host
        .until("the key alone", |it| heard(it) == (two.clone(), 3));

    // Nor is anything read for an observer.
    world
        .host
        .change(|it| it.say(&FromServer::Control { has_control: false }));
    world.host.change(|it| {
        it.say(&FromServer::Copied {
            text: "after it".to_owned(),
            is_first: true,
            is_last: true,
        });
    });
    world.until("the word", |it| {
        (it.clipboard() == b"after it").then_some(())
    });
    world.copy();
    world.press_paste();
    world
        .host
        .until("the key without a text", |it| heard(it) == (two.clone(), 4));
    while let Some(event) = world.x.poll_for_event().unwrap() {
        assert!(!matches!(event, Event::SelectionRequest(_)), "{event:?}");
    }
}

#[test]
fn a_program_that_does_not_give_its_text_holds_nothing_up_but_the_keys_and_those_not_long() {
    let world = World::new("hung", Server::new(SIZE), &[]);
    world.until_same();
    world.copy();
    // What the window hears of at once, after the key that pastes.
    world.send(KEY_PRESS_EVENT, KEY_CONTROL + X_KEYCODE_MIN, (0, 0));
    world.send(KEY_PRESS_EVENT, KEY_V + X_KEYCODE_MIN, (0, 0));
    world.send(MOTION_NOTIFY_EVENT, 0, (123, 45));
    world
        .host
        .until("the pointer", |it| it.moves.last() == Some(&(123, 45)));
    world.host.until("the key", |it| heard(it).1 == 1);
    let server = world.host.server();
    assert_eq!(heard(&server), (Vec::new(), 1));
    let at = server.input.iter().position(|it| is_v(&it)).unwrap();
    assert!(
        server.issued_before_move as usize <= at,
        "the pointer has waited with the key"
    );
    drop(server);
    world.until("words over the desktop", |it| {
        (it.shown() != it.host.server().desktop).then_some(())
    });
}
