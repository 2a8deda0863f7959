//! The daemon's end of the socketpair that the warden made.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use async_channel::{Receiver, Sender};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags, recvmsg, send,
};
use sandbox_protocol::codec::{self, CodecError};
use sandbox_protocol::limits::LOCAL_MESSAGE_BYTES_MAX;
use sandbox_protocol::local::warden::{Event, Request};
use sandbox_protocol::local::{VERSION, Version};
use smol::Async;

/// Descriptors in one message: the configuration and every listening socket fit.
const DESCRIPTORS_MAX: usize = 16;

/// Something is wrong between daemon and warden; the daemon ends and the warden starts another.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WardenLinkError {
    /// The warden is gone.
    #[error("the warden closed its socket")]
    Closed,
    /// The socket failed.
    #[error("the warden's socket failed: {0}")]
    Io(#[from] io::Error),
    /// The bytes were no message.
    #[error("the warden sent no message of ours: {0}")]
    Malformed(#[from] CodecError),
    /// The message was cut off.
    #[error("a message of the warden was cut off")]
    Truncated,
    /// The first message was not the one that comes first.
    #[error("the warden's first message was {0}")]
    Order(&'static str),
    /// Another version.
    #[error("the warden speaks version {found}, this daemon {VERSION} and the one before")]
    Version {
        /// The warden's.
        found: u16,
    },
    /// Other descriptors than the message names.
    #[error("the warden sent {found} descriptors instead of {wanted}")]
    Descriptors {
        /// How many came.
        found: usize,
        /// How many were announced.
        wanted: usize,
    },
}

/// One message with its descriptors.
#[derive(Debug)]
pub struct Received {
    /// What it says.
    pub event: Event,
    /// What came with it, in order.
    pub descriptors: Vec<OwnedFd>,
}

/// What a daemon is started with.
#[derive(Debug)]
pub struct Started {
    /// What the warden speaks, and its workers with it.
    pub version: Version,
    /// The sealed memfd with the configuration.
    pub config: OwnedFd,
    /// HTTP listeners.
    pub tcp: Vec<OwnedFd>,
    /// Media sockets.
    pub udp: Vec<OwnedFd>,
    /// Metrics listeners; none where the port was taken.
    pub metrics: Vec<OwnedFd>,
    /// What is weaker on this host than designed.
    pub weaker: Vec<String>,
    /// Sessions that outlived an earlier daemon.
    pub sessions: Vec<sandbox_protocol::SessionId>,
}

/// The link; clones share it.
#[derive(Clone, Debug)]
pub struct WardenLink {
    socket: Arc<Async<OwnedFd>>,
    certificates: (Sender<Certificate>, Receiver<Certificate>),
}

/// The opened files of certificate and key, or why there are none.
pub type Certificate = Result<[OwnedFd; 2], String>;

impl WardenLink {
    /// Takes the socket and waits for the first message.
    ///
    /// # Errors
    ///
    /// Returns [`WardenLinkError`] when the warden is gone, lies, or is of another version.
    pub async fn open(socket: OwnedFd) -> Result<(Self, Started), WardenLinkError> {
        let link = Self {
            socket: Arc::new(Async::new(socket)?),
            certificates: async_channel::bounded(1),
        };
        let first = link.receive().await?;
        let started = started(first)?;
        Ok((link, started))
    }

    /// Sends one request.
    ///
    /// # Errors
    ///
    /// Returns [`WardenLinkError`] when the warden is gone.
    pub async fn send(&self, request: &Request) -> Result<(), WardenLinkError> {
        let bytes = codec::encode(request)?;
        self.socket
            .write_with(|it| Ok(send(it, &bytes, SendFlags::NOSIGNAL)?))
            .await?;
        Ok(())
    }

    /// Where answers to [`Request::Certificate`] arrive; they concern no session.
    pub const fn certificates(&self) -> &Receiver<Certificate> {
        &self.certificates.1
    }

    /// Waits for the next message that concerns a session.
    ///
    /// # Errors
    ///
    /// Returns [`WardenLinkError`] when the warden is gone or lies.
    pub async fn receive(&self) -> Result<Received, WardenLinkError> {
        loop {
            let Received { event, descriptors } = self.receive_any().await?;
            let certificate = match event {
                Event::Certificate => descriptors
                    .try_into()
                    .map_err(|_| "no descriptor is left for the certificate".to_owned()),
                Event::NoCertificate { why } => Err(why),
                Event::Hello { .. }
                | Event::Started { .. }
                | Event::Attached { .. }
                | Event::Usage { .. }
                | Event::Refused { .. }
                | Event::Ended { .. }
                | Event::OutOfMemory { .. } => return Ok(Received { event, descriptors }),
            };
            // An answer that nobody took is older than this one, but the question is asked again.
            let _full = self.certificates.0.try_send(certificate);
        }
    }

    async fn receive_any(&self) -> Result<Received, WardenLinkError> {
        let mut bytes = vec![0; LOCAL_MESSAGE_BYTES_MAX];
        let (len, descriptors) = self
            .socket
            .read_with(|it| receive_packet(it, &mut bytes))
            .await??;
        let event = codec::decode(bytes.get(..len).unwrap_or_default())?;
        Ok(Received { event, descriptors })
    }
}

type Packet = (usize, Vec<OwnedFd>);

/// The outer error is the socket's (and may be "not yet"), the inner one the message's.
fn receive_packet(
    socket: impl AsFd,
    bytes: &mut [u8],
) -> io::Result<Result<Packet, WardenLinkError>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        socket,
        &mut [IoSliceMut::new(bytes)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if received.bytes == 0 {
        return Ok(Err(WardenLinkError::Closed));
    }
    // Descriptors are missing (CTRUNC) where this process may have no more: that concerns whoever
    // wanted them, and nobody else.
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Ok(Err(WardenLinkError::Truncated));
    }
    Ok(Ok((received.bytes, descriptors)))
}

fn started(first: Received) -> Result<Started, WardenLinkError> {
    let Event::Hello {
        version,
        tcp,
        udp,
        metrics,
        weaker,
        sessions,
    } = first.event
    else {
        return Err(WardenLinkError::Order(name(&first.event)));
    };
    let version = Version::known(version).ok_or(WardenLinkError::Version { found: version })?;
    let counts = [tcp, udp, metrics].map(usize::from);
    let wanted = 1 + counts.iter().sum::<usize>();
    let found = first.descriptors.len();
    if found != wanted || tcp == 0 || udp == 0 {
        return Err(WardenLinkError::Descriptors { found, wanted });
    }
    let mut rest = first.descriptors.into_iter();
    let config = rest
        .next()
        .ok_or(WardenLinkError::Descriptors { found, wanted })?;
    let [tcp, udp, metrics] = counts.map(|count| rest.by_ref().take(count).collect());
    Ok(Started {
        version,
        config,
        tcp,
        udp,
        metrics,
        weaker,
        sessions,
    })
}

fn name(event: &Event) -> &'static str {
    match event {
        Event::Hello { .. } => "Hello",
        Event::Started { .. } => "Started",
        Event::Attached { .. } => "Attached",
        Event::Usage { .. } => "Usage",
        Event::Refused { .. } => "Refused",
        Event::Ended { .. } => "Ended",
        Event::Certificate => "Certificate",
        Event::NoCertificate { .. } => "NoCertificate",
        Event::OutOfMemory { .. } => "OutOfMemory",
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::os::fd::BorrowedFd;

    use rustix::net::{
        AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SocketFlags, SocketType, sendmsg,
        socketpair,
    };

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap()
    }

    fn hello(version: u16, tcp: u8) -> Event {
        Event::Hello {
            version,
            tcp,
            udp: 1,
            metrics: 0,
            weaker: vec!["no Landlock".into()],
            sessions: Vec::new(),
        }
    }

    fn send_with(socket: &OwnedFd, bytes: &[u8], descriptors: usize) {
        let (a, _b) = pair();
        let descriptors: Vec<BorrowedFd<'_>> = (0..descriptors).map(|_| a.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(32))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(
            descriptors.is_empty() || control.push(SendAncillaryMessage::ScmRights(&descriptors))
        );
        sendmsg(
            socket,
            &[IoSlice::new(bytes)],
            &mut control,
            SendFlags::empty(),
        )
        .unwrap();
    }

    fn open_with(first: &Event, descriptors: usize) -> Result<Started, WardenLinkError> {
        let (ours, theirs) = pair();
        send_with(&theirs, &codec::encode(first).unwrap(), descriptors);
        smol::block_on(WardenLink::open(ours)).map(|(_, started)| started)
    }

    #[test]
    fn the_first_message_brings_every_descriptor_in_its_place() {
        let started = open_with(&hello(VERSION, 2), 4).unwrap();
        assert_eq!(
            (started.tcp.len(), started.udp.len(), started.metrics.len()),
            (2, 1, 0)
        );
        assert_eq!(started.weaker, ["no Landlock"]);
    }

    #[test]
    fn the_version_before_is_understood() {
        let started = open_with(&hello(VERSION - 1, 1), 3).unwrap();
        assert_eq!(started.version.number(), VERSION - 1);
    }

    #[test]
    fn another_version_order_or_number_of_descriptors_is_refused() {
        let refused = |event: &Event, descriptors| open_with(event, descriptors).unwrap_err();
        assert!(matches!(
            refused(&hello(VERSION + 1, 1), 3),
            WardenLinkError::Version { .. }
        ));
        assert!(matches!(
            refused(&hello(VERSION, 1), 2),
            WardenLinkError::Descriptors {
                found: 2,
                wanted: 3
            }
        ));
        assert!(matches!(
            refused(&hello(VERSION, 0), 2),
            WardenLinkError::Descriptors { .. }
        ));
        assert!(matches!(
            refused(&hello(VERSION, 1), 20),
            WardenLinkError::Descriptors { wanted: 3, .. }
        ));
        let attached = Event::Attached {
            session: sandbox_protocol::SessionId::from_bytes([1; 16]),
        };
        assert!(matches!(
            refused(&attached, 0),
            WardenLinkError::Order("Attached")
        ));
    }

    #[test]
    fn a_warden_that_is_gone_or_talks_nonsense_is_an_error() {
        let (ours, theirs) = pair();
        drop(theirs);
        assert!(matches!(
            smol::block_on(WardenLink::open(ours)),
            Err(WardenLinkError::Closed)
        ));
        let (ours, theirs) = pair();
        send_with(&theirs, b"\xff\xff\xff\xff\xff", 0);
        assert!(matches!(
            smol::block_on(WardenLink::open(ours)),
            Err(WardenLinkError::Malformed(_))
        ));
    }

    #[test]
    fn requests_arrive_as_they_were_sent() {
        let (ours, theirs) = pair();
        send_with(&theirs, &codec::encode(&hello(VERSION, 1)).unwrap(), 3);
        smol::block_on(async {
            let (link, _started) = WardenLink::open(ours).await.unwrap();
            link.send(&Request::Ready).await.unwrap();
        });
        let mut bytes = [0; 64];
        let (len, _) = rustix::net::recv(&theirs, &mut bytes[..], RecvFlags::empty()).unwrap();
        assert_eq!(
            codec::decode::<Request>(&bytes[..len]).unwrap(),
            Request::Ready
        );
    }
}
