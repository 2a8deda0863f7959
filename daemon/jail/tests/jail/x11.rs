//! The little of X11 that a test speaks: the greeting with its cookie.

use std::io::{self, Read, Write};

/// Greets an X server; the size of its first screen.
pub(crate) fn greet(mut stream: impl Read + Write, cookie: &[u8]) -> io::Result<(u16, u16)> {
    let name = b"MIT-MAGIC-COOKIE-1";
    let mut greeting = vec![b'l', 0, 11, 0, 0, 0];
    let lengths = if cookie.is_empty() {
        (0, 0)
    } else {
        (name.len(), cookie.len())
    };
    greeting.extend(u16::try_from(lengths.0).unwrap().to_le_bytes());
    greeting.extend(u16::try_from(lengths.1).unwrap().to_le_bytes());
    greeting.extend([0, 0]);
    if !cookie.is_empty() {
        greeting.extend(name);
        greeting.extend([0, 0]);
        greeting.extend(cookie);
    }
    stream.write_all(&greeting)?;
    let mut head = [0; 8];
    stream.read_exact(&mut head)?;
    let mut rest = vec![0; usize::from(u16::from_le_bytes([head[6], head[7]])) * 4];
    stream.read_exact(&mut rest)?;
    if head[0] != 1 {
        let reason = String::from_utf8_lossy(&rest[..usize::from(head[1])]).into_owned();
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    let short = |at: usize| u16::from_le_bytes([rest[at], rest[at + 1]]);
    let vendor = usize::from(short(16)).next_multiple_of(4);
    let formats = usize::from(rest[21]) * 8;
    let screen = 32 + vendor + formats;
    Ok((short(screen + 20), short(screen + 22)))
}
