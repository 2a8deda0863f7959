//! Starts a jail from its plan and holds it.

mod access;
mod child;
mod report;
mod root;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use seccompiler::BpfProgram;

pub(crate) use child::Seats;
pub(crate) use report::Report;
use report::{GO, REPORT_BYTES_MAX};

use crate::cgroup::Doors;
use crate::layer::{Layer, LayerError, Sys, enter};
use crate::limits::INSIDE_ID;
use crate::plan::Plan;
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
    /// Host uid and gid behind the one inside.
    pub(crate) host_id: u32,
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
        let process = match forked.map_err(explain_namespaces)? {
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
            let map = format!("{INSIDE_ID} {} 1\n", order.host_id);
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

/// Makes a child in the namespaces of a jail and lets it mount there.
pub(crate) fn try_namespaces() -> Result<(), String> {
    let step = || -> io::Result<()> {
        rights::enter_cgroup_namespace()?;
        root::build(&[], &[])
    };
    let child = match split(NAMESPACES, None) {
        Ok(Forked::Child) => exit_now(step().map_or_else(code_of, |()| 0)),
        Ok(Forked::Parent(child)) => child,
        Err(error) => {
            let error = LayerError::new(Layer::Namespaces, error);
            return Err(explain_namespaces(error).detail);
        }
    };
    match child.wait_for_exit() {
        Ok(Exit::Code(0)) => Ok(()),
        Ok(Exit::Code(code)) => Err(format!(
            "a child cannot mount in its own namespaces: {}",
            io::Error::from_raw_os_error(code)
        )),
        Ok(Exit::Signal(signal)) => Err(format!("the kernel ended the child by signal {signal}")),
        Err(error) => Err(error.to_string()),
    }
}

/// An error as an exit code, which holds a byte.
fn code_of(error: io::Error) -> i32 {
    error.raw_os_error().filter(|it| *it < 256).unwrap_or(255)
}

/// Runs `step` in a process of its own that ends with it.
pub(crate) fn apart(step: impl FnOnce() -> i32) -> io::Result<Process> {
    match split(0, None)? {
        Forked::Child => exit_now(step()),
        Forked::Parent(process) => Ok(process),
    }
}
