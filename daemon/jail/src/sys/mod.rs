//! The kernel calls that have no safe wrapper. The only unsafe code of this crate.
#![allow(
    unsafe_code,
    reason = "clone3, descriptor placement, mount_setattr, signalfd, adjtimex, exec: no safe wrapper"
)]

pub(crate) mod clock_state;
pub(crate) mod descriptors;
pub(crate) mod environment;
pub(crate) mod memory;
pub(crate) mod mounts;
pub(crate) mod process;
pub(crate) mod rights;
pub(crate) mod signals;

/// The error of the last call made through libc.
fn last<T: PartialOrd + From<i8>>(returned: T) -> std::io::Result<T> {
    if returned < T::from(0) {
        Err(std::io::Error::last_os_error())
    } else {
        Ok(returned)
    }
}
