//! What updates cost that are too large for datagrams: they fill no queue, and tell the link's rate
//! where nothing else travels.

use std::time::Duration;

use sandbox_protocol::Bitrate;
use sandbox_protocol::stream::rate::RateConfig;

use crate::link::Loss;
use crate::world::{Content, RATE, World};
use crate::{ms, quantile, seeds};

const ONE_WAY: Duration = ms(20);

#[test]
fn a_target_too_high_for_datagrams_comes_down_by_streams_alone() {
    for seed in seeds(3) {
        let rate = RateConfig {
            start: Bitrate::kbps(50_000),
            ..RATE
        };
        let mut world = World::with_rate(seed, ONE_WAY, rate);
        world.down.rate = Some(20_000_000);
        world.run(ms(5_000), Content::Filling);
        let wait = quantile(&world.down.waits(world.start + ms(500)..world.now), 0.95);
        let target = world.sender.target().as_kbps();
        assert!(wait <= ms(20), "seed {seed}: {wait:?}");
        assert!((10_000..20_000).contains(&target), "seed {seed}: {target}");
        world.assert_complete();
    }
}

#[test]
fn large_updates_alone_wait_for_each_other_and_not_on_the_link() {
    for seed in seeds(3) {
        let mut world = World::new(seed, ONE_WAY);
        world.down.rate = Some(2_000_000);
        world.run(ms(8_000), Content::Fixed(100_000));
        // An update takes 430 ms; one is on the link, and one before it.
        let took = quantile(&world.took(ms(1_000)), 1.0);
        let target = world.sender.target().as_kbps();
        assert!(took <= ms(600), "seed {seed}: {took:?}");
        assert!((1_000..=2_000).contains(&target), "seed {seed}: {target}");
        world.assert_complete();
    }
}

#[test]
fn what_quic_sends_again_is_no_sign_of_a_narrow_link() {
    for seed in seeds(3) {
        let mut world = World::new(seed, ONE_WAY);
        world.down.rate = Some(100_000_000);
        world.down.loss = Loss::Alone(0.02);
        world.run(ms(2_000), Content::Fixed(20_000));
        let before = world.sender.target().as_kbps();
        world.run(ms(3_000), Content::Fixed(150_000));
        let target = world.sender.target().as_kbps();
        assert!(target >= before / 2, "seed {seed}: {target} after {before}");
        world.assert_complete();
    }
}

#[test]
fn an_outage_while_a_large_update_travels_is_no_narrow_link() {
    for seed in seeds(3) {
        let mut world = World::new(seed, ONE_WAY);
        world.down.rate = Some(50_000_000);
        world.run(ms(2_000), Content::Fixed(20_000));
        let before = world.sender.target().as_kbps();
        world.run(ms(20), Content::Fixed(150_000));
        world.cut(ms(3_000));
        world.run(ms(3_100), Content::Still);
        world.run(ms(2_000), Content::Fixed(20_000));
        let target = world.sender.target().as_kbps();
        assert!(target >= before / 2, "seed {seed}: {target} after {before}");
        world.assert_complete();
    }
}
