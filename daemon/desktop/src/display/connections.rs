//! Opens connections to the X server, and takes over the one that the worker before kept in
//! reserve.
//!
//! For the latter: the X server counts the requests of a connection in 16 bits and names them in
//! its replies; our library counts from 0. One question tells where the server is, and requests
//! that do nothing bring its count to 0.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::time::Duration;

use x11rb::connection::{Connection, RequestConnection};
use x11rb::protocol::xc_misc;
use x11rb::protocol::xproto::NO_OPERATION_REQUEST;
use x11rb::protocol::xtest::{self, ConnectionExt as _};
use x11rb::rust_connection::{PollMode, RustConnection, Stream};

use super::{ANSWER_PATIENCE, DisplayError, X};
use crate::x_stream::XStream;

/// Bytes of a reply or an event without what may follow.
const PACKET_LEN: usize = 32;

const REPLY: u8 = 1;
const ERROR: u8 = 0;
const GENERIC_EVENT: u8 = 35;

/// More of one reply than any event that this connection can get.
const REST_MAX: usize = 64 << 10;

/// Says hello on a connected socket.
pub(super) fn connect(
    socket: OwnedFd,
    cookie: [u8; 16],
    patience: Duration,
) -> Result<X, DisplayError> {
    let stream = XStream::new(socket, patience);
    let name = b"MIT-MAGIC-COOKIE-1".to_vec();
    let x = X::connect_to_stream_with_auth_info(stream, 0, name, cookie.to_vec())?;
    x.stream().set_patience(ANSWER_PATIENCE);
    Ok(x)
}

/// No grab of a program holds this connection up.
pub(super) fn get_through_grabs(x: &X) -> Result<(), DisplayError> {
    if x.extension_information(xtest::X11_EXTENSION_NAME)?
        .is_none()
    {
        return Err(DisplayError::Extension("XTEST"));
    }
    x.xtest_get_version(2, 2)?.reply()?;
    x.xtest_grab_control(true)?.check()?;
    Ok(())
}

/// Speaks on over a connection on which another process spoke last, and whole requests only.
/// `fresh` is a connection of our own to the same server.
pub(super) fn succeed(stream: XStream, fresh: &X) -> Result<X, DisplayError> {
    let misc = fresh
        .extension_information(xc_misc::X11_EXTENSION_NAME)?
        .ok_or(DisplayError::Extension("XC-MISC"))?;
    let misc = misc.major_opcode;
    let before = ask(&stream, misc).map_err(io_error)?;
    // One less: the second question is counted too. Its answer comes after every event that
    // names an old number.
    let until_zero = u16::MAX - before.sequence;
    let nothing = [NO_OPERATION_REQUEST, 0, 1, 0].repeat(until_zero.into());
    write_all(&stream, &nothing).map_err(io_error)?;
    let at_zero = ask(&stream, misc).map_err(io_error)?;
    if at_zero.sequence != 0 {
        return Err(io_error(ErrorKind::InvalidData.into()));
    }
    // All connections of a server differ in the ids that they may give, and in nothing else.
    let mut setup = fresh.setup().clone();
    setup.resource_id_base = at_zero.free_id & !setup.resource_id_mask;
    Ok(RustConnection::for_connected_stream(stream, setup)?)
}

struct Whereabouts {
    /// Number of the last request, as the server counts.
    sequence: u16,
    /// An id that this connection may give.
    free_id: u32,
}

/// Asks for a range of free ids (XC-MISC `GetXIDRange`).
fn ask(stream: &XStream, misc: u8) -> io::Result<Whereabouts> {
    write_all(stream, &[misc, xc_misc::GET_XID_RANGE_REQUEST, 1, 0])?;
    loop {
        let mut packet = [0; PACKET_LEN];
        read_exact(stream, &mut packet)?;
        let [kind, _, low, high, a, b, c, d, id @ ..] = packet;
        if matches!(kind, REPLY | GENERIC_EVENT) {
            let rest = u32::from_ne_bytes([a, b, c, d]) as usize * 4;
            if rest > REST_MAX {
                return Err(ErrorKind::InvalidData.into());
            }
            read_exact(stream, &mut vec![0; rest])?;
        }
        match kind {
            REPLY => {
                let id = id.first_chunk().copied().unwrap_or_default();
                return Ok(Whereabouts {
                    sequence: u16::from_ne_bytes([low, high]),
                    free_id: u32::from_ne_bytes(id),
                });
            }
            ERROR => return Err(ErrorKind::InvalidData.into()),
            // An event: it came before we did.
            _ => {}
        }
    }
}

fn read_exact(stream: &XStream, mut into: &mut [u8]) -> io::Result<()> {
    while !into.is_empty() {
        match stream.read(into, &mut Vec::new()) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => into = into.get_mut(length..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                stream.poll(PollMode::Readable)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn write_all(stream: &XStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.write(bytes, &mut Vec::new()) {
            Ok(length) => bytes = bytes.get(length..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                stream.poll(PollMode::Writable)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn io_error(error: io::Error) -> DisplayError {
    x11rb::errors::ConnectionError::IoError(error).into()
}
