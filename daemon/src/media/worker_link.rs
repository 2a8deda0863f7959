//! The two sockets between this daemon and a session's worker, for one attach.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;

use async_channel::{Receiver, Sender};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use sandbox_protocol::codec;
use sandbox_protocol::limits::LOCAL_MESSAGE_BYTES_MAX;
use sandbox_protocol::local::worker::{FromWorker, ToWorker};
use smol::Async;

use super::outbox::{Outbox, Stuck};

/// Our ends of control (SEQPACKET) and media (STREAM).
///
/// Both are read without a control buffer, so descriptors that a worker passes are dropped by the
/// kernel.
#[derive(Debug)]
pub(super) struct WorkerLink {
    control: Async<OwnedFd>,
    media: Async<OwnedFd>,
    outbox: RefCell<Outbox>,
    is_full: (Sender<()>, Receiver<()>),
}

/// What came from a worker was not what the wire allows.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("cannot read the worker's socket")]
    Io(#[from] io::Error),
    #[error("worker sent a message of {0} bytes")]
    TooLarge(usize),
    #[error("worker sent no message")]
    Malformed(#[from] codec::CodecError),
}

impl WorkerLink {
    pub(super) fn new(control: OwnedFd, media: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            control: Async::new(control)?,
            media: Async::new(media)?,
            outbox: RefCell::default(),
            is_full: async_channel::bounded(1),
        })
    }

    /// Sends a message now, or keeps it until the socket takes it.
    ///
    /// # Errors
    ///
    /// Returns [`Stuck`] when the worker does not read and no more can be kept.
    pub(super) fn send(&self, message: &ToWorker) -> Result<(), Stuck> {
        // The largest is a piece of a paste, and its size was checked when it came in.
        let bytes = codec::encode(message).expect("messages to a worker fit their limit");
        let mut outbox = self.outbox.borrow_mut();
        if outbox.is_empty() && self.try_send(&bytes) {
            return Ok(());
        }
        outbox.push(message, bytes)?;
        // A wake-up that is already there serves this message as well.
        let _already_woken = self.is_full.0.try_send(());
        Ok(())
    }

    /// Sends what had to be kept, for as long as the link lives.
    pub(super) async fn keep_sending(&self) -> io::Result<()> {
        while self.is_full.1.recv().await.is_ok() {
            while !self.outbox.borrow().is_empty() {
                self.control.writable().await?;
                self.send_waiting();
            }
        }
        Ok(())
    }

    /// Waits for the worker's next message; `None` at the end.
    pub(super) async fn receive(
        &self,
        buffer: &mut [u8; LOCAL_MESSAGE_BYTES_MAX],
    ) -> Result<Option<FromWorker>, LinkError> {
        let (_, len) = self
            .control
            .read_with(|fd| Ok(recv(fd, buffer.as_mut_slice(), RecvFlags::TRUNC)?))
            .await?;
        match buffer.get(..len) {
            Some([]) => Ok(None),
            Some(message) => Ok(Some(codec::decode(message)?)),
            None => Err(LinkError::TooLarge(len)),
        }
    }

    /// Reads the next bytes of the media stream; 0 at the end.
    pub(super) async fn read_media(&self, space: &mut [u8]) -> io::Result<usize> {
        let (_, len) = self
            .media
            .read_with(|fd| Ok(recv(fd, &mut *space, RecvFlags::empty())?))
            .await?;
        Ok(len)
    }

    fn send_waiting(&self) {
        let mut outbox = self.outbox.borrow_mut();
        while let Some(bytes) = outbox.front() {
            if !self.try_send(bytes) {
                return;
            }
            outbox.pop();
        }
    }

    /// Says whether the message is dealt with.
    fn try_send(&self, bytes: &[u8]) -> bool {
        match send(
            &self.control,
            bytes,
            SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        ) {
            // A worker that has ended is noticed by the reading side.
            Ok(_) | Err(Errno::PIPE | Errno::CONNRESET) => true,
            Err(Errno::AGAIN | Errno::NOBUFS) => false,
            Err(error) => {
                tracing::warn!(%error, "cannot send to worker");
                true
            }
        }
    }
}
