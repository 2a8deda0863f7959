//! A viewer's idea of the server's clock, and the round trip, by questions and answers.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::wire::datagram::{Ping, Pong};
use crate::{Deadline, Micros, Wakeup};

/// Answers that are wanted on a path about which nothing is known, and the first pause between
/// questions. Unanswered ones double it: the server learns a viewer's address from them.
const FIRST_ANSWERS: u32 = 3;
const FIRST_INTERVAL: Duration = Duration::from_millis(50);

/// Unanswered questions in a row after which the path counts as dead: half a minute.
const UNANSWERED_MAX: u32 = 32;

/// Questions while media flows. At rest there are none.
const INTERVAL: Duration = Duration::from_secs(1);

/// Questions that may still be answered.
const OPEN_MAX: usize = 4;

/// Answers of which the quickest counts.
const SAMPLES: usize = 8;

/// What an answer tells.
#[derive(Clone, Copy, Debug)]
struct Sample {
    round_trip: Duration,
    /// The server's clock at `at`.
    clock: Micros,
    at: Instant,
}

/// The server's clock as a viewer knows it.
#[derive(Debug)]
pub struct Clock {
    next: u16,
    /// Questions without an answer.
    open: VecDeque<(u16, Instant)>,
    samples: VecDeque<Sample>,
    due: Option<Instant>,
    last: Option<Instant>,
    /// Answers that are still wanted at once.
    wanted: u32,
    /// Questions since the last answer.
    unanswered: u32,
}

impl Clock {
    /// A clock that asks at once.
    pub fn new(now: Instant) -> Self {
        Self {
            next: 0,
            open: VecDeque::with_capacity(OPEN_MAX),
            samples: VecDeque::with_capacity(SAMPLES),
            due: Some(now),
            last: None,
            wanted: FIRST_ANSWERS,
            unanswered: 0,
        }
    }

    /// Media came: the clock is to be kept.
    pub fn handle_media(&mut self, now: Instant) {
        if self.due.is_none() {
            self.due = Some(self.last.map_or(now, |it| (it + INTERVAL).max(now)));
        }
    }

    /// An answer came. Returns the round trip that it shows.
    pub fn handle_pong(&mut self, now: Instant, pong: Pong) -> Option<Duration> {
        let index = self.open.iter().position(|(it, _)| *it == pong.number)?;
        let (_, asked) = self.open.remove(index)?;
        let round_trip = now.saturating_duration_since(asked);
        self.unanswered = 0;
        self.wanted = self.wanted.saturating_sub(1);
        if self.wanted == 0 {
            self.due = None;
        }
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample {
            round_trip,
            clock: Micros(pong.clock),
            at: asked + round_trip / 2,
        });
        Some(round_trip)
    }

    /// The path has changed: what was learnt on the other one is void.
    pub fn handle_path_change(&mut self, now: Instant) {
        self.samples.clear();
        self.open.clear();
        self.wanted = FIRST_ANSWERS;
        self.unanswered = 0;
        self.due = Some(now);
    }

    /// The server's clock at `now`; `None` before the first answer. It is wrong by half a round
    /// trip of the quickest answer at most.
    pub fn server_clock(&self, now: Instant) -> Option<Micros> {
        let Sample { clock, at, .. } = self.quickest()?;
        let micros = |it: Duration| it.as_micros() as u64;
        Some(Micros(match now.checked_duration_since(at) {
            Some(since) => clock.0.saturating_add(micros(since)),
            None => clock.0.saturating_sub(micros(at - now)),
        }))
    }

    /// The quickest of the recent round trips.
    pub fn round_trip(&self) -> Option<Duration> {
        self.quickest().map(|it| it.round_trip)
    }

    /// When to call [`poll_ping`](Self::poll_ping).
    pub fn poll_timeout(&self) -> Option<Deadline> {
        self.due.map(|at| Deadline {
            at,
            why: Wakeup::Ping,
        })
    }

    /// Asks, where it is time.
    pub fn poll_ping(&mut self, now: Instant) -> Option<Ping> {
        self.due.filter(|it| *it <= now)?;
        self.next = self.next.wrapping_add(1);
        if self.open.len() == OPEN_MAX {
            self.open.pop_front();
        }
        self.open.push_back((self.next, now));
        self.last = Some(now);
        self.unanswered += 1;
        let is_asking = self.wanted > 0 && self.unanswered < UNANSWERED_MAX;
        let doublings = self.unanswered.saturating_sub(FIRST_ANSWERS).min(8);
        let wait = (FIRST_INTERVAL * (1 << doublings)).min(INTERVAL);
        self.due = is_asking.then(|| now + wait);
        Some(Ping { number: self.next })
    }

    fn quickest(&self) -> Option<Sample> {
        self.samples.iter().min_by_key(|it| it.round_trip).copied()
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "simulated time starts somewhere")]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_quickest_answer_tells_the_clock() {
        let start = Instant::now();
        let mut clock = Clock::new(start);
        assert_eq!(clock.server_clock(start), None);
        // The way there takes 10 ms; the way back 10, then 70 ms.
        for (asked, answered) in [(0, 20), (50, 130)] {
            let Ping { number } = clock.poll_ping(start + ms(asked)).unwrap();
            let pong = Pong {
                number,
                clock: 5_000_000 + 1_000 * (asked + 10),
            };
            let round_trip = clock.handle_pong(start + ms(answered), pong);
            assert_eq!(round_trip, Some(ms(answered - asked)));
            assert_eq!(clock.handle_pong(start + ms(answered), pong), None);
        }
        assert_eq!(clock.round_trip(), Some(ms(20)));
        let at = |it| clock.server_clock(start + ms(it));
        assert_eq!(at(0), Some(Micros(5_000_000)));
        assert_eq!(at(1_000), Some(Micros(6_000_000)));
    }

    /// Milliseconds at which it asks within twenty seconds; each answer takes as `answer` says.
    fn asked(clock: &mut Clock, start: Instant, answer: Option<u64>) -> Vec<u64> {
        let mut asked = Vec::new();
        let mut answers = VecDeque::new();
        for at in 0..20_000 {
            let now = start + ms(at);
            if (5_000..7_500).contains(&at) {
                clock.handle_media(now);
            }
            if let Some(Ping { number }) = clock.poll_ping(now) {
                asked.push(at);
                answers.extend(answer.map(|it| (at + it, number)));
            }
            while answers.front().is_some_and(|(due, _)| *due <= at) {
                let (_, number) = answers.pop_front().unwrap();
                clock.handle_pong(now, Pong { number, clock: 1 });
            }
        }
        asked
    }

    #[test]
    fn it_asks_at_the_start_then_while_media_flows_and_never_at_rest() {
        let start = Instant::now();
        let mut clock = Clock::new(start);
        let asked = asked(&mut clock, start, Some(20));
        assert_eq!(asked, [0, 50, 100, 5_000, 6_000, 7_000, 8_000]);
        assert_eq!(clock.poll_timeout(), None);
    }

    #[test]
    fn it_asks_until_it_is_answered_ever_more_rarely_and_not_for_ever() {
        let start = Instant::now();
        let mut clock = Clock::new(start);
        let unanswered = asked(&mut clock, start, None);
        assert_eq!(unanswered[..7], [0, 50, 100, 150, 250, 450, 850]);
        assert_eq!(unanswered.len(), 26);
        let later = start + ms(20_000);
        asked(&mut clock, later, None);
        assert_eq!(clock.poll_timeout(), None);
        clock.handle_path_change(later + ms(30_000));
        assert!(clock.poll_timeout().is_some());
    }
}
