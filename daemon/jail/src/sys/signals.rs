//! Signals as a descriptor, and the way back to defaults for a child.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};

use super::last;

/// Bytes of one signal that was held back; the first four are its number.
pub(crate) const SIGNAL_LEN: usize = size_of::<libc::signalfd_siginfo>();

/// Asks for the daemon to be started from the file as it is on disk.
pub(crate) const UPGRADE: i32 = libc::SIGUSR2;

/// Holds back SIGTERM, SIGINT, SIGHUP and [`UPGRADE`] and makes them readable.
pub(crate) fn held_back() -> io::Result<OwnedFd> {
    let set = signal_set(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP, UPGRADE]);
    // SAFETY: set is initialised; no old set is wanted.
    last(unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) })?;
    // SAFETY: set is initialised; -1 asks for a fresh descriptor.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    let fd = last(fd)?;
    // SAFETY: the kernel made it for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Lets all signals through again and gives SIGPIPE, which Rust's start ignores, its default.
pub(crate) fn restore_defaults() -> io::Result<()> {
    let none = signal_set(&[]);
    // SAFETY: the default action needs no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    // SAFETY: none is initialised; no old set is wanted.
    last(unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) })
        .map(drop)
}

fn signal_set(signals: &[i32]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    for signal in signals {
        // SAFETY: the set is initialised and the numbers are the platform's.
        unsafe { libc::sigaddset(set.as_mut_ptr(), *signal) };
    }
    // SAFETY: initialised by sigemptyset.
    unsafe { set.assume_init() }
}
