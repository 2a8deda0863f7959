//! Messages over the local SEQPACKET sockets, with the descriptors that come along.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use bincode::{Decode, Encode};
use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendFlags, recv,
    recvmsg, send, sendmsg,
};
use sandbox_protocol::codec::{self, CodecError};
use sandbox_protocol::limits::LOCAL_MESSAGE_BYTES_MAX;

/// Descriptors that come with one message at most: the four of a start.
const DESCRIPTORS_MAX: usize = 4;

/// A local socket failed, or its peer speaks something else.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// The socket failed.
    #[error("cannot use the socket of the {peer}")]
    Socket {
        peer: &'static str,
        #[source]
        source: Errno,
    },
    /// The peer's bytes are no message.
    #[error("the {peer} sent no message of this version")]
    Message {
        peer: &'static str,
        #[source]
        source: CodecError,
    },
}

/// What a non-blocking receive found.
#[derive(Debug)]
pub(crate) enum Received<T> {
    Message(T),
    /// Nothing more for the time being.
    Nothing,
    /// The peer has closed its end.
    Closed,
}

/// Where messages are received into; allocated once.
#[derive(Debug)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    peer: &'static str,
}

impl Inbox {
    pub(crate) fn new(peer: &'static str) -> Self {
        Self {
            bytes: vec![0; LOCAL_MESSAGE_BYTES_MAX],
            peer,
        }
    }

    /// Receives one message; descriptors that came along are dropped by the kernel, because no
    /// room for them is given.
    pub(crate) fn receive<T: Decode<()>>(
        &mut self,
        socket: impl AsFd,
    ) -> Result<Received<T>, LinkError> {
        match recv(socket, self.bytes.as_mut_slice(), RecvFlags::DONTWAIT) {
            Ok((length, _)) => self.decode(length),
            Err(errno) => self.without_message(errno),
        }
    }

    /// Receives one message and its descriptors.
    pub(crate) fn receive_with_descriptors<T: Decode<()>>(
        &mut self,
        socket: impl AsFd,
        flags: RecvFlags,
    ) -> Result<(Received<T>, Vec<OwnedFd>), LinkError> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let result = recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut self.bytes)],
            &mut ancillary,
            flags | RecvFlags::CMSG_CLOEXEC,
        );
        let mut descriptors = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                descriptors.extend(received);
            }
        }
        let received = match result {
            Ok(message) => self.decode(message.bytes)?,
            Err(errno) => self.without_message(errno)?,
        };
        Ok((received, descriptors))
    }

    fn decode<T: Decode<()>>(&self, length: usize) -> Result<Received<T>, LinkError> {
        if length == 0 {
            return Ok(Received::Closed);
        }
        let bytes = self.bytes.get(..length).unwrap_or(&self.bytes);
        codec::decode(bytes)
            .map(Received::Message)
            .map_err(|source| LinkError::Message {
                peer: self.peer,
                source,
            })
    }

    fn without_message<T>(&self, errno: Errno) -> Result<Received<T>, LinkError> {
        match errno {
            Errno::AGAIN | Errno::INTR => Ok(Received::Nothing),
            Errno::CONNRESET => Ok(Received::Closed),
            source => Err(LinkError::Socket {
                peer: self.peer,
                source,
            }),
        }
    }
}

/// What became of something to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It has left, `usize` bytes of it.
    Bytes(usize),
    /// The socket is full; poll for room.
    Full,
    /// The peer is gone.
    Closed,
}

/// Sends one message without waiting.
pub(crate) fn send_message<T: Encode>(
    socket: impl AsFd,
    peer: &'static str,
    message: &T,
) -> Result<Sent, LinkError> {
    let bytes = codec::encode(message).map_err(|source| LinkError::Message { peer, source })?;
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    outcome(send(socket, &bytes, flags), peer)
}

/// Sends what fits of `parts`, in order, without waiting.
pub(crate) fn send_parts(
    socket: impl AsFd,
    peer: &'static str,
    parts: &[IoSlice<'_>],
) -> Result<Sent, LinkError> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let mut nothing_along = SendAncillaryBuffer::default();
    outcome(sendmsg(socket, parts, &mut nothing_along, flags), peer)
}

fn outcome(result: Result<usize, Errno>, peer: &'static str) -> Result<Sent, LinkError> {
    match result {
        Ok(bytes) => Ok(Sent::Bytes(bytes)),
        Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS) => Ok(Sent::Full),
        Err(Errno::PIPE | Errno::CONNRESET) => Ok(Sent::Closed),
        Err(source) => Err(LinkError::Socket { peer, source }),
    }
}
