//! Whether the newest frame may lack its end, which nothing after it reveals to the viewer.

use sandbox_protocol::stream::rate::Arrival;

/// What was reported about the packets since the newest frame began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tail {
    /// Transport-wide number of the first of them.
    first: Option<u16>,
    is_missing: bool,
}

impl Tail {
    /// A frame begins: the next packet is its first.
    pub(super) fn handle_frame(&mut self) {
        *self = Self::default();
    }

    /// A packet left.
    pub(super) fn handle_sent(&mut self, seq: u16) {
        self.first.get_or_insert(seq);
    }

    /// The viewer reported on a packet. What it has missed it may get by asking, so only a report
    /// of the frame itself, as presented, takes this back.
    pub(super) fn handle_arrival(&mut self, arrival: &Arrival) {
        let Some(first) = self.first else {
            return;
        };
        let is_since = arrival.seq.wrapping_sub(first) < u16::MAX / 2;
        self.is_missing |= is_since && arrival.at.is_none();
    }

    /// A packet was reported as missing.
    pub(super) const fn is_missing(self) -> bool {
        self.is_missing
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn arrival(seq: u16, has_come: bool) -> Arrival {
        Arrival {
            seq,
            at: has_come.then_some(Duration::ZERO),
        }
    }

    /// A frame of the packets `u16::MAX` and 0, after one of which a packet is still missing.
    fn sent() -> Tail {
        let mut tail = Tail::default();
        tail.handle_frame();
        tail.handle_sent(u16::MAX);
        tail.handle_sent(0);
        tail
    }

    #[test]
    fn a_frame_that_came_whole_lacks_nothing_whatever_was_lost_before_it() {
        let mut tail = sent();
        tail.handle_arrival(&arrival(u16::MAX - 1, false));
        tail.handle_arrival(&arrival(u16::MAX, true));
        tail.handle_arrival(&arrival(0, true));
        assert!(!tail.is_missing());
    }

    #[test]
    fn an_end_that_is_lost_before_a_repair_of_another_frame_came_is_missing() {
        let mut tail = sent();
        tail.handle_sent(1);
        tail.handle_arrival(&arrival(u16::MAX, true));
        tail.handle_arrival(&arrival(0, false));
        tail.handle_arrival(&arrival(1, true));
        assert!(tail.is_missing());
        tail.handle_frame();
        assert!(!tail.is_missing());
    }
}
