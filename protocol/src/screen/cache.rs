//! Tiles that were on the screen and may come back, at both ends.
//!
//! The server alone decides what is in which slot: it remembers the tiles by a hash of their
//! pixels. The viewer holds the pixels and does what it is told.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::picture::{PIXEL_BYTES, bytes_of};
use crate::limits::{CACHE_SLOTS_MAX, TILE_SIDE};
use crate::{Pixel, Rect};

const TILE_BYTES: usize = TILE_SIDE as usize * TILE_SIDE as usize * PIXEL_BYTES;

/// Bytes that a slot takes at the viewer.
pub const SLOT_BYTES: usize = TILE_BYTES;

/// A tile's name: its pixels' hash, and its width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(u128, u16);

/// Makes names of tiles. The seed is secret, so that no program on the desktop can draw two tiles
/// of one name.
#[derive(Debug)]
pub(super) struct Namer {
    seed: u64,
    bytes: Box<[u8]>,
}

impl Namer {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            bytes: vec![0; TILE_BYTES].into(),
        }
    }

    /// Names at most a tile's pixels, in rows of `width`.
    pub(super) fn key(&mut self, pixels: &[Pixel], width: u16) -> Key {
        let bytes = bytes_of(pixels, &mut self.bytes);
        Key(xxh3_128_with_seed(bytes, self.seed), width)
    }
}

/// The server's half: which tile is in which slot. The slot that was used longest ago is taken
/// for a new tile.
#[derive(Debug)]
pub(super) struct Index {
    slots: HashMap<Key, u16>,
    entries: Vec<Entry>,
    capacity: u16,
    /// Ends of the list of entries in the order of their use.
    newest: u16,
    oldest: u16,
    round: u32,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    /// Neighbours in that order; an end is its own.
    newer: u16,
    older: u16,
    /// When it was last used.
    round: u32,
}

impl Index {
    /// An empty one.
    pub(super) fn new(capacity: u16) -> Self {
        let capacity = capacity.min(CACHE_SLOTS_MAX);
        Self {
            slots: HashMap::with_capacity(capacity.into()),
            entries: Vec::with_capacity(capacity.into()),
            capacity,
            newest: 0,
            oldest: 0,
            round: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.entries.clear();
        (self.newest, self.oldest) = (0, 0);
    }

    /// An update begins. What it uses it does not evict.
    pub(super) const fn begin(&mut self) {
        self.round = self.round.wrapping_add(1);
    }

    /// The slot of a tile, which counts as used.
    pub(super) fn find(&mut self, key: Key) -> Option<u16> {
        let slot = *self.slots.get(&key)?;
        self.unlink(slot);
        self.link_newest(slot);
        Some(slot)
    }

    pub(super) fn contains(&self, key: Key) -> bool {
        self.slots.contains_key(&key)
    }

    /// Makes room for a tile that is not there; `None` where this update has used all slots.
    pub(super) fn insert(&mut self, key: Key) -> Option<u16> {
        let count = u16::try_from(self.entries.len()).ok()?;
        let slot = if count < self.capacity {
            self.entries.push(Entry {
                key,
                newer: count,
                older: count,
                round: self.round,
            });
            count
        } else {
            let slot = self.oldest;
            let entry = self.entries.get(usize::from(slot))?;
            if entry.round == self.round {
                return None;
            }
            self.slots.remove(&entry.key);
            self.unlink(slot);
            self.entries.get_mut(usize::from(slot))?.key = key;
            slot
        };
        self.link_newest(slot);
        self.slots.insert(key, slot);
        Some(slot)
    }

    fn entry(&mut self, slot: u16) -> &mut Entry {
        self.entries
            .get_mut(usize::from(slot))
            .expect("slots are numbers of entries")
    }

    fn unlink(&mut self, slot: u16) {
        let Entry { newer, older, .. } = *self.entry(slot);
        match (newer == slot, older == slot) {
            (true, true) => (),
            (true, false) => {
                self.newest = older;
                self.entry(older).newer = older;
            }
            (false, true) => {
                self.oldest = newer;
                self.entry(newer).older = newer;
            }
            (false, false) => {
                self.entry(newer).older = older;
                self.entry(older).newer = newer;
            }
        }
    }

    /// The entry is in no list: the only one, or unlinked.
    fn link_newest(&mut self, slot: u16) {
        let round = self.round;
        let is_only = self.entries.len() == 1;
        let older = if is_only { slot } else { self.newest };
        if !is_only {
            self.entry(older).newer = slot;
        }
        let entry = self.entry(slot);
        (entry.newer, entry.older, entry.round) = (slot, older, round);
        self.newest = slot;
    }
}

/// The viewer's half: the pixels.
#[derive(Debug)]
pub(super) struct Store {
    slots: Vec<Vec<Pixel>>,
    capacity: u16,
}

impl Store {
    /// An empty one, which grows up to `capacity` tiles.
    pub(super) fn new(capacity: u16) -> Self {
        Self {
            slots: Vec::new(),
            capacity: capacity.min(CACHE_SLOTS_MAX),
        }
    }

    /// Forgets all tiles, and keeps their memory.
    pub(super) fn clear(&mut self) {
        for slot in &mut self.slots {
            slot.clear();
        }
    }

    /// An emptied slot to be filled; `None` for one beyond the capacity.
    pub(super) fn fill(&mut self, slot: u16) -> Option<&mut Vec<Pixel>> {
        if slot >= self.capacity {
            return None;
        }
        let slot = usize::from(slot);
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, Vec::new);
        }
        let pixels = self.slots.get_mut(slot)?;
        pixels.clear();
        Some(pixels)
    }

    /// The pixels of a slot, where they are as many as the rectangle has.
    pub(super) fn pixels(&self, slot: u16, rect: Rect) -> Option<&[Pixel]> {
        let pixels = self.slots.get(usize::from(slot))?;
        (pixels.len() == rect.area()).then_some(pixels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::sample::Random;

    fn key(name: u32) -> Key {
        Key(name.into(), 64)
    }

    #[test]
    fn the_slot_that_was_used_longest_ago_is_taken() {
        let mut index = Index::new(3);
        for name in 1..=3 {
            index.begin();
            assert_eq!(
                index.insert(key(name)),
                Some(u16::try_from(name).unwrap() - 1)
            );
        }
        index.begin();
        assert_eq!(index.find(key(1)), Some(0));
        assert_eq!(index.insert(key(4)), Some(1), "2 is the oldest");
        assert_eq!(index.find(key(2)), None);
        assert_eq!(index.insert(key(5)), Some(2), "then 3");
        assert_eq!(index.insert(key(6)), None, "1, 4 and 5 are of this update");
        index.begin();
        assert_eq!(index.insert(key(6)), Some(0));
    }

    #[test]
    fn no_capacity_is_no_cache() {
        let mut index = Index::new(0);
        assert_eq!(index.insert(key(1)), None);
        assert_eq!(index.find(key(1)), None);
        assert!(Store::new(0).fill(0).is_none());
    }

    /// Against a list that is searched.
    #[test]
    fn the_order_of_use_is_kept_through_any_history() {
        for capacity in [1, 2, 7] {
            let mut random = Random::new(5);
            let mut index = Index::new(capacity);
            let mut model: Vec<Key> = Vec::new();
            for _ in 0..2_000 {
                index.begin();
                let key = key(random.below(12));
                let is_there = model.contains(&key);
                assert_eq!(index.contains(key), is_there);
                model.retain(|it| *it != key);
                if is_there {
                    assert!(index.find(key).is_some());
                } else {
                    assert!(index.insert(key).is_some());
                    model.truncate(usize::from(capacity) - 1);
                }
                model.insert(0, key);
                if random.below(200) == 0 {
                    index.clear();
                    model.clear();
                }
            }
        }
    }

    #[test]
    fn a_store_grows_to_its_capacity_and_gives_whole_tiles_only() {
        let mut store = Store::new(2);
        let rect = Rect::between(0, 0, 2, 1);
        store.fill(1).unwrap().extend([1, 2]);
        assert_eq!(store.pixels(1, rect), Some([1, 2].as_slice()));
        assert_eq!(store.pixels(1, Rect::between(0, 0, 1, 1)), None);
        assert_eq!(store.pixels(0, rect), None);
        assert!(store.fill(2).is_none());
        store.clear();
        assert_eq!(store.pixels(1, rect), None);
    }

    #[test]
    fn names_tell_shapes_and_seeds_apart() {
        let (a, b) = ([1, 2, 3, 4], [1, 2, 3, 5]);
        let mut namer = Namer::new(7);
        assert_eq!(namer.key(&a, 2), namer.key(&a, 2));
        assert_ne!(namer.key(&a, 2), namer.key(&b, 2));
        assert_ne!(namer.key(&a, 2), namer.key(&a, 4));
        assert_ne!(namer.key(&a, 2), Namer::new(8).key(&a, 2));
    }
}
