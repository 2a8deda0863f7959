//! Why a connection of `sandbox/1` was closed, or a stream reset: numbers that never change.

/// Why a connection is closed: the application code of QUIC's CONNECTION_CLOSE and of `Goodbye`.
/// On a WebSocket it is 4000 plus the low byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
#[repr(u32)]
pub enum CloseCode {
    /// Everything is as it should be; the peer leaves.
    #[error("the peer left")]
    NoError = 0x100,
    /// No version in common.
    #[error("no protocol version in common")]
    Version = 0x101,
    /// A message before sign-in that needs one.
    #[error("sign in first")]
    AuthRequired = 0x102,
    /// Sign-in was refused.
    #[error("sign-in was refused")]
    AuthFailed = 0x103,
    /// The sign-in has run out or was revoked.
    #[error("the sign-in has ended")]
    AuthExpired = 0x104,
    /// Signed in, but not allowed to do this.
    #[error("not allowed")]
    Forbidden = 0x105,
    /// Bytes or an order of messages that this protocol does not know.
    #[error("protocol violation")]
    ProtocolViolation = 0x106,
    /// No codec in common.
    #[error("no codec in common")]
    UnsupportedCodec = 0x107,
    /// There is no such session.
    #[error("no such session")]
    SessionNotFound = 0x108,
    /// Another viewer has taken the session.
    #[error("another viewer has taken the session")]
    SessionTaken = 0x109,
    /// A limit of this protocol was exceeded.
    #[error("a limit was exceeded")]
    Limit = 0x10a,
    /// The server cannot take another viewer now.
    #[error("the server is overloaded")]
    Overloaded = 0x10b,
    /// Nothing was heard for too long.
    #[error("idle for too long")]
    Idle = 0x10c,
    /// Another connection of the same viewer won.
    #[error("another connection won")]
    Superseded = 0x10d,
    /// The server goes down.
    #[error("the server goes down")]
    Shutdown = 0x10e,
    /// A fault of the closing side.
    #[error("internal error")]
    Internal = 0x10f,
    /// The session lives on another node.
    #[error("the session is on another node")]
    NodeMoved = 0x110,
    /// The session is over.
    #[error("the session is over")]
    SessionEnded = 0x111,
}

/// Why a stream was reset or its reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
#[repr(u32)]
pub enum ResetCode {
    /// Something newer makes it useless.
    #[error("superseded")]
    Superseded = 0x201,
    /// It came too late.
    #[error("too late")]
    Deadline = 0x202,
    /// The sender or the user changed its mind.
    #[error("cancelled")]
    Cancelled = 0x203,
    /// It exceeds its limit.
    #[error("too large")]
    TooLarge = 0x204,
}

const CLOSE_CODES: [CloseCode; 18] = [
    CloseCode::NoError,
    CloseCode::Version,
    CloseCode::AuthRequired,
    CloseCode::AuthFailed,
    CloseCode::AuthExpired,
    CloseCode::Forbidden,
    CloseCode::ProtocolViolation,
    CloseCode::UnsupportedCodec,
    CloseCode::SessionNotFound,
    CloseCode::SessionTaken,
    CloseCode::Limit,
    CloseCode::Overloaded,
    CloseCode::Idle,
    CloseCode::Superseded,
    CloseCode::Shutdown,
    CloseCode::Internal,
    CloseCode::NodeMoved,
    CloseCode::SessionEnded,
];

const RESET_CODES: [ResetCode; 4] = [
    ResetCode::Superseded,
    ResetCode::Deadline,
    ResetCode::Cancelled,
    ResetCode::TooLarge,
];

impl CloseCode {
    /// The number on the wire.
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The code of a number; `None` for one that this version does not know.
    pub fn from_number(number: u64) -> Option<Self> {
        let is_it = |it: &Self| u64::from(it.number()) == number;
        CLOSE_CODES.into_iter().find(is_it)
    }

    /// The close code of a WebSocket that carries this protocol (RFC 6455 §7.4.2: 4000 to 4999
    /// are for private use).
    pub const fn websocket(self) -> u16 {
        4000 + (self as u32 & 0xff) as u16
    }

    /// Whether to connect again by oneself. Otherwise only a person can change what is wrong.
    pub const fn may_reconnect(self) -> bool {
        match self {
            Self::Overloaded | Self::Idle | Self::Shutdown | Self::Internal | Self::NodeMoved => {
                true
            }
            Self::NoError
            | Self::Version
            | Self::AuthRequired
            | Self::AuthFailed
            | Self::AuthExpired
            | Self::Forbidden
            | Self::ProtocolViolation
            | Self::UnsupportedCodec
            | Self::SessionNotFound
            | Self::SessionTaken
            | Self::Limit
            | Self::Superseded
            | Self::SessionEnded => false,
        }
    }
}

impl ResetCode {
    /// The number on the wire.
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The code of a number; `None` for one that this version does not know.
    pub fn from_number(number: u64) -> Option<Self> {
        let is_it = |it: &Self| u64::from(it.number()) == number;
        RESET_CODES.into_iter().find(is_it)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_codes_never_change() {
        let numbers = CLOSE_CODES.map(CloseCode::number);
        assert_eq!(numbers.to_vec(), (0x100..=0x111).collect::<Vec<_>>());
        let numbers = RESET_CODES.map(ResetCode::number);
        assert_eq!(numbers.to_vec(), (0x201..=0x204).collect::<Vec<_>>());
        assert_eq!(CloseCode::AuthExpired.websocket(), 4004);
    }

    #[test]
    fn a_code_survives_its_number_and_unknown_ones_are_none() {
        for code in CLOSE_CODES {
            assert_eq!(CloseCode::from_number(u64::from(code.number())), Some(code));
        }
        for code in RESET_CODES {
            assert_eq!(ResetCode::from_number(u64::from(code.number())), Some(code));
        }
        for unknown in [0, 0xff, 0x112, 0x200, u64::MAX] {
            assert_eq!(CloseCode::from_number(unknown), None);
            assert_eq!(ResetCode::from_number(unknown), None);
        }
    }
}
