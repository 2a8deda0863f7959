//! Why a worker ends.

use std::error::Error;
use std::io;

use sandbox_hw::EncodeError;
use sandbox_protocol::local::worker::ToWarden;

use crate::display::DisplayError;
use crate::encoding::Hanging;
use crate::framebuffer::FramebufferError;
use crate::link::LinkError;
use crate::notes::NotesError;

/// A needed part of the host is missing.
const EXIT_MISSING: u8 = 4;

/// Failed at run time.
const EXIT_FAILED: u8 = 1;

/// The worker cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkerError {
    #[error("the warden's socket is unusable")]
    Warden(#[from] LinkError),
    #[error("the warden sent {0}")]
    Plan(String),
    #[error("no encoder")]
    Encoder(#[from] EncodeError),
    #[error("no framebuffer")]
    Framebuffer(#[from] FramebufferError),
    #[error("the notes for the next worker cannot be kept")]
    Notes(#[from] NotesError),
    #[error("not sealed: {0}")]
    Seal(String),
    #[error("no display")]
    Display(#[from] DisplayError),
    #[error("no thread for the encoder")]
    Thread(#[source] io::Error),
    #[error("no picture")]
    Hanging(#[from] Hanging),
    #[error("cannot wait for the sockets")]
    Wait(#[source] rustix::io::Errno),
}

impl WorkerError {
    /// What the warden is told.
    pub(crate) fn report(&self) -> ToWarden {
        let layer = match self {
            Self::Display(DisplayError::Held) => return ToWarden::XHeld,
            Self::Encoder(EncodeError::Missing { layer, .. }) => layer,
            Self::Display(DisplayError::Connect(_) | DisplayError::Extension(_)) => "xvfb",
            Self::Seal(_) => "seccomp",
            Self::Warden(_)
            | Self::Plan(_)
            | Self::Encoder(_)
            | Self::Framebuffer(_)
            | Self::Notes(_)
            | Self::Display(_)
            | Self::Thread(_)
            | Self::Hanging(_)
            | Self::Wait(_) => "",
        };
        ToWarden::Failed {
            layer: layer.to_owned(),
            detail: self.chain(),
        }
    }

    /// This error and its causes.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self.report() {
            ToWarden::Failed { layer, .. } if !layer.is_empty() => EXIT_MISSING,
            ToWarden::Failed { .. }
            | ToWarden::XHeld
            | ToWarden::Ready { .. }
            | ToWarden::Attached => EXIT_FAILED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warden_learns_which_part_is_missing_and_the_whole_cause() {
        let missing = EncodeError::Missing {
            layer: "libx264",
            detail: "apt install libx264-164".to_owned(),
        };
        let error = WorkerError::from(missing);
        let ToWarden::Failed { layer, detail } = error.report() else {
            panic!("{:?}", error.report());
        };
        assert_eq!((layer.as_str(), error.exit_code()), ("libx264", 4));
        assert!(detail.contains("apt install libx264-164"), "{detail}");
        let held = WorkerError::from(DisplayError::Held);
        assert_eq!((held.report(), held.exit_code()), (ToWarden::XHeld, 1));
    }
}
