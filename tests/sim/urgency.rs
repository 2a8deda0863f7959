//! What must not wait for what: sound and pointer, updates, clipboard and files.

use std::time::Duration;

use sandbox_protocol::Micros;

use crate::world::{Content, World};
use crate::{ms, quantile};

const ONE_WAY: Duration = ms(20);

/// A world that has learnt its link of 10 Mbit/s.
fn narrow() -> World {
    let mut world = World::new(1, ONE_WAY);
    world.down.rate = Some(10_000_000);
    world.run(ms(3_000), Content::Filling);
    world
}

#[test]
fn sound_is_not_held_up_by_a_full_link() {
    let mut world = narrow();
    for _ in 0..200 {
        let taken = Micros((world.now - world.start).as_micros() as u64);
        world.sender.handle_sound(taken, &[7; 120]).unwrap();
        world.drain();
        world.run(ms(10), Content::Filling);
    }
    let took: Vec<_> = world
        .sounds
        .iter()
        .map(|(taken, came)| *came - *taken)
        .collect();
    assert!(took.len() >= 195, "{}", took.len());
    // An update is on the link before it at most.
    let p95 = quantile(&took, 0.95);
    assert!(p95 <= ONE_WAY + ms(25), "{p95:?}");
    world.assert_complete();
}

#[test]
fn only_the_newest_place_of_the_pointer_is_sent() {
    let mut world = narrow();
    for x in 0..50 {
        world.sender.handle_cursor(x, 0, true);
    }
    world.drain();
    world.run(ms(100), Content::Still);
    assert_eq!(world.places, [49]);
}

#[test]
fn bulk_takes_half_of_the_rate_and_holds_no_update_up() {
    let mut world = narrow();
    let before = quantile(&world.took(ms(1_000)), 0.95);
    world.sender.handle_bulk(true);
    world.interval = ms(50);
    world.run(ms(5_000), Content::Fixed(5_000));
    let bits = world.bulk_bytes as u64 * 8 / 5;
    let target = world.sender.target().bps();
    assert!(
        (target / 4..=target * 6 / 10).contains(&bits),
        "{bits} of {target}"
    );
    let after = quantile(&world.took(ms(3_000)), 0.95);
    assert!(
        after <= before.max(ONE_WAY) + ms(15),
        "{before:?}, {after:?}"
    );
    world.sender.handle_bulk(false);
    world.assert_complete();
}
