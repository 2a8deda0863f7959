//! Decides who has asked too often: one token bucket per key, in a table of bounded size.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Keys remembered at once. A stranger with more addresses than this finds full buckets again, but
/// each of them still has its own limit; 65,536 entries are some 5 MB.
const KEYS_MAX: usize = 65_536;

const WINDOW: Duration = Duration::from_secs(60);

/// Allows `per_minute` requests a minute for each key, all of them at once where they were saved.
#[derive(Debug)]
pub struct RateLimit<K> {
    per_minute: u32,
    buckets: BTreeMap<K, Bucket>,
}

/// Time instead of tokens: the moment at which the bucket is full again.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    full_at: Instant,
}

/// Too many requests; another may succeed after this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter(pub Duration);

impl RetryAfter {
    /// Whole seconds, rounded up, as the `Retry-After` field wants them.
    pub fn seconds(self) -> u64 {
        self.0.as_secs() + u64::from(self.0.subsec_nanos() > 0)
    }
}

impl<K: Ord + Clone> RateLimit<K> {
    /// Makes a limit; 0 switches it off.
    pub const fn per_minute(per_minute: u32) -> Self {
        Self {
            per_minute,
            buckets: BTreeMap::new(),
        }
    }

    /// Whether a request could be taken, without taking it.
    ///
    /// # Errors
    ///
    /// Returns [`RetryAfter`] when the key's bucket is empty.
    pub fn check(&self, key: &K, now: Instant) -> Result<(), RetryAfter> {
        let Some(interval) = self.interval() else {
            return Ok(());
        };
        let full_at = self.buckets.get(key).map_or(now, |it| it.full_at.max(now));
        let missing = full_at.duration_since(now) + interval;
        match missing.checked_sub(interval * self.per_minute) {
            None | Some(Duration::ZERO) => Ok(()),
            Some(wait) => Err(RetryAfter(wait)),
        }
    }

    /// Takes one request.
    ///
    /// # Errors
    ///
    /// Returns [`RetryAfter`] when the key's bucket is empty.
    pub fn take(&mut self, key: &K, now: Instant) -> Result<(), RetryAfter> {
        self.check(key, now)?;
        let Some(interval) = self.interval() else {
            return Ok(());
        };
        if self.buckets.len() >= KEYS_MAX && !self.buckets.contains_key(key) {
            self.forget_full(now);
        }
        let bucket = self
            .buckets
            .entry(key.clone())
            .or_insert(Bucket { full_at: now });
        bucket.full_at = bucket.full_at.max(now) + interval;
        Ok(())
    }

    /// Gives one request back.
    pub fn refund(&mut self, key: &K) {
        if let (Some(interval), Some(bucket)) = (self.interval(), self.buckets.get_mut(key))
            && let Some(full_at) = bucket.full_at.checked_sub(interval)
        {
            bucket.full_at = full_at;
        }
    }

    fn interval(&self) -> Option<Duration> {
        WINDOW.checked_div(self.per_minute)
    }

    /// Drops the buckets that are full; where none is, the table starts anew.
    fn forget_full(&mut self, now: Instant) {
        self.buckets.retain(|_, it| it.full_at > now);
        if self.buckets.len() >= KEYS_MAX {
            self.buckets.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Instant {
        #[expect(
            clippy::disallowed_methods,
            reason = "an origin for the simulated clock"
        )]
        Instant::now()
    }

    #[test]
    fn five_are_taken_at_once_and_the_sixth_waits_for_a_fifth_of_a_minute() {
        let now = start();
        let mut limit = RateLimit::per_minute(5);
        for _ in 0..5 {
            assert_eq!(limit.take(&"a", now), Ok(()));
        }
        let wait = Duration::from_secs(12);
        assert_eq!(limit.take(&"a", now), Err(RetryAfter(wait)));
        assert_eq!(limit.take(&"b", now), Ok(()), "another key is untouched");
        assert_eq!(limit.take(&"a", now + wait), Ok(()));
        assert!(limit.take(&"a", now + wait).is_err());
    }

    #[test]
    fn zero_switches_it_off_and_remembers_nobody() {
        let now = start();
        let mut limit = RateLimit::per_minute(0);
        for key in 0..10_000 {
            assert_eq!(limit.take(&key, now), Ok(()));
        }
        assert!(limit.buckets.is_empty());
    }

    #[test]
    fn a_refund_makes_room_for_one_more() {
        let now = start();
        let mut limit = RateLimit::per_minute(1);
        assert_eq!(limit.take(&1, now), Ok(()));
        assert!(limit.take(&1, now).is_err());
        limit.refund(&1);
        assert_eq!(limit.take(&1, now), Ok(()));
    }

    #[test]
    fn a_million_strangers_do_not_grow_the_table() {
        let mut now = start();
        let mut limit = RateLimit::per_minute(5);
        for key in 0..(4 * KEYS_MAX) {
            now += Duration::from_micros(1);
            assert_eq!(limit.take(&key, now), Ok(()));
        }
        assert!(limit.buckets.len() <= KEYS_MAX);
    }

    #[test]
    fn the_wait_is_told_in_whole_seconds_rounded_up() {
        assert_eq!(RetryAfter(Duration::from_millis(1)).seconds(), 1);
        assert_eq!(RetryAfter(Duration::from_secs(2)).seconds(), 2);
    }
}
