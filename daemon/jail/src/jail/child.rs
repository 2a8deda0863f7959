//! The jail's side of its construction. The steps are types: only [`Sealed`] runs a program.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, getrlimit, pivot_root, set_dumpable_behavior,
    set_parent_process_death_signal, setrlimit, setsid, umask,
};
use rustix::system::sethostname;
use rustix::thread::set_no_new_privs;
use seccompiler::BpfProgram;

use super::report::{GO, Report};
use super::{Order, access, root};
use crate::layer::{Layer, LayerError, Sys, enter};
use crate::limits::INSIDE_ID;
use crate::plan::{JailKind, Plan, Program};
use crate::sys::descriptors::{close_from, place, placed};
use crate::sys::process::{Exit, Image, execute, exit_now, fork, reap_until_ended};
use crate::sys::{rights, signals};

/// Limits of each process of a jail: no core files, no real time, no locked memory to speak of.
const RESOURCE_LIMITS: [(Resource, u64); 7] = [
    // Where core_pattern is a pipe, the kernel runs the host's helper even at 0, but not at 1.
    (Resource::Core, 1),
    (Resource::Nofile, 4096),
    (Resource::Memlock, 8 << 20),
    (Resource::Msgqueue, 0),
    (Resource::Rtprio, 0),
    (Resource::Nice, 0),
    (Resource::Sigpending, 1024),
];

/// Descriptors of the parent that the jail gets, in the order of their numbers inside.
#[derive(Debug)]
pub(crate) struct Seats<'a> {
    /// Standard input, output and error.
    pub(crate) stdio: [BorrowedFd<'a>; 3],
    /// What the program finds open from 3 on.
    pub(crate) passed: Vec<BorrowedFd<'a>>,
    /// Our own executable, where the plan runs it.
    pub(crate) executable: Option<BorrowedFd<'a>>,
    /// Mounts for [`crate::plan::Entry::Given`].
    pub(crate) mounts: Vec<BorrowedFd<'a>>,
}

/// Builds the jail around this freshly split process and runs the program in it.
pub(crate) fn run(order: &Order<'_>, link: BorrowedFd<'_>) -> ! {
    // Before anything else: what it does from here on is limited.
    let limited = order.doors.pass();
    let Ok(seated) = order.seats.take(link) else {
        exit_now(125);
    };
    let outcome = limited
        .and_then(|()| Isolated::enter(order.plan, &seated, order.sys))
        .and_then(|isolated| isolated.seal(order.filter, order.sys))
        .and_then(Sealed::run);
    match outcome {
        Ok(code) => exit_now(code),
        Err(error) => {
            // Nobody else could be told.
            let _warden_gone = seated.report(&Report::Failed(error));
            exit_now(125)
        }
    }
}

/// The descriptors at their final numbers.
#[derive(Debug)]
struct Seated {
    link: OwnedFd,
    executable: Option<OwnedFd>,
    mounts: Vec<OwnedFd>,
}

impl Seats<'_> {
    fn take(&self, link: BorrowedFd<'_>) -> io::Result<Seated> {
        let sources: Vec<RawFd> = self
            .stdio
            .iter()
            .chain(&self.passed)
            .chain([&link])
            .chain(&self.executable)
            .chain(&self.mounts)
            .map(AsRawFd::as_raw_fd)
            .collect();
        let first_private = self.stdio.len() + self.passed.len();
        place(&sources, first_private)?;
        let mut numbers = (first_private..).filter_map(|it| RawFd::try_from(it).ok());
        let mut next = || numbers.next().map(placed).ok_or(io::ErrorKind::Other);
        let link = next()?;
        let executable = self.executable.map(|_| next()).transpose()?;
        let mounts = self
            .mounts
            .iter()
            .map(|_| next())
            .collect::<Result<_, _>>()?;
        Ok(Seated {
            link,
            executable,
            mounts,
        })
    }
}

impl Seated {
    fn report(&self, report: &Report) -> io::Result<()> {
        rustix::io::write(&self.link, &report.encode())?;
        Ok(())
    }

    /// Waits for the warden's word; its end of the link closes when it dies.
    fn wait_for_go(&self) -> io::Result<()> {
        let mut packet = [0; 8];
        let length = rustix::io::read(&self.link, &mut packet)?;
        if packet.get(..length) == Some(GO) {
            Ok(())
        } else {
            Err(io::Error::other("the warden is gone"))
        }
    }

    /// Inside a pid namespace getppid() is 0, so the link tells whether the parent died before
    /// the death signal was set.
    fn warden_lives(&self) -> io::Result<()> {
        let mut link = [PollFd::new(&self.link, PollFlags::empty())];
        poll(
            &mut link,
            Some(&Duration::ZERO.try_into().map_err(io::Error::other)?),
        )?;
        let [link] = link;
        if link.revents().contains(PollFlags::HUP) {
            return Err(io::Error::other("the warden is gone"));
        }
        Ok(())
    }
}

/// Namespaces, identity and root are the jail's own.
#[derive(Debug)]
struct Isolated<'a> {
    plan: &'a Plan,
    seated: &'a Seated,
}

impl<'a> Isolated<'a> {
    fn enter(plan: &'a Plan, seated: &'a Seated, sys: &dyn Sys) -> Result<Self, LayerError> {
        enter(sys, Layer::IdMap, || {
            signals::restore_defaults()?;
            seated.wait_for_go()
        })?;
        // The cgroup namespace takes the present cgroup as its root: limits first.
        enter(sys, Layer::CgroupNamespace, rights::enter_cgroup_namespace)?;
        enter(sys, Layer::Namespaces, || {
            forbid_more_namespaces(plan, seated)
        })?;
        enter(sys, Layer::IdMap, || become_insider(seated))?;
        enter(sys, Layer::Root, || root::build(&plan.root, &seated.mounts))?;
        enter(sys, Layer::PivotRoot, leave_old_root)?;
        Ok(Self { plan, seated })
    }

    fn seal(self, filter: &BpfProgram, sys: &dyn Sys) -> Result<Sealed<'a>, LayerError> {
        enter(sys, Layer::ResourceLimits, limit_resources)?;
        enter(sys, Layer::Capabilities, rights::drop_capabilities)?;
        enter(sys, Layer::NoNewPrivs, || Ok(set_no_new_privs(true)?))?;
        let weaker = enter(sys, Layer::Landlock, || {
            let executable = self.seated.executable.as_ref().map(AsFd::as_fd);
            access::restrict(self.plan, executable)
        });
        // Landlock is a reported layer: without it there is a session, and a sentence.
        let weaker = weaker.unwrap_or_else(|error| Some(error.to_string()));
        if let Some(sentence) = weaker {
            self.tell(&Report::Weaker(sentence))?;
        }
        enter(sys, Layer::Seccomp, || {
            seccompiler::apply_filter(filter).map_err(io::Error::other)
        })?;
        self.tell(&Report::Sealed)?;
        Ok(Sealed(self))
    }

    fn tell(&self, report: &Report) -> Result<(), LayerError> {
        self.seated
            .report(report)
            .map_err(|error| LayerError::new("link", error))
    }
}

/// Nothing is left to give up.
#[derive(Debug)]
struct Sealed<'a>(Isolated<'a>);

impl Sealed<'_> {
    /// Runs the program as the first child and collects whatever ends until it does.
    fn run(self) -> Result<i32, LayerError> {
        let Isolated { plan, seated } = self.0;
        let failed = |step: &str, error: &dyn std::fmt::Display| {
            LayerError::new(plan.kind, format_args!("{step}: {error}"))
        };
        if plan.is_gated {
            seated.wait_for_go().map_err(|it| failed("release", &it))?;
        }
        let Some(program) = fork().map_err(|it| failed("fork", &it))? else {
            let error = become_program(plan, seated);
            return Err(failed("exec", &error));
        };
        close_from(0).map_err(|it| failed("close", &it))?;
        Ok(match reap_until_ended(program) {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        })
    }
}

/// Written through the host's /proc, which is out of sight afterwards. The first asks for a
/// capability in this namespace, the second takes its word from the host's root alone.
fn forbid_more_namespaces(plan: &Plan, seated: &Seated) -> io::Result<()> {
    std::fs::write("/proc/sys/user/max_user_namespaces", "0")?;
    if plan.memfd_programs {
        return Ok(());
    }
    if let Err(error) = std::fs::write("/proc/sys/vm/memfd_noexec", "2") {
        // The file is root's; a server of an ordinary user says so once for all jails.
        if error.raw_os_error() == Some(libc::EACCES) {
            return Ok(());
        }
        let sentence = format!("memfd_noexec: {error} in {}", plan.kind);
        seated.report(&Report::Weaker(sentence))?;
    }
    Ok(())
}

fn become_insider(seated: &Seated) -> io::Result<()> {
    rights::become_ids(INSIDE_ID, INSIDE_ID)?;
    // After the last change of identity, which clears it.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    seated.warden_lives()?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    umask(rustix::fs::Mode::from_raw_mode(0o022));
    setsid()?;
    sethostname(b"desktop")?;
    rights::join_fresh_keyring()
}

fn leave_old_root() -> io::Result<()> {
    pivot_root(".", ".")?;
    rustix::mount::unmount(".", rustix::mount::UnmountFlags::DETACH)?;
    std::env::set_current_dir("/")?;
    root::finish()
}

fn limit_resources() -> io::Result<()> {
    for (resource, limit) in RESOURCE_LIMITS {
        // What the host allows less of cannot be raised from inside.
        let limit = getrlimit(resource)
            .maximum
            .map_or(limit, |it| it.min(limit));
        let both = Rlimit {
            current: Some(limit),
            maximum: Some(limit),
        };
        setrlimit(resource, both)?;
    }
    Ok(())
}

/// Returns only on failure.
fn become_program(plan: &Plan, seated: &Seated) -> io::Error {
    let prepared = prepare(plan);
    let (image_path, arguments, environment) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return error,
    };
    let image = match (&plan.image, &seated.executable) {
        (Program::Own, Some(executable)) => Image::Descriptor(executable.as_raw_fd()),
        (Program::Own | Program::Path(_), _) => Image::Path(&image_path),
    };
    match execute(&image, &arguments, &environment) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

type Prepared = (CString, Vec<CString>, Vec<CString>);

fn prepare(plan: &Plan) -> io::Result<Prepared> {
    // Only init keeps its memory to itself; the program's own /proc files are its own.
    set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    if plan.kind == JailKind::Programs {
        // Init is the last to go when memory is short; what the desktop starts goes first (300).
        std::fs::write("/proc/self/oom_score_adj", "100")?;
    }
    if let Some(home) = plan
        .environment
        .iter()
        .find_map(|it| it.strip_prefix("HOME="))
    {
        std::env::set_current_dir(home)?;
    }
    let mut environment = strings(&plan.environment)?;
    if plan.listens {
        let own = rustix::process::getpid().as_raw_nonzero();
        environment.push(CString::new(format!("LISTEN_PID={own}")).map_err(io::Error::other)?);
    }
    let path = match &plan.image {
        Program::Path(path) => CString::new(path.as_str()).map_err(io::Error::other)?,
        Program::Own => CString::default(),
    };
    Ok((path, strings(&plan.arguments)?, environment))
}

fn strings(items: &[String]) -> io::Result<Vec<CString>> {
    items
        .iter()
        .map(|it| CString::new(it.as_str()).map_err(io::Error::other))
        .collect()
}
