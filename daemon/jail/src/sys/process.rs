//! Makes processes, waits for them, becomes another program.

use std::convert::Infallible;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_send_signal, waitid,
};

use super::last;

/// Of `linux/sched.h`; the library has it in a type that cannot hold it.
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// A child, held by a descriptor so that its number cannot be another's.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    pidfd: OwnedFd,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
}

/// Which side of a clone runs.
#[derive(Debug)]
pub(crate) enum Forked {
    Child,
    Parent(Process),
}

/// Splits the process. `namespaces` are `CLONE_NEW*` flags of the child, `group` the v2 control
/// group that it is born into.
///
/// The caller must be single-threaded: the child goes on with everything that the parent held,
/// and a lock held by another thread would stay locked for ever.
pub(crate) fn split(namespaces: i32, group: Option<BorrowedFd<'_>>) -> io::Result<Forked> {
    let mut pidfd: RawFd = -1;
    // SAFETY: clone_args consists of integers; zero is valid and means "not wanted" for each.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = u64::from((namespaces | libc::CLONE_PIDFD).cast_unsigned());
    if let Some(group) = group {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(group.as_raw_fd().cast_unsigned());
    }
    args.pidfd = ptr::from_mut(&mut pidfd) as u64;
    args.exit_signal = libc::SIGCHLD.cast_unsigned().into();
    // SAFETY: without CLONE_VM the child runs on a copy of this stack; args and pidfd outlive
    // the call, and the size is that of args.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of_val(&args)) };
    let pid = last(pid)?;
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Ok(Forked::Child);
    };
    // SAFETY: the kernel stored a fresh descriptor that nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Forked::Parent(Process { pid, pidfd }))
}

impl Process {
    /// Ends it at once; a process that is gone already is no error.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Sends a signal; a process that is gone already is no error.
    pub(crate) fn signal(&self, signal: Signal) {
        let _gone = pidfd_send_signal(&self.pidfd, signal);
    }

    /// Its end, if it has ended; collects it.
    pub(crate) fn try_wait(&self) -> io::Result<Option<Exit>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let status = waitid(WaitId::PidFd(self.pidfd.as_fd()), options)?;
        Ok(status.map(|it| exit_of(&it)))
    }

    /// Waits for the end of a child that ends by itself.
    pub(crate) fn wait_for_exit(&self) -> io::Result<Exit> {
        let status = waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED)?;
        status
            .map(|it| exit_of(&it))
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Waits for its end; used only after [`Self::kill`] of a child that cannot resist it.
    pub(crate) fn wait(&self) {
        let _ended = waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED);
    }
}

fn exit_of(status: &WaitIdStatus) -> Exit {
    status.exit_status().map_or_else(
        || Exit::Signal(status.terminating_signal().unwrap_or_default()),
        Exit::Code,
    )
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Splits a jail's init, which may not use clone3 any more. The child's number, or `None` in the
/// child.
pub(crate) fn fork() -> io::Result<Option<i32>> {
    // SAFETY: a jail's process before exec has one thread.
    let pid = unsafe { libc::fork() };
    let pid = last(pid)?;
    Ok((pid > 0).then_some(pid))
}

/// Collects ended children of a jail's init until `main` ends.
pub(crate) fn reap_until_ended(main: i32) -> Exit {
    loop {
        let mut status = 0;
        // SAFETY: status is valid for the call.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, 0) };
        match pid {
            -1 if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted => {
                return Exit::Code(125);
            }
            ended if ended == main && libc::WIFEXITED(status) => {
                return Exit::Code(libc::WEXITSTATUS(status));
            }
            ended if ended == main => return Exit::Signal(libc::WTERMSIG(status)),
            _ => {}
        }
    }
}

/// Ends this process without running destructors or exit handlers of the parent's copy.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// What to become.
#[derive(Debug)]
pub(crate) enum Image<'a> {
    /// A file inside the jail.
    Path(&'a CString),
    /// An open executable, for a jail that does not contain it.
    Descriptor(RawFd),
}

/// Becomes another program; returns only on failure.
pub(crate) fn execute(
    image: &Image<'_>,
    arguments: &[CString],
    environment: &[CString],
) -> io::Result<Infallible> {
    let list = |items: &[CString]| -> Vec<*const libc::c_char> {
        let mut pointers: Vec<_> = items.iter().map(|it| it.as_ptr()).collect();
        pointers.push(ptr::null());
        pointers
    };
    let (argv, envp) = (list(arguments), list(environment));
    match image {
        Image::Path(path) => {
            // SAFETY: path is a C string; both lists end with null and point to living strings.
            unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
        }
        Image::Descriptor(fd) => {
            // SAFETY: the empty path is a C string; both lists end with null and point to
            // living strings.
            unsafe {
                libc::syscall(
                    libc::SYS_execveat,
                    *fd,
                    c"".as_ptr(),
                    argv.as_ptr(),
                    envp.as_ptr(),
                    libc::AT_EMPTY_PATH,
                )
            };
        }
    }
    Err(io::Error::last_os_error())
}
