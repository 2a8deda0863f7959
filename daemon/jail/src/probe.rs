//! What this host offers to jails, looked at and tried without changing anything.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use crate::account;
use crate::cgroup::{Own, Unlimited, missing};
use crate::delegation::{self, Caller};
use crate::ids::Ids as SessionIds;
use crate::jail;
use crate::standing::{Standing, StandingError};
use crate::sys::{clock_state, rights};
use crate::warden::ground::{EXTRAS, PARTS};
use crate::warden::listen;

/// The control groups that a server started here would use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// `v1`, `v2`, `v1 and v2` or `none`.
    pub layout: String,
    /// What no session goes without.
    pub missing: Vec<String>,
    /// What is only reported.
    pub weaker: Vec<String>,
}

/// What sessions run under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ids {
    /// Uids that root's server takes.
    Taken {
        /// Who else uses some of them.
        overlap: Option<String>,
    },
    /// Uids that the host gives an ordinary user.
    Delegated {
        /// How many people they serve.
        users: u32,
    },
    /// The ordinary user's own alone.
    One {
        /// Why there are no more.
        why: String,
        /// The first uid from which on a range could be given.
        free: u32,
    },
    /// `SANDBOX_UID_BASE` is none that the user may have.
    Outside {
        /// What is wrong.
        why: String,
    },
}

/// A program or file of the distribution that desktops are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: &'static str,
    /// The Debian package that brings it.
    pub package: &'static str,
    /// What the desktop lacks without it; `None`: there is no desktop without it.
    pub lacks: Option<&'static str>,
    /// The host has it.
    pub is_there: bool,
}

/// The kernel's Landlock ABI.
///
/// # Errors
///
/// Returns why the kernel offers none.
pub fn landlock() -> Result<u32, String> {
    match rights::landlock_answer() {
        Ok(abi) => u32::try_from(abi).map_err(|error| error.to_string()),
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            Err("built into this kernel, but not active".to_owned())
        }
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
            Err("not in this kernel".to_owned())
        }
        Err(error) => Err(format!("the kernel refuses to say: {error}")),
    }
}

/// Makes a child with a jail's namespaces, which mounts and ends. The caller must have one thread.
///
/// # Errors
///
/// Returns what the kernel refused, with its reason where that can be seen.
pub fn namespaces() -> Result<(), String> {
    jail::try_namespaces()
}

/// Looks at the control groups.
///
/// # Errors
///
/// Returns what the kernel said when `/proc` cannot be read.
pub fn groups() -> io::Result<Groups> {
    let own = Own::find()?;
    let mut groups = Groups {
        layout: own.layout().to_string(),
        missing: Vec::new(),
        weaker: Vec::new(),
    };
    match missing(&own, Unlimited::Refuse) {
        Ok(weaker) => groups.weaker = weaker,
        Err(error) => groups.missing.push(error.to_string()),
    }
    Ok(groups)
}

/// What the distribution must bring, and what it should.
pub fn parts() -> Vec<Part> {
    let required = PARTS.iter().map(|(name, path, package)| Part {
        name,
        package,
        lacks: None,
        is_there: Path::new(path).exists(),
    });
    let extra = EXTRAS.iter().map(|(path, package, what)| Part {
        name: path.strip_prefix("/usr/bin/").unwrap_or("font"),
        package,
        lacks: Some(what),
        is_there: Path::new(path).exists(),
    });
    required.chain(extra).collect()
}

/// Why TCP cannot listen on `address`, if it cannot: its holder, or the kernel's words.
pub fn tcp_refusal(address: SocketAddr) -> Option<String> {
    listen::tcp_refusal(address)
}

/// Why UDP cannot be received on `address`, if it cannot.
pub fn udp_refusal(address: SocketAddr) -> Option<String> {
    listen::udp_refusal(address)
}

/// The name of the ordinary user that this process runs as; `None`: it is root.
pub fn ordinary_user() -> Option<String> {
    let is_root = rustix::process::geteuid().is_root();
    (!is_root).then(|| Caller::find().name)
}

/// What sessions of a server that this process started would run under; tried, where it is an
/// ordinary user. The caller must have one thread.
pub fn ids(uid_base: u32, daemon_user: &str) -> Ids {
    let standing = match Standing::find(uid_base) {
        Ok(standing) => standing,
        Err(StandingError::Outside { why, .. }) => return Ids::Outside { why },
        Err(StandingError::NoNamespace(why)) => {
            let free = delegation::first_free();
            return Ids::One { why, free };
        }
    };
    match (&standing, standing.session_ids(uid_base)) {
        (Standing::Root, _) => Ids::Taken {
            overlap: account::overlap(uid_base, daemon_user),
        },
        (Standing::User(_), SessionIds::Many { users, .. }) => Ids::Delegated { users },
        (Standing::User(user), SessionIds::One) => Ids::One {
            why: user.delegated.clone().err().unwrap_or_default(),
            free: delegation::first_free(),
        },
    }
}

/// Whether something keeps the clock right; `None` where the kernel does not say.
pub fn clock_synchronised() -> Option<bool> {
    clock_state::is_synchronised().ok()
}
