//! What a viewer and the server say on the control stream.
//!
//! The order of the variants is their kind on the wire: others are only ever added at the end.

use std::fmt;

use bincode::{Decode, Encode};

use super::Message;
use crate::{SessionId, Size};

/// Bytes that stay out of logs.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Secret<T>(pub T);

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// A video codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Codec {
    /// H.264, Annex B.
    H264,
    /// AV1, low-overhead bitstream format.
    Av1,
}

/// A set of a codec's tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Profile {
    /// H.264 Constrained Baseline.
    Baseline,
    /// H.264 Main, AV1 Main.
    Main,
    /// H.264 High.
    High,
    /// H.264 High 4:4:4 Predictive, AV1 High.
    High444,
}

/// How colour is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Chroma {
    /// One colour for four pixels.
    Yuv420,
    /// One for each.
    Yuv444,
}

/// Something that a viewer decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct VideoCapability {
    /// Codec.
    pub codec: Codec,
    /// Richest profile.
    pub profile: Profile,
    /// Richest sampling.
    pub chroma: Chroma,
    /// Largest picture.
    pub size: Size,
    /// What one picture of that size takes, microseconds.
    pub decode_us: u32,
}

/// One screen of the viewer, as part of one wide desktop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Display {
    /// Pixels from the left.
    pub x: u16,
    /// Pixels from the top.
    pub y: u16,
    /// Size.
    pub size: Size,
    /// Percent by which the viewer enlarges the desktop.
    pub scale: u16,
}

/// Settings of the stream from an epoch on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct StreamConfig {
    /// First epoch that they hold for.
    pub epoch: u16,
    /// Size of the desktop.
    pub size: Size,
    /// Codec of video in updates.
    pub codec: Codec,
    /// Its profile.
    pub profile: Profile,
    /// Its sampling.
    pub chroma: Chroma,
    /// Mebibytes of the tile cache at both ends.
    pub cache_mib: u16,
}

/// How a viewer proves who it is. Proofs are bound to the connection: the key of a proof is what
/// its name says, the message the TLS exporter's 32 bytes under `EXPORTER-sandbox-auth`, so that
/// nobody between can pass it on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum AuthMethod {
    /// Name and password, inside the pinned connection.
    Password {
        /// Account.
        user: String,
        /// Password.
        password: Secret<String>,
    },
    /// An access token.
    Token {
        /// The token.
        token: Secret<String>,
        /// HMAC-SHA-256 of the exporter under the token's hash.
        proof: Secret<[u8; 32]>,
    },
    /// A device key that was enrolled.
    DeviceKey {
        /// Public key, Ed25519.
        key: [u8; 32],
        /// Signature of the exporter.
        signature: Secret<[u8; 64]>,
    },
    /// A ticket of a connection before.
    Ticket {
        /// Which ticket.
        id: [u8; 16],
        /// HMAC-SHA-256 of the exporter under the ticket's key.
        proof: Secret<[u8; 32]>,
    },
    /// A one-time code, which enrols a device key.
    Enrol {
        /// The code.
        code: Secret<String>,
        /// Public key, Ed25519.
        key: [u8; 32],
        /// Signature of the exporter.
        signature: Secret<[u8; 64]>,
        /// What the user calls the device.
        name: String,
    },
}

/// Why a sign-in was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum AuthFailure {
    /// Wrong name, password, key, code or ticket; which one is not said.
    Refused,
    /// Too many attempts.
    TooMany,
    /// The account is disabled.
    Disabled,
    /// This way to sign in is not offered.
    NotOffered,
}

/// From a viewer to the server.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum FromViewer {
    /// First message.
    Hello {
        /// Lowest minor version that it speaks.
        minor_min: u16,
        /// Highest.
        minor_max: u16,
        /// What it can do, a bit each.
        features: u64,
        /// What it decodes; at most eight count.
        video: Vec<VideoCapability>,
        /// Mebibytes that it gives to the tile cache.
        cache_mib: u16,
        /// Its name and version, for the log.
        agent: String,
    },
    /// Proves who it is.
    Auth(AuthMethod),
    /// Wants a session.
    Attach {
        /// Which one; `None` is the user's own, started where there is none.
        session: Option<SessionId>,
        /// Profile of a session that is to be started.
        profile: Option<String>,
        /// Its screens: at least one, at most [`DISPLAYS_MAX`](crate::limits::DISPLAYS_MAX).
        displays: Vec<Display>,
    },
    /// Media may flow.
    Start,
    /// Its screens have changed.
    Displays(Vec<Display>),
    /// What it would have: 0 quickest, 100 sharpest.
    Quality(u8),
    /// The picture is broken: a whole one, please. Answered at most once in 250 ms.
    WholePicture,
    /// The user pasted: text, in pieces of at most
    /// [`PASTE_PIECE_BYTES_MAX`](crate::limits::PASTE_PIECE_BYTES_MAX).
    Paste {
        /// A piece.
        text: String,
        /// No other follows.
        is_last: bool,
    },
    /// Its window is not seen: no media.
    Suspend,
    /// It is seen again.
    Resume,
    /// Leaves the session; the connection stays.
    Detach,
    /// Leaves.
    Goodbye {
        /// A [`CloseCode`](crate::wire::codes::CloseCode).
        code: u32,
    },
    /// An observer wants control.
    TakeControl,
    /// What the way from the server has carried before, from the network that the viewer is in:
    /// between `Attached` and `Start`.
    LinkRate {
        /// Kilobits a second.
        kbps: u32,
    },
}

/// From the server to a viewer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum FromServer {
    /// Answer to `Hello`.
    Hello {
        /// Minor version spoken from here on.
        minor: u16,
        /// What both can do.
        features: u64,
        /// Name of the node.
        node: [u8; 16],
        /// Codec of video, chosen among those offered.
        codec: Codec,
        /// Mebibytes of the tile cache at both ends.
        cache_mib: u16,
    },
    /// Signed in.
    Welcome {
        /// Account.
        user: String,
        /// A ticket for the next connection: its name, and its key.
        ticket: ([u8; 16], Secret<[u8; 32]>),
        /// Seconds that the ticket lives.
        ticket_seconds: u32,
    },
    /// Not signed in.
    AuthFailed {
        /// Why.
        why: AuthFailure,
        /// Milliseconds before another attempt is looked at.
        retry_after_ms: u32,
    },
    /// Attached.
    Attached {
        /// To which session.
        session: SessionId,
        /// Epoch of the node's lease on it.
        lease: u64,
        /// Settings of the stream.
        config: StreamConfig,
        /// What is weaker here than designed, one sentence each.
        notices: Vec<String>,
    },
    /// Settings of the stream have changed.
    Config(StreamConfig),
    /// A sentence for the user.
    Notice {
        /// Stable name.
        code: String,
        /// Plain words.
        text: String,
    },
    /// A program copied: text, in pieces of at most
    /// [`PASTE_PIECE_BYTES_MAX`](crate::limits::PASTE_PIECE_BYTES_MAX).
    Copied {
        /// A piece.
        text: String,
        /// A text begins; what came of an unfinished one is void.
        is_first: bool,
        /// The text is whole.
        is_last: bool,
    },
    /// The pointer's picture, at most [`CURSOR_SIDE_MAX`](crate::limits::CURSOR_SIDE_MAX) a side:
    /// rows of RGBA, not premultiplied; empty hides it.
    CursorShape {
        /// Size.
        size: Size,
        /// Hot spot from the left.
        hot_x: u16,
        /// Hot spot from the top.
        hot_y: u16,
        /// Rows.
        rgba: Vec<u8>,
    },
    /// The hash of the key that the server will have next: SHA-256 of its public key.
    NextKey([u8; 32]),
    /// The session has ended or was left.
    Detached {
        /// Stable name of the reason.
        reason: String,
    },
    /// Leaves.
    Goodbye {
        /// A [`CloseCode`](crate::wire::codes::CloseCode).
        code: u32,
        /// Milliseconds before another connection is welcome.
        retry_after_ms: u32,
        /// Where to go instead: `host:port#pin=sha256:HEX`; empty where nowhere.
        node: String,
    },
    /// Who has control has changed, or is told for the first time.
    Control {
        /// Whether this viewer has it.
        has_control: bool,
    },
    /// The last piece of a pasted text came: the next key finds it.
    Pasted,
    /// Where the server's HTTP port is, `https://HOST[:PORT]`: the way without UDP.
    PublicUrl(String),
    /// What the way to the viewer carries, as it was measured.
    LinkRate {
        /// Kilobits a second.
        kbps: u32,
    },
}

impl FromViewer {
    /// Its name, for words about it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "Hello",
            Self::Auth(_) => "Auth",
            Self::Attach { .. } => "Attach",
            Self::Start => "Start",
            Self::Displays(_) => "Displays",
            Self::Quality(_) => "Quality",
            Self::WholePicture => "WholePicture",
            Self::Paste { .. } => "Paste",
            Self::Suspend => "Suspend",
            Self::Resume => "Resume",
            Self::Detach => "Detach",
            Self::Goodbye { .. } => "Goodbye",
            Self::TakeControl => "TakeControl",
            Self::LinkRate { .. } => "LinkRate",
        }
    }
}

impl Message for FromViewer {
    const KINDS: u32 = 14;
}

impl Message for FromServer {
    const KINDS: u32 = 15;
}
