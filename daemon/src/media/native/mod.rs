//! Native viewers: QUIC beside WebRTC on the media thread's sockets.
//!
//! The media thread keeps the order of messages and their limits; what needs accounts and sessions
//! it asks by [`Ask`], and is answered by the methods of [`Media`] here.

mod connections;
mod conversation;
mod outbox;
mod streams;
mod viewer;

use std::fmt;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use sandbox_protocol::wire::codes::CloseCode;
use sandbox_protocol::wire::control::{AuthFailure, AuthMethod, Features, FromServer, Secret};
use sandbox_protocol::{SessionId, Size, ViewerId};

pub(super) use self::connections::Natives;
pub(super) use self::conversation::{Effect, Refusal};
pub(super) use self::viewer::{Begin, NativeViewer};
use super::{AttachError, Command, Media, ViewerEvent};

/// What viewers are told of the node.
#[derive(Clone, Copy, Debug)]
pub(in crate::media) struct Node {
    /// Its name.
    pub(in crate::media) id: [u8; 16],
    /// What it offers.
    pub(in crate::media) features: Features,
}

/// Names a native viewer's connection; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A native viewer that has said hello.
#[derive(Debug)]
pub struct Peer {
    /// Its name.
    pub id: PeerId,
    /// Where it was when it came.
    pub address: IpAddr,
    /// It came inside a WebSocket, which has a place among the connections of its address.
    pub is_in_tunnel: bool,
    /// What it wants; closes with the connection.
    pub asks: Receiver<Ask>,
}

/// What a native viewer wants. The order of messages is kept: of the first two one at a time, and
/// not before the answer to the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Answered by [`Media::welcome`] or [`Media::refuse`].
    SignIn {
        /// How it proves who it is.
        method: AuthMethod,
        /// What a proof is made over: `EXPORTER-sandbox-auth` of this connection.
        exporter: [u8; 32],
    },
    /// Answered by [`Media::attach_native`], by a `Detached` ([`Media::tell`]) where that cannot
    /// be, or by [`Media::dismiss`].
    Attach {
        /// Which session; `None` is the user's own.
        session: Option<SessionId>,
        /// Profile of a session that is to be started.
        profile: Option<String>,
        /// Size that its screens have together, within what a desktop may have.
        size: Size,
    },
    /// Answered by a permit ([`Media::control`]).
    TakeControl,
    /// It has left the session: its events have ended as after [`Media::detach`], the connection
    /// stays. Answered by a `Detached`.
    Detach,
}

/// Signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// Account.
    pub user: String,
    /// Name of a ticket for the next connection, and its key.
    pub ticket: ([u8; 16], Secret<[u8; 32]>),
    /// How long the ticket lives.
    pub ticket_lifetime: Duration,
}

/// What a native viewer is attached with.
#[derive(Debug)]
pub struct AttachNative {
    /// Who asked.
    pub peer: PeerId,
    /// The session that it looks at, beside the viewers that it has.
    pub session: SessionId,
    /// Desktop size wanted by the viewer.
    pub size: Size,
    /// Our ends of the worker's control socket (SEQPACKET) and media socket (STREAM). None: those
    /// of the session's other viewers.
    pub worker: Option<[OwnedFd; 2]>,
    /// Where the viewer's life is told, as for a page: `Connected` when media may flow.
    pub events: Sender<ViewerEvent>,
    /// Epoch of this node's lease on the session.
    pub lease: u64,
    /// What is weaker here than designed, one sentence each.
    pub notices: Vec<String>,
}

/// What the daemon says to native viewers.
pub(super) enum NativeCommand {
    Welcome(PeerId, Welcome),
    Refuse {
        peer: PeerId,
        why: AuthFailure,
        retry_after: Duration,
    },
    Attach(Box<AttachNative>, Sender<Result<ViewerId, AttachError>>),
    Tell(PeerId, Box<FromServer>),
    Dismiss {
        peer: PeerId,
        code: CloseCode,
        words: String,
    },
}

impl Media {
    /// Native viewers that have said hello, each once.
    pub fn newcomers(&self) -> Receiver<Peer> {
        self.newcomers.clone()
    }

    /// The viewer is who it says: it may attach.
    pub async fn welcome(&self, peer: PeerId, welcome: Welcome) {
        self.say(NativeCommand::Welcome(peer, welcome)).await;
    }

    /// The viewer is not who it says. It may try again on the same connection, after the pause.
    pub async fn refuse(&self, peer: PeerId, why: AuthFailure, retry_after: Duration) {
        self.say(NativeCommand::Refuse {
            peer,
            why,
            retry_after,
        })
        .await;
    }

    /// Connects a native viewer with its session's worker, and tells it so. It has no control
    /// before [`Media::control`] gives it.
    ///
    /// # Errors
    ///
    /// Returns [`AttachError`] when the viewer or a worker to share is gone.
    pub async fn attach_native(&self, attach: AttachNative) -> Result<ViewerId, AttachError> {
        let (reply, answer) = async_channel::bounded(1);
        let command = NativeCommand::Attach(Box::new(attach), reply);
        self.ask(Command::Native(command), answer)
            .await
            .ok_or(AttachError::Stopped)?
    }

    /// Says something to a viewer, in order with everything else on its control stream. `Detached`
    /// detaches it.
    pub async fn tell(&self, peer: PeerId, message: FromServer) {
        self.say(NativeCommand::Tell(peer, Box::new(message))).await;
    }

    /// Ends a connection at once. What was told just before may not arrive any more: all that
    /// matters is in the code and the words, which are for people.
    pub async fn dismiss(&self, peer: PeerId, code: CloseCode, words: String) {
        self.say(NativeCommand::Dismiss { peer, code, words }).await;
    }

    async fn say(&self, command: NativeCommand) {
        // Without the thread nobody is connected.
        let _stopped = self.commands.send(Command::Native(command)).await;
    }
}
