//! The last word to a native viewer: a code that says what happened and whether to come again, and
//! words that say more than the code does.

use sandbox_core::sessions::{CannotAttach, Dismissal, NoRoom, Reason};
use sandbox_protocol::local::warden::Refusal;
use sandbox_protocol::wire::codes::CloseCode;

use super::words;
use crate::attachment::{NotAttached, WorkerGone};
use crate::media::{AttachError, LeftReason};
use crate::sessions::{RequestError, StartError, WishError};
use crate::state::{StateError, Trouble};

/// How a connection ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// It is gone: nothing to say.
    Silent,
    /// With these words for its user.
    Saying(CloseCode, String),
}

impl Farewell {
    pub(super) fn saying(code: CloseCode, words: impl Into<String>) -> Self {
        Self::Saying(code, words.into())
    }

    /// A mistake of ours; what it is stands in the log.
    pub(super) fn internal() -> Self {
        let words = "something went wrong in the server; its log says what";
        Self::saying(CloseCode::Internal, words)
    }

    pub(super) fn not_found() -> Self {
        let words = "it is over, or not this account's";
        Self::saying(CloseCode::SessionNotFound, words)
    }

    pub(super) fn ended(reason: Reason) -> Self {
        Self::saying(CloseCode::SessionEnded, words::ended(reason))
    }

    pub(super) fn dismissed(why: Dismissal) -> Self {
        match why {
            Dismissal::TakenOver => Self::saying(
                CloseCode::SessionTaken,
                "more viewers came than may watch a desktop at once",
            ),
            Dismissal::Ended(reason) => Self::ended(reason),
        }
    }

    pub(super) fn worker_gone(WorkerGone(why): WorkerGone) -> Self {
        why.map_or_else(
            || Self::saying(CloseCode::Internal, "the desktop's picture stopped"),
            Self::dismissed,
        )
    }

    /// For a viewer that the media thread let go.
    pub(super) fn left(reason: LeftReason) -> Self {
        match reason {
            LeftReason::Closed => Self::Silent,
            LeftReason::IceTimeout => Self::saying(CloseCode::Idle, "silent for too long"),
            LeftReason::WorkerGone => Self::worker_gone(WorkerGone(None)),
            LeftReason::Unread => {
                Self::saying(CloseCode::Idle, "the picture was not taken for too long")
            }
            LeftReason::Flood => {
                Self::saying(CloseCode::Limit, "too many input messages in one second")
            }
            LeftReason::Malformed(words) => Self::saying(CloseCode::ProtocolViolation, words),
        }
    }
}

impl From<StateError> for Farewell {
    fn from(error: StateError) -> Self {
        tracing::error!(%error, "the database failed");
        let words = match error.trouble() {
            Some(Trouble::Full) => "the disk of this server is full",
            Some(Trouble::Held) => "another program holds this server's database",
            None => return Self::internal(),
        };
        Self::saying(CloseCode::Overloaded, words)
    }
}

impl From<WishError> for Farewell {
    fn from(error: WishError) -> Self {
        Self::saying(CloseCode::Forbidden, error.to_string())
    }
}

impl From<StartError> for Farewell {
    fn from(error: StartError) -> Self {
        let words = error.to_string();
        match error {
            StartError::NoRoom(NoRoom::Node(_)) => Self::saying(CloseCode::Overloaded, words),
            StartError::NoRoom(NoRoom::User(_)) => Self::saying(CloseCode::Limit, words),
            StartError::Refused(refusal) => Self::refused(&refusal),
            StartError::Ended(reason) => Self::ended(reason),
            StartError::Stopping => Self::saying(CloseCode::Shutdown, words),
        }
    }
}

impl Farewell {
    fn refused(refusal: &Refusal) -> Self {
        let words = crate::sessions::words(refusal);
        let code = match refusal {
            // Coming again would change nothing.
            Refusal::Missing { .. } | Refusal::Invalid { .. } => CloseCode::Forbidden,
            Refusal::Unknown => CloseCode::SessionNotFound,
            Refusal::Full { .. } => CloseCode::Overloaded,
            Refusal::Failed { .. } => CloseCode::Internal,
        };
        Self::saying(code, words)
    }
}

impl From<NotAttached> for Farewell {
    fn from(error: NotAttached) -> Self {
        let words = error.to_string();
        match error {
            NotAttached::Request(RequestError::Attach(CannotAttach::Unknown)) => Self::not_found(),
            NotAttached::Request(RequestError::Attach(CannotAttach::Starting)) => {
                Self::saying(CloseCode::Overloaded, words)
            }
            NotAttached::Request(RequestError::Attach(CannotAttach::Ended(reason))) => {
                Self::ended(reason)
            }
            NotAttached::Request(RequestError::Refused(refusal)) => Self::refused(&refusal),
            NotAttached::Request(RequestError::Stopping) => {
                Self::saying(CloseCode::Shutdown, words)
            }
            NotAttached::Media(AttachError::NoPeer(_)) => Self::Silent,
            NotAttached::Media(error) => {
                tracing::error!(%error, "a native viewer cannot be attached");
                Self::internal()
            }
        }
    }
}
