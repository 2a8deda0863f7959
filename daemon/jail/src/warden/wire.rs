//! Packets with descriptors on the warden's sockets; it never waits for a reader.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType, recv, sendmsg, socketpair, sockopt,
};
use sandbox_protocol::limits::LOCAL_MESSAGE_BYTES_MAX;

/// What came from a peer.
#[derive(Debug)]
pub(crate) enum Received {
    Packet(Vec<u8>),
    /// Nothing is there now.
    Nothing,
    /// The peer closed its end.
    Closed,
}

/// Descriptors in one packet: the greeting carries the most.
const DESCRIPTORS_MAX: usize = 8;

/// Two connected sockets, closed by exec.
pub(crate) fn pair(kind: SocketType) -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(
        AddressFamily::UNIX,
        kind,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Sends one packet; `WouldBlock` when the peer reads too slowly.
pub(crate) fn send(
    socket: impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors for one packet"));
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags)?;
    Ok(())
}

/// Lets a socket hold `bytes` unread, or what the host allows where the right to more is missing.
pub(crate) fn widen_sending(socket: impl AsFd, bytes: usize) -> io::Result<()> {
    match sockopt::set_socket_send_buffer_size_force(&socket, bytes) {
        Err(Errno::PERM) => Ok(sockopt::set_socket_send_buffer_size(&socket, bytes)?),
        outcome => Ok(outcome?),
    }
}

/// The same for what has come in and waits.
pub(crate) fn widen_receiving(socket: impl AsFd, bytes: usize) -> io::Result<()> {
    match sockopt::set_socket_recv_buffer_size_force(&socket, bytes) {
        Err(Errno::PERM) => Ok(sockopt::set_socket_recv_buffer_size(&socket, bytes)?),
        outcome => Ok(outcome?),
    }
}

/// Receives one packet without room for descriptors: what a peer passes is dropped.
pub(crate) fn receive(socket: impl AsFd) -> io::Result<Received> {
    // One byte more than any message has, so that a longer one does not look whole.
    let mut buffer = vec![0; LOCAL_MESSAGE_BYTES_MAX + 1];
    match recv(socket, &mut buffer[..], RecvFlags::DONTWAIT) {
        Ok((_, 0)) | Err(Errno::CONNRESET) => Ok(Received::Closed),
        Ok((_, length)) => {
            buffer.truncate(length);
            Ok(Received::Packet(buffer))
        }
        Err(Errno::AGAIN | Errno::INTR) => Ok(Received::Nothing),
        Err(error) => Err(error.into()),
    }
}
