//! The updates that were sent and not yet handed out at the viewer, in their order.

use std::collections::VecDeque;
use std::time::Instant;

use crate::limits::{REPAIR_BYTES_MAX, REPAIR_UPDATES_MAX};
use crate::stream::packetize::{Carriage, Packetizer, SentUpdate};

/// Updates before another that its `void` can name.
const VOID_MAX: u32 = u32::BITS;

/// A run of updates with consecutive numbers.
#[derive(Debug, Default)]
pub(super) struct SentUpdates {
    updates: VecDeque<SentUpdate>,
    /// Number of the next update.
    next: u32,
    bytes: usize,
    /// All before it are out.
    out: u32,
    /// No parity waits before it.
    parity: u32,
}

impl SentUpdates {
    /// Forgets all; the next update is number 1.
    pub(super) fn restart(&mut self, packetizer: &mut Packetizer) {
        while let Some(update) = self.updates.pop_front() {
            packetizer.recycle(update);
        }
        *self = Self {
            updates: std::mem::take(&mut self.updates),
            next: 1,
            out: 1,
            parity: 1,
            bytes: 0,
        };
    }

    pub(super) const fn next_number(&self) -> u32 {
        self.next
    }

    pub(super) fn push(&mut self, update: SentUpdate) {
        assert_eq!(update.number, self.next, "updates have consecutive numbers");
        self.next += 1;
        self.bytes += update.memory();
        self.updates.push_back(update);
    }

    /// Whether more is kept than there is room for; the oldest always has room, or a whole picture
    /// larger than that would be given up for the next one.
    pub(super) fn is_too_much(&self) -> bool {
        let oldest = self.updates.front().map_or(0, SentUpdate::memory);
        self.bytes - oldest > REPAIR_BYTES_MAX || self.updates.len() > REPAIR_UPDATES_MAX
    }

    /// The viewer has handed out all up to `number`.
    pub(super) fn release(&mut self, number: u32, packetizer: &mut Packetizer) -> bool {
        let before = self.updates.len();
        while self.first_number().is_some_and(|it| it <= number)
            && let Some(update) = self.updates.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(update.memory());
            packetizer.recycle(update);
        }
        self.updates.len() < before
    }

    pub(super) fn first_number(&self) -> Option<u32> {
        self.updates.front().map(|it| it.number)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut SentUpdate> {
        let first = self.first_number()?;
        let index = usize::try_from(number.checked_sub(first)?).ok()?;
        self.updates.get_mut(index)
    }

    /// Runs `change` on an update that may take or give back memory.
    pub(super) fn change<R>(
        &mut self,
        number: u32,
        change: impl FnOnce(&mut SentUpdate) -> R,
    ) -> Option<R> {
        let update = self.get_mut(number)?;
        let before = update.memory();
        let result = change(update);
        let after = update.memory();
        self.bytes = self.bytes.saturating_sub(before) + after;
        Some(result)
    }

    /// The oldest update that is not out.
    pub(super) fn waiting(&mut self) -> Option<u32> {
        self.out = self.out.max(self.first_number()?);
        while self.get_mut(self.out).is_some_and(|it| it.is_out()) {
            self.out += 1;
        }
        (self.out < self.next).then_some(self.out)
    }

    /// The updates whose streams have begun.
    pub(super) fn streams(&self) -> impl Iterator<Item = u32> {
        let begun = self.updates.iter().filter(|it| it.has_stream());
        begun.map(|it| it.number)
    }

    /// Bytes of the updates whose streams have begun: QUIC has them, and no report names them.
    pub(super) fn large_bytes(&self) -> usize {
        let begun = self.updates.iter().filter(|it| it.has_stream());
        begun.map(|it| it.length).sum()
    }

    /// An update's stream has nothing more to do. Returns its bytes and when it began to leave,
    /// where all of it has travelled on one path.
    pub(super) fn close_stream(&mut self, number: u32) -> Option<(usize, Instant)> {
        let close = |update: &mut SentUpdate| {
            let Carriage::Stream { since, .. } = update.carriage else {
                return None;
            };
            update.forget_bytes();
            update.carriage = Carriage::Arrived;
            Some((update.length, since?))
        };
        self.change(number, close)?
    }

    /// The path has changed: what is under way tells nothing of either.
    pub(super) fn forget_times(&mut self) {
        for update in &mut self.updates {
            if let Carriage::Stream { since, .. } = &mut update.carriage {
                *since = None;
            }
        }
    }

    /// Whether all updates that are not out only make the picture sharper.
    pub(super) fn waits_only_for_refinement(&mut self) -> bool {
        let waiting = self.waiting().unwrap_or(self.next);
        let newest = self.updates.iter().rev();
        newest
            .take_while(|it| it.number >= waiting)
            .all(|it| it.kind.is_refinement)
    }

    /// The oldest update that is out and whose parity is not.
    pub(super) fn waiting_parity(&mut self) -> Option<u32> {
        self.parity = self.parity.max(self.first_number()?);
        while self.parity < self.out {
            let waits = |it: &mut SentUpdate| it.waits_for_parity();
            if self.get_mut(self.parity).is_some_and(waits) {
                return Some(self.parity);
            }
            self.parity += 1;
        }
        None
    }

    /// The newest update that went out in datagrams.
    pub(super) fn newest_in_datagrams(&self) -> Option<u32> {
        let in_datagrams =
            |it: &&SentUpdate| matches!(it.carriage, Carriage::Datagrams(_)) && it.is_out();
        self.updates
            .iter()
            .rev()
            .find(in_datagrams)
            .map(|it| it.number)
    }

    /// All updates whose datagrams are longer than `max` go by streams from now on.
    pub(super) fn limit_datagrams(&mut self, max: usize) {
        for update in &mut self.updates {
            if update.datagram_len() > max {
                update.turn_to_stream();
                self.out = self.out.min(update.number);
            }
        }
        self.bytes = self.updates.iter().map(SentUpdate::memory).sum();
    }

    /// Gives up the updates from `first` on that are video and nothing else; `reset` gets those
    /// whose streams have begun. Returns the `void` of the next update; `None` where that cannot
    /// name them all.
    pub(super) fn give_up_video(&mut self, first: u32, mut reset: impl FnMut(u32)) -> Option<u32> {
        let mut void = 0;
        for update in &mut self.updates {
            let is_void = matches!(update.carriage, Carriage::Void);
            let is_lost = update.number >= first && update.kind.is_video_only;
            if !is_lost && !is_void {
                continue;
            }
            let distance = self.next - update.number;
            if distance > VOID_MAX {
                return None;
            }
            void |= 1 << (distance - 1);
            if update.has_stream() {
                reset(update.number);
            }
            update.give_up();
        }
        self.bytes = self.updates.iter().map(SentUpdate::memory).sum();
        Some(void)
    }

    /// Whether video that is not yet given up is among `first..=last`.
    pub(super) fn may_give_up(&mut self, first: u32, last: u32) -> bool {
        let from = self.first_number().unwrap_or(self.next);
        let is_video =
            |it: &mut SentUpdate| it.kind.is_video_only && !matches!(it.carriage, Carriage::Void);
        (first.max(from)..=last.min(self.next.saturating_sub(1)))
            .any(|it| self.get_mut(it).is_some_and(is_video))
    }

    /// The first update that names `number` as given up, where it was and the naming one is out
    /// in datagrams.
    pub(super) fn naming_void(&mut self, number: u32) -> Option<u32> {
        let is_void = |it: &SentUpdate| matches!(it.carriage, Carriage::Void);
        self.get_mut(number).filter(|it| is_void(it))?;
        let names = |it: &&SentUpdate| {
            let bit = it
                .number
                .checked_sub(number + 1)
                .filter(|it| *it < VOID_MAX);
            bit.is_some_and(|bit| it.void & (1 << bit) != 0) && it.is_out() && !is_void(it)
        };
        self.updates.iter().find(names).map(|it| it.number)
    }

    /// What was out leaves again.
    pub(super) fn handle_resend(&mut self) {
        self.out = 0;
        self.parity = 0;
    }

    /// Updates that went out in datagrams.
    pub(super) fn numbers_in_datagrams(&self) -> impl Iterator<Item = u32> {
        let in_datagrams =
            |it: &&SentUpdate| matches!(it.carriage, Carriage::Datagrams(_)) && it.is_out();
        self.updates.iter().filter(in_datagrams).map(|it| it.number)
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}
