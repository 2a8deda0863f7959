//! What a still desktop costs: nothing that grows with time.

use std::time::Duration;

use crate::ms;
use crate::world::{Content, World};

#[test]
fn a_still_desktop_sends_nothing_and_wakes_nobody() {
    let mut world = World::new(1, ms(20));
    world.run(ms(2_000), Content::Fixed(20_000));
    world.assert_complete();
    // The estimate settles ten seconds after the last packet.
    world.run(ms(12_000), Content::Still);
    let before = (world.down.packets, world.up.packets);
    world.run(Duration::from_secs(3_600), Content::Still);
    assert_eq!((world.down.packets, world.up.packets), before);
    assert_eq!(world.sender.poll_timeout(), None);
    assert_eq!(world.receiver.poll_timeout(), None);
}

#[test]
fn a_typed_letter_costs_few_packets() {
    let mut world = World::new(1, ms(20));
    world.interval = ms(200);
    world.run(ms(2_000), Content::Fixed(600));
    let before = (world.down.packets, world.up.packets, world.delivered.len());
    world.run(ms(20_000), Content::Fixed(600));
    let letters = (world.delivered.len() - before.2) as f64;
    let down = (world.down.packets - before.0) as f64 / letters;
    let up = (world.up.packets - before.1) as f64 / letters;
    // Without loss there is no parity; a report each, and an answered ping a second.
    assert!(down <= 2.3 && up <= 1.3, "{down} down, {up} up");
}
