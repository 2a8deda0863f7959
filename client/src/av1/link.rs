//! The socket to the process that decodes: an exchange, driven by socket and clock.

use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sandbox_protocol::{Rect, Size};

use super::exchange::{Exchange, Fault, Picture};
use crate::clock;

/// Our end of the socket.
#[derive(Debug)]
pub(super) struct Link {
    stream: UnixStream,
    exchange: Exchange,
}

impl Link {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            exchange: Exchange::new(),
        })
    }

    /// Has a temporal unit decoded, and waits for the area of its picture.
    pub(super) fn ask(
        &mut self,
        temporal_unit: &[u8],
        size: Size,
        area: Rect,
    ) -> Result<Picture<'_>, Fault> {
        self.expect_silence()?;
        let head = self
            .exchange
            .ask(clock::now(), temporal_unit.len(), size, area);
        self.write(&head)?;
        self.write(temporal_unit)?;
        loop {
            match self.stream.read(self.exchange.room()) {
                Ok(0) => return Err(Fault::Gone),
                Ok(count) => {
                    if let Some(answered) = self.exchange.handle_bytes(count)? {
                        return Ok(self.exchange.picture(answered));
                    }
                }
                Err(error) => self.wait(PollFlags::IN, error)?,
            }
        }
    }

    /// What is there before an ask does not answer it.
    fn expect_silence(&mut self) -> Result<(), Fault> {
        match self.stream.read(self.exchange.room()) {
            Ok(0) => Err(Fault::Gone),
            Ok(count) => self.exchange.handle_bytes(count).map(drop),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(gone(error)),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) => self.wait(PollFlags::OUT, error)?,
            }
        }
        Ok(())
    }

    /// Waits where that is what `error` asks for, as long as the answer may take.
    fn wait(&self, flags: PollFlags, error: io::Error) -> Result<(), Fault> {
        if error.kind() == io::ErrorKind::Interrupted {
            return Ok(());
        }
        if error.kind() != io::ErrorKind::WouldBlock {
            return Err(gone(error));
        }
        let now = clock::now();
        self.exchange.handle_timeout(now)?;
        let until = self.exchange.poll_timeout().unwrap_or(now);
        let left = Timespec::try_from(until - now).map_err(io::Error::other)?;
        let mut descriptors = [PollFd::from_borrowed_fd(self.stream.as_fd(), flags)];
        match poll(&mut descriptors, Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(Fault::Io(error.into())),
        }
    }
}

fn gone(error: io::Error) -> Fault {
    let is_gone = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
    if is_gone.contains(&error.kind()) {
        Fault::Gone
    } else {
        Fault::Io(error)
    }
}
