//! The worker on a real X server, with this test in the place of warden, daemon and program.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::let_underscore_must_use,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail by panicking, wherever its helpers live"
)]

mod eye;
mod harness;
mod input;
mod life;
mod native;
mod page;
mod picture;
mod program;
mod seal;
mod selection;
mod updates;
mod xvfb;

use sandbox_protocol::wire::input::Event;

use crate::harness::Viewer;

/// The viewer's input stream.
const STREAM: u64 = 7;

/// Evdev code and keysym of a key.
const A: (u16, u32) = (30, 'a' as u32);

fn key((code, keysym): (u16, u32), is_down: bool) -> Event {
    Event::Key {
        code,
        keysym,
        is_down,
    }
}

fn press(viewer: &mut Viewer, first_seq: u32, it: (u16, u32)) {
    viewer.send_events(STREAM, first_seq, &[key(it, true), key(it, false)]);
    viewer.wait_for_ack(STREAM, first_seq + 1);
}
