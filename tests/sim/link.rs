//! One direction of a path: delay, rate with a queue, loss alone and in runs, reordering, copies,
//! outages; or TCP on it.

use std::time::{Duration, Instant};

use crate::chance::Chance;
use crate::ms;

/// Bytes around a datagram: QUIC's header, packet number and tag, UDP and IP.
const AROUND: usize = 65;

/// How packets are lost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Loss {
    None,
    /// Each by itself, with this chance.
    Alone(f64),
    /// In runs of `mean` packets (Gilbert and Elliott), `share` in all.
    Runs {
        share: f64,
        mean: f64,
    },
}

/// One direction of a path.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) one_way: Duration,
    pub(crate) loss: Loss,
    /// Bits a second; `None` has no queue.
    pub(crate) rate: Option<u64>,
    /// Longest wait in the queue; what would wait longer is dropped.
    pub(crate) queue_max: Duration,
    /// Share of packets that take up to `reordering` longer.
    pub(crate) reordered: f64,
    pub(crate) reordering: Duration,
    /// Share of packets that come twice.
    pub(crate) doubled: f64,
    /// TCP carries the packets: one that is lost comes so much later, and nothing overtakes it.
    pub(crate) resent_after: Option<Duration>,
    /// Nothing passes until then.
    pub(crate) dead_until: Option<Instant>,
    /// When each packet came into the queue, and how long it waited there.
    pub(crate) queued: Vec<(Instant, Duration)>,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) free_at: Option<Instant>,
    newest: Option<Instant>,
    is_bad: bool,
    chance: Chance,
}

impl Link {
    pub(crate) fn new(seed: u64, one_way: Duration) -> Self {
        Self {
            one_way,
            loss: Loss::None,
            rate: None,
            queue_max: ms(200),
            reordered: 0.0,
            reordering: ms(5),
            doubled: 0.0,
            resent_after: None,
            dead_until: None,
            queued: Vec::new(),
            packets: 0,
            bytes: 0,
            free_at: None,
            newest: None,
            is_bad: false,
            chance: Chance::new(seed),
        }
    }

    /// When a packet arrives, and when its copy does.
    pub(crate) fn carry(&mut self, now: Instant, bytes: usize) -> [Option<Instant>; 2] {
        let bytes = bytes + AROUND;
        self.packets += 1;
        self.bytes += bytes as u64;
        let is_lost = self.loses();
        let resent_after = self.resent_after.filter(|_| is_lost);
        if self.dead_until.is_some_and(|it| now < it) || (is_lost && resent_after.is_none()) {
            return [None; 2];
        }
        let mut leaves = now;
        if let Some(rate) = self.rate {
            let starts = self.free_at.map_or(now, |it| it.max(now));
            if starts - now > self.queue_max {
                return [None; 2];
            }
            self.queued.push((now, starts - now));
            leaves = starts + Duration::from_nanos(bytes as u64 * 8_000_000_000 / rate);
            self.free_at = Some(leaves);
        }
        let mut arrives = leaves + self.one_way + self.reordering();
        if self.resent_after.is_some() {
            let late = arrives + resent_after.unwrap_or_default();
            arrives = self.newest.map_or(late, |it| it.max(late));
            self.newest = Some(arrives);
        }
        let copy = self.chance.happens(self.doubled);
        [Some(arrives), copy.then_some(arrives + ms(1))]
    }

    /// How long packets waited that came within a time.
    pub(crate) fn waits(&self, within: std::ops::Range<Instant>) -> Vec<Duration> {
        let came = self.queued.iter().filter(|(at, _)| within.contains(at));
        came.map(|(_, wait)| *wait).collect()
    }

    fn reordering(&mut self) -> Duration {
        if self.chance.happens(self.reordered) {
            return Duration::from_micros(self.chance.below(self.reordering.as_micros() as u64));
        }
        Duration::ZERO
    }

    fn loses(&mut self) -> bool {
        match self.loss {
            Loss::None => false,
            Loss::Alone(chance) => self.chance.happens(chance),
            Loss::Runs { share, mean } => {
                let turns = match self.is_bad {
                    true => 1.0 / mean,
                    false => share / (1.0 - share) / mean,
                };
                self.is_bad ^= self.chance.happens(turns);
                self.is_bad
            }
        }
    }
}

#[test]
fn losses_are_as_many_and_as_long_as_asked() {
    let mut link = Link::new(1, ms(1));
    link.loss = Loss::Runs {
        share: 0.02,
        mean: 4.0,
    };
    let lost: Vec<bool> = (0..200_000).map(|_| link.loses()).collect();
    let share = lost.iter().filter(|it| **it).count() as f64 / lost.len() as f64;
    let runs = lost.windows(2).filter(|it| !it[0] && it[1]).count();
    let mean = share * lost.len() as f64 / runs as f64;
    assert!((0.018..0.022).contains(&share), "{share}");
    assert!((3.7..4.3).contains(&mean), "{mean}");
}
