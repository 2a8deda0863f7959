//! Parity by Reed-Solomon: as many lost fragments of an update are made good as parity came.
//!
//! Each parity fragment is a sum of the data fragments, with factors that its place and theirs
//! give. So each is made by itself, when it is sent, and any of them fill any gaps. The factors
//! are a Cauchy matrix, every square part of which has an inverse, with its columns scaled so
//! that the first row is ones.

mod field;
mod rule;

pub(crate) use self::rule::ParityRule;

use self::field::{add_product, div, mul};
use crate::limits::{FRAGMENTS_MAX, PARITY_MAX};

/// Places of data and parity fragments in the field must differ.
const _: () = assert!(FRAGMENTS_MAX + PARITY_MAX <= 256);

/// Writes parity fragment `index` of `data`, whose fragments have `shard_len` bytes, after what
/// `out` holds.
pub(crate) fn write_parity(data: &[u8], shard_len: usize, index: usize, out: &mut Vec<u8>) {
    let from = out.len();
    out.resize(from + shard_len, 0);
    let parity = out.get_mut(from..).unwrap_or_default();
    for (place, shard) in data.chunks_exact(shard_len).enumerate() {
        add_product(parity, shard, factor(index, place));
    }
}

/// Restores data; keeps its working space.
#[derive(Debug, Default)]
pub(crate) struct Restorer {
    sums: Vec<u8>,
}

/// A square of factors, as large as there are gaps.
type Square = [[u8; PARITY_MAX]; PARITY_MAX];

impl Restorer {
    /// Fills the gaps of `data`, those fragments that `has` denies, from as many parity fragments
    /// with different indices.
    ///
    /// # Panics
    ///
    /// When there is less parity than gaps.
    pub(crate) fn restore<'a>(
        &mut self,
        data: &mut [u8],
        shard_len: usize,
        has: impl Fn(usize) -> bool,
        parity: impl Iterator<Item = (usize, &'a [u8])> + Clone,
    ) {
        let count = data.len() / shard_len;
        let gaps = (0..count).filter(|it| !has(*it));
        let size = gaps.clone().count();
        let parity = parity.take(size);
        assert_eq!(
            parity.clone().count(),
            size,
            "a parity fragment for each gap"
        );
        // What each parity fragment says about the gaps: itself less what is there.
        self.sums.clear();
        for (index, shard) in parity.clone() {
            let from = self.sums.len();
            self.sums.extend(shard);
            let sum = self.sums.get_mut(from..).unwrap_or_default();
            for (place, shard) in data.chunks_exact(shard_len).enumerate() {
                if has(place) {
                    add_product(sum, shard, factor(index, place));
                }
            }
        }
        let mut factors: Square = [[0; PARITY_MAX]; PARITY_MAX];
        for (row, (index, _)) in factors.iter_mut().zip(parity) {
            for (slot, gap) in row.iter_mut().zip(gaps.clone()) {
                *slot = factor(index, gap);
            }
        }
        let inverse = invert(factors, size);
        let shards = data.chunks_exact_mut(shard_len).enumerate();
        let gaps = shards.filter(|(place, _)| !has(*place));
        for ((_, gap), row) in gaps.zip(&inverse) {
            gap.fill(0);
            for (sum, factor) in self.sums.chunks_exact(shard_len).zip(row) {
                add_product(gap, sum, *factor);
            }
        }
    }
}

/// The factor of the data fragment at `place` in parity fragment `index`.
fn factor(index: usize, place: usize) -> u8 {
    // Both are below their limits, and together below 256.
    let row = |index: usize| (FRAGMENTS_MAX + index) as u8;
    let place = place as u8;
    div(row(0) ^ place, row(index) ^ place)
}

/// Inverts the first `size` rows and columns, by Gauss and Jordan.
fn invert(mut left: Square, size: usize) -> Square {
    let mut right: Square = [[0; PARITY_MAX]; PARITY_MAX];
    for (at, row) in right.iter_mut().enumerate() {
        row.iter_mut().skip(at).take(1).for_each(|it| *it = 1);
    }
    for at in 0..size {
        let entry = |rows: &Square, row: usize| {
            let row = rows.get(row).and_then(|it| it.get(at));
            row.copied().unwrap_or_default()
        };
        // Every leading part of a Cauchy matrix has an inverse, so no rows need be swapped.
        let pivot = entry(&left, at);
        assert_ne!(pivot, 0, "a Cauchy matrix has an inverse");
        for rows in [&mut left, &mut right] {
            let row = rows.iter_mut().skip(at).take(1).flatten();
            row.for_each(|it| *it = div(*it, pivot));
        }
        for row in (0..size).filter(|it| *it != at) {
            let times = entry(&left, row);
            subtract(&mut left, row, at, times);
            subtract(&mut right, row, at, times);
        }
    }
    right
}

/// Takes `times` one row from another.
fn subtract(rows: &mut Square, from: usize, row: usize, times: u8) {
    let Ok([from, row]) = rows.get_disjoint_mut([from, row]) else {
        return;
    };
    for (to, it) in from.iter_mut().zip(row) {
        *to ^= mul(*it, times);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: usize = 6;

    fn content(count: usize) -> Vec<u8> {
        (0..count * SHARD).map(|it| (it * 37 + 11) as u8).collect()
    }

    fn parity(data: &[u8], index: usize) -> Vec<u8> {
        let mut out = Vec::new();
        write_parity(data, SHARD, index, &mut out);
        out
    }

    /// The data come back from any fragments, as many as there were: here those that `lost`
    /// leaves, and the parity that `order` names.
    #[track_caller]
    fn check(count: usize, lost: impl Fn(usize) -> bool, order: impl Fn(usize) -> usize) {
        let data = content(count);
        let mut got = data.clone();
        for (index, slot) in got.chunks_exact_mut(SHARD).enumerate() {
            if lost(index) {
                slot.fill(0xee);
            }
        }
        let missing = (0..count).filter(|it| lost(*it)).count();
        let parity: Vec<_> = (0..missing)
            .map(|it| (order(it), parity(&data, order(it))))
            .collect();
        let placed = parity.iter().map(|(index, it)| (*index, it.as_slice()));
        Restorer::default().restore(&mut got, SHARD, |it| !lost(it), placed);
        assert_eq!(got, data, "{count}");
    }

    #[test]
    fn any_fragments_as_many_as_the_data_give_the_data() {
        for count in 1..=FRAGMENTS_MAX {
            check(count, |it| it == 0, |it| it);
            check(count, |it| it + 1 == count, |_| PARITY_MAX - 1);
            check(count, |it| it % 2 == 1, |it| PARITY_MAX - 1 - it);
            check(count, |it| it < PARITY_MAX, |it| it);
            check(count, |it| it % 3 == 0, |it| (it * 7 + 5) % PARITY_MAX);
        }
    }

    #[test]
    fn nothing_lost_is_nothing_changed() {
        check(5, |_| false, |it| it);
    }

    #[test]
    fn the_first_parity_is_the_exclusive_or() {
        let data = content(18);
        let shards = data.chunks_exact(SHARD);
        let sum = |at: usize| shards.clone().fold(0, |sum, it| sum ^ it[at]);
        assert_eq!(parity(&data, 0), (0..SHARD).map(sum).collect::<Vec<_>>());
        let copy = content(1);
        assert_eq!(parity(&copy, 0), copy);
    }

    /// A viewer that was shipped restores from these bytes.
    #[test]
    fn the_bytes_of_parity_never_change() {
        let mut out = Vec::new();
        for index in [0, 1, 31] {
            write_parity(b"abcdef", 2, index, &mut out);
        }
        assert_eq!(out, GOLDEN);
    }

    const GOLDEN: [u8; 6] = [103, 96, 230, 224, 95, 90];
}
