//! What viewers of updates show, and what it costs.

use std::os::fd::AsFd as _;

use sandbox_protocol::local::frame::Content;
use sandbox_protocol::local::worker::{Pictures, ToWorker};
use sandbox_protocol::{Bitrate, Size};

use crate::harness::{Desktop, SIZE, stays_silent};
use crate::native::{Native, Seen};
use crate::page::Page;
use crate::program::Noise;

const SLOTS: u16 = 1_024;

const UPDATES: Pictures = Pictures {
    access_units: false,
    updates: Some(SLOTS),
};

const BOTH: Pictures = Pictures {
    access_units: true,
    updates: Some(SLOTS),
};

/// A desktop with a page of text, and a viewer that shows it.
fn page() -> (Desktop, Page, Native) {
    let desktop = Desktop::start();
    let page = Page::start(&desktop, 1);
    let mut native = Native::new(desktop.attach_for(SIZE, UPDATES), SLOTS);
    native.wait_until_exact(&desktop);
    (desktop, page, native)
}

#[test]
fn the_first_update_is_whole_and_made_of_tiles_alone_and_then_nothing_comes() {
    let desktop = Desktop::start();
    let sleeps = desktop.sleeps();
    let _page = Page::start(&desktop, 1);
    let mut native = Native::new(desktop.attach_for(SIZE, UPDATES), SLOTS);
    let header = native.step();
    assert!(matches!(
        header.content,
        Content::Update { is_whole: true, .. }
    ));
    assert_eq!((header.frame, header.size), (0, SIZE));
    println!("first: {} bytes", native.bytes);
    assert!(native.is_exact(&desktop));
    let mut stays_asleep = || {
        native.viewer.counters();
        let before = sleeps();
        assert!(stays_silent(native.viewer.media.as_fd()));
        // It may have been about to fall asleep after its answer.
        sleeps() <= before + 1
    };
    // A last word of the X server's may still have been on its way.
    assert!((0..3).any(|_| stays_asleep()), "at rest");
}

#[test]
fn a_typed_letter_costs_little() {
    let (desktop, page, mut native) = page();
    for (at, letter) in (0..).zip(*b"typing") {
        page.type_letter(letter, 10 + at, 20);
        let (bytes, seen) = native.wait_until_exact(&desktop);
        println!("letter: {bytes} bytes, {seen:?}");
        assert!((1..=1_500).contains(&bytes), "{bytes} bytes");
    }
}

#[test]
fn a_full_link_stops_updates_until_it_has_room() {
    let (desktop, mut page, mut native) = page();
    // Something is left to be repainted, too.
    page.show_noise((0, 0), (320, 200));
    native.step();
    native.viewer.send(&ToWorker::Flow(false));
    let before = native.viewer.counters();
    while native.viewer.has_frame_soon() {
        native.step();
    }
    page.show_noise((0, 0), (320, 200));
    page.type_letter(b'x', 50, 30);
    assert!(stays_silent(native.viewer.media.as_fd()));
    assert_eq!(native.viewer.counters().captures, before.captures);
    native.viewer.send(&ToWorker::Flow(true));
    native.wait_until_exact(&desktop);
}

#[test]
fn a_slow_link_shows_a_whole_desktop_as_video_first() {
    let desktop = Desktop::start();
    let mut page = Page::start(&desktop, 1);
    page.show_noise((0, 0), (320, 200));
    page.show_noise((320, 0), (320, 200));
    let mut native = Native::new(desktop.attach_for(SIZE, UPDATES), SLOTS);
    // The worker would take a wish that comes before it as one for the same.
    native.step();
    native.viewer.send(&ToWorker::Target(Bitrate::kbps(2_000)));
    native.viewer.send(&ToWorker::Whole);
    while native.seen.whole < 2 {
        native.step();
    }
    println!("slow: {} bytes, {:?}", native.bytes, native.seen);
    let seen = native.seen;
    assert!(seen.keyframes > 0 && seen.video_only == 0, "{seen:?}");
    native
        .viewer
        .send(&ToWorker::Target(Bitrate::kbps(100_000)));
    native.wait_until_exact(&desktop);
}

#[test]
fn a_scrolled_page_moves_and_a_window_comes_back_out_of_the_cache() {
    let (desktop, mut page, mut native) = page();
    for lines in [1, 3, 1, 12] {
        page.scroll(lines);
        let (bytes, seen) = native.wait_until_exact(&desktop);
        println!("scrolled by {lines}: {bytes} bytes, {seen:?}");
        assert!(bytes <= 12_000 && seen.copies > 0, "{bytes} bytes {seen:?}");
    }
    let other = Page::start(&desktop, 2);
    native.wait_until_exact(&desktop);
    // What was scrolled is lost with its window: the X server keeps only what it paints itself.
    page.raise();
    native.wait_until_exact(&desktop);
    for window in [&other, &page, &other, &page] {
        window.raise();
        let (bytes, seen) = native.wait_until_exact(&desktop);
        println!("back: {bytes} bytes, {seen:?}");
        assert!(bytes <= 6_000 && seen.cached > 0, "{bytes} bytes {seen:?}");
    }
}

#[test]
fn what_moves_is_video_and_is_exact_when_it_rests() {
    let (desktop, mut page, mut native) = page();
    // Tiles could carry this; but not without end.
    while native.seen.video_only < 3 {
        page.show_noise((101, 51), (180, 120));
        native.step();
        assert!(native.seen.updates < 1_000, "{:?}", native.seen);
    }
    assert_eq!(native.seen.keyframes, 1, "{:?}", native.seen);
    page.type_letter(b'x', 50, 30);
    let (bytes, seen) = native.wait_until_exact(&desktop);
    println!("after motion: {bytes} bytes, {seen:?}");
    assert!(stays_silent(native.viewer.media.as_fd()));
}

#[test]
fn what_is_too_much_for_tiles_is_there_at_once_and_exact_after_a_moment() {
    let (desktop, mut page, mut native) = page();
    native.seen = Seen::default();
    page.show_noise((0, 0), (320, 200));
    native.step();
    assert_eq!(native.seen.videos, 1, "{:?}", native.seen);
    let (bytes, seen) = native.wait_until_exact(&desktop);
    println!("a photo: {bytes} bytes, {seen:?}");
    assert_eq!(seen.videos, 0, "{seen:?}");
    assert!(seen.updates > 1, "in portions: {seen:?}");
}

#[test]
fn a_storm_leaves_every_pixel_right() {
    let seed = 0x0bad_5eed;
    println!("seed {seed:#x}");
    let desktop = Desktop::start();
    let mut page = Page::start(&desktop, seed);
    let mut noise = Noise::start(&desktop, seed);
    let mut native = Native::new(desktop.attach_for(SIZE, UPDATES), SLOTS);
    for round in 0..40_i16 {
        noise.draw(1 + usize::from(round.unsigned_abs()) * 7 % 200);
        match round % 5 {
            0 => page.raise(),
            1 => page.scroll(1 + round.unsigned_abs() % 4),
            2 | 3 => page.show_noise((round * 3 + 1, 20), (320, 200)),
            _ => noise.raise(),
        }
        // Changes that are captured together may cancel each other out.
        if round % 3 == 0 && native.viewer.has_frame_soon() {
            native.step();
        }
        if round % 8 == 0 {
            let (bytes, seen) = native.wait_until_exact(&desktop);
            println!("round {round}: {bytes} bytes, {seen:?}");
        }
    }
    let (_, seen) = native.wait_until_exact(&desktop);
    println!("at last: {seen:?}");
    assert!(stays_silent(native.viewer.media.as_fd()));
}

#[test]
fn another_size_another_cache_and_a_newcomer_begin_with_a_whole_update() {
    let (desktop, page, mut native) = page();
    for (width, height) in [(500, 300), (1_000, 700)] {
        let size = Size { width, height };
        native.viewer.send(&ToWorker::Resize(size));
        while native.step().size != size {}
        native.wait_until_exact(&desktop);
    }
    native.viewer.send(&ToWorker::Resize(SIZE));
    while native.step().size != SIZE {}
    native.wait_until_exact(&desktop);
    native.seen = Seen::default();
    native.viewer.send(&ToWorker::Whole);
    native.restart(SLOTS);
    native.step();
    assert!(native.seen.whole == 1 && native.is_exact(&desktop));
    native.viewer.send(&ToWorker::Pictures(Pictures {
        updates: Some(3),
        ..UPDATES
    }));
    native.restart(3);
    native.step();
    assert!(native.seen.whole == 2 && native.is_exact(&desktop));
    // To where there is no update any more, and back.
    native
        .viewer
        .send(&ToWorker::Pictures(Pictures::ACCESS_UNITS));
    let header = native.step();
    assert!(header.content == Content::AccessUnit && header.is_keyframe);
    while native.viewer.has_frame_soon() {
        native.step();
    }
    page.type_letter(b'x', 50, 30);
    native.viewer.send(&ToWorker::Pictures(UPDATES));
    native.restart(SLOTS);
    while native.step().content == Content::AccessUnit {}
    native.wait_until_exact(&desktop);
}

/// Loses video, asks in some way for what recovers, and goes on.
fn recover(encoder: &str, ask: impl Fn(u32) -> ToWorker, is_avoided: bool) {
    let desktop = Desktop::start_encoding_by(encoder);
    let mut page = Page::start(&desktop, 1);
    let mut native = Native::new(desktop.attach_for(SIZE, UPDATES), SLOTS);
    native.wait_until_exact(&desktop);
    let mut draw = || page.show_noise((0, 0), (320, 200));
    draw();
    while native.step().frame == 0 {}
    let lost = native.lose_video(&mut draw);
    let before = native.viewer.counters();
    native.viewer.send(&ask(lost));
    while native.is_blind() {
        native.step();
    }
    for _ in 0..5 {
        draw();
        native.step();
    }
    let after = native.viewer.counters();
    assert_eq!(after.keyframes == before.keyframes, is_avoided);
    native.wait_until_exact(&desktop);
    // At rest an update says so that holds nothing.
    native.seen = Seen::default();
    native.viewer.send(&ask(native.last_frame()));
    let header = native.step();
    assert!(matches!(
        header.content,
        Content::Update { recovers: true, .. }
    ));
    assert!(header.frame == 0 && native.is_exact(&desktop));
    draw();
    native.wait_until_exact(&desktop);
}

#[test]
fn a_key_frame_recovers() {
    recover("libx264", |_| ToWorker::Keyframe, false);
}

#[test]
fn an_encoder_that_can_leaves_out_what_was_lost() {
    recover("libx264", ToWorker::Invalidate, true);
}

#[test]
fn an_encoder_that_cannot_makes_a_key_frame() {
    recover("openh264", ToWorker::Invalidate, false);
}

#[test]
fn a_page_and_a_viewer_of_updates_share_a_worker() {
    let desktop = Desktop::start();
    let mut page = Page::start(&desktop, 1);
    let mut native = Native::new(desktop.attach_for(SIZE, Pictures::ACCESS_UNITS), SLOTS);
    native.step();
    native.viewer.send(&ToWorker::Pictures(BOTH));
    native.wait_until_both_rest(&desktop);
    page.type_letter(b'x', 50, 30);
    let (bytes, seen) = native.wait_until_both_rest(&desktop);
    println!("letter for both: {bytes} bytes, {seen:?}");
    assert_eq!(seen.videos, seen.access_units, "{seen:?}");
    page.scroll(3);
    native.wait_until_both_rest(&desktop);
    for _ in 0..10 {
        page.show_noise((101, 51), (180, 120));
        native.step();
    }
    let (_, seen) = native.wait_until_both_rest(&desktop);
    assert_eq!(seen.keyframes, 0, "{seen:?}");
    // Another viewer of updates.
    native.viewer.send(&ToWorker::Whole);
    native.restart(SLOTS);
    page.show_noise((11, 5), (180, 120));
    native.wait_until_both_rest(&desktop);
    // The page leaves, and comes back.
    native.viewer.send(&ToWorker::Pictures(UPDATES));
    page.show_noise((0, 0), (320, 200));
    native.wait_until_exact(&desktop);
    native.viewer.send(&ToWorker::Pictures(BOTH));
    native.viewer.send(&ToWorker::Keyframe);
    let (_, seen) = native.wait_until_both_rest(&desktop);
    assert!(seen.keyframes > 0 && seen.whole == 0, "{seen:?}");
    assert!(stays_silent(native.viewer.media.as_fd()));
}
