//! Decides when a viewer's wish for a key frame is answered.
//!
//! Chromium asks for one three seconds after the last frame although nothing is missing, and a
//! hidden page presents nothing at all: a naive answer would send a key frame whenever the screen
//! comes to rest, for ever.

use std::time::{Duration, Instant};

use sandbox_protocol::Bitrate;

/// Shortest time between two key frames asked for by a viewer.
const INTERVAL_MIN: Duration = Duration::from_millis(500);

/// Longest, for a viewer that has every byte and still presents nothing.
const INTERVAL_MAX: Duration = Duration::from_secs(60);

/// A frame that is not reported as arrived for so long has lost its end, which nothing after it
/// reveals to the viewer.
const ARRIVAL_MAX: Duration = Duration::from_millis(700);

/// The same for one of which a packet was reported as missing: where the viewer sees the gap, a
/// repair is there by then.
const MISSING_MAX: Duration = Duration::from_millis(100);

/// What the worker shall make for a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// A frame of the picture as it is: a few bytes, by which the viewer sees that it has missed
    /// something before, and asks for that.
    Touch,
    /// A key frame.
    Keyframe,
}

/// What became of the newest frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Newest {
    /// Sent; some of it is not reported as arrived.
    OnTheWay,
    /// All of it has arrived.
    Arrived,
    /// The page says that it has presented it.
    Presented,
}

/// One viewer's key frames.
#[derive(Debug)]
pub(super) struct Keyframes {
    newest: Newest,
    newest_sent: Option<Instant>,
    newest_rtp: Option<u32>,
    /// When the last key frame was asked of the worker.
    asked: Option<Instant>,
    /// Time that the last key frame occupied the link.
    link_time: Duration,
    /// Answers since the page last presented anything.
    unrewarded: u32,
    /// A wish that came too early and still stands.
    is_owed: bool,
    /// A packet of the newest frame was reported as missing.
    newest_missing: Option<Instant>,
    /// The end of the newest frame was already missed once.
    is_tail_checked: bool,
    /// Touches since the last frame that arrived.
    touches: u32,
}

impl Keyframes {
    pub(super) const fn new() -> Self {
        Self {
            newest: Newest::Presented,
            newest_sent: None,
            newest_rtp: None,
            asked: None,
            link_time: Duration::ZERO,
            unrewarded: 0,
            is_owed: false,
            newest_missing: None,
            is_tail_checked: false,
            touches: 0,
        }
    }

    /// The first frame of a connection: always wanted.
    pub(super) fn handle_connected(&mut self, now: Instant) {
        self.asked = Some(now);
    }

    /// A frame left for the viewer.
    pub(super) fn handle_sent(&mut self, now: Instant, frame: SentFrame) {
        self.newest = Newest::OnTheWay;
        self.newest_sent = Some(now);
        self.newest_rtp = Some(frame.rtp);
        self.newest_missing = None;
        self.is_tail_checked = false;
        if frame.is_keyframe {
            self.is_owed = false;
            self.link_time = frame.target.time_for(frame.bytes).unwrap_or_default();
        }
    }

    /// Everything sent so far is reported as arrived.
    pub(super) fn handle_arrived(&mut self) {
        self.touches = 0;
        match self.newest {
            Newest::OnTheWay => self.newest = Newest::Arrived,
            Newest::Arrived | Newest::Presented => (),
        }
    }

    /// A packet since the newest frame began is reported as missing.
    pub(super) fn handle_missing(&mut self, now: Instant) {
        self.newest_missing.get_or_insert(now);
    }

    /// The page has presented the frame with this RTP timestamp.
    pub(super) fn handle_presented(&mut self, rtp: u32) {
        self.unrewarded = 0;
        self.touches = 0;
        if self.newest_rtp == Some(rtp) {
            self.newest = Newest::Presented;
            self.is_owed = false;
        }
    }

    /// The viewer asks for a key frame. Says whether the worker shall make one.
    pub(super) fn handle_request(&mut self, now: Instant) -> bool {
        self.is_owed = match self.newest {
            Newest::Presented => false,
            Newest::OnTheWay | Newest::Arrived => true,
        };
        self.answer(now)
    }

    /// Lets time pass. Says what the worker shall make.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Wish> {
        if self.answer(now) {
            return Some(Wish::Keyframe);
        }
        self.tail_check_at().filter(|at| *at <= now)?;
        self.is_tail_checked = true;
        self.touches = self.touches.saturating_add(1);
        Some(Wish::Touch)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let owed = self.is_owed.then(|| self.allowed_at()).flatten();
        [owed, self.tail_check_at()].into_iter().flatten().min()
    }

    fn answer(&mut self, now: Instant) -> bool {
        if !self.is_owed || self.allowed_at().is_some_and(|at| now < at) {
            return false;
        }
        self.is_owed = false;
        self.asked = Some(now);
        self.unrewarded = self.unrewarded.saturating_add(1);
        true
    }

    fn allowed_at(&self) -> Option<Instant> {
        // Four times its link time: key frames of a slow link take a quarter of it at most.
        let interval = INTERVAL_MIN.max(self.link_time * 4);
        let interval = match self.newest {
            Newest::OnTheWay => interval,
            Newest::Arrived | Newest::Presented => interval * (1 << self.unrewarded.min(7)),
        };
        Some(self.asked? + interval.min(INTERVAL_MAX))
    }

    fn tail_check_at(&self) -> Option<Instant> {
        match self.newest {
            Newest::OnTheWay if !self.is_tail_checked => {
                // Ever more seldom where nothing arrives at all.
                let longer = 1 << self.touches.min(7);
                let silent = self.newest_sent? + (ARRIVAL_MAX + self.link_time) * longer;
                let missing = self.newest_missing.map(|it| it + MISSING_MAX * longer);
                Some(missing.map_or(silent, |it| it.min(silent)))
            }
            Newest::OnTheWay | Newest::Arrived | Newest::Presented => None,
        }
    }
}

/// What matters here about a frame that left.
#[derive(Clone, Copy, Debug)]
pub(super) struct SentFrame {
    pub(super) rtp: u32,
    pub(super) bytes: usize,
    pub(super) is_keyframe: bool,
    pub(super) target: Bitrate,
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: SentFrame = SentFrame {
        rtp: 90,
        bytes: 20_000,
        is_keyframe: true,
        target: Bitrate::kbps(8_000),
    };

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    fn connected() -> (Instant, Keyframes) {
        let start = crate::clock::now();
        let mut keyframes = Keyframes::new();
        keyframes.handle_connected(start);
        keyframes.handle_sent(start, FRAME);
        (start, keyframes)
    }

    #[test]
    fn a_request_after_the_newest_frame_was_presented_is_not_answered() {
        let (start, mut keyframes) = connected();
        keyframes.handle_arrived();
        keyframes.handle_presented(90);
        assert!(!keyframes.handle_request(after(start, 3_000)));
        assert_eq!(keyframes.poll_timeout(), None);
    }

    #[test]
    fn a_request_for_a_frame_that_is_not_presented_is_answered() {
        let (start, mut keyframes) = connected();
        keyframes.handle_presented(80);
        assert!(keyframes.handle_request(after(start, 3_000)));
    }

    #[test]
    fn an_early_request_is_answered_when_its_time_comes() {
        let (start, mut keyframes) = connected();
        assert!(!keyframes.handle_request(after(start, 100)));
        assert_eq!(keyframes.poll_timeout(), Some(after(start, 500)));
        let at = after(start, 500);
        assert_eq!(keyframes.handle_timeout(at), Some(Wish::Keyframe));
        assert_eq!(keyframes.handle_timeout(after(start, 600)), None);
    }

    #[test]
    fn a_slow_link_waits_longer_between_key_frames() {
        let (start, mut keyframes) = connected();
        let slow = SentFrame {
            target: Bitrate::kbps(160),
            ..FRAME
        };
        keyframes.handle_sent(start, slow);
        assert!(!keyframes.handle_request(after(start, 3_900)));
        assert!(keyframes.handle_request(after(start, 4_000)));
    }

    #[test]
    fn a_page_that_has_everything_and_presents_nothing_asks_ever_more_in_vain() {
        let (start, mut keyframes) = connected();
        let mut answers = 0;
        for second in (3..600).step_by(3) {
            if keyframes.handle_request(after(start, second * 1_000)) {
                answers += 1;
                keyframes.handle_sent(after(start, second * 1_000), FRAME);
            }
            keyframes.handle_arrived();
        }
        assert!(answers < 20, "{answers} key frames in ten minutes");
    }

    #[test]
    fn a_frame_whose_end_is_lost_is_followed_by_another_one_and_only_once() {
        let (start, mut keyframes) = connected();
        let at = keyframes.poll_timeout().unwrap();
        assert!(at <= after(start, 1_000));
        assert_eq!(keyframes.handle_timeout(at), Some(Wish::Touch));
        assert_eq!(keyframes.poll_timeout(), None);
        assert_eq!(keyframes.handle_timeout(after(start, 60_000)), None);
    }

    #[test]
    fn an_end_that_is_reported_as_missing_is_followed_sooner_unless_it_was_repaired() {
        let (start, mut keyframes) = connected();
        keyframes.handle_missing(after(start, 20));
        keyframes.handle_missing(after(start, 50));
        let at = after(start, 120);
        assert_eq!(keyframes.poll_timeout(), Some(at));
        let mut repaired = keyframes;
        repaired.handle_presented(90);
        assert_eq!(repaired.handle_timeout(at), None);
        let (_, mut keyframes) = connected();
        keyframes.handle_missing(after(start, 20));
        assert_eq!(keyframes.handle_timeout(at), Some(Wish::Touch));
    }

    #[test]
    fn where_nothing_arrives_frames_follow_ever_more_seldom() {
        let (start, mut keyframes) = connected();
        let mut touches = 0;
        for millis in (0..60_000).step_by(100) {
            let now = after(start, millis);
            if keyframes.handle_timeout(now) == Some(Wish::Touch) {
                touches += 1;
                keyframes.handle_sent(now, FRAME);
            }
        }
        assert!((4..10).contains(&touches), "{touches} in a minute");
    }

    #[test]
    fn a_frame_that_arrived_needs_no_timer() {
        let (_, mut keyframes) = connected();
        keyframes.handle_arrived();
        assert_eq!(keyframes.poll_timeout(), None);
    }
}
