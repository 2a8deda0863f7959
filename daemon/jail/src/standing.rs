//! What the server stands on: root's rights, or those that an ordinary user has over a user
//! namespace of its own.
//!
//! In that namespace the user is 0. Where the host delegates further ids they keep their numbers
//! inside, so everything else counts them as root's server counts its own. Where it delegates
//! none there is that one id for everybody.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, getpid, set_parent_process_death_signal};

use crate::account::{AccountError, daemon_ids};
use crate::delegation::{self, Caller, Delegated, Found, Outside, program};
use crate::ids::Ids;
use crate::jail::{apart, try_apart};
use crate::limits::IDS_PER_SERVER;
use crate::obstacle;
use crate::sys::process::Exit;
use crate::sys::rights::{enter_user_namespace, map_alone};

/// Who started the server, and what follows.
#[derive(Clone, Debug)]
pub(crate) enum Standing {
    Root,
    User(User),
}

/// An ordinary user.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) caller: Caller,
    /// Further ids, or why there are none.
    pub(crate) delegated: Found,
}

/// Why this process cannot have what it needs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StandingError {
    #[error("SANDBOX_UID_BASE={value}: {why}")]
    Outside { value: u32, why: String },
    #[error("{0}")]
    NoNamespace(String),
}

impl Standing {
    /// Looks who this process is and tries what it may. One thread only.
    pub(crate) fn find(uid_base: u32) -> Result<Self, StandingError> {
        if rustix::process::geteuid().is_root() {
            return Ok(Self::Root);
        }
        User::find(uid_base).map(Self::User)
    }

    /// The daemon's uid and gid.
    pub(crate) fn daemon_ids(
        &self,
        uid_base: u32,
        daemon_user: &str,
    ) -> Result<(u32, u32), AccountError> {
        match self {
            Self::Root => daemon_ids(uid_base, daemon_user),
            Self::User(user) => Ok(user.daemon_ids()),
        }
    }

    /// What sessions run under.
    pub(crate) fn session_ids(&self, uid_base: u32) -> Ids {
        match self {
            Self::Root => Ids::many(uid_base, IDS_PER_SERVER),
            Self::User(user) => match &user.delegated {
                Ok(delegated) => Ids::many(delegated.uid + 1, delegated.count - 1),
                Err(_) => Ids::One,
            },
        }
    }

    /// To whom everything belonged while the host delegated nothing to this user.
    pub(crate) fn former_owner(&self) -> Option<u32> {
        match self {
            Self::Root
            | Self::User(User {
                delegated: Err(_), ..
            }) => None,
            Self::User(User {
                delegated: Ok(_), ..
            }) => Some(0),
        }
    }

    /// Enters the namespace; root stays where it is. One thread only.
    pub(crate) fn enter(&self) -> io::Result<()> {
        match self {
            Self::Root => Ok(()),
            Self::User(user) => enter(&user.caller, user.delegated.as_ref().ok()),
        }
    }

    /// What is weaker than under root, one sentence each.
    pub(crate) fn weaker(&self) -> Vec<String> {
        match self {
            Self::Root => Vec::new(),
            Self::User(user) => user.weaker(),
        }
    }
}

impl User {
    pub(crate) fn find(uid_base: u32) -> Result<Self, StandingError> {
        let caller = Caller::find();
        let found =
            delegation::find(&caller, uid_base).map_err(|Outside(why)| StandingError::Outside {
                value: uid_base,
                why,
            })?;
        // What a container or a mount option forbids shows only when it is tried.
        let delegated = found.and_then(|delegated| {
            try_apart(|| enter(&caller, Some(&delegated)).map_err(|it| it.to_string()))?;
            Ok(delegated)
        });
        if delegated.is_err() {
            try_apart(|| enter(&caller, None).map_err(|it| it.to_string()))
                .map_err(|why| StandingError::NoNamespace(obstacle::explained(&why)))?;
        }
        Ok(Self { caller, delegated })
    }

    fn daemon_ids(&self) -> (u32, u32) {
        let first = self.delegated.as_ref().map_or(0, |it| it.uid);
        (first, first)
    }

    fn weaker(&self) -> Vec<String> {
        // A setting of each jail that the kernel takes from root alone.
        let mut weaker = vec![
            "memfd_noexec: without root nothing keeps X server and worker from running programs \
             that lie in memory"
                .to_owned(),
        ];
        weaker.extend(self.delegated.as_ref().err().map(|why| self.shared(why)));
        weaker
    }

    fn shared(&self, why: &str) -> String {
        format!(
            "uids: every desktop and the server itself run under one uid, that of {} ({why}): a \
             program that leaves its jail meets no further wall between users",
            self.caller.name
        )
    }
}

/// Becomes 0 of a user namespace of its own, with mounts of its own.
fn enter(caller: &Caller, delegated: Option<&Delegated>) -> io::Result<()> {
    let Some(delegated) = delegated else {
        enter_user_namespace()?;
        return map_alone(caller.uid, caller.gid);
    };
    // Mapping further ids takes a privileged program, which must be started from outside.
    let (mut link, theirs) = UnixStream::pair()?;
    let owner = getpid();
    let mapper = apart(move || map_from_outside(theirs, owner, caller, delegated))?;
    if let Err(error) = enter_user_namespace() {
        mapper.kill();
        mapper.wait();
        return Err(error);
    }
    link.write_all(&[GO])?;
    let mut words = String::new();
    link.read_to_string(&mut words)?;
    match mapper.wait_for_exit()? {
        Exit::Code(0) => Ok(()),
        Exit::Code(_) | Exit::Signal(_) => Err(io::Error::other(words)),
    }
}

/// Says that the namespace is there to be mapped.
const GO: u8 = b'g';

/// In a process of its own, once `owner` is in its namespace.
fn map_from_outside(
    mut link: UnixStream,
    owner: Pid,
    caller: &Caller,
    delegated: &Delegated,
) -> i32 {
    match map_when_told(&mut link, owner, caller, delegated) {
        Ok(()) => 0,
        Err(error) => {
            // The owner learns of the failure from the exit code as well.
            let _gone = link.write_all(error.to_string().as_bytes());
            1
        }
    }
}

fn map_when_told(
    link: &mut UnixStream,
    owner: Pid,
    caller: &Caller,
    delegated: &Delegated,
) -> io::Result<()> {
    // This process's copy of the owner's end keeps the link open when the owner is gone.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    link.read_exact(&mut [GO])?;
    let Delegated { uid, gid, count } = *delegated;
    map("newuidmap", owner, caller.uid, (uid, uid, count))?;
    map("newgidmap", owner, caller.gid, (uid, gid, count))
}

fn map(name: &str, owner: Pid, own: u32, range: (u32, u32, u32)) -> io::Result<()> {
    let path = program(name).ok_or_else(|| io::Error::other(format!("{name} is gone")))?;
    let (inside, outside, count) = range;
    let numbers = [0, own, 1, inside, outside, count];
    let output = Command::new(path)
        .arg(owner.to_string())
        .args(numbers.map(|it| it.to_string()))
        .env_clear()
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{name} refuses: {}", said.trim())))
}
