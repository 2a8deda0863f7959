//! Video that is lost: the encoder goes on without it, and key frames stay away.

use sandbox_protocol::stream::recovery::Demand;

use crate::link::Loss;
use crate::world::{Content, World};
use crate::{ms, seeds};

#[test]
fn five_percent_of_loss_need_no_key_frame() {
    for seed in seeds(3) {
        let mut world = World::new(seed, ms(20));
        world.is_video = true;
        world.down.loss = Loss::Alone(0.05);
        world.up.loss = Loss::Alone(0.05);
        world.run(ms(10_000), Content::Fixed(20_000));
        assert!(!world.demands.contains(&Demand::KeyFrame), "seed {seed}");
        // The first is the first picture.
        let wholes = world.demands.iter().filter(|it| **it == Demand::Whole);
        assert_eq!(wholes.count(), 1, "seed {seed}");
    }
}

#[test]
fn video_lost_in_an_outage_is_left_behind() {
    for seed in seeds(5) {
        let mut world = World::new(seed, ms(20));
        world.is_video = true;
        world.run(ms(1_000) + ms(seed), Content::Fixed(20_000));
        world.cut(ms(400));
        world.run(ms(3_000), Content::Fixed(20_000));
        assert!(!world.demands.contains(&Demand::KeyFrame), "seed {seed}");
        let last = world.delivered.last().unwrap();
        assert!(!last.is_video_broken, "seed {seed}");
        assert!(world.now - last.at < ms(50), "seed {seed}");
    }
}

#[test]
fn video_that_cannot_be_repaired_is_given_up() {
    for seed in seeds(3) {
        let mut world = World::new(seed, ms(20));
        world.is_video = true;
        world.run(ms(1_000), Content::Fixed(20_000));
        world.loses_repairs = true;
        world.down.loss = Loss::Runs {
            share: 0.05,
            mean: 10.0,
        };
        world.run(ms(10_000), Content::Fixed(20_000));
        let invalidates = |it: &&Demand| matches!(it, Demand::Invalidate { .. });
        let given_up = world.demands.iter().filter(invalidates).count();
        let broken = world.delivered.iter().filter(|it| it.is_video_broken);
        assert!(given_up > 3, "seed {seed}: {given_up}");
        assert_eq!(broken.count(), 0, "seed {seed}");
        assert!(!world.demands.contains(&Demand::KeyFrame), "seed {seed}");
        assert!(world.delivered.len() > 200, "seed {seed}");
    }
}
