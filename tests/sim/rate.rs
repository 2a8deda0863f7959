//! What a full link costs: the first picture, a bottleneck, and its sudden narrowing.

use std::time::Duration;

use crate::world::{Content, World};
use crate::{ms, quantile, seeds};

const ONE_WAY: Duration = ms(20);

fn narrow(seed: u64, mbps: u64) -> World {
    let mut world = World::new(seed, ONE_WAY);
    world.down.rate = Some(mbps * 1_000_000);
    world
}

#[test]
fn a_first_picture_of_150_kilobytes_takes_little_more_than_the_link() {
    for seed in seeds(3) {
        let mut world = narrow(seed, 100);
        world.whole_bytes = 150_000;
        world.run(ms(200), Content::Fixed(2_000));
        let took = world.delivered[0].took();
        assert!(took <= ONE_WAY + ms(20), "seed {seed}: {took:?}");
        world.assert_complete();
    }
}

#[test]
fn a_bottleneck_is_filled_without_a_queue() {
    for seed in seeds(3) {
        let mut world = narrow(seed, 20);
        world.run(ms(12_000), Content::Filling);
        let from = world.start + ms(2_000);
        let wait = quantile(&world.down.waits(from..world.now), 0.95);
        let target = world.sender.target().as_kbps();
        assert!(wait <= ms(20), "seed {seed}: {wait:?}");
        assert!((10_000..20_000).contains(&target), "seed {seed}: {target}");
        world.assert_complete();
    }
}

#[test]
fn a_link_that_narrows_is_back_to_normal_within_a_third_of_a_second() {
    for seed in seeds(3) {
        let mut world = narrow(seed, 20);
        world.run(ms(5_000), Content::Filling);
        world.down.rate = Some(5_000_000);
        let narrowed = world.now;
        world.run(ms(5_000), Content::Filling);
        let wait = quantile(&world.down.waits(narrowed + ms(333)..world.now), 0.95);
        let target = world.sender.target().as_kbps();
        assert!(wait <= ms(20), "seed {seed}: {wait:?}");
        assert!((2_500..5_000).contains(&target), "seed {seed}: {target}");
        world.assert_complete();
    }
}

#[test]
fn a_link_with_a_shallow_queue_is_not_overrun() {
    for seed in seeds(3) {
        let mut world = narrow(seed, 5);
        world.down.queue_max = ms(15);
        world.run(ms(5_000), Content::Filling);
        let (packets, passed) = (world.down.packets, world.down.queued.len());
        world.run(ms(10_000), Content::Filling);
        let sent = world.down.packets - packets;
        let lost = sent - (world.down.queued.len() - passed) as u64;
        let target = world.sender.target().as_kbps();
        assert!(lost * 100 <= sent, "seed {seed}: {lost} of {sent} lost");
        assert!((2_500..5_000).contains(&target), "seed {seed}: {target}");
        world.assert_complete();
    }
}
