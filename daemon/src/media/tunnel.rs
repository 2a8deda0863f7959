//! The way without UDP: QUIC's packets as binary messages of a WebSocket, one each.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::error::{CapacityError, Error};
use async_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use async_tungstenite::{WebSocketReceiver, WebSocketSender, WebSocketStream};
use futures_lite::{AsyncRead, AsyncWrite, StreamExt as _, future};
use futures_util::Sink as _;
use sandbox_protocol::limits::{TUNNEL_MESSAGE_BYTES_MAX, TUNNEL_MESSAGES_PER_SECOND_MAX};
use sandbox_protocol::wire::codes::CloseCode;
use sandbox_quic::{Bytes, BytesMut};
use smol::Timer;

use super::flood::{FloodMeter, Flooded};
use crate::clock;

/// Discard-only (RFC 6666): nobody has such an address, so packets of a tunnel are told apart from
/// all others by it.
const PREFIX: u128 = 0x0100 << 112;

/// QUIC wants a port that is not 0.
const PORT: u16 = 1;

/// Bytes that wait for TCP before QUIC hands out no more: what waits inside it can still be
/// replaced by what is newer.
const FULL_BYTES: usize = 16 << 10;

/// Bytes that wait for TCP at most: what QUIC says in spite of that, to strangers, is dropped.
const WAITING_BYTES_MAX: usize = 256 << 10;

/// Bytes handed to TCP with one call, and read from it.
const BATCH_BYTES: usize = 16 << 10;

/// Messages taken before QUIC answers them.
const BATCH_MESSAGES: usize = 32;

/// Packets on their way to TCP share buffers of so many bytes.
const ARENA_BYTES: usize = 64 << 10;

/// How long TCP may take nothing while something waits.
const UNREAD_MAX: Duration = Duration::from_secs(10);

/// How long the other side may take for the end in good order.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// A connection that was upgraded.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A tunnel whose WebSocket has just been opened.
pub(super) struct Opened {
    pub(super) io: Box<dyn Duplex>,
    pub(super) client: IpAddr,
    /// Closes with the tunnel.
    pub(super) ended: Sender<()>,
}

/// Why a tunnel is closed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// Closed by the other side.
    #[error("the other side closed it")]
    ByPeer,
    /// Its connection is over.
    #[error("its connection is over: {0}")]
    Over(CloseCode),
    /// Nobody speaks QUIC there.
    #[error("no connection was made in time")]
    Silent,
    /// Its reader takes nothing.
    #[error("it is not read")]
    Unread,
    #[error("a text message came")]
    Text,
    #[error("a message is longer than a packet")]
    TooLarge,
    #[error("more than {TUNNEL_MESSAGES_PER_SECOND_MAX} messages in a second")]
    Flooded,
    #[error("no WebSocket is spoken: {0}")]
    Malformed(Box<Error>),
    #[error("it failed: {0}")]
    Failed(Box<Error>),
}

/// What waits for one WebSocket.
#[derive(Debug)]
pub(super) struct Tunnel {
    client: IpAddr,
    waiting: RefCell<VecDeque<Bytes>>,
    waiting_bytes: Cell<usize>,
    arena: RefCell<BytesMut>,
    /// Nothing follows what waits.
    over: Cell<Option<CloseCode>>,
    has_work: (Sender<()>, Receiver<()>),
    /// Closes with the tunnel.
    open: (Sender<()>, Receiver<()>),
}

pub(super) type Writer = WebSocketSender<Box<dyn Duplex>>;
pub(super) type Reader = WebSocketReceiver<Box<dyn Duplex>>;

/// The address that QUIC knows the n-th tunnel by.
pub(super) fn address(number: u64) -> SocketAddr {
    (Ipv6Addr::from_bits(PREFIX | u128::from(number)), PORT).into()
}

/// Whether an address is a tunnel's.
pub(super) fn is_tunnel(address: IpAddr) -> bool {
    match address {
        IpAddr::V6(it) => it.to_bits() >> 64 == PREFIX >> 64,
        IpAddr::V4(_) => false,
    }
}

/// Both directions of a WebSocket.
pub(super) async fn halves(io: Box<dyn Duplex>) -> (Writer, Reader) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(TUNNEL_MESSAGE_BYTES_MAX))
        .max_frame_size(Some(TUNNEL_MESSAGE_BYTES_MAX))
        .read_buffer_size(BATCH_BYTES)
        .write_buffer_size(BATCH_BYTES)
        .max_write_buffer_size(WAITING_BYTES_MAX);
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config))
        .await
        .split()
}

impl Tunnel {
    pub(super) fn new(client: IpAddr) -> Self {
        Self {
            client,
            waiting: RefCell::default(),
            waiting_bytes: Cell::new(0),
            arena: RefCell::default(),
            over: Cell::new(None),
            has_work: async_channel::bounded(1),
            open: async_channel::bounded(1),
        }
    }

    /// Who is at the other end, as HTTP knows it.
    pub(super) const fn client(&self) -> IpAddr {
        self.client
    }

    /// Whether QUIC is to hold back what else it has.
    pub(super) const fn is_full(&self) -> bool {
        self.waiting_bytes.get() >= FULL_BYTES
    }

    /// Queues a packet; one that finds no room is lost like any datagram.
    pub(super) fn push(&self, packet: &[u8]) {
        let waiting_bytes = self.waiting_bytes.get() + packet.len();
        if waiting_bytes > WAITING_BYTES_MAX {
            return;
        }
        let mut arena = self.arena.borrow_mut();
        if arena.capacity() < packet.len() {
            arena.reserve(ARENA_BYTES);
        }
        arena.extend_from_slice(packet);
        self.waiting_bytes.set(waiting_bytes);
        self.waiting.borrow_mut().push_back(arena.split().freeze());
        self.wake();
    }

    /// Closes it once what waits has left.
    pub(super) fn end(&self, code: CloseCode) {
        self.over.set(self.over.get().or(Some(code)));
        self.wake();
    }

    /// Nothing leaves any more.
    pub(super) fn handle_closed(&self) {
        self.open.0.close();
    }

    /// Waits for [`handle_closed`](Self::handle_closed).
    pub(super) async fn closed(&self) {
        let _closed = self.open.1.recv().await;
    }

    fn wake(&self) {
        // A wake-up that is already there serves this as well.
        let _already_woken = self.has_work.0.try_send(());
    }

    fn pop(&self) -> Option<Bytes> {
        let packet = self.waiting.borrow_mut().pop_front()?;
        self.waiting_bytes
            .set(self.waiting_bytes.get() - packet.len());
        Some(packet)
    }

    /// Sends what is queued and tells `drained` whenever nothing waits, until the tunnel ends.
    pub(super) async fn keep_sending(&self, writer: &mut Writer, drained: impl Fn()) -> Ended {
        loop {
            let sent = async { self.send_waiting(writer).await.map_err(Ended::from) };
            let unread = async {
                Timer::after(UNREAD_MAX).await;
                Err(Ended::Unread)
            };
            if let Err(ended) = future::or(sent, unread).await {
                return ended;
            }
            // The last words of a connection may be among what is held back.
            drained();
            if self.waiting_bytes.get() > 0 {
                future::yield_now().await;
                continue;
            }
            if let Some(code) = self.over.get() {
                return Ended::Over(code);
            }
            // The sender lives in the same place as the receiver.
            let _woken = self.has_work.1.recv().await;
        }
    }

    async fn send_waiting(&self, writer: &mut Writer) -> Result<(), Error> {
        while self.waiting_bytes.get() > 0 {
            poll_fn(|context| Pin::new(&mut *writer).poll_ready(context)).await?;
            if let Some(packet) = self.pop() {
                Pin::new(&mut *writer).start_send(Message::Binary(packet))?;
            }
        }
        poll_fn(|context| Pin::new(&mut *writer).poll_flush(context)).await
    }
}

/// Hands out every packet, and tells `settled` after some of them, until the tunnel ends.
pub(super) async fn keep_reading(
    reader: &mut Reader,
    each: impl Fn(&[u8]),
    settled: impl Fn(),
) -> Ended {
    let mut meter = FloodMeter::new(TUNNEL_MESSAGES_PER_SECOND_MAX);
    loop {
        if let Err(ended) = read_batch(reader, &mut meter, &each).await {
            return ended;
        }
        settled();
        future::yield_now().await;
    }
}

async fn read_batch(
    reader: &mut Reader,
    meter: &mut FloodMeter,
    each: impl Fn(&[u8]),
) -> Result<(), Ended> {
    let mut came = reader.next().await;
    for _ in 1..BATCH_MESSAGES {
        take(came, meter, &each)?;
        came = match future::poll_once(reader.next()).await {
            Some(another) => another,
            None => return Ok(()),
        };
    }
    take(came, meter, each)
}

fn take(
    came: Option<Result<Message, Error>>,
    meter: &mut FloodMeter,
    each: impl Fn(&[u8]),
) -> Result<(), Ended> {
    let message = came.ok_or(Ended::ByPeer)??;
    meter
        .handle_message(clock::now())
        .map_err(|Flooded| Ended::Flooded)?;
    match message {
        Message::Binary(packet) => each(&packet),
        Message::Text(_) => return Err(Ended::Text),
        Message::Close(_) => return Err(Ended::ByPeer),
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => (),
    }
    Ok(())
}

/// Says why, and waits a moment for the other side to have read it: closed with something unread,
/// TCP would take back what is on its way.
pub(super) async fn say_farewell(mut writer: Writer, mut reader: Reader, ended: &Ended) {
    let Some(code) = ended.code() else { return };
    let goodbye = async {
        let frame = CloseFrame {
            code: code.websocket().into(),
            reason: "".into(),
        };
        if writer.close(Some(frame)).await.is_ok() {
            while let Some(Ok(_)) = reader.next().await {}
        }
    };
    let late = async {
        Timer::after(FAREWELL_MAX).await;
    };
    future::or(goodbye, late).await;
}

impl Ended {
    /// What the other side is told; it knows of its own end.
    const fn code(&self) -> Option<CloseCode> {
        match self {
            Self::ByPeer | Self::Failed(_) => None,
            Self::Over(code) => Some(*code),
            Self::Silent => Some(CloseCode::AuthRequired),
            Self::Text | Self::TooLarge | Self::Malformed(_) => Some(CloseCode::ProtocolViolation),
            Self::Unread | Self::Flooded => Some(CloseCode::Limit),
        }
    }
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        match error {
            Error::Capacity(CapacityError::MessageTooLong { .. }) => Self::TooLarge,
            other @ (Error::Protocol(_) | Error::Utf8(_) | Error::AttackAttempt) => {
                Self::Malformed(other.into())
            }
            other @ (Error::ConnectionClosed
            | Error::AlreadyClosed
            | Error::Io(_)
            | Error::Tls(_)
            | Error::Capacity(_)
            | Error::WriteBufferFull(_)
            | Error::Url(_)
            | Error::Http(_)
            | Error::HttpFormat(_)) => Self::Failed(other.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tcp_does_not_take_is_bounded_and_told_of() {
        let tunnel = Tunnel::new(Ipv6Addr::LOCALHOST.into());
        let packet = [7; 1_000];
        let until_full = std::iter::repeat_with(|| tunnel.push(&packet));
        let pushed = until_full.take_while(|()| !tunnel.is_full()).count() + 1;
        assert_eq!(pushed, FULL_BYTES.div_ceil(packet.len()));
        for _ in 0..1_000 {
            tunnel.push(&packet);
        }
        assert!(tunnel.waiting_bytes.get() <= WAITING_BYTES_MAX);
        let waiting = std::iter::from_fn(|| tunnel.pop());
        assert_eq!(waiting.count(), WAITING_BYTES_MAX / packet.len());
        assert!(!tunnel.is_full());
        assert_eq!(tunnel.waiting_bytes.get(), 0);
    }
}
