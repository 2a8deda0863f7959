//! Why the server does not run, each with its exit code.

use std::io;
use std::path::PathBuf;

use crate::account::AccountError;
use crate::seccomp::FilterError;

/// The warden could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WardenError {
    /// Not root.
    #[error(
        "the server must be started as root (it drops every right that it does not need); \
         use `sudo sandbox-server serve`"
    )]
    NotRoot,
    /// A path that somebody else can change.
    #[error("{path} cannot be trusted: {why}; everything above and below must be root's alone")]
    Untrusted {
        /// Which component.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
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

    /// The exit code of the contract.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config { .. } => 2,
            Self::NotRoot | Self::Untrusted { .. } => 3,
            Self::Account(AccountError::IsRoot(_)) => 2,
            Self::Filter(_) => 4,
            Self::Daemon { code, .. } => *code,
            Self::Locked { .. } | Self::Port { .. } | Self::Account(_) | Self::Io { .. } => 1,
        }
    }
}
