//! Whether the viewer still answers: the last of what was sent may be lost without a trace.

use std::time::{Duration, Instant};

/// A report on a packet takes the round trip and at most this.
const REPORT_DELAY: Duration = Duration::from_millis(15);

/// Longest wait between two probes of a path that seems dead: what passes when it is back. QUIC
/// gives up after some seconds.
const PROBE_INTERVAL_MAX: Duration = Duration::from_millis(100);

/// Probes without an answer after which the path counts as dead.
const PROBES_UNTIL_DEAD: u32 = 2;

/// What was sent and not yet answered.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Something has left since, and nothing was reported.
    unheard_since: Option<Instant>,
    probes: u32,
}

impl Tail {
    /// Something left that will be reported.
    pub(super) fn handle_sent(&mut self, now: Instant) {
        self.unheard_since.get_or_insert(now);
    }

    /// What was sent is reported; other things may still be on their way.
    pub(super) fn handle_report(&mut self, now: Instant, waits: bool) {
        self.probes = 0;
        self.unheard_since = waits.then_some(now);
    }

    /// The viewer was heard, which says nothing about the tail.
    pub(super) fn handle_sign(&mut self) {
        self.probes = 0;
    }

    /// A probe leaves.
    pub(super) fn handle_probe(&mut self, now: Instant) {
        self.probes += 1;
        self.unheard_since = Some(now);
    }

    /// Whether nothing more is to be sent into the silence.
    pub(super) const fn is_dead(&self) -> bool {
        self.probes >= PROBES_UNTIL_DEAD
    }

    /// When to probe.
    pub(super) fn probe_at(&self, round_trip: Duration) -> Option<Instant> {
        let patience = round_trip + (round_trip / 2).max(REPORT_DELAY);
        let factor = 1 << self.probes.min(8);
        let wait = (patience * factor).min(PROBE_INTERVAL_MAX.max(patience));
        self.unheard_since.map(|it| it + wait)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "simulated time starts somewhere")]
mod tests {
    use super::*;

    #[test]
    fn silence_is_probed_until_something_is_reported() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let trip = ms(40);
        let mut tail = Tail::default();
        assert_eq!(tail.probe_at(trip), None);
        tail.handle_sent(start);
        tail.handle_sent(start + ms(9));
        assert_eq!(tail.probe_at(trip), Some(start + ms(60)));
        tail.handle_probe(start + ms(60));
        assert!(!tail.is_dead());
        assert_eq!(tail.probe_at(trip), Some(start + ms(160)));
        tail.handle_probe(start + ms(160));
        assert!(tail.is_dead());
        tail.handle_sign();
        assert!(!tail.is_dead());
        assert_eq!(tail.probe_at(trip), Some(start + ms(220)));
        tail.handle_report(start + ms(200), true);
        assert_eq!(tail.probe_at(trip), Some(start + ms(260)));
        tail.handle_report(start + ms(210), false);
        assert_eq!(tail.probe_at(trip), None);
    }
}
