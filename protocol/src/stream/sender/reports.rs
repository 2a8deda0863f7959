//! What a viewer's reports say about the path: rate, round trip, loss.

use std::time::{Duration, Instant};

use crate::stream::parity::ParityRule;
use crate::stream::rate::{Arrival, Rate, RateConfig};
use crate::stream::round_trip::RoundTrip;
use crate::wire::datagram::Feedback;
use crate::{Bitrate, Deadline};

/// Updates over which the share of parity is averaged.
const UPDATES: f64 = 16.0;

/// A fall of the target is a sign of a full link for so long.
const FULL: Duration = Duration::from_secs(1);

/// Parity of half an update makes good what a bad radio link loses; beyond this it does not.
const LOSS_BORNE: f64 = 0.25;

/// Round trips in which QUIC makes good what a stream has lost, and lost again.
const REPAIRED: u32 = 4;

/// The path as its reports tell it.
#[derive(Debug)]
pub(super) struct Reports {
    rate: Rate,
    round_trip: RoundTrip,
    rule: ParityRule,
    /// The target fell then.
    fell: Option<Instant>,
    /// Fragments of late, with parity and without.
    fragments: (f64, f64),
    /// The viewer's clock as it was last reported, not wrapped.
    base: Option<u64>,
    /// The last large update had arrived.
    large: Option<Instant>,
}

impl Reports {
    pub(super) fn new(config: RateConfig) -> Self {
        Self {
            rate: Rate::new(config).bearing_loss(LOSS_BORNE),
            round_trip: RoundTrip::default(),
            rule: ParityRule::default(),
            fell: None,
            fragments: (1.0, 1.0),
            base: None,
            large: None,
        }
    }

    pub(super) fn in_order(mut self) -> Self {
        self.rate = self.rate.in_order();
        self
    }

    pub(super) fn handle_hint(&mut self, hint: Bitrate) {
        self.rate.handle_hint(hint);
    }

    pub(super) fn trusted(&self) -> Bitrate {
        self.rate.trusted()
    }

    pub(super) fn learnt(&self) -> Option<Bitrate> {
        self.rate.learnt()
    }

    pub(super) fn target(&self) -> Bitrate {
        self.rate.target()
    }

    /// What of the target is left beside parity.
    pub(super) fn target_of_data(&self) -> Bitrate {
        let (all, data) = self.fragments;
        Bitrate::from_bps((self.target().bps() as f64 * data / all) as u64)
    }

    /// The rate at which updates leave: above the link's, so that each is a probe; the link's
    /// own queue sees a quarter of an update at most.
    pub(super) fn pace(&self) -> Bitrate {
        let twice = 2 * self.rate.target().bps();
        let measured = self
            .rate
            .link_rate()
            .map_or(2 * twice, |it| it.bps() / 4 * 5);
        Bitrate::from_bps(twice.max(measured))
    }

    pub(super) fn in_flight_bytes(&self) -> usize {
        self.rate.in_flight_bytes()
    }

    pub(super) const fn round_trip(&self) -> &RoundTrip {
        &self.round_trip
    }

    /// Parity that follows so many fragments of data unasked.
    pub(super) fn parity(&mut self, data: usize, now: Instant) -> usize {
        let since = |it| now.saturating_duration_since(it);
        let is_full = self.fell.is_some_and(|it| since(it) < FULL);
        let count = self.rule.count(data, self.round_trip.smooth(), is_full);
        let recent = |sum, count| sum * (1.0 - 1.0 / UPDATES) + count as f64;
        let (all, of_data) = self.fragments;
        self.fragments = (recent(all, data + count), recent(of_data, data));
        count
    }

    /// Packets that are lost together, in the mean.
    pub(super) fn lost_run(&self) -> usize {
        self.rule.run()
    }

    pub(super) fn handle_sent(&mut self, now: Instant, packet: u16, bytes: usize) {
        self.rate.handle_sent(now, packet, bytes);
    }

    pub(super) fn handle_round_trip(&mut self, now: Instant, sample: Duration) {
        self.round_trip.handle_sample(now, sample);
        self.rate.handle_round_trip(self.round_trip.smooth());
    }

    pub(super) fn handle_feedback(&mut self, now: Instant, feedback: &Feedback<'_>) {
        let header = &feedback.header;
        let count = feedback.arrivals.len();
        let Some(newest) = count.checked_sub(1) else {
            return;
        };
        // At most `FEEDBACK_PACKETS_MAX`.
        let newest = header.first_packet.wrapping_add(newest as u16);
        if let Some(sent) = self.rate.sent_at(newest) {
            let held = Duration::from_micros(u64::from(header.held));
            let sample = now.saturating_duration_since(sent).saturating_sub(held);
            self.handle_round_trip(now, sample);
        }
        let base = self.unwrap_base(header.base);
        let seqs = (0..=u16::MAX).map(|it| header.first_packet.wrapping_add(it));
        let rule = &mut self.rule;
        let arrivals = seqs.zip(feedback.arrivals.iter()).map(|(seq, at)| {
            rule.handle_report(at.is_some());
            Arrival {
                seq,
                at: at.map(|it| Duration::from_micros(base + u64::from(it))),
            }
        });
        let before = self.rate.target();
        self.rate.handle_feedback(now, arrivals);
        if self.rate.target() < before {
            self.fell = Some(now);
        }
    }

    /// An update has arrived by a stream, which began to leave at `since`. Until the one before had
    /// arrived the link was that one's.
    pub(super) fn handle_large(&mut self, now: Instant, bytes: usize, since: Instant) {
        let began = since + self.round_trip.smallest();
        let before = self.large.replace(now);
        let took = now.saturating_duration_since(before.map_or(began, |it| it.max(began)));
        let target = self.rate.target();
        if self.round_trip.is_known() && !self.rule.is_lossy() {
            self.rate.handle_large(now, bytes, took);
        } else {
            let took = took.saturating_sub(REPAIRED * self.round_trip.smooth());
            self.rate.handle_large_at_most(now, bytes, took);
        }
        if self.rate.target() < target {
            self.fell = Some(now);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.rate.handle_timeout(now);
    }

    pub(super) fn poll_timeout(&self) -> Option<Deadline> {
        self.rate.poll_timeout()
    }

    /// The viewer's clock without its wrap; it begins far from zero, so that it can step back.
    fn unwrap_base(&mut self, base: u32) -> u64 {
        let last = self.base.unwrap_or((1 << 32) + u64::from(base));
        let step = base.wrapping_sub(last as u32).cast_signed();
        let base = last.saturating_add_signed(i64::from(step));
        self.base = Some(base);
        base
    }
}
