//! Estimates what a link takes, from reports of when each packet arrived.
//!
//! Frames leave in bursts, so every frame is a probe: the spread of a burst's arrivals gives the
//! link's rate, and the delay of its *first* packet above the smallest seen gives the queue that
//! earlier frames left standing. A standing queue or loss lowers the target; a measured rate
//! raises it at once, and without one it grows by a few percent a second. Nothing is sent for
//! the estimate's sake, and a rest forgets neither target nor measured rate.

mod bursts;
mod flight;
mod large;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use self::bursts::{Bursts, Trip};
use self::flight::{Flight, Sent};
use crate::{Bitrate, Deadline, Wakeup};

/// Packets that leave within this time are one burst: a frame is handed over in one go.
const BURST: Micro = 2_000;

/// What is left of a measured rate for the encoder: room for headers, retransmission and input.
const SHARE: f64 = 0.85;

/// Share of a measured rate that comes where the link is full.
const FULL_SHARE: f64 = 0.9;

/// Queueing delay that is nobody's queue: timers, radio slots, a busy receiver.
const STANDING_QUEUE_MIN: Micro = 20_000;

/// Without packets for so long, queues are empty and delays may have drifted.
const REST: Micro = 10_000_000;

/// Reports of this age count for loss and for what is delivered.
const WINDOW: Micro = 1_000_000;

/// Reports of this age tell what a full link delivers.
const DELIVERED_WINDOW: Micro = 300_000;

/// Loss that is taken for a full link, where nothing makes it good.
const LOSS_MAX: f64 = 0.1;

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
    /// The target is a hint from elsewhere: nothing was measured yet.
    is_hint: bool,
    epoch: Option<Instant>,
    flight: Flight,
    bursts: Bursts,
    last_sent: Micro,
    /// Nothing was sent for so long that the estimate has settled for it.
    is_rested: bool,
    burst: u64,
    burst_started: Micro,
    round_trip: Option<Duration>,
    reports: VecDeque<Report>,
    last_down: Option<Micro>,
    /// The queue that stood when the target was last lowered for it.
    queue_at_down: Micro,
    last_up: Option<Micro>,
    ceiling: Option<(f64, Micro)>,
    loss_max: f64,
}

#[derive(Clone, Copy, Debug)]
struct Report {
    at: Micro,
    bytes: usize,
    arrived: u32,
    lost: u32,
}

impl Rate {
    /// An estimate for a link about which nothing is known.
    pub fn new(config: RateConfig) -> Self {
        let mut rate = Self {
            config,
            target: 0.0,
            is_hint: false,
            epoch: None,
            flight: Flight::default(),
            bursts: Bursts::default(),
            last_sent: 0,
            is_rested: false,
            burst: 0,
            burst_started: 0,
            round_trip: None,
            reports: VecDeque::new(),
            last_down: None,
            queue_at_down: 0,
            last_up: None,
            ceiling: None,
            loss_max: LOSS_MAX,
        };
        rate.set_target(bps(config.start));
        rate
    }

    /// Loss up to `share` is made good by parity: only more is taken for a full link.
    #[must_use]
    pub fn bearing_loss(mut self, share: f64) -> Self {
        self.loss_max = share;
        self
    }

    /// The path is inside TCP, which delivers in order: what a lost segment held up comes at once.
    #[must_use]
    pub fn in_order(mut self) -> Self {
        self.set_in_order(true);
        self
    }

    /// Whether the path is inside TCP from here on. What was measured elsewhere is forgotten.
    pub fn set_in_order(&mut self, is_in_order: bool) {
        if is_in_order != self.is_in_order() {
            self.bursts = Bursts::new(is_in_order);
        }
    }

    /// Whether the path is taken for one inside TCP.
    pub fn is_in_order(&self) -> bool {
        self.bursts.is_in_order()
    }

    /// Begins with what the link is said to have taken before. The first burst measures it.
    pub fn handle_hint(&mut self, hint: Bitrate) {
        self.is_hint = true;
        self.set_target(bps(hint));
    }

    /// Rate that may be under way: a hint that is not proven opens no more than is usual.
    pub fn trusted(&self) -> Bitrate {
        if self.is_hint {
            self.target().min(self.config.start)
        } else {
            self.target()
        }
    }

    /// The target, once the link was measured.
    pub fn learnt(&self) -> Option<Bitrate> {
        self.bursts.last_measured()?;
        Some(self.target())
    }

    /// Rate that the encoder should aim for.
    pub fn target(&self) -> Bitrate {
        // Positive and bounded by the configured maximum, so the conversion is exact enough.
        Bitrate::from_bps(self.target as u64)
    }

    /// Bytes sent and not yet reported, neither as arrived nor as missing.
    pub fn in_flight_bytes(&self) -> usize {
        self.flight.bytes()
    }

    /// Round trip, where one was measured.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// The link's own rate as bursts last measured it; `None` before the first.
    pub fn link_rate(&self) -> Option<Bitrate> {
        let measured = self.bursts.last_measured()?;
        Some(Bitrate::from_bps(measured as u64))
    }

    /// When a packet left that a report names; `None` for one long reported.
    pub fn sent_at(&self, seq: u16) -> Option<Instant> {
        let at = self.flight.sent_at(seq)?;
        Some(self.epoch? + Duration::from_micros(u64::try_from(at).ok()?))
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
        self.rest(now);
        self.is_rested = false;
        self.last_sent = now;
        if now - self.burst_started > BURST {
            self.burst += 1;
            self.burst_started = now;
        }
        let sent = Sent {
            at: now,
            bytes,
            burst: self.burst,
            is_reported: false,
        };
        self.flight.handle_sent(seq, sent);
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
            let Some((seq, sent)) = self.flight.handle_report(arrival.seq) else {
                continue;
            };
            newest_reported = Some(seq);
            self.handle_arrival(now, sent, arrival.at, &mut report);
        }
        if let Some(seq) = newest_reported {
            let next = self.flight.burst_of(seq + 1);
            self.bursts.finish_unless(now, next);
            // Reports go forward: what they pass over, they will not name.
            self.flight.give_up(|sent_seq, _| sent_seq < seq);
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
        self.flight.give_up(|_, sent| now - sent.at >= patience);
        self.rest(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout): when packets in flight are too old,
    /// or when a rest makes the target better than it is.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let too_old = self.flight.oldest().map(|it| it + self.patience());
        let is_better = !self.is_rested && self.rested_target() > self.target;
        let rested = is_better.then_some(self.last_sent + REST);
        let at = too_old.into_iter().chain(rested).min()?;
        Some(Deadline {
            at: self.epoch? + Duration::from_micros(u64::try_from(at).ok()?),
            why: Wakeup::Rate,
        })
    }

    fn handle_arrival(
        &mut self,
        now: Micro,
        sent: Sent,
        arrived: Option<Duration>,
        report: &mut Report,
    ) {
        let is_first_word = u32::from(!sent.is_reported);
        let Some(arrived) = arrived else {
            report.lost += is_first_word;
            return;
        };
        report.arrived += is_first_word;
        report.bytes += sent.bytes;
        let trip = Trip {
            burst: sent.burst,
            bytes: sent.bytes,
            sent: sent.at,
            arrived: Micro::try_from(arrived.as_micros()).unwrap_or(Micro::MAX / 4),
        };
        self.bursts.handle_trip(now, trip);
    }

    /// The first measured rate takes the place of a hint that promises more.
    fn prove(&mut self, now: Micro) {
        if let Some(measured) = self.bursts.measured(now).filter(|_| self.is_hint) {
            self.is_hint = false;
            if measured * SHARE < self.target {
                self.lower_target(now, measured * SHARE);
            }
        }
    }

    fn adapt(&mut self, now: Micro) {
        self.prove(now);
        let loss = self.loss();
        let standing = self.bursts.standing_queue(STANDING_QUEUE_MIN);
        let may_step_down = self.may_step_down(now);
        match standing {
            Some(queue) if may_step_down => self.step_down_for_queue(now, queue),
            Some(_) => (),
            None if may_step_down && let Some(full) = self.full_rate(now) => {
                self.lower_target(now, full * SHARE);
            }
            None if loss > self.loss_max && may_step_down => {
                // What still arrives can be carried, whatever is lost beside it.
                let arrives = self.delivered(now, DELIVERED_WINDOW).unwrap_or_default();
                let target = (self.target * (1.0 - 0.5 * loss)).max(arrives * SHARE);
                self.step_down(now, target.min(self.target));
            }
            None if loss < self.loss_max / 5.0
                && self.last_down.is_none_or(|it| now - it > 500_000) =>
            {
                self.queue_at_down = 0;
                self.step_up(now);
            }
            None => (),
        }
    }

    /// The link's rate where it is full and the target lies above: bursts, and all that comes, say
    /// the same. No queue tells, since updates are held back before one stands. Inside TCP a lost
    /// segment stretches the burst that it is of: there no more may come than bursts say.
    fn full_rate(&self, now: Micro) -> Option<f64> {
        let measured = self.bursts.measured(now)?;
        let delivered = self.delivered(now, DELIVERED_WINDOW)?;
        let is_stretched = self.is_in_order() && delivered > measured / FULL_SHARE;
        let is_full = delivered > FULL_SHARE * measured && self.target > measured;
        (is_full && !is_stretched).then_some(measured.min(delivered))
    }

    /// Whether the last step down can be seen in reports.
    fn may_step_down(&self, now: Micro) -> bool {
        self.last_down
            .is_none_or(|it| now - it > 200_000 + self.round_trip_micros())
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
        let capacity = match (
            self.bursts.measured(now),
            self.delivered(now, DELIVERED_WINDOW),
        ) {
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
        let measured = self.bursts.measured(now);
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

    /// After a rest queues are empty and delays have drifted, and a target that fell below what
    /// the link was measured to give is no reason for a blurred first picture.
    fn rest(&mut self, now: Micro) {
        if self.is_rested || now - self.last_sent < REST {
            return;
        }
        self.is_rested = true;
        self.set_target(self.rested_target());
        self.bursts.handle_rest(now);
        self.reports.clear();
        self.ceiling = None;
        self.last_up = None;
    }

    fn rested_target(&self) -> f64 {
        let measured = self.bursts.last_measured().unwrap_or_default();
        self.target
            .max((measured * SHARE).min(bps(self.config.start)))
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

    fn micros(&mut self, now: Instant) -> Micro {
        let epoch = *self.epoch.get_or_insert(now);
        Micro::try_from(now.saturating_duration_since(epoch).as_micros()).unwrap_or(Micro::MAX / 4)
    }
}

fn bps(rate: Bitrate) -> f64 {
    rate.bps() as f64
}

#[cfg(test)]
mod tests;
