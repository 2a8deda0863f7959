//! A viewer's reports: when each packet arrived, soon while media flows, not at all at rest.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::limits::FEEDBACK_PACKETS_MAX;
use crate::wire::datagram::FeedbackHeader;
use crate::{Deadline, Wakeup};

/// A report is due so long after the first packet it speaks of, or with so many.
const INTERVAL: Duration = Duration::from_millis(10);
const PACKETS: usize = 20;

/// On a path that reorders a gap is held back for so long before it is reported as a loss: loss
/// keeps the rate down and asks for parity.
const GAP_HELD: Duration = Duration::from_millis(12);

/// A path that has not reordered for so long is one that does not.
const REORDERING_AGE_MAX: Duration = Duration::from_secs(60);

/// The packets that are not yet reported.
#[derive(Debug)]
pub(crate) struct Reporter {
    start: Instant,
    /// Number of the first packet not reported.
    first: Option<u16>,
    /// Arrivals from there on.
    arrivals: VecDeque<Option<Instant>>,
    count: usize,
    due: Option<Instant>,
    /// A packet came after it had been reported as missing.
    reordered: Option<Instant>,
    /// A packet came that is too far ahead: no gap is held back.
    jumps: bool,
}

impl Reporter {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            start: now,
            first: None,
            arrivals: VecDeque::with_capacity(FEEDBACK_PACKETS_MAX),
            count: 0,
            due: None,
            reordered: None,
            jumps: false,
        }
    }

    /// A packet that counts came. What came before is reported first where this one is too far
    /// ahead; then `false` is returned, and it is to be handed in again.
    pub(crate) fn handle_packet(&mut self, now: Instant, packet: u16) -> bool {
        let first = *self.first.get_or_insert(packet);
        let Ok(index) = usize::try_from(packet.wrapping_sub(first).cast_signed()) else {
            // Reported as missing, or a copy.
            self.reordered = Some(now);
            return true;
        };
        if index >= FEEDBACK_PACKETS_MAX {
            if self.count > 0 {
                self.due = Some(now);
                self.jumps = true;
                return false;
            }
            self.first = None;
            return self.handle_packet(now, packet);
        }
        if index >= self.arrivals.len() {
            self.arrivals.resize(index + 1, None);
        }
        if let Some(slot @ None) = self.arrivals.get_mut(index) {
            *slot = Some(now);
            self.count += 1;
        }
        self.want(now);
        if self.count >= PACKETS {
            self.due = Some(now);
        }
        true
    }

    /// Something else than packets is to be reported.
    pub(crate) fn want(&mut self, now: Instant) {
        self.due.get_or_insert(now + INTERVAL);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        self.due.map(|at| Deadline {
            at,
            why: Wakeup::Feedback,
        })
    }

    /// Writes the report, where it is due.
    pub(crate) fn poll_report(
        &mut self,
        now: Instant,
        header: FeedbackHeader,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        self.due.filter(|it| *it <= now)?;
        let told = self.arrivals.len() - self.held_back(now);
        let micros = |it: Instant| it.saturating_duration_since(self.start).as_micros() as u64;
        let arrivals = self.arrivals.iter().take(told);
        let base = arrivals.clone().flatten().min().copied();
        let newest = arrivals.clone().next_back().copied().flatten();
        let held = newest.map_or(Duration::ZERO, |it| now.saturating_duration_since(it));
        let header = FeedbackHeader {
            first_packet: self.first.unwrap_or_default(),
            base: base.map_or(0, micros) as u32,
            held: u16::try_from(held.as_micros()).unwrap_or(u16::MAX),
            ..header
        };
        let zero = base.map_or(0, micros);
        let offset = |it: &Option<Instant>| it.map(|it| (micros(it) - zero) as u32);
        header.encode_into(arrivals.map(offset), out);
        self.arrivals.drain(..told);
        // At most `FEEDBACK_PACKETS_MAX`.
        self.first = self.first.map(|it| it.wrapping_add(told as u16));
        self.jumps = false;
        self.count = self.arrivals.iter().flatten().count();
        self.due = (self.count > 0).then(|| now + INTERVAL);
        Some(())
    }

    /// How many of the last packets wait for a gap among them to be filled.
    fn held_back(&self, now: Instant) -> usize {
        let is_recent = |it: Instant, age| now.saturating_duration_since(it) < age;
        let reorders = self
            .reordered
            .is_some_and(|it| is_recent(it, REORDERING_AGE_MAX));
        if !reorders || self.jumps || self.arrivals.len() > FEEDBACK_PACKETS_MAX / 2 {
            return 0;
        }
        let mut after = None;
        let mut gap = self.arrivals.len();
        for (index, arrival) in self.arrivals.iter().enumerate().rev() {
            match arrival {
                Some(at) => after = Some(after.map_or(*at, |it: Instant| it.min(*at))),
                None if after.is_some_and(|it| is_recent(it, GAP_HELD)) => gap = index,
                None => break,
            }
        }
        // A report ends with a packet that came.
        let came = self.arrivals.iter().take(gap).rposition(Option::is_some);
        self.arrivals.len() - came.map_or(0, |it| it + 1)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "simulated time starts somewhere")]
mod tests {
    use super::*;
    use crate::wire::datagram::FromViewer;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// First packet, arrivals and how long the newest was held, of a report that is due.
    fn report(reporter: &mut Reporter, now: Instant) -> Option<(u16, Vec<Option<u32>>, u16)> {
        let mut out = Vec::new();
        reporter.poll_report(now, FeedbackHeader::default(), &mut out)?;
        let Ok(FromViewer::Feedback(it)) = FromViewer::decode(&out) else {
            panic!("no report");
        };
        let header = it.header;
        Some((
            header.first_packet,
            it.arrivals.iter().collect(),
            header.held,
        ))
    }

    #[test]
    fn packets_are_reported_once_and_missing_ones_named() {
        let start = Instant::now();
        let mut reporter = Reporter::new(start);
        for (at, packet) in [(0, u16::MAX), (2, 1), (1, 1)] {
            assert!(reporter.handle_packet(start + ms(at), packet));
        }
        assert_eq!(report(&mut reporter, start + ms(9)), None);
        let due = reporter.poll_timeout().unwrap().at;
        assert_eq!(due, start + ms(10));
        let arrivals = vec![Some(0), None, Some(2_000)];
        assert_eq!(
            report(&mut reporter, due),
            Some((u16::MAX, arrivals, 8_000))
        );
        assert_eq!(reporter.poll_timeout(), None);
        reporter.handle_packet(start + ms(20), 2);
        let next = report(&mut reporter, start + ms(30));
        assert_eq!(next, Some((2, vec![Some(0)], 10_000)));
    }

    #[test]
    fn many_packets_are_reported_at_once() {
        let start = Instant::now();
        let mut reporter = Reporter::new(start);
        for packet in 0..20 {
            assert_eq!(report(&mut reporter, start), None);
            reporter.handle_packet(start, packet);
        }
        assert!(report(&mut reporter, start).is_some());
    }

    #[test]
    fn a_jump_reports_what_was_before_it() {
        let start = Instant::now();
        let mut reporter = Reporter::new(start);
        reporter.handle_packet(start, 7);
        // A late one: gaps are held back from here on, but not before a jump.
        reporter.handle_packet(start, 6);
        reporter.handle_packet(start, 9);
        assert!(!reporter.handle_packet(start, 7_000));
        let before = vec![Some(0), None, Some(0)];
        assert_eq!(report(&mut reporter, start), Some((7, before, 0)));
        assert!(reporter.handle_packet(start, 7_000));
        let due = reporter.poll_timeout().unwrap().at;
        assert_eq!(
            report(&mut reporter, due),
            Some((7_000, vec![Some(0)], 10_000))
        );
    }

    #[test]
    fn a_path_that_reorders_has_its_gaps_filled_before_they_are_told() {
        let start = Instant::now();
        let mut reporter = Reporter::new(start);
        for (at, packet) in [(0, 0), (0, 2), (11, 1), (20, 3), (20, 5)] {
            if at > 10 {
                report(&mut reporter, start + ms(10));
            }
            reporter.handle_packet(start + ms(at), packet);
        }
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(
            report(&mut reporter, at(30)),
            Some((3, vec![Some(0)], 10_000))
        );
        reporter.handle_packet(at(31), 4);
        let rest = vec![Some(10_992), Some(0)];
        assert_eq!(report(&mut reporter, at(40)), Some((4, rest, 20_000)));
        assert_eq!(reporter.poll_timeout(), None);
    }

    #[test]
    fn at_rest_there_is_nothing_to_wake_for() {
        let start = Instant::now();
        let mut reporter = Reporter::new(start);
        assert_eq!(reporter.poll_timeout(), None);
        reporter.want(start);
        let due = reporter.poll_timeout().unwrap().at;
        assert_eq!(report(&mut reporter, due), Some((0, vec![], 0)));
        assert_eq!(reporter.poll_timeout(), None);
    }
}
