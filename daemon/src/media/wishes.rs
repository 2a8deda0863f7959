//! What only the viewer in control may tell the worker, and what pictures viewers wish for.

use sandbox_core::permit::{Control, Permit};
use sandbox_protocol::Size;
use sandbox_protocol::local::worker::ToWorker;
use sandbox_protocol::wire::input::Packet;

/// Pictures that a viewer cannot go on without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    /// The next video must be decodable alone.
    pub(super) keyframe: bool,
    /// The next update must be a whole one.
    pub(super) whole: bool,
    /// The access units from this one on are lost.
    pub(super) lost: Option<u32>,
}

/// The worker applies each event once, whichever copy of it comes first.
pub(super) fn input(_: &Permit<Control>, packet: Packet) -> ToWorker {
    ToWorker::Input {
        stream: packet.stream,
        first_seq: packet.first_seq,
        events: packet.events,
        pointer: packet.pointer,
        held: packet.held,
    }
}

pub(super) const fn paste(_: &Permit<Control>, text: String, last: bool) -> ToWorker {
    ToWorker::Paste { text, last }
}

pub(super) const fn resize(_: &Permit<Control>, size: Size) -> ToWorker {
    ToWorker::Resize(size)
}
