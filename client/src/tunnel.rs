//! The way without UDP: packets as binary messages of a WebSocket to the server's HTTP port, one
//! each. What TLS there is around it is a proxy's: it is believed nothing, for the server is known
//! by the key that it shows inside.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::error::Error;
use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use async_tungstenite::{WebSocketStream, client_async_with_config};
use futures_lite::{AsyncRead, AsyncWrite, Stream as _, future};
use futures_rustls::TlsConnector;
use futures_rustls::pki_types::ServerName;
use futures_util::Sink as _;
use sandbox_protocol::limits::TUNNEL_MESSAGE_BYTES_MAX;
use sandbox_quic::{Bytes, BytesMut, outer_tls};
use smol::{Async, Timer};
use socket2::SockRef;

use crate::net::resolve;
use crate::origin::Origin;

/// What QUIC takes for the server's address: discard-only (RFC 6666), for it means nothing.
pub(crate) const SERVER: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V6(Ipv6Addr::new(0x0100, 0, 0, 0, 0, 0, 0, 1)),
    1,
);

/// One origin gets so much time.
const OPEN_MAX: Duration = Duration::from_secs(4);

/// Bytes that wait for TCP; what comes beyond is lost like any datagram. A pasted text comes at
/// once, input and reports are much less.
const WAITING_BYTES_MAX: usize = 256 << 10;

/// Bytes that the kernel takes before it can send them: a key does not wait behind more.
const UNSENT_BYTES_MAX: u32 = 16 << 10;

/// Bytes handed to TCP with one call, and read from it.
const BATCH_BYTES: usize = 16 << 10;

/// Packets taken at once.
const BATCH_PACKETS: usize = 64;

/// Packets on their way to TCP share buffers of so many bytes.
const ARENA_BYTES: usize = 64 << 10;

/// How long the last words may take.
const FINISH_MAX: Duration = Duration::from_secs(1);

/// Bytes that are read in one turn: who sends without an end, what need not even be packets, does
/// not keep the thread from all else.
const TURN_BYTES: usize = 64 << 10;

trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

/// A WebSocket to one server.
pub(crate) struct Tunnel {
    socket: WebSocketStream<Box<dyn Duplex>>,
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    arena: BytesMut,
    came: Vec<Bytes>,
    /// Why nothing more comes.
    end: Option<String>,
}

/// A stream whose reader gives way to others now and then.
struct Turns<S> {
    stream: S,
    left: usize,
}

impl Tunnel {
    /// One to the first of these that answers; else the words of all.
    pub(crate) async fn open(origins: Vec<Origin>) -> Result<Box<Self>, String> {
        let mut words = Vec::new();
        for origin in origins {
            let opened = async { Self::open_one(&origin).await.map_err(|it| it.to_string()) };
            let late = async {
                Timer::after(OPEN_MAX).await;
                Err("no answer".to_owned())
            };
            match future::or(opened, late).await {
                Ok(tunnel) => return Ok(Box::new(tunnel)),
                Err(error) => words.push(format!("{origin}: {error}")),
            }
        }
        Err(words.join("; "))
    }

    async fn open_one(origin: &Origin) -> Result<Self, Error> {
        let stream = connect(origin).await?;
        stream.get_ref().set_nodelay(true)?;
        // Without it a slow network makes keys wait longer, nothing else.
        let _as_it_is = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
        let stream: Box<dyn Duplex> = if origin.is_https {
            Box::new(Turns::new(secure(origin, stream).await?))
        } else {
            Box::new(Turns::new(stream))
        };
        let config = WebSocketConfig::default()
            .max_message_size(Some(TUNNEL_MESSAGE_BYTES_MAX))
            .max_frame_size(Some(TUNNEL_MESSAGE_BYTES_MAX))
            .read_buffer_size(BATCH_BYTES)
            .write_buffer_size(BATCH_BYTES);
        let address = format!("ws{}/ws?mode=media", &origin.to_string()["http".len()..]);
        let (socket, _) = client_async_with_config(address, stream, Some(config)).await?;
        Ok(Self::new(socket))
    }

    fn new(socket: WebSocketStream<Box<dyn Duplex>>) -> Self {
        Self {
            socket,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            arena: BytesMut::new(),
            came: Vec::with_capacity(BATCH_PACKETS),
            end: None,
        }
    }

    /// Queues a packet; it leaves with the next [`receive`](Self::receive).
    pub(crate) fn push(&mut self, packet: &[u8]) {
        if self.waiting_bytes + packet.len() > WAITING_BYTES_MAX {
            return;
        }
        if self.arena.capacity() < packet.len() {
            self.arena.reserve(ARENA_BYTES);
        }
        self.arena.extend_from_slice(packet);
        self.waiting.push_back(self.arena.split().freeze());
        self.waiting_bytes += packet.len();
    }

    /// Sends what waits, and waits for packets.
    pub(crate) async fn receive(&mut self) -> io::Result<()> {
        poll_fn(|context| self.poll_turn(context)).await
    }

    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(Err(error)) = self.poll_send(context) {
            return Poll::Ready(Err(io::Error::other(error)));
        }
        self.poll_receive(context);
        match &self.end {
            // What came before the end comes first.
            _ if !self.came.is_empty() => Poll::Ready(Ok(())),
            Some(words) => Poll::Ready(Err(io::Error::other(words.clone()))),
            None => Poll::Pending,
        }
    }

    /// Those that came last.
    pub(crate) fn packets(&self) -> impl Iterator<Item = &[u8]> {
        self.came.iter().map(|it| &**it)
    }

    /// Sends what waits, for the last time.
    pub(crate) async fn finish(&mut self) {
        let sent = async {
            // A connection that is gone needs no last words.
            let _sent = poll_fn(|context| self.poll_send(context)).await;
        };
        let late = async {
            Timer::after(FINISH_MAX).await;
        };
        future::or(sent, late).await;
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while !self.waiting.is_empty() {
            std::task::ready!(Pin::new(&mut self.socket).poll_ready(context))?;
            if let Some(packet) = self.waiting.pop_front() {
                self.waiting_bytes -= packet.len();
                Pin::new(&mut self.socket).start_send(Message::Binary(packet))?;
            }
        }
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_receive(&mut self, context: &mut Context<'_>) {
        self.came.clear();
        while self.came.len() < BATCH_PACKETS && self.end.is_none() {
            self.end = match Pin::new(&mut self.socket).poll_next(context) {
                Poll::Ready(Some(Ok(Message::Binary(packet)))) => {
                    self.came.push(packet);
                    continue;
                }
                Poll::Ready(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => continue,
                Poll::Ready(Some(Ok(Message::Close(Some(frame))))) => {
                    let code = u16::from(frame.code);
                    Some(format!("closed with {code} {}", frame.reason))
                }
                Poll::Ready(Some(Ok(Message::Close(None))) | None) => Some("closed".to_owned()),
                Poll::Ready(Some(Ok(Message::Text(_) | Message::Frame(_)))) => {
                    Some("it sends text instead of packets".to_owned())
                }
                Poll::Ready(Some(Err(error))) => Some(error.to_string()),
                Poll::Pending => return,
            };
        }
    }
}

impl<S> Turns<S> {
    const fn new(stream: S) -> Self {
        Self {
            stream,
            left: TURN_BYTES,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Turns<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.left == 0 {
            self.left = TURN_BYTES;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.left = match &read {
            Poll::Ready(Ok(length)) => self.left.saturating_sub(*length),
            Poll::Ready(Err(_)) | Poll::Pending => TURN_BYTES,
        };
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Turns<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}

async fn connect(origin: &Origin) -> io::Result<Async<TcpStream>> {
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    for address in resolve(origin.host.clone(), origin.port).await? {
        match Async::<TcpStream>::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

async fn secure(
    origin: &Origin,
    stream: Async<TcpStream>,
) -> io::Result<futures_rustls::client::TlsStream<Async<TcpStream>>> {
    let config = outer_tls().map_err(io::Error::other)?;
    let name = ServerName::try_from(origin.host.clone()).map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

#[cfg(test)]
mod tests {
    use async_tungstenite::tungstenite::protocol::Role;

    use super::*;

    /// Sends some bytes, and then others again and again; takes everything.
    struct Endless {
        first: &'static [u8],
        again: &'static [u8],
    }

    impl AsyncRead for Endless {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            let first = std::mem::take(&mut self.first);
            let bytes = if first.is_empty() { self.again } else { first };
            buffer[..bytes.len()].copy_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        }
    }

    impl AsyncWrite for Endless {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buffer.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn what_never_ends_and_is_no_packet_lets_others_have_their_turn() {
        let pings = Endless {
            first: b"\x89\x00",
            again: b"\x89\x00",
        };
        // The library says nothing of pieces before the last one.
        let pieces = Endless {
            first: b"\x02\x00",
            again: b"\x00\x00",
        };
        for endless in [pings, pieces] {
            let stream: Box<dyn Duplex> = Box::new(Turns::new(endless));
            let socket = WebSocketStream::from_raw_socket(stream, Role::Client, None);
            let mut tunnel = Tunnel::new(smol::block_on(socket));
            let mut context = Context::from_waker(std::task::Waker::noop());
            for _ in 0..3 {
                assert!(tunnel.poll_turn(&mut context).is_pending());
            }
        }
    }
}
