//! Random numbers from a seed, so that a run can be repeated.

/// `SplitMix64` by Sebastiano Vigna.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` to below `high`.
    pub(crate) fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_repeat_from_their_seed_and_stay_in_range() {
        let numbers = |seed| {
            let mut random = Random(seed);
            (0..1_000)
                .map(|_| random.within(37, 90))
                .collect::<Vec<_>>()
        };
        assert_eq!(numbers(4), numbers(4));
        assert_ne!(numbers(4), numbers(5));
        assert!(numbers(4).iter().all(|it| (37..90).contains(it)));
        assert!(numbers(4).contains(&37) && numbers(4).contains(&89));
    }
}
