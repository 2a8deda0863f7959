//! JSON messages of `/ws`: sign in, exchange session descriptions, learn the end.

use serde::{Deserialize, Serialize};

/// From the page to the server.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ToServer {
    /// First message, within five seconds.
    Auth {
        /// Access token.
        token: String,
    },
    /// A WebRTC offer; a later one on the same socket renegotiates (ICE restart).
    Offer {
        /// Session description (RFC 8866, RFC 8829).
        sdp: String,
        /// Pixels from left to right that the page can show.
        width: u16,
        /// Pixels from top to bottom.
        height: u16,
        /// The page does not want control, where another one has it.
        #[serde(default)]
        observe: bool,
    },
    /// The page watches and wants control.
    TakeControl,
    /// A fresh access token for the socket that stays open.
    Renew {
        /// Access token.
        token: String,
    },
    /// The page leaves; the desktop stays.
    Bye,
}

/// Tokens and descriptions stay out of logs.
impl std::fmt::Debug for ToPage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ready { .. } => "Ready",
            Self::Answer { .. } => "Answer",
            Self::Token { .. } => "Token",
            Self::Error { code, .. } => code,
            Self::Control { yours: true } => "Control",
            Self::Control { yours: false } => "NoControl",
            Self::OutOfMemory { .. } => "OutOfMemory",
            Self::TakenOver => "TakenOver",
            Self::Ended { reason } => reason,
        })
    }
}

/// Tokens and descriptions stay out of logs.
impl std::fmt::Debug for ToServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Auth { .. } => "Auth",
            Self::Offer { .. } => "Offer",
            Self::TakeControl => "TakeControl",
            Self::Renew { .. } => "Renew",
            Self::Bye => "Bye",
        })
    }
}

/// From the server to the page.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToPage {
    /// The token was accepted and the session may be attached.
    Ready {
        /// Session id.
        session: String,
        /// Address and port that media will come from, for plain words when UDP is blocked.
        media: Vec<String>,
        /// What is weaker here than designed, one sentence each.
        notices: Vec<String>,
    },
    /// Answer to an offer.
    Answer {
        /// Session description.
        sdp: String,
    },
    /// A fresh access token, before the one in use runs out: an open socket stays signed in until
    /// its sign-in ends or is revoked.
    Token {
        /// Access token.
        token: String,
        /// Seconds that it lives.
        expires_in: u64,
    },
    /// Something could not be done; the socket closes after it unless `is_final` is false.
    Error {
        /// Stable name, as in the HTTP API's problem documents.
        code: String,
        /// Plain words.
        message: String,
        /// The socket closes.
        is_final: bool,
    },
    /// Who has the keyboard and the pointer, as often as it changes.
    Control {
        /// This page; otherwise it watches.
        yours: bool,
    },
    /// The kernel ended programs of the desktop because their memory was used up.
    OutOfMemory {
        /// What the programs may use together, in MiB.
        limit_mb: u64,
        /// How many were ended.
        killed: u32,
        /// Their names, as far as they are known.
        programs: Vec<String>,
    },
    /// More pages came than a session may have.
    TakenOver,
    /// The session is over.
    Ended {
        /// Stable name of the reason.
        reason: String,
    },
}
