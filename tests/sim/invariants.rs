//! Whatever the path does, all updates come out once, in order and with their bytes; what was
//! passed over was of an older epoch or video that was given up; memory stays within its limits.

use std::time::Duration;

use sandbox_protocol::limits::{REASSEMBLY_BYTES_MAX, REPAIR_BYTES_MAX};
use sandbox_protocol::stream::packetize::UpdateKind;
use sandbox_protocol::stream::sender::Readiness;

use crate::chance::Chance;
use crate::link::{Link, Loss};
use crate::world::{Content, World};
use crate::{ms, seeds};

/// Room above the limits for the update in hand.
const UPDATE_BYTES: usize = 400_000;

fn spoil(link: &mut Link, chance: &mut Chance) {
    let share = chance.below(30) as f64 / 100.0;
    link.loss = match chance.below(3) {
        0 => Loss::None,
        1 => Loss::Alone(share),
        _ => Loss::Runs {
            share,
            mean: 1.0 + chance.below(8) as f64,
        },
    };
    link.reordered = chance.below(3) as f64 / 5.0;
    link.reordering = ms(1 + chance.below(30));
    link.doubled = chance.below(3) as f64 / 10.0;
    link.rate = (chance.below(2) == 0).then(|| 1_000_000 * (1 + chance.below(50)));
    link.queue_max = ms(20 + chance.below(300));
}

fn update(world: &mut World, chance: &mut Chance) {
    let size = match chance.below(10) {
        0 => chance.below(200_000),
        1..5 => chance.below(30_000),
        _ => chance.below(2_000),
    };
    let is_whole = world.sender.readiness() == Readiness::NeedsWhole || chance.below(60) == 0;
    let kind = UpdateKind {
        is_whole,
        is_video_only: !is_whole && chance.below(2) == 0,
        recovers: is_whole || chance.below(4) == 0,
        is_refinement: chance.below(4) == 0,
    };
    if world.sender.readiness() != Readiness::Busy || chance.below(20) == 0 {
        world.try_send(size as usize, kind);
    }
}

fn live(seed: u64) {
    let mut chance = Chance::new(seed);
    let mut world = World::new(seed, ms(1 + chance.below(80)));
    for _ in 0..8 {
        spoil(&mut world.down, &mut chance);
        spoil(&mut world.up, &mut chance);
        world.loses_repairs = chance.below(4) == 0;
        match chance.below(6) {
            0 => world.move_viewer(),
            1 => world.cut(ms(chance.below(1_500))),
            2 => {
                let bytes = 1_100 + chance.below(400) as usize;
                world.sender.handle_datagram_max(bytes);
            }
            _ => (),
        }
        for _ in 0..20 {
            update(&mut world, &mut chance);
            world.drain();
            world.run(ms(chance.below(40)), Content::Still);
            assert!(
                world.sender.memory() <= REPAIR_BYTES_MAX + UPDATE_BYTES,
                "seed {seed}"
            );
            assert!(
                world.receiver.memory() <= REASSEMBLY_BYTES_MAX + UPDATE_BYTES,
                "seed {seed}"
            );
        }
    }
    heal(&mut world);
    if world.sender.readiness() == Readiness::NeedsWhole {
        let kind = UpdateKind {
            is_whole: true,
            ..UpdateKind::default()
        };
        world.send(20_000, kind);
    }
    world.drain();
    world.run(Duration::from_secs(10), Content::Still);
    world.assert_complete();
    let silent = world.down.packets + world.up.packets;
    world.run(Duration::from_secs(60), Content::Still);
    assert_eq!(world.down.packets + world.up.packets, silent, "seed {seed}");
}

fn heal(world: &mut World) {
    world.loses_repairs = false;
    for link in [&mut world.down, &mut world.up] {
        link.loss = Loss::None;
        link.dead_until = None;
        link.rate = Some(20_000_000);
    }
}

#[test]
fn all_updates_come_out_once_and_in_order_whatever_the_path_does() {
    for seed in seeds(60) {
        live(seed);
    }
}
