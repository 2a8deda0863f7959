//! Maps `Instant`s to the microseconds that travel on the wires, and stamps to RTP time.

use std::time::Instant;

use sandbox_protocol::Micros;

/// One moment on both scales; they run at the same speed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeline {
    instant: Instant,
    micros: Micros,
}

impl Timeline {
    pub(super) const fn new(instant: Instant, micros: Micros) -> Self {
        Self { instant, micros }
    }

    pub(super) const fn instant(self) -> Instant {
        self.instant
    }

    /// The same moment as `at`, in microseconds.
    pub(super) fn micros(self, at: Instant) -> Micros {
        let since = at.saturating_duration_since(self.instant).as_micros();
        Micros(
            self.micros
                .0
                .saturating_add(u64::try_from(since).unwrap_or(u64::MAX)),
        )
    }
}

/// Gives each frame an RTP timestamp from its capture: 90 kHz, never twice the same.
#[derive(Debug, Default)]
pub(super) struct RtpClock {
    last: u64,
}

impl RtpClock {
    /// The timestamp of a frame captured at `captured`; a stamp from the future counts as `now`.
    pub(super) fn stamp(&mut self, captured: Micros, now: Micros) -> u64 {
        let ticks = u128::from(captured.min(now).0) * 9 / 100;
        let ticks = u64::try_from(ticks).unwrap_or(u64::MAX / 2);
        self.last = ticks.max(self.last + 1);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_follow_the_capture_and_rise_whatever_the_worker_says() {
        let now = Micros(2_000_000);
        let mut clock = RtpClock::default();
        assert_eq!(clock.stamp(Micros(1_000_000), now), 90_000);
        assert_eq!(clock.stamp(Micros(1_016_667), now), 91_500);
        assert_eq!(clock.stamp(Micros(500), now), 91_501);
        assert_eq!(clock.stamp(Micros(u64::MAX), now), 180_000);
        assert_eq!(clock.stamp(Micros(0), now), 180_001);
    }
}
