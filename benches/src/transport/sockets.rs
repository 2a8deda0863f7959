//! UDP sockets on the loopback, and waiting for several of them.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};

use crate::clock;

/// What comes while the reader does not run: several first pictures, with the kernel's own part.
const BUFFER_BYTES: usize = 8 << 20;

/// Longest UDP datagram.
pub(crate) const DATAGRAM_BYTES: usize = 65_536;

pub(crate) fn open() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    if set_socket_recv_buffer_size_force(&socket, BUFFER_BYTES).is_err() {
        // Without root as much as the host allows.
        set_socket_recv_buffer_size(&socket, BUFFER_BYTES)?;
    }
    Ok(socket)
}

/// Waits until something came, or a time.
pub(crate) fn wait<'a>(
    sockets: impl IntoIterator<Item = &'a UdpSocket>,
    until: Instant,
) -> io::Result<()> {
    let mut fds: Vec<PollFd<'_>> = sockets
        .into_iter()
        .map(|it| PollFd::new(it, PollFlags::IN))
        .collect();
    let left = until.saturating_duration_since(clock::now());
    let timeout = Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    };
    match poll(&mut fds, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// `None` where nothing is to be had now.
pub(crate) fn unless_blocked<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(it) => Ok(Some(it)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
