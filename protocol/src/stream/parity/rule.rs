//! How much parity an update gets: the least that makes a repair by asking rare.

use std::time::Duration;

use crate::limits::{FRAGMENTS_MAX, PARITY_MAX};

/// Share of updates that may still need asking. Updates are handed out in order, so one that
/// waits a round trip holds up those behind it: at 60 a second and 40 ms some four in all.
const RESIDUAL: f64 = 0.001;

/// Below this loss a repair by asking is rare enough.
const LOSS_MIN: f64 = 0.001;

/// Within this round trip a repair by asking comes before the next frame.
const ROUND_TRIP_MIN: Duration = Duration::from_millis(8);

/// What is taken for the loss of a link about which nothing is known, and for how many packets
/// that guess counts.
const LOSS_GUESS: f64 = 0.01;
const GUESS_PACKETS: f64 = 256.0;

/// Packets over which loss is averaged: about a second of a busy stream.
const LOSS_PACKETS: f64 = 2_048.0;

/// Runs of lost packets over which their length is averaged.
const RUNS: f64 = 16.0;

/// Longest mean run that parity is reckoned with.
const RUN_MAX: f64 = 8.0;

/// The link's loss as reports tell it, and what parity follows from it.
#[derive(Debug)]
pub(crate) struct ParityRule {
    loss: f64,
    packets: f64,
    /// Packets that have come since one was lost.
    kept: f64,
    /// Mean length of a run of lost packets.
    run: f64,
    /// The run of lost packets that the newest reports end with.
    running: f64,
    /// Loss and run that `counts` was reckoned with.
    reckoned: (f64, f64),
    /// Parity by data fragments; `None` where it is not yet reckoned.
    counts: [Option<u8>; FRAGMENTS_MAX + 1],
}

impl Default for ParityRule {
    fn default() -> Self {
        Self {
            loss: LOSS_GUESS,
            packets: GUESS_PACKETS,
            kept: LOSS_PACKETS,
            run: 1.0,
            running: 0.0,
            reckoned: (LOSS_GUESS, 1.0),
            counts: [None; FRAGMENTS_MAX + 1],
        }
    }
}

impl ParityRule {
    /// A packet is reported, in order.
    pub(crate) fn handle_report(&mut self, has_arrived: bool) {
        let lost = f64::from(u8::from(!has_arrived));
        self.packets = (self.packets + 1.0).min(LOSS_PACKETS);
        self.loss += (lost - self.loss) / self.packets;
        self.kept = (self.kept + 1.0).min(LOSS_PACKETS);
        if !has_arrived {
            self.kept = 0.0;
            self.running += 1.0;
        } else if self.running > 0.0 {
            self.run += (self.running.min(RUN_MAX) - self.run) / RUNS;
            self.running = 0.0;
        }
    }

    /// Whether packets were lost of late.
    pub(crate) const fn is_lossy(&self) -> bool {
        self.kept < LOSS_PACKETS
    }

    /// Packets that are lost together, in the mean.
    pub(crate) fn run(&self) -> usize {
        // Between 1 and `RUN_MAX`.
        self.run.round() as usize
    }

    /// Parity fragments for `data` fragments, sent unasked. On a link that is too full half of
    /// it: what is lost there is lost to load.
    pub(crate) fn count(&mut self, data: usize, round_trip: Duration, is_full: bool) -> usize {
        if self.loss < LOSS_MIN || round_trip < ROUND_TRIP_MIN {
            return 0;
        }
        if is_far(self.loss, self.reckoned.0) || is_far(self.run, self.reckoned.1) {
            self.reckoned = (self.loss, self.run);
            self.counts.fill(None);
        }
        let (loss, run) = self.reckoned;
        let count = match self.counts.get_mut(data) {
            Some(known) => *known.get_or_insert_with(|| reckon(data, loss, run)),
            None => 0,
        };
        usize::from(count) / (1 + usize::from(is_full))
    }
}

/// A tenth more or less changes little.
fn is_far(value: f64, reckoned: f64) -> bool {
    (value - reckoned).abs() > 0.1 * reckoned
}

/// Fewest parity fragments with which more are lost than they make good in at most [`RESIDUAL`]
/// of updates.
fn reckon(data: usize, loss: f64, run: f64) -> u8 {
    // Half as much as the data, whole copies of the smallest updates.
    let most = data.div_ceil(2).max(data.min(2)).min(PARITY_MAX);
    let mut link = Gilbert::new(loss, run);
    (0..data).for_each(|_| link.step());
    for parity in 0..most {
        if link.lost_at_most(parity) >= 1.0 - RESIDUAL {
            return parity as u8;
        }
        link.step();
    }
    most as u8
}

/// Gilbert's model of losses in runs: a good link turns bad, where all is lost, and good again
/// after some packets.
#[derive(Clone, Debug)]
struct Gilbert {
    to_bad: f64,
    to_good: f64,
    /// Chance of having lost so many, the link being good now.
    good: [f64; FRAGMENTS_MAX + 1],
    /// The same, the link being bad now.
    bad: [f64; FRAGMENTS_MAX + 1],
}

impl Gilbert {
    fn new(loss: f64, run: f64) -> Self {
        let loss = loss.min(0.5);
        let to_good = 1.0 / run.max(1.0);
        let (mut good, mut bad) = ([0.0; FRAGMENTS_MAX + 1], [0.0; FRAGMENTS_MAX + 1]);
        good[0] = 1.0 - loss;
        bad[0] = loss;
        Self {
            to_bad: (loss / (1.0 - loss) * to_good).min(1.0),
            to_good,
            good,
            bad,
        }
    }

    /// One packet is sent.
    fn step(&mut self) {
        let mut fewer = (0.0, 0.0);
        for (good, bad) in self.good.iter_mut().zip(&mut self.bad) {
            let (stays, turns) = fewer;
            fewer = (*good, *bad);
            *good = fewer.0 * (1.0 - self.to_bad) + fewer.1 * self.to_good;
            *bad = stays * self.to_bad + turns * (1.0 - self.to_good);
        }
    }

    fn lost_at_most(&self, count: usize) -> f64 {
        let sum = |it: &[f64]| it.iter().take(count + 1).sum::<f64>();
        sum(&self.good) + sum(&self.bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: Duration = Duration::from_millis(40);

    fn after(reports: impl IntoIterator<Item = bool>) -> ParityRule {
        let mut rule = ParityRule::default();
        for arrived in reports {
            rule.handle_report(arrived);
        }
        rule
    }

    #[track_caller]
    fn check(rule: &mut ParityRule, expected: [usize; 4]) {
        let counts = [1, 4, 18, 60].map(|it| rule.count(it, FAR, false));
        assert_eq!(counts, expected, "loss {} run {}", rule.loss, rule.run);
    }

    #[test]
    fn parity_follows_the_loss() {
        check(&mut after([]), [1, 1, 2, 4]);
        check(&mut after(vec![true; 10_000]), [0; 4]);
        check(&mut after((0..10_000).map(|it| it % 50 != 0)), [1, 2, 3, 6]);
        check(
            &mut after((0..10_000).map(|it| it % 10 != 0)),
            [1, 2, 7, 15],
        );
    }

    #[test]
    fn runs_of_losses_need_more() {
        check(
            &mut after((0..10_000).map(|it| it % 200 >= 4)),
            [1, 2, 9, 23],
        );
    }

    #[test]
    fn a_near_or_clean_link_gets_none_and_a_full_one_half() {
        let mut rule = after((0..10_000).map(|it| it % 10 != 0));
        assert_eq!(rule.count(18, Duration::from_millis(7), false), 0);
        assert_eq!(rule.count(18, FAR, true), 3);
    }

    #[test]
    fn parity_never_exceeds_its_limit() {
        let mut rule = after((0..1_000).map(|it| it % 2 == 0));
        for data in 0..=FRAGMENTS_MAX + 1 {
            assert!(rule.count(data, FAR, false) <= PARITY_MAX, "{data}");
        }
    }
}
