//! What loss costs: updates of 20 KB, 60 a second, 40 ms of round trip.

use std::time::Duration;

use crate::link::Loss;
use crate::world::{Content, World};
use crate::{ms, quantile, seeds};

const ONE_WAY: Duration = ms(20);

fn lossy(seed: u64, loss: Loss) -> World {
    let mut world = World::new(seed, ONE_WAY);
    world.down.loss = loss;
    world.up.loss = loss;
    world
}

/// Ten seconds of each world after one to learn the link: how long all their updates took.
fn ten_seconds(seeds: std::ops::Range<u64>, loss: Loss) -> Vec<Duration> {
    let mut all = Vec::new();
    for seed in seeds {
        let mut world = lossy(seed, loss);
        world.run(ms(11_000), Content::Fixed(20_000));
        assert_eq!(world.missing(ms(500)), 0, "seed {seed}");
        let took = world.took(ms(1_000));
        assert!(took.len() >= 560, "seed {seed}: {} updates", took.len());
        all.extend(took);
        world.assert_complete();
    }
    all
}

#[test]
fn two_percent_alone_cost_less_than_five_milliseconds() {
    let took = ten_seconds(seeds(5), Loss::Alone(0.02));
    let (p99, max) = (quantile(&took, 0.99), quantile(&took, 1.0));
    assert!(p99 <= ONE_WAY + ms(5), "{p99:?}");
    // None is missing after 100 ms.
    assert!(max <= ms(100), "{max:?}");
}

#[test]
fn runs_of_four_cost_a_round_trip_at_most() {
    let loss = Loss::Runs {
        share: 0.02,
        mean: 4.0,
    };
    let took = ten_seconds(seeds(5), loss);
    let p99 = quantile(&took, 0.99);
    assert!(p99 <= ONE_WAY + 2 * ONE_WAY + ms(10), "{p99:?}");
}

#[test]
fn typing_over_two_percent_is_as_quick() {
    let mut took = Vec::new();
    for seed in seeds(5) {
        let mut world = lossy(seed, Loss::Alone(0.02));
        world.interval = ms(150);
        world.run(ms(60_000), Content::Fixed(1_500));
        took.extend(world.took(ms(1_000)));
        world.assert_complete();
    }
    let p99 = quantile(&took, 0.99);
    assert!(p99 <= ONE_WAY + ms(5), "{p99:?}");
}

#[test]
fn four_percent_do_not_keep_the_rate_down() {
    for seed in seeds(3) {
        let mut world = lossy(seed, Loss::Alone(0.04));
        world.down.rate = Some(100_000_000);
        world.run(ms(5_000), Content::Filling);
        let target = world.sender.target().as_kbps();
        assert!(target > 25_000, "seed {seed}: {target}");
    }
}

#[test]
fn up_to_a_fifth_is_borne() {
    for percent in [0, 1, 5, 10, 20] {
        for seed in seeds(1) {
            let mut world = lossy(seed, Loss::Alone(f64::from(percent) / 100.0));
            world.run(ms(6_000), Content::Fixed(20_000));
            let took = world.took(ms(1_000));
            assert!(quantile(&took, 0.5) <= ONE_WAY + ms(5), "{percent} %");
            world.assert_complete();
        }
    }
}
