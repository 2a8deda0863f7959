//! What a change of the path costs: another address, an outage, reordering, copies, other delays.

use std::time::Duration;

use crate::link::Loss;
use crate::world::{Content, World};
use crate::{ms, quantile, seeds};

const ONE_WAY: Duration = ms(20);

#[test]
fn another_address_costs_a_round_trip_and_little_more() {
    for seed in seeds(5) {
        let mut world = World::new(seed, ONE_WAY);
        world.down.rate = Some(50_000_000);
        world.run(ms(2_000) + ms(seed), Content::Fixed(20_000));
        let moved = world.now;
        world.move_viewer();
        world.run(ms(1_000), Content::Fixed(20_000));
        let next = world.delivered.iter().find(|it| it.at > moved).unwrap();
        assert!(next.at - moved <= 2 * ONE_WAY + ms(100), "seed {seed}");
        world.assert_complete();
    }
}

#[test]
fn after_five_seconds_of_silence_the_picture_is_back_at_once() {
    for seed in seeds(5) {
        let mut world = World::new(seed, ONE_WAY);
        world.run(ms(2_000) + ms(seed), Content::Fixed(20_000));
        let packets = world.down.packets;
        world.cut(ms(5_000));
        world.run(ms(5_000), Content::Fixed(20_000));
        let wasted = world.down.packets - packets;
        let back = world.now;
        world.run(ms(2_000), Content::Fixed(20_000));
        let next = world.delivered.iter().find(|it| it.at > back).unwrap();
        assert!(next.at - back <= ms(250) + 4 * ONE_WAY, "seed {seed}");
        assert!(
            wasted < 300,
            "seed {seed}: {wasted} packets into the silence"
        );
        world.assert_complete();
    }
}

#[test]
fn reordering_and_copies_cost_neither_updates_nor_repairs() {
    for seed in seeds(5) {
        let mut world = World::new(seed, ONE_WAY);
        for link in [&mut world.down, &mut world.up] {
            link.reordered = 0.3;
            link.reordering = ms(10);
            link.doubled = 0.1;
        }
        world.run(ms(2_000), Content::Fixed(20_000));
        let (packets, updates) = (world.down.packets, world.delivered.len());
        world.run(ms(8_000), Content::Fixed(20_000));
        let took = world.took(ms(2_000));
        let each = (world.down.packets - packets) as f64 / (world.delivered.len() - updates) as f64;
        // 19 fragments; a repair or parity now and then.
        assert!(each < 20.0, "seed {seed}: {each} packets for an update");
        assert!(quantile(&took, 0.99) <= ONE_WAY + ms(15), "seed {seed}");
        world.assert_complete();
    }
}

#[test]
fn a_longer_way_is_no_full_link() {
    for seed in seeds(2) {
        let mut world = World::new(seed, ONE_WAY);
        world.down.rate = Some(10_000_000);
        world.run(ms(3_000), Content::Filling);
        world.down.one_way = ms(60);
        world.up.one_way = ms(60);
        world.run(ms(25_000), Content::Filling);
        let target = world.sender.target().as_kbps();
        assert!(target >= 7_000, "seed {seed}: {target}");
        world.assert_complete();
    }
}

#[test]
fn a_smaller_datagram_takes_what_was_cut_for_larger_ones_to_streams() {
    let mut world = World::new(1, ONE_WAY);
    world.sender.handle_datagram_max(1_400);
    world.down.loss = Loss::Alone(0.05);
    world.run(ms(1_000), Content::Fixed(30_000));
    world.sender.handle_datagram_max(1_200);
    world.run(ms(1_000), Content::Fixed(30_000));
    world.assert_complete();
    assert!(world.delivered.len() > 100);
}
