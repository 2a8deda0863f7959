//! Whether something keeps the clock right.

use std::io;
use std::mem::MaybeUninit;

use super::last;

/// `true` when the kernel knows of a source that the clock follows.
pub(crate) fn is_synchronised() -> io::Result<bool> {
    let mut state = MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: state is writable and zeroed: modes 0 asks and changes nothing.
    let answer = unsafe { libc::adjtimex(state.as_mut_ptr()) };
    Ok(last(answer)? != libc::TIME_ERROR)
}
