//! WebRTC and QUIC: one thread that carries every viewer's pictures, input and messages between a
//! browser or native viewer and its session's worker.
//!
//! [`Media`] is the handle that the rest of the daemon holds. On the thread, `engine` does the
//! I/O, a `viewer::Viewer` per browser and a `native` one per connection decide, and the small
//! machines beside them hold one decision each.

mod addresses;
mod ctl_outbox;
mod demux;
mod engine;
mod figures;
mod flood;
mod flow;
mod input_ledger;
mod keyframe_gate;
mod keyframes;
mod member;
mod native;
mod offer;
mod outbox;
mod pacer;
mod paste;
mod reports;
mod shared;
mod socket;
mod tail;
mod tcp;
mod timeline;
mod tunnel;
mod viewer;
mod wishes;
mod worker_frames;
mod worker_link;

#[cfg(test)]
mod loopback;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

pub use self::figures::{Recent, Spread};
pub use self::native::{Ask, AttachNative, Peer, PeerId, Welcome};
pub use self::tunnel::Duplex;
use async_channel::{Receiver, Sender};
use futures_lite::future;
use sandbox_core::permit::{Control, Permit};
use sandbox_protocol::local::Version;
use sandbox_protocol::local::worker::Counters;
use sandbox_protocol::wire::input::Packet;
use sandbox_protocol::{Bitrate, SessionId, Size, ViewerId};
use sandbox_quic::ServerSetup;
use smol::Timer;

use self::native::{NativeCommand, Natives};
use self::tunnel::Opened;

/// Commands waiting for the media thread; it never blocks, so this many means that it is gone.
const COMMANDS_MAX: usize = 1_024;

/// Native viewers that have said hello and wait to be taken; more are sent away.
const NEWCOMERS_MAX: usize = 256;

/// The daemon ends all the same where the thread takes longer to say goodbye.
const END_MAX: Duration = Duration::from_secs(1);

/// How the media thread shows itself and how far it may go.
#[derive(Clone, Debug)]
pub struct MediaConfig {
    /// Addresses told to viewers; empty: those of the interfaces.
    pub advertise: Vec<Advertised>,
    /// Addresses where [`Media::accept_tcp`] gets its connections from (the HTTP port).
    pub tcp_candidates: Vec<SocketAddr>,
    /// Highest target bitrate.
    pub bitrate_max: Bitrate,
    /// Highest frame rate.
    pub fps_max: u16,
    /// Who the node is to native viewers.
    pub native: ServerSetup,
    /// What workers speak: the warden's version, for they are its program.
    pub workers: Version,
}

/// An entry of `MEDIA_ADVERTISE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advertised {
    /// This address, at the port of our socket.
    Ip(IpAddr),
    /// This address and port.
    Socket(SocketAddr),
}

/// What a viewer is attached with.
#[derive(Debug)]
pub struct Attach {
    /// The session that it looks at, beside the viewers that it has.
    pub session: SessionId,
    /// The page's offer.
    pub sdp: String,
    /// Desktop size wanted by the page.
    pub size: Size,
    /// Our ends of the worker's control socket (SEQPACKET) and media socket (STREAM). None: those
    /// of the session's other viewers. All of them go on with a fresh pair.
    pub worker: Option<[OwnedFd; 2]>,
    /// Where the viewer's life is told; the channel closes after `Left` or a detach.
    pub events: Sender<ViewerEvent>,
    /// Where input is acknowledged for a page that sends copies of it ([`Media::input`]). A newer
    /// one replaces one that waits, so one place is enough.
    pub acks: Sender<AckPacket>,
}

/// An acknowledgement as it goes to the page.
pub type AckPacket = [u8; 13];

/// A viewer that may connect.
#[derive(Debug)]
pub struct Attached {
    /// Its name.
    pub viewer: ViewerId,
    /// The answer to its offer.
    pub answer: String,
}

/// What happened to a viewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ViewerEvent {
    /// Media and channels can flow.
    Connected,
    /// The worker's sockets have ended; the session's viewers wait for [`Media::rewire`], but not
    /// for ever. One of them is told.
    WorkerLost,
    /// It is gone; nothing follows.
    Left(LeftReason),
}

/// Why a viewer is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeftReason {
    /// The page closed the connection.
    Closed,
    /// The page never connected, or has been silent too long.
    IceTimeout,
    /// The worker's sockets carried nonsense, or are not read, or no next worker came.
    WorkerGone,
    /// The page has left for too long unread what it was sent.
    Unread,
    /// More input messages than anybody can type.
    Flood,
    /// The page sent what the protocol does not know.
    Malformed(String),
}

/// Why an offer was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The offer is no session description that can be answered.
    #[error("cannot read the offer: {0}")]
    Sdp(String),
    /// The offer holds no H.264.
    #[error("no common codec: {0}")]
    NoCodec(String),
    /// There is no other viewer whose worker it could share.
    #[error("nobody else is attached any more")]
    NoWorker,
    /// No such native viewer, or no longer, or it has not asked.
    #[error("peer {0} is gone")]
    NoPeer(PeerId),
    /// No such viewer, or no longer.
    #[error("viewer {} is gone", .0.0)]
    Unknown(ViewerId),
    /// The descriptors are no sockets that can be waited for.
    #[error("cannot use the worker's sockets")]
    Worker(#[source] io::Error),
    /// The media thread has ended.
    #[error("the media thread has ended")]
    Stopped,
}

/// What the stream of the viewer in control did since it was attached.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StreamCounters {
    /// The worker's own, since it started.
    pub worker: Counters,
    /// RTP packets sent, retransmissions included; to a native viewer datagrams and pieces of
    /// streams.
    pub rtp_packets: u64,
    /// Their bytes.
    pub rtp_bytes: u64,
    /// Frames sent.
    pub frames: u64,
    /// Key frames, or whole updates, among them.
    pub keyframes: u64,
    /// Frames that came before the viewer was connected or before its first key frame, or that an
    /// observer could not keep up with.
    pub frames_dropped: u64,
    /// Key frame requests received.
    pub plis_received: u64,
    /// Key frame requests answered.
    pub plis_answered: u64,
    /// Input messages received.
    pub input_messages: u64,
    /// What the encoder was told.
    pub target: Bitrate,
    /// Round trip to the viewer, once measured.
    pub round_trip: Option<Duration>,
    /// Viewers that are attached.
    pub viewers: usize,
    /// The last seconds.
    pub recent: Recent,
    /// Input events that may have been lost with a worker, of all viewers.
    pub inputs_in_doubt: u64,
}

/// Handle of the media thread; it ends when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Media {
    commands: Sender<Command>,
    addresses: Vec<String>,
    newcomers: Receiver<Peer>,
}

enum Command {
    Attach(Box<Attach>, Sender<Result<Attached, AttachError>>),
    Reoffer(ViewerId, String, Sender<Result<String, AttachError>>),
    Rewire {
        viewer: ViewerId,
        control: OwnedFd,
        media: OwnedFd,
        reply: Sender<Result<(), AttachError>>,
    },
    Control(ViewerId, Permit<Control>),
    Detach(ViewerId),
    Input(ViewerId, Packet),
    Count(SessionId, Sender<StreamCounters>),
    Tcp(TcpStream, SocketAddr),
    Tunnel(Opened),
    Native(NativeCommand),
    End(Sender<()>),
}

impl Media {
    /// Starts the thread on bound UDP sockets, at least one.
    ///
    /// # Errors
    ///
    /// Returns the error of preparing a socket or of starting the thread.
    pub fn start(sockets: Vec<UdpSocket>, config: MediaConfig) -> io::Result<Self> {
        let sockets: Vec<_> = sockets
            .into_iter()
            .map(socket::MediaSocket::new)
            .collect::<Result<_, _>>()?;
        let candidates = addresses::candidates(&sockets, &config)?;
        let addresses = candidates.udp.iter().map(ToString::to_string).collect();
        let (commands, received) = async_channel::bounded(COMMANDS_MAX);
        let (announce, newcomers) = async_channel::bounded(NEWCOMERS_MAX);
        let setup = engine::Setup {
            sockets,
            answerer: offer::Answerer::new(candidates).map_err(io::Error::other)?,
            natives: Natives::new(&config.native, config.workers, announce)
                .map_err(io::Error::other)?,
            config,
        };
        std::thread::Builder::new()
            .name("media".to_owned())
            .spawn(move || engine::run_or_abort(setup, &received))?;
        Ok(Self {
            commands,
            addresses,
            newcomers,
        })
    }

    /// Answers a page's offer and connects it with its session's worker.
    ///
    /// # Errors
    ///
    /// Returns [`AttachError`] when the offer cannot be answered.
    pub async fn attach(&self, attach: Attach) -> Result<Attached, AttachError> {
        let (reply, answer) = async_channel::bounded(1);
        self.ask(Command::Attach(Box::new(attach), reply), answer)
            .await
            .ok_or(AttachError::Stopped)?
    }

    /// Answers a further offer of an attached page (ICE restart).
    ///
    /// # Errors
    ///
    /// Returns [`AttachError`] when the viewer is gone or the offer cannot be answered.
    pub async fn reoffer(&self, viewer: ViewerId, sdp: String) -> Result<String, AttachError> {
        let (reply, answer) = async_channel::bounded(1);
        self.ask(Command::Reoffer(viewer, sdp, reply), answer)
            .await
            .ok_or(AttachError::Stopped)?
    }

    /// Gives the viewers of a session, of which this is one, the sockets of its next worker: their
    /// connections stay, their picture goes on with a key frame.
    ///
    /// # Errors
    ///
    /// Returns [`AttachError`] when the viewer is gone or the sockets cannot be used.
    pub async fn rewire(
        &self,
        viewer: ViewerId,
        control: OwnedFd,
        media: OwnedFd,
    ) -> Result<(), AttachError> {
        let (reply, answer) = async_channel::bounded(1);
        let command = Command::Rewire {
            viewer,
            control,
            media,
            reply,
        };
        self.ask(command, answer)
            .await
            .ok_or(AttachError::Stopped)?
    }

    /// Gives a viewer control, and takes it from the one that had it: the worker follows its
    /// input, its size and its link.
    pub async fn control(&self, viewer: ViewerId, permit: Permit<Control>) {
        // Without the thread nobody is attached.
        let _stopped = self.commands.send(Command::Control(viewer, permit)).await;
    }

    /// Ends a viewer; its event channel closes without a further event.
    pub fn detach(&self, viewer: ViewerId) {
        // The queue is full only when the thread hangs, and then nothing can be detached.
        if let Err(error) = self.commands.try_send(Command::Detach(viewer)) {
            tracing::error!(%error, viewer = viewer.0, "cannot detach viewer");
        }
    }

    /// Takes an input packet that came another way than by the data channel: whichever copy of
    /// an event comes first is applied.
    pub async fn input(&self, viewer: ViewerId, packet: Packet) {
        // Without the thread nobody is attached.
        let _stopped = self.commands.send(Command::Input(viewer, packet)).await;
    }

    /// What the stream of a session did; `None` without a viewer or without the worker's answer.
    pub async fn counters(&self, session: SessionId) -> Option<StreamCounters> {
        let (reply, answer) = async_channel::bounded(1);
        self.ask(Command::Count(session, reply), answer).await
    }

    /// Says goodbye to every viewer, as far as their connections allow.
    pub async fn end(&self) {
        let (reply, answer) = async_channel::bounded(1);
        let told = self.ask(Command::End(reply), answer);
        let late = async {
            Timer::after(END_MAX).await;
            None
        };
        future::or(told, late).await;
    }

    /// Takes a TCP connection whose first byte looked like ICE-TCP (RFC 4571 framing of STUN).
    pub fn accept_tcp(&self, stream: TcpStream, peer: SocketAddr) {
        if let Err(error) = self.commands.try_send(Command::Tcp(stream, peer)) {
            tracing::error!(%error, %peer, "cannot hand a connection to the media thread");
        }
    }

    /// Carries a native viewer's QUIC in an upgraded connection that speaks WebSocket, until either
    /// side ends it.
    pub async fn carry(&self, io: Box<dyn Duplex>, client: IpAddr) {
        let (ended, end) = async_channel::bounded(1);
        let opened = Opened { io, client, ended };
        let told = self.ask::<()>(Command::Tunnel(opened), end);
        let _over = told.await;
    }

    /// The addresses that media comes from, for plain words when they cannot be reached.
    pub fn media_addresses(&self) -> Vec<String> {
        self.addresses.clone()
    }

    async fn ask<T>(&self, command: Command, answer: Receiver<T>) -> Option<T> {
        self.commands.send(command).await.ok()?;
        answer.recv().await.ok()
    }
}
