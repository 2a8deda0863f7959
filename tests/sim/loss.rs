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

/// Runs ten seconds, the first of them to learn the link, and returns how long updates took.
fn ten_seconds(world: &mut World) -> Vec<Duration> {
    world.run(ms(11_000), Content::Fixed(20_000));
    world.took(ms(1_000))
}

#[test]
fn two_percent_alone_cost_less_than_five_milliseconds() {
    for seed in seeds(5) {
        let mut world = lossy(seed, Loss::Alone(0.02));
        let took = ten_seconds(&mut world);
        let (p99, max) = (quantile(&took, 0.99), quantile(&took, 1.0));
        println!(
            "seed {seed}: {} updates, p99 {p99:?}, max {max:?}, skipped {}, packets {}",
            took.len(),
            world.skipped.len(),
            world.down.packets
        );
        assert!(took.len() >= 590, "seed {seed}: {} updates", took.len());
        assert!(p99 <= ONE_WAY + ms(5), "seed {seed}: p99 {p99:?}");
        assert!(max <= ms(100), "seed {seed}: max {max:?}");
        assert_eq!(world.missing(ms(100)), 0, "seed {seed}");
        world.assert_complete();
    }
}

#[test]
fn runs_of_four_cost_a_round_trip_at_most() {
    for seed in seeds(5) {
        let loss = Loss::Runs {
            share: 0.02,
            mean: 4.0,
        };
        let mut world = lossy(seed, loss);
        let took = ten_seconds(&mut world);
        let (p99, max) = (quantile(&took, 0.99), quantile(&took, 1.0));
        println!(
            "seed {seed}: {} updates, p99 {p99:?}, max {max:?}, skipped {}, packets {}",
            took.len(),
            world.skipped.len(),
            world.down.packets
        );
        assert!(p99 <= ONE_WAY + ms(50), "seed {seed}: p99 {p99:?}");
        world.assert_complete();
    }
}

#[test]
fn up_to_a_fifth_is_borne() {
    for percent in [0, 1, 5, 10, 20] {
        for seed in seeds(1) {
            let mut world = lossy(seed, Loss::Alone(f64::from(percent) / 100.0));
            world.run(ms(6_000), Content::Fixed(20_000));
            let took = world.took(ms(1_000));
            println!(
                "{percent} %: seed {seed}: {} updates, p50 {:?} p99 {:?} target {:?}, skipped {}",
                took.len(),
                quantile(&took, 0.5),
                quantile(&took, 0.99),
                world.sender.target(),
                world.skipped.len()
            );
            assert!(quantile(&took, 0.5) <= ONE_WAY + ms(5), "{percent} %");
            world.assert_complete();
        }
    }
}
