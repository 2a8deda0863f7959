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

/// The first request is sent twice, so far apart: its loss would cost a round trip.
const COPY_AFTER: Duration = Duration::from_millis(4);

/// The answer takes the round trip and so much for the server.
const ANSWER: Duration = Duration::from_millis(4);

/// Longest wait between requests.
const INTERVAL_MAX: Duration = Duration::from_millis(250);

/// When to ask for one update, and how often that was done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ask {
    /// When to ask; `None` while nothing tells a loss.
    at: Option<Instant>,
    round: u8,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    NotAsked,
    /// Asked once; the copy is due.
    Asked,
    Copied,
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
        if self.state == State::NotAsked {
            let at = now + PATIENCE.max(patience.reordering);
            self.at = Some(self.at.map_or(at, |it| it.max(at)));
        }
    }

    /// Something of a newer update came first.
    pub(crate) fn handle_gap(&mut self, now: Instant, patience: &Patience) {
        if self.state == State::NotAsked {
            let at = now + GAP_PATIENCE.max(patience.reordering);
            self.at = Some(self.at.map_or(at, |it| it.min(at)));
        }
    }

    pub(crate) const fn at(&self) -> Option<Instant> {
        self.at
    }

    pub(crate) fn was_asked(&self) -> bool {
        self.state != State::NotAsked
    }

    /// Asks, where it is time. Returns the round.
    pub(crate) fn poll(&mut self, now: Instant, round_trip: Duration) -> Option<u8> {
        self.at.filter(|it| *it <= now)?;
        // Where an answer comes sooner than a copy would leave, there is none.
        let is_far = round_trip > 2 * COPY_AFTER;
        let (state, wait) = match self.state {
            State::NotAsked if is_far => (State::Asked, COPY_AFTER),
            State::Asked => (State::Copied, self.interval(round_trip) - COPY_AFTER),
            State::NotAsked | State::Copied => (State::Copied, self.interval(round_trip)),
        };
        if self.state != State::Asked {
            self.round = self.round.wrapping_add(1);
        }
        self.state = state;
        self.at = Some(now + wait);
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
    fn requests_are_copied_once_and_grow_rare() {
        let (start, patience) = (Instant::now(), Patience::default());
        let mut ask = Ask::default();
        ask.handle_fragment(start, &patience);
        let far = requests(&mut ask, start, TRIP);
        let expected = [
            (3, 1),
            (7, 1),
            (47, 2),
            (91, 3),
            (135, 4),
            (223, 5),
            (311, 6),
        ];
        assert_eq!(far[..7], expected);
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
