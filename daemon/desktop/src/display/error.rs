//! Why the X server cannot be used.

use std::io::ErrorKind;

use sandbox_protocol::Size;
use x11rb::errors::{ConnectError, ConnectionError, ReplyError, ReplyOrIdError};

use super::ANSWER_PATIENCE;

/// The X server cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DisplayError {
    #[error("cannot connect to the X server")]
    Connect(#[source] ConnectError),
    #[error("the X server has no extension {0}")]
    Extension(&'static str),
    /// It answers nobody.
    #[error("the X server has not answered for {} s", ANSWER_PATIENCE.as_secs())]
    Held,
    #[error("the connection to the X server broke")]
    Connection(#[source] ConnectionError),
    #[error("the X server refused a request")]
    Refused(#[source] ReplyOrIdError),
    #[error("the screen has {is}, not {wanted}")]
    Size { is: Size, wanted: Size },
}

impl From<ConnectionError> for DisplayError {
    fn from(error: ConnectionError) -> Self {
        let is_timeout =
            matches!(&error, ConnectionError::IoError(io) if io.kind() == ErrorKind::TimedOut);
        if is_timeout {
            Self::Held
        } else {
            Self::Connection(error)
        }
    }
}

impl From<ReplyError> for DisplayError {
    fn from(error: ReplyError) -> Self {
        match error {
            ReplyError::ConnectionError(error) => error.into(),
            error @ ReplyError::X11Error(_) => Self::Refused(error.into()),
        }
    }
}

impl From<ReplyOrIdError> for DisplayError {
    fn from(error: ReplyOrIdError) -> Self {
        match error {
            ReplyOrIdError::ConnectionError(error) => error.into(),
            error @ (ReplyOrIdError::X11Error(_) | ReplyOrIdError::IdsExhausted) => {
                Self::Refused(error)
            }
        }
    }
}

impl From<ConnectError> for DisplayError {
    fn from(error: ConnectError) -> Self {
        let is_timeout =
            matches!(&error, ConnectError::IoError(io) if io.kind() == ErrorKind::TimedOut);
        if is_timeout {
            Self::Held
        } else {
            Self::Connect(error)
        }
    }
}
