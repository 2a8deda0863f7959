//! The only place in the client that reads the time.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The present, for handing to a pure machine.
#[expect(clippy::disallowed_methods, reason = "the one clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// Seconds since 1970, for what is remembered.
#[expect(clippy::disallowed_methods, reason = "the one clock")]
pub fn unix_seconds() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |it| i64::try_from(it.as_secs()).unwrap_or(i64::MAX))
}
