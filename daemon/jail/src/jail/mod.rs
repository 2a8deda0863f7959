//! Starts a jail from its plan and holds it.

mod access;
mod child;
mod report;
mod root;

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{getegid, geteuid};
use seccompiler::BpfProgram;

pub(crate) use child::Seats;
pub(crate) use report::Report;
use report::{GO, REPORT_BYTES_MAX};

use crate::cgroup::Doors;
use crate::layer::{Layer, LayerError, Sys, enter};
use crate::limits::INSIDE_ID;
use crate::obstacle;
use crate::plan::{Entry, Plan};
use crate::sys::process::{Exit, Forked, Process, exit_now, split};
use crate::sys::rights;

/// Made with the clone; the cgroup namespace follows once the limits hold.
const NAMESPACES: i32 = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS;

/// A jail: its init, and the link that lasts until the program runs.
#[derive(Debug)]
pub(crate) struct Jail {
    process: Process,
    link: Option<OwnedFd>,
    began: Instant,
    released: Option<Instant>,
}

/// Everything a jail is started with.
pub(crate) struct Order<'a> {
    pub(crate) plan: &'a Plan,
    /// The warden's uid and gid for the one inside.
    pub(crate) outer_id: u32,
    pub(crate) seats: Seats<'a>,
    pub(crate) filter: &'a BpfProgram,
    /// The v2 control group that the jail is born into.
    pub(crate) group: Option<BorrowedFd<'a>>,
    /// To those limits that it was not born under.
    pub(crate) doors: &'a Doors,
    pub(crate) sys: &'a dyn Sys,
    pub(crate) now: Instant,
}

impl Jail {
    /// Splits off the jail's first process and lets it build itself.
    pub(crate) fn start(order: &Order<'_>) -> Result<Self, LayerError> {
        let (ours, theirs) = link().map_err(|error| LayerError::new("link", error))?;
        let forked = enter(order.sys, Layer::Namespaces, || {
            split(NAMESPACES, order.group)
        });
        let process = match forked.map_err(explained)? {
            Forked::Child => {
                drop(ours);
                child::run(order, theirs.as_fd())
            }
            Forked::Parent(process) => process,
        };
        drop(theirs);
        let jail = Self {
            process,
            link: Some(ours),
            began: order.now,
            released: None,
        };
        match jail.admit(order) {
            Ok(()) => Ok(jail),
            Err(error) => {
                jail.process.kill();
                jail.process.wait();
                Err(error)
            }
        }
    }

    /// Maps its ids, then lets it go on.
    fn admit(&self, order: &Order<'_>) -> Result<(), LayerError> {
        let pid = self.process.pid.as_raw_nonzero();
        enter(order.sys, Layer::IdMap, || {
            let map = format!("{INSIDE_ID} {} 1\n", order.outer_id);
            std::fs::write(format!("/proc/{pid}/uid_map"), &map)?;
            std::fs::write(format!("/proc/{pid}/gid_map"), &map)
        })?;
        self.go().map_err(|error| LayerError::new("link", error))
    }

    /// Lets a gated program run.
    pub(crate) fn release(&mut self, now: Instant) -> io::Result<()> {
        self.released = Some(now);
        self.go()
    }

    fn go(&self) -> io::Result<()> {
        let link = self.link.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        rustix::io::write(link, GO)?;
        Ok(())
    }

    /// The link, while there is something to hear on it.
    pub(crate) fn link(&self) -> Option<BorrowedFd<'_>> {
        self.link.as_ref().map(AsFd::as_fd)
    }

    /// Readable when the jail is over.
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }

    /// Hears the next report; `None` when the program runs, or the jail died without a word.
    pub(crate) fn hear(&mut self) -> io::Result<Option<Report>> {
        let link = self.link.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let mut packet = [0; REPORT_BYTES_MAX];
        let length = rustix::io::read(link, &mut packet)?;
        let packet = packet.get(..length).unwrap_or_default();
        if packet.is_empty() {
            self.link = None;
            return Ok(None);
        }
        Report::decode(packet)
            .map(Some)
            .ok_or_else(|| io::Error::other("a jail reported something else"))
    }

    /// When it was last told to go on: at its start, or at its gate.
    pub(crate) fn told_to_go(&self) -> Instant {
        self.released.unwrap_or(self.began)
    }

    /// Ends every process of the jail.
    pub(crate) fn kill(&self) {
        self.process.kill();
    }

    /// How it ended, if it has.
    pub(crate) fn try_wait(&self) -> io::Result<Option<Exit>> {
        self.process.try_wait()
    }
}

fn link() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    Ok((ours, theirs))
}

fn explained(error: LayerError) -> LayerError {
    LayerError::new(error.layer, obstacle::explained(&error.detail))
}

/// Makes a child in the namespaces of a jail and lets it mount there.
pub(crate) fn try_namespaces() -> Result<(), String> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let step = || -> io::Result<()> {
        rights::map_alone(uid, gid)?;
        rights::enter_cgroup_namespace()?;
        root::build(&[Entry::Proc], &[])
    };
    let mount =
        || step().map_err(|error| format!("a child cannot mount in its own namespaces: {error}"));
    tried(NAMESPACES, mount).map_err(|words| obstacle::explained(&words))
}

/// Runs `step` in a process of its own that ends with it.
pub(crate) fn apart(step: impl FnOnce() -> i32) -> io::Result<Process> {
    match split(0, None)? {
        Forked::Child => exit_now(step()),
        Forked::Parent(process) => Ok(process),
    }
}

/// Tries `step` in a process of its own that ends with it; the reason where it fails.
pub(crate) fn try_apart(step: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    tried(0, step)
}

fn tried(namespaces: i32, step: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let (mut reader, mut writer) = io::pipe().map_err(|error| error.to_string())?;
    let child = match split(namespaces, None) {
        Ok(Forked::Parent(child)) => child,
        Ok(Forked::Child) => {
            let Err(words) = step() else { exit_now(0) };
            // Without words the exit code says that it failed.
            let _unread = writer.write_all(words.as_bytes());
            exit_now(1)
        }
        Err(error) => return Err(error.to_string()),
    };
    drop(writer);
    let mut words = String::new();
    reader
        .read_to_string(&mut words)
        .map_err(|error| error.to_string())?;
    match child.wait_for_exit() {
        Ok(Exit::Code(0)) => Ok(()),
        Ok(_) if !words.is_empty() => Err(words),
        Ok(exit) => Err(format!("the step ended with {exit:?}")),
        Err(error) => Err(error.to_string()),
    }
}
