//! The bytes of an X connection, with an end to patience: a program may hold the X server, and
//! then an answer never comes.

use std::cell::Cell;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use x11rb::rust_connection::{PollMode, Stream};
use x11rb::utils::RawFdContainer;

/// The socket of one X connection. No descriptors travel on it.
#[derive(Debug)]
pub(crate) struct XStream {
    socket: UnixStream,
    patience: Cell<Duration>,
}

impl XStream {
    /// Takes a connected socket; waits at most `patience` for each answer.
    pub(crate) fn new(socket: OwnedFd, patience: Duration) -> io::Result<Self> {
        let socket = UnixStream::from(socket);
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            patience: Cell::new(patience),
        })
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
        retry(|| (&self.socket).read(buf))
    }

    fn write(&self, buf: &[u8], _: &mut Vec<RawFdContainer>) -> io::Result<usize> {
        retry(|| (&self.socket).write(buf))
    }

    fn write_vectored(
        &self,
        bufs: &[IoSlice<'_>],
        _: &mut Vec<RawFdContainer>,
    ) -> io::Result<usize> {
        retry(|| (&self.socket).write_vectored(bufs))
    }
}

fn retry<T>(mut operation: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match operation() {
            Err(error) if error.kind() == ErrorKind::Interrupted => (),
            result => return result,
        }
    }
}
