//! A stream inside TCP: nothing is lost, and whatever is late holds up all behind it.

use std::time::Duration;

use crate::link::Loss;
use crate::world::{Content, World};
use crate::{ms, quantile, seeds};

const ONE_WAY: Duration = ms(20);

/// A lost segment is noticed and sent again: a round trip and what TCP adds to it.
const STALL: Duration = ms(45);

/// TCP over a path that loses so many segments. The server holds back what would wait longer than
/// TCP's own queue does.
fn world(seed: u64, mbps: u64, loss: f64) -> World {
    let mut world = World::new(seed, ONE_WAY).in_order();
    for link in [&mut world.down, &mut world.up] {
        link.loss = Loss::Alone(loss);
        link.resent_after = Some(STALL);
    }
    world.down.rate = Some(mbps * 1_000_000);
    world.down.queue_max = Duration::MAX;
    world.wait_max = Some(ms(100));
    world
}

#[test]
fn tcp_that_loses_segments_is_filled_and_not_overrun() {
    // In the last world a stretched burst was once taken for a narrow link.
    for seed in seeds(3).chain([29]) {
        for (mbps, loss) in [(5, 0.0), (5, 0.01), (20, 0.001), (20, 0.01)] {
            let mut world = world(seed, mbps, loss);
            world.run(ms(12_000), Content::Filling);
            let name = format!("seed {seed}, {mbps} Mbit/s, loss of {loss}");
            let from = world.start + ms(2_000);
            let wait = quantile(&world.down.waits(from..world.now), 0.95);
            assert!(wait <= ms(20), "{name}: {wait:?}");
            let target = world.sender.target().as_kbps() / mbps;
            assert!(
                (400..1_000).contains(&target),
                "{name}: {target} per Mbit/s"
            );
            let took = world.took(ms(2_000));
            let (half, most) = (quantile(&took, 0.5), quantile(&took, 1.0));
            assert!(half <= ONE_WAY + ms(25), "{name}: {half:?}");
            assert!(most <= ONE_WAY + 2 * STALL + ms(30), "{name}: {most:?}");
            world.assert_complete();
        }
    }
}

#[test]
fn tcp_that_becomes_slower_is_followed() {
    for seed in seeds(3) {
        let mut world = world(seed, 20, 0.001);
        world.run(ms(5_000), Content::Filling);
        world.down.rate = Some(2_000_000);
        let narrowed = world.now;
        world.run(ms(5_000), Content::Filling);
        let wait = quantile(&world.down.waits(narrowed + ms(1_000)..world.now), 0.95);
        let target = world.sender.target().as_kbps();
        assert!(wait <= ms(30), "seed {seed}: {wait:?}");
        assert!((1_000..2_000).contains(&target), "seed {seed}: {target}");
        world.assert_complete();
    }
}
