//! Pieces of rows that tell how far the picture around them has moved.

use super::Offset;
use crate::screen::picture::Picture;
use crate::screen::view::View;
use crate::{Pixel, Rect};

/// Pixels of a piece: four letters, enough to tell words apart.
const PIECE: u16 = 32;

/// Columns and rows in which pieces are taken: at most 288.
const COLUMNS: u16 = 9;
const ROWS: u16 = 32;

/// Pieces that look the same as so many others say nothing.
const SAME_MAX: usize = 3;

/// One in so many pieces, and at least a few, must agree.
const AGREE: usize = 8;
const AGREE_MIN: u32 = 4;

/// Distances that are worth measuring.
const CANDIDATES: usize = 3;

/// Distances that votes are counted for.
const DISTANCES: usize = 1 << 10;

/// Bits of a hash that a first look decides by.
const FILTER_BITS: u32 = 14;

/// A factor whose powers reach all bits.
const FACTOR: u32 = 0x9E37_79B1;

#[derive(Clone, Copy, Debug)]
struct Anchor {
    hash: u32,
    x: u16,
    y: u16,
}

#[derive(Clone, Copy, Debug, Default)]
struct Vote {
    offset: Offset,
    count: u32,
}

/// The pieces of one picture, in the order of their hashes.
#[derive(Debug)]
pub(super) struct Anchors {
    anchors: Vec<Anchor>,
    columns: Vec<u16>,
    /// A bit for each hash that may be there.
    filter: Box<[u64]>,
    votes: Box<[Vote]>,
}

impl Default for Anchors {
    fn default() -> Self {
        Self {
            anchors: Vec::with_capacity(usize::from(COLUMNS * ROWS)),
            columns: Vec::with_capacity(COLUMNS.into()),
            filter: vec![0; 1 << (FILTER_BITS - 6)].into(),
            votes: vec![Vote::default(); DISTANCES].into(),
        }
    }
}

impl Anchors {
    /// Takes pieces of what is new in `area`, which is at least a piece wide.
    pub(super) fn take(&mut self, old: &Picture, new: &View<'_>, area: Rect) {
        self.anchors.clear();
        self.columns.clear();
        self.filter.fill(0);
        let room = area.width.saturating_sub(PIECE);
        let columns = (0..COLUMNS).map(|it| area.x + spread(room, it, COLUMNS));
        self.columns.extend(columns);
        self.columns.dedup();
        // Pixel rows: the middle of each of so many equal parts.
        let step = area.height.div_ceil(ROWS).max(1);
        for y in (area.y + step / 2..area.bottom()).step_by(step.into()) {
            for x in &self.columns {
                let piece = Rect::between(*x, y, *x + PIECE, y + 1);
                let new = new.rows(piece).next();
                let Some((new, old)) = new.zip(old.rows(piece).next()) else {
                    continue;
                };
                let first = new.pixels().next();
                let is_flat = new.pixels().all(|it| Some(it) == first);
                if !is_flat && !new.is_same(old) {
                    let hash = hash(new.pixels());
                    self.anchors.push(Anchor { hash, x: *x, y });
                }
            }
        }
        self.drop_common();
        for Anchor { hash, .. } in &self.anchors {
            let (word, bit) = place(*hash);
            if let Some(word) = self.filter.get_mut(word) {
                *word |= bit;
            }
        }
    }

    fn drop_common(&mut self) {
        self.anchors
            .sort_unstable_by_key(|it| (it.hash, it.y, it.x));
        let mut kept = 0;
        let mut at = 0;
        while let Some(first) = self.anchors.get(at) {
            let hash = first.hash;
            let same = self.anchors.iter().skip(at);
            let count = same.take_while(|it| it.hash == hash).count();
            if count <= SAME_MAX {
                self.anchors.copy_within(at..at + count, kept);
                kept += count;
            }
            at += count;
        }
        self.anchors.truncate(kept);
    }

    /// Lets the pieces vote for distances straight up or down.
    pub(super) fn search_same_columns(&mut self, old: &Picture, area: Rect) {
        self.votes.fill(Vote::default());
        let columns = std::mem::take(&mut self.columns);
        for x in columns.iter().copied() {
            let strip = Rect::between(x, area.y, x + PIECE, area.bottom());
            for (y, row) in (area.y..).zip(old.rows(strip)) {
                let hash = hash(row.iter().copied());
                if self.may_hold(hash) {
                    self.vote(hash, x, y, |anchor| anchor.x == x);
                }
            }
        }
        self.columns = columns;
        self.sort_votes();
    }

    /// Lets the pieces vote for distances in any direction.
    pub(super) fn search_everywhere(&mut self, old: &Picture, area: Rect) {
        self.votes.fill(Vote::default());
        for (y, row) in (area.y..).zip(old.rows(area)) {
            self.search_row(row, area.x, y);
        }
        self.sort_votes();
    }

    /// Rolls the hash along a row.
    fn search_row(&mut self, row: &[Pixel], left: u16, y: u16) {
        let piece = usize::from(PIECE);
        let Some(first) = row.get(..piece) else {
            return;
        };
        let mut sum = hash(first.iter().copied());
        let leaving = (0..PIECE).fold(1, |power: u32, _| power.wrapping_mul(FACTOR));
        let ends = row.iter().zip(row.iter().skip(piece));
        let mut x = left;
        for (out, entering) in ends {
            if self.may_hold(sum) {
                self.vote(sum, x, y, |_| true);
            }
            sum = sum
                .wrapping_mul(FACTOR)
                .wrapping_add(entering + 1)
                .wrapping_sub((out + 1).wrapping_mul(leaving));
            x += 1;
        }
        if self.may_hold(sum) {
            self.vote(sum, x, y, |_| true);
        }
    }

    fn may_hold(&self, hash: u32) -> bool {
        let (word, bit) = place(hash);
        self.filter.get(word).is_some_and(|it| it & bit != 0)
    }

    /// The old picture has a piece at this place.
    fn vote(&mut self, hash: u32, x: u16, y: u16, counts: impl Fn(&Anchor) -> bool) {
        let first = self.anchors.partition_point(|it| it.hash < hash);
        let same = self.anchors.iter().skip(first);
        for anchor in same
            .take_while(|it| it.hash == hash)
            .filter(|it| counts(it))
        {
            let offset = Offset {
                x: i32::from(x) - i32::from(anchor.x),
                y: i32::from(y) - i32::from(anchor.y),
            };
            if offset != Offset::default() {
                count(&mut self.votes, offset);
            }
        }
    }

    /// Sorts the votes, the most first.
    fn sort_votes(&mut self) {
        self.votes
            .sort_unstable_by_key(|it| (std::cmp::Reverse(it.count), it.offset));
    }

    /// The distances that most pieces agree on. Rows of text often equal the next: then there are
    /// several with almost as many votes.
    pub(super) fn candidates(&self) -> impl Iterator<Item = Offset> {
        let wanted = u32::try_from(self.anchors.len() / AGREE).unwrap_or(u32::MAX);
        let most = self.votes.first().map_or(0, |it| it.count);
        let wanted = wanted.max(AGREE_MIN).max(most - most / 4);
        let votes = self.votes.iter().take(CANDIDATES);
        votes
            .filter(move |it| it.count >= wanted)
            .map(|it| it.offset)
    }
}

/// Counts a vote; where there is no room for another distance, it is lost.
fn count(votes: &mut [Vote], offset: Offset) {
    let mixed = offset
        .x
        .wrapping_mul(31)
        .wrapping_add(offset.y)
        .cast_unsigned();
    let start = mixed.wrapping_mul(FACTOR) as usize >> 22;
    for probe in 0..8 {
        if let Some(vote) = votes.get_mut((start + probe) % DISTANCES)
            && (vote.count == 0 || vote.offset == offset)
        {
            vote.offset = offset;
            vote.count += 1;
            return;
        }
    }
}

/// The `n`th of `count` places in `room`, both ends taken.
fn spread(room: u16, n: u16, count: u16) -> u16 {
    let place = u32::from(room) * u32::from(n) / u32::from(count - 1).max(1);
    u16::try_from(place).unwrap_or(room)
}

/// A polynomial, so that it can be rolled.
fn hash(pixels: impl Iterator<Item = Pixel>) -> u32 {
    pixels.fold(0, |sum: u32, it| {
        sum.wrapping_mul(FACTOR).wrapping_add(it + 1)
    })
}

/// The word and bit of the filter for a hash.
const fn place(hash: u32) -> (usize, u64) {
    let bits = hash.wrapping_mul(FACTOR) >> (32 - FILTER_BITS);
    ((bits >> 6) as usize, 1 << (bits & 63))
}
