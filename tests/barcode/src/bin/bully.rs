//! An X program that misbehaves in the way that it is told to.
//!
//! `sandbox-bully WAY FILE`: FILE is made once the harm is done; of the grabbed keys it gets one
//! line `keycode` each. The ways:
//!
//! - `grab` keeps keyboard and pointer to itself;
//! - `kill` has the X server end the clients that came first, which are the desktop's own;
//! - `hold` lets the X server listen to nobody else;
//! - `kill-and-hold` does both, the latter first;
//! - `windows` shows ten thousand windows;
//! - `deaf` asks without end, and never reads an answer.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use x11rb::connection::Connection;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    ConnectionExt, CreateWindowAux, EventMask, GET_KEYBOARD_MAPPING_REQUEST, GrabMode, GrabStatus,
    WindowClass,
};
use x11rb::rust_connection::RustConnection;
use x11rb::{COPY_DEPTH_FROM_PARENT, CURRENT_TIME, NONE};

const WINDOWS: u32 = 10_000;

/// Clients of the X server's that came first: the desktop worker's two.
const CLIENTS_FIRST: std::ops::RangeInclusive<u32> = 1..=2;

/// What each of them may have made by then.
const RESOURCES: u32 = 64;

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
    #[error("somebody else has grabbed the keyboard or the pointer")]
    Grabbed,
    #[error("cannot write the file: {0}")]
    File(#[from] io::Error),
    #[error("usage: sandbox-bully grab|kill|hold|kill-and-hold|windows|deaf FILE")]
    Usage,
}

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell when standard error is closed.
            writeln!(io::stderr(), "sandbox-bully: {error}").ok();
            ExitCode::from(if matches!(error, Error::Usage) { 2 } else { 1 })
        }
    }
}

fn run(mut args: impl Iterator<Item = String>) -> Result<(), Error> {
    let (Some(way), Some(file), None) = (args.next(), args.next(), args.next()) else {
        return Err(Error::Usage);
    };
    let (x, screen) = x11rb::connect(None)?;
    let root = x
        .setup()
        .roots
        .get(screen)
        .map(|it| it.root)
        .ok_or(Error::NoScreen)?;
    match way.as_str() {
        "grab" => return grab(&x, root, &file),
        "kill" => kill(&x)?,
        "hold" => hold(&x)?,
        "kill-and-hold" => {
            hold(&x)?;
            kill(&x)?;
        }
        "windows" => windows(&x, root)?,
        "deaf" => return deaf(&x, &file),
        _ => return Err(Error::Usage),
    }
    File::create(&file)?;
    loop {
        x.wait_for_event()?;
    }
}

fn grab(x: &RustConnection, root: u32, file: &str) -> Result<(), Error> {
    let mode = GrabMode::ASYNC;
    let keyboard = x.grab_keyboard(false, root, CURRENT_TIME, mode, mode)?;
    let keyboard = keyboard.reply()?.status;
    let events = EventMask::BUTTON_PRESS;
    let pointer = x.grab_pointer(false, root, events, mode, mode, NONE, NONE, CURRENT_TIME)?;
    let pointer = pointer.reply()?.status;
    if (keyboard, pointer) != (GrabStatus::SUCCESS, GrabStatus::SUCCESS) {
        return Err(Error::Grabbed);
    }
    let mut log = File::create(file)?;
    loop {
        if let Event::KeyPress(event) = x.wait_for_event()? {
            writeln!(log, "{}", event.detail)?;
        }
    }
}

fn hold(x: &RustConnection) -> Result<(), Error> {
    x.grab_server()?;
    settle(x)
}

/// Whatever a client made names it.
fn kill(x: &RustConnection) -> Result<(), Error> {
    let per_client = x.setup().resource_id_mask + 1;
    for client in CLIENTS_FIRST {
        for resource in 0..RESOURCES {
            // Most name nothing; the error is an event that nobody reads.
            x.kill_client(client * per_client + resource)?;
        }
    }
    settle(x)
}

fn windows(x: &RustConnection, root: u32) -> Result<(), Error> {
    for number in 0..WINDOWS {
        let window = x.generate_id()?;
        let place = i16::try_from(500 + number % 100).unwrap_or_default();
        let (side, border) = (20, 1);
        x.create_window(
            COPY_DEPTH_FROM_PARENT,
            window,
            root,
            place,
            place,
            side,
            side,
            border,
            WindowClass::INPUT_OUTPUT,
            x11rb::COPY_FROM_PARENT,
            &CreateWindowAux::new().background_pixel(number),
        )?;
        x.map_window(window)?;
    }
    settle(x)
}

/// Speaks past the library, which reads whatever comes. Each answer is a thousand times as long as
/// its question.
fn deaf(x: &RustConnection, file: &str) -> Result<(), Error> {
    let (min, max) = (x.setup().min_keycode, x.setup().max_keycode);
    settle(x)?;
    let mut stream = UnixStream::from(x.stream().as_fd().try_clone_to_owned()?);
    stream.set_nonblocking(false)?;
    let [low, high] = 2_u16.to_ne_bytes();
    let question = [
        GET_KEYBOARD_MAPPING_REQUEST,
        0,
        low,
        high,
        min,
        max - min + 1,
        0,
        0,
    ];
    let questions = question.repeat(100);
    File::create(file)?;
    loop {
        stream.write_all(&questions)?;
    }
}

/// Waits until the X server has done all of it.
fn settle(x: &RustConnection) -> Result<(), Error> {
    x.get_input_focus()?.reply()?;
    Ok(())
}
