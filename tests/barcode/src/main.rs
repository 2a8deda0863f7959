//! A full-screen X program that answers each key press with a flipped square and a barcode.
//!
//! `sandbox-barcode [--log FILE]`: FILE gets one line `number keycode` for each key. It
//! sleeps in the X connection between keys and draws nothing by itself. Control+C copies a text,
//! Control+L copies one three seconds later.

mod copy;

use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use sandbox_barcode::{BLOCK, Barcode, COLUMNS, Key, ORIGIN, ROWS, SQUARE, SQUARE_X, SQUARE_Y};
use x11rb::connection::Connection;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    AtomEnum, ChangeGCAux, ClientMessageEvent, ConnectionExt, CreateGCAux, CreateWindowAux,
    EventMask, Gcontext, GetKeyboardMappingReply, GrabMode, GrabStatus, InputFocus, KeyPressEvent,
    PropMode, Rectangle, Screen, Visibility, Window, WindowClass,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot reach the X server that DISPLAY names: {0}")]
    Connect(#[from] x11rb::errors::ConnectError),
    #[error("the X connection ended: {0}")]
    Connection(#[from] x11rb::errors::ConnectionError),
    #[error("the X server refused: {0}")]
    Reply(#[from] x11rb::errors::ReplyError),
    #[error("the X server refused: {0}")]
    ReplyOrId(#[from] x11rb::errors::ReplyOrIdError),
    #[error("the X server has no screen")]
    NoScreen,
    #[error("cannot write the log {path}: {source}")]
    Log { path: String, source: io::Error },
    #[error("usage: sandbox-barcode [--log FILE]")]
    Usage,
}

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell when standard error is closed.
            writeln!(io::stderr(), "sandbox-barcode: {error}").ok();
            ExitCode::from(if matches!(error, Error::Usage) { 2 } else { 1 })
        }
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "X knows 60 events; four matter here"
)]
fn run(mut args: impl Iterator<Item = String>) -> Result<(), Error> {
    let mut log = match (args.next().as_deref(), args.next(), args.next()) {
        (None, None, None) => None,
        (Some("--log"), Some(path), None) => Some(Log::open(path)?),
        _ => return Err(Error::Usage),
    };
    let (x, screen) = x11rb::connect(None)?;
    let x = Arc::new(x);
    let screen = x.setup().roots.get(screen).ok_or(Error::NoScreen)?;
    let mut keymap = keymap(&x)?;
    let mut barcode = Barcode::default();
    let mut view = View::open(&x, screen)?;
    loop {
        match x.wait_for_event()? {
            Event::KeyPress(event) => {
                let key = key(&keymap, x.setup().min_keycode, &event);
                barcode.press(key);
                copy::handle_key(&x, view.window, key)?;
                view.show(&barcode)?;
                if let Some(log) = &mut log {
                    log.write(&barcode, event.detail)?;
                }
            }
            Event::Expose(event) if event.count == 0 => view.paint(&barcode)?,
            // The keyboard is held, yet a window that gets the focus comes to the front as well.
            Event::VisibilityNotify(event) if event.state != Visibility::UNOBSCURED => {
                view.take_focus()?;
            }
            Event::SelectionRequest(event) => copy::answer(&x, &event, barcode.number())?,
            Event::MappingNotify(_) => keymap = self::keymap(&x)?,
            _ => (),
        }
    }
}

fn keymap(x: &RustConnection) -> Result<GetKeyboardMappingReply, Error> {
    let (min, max) = (x.setup().min_keycode, x.setup().max_keycode);
    Ok(x.get_keyboard_mapping(min, max - min + 1)?.reply()?)
}

fn key(keymap: &GetKeyboardMappingReply, min_keycode: u8, event: &KeyPressEvent) -> Key {
    let state = u16::from(event.state);
    let per_key = usize::from(keymap.keysyms_per_keycode);
    let row = usize::from(event.detail.saturating_sub(min_keycode)) * per_key;
    let is_shifted = state & 1 != 0;
    let keysym = |column: usize| keymap.keysyms.get(row + column).copied().unwrap_or(0);
    let shifted = if is_shifted { keysym(1) } else { 0 };
    let [_, modifiers] = state.to_be_bytes();
    Key {
        keycode: event.detail,
        modifiers,
        keysym: if shifted == 0 { keysym(0) } else { shifted },
    }
}

struct View<'a> {
    x: &'a RustConnection,
    root: Window,
    window: Window,
    white: Gcontext,
    black: Gcontext,
    active_window: u32,
    shown: [u16; ROWS as usize],
}

impl<'a> View<'a> {
    /// Makes the window and lets the window manager, where there is one, fill the screen with it.
    fn open(x: &'a RustConnection, screen: &Screen) -> Result<Self, Error> {
        let window = x.generate_id()?;
        let values = CreateWindowAux::new()
            .background_pixel(screen.black_pixel)
            .event_mask(EventMask::KEY_PRESS | EventMask::EXPOSURE | EventMask::VISIBILITY_CHANGE);
        let size = x.get_geometry(screen.root)?.reply()?;
        x.create_window(
            screen.root_depth,
            window,
            screen.root,
            0,
            0,
            size.width,
            size.height,
            0,
            WindowClass::INPUT_OUTPUT,
            screen.root_visual,
            &values,
        )?;
        let title = b"sandbox-barcode";
        x.change_property8(
            PropMode::REPLACE,
            window,
            AtomEnum::WM_NAME,
            AtomEnum::STRING,
            title,
        )?;
        let atom = |name: &str| x.intern_atom(false, name.as_bytes());
        let (state, full) = (atom("_NET_WM_STATE")?, atom("_NET_WM_STATE_FULLSCREEN")?);
        let active_window = atom("_NET_ACTIVE_WINDOW")?.reply()?.atom;
        let (state, full) = (state.reply()?.atom, full.reply()?.atom);
        x.change_property32(PropMode::REPLACE, window, state, AtomEnum::ATOM, &[full])?;
        let (white, black) = (x.generate_id()?, x.generate_id()?);
        for (gc, pixel) in [(white, screen.white_pixel), (black, screen.black_pixel)] {
            x.create_gc(gc, window, &CreateGCAux::new().graphics_exposures(0))?;
            x.change_gc(gc, &ChangeGCAux::new().foreground(pixel))?;
        }
        x.map_window(window)?;
        x.flush()?;
        Ok(Self {
            x,
            root: screen.root,
            window,
            white,
            black,
            active_window,
            shown: [0; ROWS as usize],
        })
    }

    /// Draws everything anew, the window having been uncovered, and takes the keyboard.
    fn paint(&mut self, barcode: &Barcode) -> Result<(), Error> {
        self.x.clear_area(false, self.window, 0, 0, 0, 0)?;
        self.shown = [0; ROWS as usize];
        self.take_focus()?;
        self.grab()?;
        self.show(barcode)
    }

    /// Draws what differs from what is shown, the square first.
    fn show(&mut self, barcode: &Barcode) -> Result<(), Error> {
        let square = if barcode.number() % 2 == 1 {
            self.white
        } else {
            self.black
        };
        let area = rectangle(SQUARE_X, SQUARE_Y, SQUARE);
        self.x.poly_fill_rectangle(self.window, square, &[area])?;
        let rows = barcode.rows();
        let blocks = |word: fn(u16, u16) -> u16| -> Vec<Rectangle> {
            rows.iter()
                .zip(self.shown)
                .zip(0..)
                .flat_map(|((new, old), row)| {
                    let word = word(*new, old);
                    (0..COLUMNS)
                        .filter(move |it| word << it & 0x8000 != 0)
                        .map(move |it| (row, it))
                })
                .map(|(row, column)| {
                    rectangle(ORIGIN + column * BLOCK, ORIGIN + row * BLOCK, BLOCK)
                })
                .collect()
        };
        let (whitened, blackened) = (blocks(|new, old| new & !old), blocks(|new, old| old & !new));
        self.x
            .poly_fill_rectangle(self.window, self.white, &whitened)?;
        self.x
            .poly_fill_rectangle(self.window, self.black, &blackened)?;
        self.shown = rows;
        Ok(self.x.flush()?)
    }

    /// Holds the keyboard before anything is shown. A program that starts at the same time takes
    /// the focus for a moment, and keys typed then would be its own.
    #[expect(
        clippy::disallowed_methods,
        reason = "X tells nobody when another client lets go of the keyboard"
    )]
    fn grab(&self) -> Result<(), Error> {
        let (way, now) = (GrabMode::ASYNC, x11rb::CURRENT_TIME);
        loop {
            let asked = self.x.grab_keyboard(false, self.window, now, way, way)?;
            match asked.reply()?.status {
                GrabStatus::SUCCESS => return Ok(()),
                _ => std::thread::sleep(std::time::Duration::from_millis(5)),
            }
        }
    }

    /// Asks the window manager for the keyboard, and takes it where there is none.
    fn take_focus(&self) -> Result<(), Error> {
        // Source 2, "pager": window managers do not refuse those as focus theft.
        let ask = ClientMessageEvent::new(32, self.window, self.active_window, [2, 0, 0, 0, 0]);
        let mask = EventMask::SUBSTRUCTURE_REDIRECT | EventMask::SUBSTRUCTURE_NOTIFY;
        self.x.send_event(false, self.root, mask, ask)?;
        self.x
            .set_input_focus(InputFocus::PARENT, self.window, x11rb::CURRENT_TIME)?;
        Ok(self.x.flush()?)
    }
}

fn rectangle(x: u16, y: u16, side: u16) -> Rectangle {
    let [x, y] = [x, y].map(|it| i16::try_from(it).unwrap_or(i16::MAX));
    Rectangle {
        x,
        y,
        width: side,
        height: side,
    }
}

struct Log {
    file: File,
    path: String,
}

impl Log {
    fn open(path: String) -> Result<Self, Error> {
        match File::create(&path) {
            Ok(file) => Ok(Self { file, path }),
            Err(source) => Err(Error::Log { path, source }),
        }
    }

    fn write(&mut self, barcode: &Barcode, keycode: u8) -> Result<(), Error> {
        writeln!(self.file, "{} {keycode}", barcode.number()).map_err(|source| Error::Log {
            path: self.path.clone(),
            source,
        })
    }
}
