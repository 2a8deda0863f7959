//! What the arrivals of bursts tell: the link's rate by their spread, its queue by their delay.

use std::collections::VecDeque;

use super::Micro;

/// Smallest burst whose spread tells a rate; larger ones weigh more.
const TRAIN_PACKETS_MIN: u32 = 3;

/// The reports' clock: no spread is known better.
const ARRIVAL_CLOCK: Micro = 250;

/// On a path that delivers in order: what comes within this time was held up together.
const AT_ONCE: Micro = 1_000;

/// Bursts whose rates are kept; their median by bytes rules.
const TRAINS_MAX: usize = 8;

/// A measured rate speaks for the present link this long.
const TRAIN_AGE_MAX: Micro = 3_000_000;

/// A queue stands when so many bursts in a row have met it.
const STANDING_BURSTS: usize = 3;

/// Smallest delays are searched in windows of this length, so that a changed route is noticed.
const BASE_WINDOW: Micro = 10_000_000;

/// Highest allowance for jitter, so that a queue in steps is not taken for it.
const JITTER_MAX: f64 = 40_000.0;

/// The bursts of one stream.
#[derive(Debug, Default)]
pub(super) struct Bursts {
    arriving: Option<Burst>,
    base: BaseDelay,
    /// Queueing delay met by the newest bursts.
    queue: VecDeque<Micro>,
    jitter: f64,
    trains: VecDeque<Train>,
    /// What a lost packet holds up comes at once with it.
    is_in_order: bool,
    /// Newest packet of the bursts before the arriving one.
    arrived: Option<Micro>,
}

/// One packet's way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trip {
    pub(super) burst: u64,
    pub(super) bytes: usize,
    pub(super) sent: Micro,
    /// On the receiver's clock.
    pub(super) arrived: Micro,
}

/// The burst whose arrivals are coming in.
#[derive(Debug)]
struct Burst {
    number: u64,
    first_delay: Micro,
    first_arrival: Micro,
    last_arrival: Micro,
    /// Bytes after the first packet: those that arrived between the two times.
    bytes: usize,
    packets: u32,
}

#[derive(Clone, Copy, Debug)]
struct Train {
    at: Micro,
    bps: f64,
    bytes: usize,
}

/// Smallest one-way delay, plus an unknown offset between two clocks.
#[derive(Debug, Default)]
struct BaseDelay {
    present: Option<Micro>,
    before: Option<Micro>,
    since: Micro,
}

impl Bursts {
    /// Bursts on a path that delivers in order, whatever it takes, or on one that does not.
    pub(super) fn new(is_in_order: bool) -> Self {
        Self {
            is_in_order,
            ..Self::default()
        }
    }

    pub(super) const fn is_in_order(&self) -> bool {
        self.is_in_order
    }

    /// A packet has arrived. Stragglers of bursts before are too late to tell anything.
    pub(super) fn handle_trip(&mut self, now: Micro, trip: Trip) {
        match &mut self.arriving {
            Some(it) if it.number == trip.burst => {
                it.last_arrival = it.last_arrival.max(trip.arrived);
                it.bytes += trip.bytes;
                it.packets += 1;
            }
            Some(it) if it.number > trip.burst => (),
            Some(_) | None => {
                self.finish(now);
                self.arriving = Some(Burst {
                    number: trip.burst,
                    first_delay: trip.arrived - trip.sent,
                    first_arrival: trip.arrived,
                    last_arrival: trip.arrived,
                    bytes: 0,
                    packets: 1,
                });
            }
        }
    }

    /// The next packet after the last report belongs to `next`, or there is none: the arriving
    /// burst is whole if that is another one.
    pub(super) fn finish_unless(&mut self, now: Micro, next: Option<u64>) {
        if self.arriving.as_ref().map(|it| it.number) != next {
            self.finish(now);
        }
    }

    /// The smallest queue that the newest bursts have met, beyond what their jitter explains;
    /// `None` while one is not to be told.
    pub(super) fn standing_queue(&self, beyond: Micro) -> Option<Micro> {
        let smallest = self.queue.iter().min().copied()?;
        let jitter = (3.0 * self.jitter).min(JITTER_MAX) as Micro;
        (self.queue.len() == STANDING_BURSTS && smallest > beyond + jitter).then_some(smallest)
    }

    /// Rate of the link by the spread of fresh bursts, in bit/s.
    pub(super) fn measured(&self, now: Micro) -> Option<f64> {
        median(self.trains.iter().filter(|it| now - it.at < TRAIN_AGE_MAX))
    }

    /// The rate that was last measured, however long ago.
    pub(super) fn last_measured(&self) -> Option<f64> {
        median(&self.trains)
    }

    /// Nothing was sent for long: queues are empty, delays have drifted, rates are old.
    pub(super) fn handle_rest(&mut self, now: Micro) {
        self.base = BaseDelay::default();
        self.queue.clear();
        for train in &mut self.trains {
            train.at = train.at.min(now - TRAIN_AGE_MAX);
        }
    }

    fn finish(&mut self, now: Micro) {
        let Some(burst) = self.arriving.take() else {
            return;
        };
        let queue = self.base.queue(now, burst.first_delay);
        if let Some(before) = self.queue.back() {
            let change = (queue - before).abs() as f64;
            self.jitter += (change - self.jitter) / 16.0;
        }
        if self.queue.len() == STANDING_BURSTS {
            self.queue.pop_front();
        }
        self.queue.push_back(queue);
        let before = self.arrived.replace(burst.last_arrival);
        let spread = burst.last_arrival - burst.first_arrival;
        let pause = before.map_or(AT_ONCE, |it| burst.first_arrival - it);
        let is_held_up = self.is_in_order && spread.min(pause) < AT_ONCE;
        if burst.packets >= TRAIN_PACKETS_MIN && !is_held_up {
            let bps = burst.bytes as f64 * 8e6 / spread.max(ARRIVAL_CLOCK) as f64;
            self.push_train(now, bps, burst.bytes);
        }
    }

    /// So many bytes came together at this rate.
    pub(super) fn push_train(&mut self, at: Micro, bps: f64, bytes: usize) {
        if self.trains.len() == TRAINS_MAX {
            self.trains.pop_front();
        }
        self.trains.push_back(Train { at, bps, bytes });
    }
}

impl BaseDelay {
    /// Notes a delay and returns how far it lies above the smallest.
    fn queue(&mut self, now: Micro, delay: Micro) -> Micro {
        if now - self.since > BASE_WINDOW {
            self.since = now;
            self.before = self.present.take();
        }
        self.present = Some(self.present.map_or(delay, |it| it.min(delay)));
        let base = self.before.map_or(delay, |it| it.min(delay));
        delay - self.present.map_or(base, |it| it.min(base))
    }
}

/// The rate that half of the bytes were at or below.
fn median<'a>(trains: impl IntoIterator<Item = &'a Train>) -> Option<f64> {
    let mut trains: Vec<Train> = trains.into_iter().copied().collect();
    trains.sort_by(|a, b| a.bps.total_cmp(&b.bps));
    let half = trains.iter().map(|it| it.bytes).sum::<usize>() / 2;
    let mut bytes = 0;
    trains
        .iter()
        .find(|it| {
            bytes += it.bytes;
            bytes >= half
        })
        .map(|it| it.bps)
}
