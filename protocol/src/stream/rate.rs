//! Estimates what a link takes, from reports of when each packet arrived.
//!
//! Frames leave in bursts, so every frame is a probe: the spread of a burst's arrivals gives the
//! link's rate, and the delay of its *first* packet above the smallest seen gives the queue that
//! earlier frames left standing. A standing queue or loss lowers the target; a measured rate
//! raises it at once, and without one it grows by a few percent a second. Nothing is sent for
//! the estimate's sake, and a rest forgets neither target nor measured rate.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::{Bitrate, Deadline, Wakeup};

/// Packets remembered until they are reported: two seconds at 40 Mbit/s.
const SENT_MAX: usize = 8_192;

/// Packets that leave within this time are one burst: a frame is handed over in one go.
const BURST: Micro = 2_000;

/// Smallest burst whose spread tells a rate; larger ones weigh more.
const TRAIN_PACKETS_MIN: u32 = 3;

/// The reports' clock: no spread is known better.
const ARRIVAL_CLOCK: Micro = 250;

/// Bursts whose rates are kept; their median by bytes rules.
const TRAINS_MAX: usize = 8;

/// A measured rate speaks for the present link this long.
const TRAIN_AGE_MAX: Micro = 3_000_000;

/// What is left of a measured rate for the encoder: room for headers, retransmission and input.
const SHARE: f64 = 0.85;

/// Queueing delay that is nobody's queue: timers, radio slots, a busy receiver.
const STANDING_QUEUE_MIN: Micro = 20_000;

/// A queue stands when so many bursts in a row have met it.
const STANDING_BURSTS: usize = 3;

/// Smallest delays are searched in windows of this length, so that a changed route is noticed.
const BASE_WINDOW: Micro = 10_000_000;

/// Without packets for so long, queues are empty and delays may have drifted.
const REST: Micro = 10_000_000;

/// Reports of this age count for loss and for what is delivered.
const WINDOW: Micro = 1_000_000;

/// Reports of this age tell what a full link delivers.
const DELIVERED_WINDOW: Micro = 300_000;

/// Growth without a measured rate: 8 % a second as in GCC, and at least so many bit/s a second.
const GROWTH: f64 = 0.08;
const GROWTH_MIN: f64 = 200_000.0;

/// A packet not reported for so long never will be: its report was lost too.
const REPORT_MAX: Micro = 1_000_000;

/// After a step down that no measured rate explains, the old target is out of reach this long.
const CEILING_AGE_MAX: Micro = 10_000_000;

/// Microseconds since the first packet, or on the receiver's clock.
type Micro = i64;

/// Bounds of the estimate.
#[derive(Clone, Copy, Debug)]
pub struct RateConfig {
    /// Target before anything is known.
    pub start: Bitrate,
    /// Lowest target.
    pub min: Bitrate,
    /// Highest target.
    pub max: Bitrate,
}

/// What a report says about one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its transport-wide sequence number.
    pub seq: u16,
    /// When it arrived, on the receiver's clock with any zero; `None` when it did not.
    pub at: Option<Duration>,
}

/// The estimate of one link.
#[derive(Debug)]
pub struct Rate {
    config: RateConfig,
    target: f64,
    epoch: Option<Instant>,
    sent: VecDeque<Sent>,
    /// Sequence number of `sent[0]`, not wrapped.
    first_seq: u64,
    in_flight_bytes: usize,
    last_sent: Micro,
    burst: u64,
    burst_started: Micro,
    round_trip: Option<Duration>,
    arriving: Option<Burst>,
    base: BaseDelay,
    /// Queueing delay met by the newest bursts.
    queue: VecDeque<Micro>,
    queue_jitter: f64,
    trains: VecDeque<Train>,
    reports: VecDeque<Report>,
    last_down: Option<Micro>,
    /// The queue that stood when the target was last lowered for it.
    queue_at_down: Micro,
    last_up: Option<Micro>,
    ceiling: Option<(f64, Micro)>,
}

#[derive(Debug)]
struct Sent {
    at: Micro,
    bytes: usize,
    burst: u64,
    is_reported: bool,
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

#[derive(Clone, Copy, Debug)]
struct Report {
    at: Micro,
    bytes: usize,
    arrived: u32,
    lost: u32,
}

/// Smallest one-way delay, plus an unknown offset between two clocks.
#[derive(Debug, Default)]
struct BaseDelay {
    present: Option<Micro>,
    before: Option<Micro>,
    since: Micro,
}

impl Rate {
    /// An estimate for a link about which nothing is known.
    pub fn new(config: RateConfig) -> Self {
        let mut rate = Self {
            config,
            target: 0.0,
            epoch: None,
            sent: VecDeque::new(),
            first_seq: 0,
            in_flight_bytes: 0,
            last_sent: 0,
            burst: 0,
            burst_started: 0,
            round_trip: None,
            arriving: None,
            base: BaseDelay::default(),
            queue: VecDeque::new(),
            queue_jitter: 0.0,
            trains: VecDeque::new(),
            reports: VecDeque::new(),
            last_down: None,
            queue_at_down: 0,
            last_up: None,
            ceiling: None,
        };
        rate.set_target(bps(config.start));
        rate
    }

    /// Rate that the encoder should aim for.
    pub fn target(&self) -> Bitrate {
        // Positive and bounded by the configured maximum, so the conversion is exact enough.
        Bitrate::from_bps(self.target as u64)
    }

    /// Bytes sent and not yet reported, neither as arrived nor as missing.
    pub fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes
    }

    /// Round trip, where one was measured.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// A round trip was measured.
    pub fn handle_round_trip(&mut self, sample: Duration) {
        self.round_trip = Some(match self.round_trip {
            Some(smooth) => (smooth * 7 + sample) / 8,
            None => sample,
        });
    }

    /// A packet left, with its transport-wide sequence number.
    pub fn handle_sent(&mut self, now: Instant, seq: u16, bytes: usize) {
        let now = self.micros(now);
        if self.expected_seq() as u16 != seq {
            // The counter is ours and has no gaps; a jump is a fresh stream.
            self.forget_sent(seq);
        }
        if now - self.last_sent > REST {
            self.wake_from_rest(now);
        }
        self.last_sent = now;
        if now - self.burst_started > BURST {
            self.burst += 1;
            self.burst_started = now;
        }
        if self.sent.len() == SENT_MAX {
            self.drop_oldest();
        }
        self.in_flight_bytes += bytes;
        self.sent.push_back(Sent {
            at: now,
            bytes,
            burst: self.burst,
            is_reported: false,
        });
    }

    /// The receiver's report on a run of packets, by rising sequence number.
    pub fn handle_feedback(&mut self, now: Instant, arrivals: impl IntoIterator<Item = Arrival>) {
        let now = self.micros(now);
        let mut report = Report {
            at: now,
            bytes: 0,
            arrived: 0,
            lost: 0,
        };
        let mut newest_reported = None;
        for arrival in arrivals {
            let Some(seq) = self.unwrap_seq(arrival.seq) else {
                continue;
            };
            newest_reported = Some(seq);
            self.handle_arrival(now, seq, arrival.at, &mut report);
        }
        if let Some(seq) = newest_reported {
            self.finish_burst_before(now, seq + 1);
            self.expire(|sent_seq, _| sent_seq < seq);
        }
        if report.arrived + report.lost == 0 {
            return;
        }
        self.reports.push_back(report);
        while self.reports.front().is_some_and(|it| now - it.at > WINDOW) {
            self.reports.pop_front();
        }
        self.adapt(now);
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.micros(now);
        let patience = self.patience();
        self.expire(|_, sent| now - sent.at >= patience);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout): when packets in flight are too old.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let oldest = self.sent.iter().find(|it| !it.is_reported)?;
        let at = u64::try_from(oldest.at + self.patience()).ok()?;
        Some(Deadline {
            at: self.epoch? + Duration::from_micros(at),
            why: Wakeup::Rate,
        })
    }

    fn handle_arrival(
        &mut self,
        now: Micro,
        seq: u64,
        arrived: Option<Duration>,
        report: &mut Report,
    ) {
        let Some(sent) = self.sent_mut(seq) else {
            return;
        };
        let is_first_word = !sent.is_reported;
        sent.is_reported = true;
        let (at, bytes, burst) = (sent.at, sent.bytes, sent.burst);
        if is_first_word {
            self.in_flight_bytes -= bytes;
        }
        let Some(arrived) = arrived else {
            report.lost += u32::from(is_first_word);
            return;
        };
        report.arrived += u32::from(is_first_word);
        report.bytes += bytes;
        let arrived = Micro::try_from(arrived.as_micros()).unwrap_or(Micro::MAX / 4);
        match &mut self.arriving {
            Some(it) if it.number == burst => {
                it.last_arrival = it.last_arrival.max(arrived);
                it.bytes += bytes;
                it.packets += 1;
            }
            Some(it) if it.number > burst => (),
            Some(_) | None => {
                self.finish_burst(now);
                self.arriving = Some(Burst {
                    number: burst,
                    first_delay: arrived - at,
                    first_arrival: arrived,
                    last_arrival: arrived,
                    bytes: 0,
                    packets: 1,
                });
            }
        }
    }

    /// Closes the arriving burst when the packet at `next` is not part of it.
    fn finish_burst_before(&mut self, now: Micro, next: u64) {
        let number = self.arriving.as_ref().map(|it| it.number);
        if self.sent_mut(next).map(|it| it.burst) != number {
            self.finish_burst(now);
        }
    }

    fn finish_burst(&mut self, now: Micro) {
        let Some(burst) = self.arriving.take() else {
            return;
        };
        let queue = self.base.queue(now, burst.first_delay);
        if let Some(before) = self.queue.back() {
            let change = (queue - before).abs() as f64;
            self.queue_jitter += (change - self.queue_jitter) / 16.0;
        }
        if self.queue.len() == STANDING_BURSTS {
            self.queue.pop_front();
        }
        self.queue.push_back(queue);
        if burst.packets >= TRAIN_PACKETS_MIN {
            let spread = (burst.last_arrival - burst.first_arrival).max(ARRIVAL_CLOCK);
            if self.trains.len() == TRAINS_MAX {
                self.trains.pop_front();
            }
            self.trains.push_back(Train {
                at: now,
                bps: burst.bytes as f64 * 8e6 / spread as f64,
                bytes: burst.bytes,
            });
        }
    }

    fn adapt(&mut self, now: Micro) {
        let loss = self.loss();
        let jitter = (3.0 * self.queue_jitter).min(40_000.0) as Micro;
        let standing = self
            .standing_queue()
            .filter(|it| *it > STANDING_QUEUE_MIN + jitter);
        let may_step_down = self
            .last_down
            .is_none_or(|it| now - it > 200_000 + self.round_trip_micros());
        match standing {
            Some(queue) if may_step_down => self.step_down_for_queue(now, queue),
            Some(_) => (),
            None if loss > 0.1 && may_step_down => {
                // What still arrives can be carried, whatever is lost beside it.
                let arrives = self.delivered(now, DELIVERED_WINDOW).unwrap_or_default();
                let target = (self.target * (1.0 - 0.5 * loss)).max(arrives * SHARE);
                self.step_down(now, target.min(self.target));
            }
            None if loss < 0.02 && self.last_down.is_none_or(|it| now - it > 500_000) => {
                self.queue_at_down = 0;
                self.step_up(now);
            }
            None => (),
        }
    }

    fn step_down_for_queue(&mut self, now: Micro, queue: Micro) {
        let is_draining = queue < self.queue_at_down - 10_000;
        self.queue_at_down = queue;
        if is_draining {
            self.last_down = Some(now);
            return;
        }
        // A full link delivers what it can. A deep queue is drained faster than a shallow one.
        let drain = 1.0 - (queue as f64 / 1e6).min(0.5);
        let capacity = match (self.measured(now), self.delivered(now, DELIVERED_WINDOW)) {
            (Some(measured), Some(delivered)) => Some(measured.min(delivered)),
            (measured, delivered) => measured.or(delivered),
        };
        match capacity.map(|it| it * SHARE * drain) {
            Some(target) if target < self.target => {
                self.lower_target(now, target);
            }
            Some(_) | None => self.step_down(now, self.target * SHARE),
        }
    }

    /// A step that the measured rate does not explain: others share the link, or it is policed.
    fn step_down(&mut self, now: Micro, target: f64) {
        self.ceiling = Some((self.target * 0.95, now));
        self.lower_target(now, target);
    }

    fn step_up(&mut self, now: Micro) {
        let elapsed = self.last_up.map_or(0, |it| (now - it).min(WINDOW)) as f64 / 1e6;
        self.last_up = Some(now);
        let ceiling = self
            .ceiling
            .filter(|(_, since)| now - since < CEILING_AGE_MAX)
            .map_or(f64::INFINITY, |(ceiling, _)| ceiling);
        let measured = self.measured(now);
        let mut wanted = self.target;
        if self
            .delivered(now, WINDOW)
            .is_some_and(|it| it > 0.5 * self.target)
        {
            wanted += (GROWTH * self.target).max(GROWTH_MIN) * elapsed;
        }
        if let Some(measured) = measured {
            // Most of the way at once, the rest when further bursts say the same.
            let jumped = self.target + (measured * SHARE - self.target) * 0.7;
            wanted = wanted.min(measured * SHARE).max(jumped.min(ceiling));
        }
        self.set_target(wanted.max(self.target));
    }

    /// The first packet after a rest: the queue is empty, and a target that had fallen below what
    /// the link was measured to give is no reason for a blurred first picture.
    fn wake_from_rest(&mut self, now: Micro) {
        self.base = BaseDelay::default();
        self.queue.clear();
        self.reports.clear();
        self.ceiling = None;
        self.last_up = None;
        if let Some(measured) = median(&self.trains) {
            let floor = (measured * SHARE).min(bps(self.config.start));
            self.set_target(self.target.max(floor));
        }
        for train in &mut self.trains {
            train.at = train.at.min(now - TRAIN_AGE_MAX);
        }
    }

    /// Lowers the target. What was lost until here is answered by that.
    fn lower_target(&mut self, now: Micro, target: f64) {
        self.last_down = Some(now);
        for report in &mut self.reports {
            report.arrived = 0;
            report.lost = 0;
        }
        self.set_target(target);
    }

    fn set_target(&mut self, target: f64) {
        self.target = target.clamp(bps(self.config.min), bps(self.config.max));
    }

    /// The smallest queue that the newest bursts have met.
    fn standing_queue(&self) -> Option<Micro> {
        (self.queue.len() == STANDING_BURSTS).then(|| self.queue.iter().min().copied())?
    }

    /// Rate of the link by the spread of fresh bursts.
    fn measured(&self, now: Micro) -> Option<f64> {
        let fresh = self.trains.iter().filter(|it| now - it.at < TRAIN_AGE_MAX);
        median(fresh)
    }

    /// What arrived within the last `window`, in bit/s.
    fn delivered(&self, now: Micro, window: Micro) -> Option<f64> {
        let mut recent = self.reports.iter().filter(|it| now - it.at <= window);
        // A report covers the time before it, so the first one only starts the clock.
        let since = recent.next()?.at;
        let (bytes, until) = recent.fold((0, since), |(bytes, _), it| (bytes + it.bytes, it.at));
        (until > since).then(|| bytes as f64 * 8e6 / (until - since) as f64)
    }

    fn loss(&self) -> f64 {
        let lost: u32 = self.reports.iter().map(|it| it.lost).sum();
        let arrived: u32 = self.reports.iter().map(|it| it.arrived).sum();
        match lost + arrived {
            0..20 => 0.0,
            packets => f64::from(lost) / f64::from(packets),
        }
    }

    fn round_trip_micros(&self) -> Micro {
        let round_trip = self.round_trip.unwrap_or_default().as_micros();
        Micro::try_from(round_trip).unwrap_or(Micro::MAX / 8)
    }

    fn patience(&self) -> Micro {
        REPORT_MAX.max(4 * self.round_trip_micros())
    }

    /// Takes packets that are still in flight and old by `is_old` out of it.
    fn expire(&mut self, is_old: impl Fn(u64, &Sent) -> bool) {
        let mut freed = 0;
        for (seq, sent) in (self.first_seq..).zip(&mut self.sent) {
            if !is_old(seq, sent) {
                break;
            }
            if !sent.is_reported {
                sent.is_reported = true;
                freed += sent.bytes;
            }
        }
        self.in_flight_bytes -= freed;
        // Late reports on what is no longer in flight still tell delays, for as long as it is kept.
        while self.sent.len() > SENT_MAX / 2 && self.sent.front().is_some_and(|it| it.is_reported) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.sent.pop_front() {
            self.first_seq += 1;
            if !oldest.is_reported {
                self.in_flight_bytes -= oldest.bytes;
            }
        }
    }

    fn forget_sent(&mut self, next: u16) {
        self.sent.clear();
        self.in_flight_bytes = 0;
        self.arriving = None;
        // Above any number used before, with the wanted low bits.
        self.first_seq = ((self.first_seq >> 16) + 2) << 16 | u64::from(next);
    }

    fn expected_seq(&self) -> u64 {
        self.first_seq + self.sent.len() as u64
    }

    /// The remembered packet that a wrapped number means; reports only look back.
    fn unwrap_seq(&self, seq: u16) -> Option<u64> {
        let newest = self.expected_seq().checked_sub(1)?;
        let age = (newest as u16).wrapping_sub(seq);
        newest
            .checked_sub(u64::from(age))
            .filter(|it| *it >= self.first_seq && !self.sent.is_empty())
    }

    fn sent_mut(&mut self, seq: u64) -> Option<&mut Sent> {
        let index = seq.checked_sub(self.first_seq)?;
        self.sent.get_mut(usize::try_from(index).ok()?)
    }

    fn micros(&mut self, now: Instant) -> Micro {
        let epoch = *self.epoch.get_or_insert(now);
        Micro::try_from(now.saturating_duration_since(epoch).as_micros()).unwrap_or(Micro::MAX / 4)
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

fn bps(rate: Bitrate) -> f64 {
    rate.bps() as f64
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

#[cfg(test)]
mod tests;
