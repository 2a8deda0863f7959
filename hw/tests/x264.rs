//! What x264 alone can do: refer around frames that were lost.
#![allow(
    clippy::unwrap_used,
    reason = "a panic is a failed test, in its helpers too"
)]

mod desktop;
mod path;
mod viewer;

use sandbox_hw::{Invalidation, Kind, Quality};
use sandbox_protocol::Rect;

use self::path::{CONFIG, Path, SIZE};
use self::viewer::Viewer;

#[test]
fn after_an_invalidation_the_next_frame_refers_to_none_of_the_lost_ones() {
    // Two streams differ in frames 3 and 4 alone. Frame 5 of one is shown after 3 and 4 of the
    // other: that is whole only if it refers to frame 2.
    let play = |seeds: [u64; 2], invalidated: bool| {
        let mut path = Path::new("libx264", CONFIG);
        let mut units = Vec::new();
        for seed in [1, 2, seeds[0], seeds[1]] {
            path.redraw(seed);
            units.push(path.send(Kind::Auto, Quality::Fixed(16)).bytes);
        }
        if invalidated {
            assert_eq!(path.encoder.invalidate(3), Invalidation::Avoided);
        }
        path.redraw(2);
        let last = path.send(Kind::Auto, Quality::Fixed(16));
        assert!(!last.is_keyframe);
        units.push(last.bytes);
        (units, path)
    };
    for invalidated in [true, false] {
        let (shown, _) = play([3, 4], invalidated);
        let (other, path) = play([13, 14], invalidated);
        let mut viewer = Viewer::new();
        for unit in shown[..4].iter().chain(&other[4..]) {
            viewer.show(unit);
        }
        let psnr = viewer.psnr(&path.frame, Rect::whole(SIZE));
        assert_eq!(psnr > 40.0, invalidated, "{psnr} dB");
    }
}

#[test]
fn with_every_kept_frame_lost_the_next_is_a_keyframe() {
    let mut path = Path::new("libx264", CONFIG);
    for seed in 1..=6 {
        path.redraw(seed);
        path.send(Kind::Auto, Quality::Target);
    }
    assert_eq!(path.encoder.invalidate(2), Invalidation::NeedsKeyframe);
    assert_eq!(path.encoder.invalidate(6), Invalidation::NeedsKeyframe);
    path.redraw(7);
    assert!(path.send(Kind::Auto, Quality::Target).is_keyframe);
    path.redraw(8);
    assert!(!path.send(Kind::Auto, Quality::Target).is_keyframe);
    assert_eq!(path.encoder.invalidate(8), Invalidation::Avoided);
    path.redraw(9);
    assert!(!path.send(Kind::Auto, Quality::Target).is_keyframe);
}
