//! What a connection tells its owner.

use sandbox_protocol::wire::control::{Features, StreamConfig};
use sandbox_protocol::{SessionId, Size};
use sandbox_quic::Fingerprint;

use super::{End, Ticket};
use crate::origin::Origin;

/// What the owner is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The server's key is not known: [`Connection::trust`](super::Connection::trust) or
    /// [`Connection::distrust`](super::Connection::distrust) it.
    /// Nothing has been said to it.
    FirstUse(Fingerprint),
    /// Signed in, with a ticket for the next connection.
    Welcome(Ticket),
    /// Where the server's HTTP port is.
    PublicUrl(Origin),
    /// Attached: updates follow.
    Attached {
        /// To which session.
        session: SessionId,
        /// What both ends can do.
        features: Features,
        /// What is weaker at the server than designed, one sentence each.
        notices: Vec<String>,
    },
    /// The settings of the stream: at first, and when they change.
    Config(StreamConfig),
    /// A sentence for the user.
    Notice(String),
    /// A program on the desktop copied a text.
    Copied(String),
    /// Whether this viewer's input counts.
    Control(bool),
    /// The pointer has another shape.
    Shape(Shape),
    /// The pointer was moved by a program, or by another viewer.
    Pointer {
        /// Pixels from the left.
        x: u16,
        /// Pixels from the top.
        y: u16,
        /// Whether it is seen.
        is_visible: bool,
    },
    /// What the way from the server carries, kilobits a second: for the next connection.
    LinkRate(u32),
    /// The connection is over; nothing follows.
    Over(End),
}

/// The pointer's picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Size; nothing in it hides the pointer.
    pub size: Size,
    /// Hot spot from the left.
    pub hot_x: u16,
    /// Hot spot from the top.
    pub hot_y: u16,
    /// Rows of RGBA, not premultiplied.
    pub rgba: Vec<u8>,
}
