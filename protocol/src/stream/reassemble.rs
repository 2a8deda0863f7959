//! Puts updates together from their fragments and hands them out in order.
//!
//! Memory is bounded: what lies too far ahead, or finds no room, is dropped and asked for again.
//! The oldest update always has room, so the stream cannot lock.

use std::collections::VecDeque;
use std::time::Instant;

use super::nack::{Ask, Patience};
use super::parity::Restorer;
use crate::limits::{
    DATAGRAM_UPDATE_BYTES_MAX, FRAGMENTS_MAX, NACK_UPDATES_MAX, PARITY_MAX, REASSEMBLY_BYTES_MAX,
    REORDER_UPDATES_MAX,
};
use crate::wire::datagram::{Epoch, Fragment, FragmentFlags};
use crate::wire::update_stream::StreamHeader;

/// Buffers that wait to be used again.
const SPARE_MAX: usize = NACK_UPDATES_MAX;

/// A bit for each fragment.
const _: () = assert!(FRAGMENTS_MAX + PARITY_MAX <= u128::BITS as usize);

/// An update as it is handed out, whole and in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update<'a> {
    /// Its epoch.
    pub epoch: Epoch,
    /// Its number in the epoch.
    pub number: u32,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Updates before it were given up, and no video since then recovers: leave its video out.
    pub is_video_broken: bool,
}

/// What to do with an update's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamVerdict {
    /// Read it to its end and hand it in.
    Read,
    /// Ask again when an update was handed out: there is no room yet.
    Later,
    /// Stop it: it is not needed.
    Stop,
}

/// Fragments of one update disagree: the sender is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fragments of update {update} disagree about its length")]
pub struct Disagreement {
    /// Which update.
    pub update: u32,
}

/// Updates between the oldest that is not handed out and the newest of which something came.
#[derive(Debug)]
pub(crate) struct Reassembler {
    epoch: Option<Epoch>,
    /// The update in the first slot.
    next: u32,
    slots: VecDeque<Slot>,
    bytes: usize,
    spare: Vec<Vec<u8>>,
    restorer: Restorer,
    is_video_broken: bool,
    /// What was handed out last.
    current: Vec<u8>,
    pub(crate) patience: Patience,
}

#[derive(Debug, Default)]
pub(crate) struct Slot {
    state: State,
    pub(crate) ask: Ask,
}

#[derive(Debug, Default)]
enum State {
    /// Nothing came.
    #[default]
    Missing,
    Partial(Partial),
    /// It comes by a stream of its own.
    OnStream,
    Complete {
        bytes: Vec<u8>,
        flags: FragmentFlags,
    },
    /// Given up by the sender.
    Void,
}

#[derive(Debug)]
struct Partial {
    flags: FragmentFlags,
    length: u16,
    shard_len: usize,
    data: usize,
    /// Which fragments came, by index.
    has: u128,
    /// Place for all data.
    bytes: Vec<u8>,
    /// The parity that came, in that order, and its indices.
    parity: Vec<u8>,
    parity_indices: [u8; PARITY_MAX],
}

impl Default for Reassembler {
    fn default() -> Self {
        Self {
            epoch: None,
            next: 1,
            slots: VecDeque::new(),
            bytes: 0,
            spare: Vec::new(),
            restorer: Restorer::default(),
            is_video_broken: false,
            current: Vec::new(),
            patience: Patience::default(),
        }
    }
}

impl Reassembler {
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch.unwrap_or_default()
    }

    /// The newest update handed out; 0 before the first.
    pub(crate) const fn delivered(&self) -> u32 {
        self.next - 1
    }

    /// The newest update of which something is known.
    pub(crate) fn newest(&self) -> u32 {
        // At most `REORDER_UPDATES_MAX` slots.
        self.next - 1 + self.slots.len() as u32
    }

    /// A fragment came.
    pub(crate) fn handle_fragment(
        &mut self,
        now: Instant,
        fragment: &Fragment<'_>,
    ) -> Result<(), Disagreement> {
        let header = &fragment.header;
        self.patience.handle_fragment(now);
        let Some(index) = self.place(now, header.epoch, header.update, header.void) else {
            return Ok(());
        };
        self.add(now, index, fragment)
    }

    /// An update's stream was opened.
    pub(crate) fn handle_stream(&mut self, now: Instant, header: &StreamHeader) -> StreamVerdict {
        let Some(index) = self.place(now, header.epoch, header.update, header.void) else {
            return StreamVerdict::Stop;
        };
        let has_room = index == 0 || self.bytes + header.length as usize <= REASSEMBLY_BYTES_MAX;
        let Some(slot) = self.slots.get_mut(index) else {
            return StreamVerdict::Stop;
        };
        match slot.state {
            State::Missing | State::Partial(_) | State::OnStream => {
                self.bytes -= slot.state.memory();
                slot.state = State::OnStream;
            }
            State::Complete { .. } | State::Void => return StreamVerdict::Stop,
        }
        if has_room {
            StreamVerdict::Read
        } else {
            StreamVerdict::Later
        }
    }

    /// An update's stream was read to its end.
    pub(crate) fn handle_stream_update(
        &mut self,
        now: Instant,
        header: &StreamHeader,
        bytes: Vec<u8>,
    ) -> Result<(), Disagreement> {
        if bytes.len() != header.length as usize {
            return Err(Disagreement {
                update: header.update,
            });
        }
        let index = self.place(now, header.epoch, header.update, header.void);
        if let Some(slot) = index.and_then(|it| self.slots.get_mut(it)) {
            match slot.state {
                State::Missing | State::Partial(_) | State::OnStream => {
                    self.bytes = self.bytes - slot.state.memory() + bytes.len();
                    slot.state = State::Complete {
                        bytes,
                        flags: header.flags,
                    };
                }
                State::Complete { .. } | State::Void => (),
            }
        }
        Ok(())
    }

    /// Hands out the next update, where it is whole.
    pub(crate) fn poll_update(&mut self) -> Option<Update<'_>> {
        loop {
            let is_due = |it: &&Slot| matches!(it.state, State::Complete { .. } | State::Void);
            self.slots.front().filter(is_due)?;
            let slot = self.slots.pop_front()?;
            self.next += 1;
            self.bytes -= slot.state.memory();
            let State::Complete { bytes, flags } = slot.state else {
                self.is_video_broken = true;
                continue;
            };
            if flags.recovers {
                self.is_video_broken = false;
            }
            let last = std::mem::replace(&mut self.current, bytes);
            self.put_back(last);
            return Some(Update {
                epoch: self.epoch.unwrap_or_default(),
                number: self.next - 1,
                bytes: &self.current,
                is_video_broken: self.is_video_broken,
            });
        }
    }

    /// Updates that miss fragments, with their numbers and what they miss; `None`: all.
    pub(crate) fn incomplete(&mut self) -> impl Iterator<Item = (u32, Option<usize>, &mut Ask)> {
        let numbered = (self.next..).zip(&mut self.slots);
        numbered.filter_map(|(number, slot)| match &slot.state {
            State::Missing => Some((number, None, &mut slot.ask)),
            State::Partial(partial) => Some((number, Some(partial.missing()), &mut slot.ask)),
            State::OnStream | State::Complete { .. } | State::Void => None,
        })
    }

    /// When the first of the updates that miss fragments is to be asked for.
    pub(crate) fn ask_at(&self) -> Option<Instant> {
        let incomplete = self.slots.iter().filter(|it| it.state.is_incomplete());
        incomplete.filter_map(|it| it.ask.at()).min()
    }

    /// Whether the oldest update misses fragments that have not just left.
    pub(crate) fn is_blocked(&self) -> bool {
        self.slots
            .front()
            .is_some_and(|it| it.state.is_incomplete() && it.ask.was_asked())
    }

    /// The updates from the oldest to the newest that miss fragments.
    pub(crate) fn blocked(&self) -> Option<(u32, u32)> {
        let last = self.slots.iter().rposition(|it| it.state.is_incomplete())?;
        Some((self.next, self.next + last as u32))
    }

    pub(crate) const fn memory(&self) -> usize {
        self.bytes
    }

    /// The slot of an update that is still to come; `None` where it is not needed, or too far
    /// ahead.
    fn place(&mut self, now: Instant, epoch: Epoch, update: u32, void: u32) -> Option<usize> {
        match self.epoch {
            Some(present) if present == epoch => (),
            Some(present) if !epoch.is_after(present) => return None,
            Some(_) | None => self.begin(epoch),
        }
        let distance = update.checked_sub(self.next)?;
        if distance >= REORDER_UPDATES_MAX {
            return None;
        }
        let index = distance as usize;
        if index >= self.slots.len() {
            for slot in &mut self.slots {
                slot.ask.handle_gap(now, &self.patience);
            }
            let mut skipped = Slot::default();
            skipped.ask.handle_gap(now, &self.patience);
            while self.slots.len() < index {
                let ask = skipped.ask;
                self.slots.push_back(Slot {
                    state: State::Missing,
                    ask,
                });
            }
            self.slots.push_back(Slot::default());
        }
        if void != 0 {
            self.handle_void(update, void);
        }
        Some(index)
    }

    /// A newer epoch begins with a whole picture: nothing before it is needed.
    fn begin(&mut self, epoch: Epoch) {
        while let Some(slot) = self.slots.pop_front() {
            self.recycle(slot.state);
        }
        self.epoch = Some(epoch);
        self.next = 1;
        self.bytes = 0;
        self.is_video_broken = false;
    }

    fn handle_void(&mut self, update: u32, void: u32) {
        for bit in (0..u32::BITS).filter(|it| void & (1 << it) != 0) {
            let index = update
                .checked_sub(bit + 1)
                .and_then(|it| it.checked_sub(self.next));
            if let Some(slot) = index.and_then(|it| self.slots.get_mut(it as usize)) {
                self.bytes -= slot.state.memory();
                let before = std::mem::replace(&mut slot.state, State::Void);
                self.recycle(before);
            }
        }
    }

    fn add(
        &mut self,
        now: Instant,
        index: usize,
        fragment: &Fragment<'_>,
    ) -> Result<(), Disagreement> {
        let most = 2 * fragment.data_count() * fragment.shard.len();
        let has_room = index == 0 || self.bytes + most <= REASSEMBLY_BYTES_MAX;
        let Some(slot) = self.slots.get_mut(index) else {
            return Ok(());
        };
        if matches!(slot.state, State::Missing) && has_room {
            let mut buffer = || self.spare.pop().unwrap_or_default();
            slot.state = State::Partial(Partial::new(fragment, buffer(), buffer()));
            self.bytes += slot.state.memory();
        }
        let State::Partial(partial) = &mut slot.state else {
            return Ok(());
        };
        if !partial.agrees_with(fragment) {
            return Err(Disagreement {
                update: fragment.header.update,
            });
        }
        let before = partial.memory();
        if !partial.add(fragment) {
            return Ok(());
        }
        self.bytes += partial.memory() - before;
        if slot.ask.was_asked() && !fragment.header.flags.is_repair {
            self.patience.handle_late(now);
        }
        if partial.missing() > 0 {
            slot.ask.handle_fragment(now, &self.patience);
            return Ok(());
        }
        self.complete(index);
        Ok(())
    }

    fn complete(&mut self, index: usize) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let State::Partial(mut partial) = std::mem::take(&mut slot.state) else {
            return;
        };
        self.bytes -= partial.memory();
        partial.restore(&mut self.restorer);
        self.bytes += partial.bytes.len();
        slot.state = State::Complete {
            bytes: partial.bytes,
            flags: partial.flags,
        };
        self.put_back(partial.parity);
    }

    fn recycle(&mut self, state: State) {
        match state {
            State::Partial(partial) => {
                self.put_back(partial.bytes);
                self.put_back(partial.parity);
            }
            State::Complete { bytes, .. } => self.put_back(bytes),
            State::Missing | State::OnStream | State::Void => (),
        }
    }

    fn put_back(&mut self, mut buffer: Vec<u8>) {
        let is_useful = (1..=2 * DATAGRAM_UPDATE_BYTES_MAX).contains(&buffer.capacity());
        if is_useful && self.spare.len() < SPARE_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}

impl State {
    const fn is_incomplete(&self) -> bool {
        matches!(self, Self::Missing | Self::Partial(_))
    }

    fn memory(&self) -> usize {
        match self {
            Self::Partial(partial) => partial.memory(),
            Self::Complete { bytes, .. } => bytes.len(),
            Self::Missing | Self::OnStream | Self::Void => 0,
        }
    }
}

impl Partial {
    fn new(fragment: &Fragment<'_>, mut bytes: Vec<u8>, mut parity: Vec<u8>) -> Self {
        let (data, shard_len) = (fragment.data_count(), fragment.shard.len());
        bytes.clear();
        bytes.resize(data * shard_len, 0);
        parity.clear();
        Self {
            flags: fragment.header.flags,
            length: fragment.header.length,
            shard_len,
            data,
            has: 0,
            bytes,
            parity,
            parity_indices: [0; PARITY_MAX],
        }
    }

    fn memory(&self) -> usize {
        self.bytes.len() + self.parity.len()
    }

    fn agrees_with(&self, fragment: &Fragment<'_>) -> bool {
        self.length == fragment.header.length && self.shard_len == fragment.shard.len()
    }

    fn missing(&self) -> usize {
        self.data.saturating_sub(self.has.count_ones() as usize)
    }

    /// Returns whether the fragment is one that was not there.
    fn add(&mut self, fragment: &Fragment<'_>) -> bool {
        let index = fragment.header.index;
        let bit = 1 << index;
        if self.has & bit != 0 {
            return false;
        }
        self.has |= bit;
        let mut slots = self.bytes.chunks_exact_mut(self.shard_len);
        match slots.nth(usize::from(index)) {
            Some(slot) => slot.copy_from_slice(fragment.shard),
            None => {
                let count = self.parity.len() / self.shard_len;
                if let Some(slot) = self.parity_indices.get_mut(count) {
                    *slot = index;
                }
                self.parity.extend(fragment.shard);
            }
        }
        true
    }

    /// Fills in what is missing, and cuts what was padded.
    fn restore(&mut self, restorer: &mut Restorer) {
        let indices = self.parity_indices.iter();
        let indices = indices.map(|it| usize::from(*it) - self.data);
        let shards = self.parity.chunks_exact(self.shard_len);
        let has = self.has;
        if !self.parity.is_empty() {
            restorer.restore(
                &mut self.bytes,
                self.shard_len,
                |place| has & (1 << place) != 0,
                indices.zip(shards),
            );
        }
        self.bytes.truncate(usize::from(self.length));
    }
}

#[cfg(test)]
#[path = "reassemble_tests.rs"]
mod tests;
