//! Holds reassembly against order, contradiction and greed.
#![expect(clippy::disallowed_methods, reason = "simulated time starts somewhere")]

use std::time::Instant;

use super::{Disagreement, Reassembler, StreamVerdict};
use crate::limits::{REASSEMBLY_BYTES_MAX, REORDER_UPDATES_MAX};
use crate::wire::datagram::{Epoch, Fragment, FragmentFlags, FragmentHeader};
use crate::wire::update_stream::StreamHeader;

const HEADER: FragmentHeader = FragmentHeader {
    flags: FragmentFlags {
        is_repair: false,
        is_video_only: false,
        recovers: false,
    },
    epoch: Epoch(1),
    packet: 0,
    update: 1,
    sent: 0,
    length: 2,
    index: 0,
    parity: 0,
    void: 0,
};

fn stream(update: u32, length: u32) -> StreamHeader {
    StreamHeader {
        flags: FragmentFlags::default(),
        epoch: Epoch(1),
        update,
        void: 0,
        length,
    }
}

struct Viewer {
    now: Instant,
    updates: Reassembler,
}

impl Viewer {
    fn new() -> Self {
        Self {
            now: Instant::now(),
            updates: Reassembler::default(),
        }
    }

    fn handle(&mut self, header: FragmentHeader, shard: &[u8]) -> Result<(), Disagreement> {
        let fragment = Fragment { header, shard };
        self.updates.handle_fragment(self.now, &fragment)
    }

    /// A whole update of one fragment, which holds its number.
    fn whole(&mut self, header: FragmentHeader) {
        let number = (header.update as u16).to_le_bytes();
        self.handle(header, &number).unwrap();
    }

    /// The numbers of what is handed out, and whether video is to be left out.
    fn out(&mut self) -> Vec<(u32, bool)> {
        let mut out = Vec::new();
        while let Some(it) = self.updates.poll_update() {
            out.push((it.number, it.is_video_broken));
        }
        out
    }
}

#[test]
fn updates_come_out_in_order_and_once() {
    let mut viewer = Viewer::new();
    for update in [3, 1, 3, 1] {
        viewer.whole(FragmentHeader { update, ..HEADER });
    }
    assert_eq!(viewer.out(), [(1, false)]);
    viewer.whole(FragmentHeader {
        update: 2,
        ..HEADER
    });
    viewer.whole(HEADER);
    assert_eq!(viewer.out(), [(2, false), (3, false)]);
    assert_eq!(viewer.updates.memory(), 0);
}

#[test]
fn a_newer_epoch_ends_the_one_before() {
    let mut viewer = Viewer::new();
    viewer.whole(FragmentHeader {
        update: 2,
        ..HEADER
    });
    viewer.whole(FragmentHeader {
        epoch: Epoch(2),
        update: 2,
        ..HEADER
    });
    viewer.whole(HEADER);
    assert_eq!(viewer.out(), []);
    viewer.whole(FragmentHeader {
        epoch: Epoch(2),
        ..HEADER
    });
    assert_eq!(viewer.out(), [(1, false), (2, false)]);
    assert_eq!(viewer.updates.epoch(), Epoch(2));
}

#[test]
fn void_updates_are_passed_over_until_video_recovers() {
    let mut viewer = Viewer::new();
    viewer.whole(HEADER);
    viewer.whole(FragmentHeader {
        update: 3,
        ..HEADER
    });
    // Update 2 never came, update 4 did: both are void.
    for update in [4, 5] {
        viewer.whole(FragmentHeader { update, ..HEADER });
    }
    let recovers = FragmentFlags {
        recovers: true,
        ..FragmentFlags::default()
    };
    viewer.whole(FragmentHeader {
        update: 6,
        void: 0b1010,
        flags: recovers,
        ..HEADER
    });
    let expected = [(1, false), (3, true), (5, true), (6, false)];
    assert_eq!(viewer.out(), expected);
}

#[test]
fn fragments_that_disagree_are_refused() {
    let mut viewer = Viewer::new();
    let header = FragmentHeader {
        length: 6,
        ..HEADER
    };
    viewer.handle(header, b"ab").unwrap();
    let error = Err(Disagreement { update: 1 });
    assert_eq!(viewer.handle(header, b"abcd"), error);
    let longer = FragmentHeader {
        length: 5,
        ..header
    };
    assert_eq!(viewer.handle(longer, b"cd"), error);
    for (index, shard) in [(1, b"cd"), (2, b"ef")] {
        viewer
            .handle(FragmentHeader { index, ..header }, shard)
            .unwrap();
    }
    assert_eq!(viewer.updates.poll_update().unwrap().bytes, b"abcdef");
}

#[test]
fn what_lies_too_far_ahead_is_dropped() {
    let mut viewer = Viewer::new();
    for update in [REORDER_UPDATES_MAX + 1, u32::MAX] {
        viewer.whole(FragmentHeader { update, ..HEADER });
        assert_eq!(viewer.updates.newest(), 0);
    }
    viewer.whole(FragmentHeader {
        update: REORDER_UPDATES_MAX,
        ..HEADER
    });
    assert_eq!(viewer.updates.newest(), REORDER_UPDATES_MAX);
}

#[test]
fn the_oldest_update_has_room_however_much_waits() {
    let mut viewer = Viewer::new();
    let large = |update, index| FragmentHeader {
        update,
        index,
        length: 60_000,
        ..HEADER
    };
    for update in 2..=REORDER_UPDATES_MAX {
        viewer.handle(large(update, 0), &[1; 1_000]).unwrap();
        assert!(viewer.updates.memory() <= REASSEMBLY_BYTES_MAX);
    }
    for index in 0..60 {
        viewer.handle(large(1, index), &[1; 1_000]).unwrap();
    }
    assert_eq!(viewer.out(), [(1, false)]);
}

#[test]
fn an_update_on_a_stream_takes_its_place_in_the_order() {
    let mut viewer = Viewer::new();
    let now = viewer.now;
    let updates = &mut viewer.updates;
    assert_eq!(
        updates.handle_stream(now, &stream(2, 3)),
        StreamVerdict::Read
    );
    let bytes = b"abc".to_vec();
    updates
        .handle_stream_update(now, &stream(2, 3), bytes)
        .unwrap();
    assert_eq!(
        updates.handle_stream(now, &stream(2, 3)),
        StreamVerdict::Stop
    );
    // Nobody asks for fragments of what comes by a stream.
    assert_eq!(
        updates.handle_stream(now, &stream(1, 9)),
        StreamVerdict::Read
    );
    assert_eq!(updates.incomplete().count(), 0);
    let short = updates.handle_stream_update(now, &stream(1, 9), Vec::new());
    assert_eq!(short, Err(Disagreement { update: 1 }));
    updates
        .handle_stream_update(now, &stream(1, 1), vec![0])
        .unwrap();
    assert_eq!(viewer.out(), [(1, false), (2, false)]);
}

#[test]
fn a_stream_without_room_is_read_later() {
    let mut viewer = Viewer::new();
    let now = viewer.now;
    let most = REASSEMBLY_BYTES_MAX as u32;
    let verdict = viewer.updates.handle_stream(now, &stream(2, most + 1));
    assert_eq!(verdict, StreamVerdict::Later);
    viewer.whole(HEADER);
    viewer.out();
    let verdict = viewer.updates.handle_stream(now, &stream(2, most + 1));
    assert_eq!(verdict, StreamVerdict::Read);
}
