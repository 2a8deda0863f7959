//! Both ends of a `sandbox/1` stream in simulated networks: what loss, bursts, full queues,
//! outages and changes of the path cost, in exact simulated time.
//!
//! Every world is made of a seed, which a failed test prints, and ends after a bounded number of
//! steps. `LONG=1` runs more seeds and longer worlds.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "integration test: a panic is its way to fail"
)]

mod chance;
mod hint;
mod hostile;
mod input;
mod invariants;
mod link;
mod loss;
mod path;
mod rate;
mod recovery;
mod reliable;
mod rest;
mod streams;
mod tunnel;
mod urgency;
mod world;

use std::time::{Duration, Instant};

/// Whether tests may take their time.
fn is_long() -> bool {
    std::env::var_os("LONG").is_some_and(|it| it == "1")
}

/// Seeds of a scenario: `few` of them, twenty times as many where tests may take their time.
fn seeds(few: u64) -> std::ops::Range<u64> {
    0..if is_long() { 20 * few } else { few }
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[expect(
    clippy::disallowed_methods,
    reason = "an Instant has no other origin; only differences count"
)]
fn epoch() -> Instant {
    Instant::now()
}

/// The value that `share` of the values do not exceed.
fn quantile(values: &[Duration], share: f64) -> Duration {
    let mut values = values.to_vec();
    values.sort();
    let last = values.len().checked_sub(1).expect("there are values");
    values[((values.len() as f64 * share).ceil() as usize).clamp(1, last + 1) - 1]
}

#[test]
fn a_quantile_is_the_value_that_so_many_do_not_exceed() {
    let values: Vec<_> = (1..=100).map(ms).collect();
    assert_eq!(quantile(&values, 0.99), ms(99));
    assert_eq!(quantile(&values, 1.0), ms(100));
    assert_eq!(quantile(&values[..1], 0.5), ms(1));
}
