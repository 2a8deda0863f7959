//! A program inside the desktop: it notes every key and answers it by drawing.

use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use x11rb::connection::Connection;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    Atom, AtomEnum, ChangeGCAux, ConfigureWindowAux, ConnectionExt as _, CreateGCAux,
    CreateWindowAux, EventMask, Gcontext, InputFocus, Rectangle, StackMode, Window, WindowClass,
};
use x11rb::rust_connection::{DefaultStream, RustConnection};

use crate::harness::{COOKIE, Desktop, SIZE};

/// What happened to the program's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    KeyDown(u32),
    KeyUp(u32),
    Button { button: u8, x: i16, y: i16 },
    Moved { x: i16, y: i16 },
}

/// Connects to the X server as any program does.
pub(crate) fn connect(desktop: &Desktop) -> RustConnection {
    let socket: UnixStream = desktop.connect();
    let (stream, _) = DefaultStream::from_unix_stream(socket).unwrap();
    let name = b"MIT-MAGIC-COOKIE-1".to_vec();
    let cookie = COOKIE.to_vec();
    RustConnection::connect_to_stream_with_auth_info(stream, 0, name, cookie).unwrap()
}

/// A focused window of 200 × 100 at 10, 20 that flips its colour at each key.
pub(crate) struct Program {
    pub(crate) seen: Receiver<Seen>,
    _thread: JoinHandle<()>,
}

impl Program {
    pub(crate) fn start(desktop: &Desktop) -> Self {
        let x = connect(desktop);
        let (window, gc) = open_window(&x);
        let (sender, seen) = channel();
        let thread = std::thread::spawn(move || {
            let mut shade = 0;
            while let Ok(event) = x.wait_for_event() {
                let Some(seen) = read(&x, &event) else {
                    continue;
                };
                if let Seen::KeyDown(_) = seen {
                    shade ^= 0xff_ffff;
                    paint(&x, window, gc, shade);
                }
                if sender.send(seen).is_err() {
                    return;
                }
            }
        });
        Self {
            seen,
            _thread: thread,
        }
    }

    pub(crate) fn next(&self) -> Seen {
        let patience = Duration::from_secs(30);
        self.seen.recv_timeout(patience).expect("an event comes")
    }

    pub(crate) fn next_keys(&self, count: usize) -> Vec<Seen> {
        (0..count).map(|_| self.next()).collect()
    }
}

fn open_window(x: &RustConnection) -> (Window, Gcontext) {
    let root = x.setup().roots[0].root;
    let window = x.generate_id().unwrap();
    let mask = EventMask::KEY_PRESS
        | EventMask::KEY_RELEASE
        | EventMask::BUTTON_PRESS
        | EventMask::POINTER_MOTION
        | EventMask::EXPOSURE;
    let aux = CreateWindowAux::new()
        .override_redirect(1)
        .background_pixel(0x20_4060)
        .event_mask(mask);
    let class = WindowClass::INPUT_OUTPUT;
    x.create_window(0, window, root, 10, 20, 200, 100, 0, class, 0, &aux)
        .unwrap();
    x.map_window(window).unwrap();
    let gc = x.generate_id().unwrap();
    x.create_gc(gc, window, &CreateGCAux::new()).unwrap();
    x.flush().unwrap();
    while !matches!(x.wait_for_event().unwrap(), Event::Expose(_)) {}
    x.set_input_focus(InputFocus::NONE, window, x11rb::CURRENT_TIME)
        .unwrap();
    x.get_input_focus().unwrap().reply().unwrap();
    (window, gc)
}

/// What a key means at the moment it comes, as a program finds out.
fn read(x: &RustConnection, event: &Event) -> Option<Seen> {
    let keysym = |keycode, state: u16| {
        let mapping = x.get_keyboard_mapping(keycode, 1).unwrap().reply().unwrap();
        // Shift or Caps Lock gives the second meaning.
        mapping.keysyms[usize::from(state & 3 != 0)]
    };
    match event {
        Event::KeyPress(it) => Some(Seen::KeyDown(keysym(it.detail, it.state.into()))),
        Event::KeyRelease(it) => Some(Seen::KeyUp(keysym(it.detail, it.state.into()))),
        Event::ButtonPress(it) => Some(Seen::Button {
            button: it.detail,
            x: it.root_x,
            y: it.root_y,
        }),
        Event::MotionNotify(it) => Some(Seen::Moved {
            x: it.root_x,
            y: it.root_y,
        }),
        _ => None,
    }
}

fn paint(x: &RustConnection, window: Window, gc: Gcontext, shade: u32) {
    x.change_gc(gc, &ChangeGCAux::new().foreground(shade))
        .unwrap();
    let area = Rectangle {
        x: 0,
        y: 0,
        width: 64,
        height: 64,
    };
    x.poly_fill_rectangle(window, gc, &[area]).unwrap();
    x.flush().unwrap();
}

/// A window over the whole screen that shows noise, block by block.
pub(crate) struct Noise {
    x: RustConnection,
    window: Window,
    gc: Gcontext,
    state: u32,
}

impl Noise {
    pub(crate) fn start(desktop: &Desktop, seed: u32) -> Self {
        let x = connect(desktop);
        let (window, gc) = open_window(&x);
        let all = ConfigureWindowAux::new()
            .x(0)
            .y(0)
            .width(u32::from(SIZE.width))
            .height(u32::from(SIZE.height));
        x.configure_window(window, &all).unwrap();
        Self {
            x,
            window,
            gc,
            state: seed,
        }
    }

    /// Comes before all other windows.
    pub(crate) fn raise(&self) {
        let above = ConfigureWindowAux::new().stack_mode(StackMode::ABOVE);
        self.x.configure_window(self.window, &above).unwrap();
        self.x.get_input_focus().unwrap().reply().unwrap();
    }

    /// Draws rectangles of any place, size and colour, all in one request.
    pub(crate) fn draw(&mut self, count: usize) {
        let colour = self.next();
        let areas: Vec<_> = (0..count)
            .map(|_| Rectangle {
                x: self.below(SIZE.width).cast_signed(),
                y: self.below(SIZE.height).cast_signed(),
                width: self.below(40) + 1,
                height: self.below(40) + 1,
            })
            .collect();
        let colour = ChangeGCAux::new().foreground(colour);
        self.x.change_gc(self.gc, &colour).unwrap();
        self.x
            .poly_fill_rectangle(self.window, self.gc, &areas)
            .unwrap();
        self.x.get_input_focus().unwrap().reply().unwrap();
    }

    fn below(&mut self, bound: u16) -> u16 {
        u16::try_from(self.next() % u32::from(bound)).unwrap()
    }

    /// Xorshift, so that a seed replays.
    fn next(&mut self) -> u32 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 17;
        self.state ^= self.state << 5;
        self.state
    }
}

/// A program that pastes.
pub(crate) struct Reader {
    x: RustConnection,
    window: Window,
}

impl Reader {
    pub(crate) fn new(desktop: &Desktop) -> Self {
        let x = connect(desktop);
        let root = x.setup().roots[0].root;
        let window = x.generate_id().unwrap();
        let (aux, class) = (CreateWindowAux::new(), WindowClass::INPUT_ONLY);
        x.create_window(0, window, root, 0, 0, 1, 1, 0, class, 0, &aux)
            .unwrap();
        Self { x, window }
    }

    /// Asks for a selection as UTF-8; `None` when it is refused.
    pub(crate) fn read(&self, selection: &str) -> Option<String> {
        let (x, window) = (&self.x, self.window);
        let (selection, target) = (self.atom(selection), self.atom("UTF8_STRING"));
        let property = self.atom("PASTED");
        x.convert_selection(window, selection, target, property, x11rb::CURRENT_TIME)
            .unwrap();
        x.flush().unwrap();
        let answer = loop {
            if let Event::SelectionNotify(it) = x.wait_for_event().unwrap() {
                break it.property;
            }
        };
        if answer == x11rb::NONE {
            return None;
        }
        let reply = x
            .get_property(true, window, answer, target, 0, u32::MAX / 4)
            .unwrap()
            .reply()
            .unwrap();
        Some(String::from_utf8(reply.value).unwrap())
    }

    /// Who owns a selection; 0 for nobody.
    pub(crate) fn owner(&self, selection: &str) -> Window {
        let selection = self.atom(selection);
        let reply = self.x.get_selection_owner(selection).unwrap().reply();
        reply.unwrap().owner
    }

    /// Becomes the owner of the primary selection, as a program does that selects text.
    pub(crate) fn select(&self) {
        let primary = Atom::from(AtomEnum::PRIMARY);
        self.x
            .set_selection_owner(self.window, primary, x11rb::CURRENT_TIME)
            .unwrap();
        assert_eq!(self.owner("PRIMARY"), self.window);
    }

    fn atom(&self, name: &str) -> Atom {
        let cookie = self.x.intern_atom(false, name.as_bytes()).unwrap();
        cookie.reply().unwrap().atom
    }
}
