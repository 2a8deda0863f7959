//! The last word to a page, and how its socket closes.

use async_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use sandbox_core::sessions::{Dismissal, Reason};
use sandbox_protocol::limits::SIGNAL_BYTES_MAX;
use sandbox_protocol::wire::signal::ToPage;

use super::super::problem::Problem;
use super::Incoming;
use crate::attachment::WorkerGone;

/// The last word, and how the socket closes after it.
pub(super) struct Farewell {
    pub(super) message: Option<ToPage>,
    pub(super) code: CloseCode,
}

impl Farewell {
    /// The page left, or is gone: nothing to say.
    pub(super) const fn silent() -> Self {
        Self {
            message: None,
            code: CloseCode::Normal,
        }
    }

    pub(super) fn saying(message: ToPage) -> Self {
        Self {
            message: Some(message),
            code: CloseCode::Normal,
        }
    }

    pub(super) fn error(code: &str, message: impl Into<String>) -> Self {
        Self {
            message: Some(ToPage::Error {
                code: code.into(),
                message: message.into(),
                is_final: true,
            }),
            code: CloseCode::Policy,
        }
    }

    pub(super) fn problem(problem: &Problem) -> Self {
        Self::error(problem.code, problem.detail.clone())
    }

    pub(super) fn ended(reason: Reason) -> Self {
        Self::saying(ToPage::Ended {
            reason: reason.code().into(),
        })
    }

    pub(super) fn dismissed(why: Dismissal) -> Self {
        match why {
            Dismissal::TakenOver => Self::saying(ToPage::TakenOver),
            Dismissal::Ended(reason) => Self::ended(reason),
        }
    }

    pub(super) fn worker_gone(WorkerGone(why): WorkerGone) -> Self {
        match why {
            Some(why) => Self::dismissed(why),
            None => Self::error("worker_gone", "the desktop's picture stopped; trying again"),
        }
    }

    /// For what came instead of a message.
    pub(super) fn refusing(incoming: Incoming) -> Self {
        match incoming {
            Incoming::Malformed(words) => Self::error("malformed", words),
            Incoming::TooLarge => Self {
                code: CloseCode::Size,
                ..Self::error(
                    "too_large",
                    format!("a message exceeds {SIGNAL_BYTES_MAX} bytes"),
                )
            },
            Incoming::Message(_) | Incoming::Input(_) => {
                Self::error("order", "this message does not come here")
            }
            Incoming::Closed => Self::silent(),
        }
    }
}
