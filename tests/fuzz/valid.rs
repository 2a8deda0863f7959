//! Messages that peers of ours send, at least one of each kind: what the corpus is made of.

mod control;
mod local;
mod pictures;
mod texts;

use sandbox_protocol::Size;
use sandbox_protocol::wire::datagram::{
    Cursor, Epoch, FeedbackHeader, FragmentFlags, FragmentHeader, Nack, Ping, Pong, ReferenceLost,
    SoundHeader, Wanted,
};
use sandbox_protocol::wire::input::{Event, Move, Packet, encode_ack};
use sandbox_protocol::wire::update::{Header, Lapse};
use sandbox_protocol::wire::update_stream::StreamHeader;

pub(crate) use control::{control_from_server, control_from_viewer};
pub(crate) use local::{frame, local};
pub(crate) use pictures::{tile, update, updates};
pub(crate) use texts::{address, ctl, script, signal};

pub(crate) const SIZE: Size = Size {
    width: 330,
    height: 210,
};

pub(crate) const HEADER: Header = Header {
    whole: None,
    is_refinement: false,
    qp: 20,
    input_seq: 7,
    captured: 8,
    lag: Lapse::from_steps(9),
    encode: Lapse::from_steps(10),
};

pub(super) const EVENTS: [Event; 5] = [
    Event::Key {
        code: 30,
        keysym: 0x61,
        is_down: true,
    },
    Event::Button {
        button: 2,
        is_down: false,
        x: 640,
        y: u16::MAX,
    },
    Event::Wheel {
        dx: -120,
        dy: 240,
        x: 1,
        y: 2,
    },
    Event::ReleaseAll,
    Event::MoveBy { dx: -3, dy: 260 },
];

pub(super) const POINTER: Move = Move {
    after: 12,
    number: 77,
    x: 3,
    y: 4,
};

pub(crate) fn input() -> Vec<Vec<u8>> {
    let packet = |events: &[Event], pointer, held| {
        let events = events.to_vec();
        let packet = Packet {
            stream: 0x0102_0304_0506_0708,
            first_seq: 9,
            events,
            pointer,
            held,
        };
        packet.encode()
    };
    vec![
        packet(&EVENTS, Some(POINTER), Some(vec![30, 42])),
        packet(&EVENTS, None, None),
        packet(&[], Some(POINTER), None),
        packet(&[], None, Some(vec![1; 32])),
        packet(&[Event::ReleaseAll; 32], None, Some(vec![])),
    ]
}

pub(crate) fn from_viewer() -> Vec<Vec<u8>> {
    let epoch = Epoch(1);
    let mut all = vec![input().swap_remove(0)];
    let mut out = Vec::new();
    let header = FeedbackHeader {
        epoch,
        delivered: 2,
        newest: 3,
        decode_queue: 4,
        display_hz: 60,
        first_packet: 5,
        base: 6,
        held: 7,
    };
    for count in [0, 3, 128] {
        let arrivals = (0..count).map(|it| (it % 3 != 0).then_some(it as u32 * 16));
        header.encode_into(arrivals, &mut out);
        all.push(out.clone());
    }
    let wanted = |update| Wanted {
        update,
        count: 2,
        round: 1,
    };
    for count in [0, 2, 32] {
        Nack::encode_into(
            epoch,
            &(1..=count).map(wanted).collect::<Vec<_>>(),
            &mut out,
        );
        all.push(out.clone());
    }
    let lost = ReferenceLost {
        epoch,
        first: 2,
        last: 3,
        good: 1,
    };
    lost.encode_into(&mut out);
    all.push(out.clone());
    Ping { number: 9 }.encode_into(&mut out);
    all.push(out);
    all
}

pub(crate) fn from_server() -> Vec<Vec<u8>> {
    let epoch = Epoch(1);
    let mut all = vec![encode_ack(1, 2).to_vec()];
    let mut out = Vec::new();
    for (is_repair, length, shard) in [(false, 5, 6), (true, u16::MAX, 1_100), (false, 128, 2)] {
        let flags = FragmentFlags {
            is_repair,
            is_video_only: !is_repair,
            recovers: is_repair,
        };
        let header = FragmentHeader {
            flags,
            epoch,
            packet: 2,
            update: 3,
            sent: 4,
            length,
            index: 0,
            parity: 1,
            void: 6,
        };
        all.push([&header.encode()[..], &vec![7; shard]].concat());
    }
    let sound = SoundHeader {
        epoch,
        packet: 1,
        number: 2,
        taken: 3,
    };
    for length in [1, 1_000] {
        sound.encode_into(&vec![5; length], &mut out);
        all.push(out.clone());
    }
    let cursor = Cursor {
        number: 1,
        is_visible: true,
        x: 2,
        y: 3,
    };
    cursor.encode_into(&mut out);
    all.push(out.clone());
    let (number, clock) = (1, 2);
    Pong { number, clock }.encode_into(&mut out);
    all.push(out);
    all
}

pub(crate) fn update_stream() -> Vec<Vec<u8>> {
    let header = |is_video_only, length| StreamHeader {
        flags: FragmentFlags {
            is_repair: false,
            is_video_only,
            recovers: !is_video_only,
        },
        epoch: Epoch(1),
        update: 2,
        void: 3,
        length,
    };
    let headers = [header(false, 1), header(true, 16 << 20)];
    headers.map(|it| it.encode().to_vec()).to_vec()
}
