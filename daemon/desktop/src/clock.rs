//! The one place that reads the clock.

use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};
use sandbox_protocol::Micros;

#[expect(clippy::disallowed_methods, reason = "this is the file that may")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The same clock as [`now`], as stamps are written.
pub(crate) fn micros() -> Micros {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(time.tv_nsec).unwrap_or_default();
    Micros(seconds * 1_000_000 + nanos / 1_000)
}
