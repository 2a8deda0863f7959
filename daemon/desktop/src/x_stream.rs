//! The bytes of an X connection, with an end to patience: a program may hold the X server, and
//! then an answer never comes.

use std::cell::Cell;
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, sendmsg};
use x11rb::rust_connection::{PollMode, Stream};
use x11rb::utils::RawFdContainer;

/// Bytes of an event.
const EVENT_LEN: usize = 32;

/// The socket of one X connection. No descriptors travel on it, and its mode stays as it is: the
/// warden holds it too.
#[derive(Debug)]
pub(crate) struct XStream {
    socket: OwnedFd,
    patience: Cell<Duration>,
}

impl XStream {
    /// Takes a connected socket; waits at most `patience` for each answer.
    pub(crate) const fn new(socket: OwnedFd, patience: Duration) -> Self {
        Self {
            socket,
            patience: Cell::new(patience),
        }
    }

    /// Takes events that nobody waits for off a connection on which no reply is due; whole ones,
    /// so that whoever reads on after us finds the start of one.
    pub(crate) fn skip_events(&self) -> io::Result<()> {
        let mut events = [0; 32 * EVENT_LEN];
        let peek = RecvFlags::DONTWAIT | RecvFlags::PEEK;
        let there = match retry_on_intr(|| recv(&self.socket, &mut events[..], peek)) {
            Ok((_, 0)) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok((_, length)) => length,
            Err(Errno::AGAIN) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        let whole = events
            .get_mut(..there - there % EVENT_LEN)
            .unwrap_or_default();
        if !whole.is_empty() {
            retry_on_intr(|| recv(&self.socket, &mut *whole, RecvFlags::DONTWAIT))?;
        }
        Ok(())
    }

    pub(crate) fn set_patience(&self, patience: Duration) {
        self.patience.set(patience);
    }
}

impl AsFd for XStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Stream for XStream {
    fn poll(&self, mode: PollMode) -> io::Result<()> {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, mode.readable());
        flags.set(PollFlags::OUT, mode.writable());
        let timeout = Timespec::try_from(self.patience.get()).map_err(io::Error::other)?;
        loop {
            let mut fds = [PollFd::new(&self.socket, flags)];
            match poll(&mut fds, Some(&timeout)) {
                Ok(0) => return Err(ErrorKind::TimedOut.into()),
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => (),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn read(&self, buf: &mut [u8], _: &mut Vec<RawFdContainer>) -> io::Result<usize> {
        let (length, _) = retry_on_intr(|| recv(&self.socket, &mut *buf, RecvFlags::DONTWAIT))?;
        Ok(length)
    }

    fn write(&self, buf: &[u8], fds: &mut Vec<RawFdContainer>) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)], fds)
    }

    fn write_vectored(
        &self,
        bufs: &[IoSlice<'_>],
        _: &mut Vec<RawFdContainer>,
    ) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let mut nothing_along = SendAncillaryBuffer::default();
        let send = || sendmsg(&self.socket, bufs, &mut nothing_along, flags);
        Ok(retry_on_intr(send)?)
    }
}
