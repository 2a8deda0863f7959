//! What a connection tells its owner.

use bytes::Bytes;
use quinn_proto::{ConnectionError, StreamId};

use crate::identity::Fingerprint;

/// Something happened on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The handshake is done. At a client with the server's fingerprint: nothing has been said to
    /// it before its owner has compared that.
    Connected(Option<Fingerprint>),
    /// A datagram came.
    Datagram(Bytes),
    /// Datagrams that found no room may be tried again.
    Room,
    /// The next bytes of a stream, in order.
    Read {
        /// Which stream; the first event of a stream is its opening.
        stream: StreamId,
        /// May be empty at the end.
        bytes: Bytes,
        /// Nothing follows.
        is_end: bool,
    },
    /// The peer gave a stream up; nothing follows.
    Reset {
        /// Which stream.
        stream: StreamId,
        /// Its reason.
        code: u64,
    },
    /// A stream that was full takes bytes again.
    Writable(StreamId),
    /// The peer does not want a stream of ours any further.
    Stopped {
        /// Which stream.
        stream: StreamId,
        /// Its reason.
        code: u64,
    },
    /// All bytes of a finished stream have arrived.
    Finished(StreamId),
    /// The connection is over; nothing follows.
    Closed(Closed),
}

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The peer's application said so.
    ByPeer {
        /// Its reason.
        code: u64,
        /// Its words, which may be anything.
        words: String,
    },
    /// We said so.
    ByUs,
    /// Silence.
    TimedOut,
    /// The peer has no memory of it: it was restarted.
    Restarted,
    /// The server's key is not the pinned one.
    WrongKey,
    /// QUIC or TLS failed.
    Broken(String),
}

/// Longest text of a peer that is kept, in characters.
const WORDS_MAX: usize = 200;

/// TLS alert `access_denied` (RFC 8446 §6) within QUIC's range of crypto errors (RFC 9001 §4.8):
/// what rustls sends when a verifier refuses.
const ACCESS_DENIED: u64 = 0x100 + 49;

impl From<ConnectionError> for Closed {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => Self::ByPeer {
                code: close.error_code.into_inner(),
                words: String::from_utf8_lossy(&close.reason)
                    .chars()
                    .take(WORDS_MAX)
                    .collect(),
            },
            ConnectionError::LocallyClosed => Self::ByUs,
            ConnectionError::TimedOut => Self::TimedOut,
            ConnectionError::Reset => Self::Restarted,
            ConnectionError::TransportError(error) if u64::from(error.code) == ACCESS_DENIED => {
                Self::WrongKey
            }
            other @ (ConnectionError::VersionMismatch
            | ConnectionError::TransportError(_)
            | ConnectionError::ConnectionClosed(_)
            | ConnectionError::CidsExhausted) => Self::Broken(other.to_string()),
        }
    }
}
