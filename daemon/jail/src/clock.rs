//! The one place of the warden that reads the clock.

use std::time::Instant;

/// The present moment.
#[expect(
    clippy::disallowed_methods,
    reason = "the clock is read here and passed on"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
