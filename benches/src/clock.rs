//! The one place of the benches that reads the clock and sleeps.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// Nanoseconds by which the kernel may delay a sleep; its default of 50 µs would be half a poll.
const SLACK: NonZeroU64 = NonZeroU64::new(1_000).expect("not zero");

#[expect(
    clippy::disallowed_methods,
    reason = "measuring time is what a bench is for"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "no executor runs here")]
pub(crate) fn sleep(duration: Duration) {
    std::thread::sleep(duration);
}

pub(crate) fn sleep_until(at: Instant) {
    sleep(at.saturating_duration_since(now()));
}

pub(crate) fn sleep_precisely() -> std::io::Result<()> {
    Ok(rustix::thread::set_current_timer_slack(Some(SLACK))?)
}
