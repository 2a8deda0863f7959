//! A viewer's idea of the server's clock, and the round trip, by questions and answers.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::wire::datagram::{Ping, Pong};
use crate::{Deadline, Micros, Wakeup};

/// Questions at the start, so many and so far apart.
const FIRST_PINGS: u16 = 4;
const FIRST_INTERVAL: Duration = Duration::from_millis(50);

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
        self.due = (self.next < FIRST_PINGS).then(|| now + FIRST_INTERVAL);
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

    #[test]
    fn it_asks_at_the_start_then_while_media_flows_and_never_at_rest() {
        let start = Instant::now();
        let mut clock = Clock::new(start);
        let mut asked = Vec::new();
        for at in 0..10_000 {
            if (2_000..4_500).contains(&at) {
                clock.handle_media(start + ms(at));
            }
            if clock.poll_ping(start + ms(at)).is_some() {
                asked.push(at);
            }
        }
        assert_eq!(asked, [0, 50, 100, 150, 2_000, 3_000, 4_000, 5_000]);
        assert_eq!(clock.poll_timeout(), None);
    }
}
