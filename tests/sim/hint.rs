//! What a viewer remembers of its network: right, it saves the start; wrong, it costs little.

use std::time::Duration;

use crate::world::{Content, World};
use crate::{ms, quantile, seeds};

const ONE_WAY: Duration = ms(20);

fn narrow(mut world: World, mbps: u64) -> World {
    world.down.rate = Some(mbps * 1_000_000);
    world
}

/// Bytes of the updates that came within the first tenth of a second.
fn soon(world: &mut World) -> u64 {
    world.run(ms(100), Content::Filling);
    world.delivered_bytes
}

#[test]
fn a_fast_network_that_is_known_is_used_from_the_first_update_on() {
    for seed in seeds(3) {
        let unknown = &mut narrow(World::new(seed, ONE_WAY), 50);
        let known = &mut narrow(World::hinted(seed, ONE_WAY, 40_000), 50);
        assert!(known.sender.target().as_kbps() > 35_000, "seed {seed}");
        let (before, now) = (soon(unknown), soon(known));
        assert!(now * 10 >= before * 11, "seed {seed}: {now} after {before}");
        assert!(known.sender.target().as_kbps() > 35_000, "seed {seed}");
        known.assert_complete();
    }
}

#[test]
fn a_slow_network_that_is_known_is_not_overrun() {
    for seed in seeds(3) {
        let mut unknown = narrow(World::new(seed, ONE_WAY), 2);
        let mut known = narrow(World::hinted(seed, ONE_WAY, 1_600), 2);
        let [before, now] = [&mut unknown, &mut known].map(|world| {
            world.whole_bytes = 8_000;
            world.run(ms(1_000), Content::Filling);
            quantile(&world.down.waits(world.start..world.now), 0.95)
        });
        assert!(
            now <= ms(40) && now < before / 2,
            "seed {seed}: {now:?}, {before:?}"
        );
        known.assert_complete();
    }
}

#[test]
fn a_hint_ten_times_too_high_is_back_to_normal_within_half_a_second() {
    for (kbps, mbps) in [(20_000, 2), (50_000, 5)] {
        for seed in seeds(3) {
            let mut unknown = narrow(World::new(seed, ONE_WAY), mbps);
            let mut wrong = narrow(World::hinted(seed, ONE_WAY, kbps), mbps);
            let [usual, most] = [&mut unknown, &mut wrong].map(|world| {
                world.run(ms(5_000), Content::Filling);
                quantile(&world.down.waits(world.start..world.now), 1.0)
            });
            let after = wrong.start + ms(500)..wrong.now;
            let wait = quantile(&wrong.down.waits(after), 0.95);
            assert!(most <= usual + ms(150), "seed {seed}: {most:?}, {usual:?}");
            assert!(wait <= ms(20), "seed {seed}, {kbps}: {wait:?}");
            wrong.assert_complete();
        }
    }
}

#[test]
fn a_hint_far_too_low_costs_half_a_second() {
    for seed in seeds(3) {
        let mut world = narrow(World::hinted(seed, ONE_WAY, 500), 20);
        world.run(ms(500), Content::Fixed(20_000));
        let target = world.sender.target().as_kbps();
        assert!(target > 10_000, "seed {seed}: {target}");
        world.assert_complete();
    }
}

#[test]
fn what_a_viewer_says_stays_within_the_bounds() {
    for (kbps, expected) in [(0, 150), (1, 150), (u32::MAX.into(), 50_000)] {
        let world = World::hinted(0, ONE_WAY, kbps);
        assert_eq!(world.sender.target().as_kbps(), expected);
        assert_eq!(world.sender.learnt(), None);
    }
}
