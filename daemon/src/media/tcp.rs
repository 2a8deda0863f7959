//! ICE-TCP: datagrams framed on a TCP connection by a length prefix (RFC 4571).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use async_channel::{Receiver, Sender};
use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use smol::{Async, Timer};

const PREFIX_LEN: usize = 2;

/// Bytes of one datagram from a browser: twice what fits any path it could have taken as UDP.
const DATAGRAM_BYTES_MAX: usize = 4_096;

/// Bytes waiting for a slow connection: the largest access unit and its headers. No more frames
/// come long before; a connection that gets here is dead.
const WAITING_BYTES_MAX: usize = 10 << 20;

/// How long a connection may take nothing while something waits: a network that is away for longer
/// has broken it too, and until then the viewer in control holds up all others.
pub(super) const UNREAD_MAX: Duration = Duration::from_secs(5);

/// Why a connection carries nothing any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// Closed by the other side, or broken.
    #[error("it failed")]
    Failed(#[from] io::Error),
    /// Its reader takes nothing.
    #[error("it is not read")]
    Unread,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    io: Async<TcpStream>,
    local: SocketAddr,
    waiting: RefCell<VecDeque<Vec<u8>>>,
    waiting_bytes: Cell<usize>,
    has_work: (Sender<()>, Receiver<()>),
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            local: stream.local_addr()?,
            io: Async::new(stream)?,
            waiting: RefCell::default(),
            waiting_bytes: Cell::new(0),
            has_work: async_channel::bounded(1),
        })
    }

    /// The address that the browser connected to.
    pub(super) const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Bytes that the connection has not taken yet.
    pub(super) const fn waiting_bytes(&self) -> usize {
        self.waiting_bytes.get()
    }

    /// Queues a datagram. Closes the connection when it is hopelessly behind.
    pub(super) fn push(&self, datagram: &[u8]) {
        let Ok(length) = u16::try_from(datagram.len()) else {
            return;
        };
        if self.waiting_bytes.get() + datagram.len() > WAITING_BYTES_MAX {
            self.has_work.0.close();
            return;
        }
        let mut framed = Vec::with_capacity(PREFIX_LEN + datagram.len());
        framed.extend(length.to_be_bytes());
        framed.extend_from_slice(datagram);
        self.waiting_bytes
            .set(self.waiting_bytes.get() + framed.len());
        self.waiting.borrow_mut().push_back(framed);
        // A wake-up that is already there serves this datagram as well.
        let _already_woken = self.has_work.0.try_send(());
    }

    /// Sends what is queued and tells `drained` after each write, until the connection ends.
    pub(super) async fn keep_sending(&self, drained: impl Fn()) -> Result<(), Ended> {
        while self.has_work.1.recv().await.is_ok() {
            loop {
                let framed = self.waiting.borrow_mut().pop_front();
                let Some(framed) = framed else { break };
                let written = async { Ok((&self.io).write_all(&framed).await?) };
                let unread = async {
                    Timer::after(UNREAD_MAX).await;
                    Err(Ended::Unread)
                };
                future::or(written, unread).await?;
                self.waiting_bytes
                    .set(self.waiting_bytes.get() - framed.len());
                drained();
            }
        }
        // Closed by ourselves: more waits than any reader leaves.
        Err(Ended::Unread)
    }

    /// Reads datagrams and hands out each, until the connection ends.
    pub(super) async fn keep_reading(&self, each: impl Fn(&[u8])) -> Result<(), Ended> {
        let mut datagram = [0; DATAGRAM_BYTES_MAX];
        loop {
            let mut prefix = [0; PREFIX_LEN];
            (&self.io).read_exact(&mut prefix).await?;
            let length = usize::from(u16::from_be_bytes(prefix));
            let Some(datagram) = datagram.get_mut(..length) else {
                let words = format!("framed datagram of {length} bytes");
                return Err(io::Error::new(io::ErrorKind::InvalidData, words).into());
            };
            (&self.io).read_exact(datagram).await?;
            each(datagram);
            future::yield_now().await;
        }
    }
}
