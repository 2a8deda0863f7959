//! Parity by Reed-Solomon: as many lost fragments of an update are made good as parity came.
//!
//! The code's size follows from the number of data fragments alone, so that a few parity
//! fragments can leave at once and others of the same code later, when they are asked for.

mod rule;

pub(crate) use self::rule::ParityRule;

use std::fmt;

use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};

/// Parity fragments of a short update's code.
const CODE_SIZE_MIN: usize = 4;

/// Parity fragments that there are for `data` fragments.
pub const fn code_size(data: usize) -> usize {
    let half = data.div_ceil(2).next_power_of_two();
    if half < CODE_SIZE_MIN {
        CODE_SIZE_MIN
    } else {
        half
    }
}

/// Makes parity; keeps its working space.
#[derive(Default)]
pub(crate) struct ParityEncoder(Option<ReedSolomonEncoder>);

/// Restores data; keeps its working space.
#[derive(Default)]
pub(crate) struct ParityDecoder(Option<ReedSolomonDecoder>);

/// A fragment and its place: data first, parity after it.
pub(crate) type Placed<'a> = (usize, &'a [u8]);

impl ParityEncoder {
    /// Writes all parity of `data`, whose fragments have `shard_len` bytes.
    ///
    /// # Panics
    ///
    /// When the data are no whole fragments of even length.
    pub(crate) fn encode(&mut self, data: &[u8], shard_len: usize, parity: &mut Vec<u8>) {
        let count = data.len() / shard_len;
        let size = code_size(count);
        parity.clear();
        if count == 1 {
            (0..size).for_each(|_| parity.extend(data));
            return;
        }
        let coder = match &mut self.0 {
            Some(coder) => {
                coder.reset(count, size, shard_len).expect(SUPPORTED);
                coder
            }
            none => none.insert(ReedSolomonEncoder::new(count, size, shard_len).expect(SUPPORTED)),
        };
        for shard in data.chunks_exact(shard_len) {
            coder.add_original_shard(shard).expect(SUPPORTED);
        }
        let coded = coder.encode().expect(SUPPORTED);
        for shard in coded.recovery_iter() {
            parity.extend(shard);
        }
    }
}

impl ParityDecoder {
    /// Fills what is missing of `data` from any distinct fragments, at least as many as there are
    /// data fragments. `has` tells which data fragments are there.
    ///
    /// # Panics
    ///
    /// When there are too few fragments, or one twice.
    pub(crate) fn decode<'a>(
        &mut self,
        data: &mut [u8],
        shard_len: usize,
        has: impl Fn(usize) -> bool,
        parity: impl Iterator<Item = Placed<'a>>,
    ) {
        let count = data.len() / shard_len;
        let size = code_size(count);
        let mut parity = parity.peekable();
        if count == 1 {
            let (_, copy) = parity.peek().expect("a copy of the one fragment");
            data.copy_from_slice(copy);
            return;
        }
        let coder = match &mut self.0 {
            Some(coder) => {
                coder.reset(count, size, shard_len).expect(SUPPORTED);
                coder
            }
            none => none.insert(ReedSolomonDecoder::new(count, size, shard_len).expect(SUPPORTED)),
        };
        for (index, shard) in data.chunks_exact(shard_len).enumerate() {
            if has(index) {
                coder.add_original_shard(index, shard).expect(SUPPORTED);
            }
        }
        for (index, shard) in parity {
            coder
                .add_recovery_shard(index - count, shard)
                .expect(SUPPORTED);
        }
        let restored = coder.decode().expect("enough fragments");
        for (index, shard) in restored.restored_original_iter() {
            if let Some(slot) = data.chunks_exact_mut(shard_len).nth(index) {
                slot.copy_from_slice(shard);
            }
        }
    }
}

/// The counts are within the code's field and the shards of one even length.
const SUPPORTED: &str = "a supported code";

impl fmt::Debug for ParityEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParityEncoder").finish_non_exhaustive()
    }
}

impl fmt::Debug for ParityDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParityDecoder").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::FRAGMENTS_MAX;

    const SHARD: usize = 6;

    fn content(count: usize) -> Vec<u8> {
        (0..count * SHARD).map(|it| (it * 37 + 11) as u8).collect()
    }

    /// Any fragments, as many as the data have, give the data: here those that `lost` leaves.
    fn check(count: usize, lost: impl Fn(usize) -> bool) {
        let data = content(count);
        let mut parity = Vec::new();
        ParityEncoder::default().encode(&data, SHARD, &mut parity);
        assert_eq!(parity.len(), code_size(count) * SHARD);
        let mut got = data.clone();
        for (index, slot) in got.chunks_exact_mut(SHARD).enumerate() {
            if lost(index) {
                slot.fill(0xee);
            }
        }
        let missing = (0..count).filter(|it| lost(*it)).count();
        // The last ones of the code, so that the first are not special.
        let from = code_size(count) - missing;
        let placed = parity.chunks_exact(SHARD).enumerate().skip(from);
        ParityDecoder::default().decode(
            &mut got,
            SHARD,
            |it| !lost(it),
            placed.map(|(index, shard)| (count + index, shard)),
        );
        assert_eq!(got, data, "{count}");
    }

    #[test]
    fn any_fragments_as_many_as_the_data_give_the_data() {
        for count in 1..=FRAGMENTS_MAX {
            check(count, |it| it == 0);
            check(count, |it| it % 2 == 1 || count == 1);
            check(count, |it| it >= count.div_ceil(2) || count == 1);
        }
    }

    #[test]
    fn a_coder_is_used_again_for_another_size() {
        let mut coder = ParityEncoder::default();
        let (mut first, mut again) = (Vec::new(), Vec::new());
        coder.encode(&content(18), SHARD, &mut first);
        coder.encode(&content(3), SHARD, &mut again);
        coder.encode(&content(18), SHARD, &mut again);
        assert_eq!(first, again);
    }

    /// A viewer that was shipped restores from these bytes.
    #[test]
    fn the_bytes_of_parity_never_change() {
        let mut parity = Vec::new();
        ParityEncoder::default().encode(b"abcdef", 2, &mut parity);
        assert_eq!(parity, GOLDEN);
        ParityEncoder::default().encode(b"ab", 2, &mut parity);
        assert_eq!(parity, b"abababab");
    }

    const GOLDEN: [u8; 8] = [238, 241, 98, 125, 66, 202, 169, 38];

    /// Large ones, by their sum (FNV-1a).
    #[test]
    fn the_sums_of_parity_never_change() {
        #[track_caller]
        fn check(count: usize, sum: u64) {
            let data: Vec<u8> = (0..count * 1_078).map(|it| (it * it / 7) as u8).collect();
            let mut parity = Vec::new();
            ParityEncoder::default().encode(&data, 1_078, &mut parity);
            let fnv = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
            assert_eq!(
                parity.iter().fold(0xcbf2_9ce4_8422_2325, fnv),
                sum,
                "{count}"
            );
        }
        check(2, 0xb052_9a1e_f97e_61d5);
        check(18, 0x1997_3dd5_ea51_13e9);
        check(64, 0x165f_99f4_6d23_7c75);
    }
}
