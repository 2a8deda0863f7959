//! Spreads what is sent over time, so that shallow buffers on the way hold it.

use std::time::{Duration, Instant};

use crate::Bitrate;

/// What may leave at once on a path about which nothing is known, a first picture: so much time of
/// the rate that it is trusted with, and no more than this.
const FIRST_BURST: Duration = Duration::from_millis(200);
const FIRST_BURST_MAX: f64 = 256_000.0;

/// What may leave at once after a rest: so much time of the rate, and ten packets at least (as
/// RFC 9002 §7.7 allows).
const BURST: Duration = Duration::from_millis(2);
const BURST_MIN: f64 = 14_000.0;

/// Once held back, so much time is waited for together: fewer wake-ups, and packets that leave
/// in one call of the kernel.
const QUANTUM: Duration = Duration::from_millis(1);

/// A bucket of bytes that may be sent.
#[derive(Debug)]
pub(crate) struct Pacer {
    /// Bytes a second.
    rate: f64,
    /// Bytes that may leave; below zero after the last one that did.
    credit: f64,
    /// When `credit` was right.
    at: Option<Instant>,
    /// Held back until then.
    opens: Option<Instant>,
}

impl Pacer {
    /// A pacer that lets a first picture through at once, on a path that `trust` is known of.
    pub(crate) fn new(trust: Bitrate) -> Self {
        let burst = trust.bps() as f64 / 8.0 * FIRST_BURST.as_secs_f64();
        Self::starting_with(burst.min(FIRST_BURST_MAX))
    }

    /// A pacer of what can wait.
    pub(crate) const fn patient() -> Self {
        Self::starting_with(0.0)
    }

    const fn starting_with(credit: f64) -> Self {
        Self {
            rate: 0.0,
            credit,
            at: None,
            opens: None,
        }
    }

    /// Sets the rate.
    pub(crate) fn set_rate(&mut self, now: Instant, rate: Bitrate) {
        self.refill(now);
        self.rate = rate.bps() as f64 / 8.0;
        if self.opens.is_some() {
            self.close(now);
        }
    }

    /// Whether something may leave.
    pub(crate) fn is_open(&mut self, now: Instant) -> bool {
        self.refill(now);
        if self.opens.is_some_and(|it| it <= now) {
            self.opens = None;
        }
        self.opens.is_none()
    }

    /// Something left.
    pub(crate) fn handle_sent(&mut self, now: Instant, bytes: usize) {
        self.refill(now);
        self.credit -= bytes as f64;
        if self.credit <= 0.0 {
            self.close(now);
        }
    }

    /// Bytes that leave within a time.
    pub(crate) fn bytes_in(&self, time: Duration) -> usize {
        (self.rate * time.as_secs_f64()) as usize
    }

    /// When it opens, where it is closed.
    pub(crate) const fn opens(&self) -> Option<Instant> {
        self.opens
    }

    fn close(&mut self, now: Instant) {
        let rate = self.rate.max(1_000.0);
        let wait = QUANTUM.as_secs_f64() - self.credit / rate;
        // Debts are small: a packet's time at a crawl is seconds, not years.
        self.opens = Some(now + Duration::from_secs_f64(wait.clamp(0.0, 10.0)));
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = match self.at {
            Some(at) => now.saturating_duration_since(at),
            None => Duration::ZERO,
        };
        self.at = Some(self.at.map_or(now, |it| it.max(now)));
        let burst = (self.rate * BURST.as_secs_f64()).max(BURST_MIN);
        if self.credit < burst {
            self.credit = (self.credit + self.rate * elapsed.as_secs_f64()).min(burst);
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "simulated time starts somewhere")]
mod tests {
    use super::*;

    /// Bytes that leave within `time`, in packets of 1,000, beginning at `start`.
    fn sent(pacer: &mut Pacer, start: Instant, time: Duration) -> usize {
        let mut now = start;
        let mut bytes = 0;
        while now <= start + time {
            while pacer.is_open(now) {
                pacer.handle_sent(now, 1_000);
                bytes += 1_000;
            }
            now = pacer.opens().unwrap();
        }
        bytes
    }

    #[test]
    fn a_first_picture_leaves_at_once_and_the_rest_at_the_rate() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Bitrate::kbps(10_000));
        pacer.set_rate(start, Bitrate::kbps(8_000));
        assert_eq!(sent(&mut pacer, start, Duration::ZERO), 250_000);
        let second = sent(&mut pacer, start, Duration::from_secs(1));
        assert!((990_000..=1_010_000).contains(&second), "{second}");
    }

    #[test]
    fn a_rest_gives_no_more_than_a_burst() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Bitrate::kbps(1_000_000));
        pacer.set_rate(start, Bitrate::kbps(80_000));
        sent(&mut pacer, start, Duration::ZERO);
        let later = start + Duration::from_secs(60);
        assert_eq!(sent(&mut pacer, later, Duration::ZERO), 20_000);
    }

    #[test]
    fn a_higher_rate_opens_sooner() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Bitrate::kbps(1_000_000));
        pacer.set_rate(start, Bitrate::kbps(8));
        sent(&mut pacer, start, Duration::ZERO);
        pacer.handle_sent(start, 1_000);
        let slow = pacer.opens().unwrap();
        pacer.set_rate(start, Bitrate::kbps(8_000));
        assert!(pacer.opens().unwrap() < slow);
    }
}
