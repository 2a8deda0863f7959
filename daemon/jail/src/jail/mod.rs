//! Starts a jail from its plan and holds it.

mod access;
mod child;
mod report;
mod root;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use seccompiler::BpfProgram;

pub(crate) use child::Seats;
pub(crate) use report::Report;
use report::{GO, REPORT_BYTES_MAX};

use crate::layer::{Layer, LayerError, Sys, enter};
use crate::limits::INSIDE_ID;
use crate::plan::Plan;
use crate::sys::process::{Exit, Forked, Process, exit_now, split};

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
}

/// Everything a jail is started with.
pub(crate) struct Order<'a> {
    pub(crate) plan: &'a Plan,
    /// Host uid and gid behind the one inside.
    pub(crate) host_id: u32,
    pub(crate) seats: Seats<'a>,
    pub(crate) filter: &'a BpfProgram,
    /// Puts the process under its limits.
    pub(crate) place: &'a dyn Fn(u32) -> Result<(), LayerError>,
    pub(crate) sys: &'a dyn Sys,
}

impl Jail {
    /// Splits off the jail's first process and lets it build itself.
    pub(crate) fn start(order: &Order<'_>) -> Result<Self, LayerError> {
        let (ours, theirs) = link().map_err(|error| LayerError::new("link", error))?;
        let forked = enter(order.sys, Layer::Namespaces, || split(NAMESPACES));
        let process = match forked.map_err(explain_namespaces)? {
            Forked::Child => {
                drop(ours);
                child::run(
                    order.plan,
                    &order.seats,
                    theirs.as_fd(),
                    order.filter,
                    order.sys,
                )
            }
            Forked::Parent(process) => process,
        };
        drop(theirs);
        let jail = Self {
            process,
            link: Some(ours),
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

    /// Maps its ids and places it under its limits, then lets it go on.
    fn admit(&self, order: &Order<'_>) -> Result<(), LayerError> {
        let pid = self.process.pid.as_raw_nonzero();
        enter(order.sys, Layer::IdMap, || {
            let map = format!("{INSIDE_ID} {} 1\n", order.host_id);
            std::fs::write(format!("/proc/{pid}/uid_map"), &map)?;
            std::fs::write(format!("/proc/{pid}/gid_map"), &map)
        })?;
        (order.place)(pid.get().cast_unsigned())?;
        self.go().map_err(|error| LayerError::new("link", error))
    }

    /// Lets a gated program run.
    pub(crate) fn release(&self) -> io::Result<()> {
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

/// Which namespace the kernel lacks or forbids, as far as it can be seen.
fn explain_namespaces(error: LayerError) -> LayerError {
    let missing: Vec<&str> = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"]
        .into_iter()
        .filter(|name| !std::path::Path::new(&format!("/proc/self/ns/{name}")).exists())
        .collect();
    let forbidden = std::fs::read_to_string("/proc/sys/user/max_user_namespaces")
        .is_ok_and(|it| it.trim() == "0");
    let why = match (missing.is_empty(), forbidden) {
        (false, _) => format!("this kernel has no {} namespace", missing.join(", ")),
        (true, true) => "user.max_user_namespaces is 0; raise it with sysctl".to_owned(),
        (true, false) => return error,
    };
    LayerError::new(error.layer, format_args!("{}: {why}", error.detail))
}

/// Runs `step` in a process of its own that ends with it.
pub(crate) fn apart(step: impl FnOnce() -> i32) -> io::Result<Process> {
    match split(0)? {
        Forked::Child => exit_now(step()),
        Forked::Parent(process) => Ok(process),
    }
}
