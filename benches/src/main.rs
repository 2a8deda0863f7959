//! Presses keys in an X display and times the answer in that display's pixels.
//!
//! `sandbox-bench-latency KEYS BLOCK SEED NAME=DISPLAY,FBDIR...` presses KEYS keys in each
//! display, in blocks of BLOCK by turns, and prints one line of JSON for each. What runs in a
//! display shows the barcode of `sandbox-barcode`: on its own screen, or in a viewer that fills
//! this one.
mod clock;
mod random;
mod screen;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use random::Random;
use screen::{Screen, ScreenError};
use serde::Serialize;
use x11rb::connection::Connection;
use x11rb::protocol::xproto::{ConnectionExt as _, KEY_PRESS_EVENT, KEY_RELEASE_EVENT};
use x11rb::protocol::xtest::ConnectionExt as _;
use x11rb::rust_connection::RustConnection;

/// Time from one key to the next, in microseconds: fast typing, at random phase to any frame.
const GAP_MICROS: (u64, u64) = (37_000, 90_000);
/// Time between two looks at the square. A tight loop would take one of two cores from what is
/// measured; this costs some 3 % of one, and at most its own length.
const POLL: Duration = Duration::from_micros(50);
/// A look that comes this late says that the machine was too busy to measure on.
const GAP_BAD: Duration = Duration::from_millis(1);
/// An answer that takes longer is counted as lost.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// X keycodes of the letter rows, which every layout maps.
const KEYCODES: [u8; 26] = [
    24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 38, 39, 40, 41, 42, 43, 44, 45, 46, 52, 53, 54, 55, 56,
    57, 58,
];

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("usage: sandbox-bench-latency KEYS BLOCK SEED NAME=DISPLAY,FBDIR...")]
    Usage,
    #[error("cannot reach the X display {name}: {source}")]
    Connect {
        name: String,
        source: x11rb::errors::ConnectError,
    },
    #[error("the X connection ended: {0}")]
    Connection(#[from] x11rb::errors::ConnectionError),
    #[error("the X server refused: {0}")]
    Reply(#[from] x11rb::errors::ReplyError),
    #[error("{0}: {source}", source = std::error::Error::source(.0).map_or_else(
        String::new, ToString::to_string))]
    Screen(#[from] ScreenError),
    #[error("{name} shows no barcode")]
    NoBarcode { name: String },
    #[error("cannot set the timer's slack or write the result: {0}")]
    Io(#[from] io::Error),
}

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(io::stderr(), "sandbox-bench-latency: {error}").ok();
            ExitCode::from(if matches!(error, Error::Usage) { 2 } else { 1 })
        }
    }
}

fn run(args: &[String]) -> Result<(), Error> {
    let [keys, block, seed, names @ ..] = args else {
        return Err(Error::Usage);
    };
    let parse = |it: &String| it.parse::<u64>().map_err(|_| Error::Usage);
    let (keys, block, seed) = (parse(keys)?, parse(block)?.max(1), parse(seed)?);
    let mut displays = names
        .iter()
        .map(|it| Display::open(it))
        .collect::<Result<Vec<_>, _>>()?;
    if displays.is_empty() {
        return Err(Error::Usage);
    }
    clock::sleep_precisely()?;
    let mut random = Random(seed);
    let mut left = keys;
    while left > 0 {
        let now = block.min(left);
        for display in &mut displays {
            display.press_block(now, &mut random)?;
        }
        left -= now;
    }
    let mut out = io::stdout().lock();
    for display in &displays {
        let line = serde_json::to_string(&display.result).map_err(io::Error::other)?;
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// What was seen in one display.
#[derive(Debug, Default, Serialize)]
struct Seen {
    name: String,
    /// Key injected to pixel changed, in microseconds, of the keys that were answered.
    micros: Vec<u64>,
    /// Keys whose answer did not come within two seconds.
    lost: u64,
    /// Keys more than were pressed, by the barcode's number.
    doubled: u64,
    /// Answers that came only when the next key was due.
    late: u64,
    /// Looks at the square that came a millisecond or more after the one before.
    bad_gaps: u64,
    looks: u64,
}

/// An X display, its pixels, and what was seen there.
struct Display {
    x: RustConnection,
    screen: Screen,
    /// The barcode's number when all keys pressed so far are answered.
    number: u16,
    result: Seen,
}

impl Display {
    fn open(text: &str) -> Result<Self, Error> {
        let (name, rest) = text.split_once('=').ok_or(Error::Usage)?;
        let (display, fbdir) = rest.split_once(',').ok_or(Error::Usage)?;
        let connect = |source| Error::Connect {
            name: display.to_owned(),
            source,
        };
        let (x, _) = x11rb::connect(Some(display)).map_err(connect)?;
        let screen = Screen::open(Path::new(&PathBuf::from(fbdir)))?;
        let number = screen.number()?.ok_or_else(|| Error::NoBarcode {
            name: name.to_owned(),
        })?;
        let result = Seen {
            name: name.to_owned(),
            ..Seen::default()
        };
        Ok(Self {
            x,
            screen,
            number,
            result,
        })
    }

    fn press_block(&mut self, keys: u64, random: &mut Random) -> Result<(), Error> {
        let mut due = clock::now();
        for _ in 0..keys {
            let (low, high) = GAP_MICROS;
            due += Duration::from_micros(random.within(low, high));
            if clock::now() > due {
                self.result.late += 1;
                due = clock::now();
            }
            clock::sleep_until(due);
            let which = usize::try_from(random.within(0, KEYCODES.len() as u64)).unwrap_or(0);
            self.press(KEYCODES.get(which).copied().unwrap_or(KEYCODES[0]))?;
        }
        // The last answer's barcode, so that the next block starts from a known number.
        self.settle()?;
        // A server forgets the last wishes of a client that leaves: the key would stay down.
        self.x.get_input_focus()?.reply()?;
        Ok(())
    }

    /// Presses one key, waits for its answer and lets it go.
    fn press(&mut self, keycode: u8) -> Result<(), Error> {
        self.settle()?;
        let was_white = self.screen.is_square_white()?;
        let start = clock::now();
        self.x
            .xtest_fake_input(KEY_PRESS_EVENT, keycode, 0, x11rb::NONE, 0, 0, 0)?;
        self.x.flush()?;
        let answered = self.wait_for_change(was_white, start)?;
        self.number = self.number.wrapping_add(1);
        match answered {
            Some(at) => {
                let micros = at.saturating_duration_since(start).as_micros();
                self.result
                    .micros
                    .push(u64::try_from(micros).unwrap_or(u64::MAX));
            }
            None => self.result.lost += 1,
        }
        self.x
            .xtest_fake_input(KEY_RELEASE_EVENT, keycode, 0, x11rb::NONE, 0, 0, 0)?;
        Ok(self.x.flush()?)
    }

    fn wait_for_change(
        &mut self,
        was_white: bool,
        start: Instant,
    ) -> Result<Option<Instant>, Error> {
        let mut last = start;
        loop {
            let is_white = self.screen.is_square_white()?;
            let now = clock::now();
            self.result.looks += 1;
            self.result.bad_gaps += u64::from(now - last >= GAP_BAD);
            if is_white != was_white {
                return Ok(Some(now));
            }
            if now - start >= ANSWER_MAX {
                return Ok(None);
            }
            last = now;
            clock::sleep(POLL);
        }
    }

    /// Waits until the barcode shows the number of keys pressed; what it shows instead after two
    /// seconds is lost or doubled, and counted from then on.
    fn settle(&mut self) -> Result<(), Error> {
        let start = clock::now();
        loop {
            let shown = self.screen.number()?;
            if shown == Some(self.number) {
                return Ok(());
            }
            if clock::now() - start >= ANSWER_MAX {
                let name = || self.result.name.clone();
                let shown = shown.ok_or_else(|| Error::NoBarcode { name: name() })?;
                self.result.doubled += u64::from(shown.saturating_sub(self.number));
                self.number = shown;
                return Ok(());
            }
            clock::sleep(POLL);
        }
    }
}
