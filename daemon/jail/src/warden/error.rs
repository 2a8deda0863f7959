//! Why the server does not run, each with its exit code.

use std::io;
use std::path::PathBuf;

use crate::account::AccountError;
use crate::seccomp::FilterError;
use crate::standing::StandingError;

/// The warden could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WardenError {
    /// An ordinary user who cannot have a user namespace.
    #[error(
        "without root the server needs a user namespace of its own: {0}; `sandbox-server doctor` \
         says more, and `sudo sandbox-server serve` goes the other way"
    )]
    NoNamespace(String),
    /// A path that somebody else can change.
    #[error("{path} cannot be trusted: {why}; everything above and below must be {whose} alone")]
    Untrusted {
        /// Which component.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// Who may change it.
        whose: &'static str,
    },
    /// An executable that the uids of daemon and worker cannot run.
    #[error(
        "{path} can be run by its owner alone, and the daemon has another uid: chmod o+rx {path}"
    )]
    Unreadable {
        /// The executable.
        path: PathBuf,
    },
    /// A directory of another user's server.
    #[error(
        "{path} belongs to uid {uid}: run this as root, or set STATE_DIR to a directory of yours"
    )]
    Foreign {
        /// Which directory.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// A configured value does not work on this host.
    #[error("{name}={value}: {why}")]
    Config {
        /// Variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is wrong and what would do.
        why: String,
    },
    /// Another server holds what this one needs.
    #[error("another server holds {what} ({holder}); stop it or change {variable}")]
    Locked {
        /// The lock's subject.
        what: String,
        /// Its process, as far as known.
        holder: String,
        /// What to change.
        variable: &'static str,
    },
    /// A port is taken or cannot be bound.
    #[error("cannot listen on {address}: {why}; change {variable}")]
    Port {
        /// `TCP 127.0.0.1:8080`.
        address: String,
        /// The holder, or what the kernel said.
        why: String,
        /// What to change.
        variable: &'static str,
    },
    /// The daemon ended before it ever served.
    #[error("the daemon ended before it was ready ({how}); its reason stands above")]
    Daemon {
        /// Exit code or signal.
        how: String,
        /// Its own exit code, where it is one of the contract's.
        code: u8,
    },
    /// The daemon's account.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The filters cannot be compiled.
    #[error(transparent)]
    Filter(#[from] FilterErrorBox),
    /// A step failed that should not.
    #[error("cannot {what}")]
    Io {
        /// The step and its subject.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Keeps the filters' own error type out of the interface.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct FilterErrorBox(#[from] FilterError);

impl WardenError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    pub(crate) fn standing(error: StandingError) -> Self {
        match error {
            StandingError::Outside { value, why } => Self::Config {
                name: "SANDBOX_UID_BASE",
                value: value.to_string(),
                why,
            },
            StandingError::NoNamespace(why) => Self::NoNamespace(why),
        }
    }

    /// The exit code of the contract.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config { .. } => 2,
            Self::Untrusted { .. } | Self::Foreign { .. } | Self::Unreadable { .. } => 3,
            Self::Account(AccountError::IsRoot(_)) => 2,
            Self::Filter(_) | Self::NoNamespace(_) => 4,
            Self::Daemon { code, .. } => *code,
            Self::Locked { .. } | Self::Port { .. } | Self::Account(_) | Self::Io { .. } => 1,
        }
    }
}
