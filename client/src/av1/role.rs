//! The process that decodes, from its own side: confined before it reads a byte.

use std::io::{self, Read, Write};
use std::os::fd::AsFd as _;

use rustix::net::{AddressFamily, sockopt};
use sandbox_hw::{Av1Decoder, Planes};
use sandbox_protocol::Rect;

use super::UNCONFINED;
use super::wire::{ANSWER_BYTES, ASK_BYTES, Answer, Ask, samples_bytes};
use crate::platform;

/// Standard input, both ways, and the only descriptor that is used.
struct Channel;

impl Read for Channel {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(io::stdin().as_fd(), bytes)?)
    }
}

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(io::stdin().as_fd(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Plays the role, as the program's only thread; gives the exit code.
pub fn run() -> u8 {
    let domain = sockopt::socket_domain(io::stdin().as_fd());
    if domain != Ok(AddressFamily::UNIX) {
        let words = "sandbox-client: this is for sandbox-client itself to start";
        let _unread = writeln!(io::stderr(), "{words}");
        return 2;
    }
    if platform::confine().is_err() {
        return UNCONFINED;
    }
    // Whoever asked has seen the end, or is gone.
    u8::from(serve(&mut Channel).is_err())
}

/// Answers until the other end is gone, or something cannot be decoded: the library is of no use
/// after that.
fn serve(channel: &mut (impl Read + Write)) -> io::Result<()> {
    let mut decoder = Av1Decoder::new().map_err(io::Error::other)?;
    let mut unit = Vec::new();
    let mut answer = Vec::new();
    loop {
        let mut head = [0; ASK_BYTES];
        match channel.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        }
        let ask = Ask::decode(&head).map_err(io::Error::other)?;
        unit.resize(ask.unit_bytes, 0);
        channel.read_exact(&mut unit)?;
        answer.clear();
        match decoder.decode(&unit, ask.size) {
            Ok(picture) => {
                answer.reserve(ANSWER_BYTES + samples_bytes(ask.area));
                let is_keyframe = picture.is_keyframe;
                answer.extend(Answer::Picture { is_keyframe }.encode(&ask));
                copy(&picture.planes, ask.area, &mut answer);
                channel.write_all(&answer)?;
            }
            Err(error) => {
                channel.write_all(&Answer::Refused.encode(&ask))?;
                return Err(io::Error::other(error));
            }
        }
    }
}

/// Writes the samples of an area of a whole picture behind each other.
fn copy(planes: &Planes<'_>, area: Rect, to: &mut Vec<u8>) {
    let sides = [area.x, area.y, area.width, area.height].map(usize::from);
    let planes = planes.samples.iter().zip(planes.strides).zip([1, 2, 2]);
    for ((samples, stride), share) in planes {
        let [x, y, width, height] = sides.map(|it| it / share);
        for row in samples.chunks(stride).skip(y).take(height) {
            to.extend_from_slice(row.get(x..x + width).unwrap_or_default());
        }
    }
}
