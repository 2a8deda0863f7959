//! The only place in the daemon that reads the time.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use sandbox_protocol::Micros;

/// The present, for handing to a pure machine.
#[expect(clippy::disallowed_methods, reason = "the one clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// The present on CLOCK_MONOTONIC, comparable with the worker's stamps.
pub fn micros() -> Micros {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(now.tv_nsec).unwrap_or_default();
    Micros(seconds * 1_000_000 + nanos / 1_000)
}

/// Seconds since 1970, for what outlives the machine's start: tokens and records.
#[expect(clippy::disallowed_methods, reason = "the one clock")]
pub fn unix_seconds() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |it| i64::try_from(it.as_secs()).unwrap_or(i64::MAX))
}
