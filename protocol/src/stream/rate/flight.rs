//! Packets that were sent and are not yet reported.

use std::collections::VecDeque;

use super::Micro;

/// Packets remembered until they are reported: two seconds at 40 Mbit/s.
pub(super) const SENT_MAX: usize = 8_192;

/// Packets kept although they are reported: reordering goes no further.
const REPORTED_KEPT: usize = 256;

/// What is in flight, by transport-wide sequence number.
#[derive(Debug, Default)]
pub(super) struct Flight {
    sent: VecDeque<Sent>,
    /// Sequence number of `sent[0]`, not wrapped.
    first_seq: u64,
    bytes: usize,
}

/// A packet that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) at: Micro,
    pub(super) bytes: usize,
    /// Which burst it left in.
    pub(super) burst: u64,
    /// A report has named it before, or it is given up.
    pub(super) is_reported: bool,
}

impl Flight {
    /// Bytes neither reported nor given up.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A packet left.
    pub(super) fn handle_sent(&mut self, seq: u16, sent: Sent) {
        if self.next_seq() as u16 != seq {
            // The counter is ours and has no gaps; a jump is a fresh stream.
            self.restart(seq);
        }
        if self.sent.len() == SENT_MAX {
            self.drop_oldest();
        }
        self.bytes += sent.bytes;
        self.sent.push_back(sent);
    }

    /// A report names a packet: what it was, and its number, not wrapped.
    pub(super) fn handle_report(&mut self, seq: u16) -> Option<(u64, Sent)> {
        let seq = self.unwrap_seq(seq)?;
        let index = usize::try_from(seq.checked_sub(self.first_seq)?).ok()?;
        let sent = self.sent.get_mut(index)?;
        let before = *sent;
        sent.is_reported = true;
        if !before.is_reported {
            self.bytes -= before.bytes;
        }
        Some((seq, before))
    }

    /// When a packet left, where it is known.
    pub(super) fn sent_at(&self, seq: u16) -> Option<Micro> {
        let seq = self.unwrap_seq(seq)?;
        let index = usize::try_from(seq.checked_sub(self.first_seq)?).ok()?;
        self.sent.get(index).map(|it| it.at)
    }

    /// The burst that a packet left in, where it is known.
    pub(super) fn burst_of(&self, seq: u64) -> Option<u64> {
        let index = usize::try_from(seq.checked_sub(self.first_seq)?).ok()?;
        self.sent.get(index).map(|it| it.burst)
    }

    /// When the oldest packet in flight was sent.
    pub(super) fn oldest(&self) -> Option<Micro> {
        self.sent.iter().find(|it| !it.is_reported).map(|it| it.at)
    }

    /// Gives up, from the oldest on, packets that are `hopeless`.
    pub(super) fn give_up(&mut self, hopeless: impl Fn(u64, &Sent) -> bool) {
        for (seq, sent) in (self.first_seq..).zip(&mut self.sent) {
            if !hopeless(seq, sent) {
                break;
            }
            if !sent.is_reported {
                sent.is_reported = true;
                self.bytes -= sent.bytes;
            }
        }
        // Late reports still tell delays, for as long as their packets are kept.
        while self.sent.len() > REPORTED_KEPT && self.sent.front().is_some_and(|it| it.is_reported)
        {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.sent.pop_front() {
            self.first_seq += 1;
            if !oldest.is_reported {
                self.bytes -= oldest.bytes;
            }
        }
    }

    fn restart(&mut self, next: u16) {
        self.sent.clear();
        self.bytes = 0;
        // Above any number used before, with the wanted low bits.
        self.first_seq = ((self.first_seq >> 16) + 2) << 16 | u64::from(next);
    }

    fn next_seq(&self) -> u64 {
        self.first_seq + self.sent.len() as u64
    }

    /// The remembered packet that a wrapped number means; reports only look back.
    fn unwrap_seq(&self, seq: u16) -> Option<u64> {
        let newest = self.next_seq().checked_sub(1)?;
        let age = (newest as u16).wrapping_sub(seq);
        newest
            .checked_sub(u64::from(age))
            .filter(|it| *it >= self.first_seq && !self.sent.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: Sent = Sent {
        at: 0,
        bytes: 1_200,
        burst: 1,
        is_reported: false,
    };

    #[test]
    fn a_long_stream_keeps_bounded_memory_and_a_true_sum() {
        let mut flight = Flight::default();
        for seq in 0..3 * SENT_MAX {
            flight.handle_sent(seq as u16, SENT);
        }
        assert_eq!(flight.sent.len(), SENT_MAX);
        assert_eq!(flight.bytes(), SENT_MAX * SENT.bytes);
    }

    #[test]
    fn a_packet_is_taken_out_once_however_often_it_is_reported() {
        let mut flight = Flight::default();
        for seq in [u16::MAX, 0, 1] {
            flight.handle_sent(seq, SENT);
        }
        assert!(
            flight
                .handle_report(0)
                .is_some_and(|(_, it)| !it.is_reported)
        );
        assert!(
            flight
                .handle_report(0)
                .is_some_and(|(_, it)| it.is_reported)
        );
        assert_eq!(flight.bytes(), 2 * SENT.bytes);
        assert!(flight.handle_report(2).is_none());
        assert!(flight.handle_report(u16::MAX - 1).is_none());
        flight.give_up(|_, _| true);
        assert_eq!((flight.bytes(), flight.oldest()), (0, None));
    }
}
