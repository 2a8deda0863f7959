//! When a viewer asks for the fragments that an update misses.

use std::time::{Duration, Instant};

/// Fragments of one update leave within milliseconds: after so long without another one there is
/// a loss.
const PATIENCE: Duration = Duration::from_millis(3);

/// A fragment of a newer update tells a loss sooner, but parity may still come behind it.
const GAP_PATIENCE: Duration = Duration::from_millis(2);

/// On paths that reorder, both wait longer, up to this.
const REORDERING_MAX: Duration = Duration::from_millis(16);

/// A path that has not reordered for so long is one that does not.
const REORDERING_AGE_MAX: Duration = Duration::from_secs(60);

/// Until its answer can have come a request is sent again and again, an eighth of that time apart
/// but not closer: few packets go this way, so that a run of losses lasts long, and one that is
/// lost costs a round trip.
const COPIES: u32 = 8;
const COPY_AFTER_MIN: Duration = Duration::from_millis(4);

/// The answer takes the round trip and so much for the server.
const ANSWER: Duration = Duration::from_millis(4);

/// Longest wait between requests.
const INTERVAL_MAX: Duration = Duration::from_millis(250);

/// When to ask for one update, and how often that was done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ask {
    /// When to ask; `None` while nothing tells a loss.
    at: Option<Instant>,
    /// Counts the requests, their copies not; 0 before the first.
    round: u8,
    /// When the answer to the present round is overdue.
    until: Option<Instant>,
}

/// How patient requests are on this path.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// Fragments were seen to come so late.
    reordering: Duration,
    reordered: Option<Instant>,
}

impl Ask {
    /// A fragment came, and others are missing.
    pub(crate) fn handle_fragment(&mut self, now: Instant, patience: &Patience) {
        if !self.was_asked() {
            let at = now + PATIENCE.max(patience.reordering);
            self.at = Some(self.at.map_or(at, |it| it.max(at)));
        }
    }

    /// Something of a newer update came first.
    pub(crate) fn handle_gap(&mut self, now: Instant, patience: &Patience) {
        if !self.was_asked() {
            let at = now + GAP_PATIENCE.max(patience.reordering);
            self.at = Some(self.at.map_or(at, |it| it.min(at)));
        }
    }

    pub(crate) const fn at(&self) -> Option<Instant> {
        self.at
    }

    pub(crate) const fn was_asked(&self) -> bool {
        self.until.is_some()
    }

    /// Asks, where it is time. Returns the round.
    pub(crate) fn poll(&mut self, now: Instant, round_trip: Duration) -> Option<u8> {
        self.at.filter(|it| *it <= now)?;
        let until = match self.until.filter(|it| *it > now) {
            Some(until) => until,
            None => {
                self.round = self.round.wrapping_add(1);
                now + self.interval(round_trip)
            }
        };
        self.until = Some(until);
        let copy = now + (self.interval(round_trip) / COPIES).max(COPY_AFTER_MIN);
        self.at = Some(if copy + COPY_AFTER_MIN <= until {
            copy
        } else {
            until
        });
        Some(self.round)
    }

    /// How long an answer takes; doubled after some rounds without one.
    fn interval(&self, round_trip: Duration) -> Duration {
        let answer = round_trip + ANSWER;
        let factor = 1 << (self.round / 3).min(4);
        (answer * factor).min(INTERVAL_MAX.max(answer))
    }
}

impl Patience {
    /// A fragment that was asked for came all the same: it was late, not lost.
    pub(crate) fn handle_late(&mut self, now: Instant) {
        self.reordered = Some(now);
        self.reordering = (self.reordering * 2).clamp(2 * GAP_PATIENCE, REORDERING_MAX);
    }

    /// A fragment came.
    pub(crate) fn handle_fragment(&mut self, now: Instant) {
        let is_old = |it| now.saturating_duration_since(it) > REORDERING_AGE_MAX;
        if self.reordered.is_some_and(is_old) {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "simulated time starts somewhere")]
mod tests {
    use super::*;

    const TRIP: Duration = Duration::from_millis(40);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Times and rounds of the requests within a second.
    fn requests(ask: &mut Ask, start: Instant, round_trip: Duration) -> Vec<(u128, u8)> {
        let mut out = Vec::new();
        while let Some(at) = ask.at().filter(|it| *it < start + ms(1_000)) {
            let round = ask.poll(at, round_trip).unwrap();
            out.push(((at - start).as_millis(), round));
        }
        out
    }

    #[test]
    fn a_loss_is_told_by_silence_or_sooner_by_what_comes_after() {
        let (start, patience) = (Instant::now(), Patience::default());
        let mut ask = Ask::default();
        ask.handle_fragment(start, &patience);
        ask.handle_fragment(start + ms(1), &patience);
        assert_eq!(ask.at(), Some(start + ms(4)));
        ask.handle_gap(start + ms(1), &patience);
        ask.handle_gap(start + ms(2), &patience);
        assert_eq!(ask.at(), Some(start + ms(3)));
        assert_eq!(ask.poll(start + ms(2), TRIP), None);
    }

    #[test]
    fn requests_are_copied_within_their_round_and_grow_rare() {
        let (start, patience) = (Instant::now(), Patience::default());
        let mut ask = Ask::default();
        ask.handle_fragment(start, &patience);
        let far = requests(&mut ask, start, TRIP);
        let begins = |round| far.iter().find(|it| it.1 == round).unwrap().0;
        assert_eq!([1, 2, 3, 4, 5].map(begins), [3, 47, 91, 179, 267]);
        assert!(
            (1..6).all(|round| (5..=9).contains(&far.iter().filter(|it| it.1 == round).count())),
            "{far:?}"
        );
        let mut ask = Ask::default();
        ask.handle_fragment(start, &patience);
        let near = requests(&mut ask, start, ms(1));
        assert_eq!(near[..3], [(3, 1), (8, 2), (13, 3)]);
    }

    #[test]
    fn what_was_late_makes_requests_patient_for_a_while() {
        let start = Instant::now();
        let mut patience = Patience::default();
        (0..9).for_each(|_| patience.handle_late(start));
        let mut ask = Ask::default();
        ask.handle_gap(start, &patience);
        assert_eq!(ask.at(), Some(start + REORDERING_MAX));
        let later = start + ms(61_000);
        patience.handle_fragment(later);
        let mut ask = Ask::default();
        ask.handle_gap(later, &patience);
        assert_eq!(ask.at(), Some(later + GAP_PATIENCE));
    }
}
