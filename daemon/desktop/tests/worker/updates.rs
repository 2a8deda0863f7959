//! What viewers of updates show, and what it costs.

use std::os::fd::AsFd as _;

use sandbox_protocol::Size;
use sandbox_protocol::local::frame::Content;
use sandbox_protocol::local::worker::{Pictures, ToWorker};

use crate::harness::{Desktop, SIZE, stays_silent};
use crate::native::Native;
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
    let before = native.viewer.counters();
    assert!(stays_silent(native.viewer.media.as_fd()));
    assert_eq!(native.viewer.counters(), before);
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
