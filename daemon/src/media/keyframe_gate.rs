//! Decides when the worker is asked for a key frame that several viewers share.
//!
//! A key frame goes to everybody, and so it costs the link of the viewer in control as well: that
//! one's wishes pass at once, those of observers wait until enough time has gone by.

use std::time::{Duration, Instant};

use sandbox_protocol::Bitrate;

/// Shortest time before a key frame that observers alone want.
const INTERVAL_MIN: Duration = Duration::from_secs(2);

/// Their key frames take a twentieth of the controlling viewer's link at most.
const LINK_SHARE: u32 = 20;

/// Whose wish it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    /// The viewer in control.
    Control,
    /// An observer.
    Observer,
}

/// The key frames of one session.
#[derive(Debug, Default)]
pub(super) struct KeyframeGate {
    /// When the worker was last asked.
    asked: Option<Instant>,
    /// Time that the last one occupied the link of the viewer in control.
    link_time: Duration,
    /// An observer still waits for one.
    is_owed: bool,
}

impl KeyframeGate {
    /// A viewer wants one. Says whether the worker is to be asked.
    pub(super) fn handle_wish(&mut self, now: Instant, rank: Rank) -> bool {
        match rank {
            Rank::Control => {
                self.asked = Some(now);
                self.is_owed = false;
                true
            }
            Rank::Observer => {
                self.is_owed = true;
                self.handle_timeout(now)
            }
        }
    }

    /// One has come, whoever asked for it.
    pub(super) fn handle_keyframe(&mut self, bytes: usize, target: Bitrate) {
        self.is_owed = false;
        self.link_time = target.time_for(bytes).unwrap_or_default();
    }

    /// Lets time pass. Says whether the worker is to be asked.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        let is_due = self.is_owed && self.allowed_at().is_none_or(|at| at <= now);
        if is_due {
            self.asked = Some(now);
            self.is_owed = false;
        }
        is_due
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.is_owed.then(|| self.allowed_at()).flatten()
    }

    fn allowed_at(&self) -> Option<Instant> {
        Some(self.asked? + INTERVAL_MIN.max(self.link_time * LINK_SHARE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn the_viewer_in_control_never_waits() {
        let start = crate::clock::now();
        let mut gate = KeyframeGate::default();
        for millis in 0..5 {
            assert!(gate.handle_wish(after(start, millis), Rank::Control));
        }
        assert_eq!(gate.poll_timeout(), None);
    }

    #[test]
    fn observers_together_get_one_in_two_seconds() {
        let start = crate::clock::now();
        let mut gate = KeyframeGate::default();
        let mut asked = 0;
        for millis in (0..10_000).step_by(100) {
            asked += u32::from(gate.handle_wish(after(start, millis), Rank::Observer));
        }
        assert_eq!(asked, 5);
    }

    #[test]
    fn a_wish_that_waits_is_served_by_time_or_by_any_key_frame() {
        let start = crate::clock::now();
        let mut gate = KeyframeGate::default();
        assert!(gate.handle_wish(start, Rank::Control));
        assert!(!gate.handle_wish(after(start, 10), Rank::Observer));
        let due = gate.poll_timeout().unwrap();
        assert_eq!(due, after(start, 2_000));
        assert!(!gate.handle_timeout(after(start, 1_999)));
        assert!(gate.handle_timeout(due));
        assert!(!gate.handle_wish(after(start, 2_010), Rank::Observer));
        gate.handle_keyframe(1_000, Bitrate::kbps(8_000));
        assert_eq!(gate.poll_timeout(), None);
    }

    #[test]
    fn on_a_slow_link_observers_wait_longer() {
        let start = crate::clock::now();
        let mut gate = KeyframeGate::default();
        assert!(gate.handle_wish(start, Rank::Observer));
        // 200 ms of the link.
        gate.handle_keyframe(25_000, Bitrate::kbps(1_000));
        assert!(!gate.handle_wish(after(start, 3_999), Rank::Observer));
        assert!(gate.handle_timeout(after(start, 4_000)));
    }
}
