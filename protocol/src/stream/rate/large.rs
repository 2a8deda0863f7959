//! What large updates tell that travel beside the packets of reports.

use std::time::{Duration, Instant};

use super::{Rate, SHARE};

impl Rate {
    /// So many bytes came beside packets, and had the link for so long: no report tells their
    /// queue, but they took longer than the target promises where it is too high.
    pub fn handle_large(&mut self, now: Instant, bytes: usize, took: Duration) {
        let micros = self.micros(now);
        let bps = large_rate(bytes, took);
        self.bursts.push_train(micros, bps, bytes);
        self.prove(micros);
        if bps < self.target {
            self.handle_large_at_most(now, bytes, took);
        } else if self.last_down.is_none_or(|it| micros - it > 500_000) {
            self.step_up(micros);
        }
    }

    /// The same where the time is not known well: it cannot have been shorter.
    pub fn handle_large_at_most(&mut self, now: Instant, bytes: usize, took: Duration) {
        let now = self.micros(now);
        let bps = large_rate(bytes, took);
        if bps < self.target && self.may_step_down(now) {
            // One may have met an outage.
            self.lower_target(now, (bps * SHARE).max(self.target / 2.0));
        }
    }
}

/// In bit/s; no time is known better than to a millisecond.
fn large_rate(bytes: usize, took: Duration) -> f64 {
    bytes as f64 * 8.0 / took.as_secs_f64().max(0.001)
}
