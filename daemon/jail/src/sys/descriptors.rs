//! Puts descriptors where the next program expects them and closes all others.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use super::last;

/// Gives each descriptor of `sources` its index as number and closes every other one.
/// From index `first_private` on they are closed by exec.
///
/// For a freshly split child only: it destroys descriptors that the copied parent owned.
pub(crate) fn place(sources: &[RawFd], first_private: usize) -> io::Result<()> {
    let count = RawFd::try_from(sources.len()).map_err(io::Error::other)?;
    let mut lifted = Vec::with_capacity(sources.len());
    for source in sources {
        // SAFETY: duplicating any number is sound; a bad one is reported.
        let copy = unsafe { libc::fcntl(*source, libc::F_DUPFD_CLOEXEC, count) };
        lifted.push(last(copy)?);
    }
    for (target, source) in (0..).zip(&lifted) {
        let flags = if usize::try_from(target).is_ok_and(|it| it < first_private) {
            0
        } else {
            libc::O_CLOEXEC
        };
        // SAFETY: every source lies at or above count, every target below it, so none is lost;
        // what the target was belongs to the parent's copy, which the child never uses again.
        last(unsafe { libc::dup3(*source, target, flags) })?;
    }
    close_from(count)
}

/// Closes every descriptor from `first` on.
pub(crate) fn close_from(first: RawFd) -> io::Result<()> {
    // SAFETY: closing numbers is sound for a process that uses none of them afterwards.
    let closed =
        unsafe { libc::syscall(libc::SYS_close_range, first.cast_unsigned(), u32::MAX, 0) };
    last(closed).map(drop)
}

/// Takes over a descriptor that [`place`] put at `number`.
pub(crate) fn placed(number: RawFd) -> OwnedFd {
    // SAFETY: place() put it there and each number is taken over once.
    unsafe { OwnedFd::from_raw_fd(number) }
}
