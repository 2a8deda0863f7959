//! The bytes of every datagram, cut, turned and as they must stay.

use super::*;

/// What a writer wrote.
fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = vec![0xee; 3];
    write(&mut out);
    out
}

const FRAGMENT: FragmentHeader = FragmentHeader {
    flags: FragmentFlags {
        is_repair: true,
        is_video_only: true,
        recovers: false,
    },
    epoch: Epoch(0x0201),
    packet: 0x0403,
    update: 0x0807_0605,
    sent: 0x0c0b_0a09,
    length: 5,
    index: 2,
    parity: 1,
    void: 0x8000_0001,
};

const FRAGMENT_BYTES: &[u8] = &[
    3, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 5, 0, 2, 1, 1, 0, 0, 128, b'e', 0,
];

const FEEDBACK: FeedbackHeader = FeedbackHeader {
    epoch: Epoch(1),
    delivered: 2,
    newest: 3,
    decode_queue: 4,
    display_hz: 60,
    first_packet: 0xfffe,
    base: 5,
    held: 6,
};

const FEEDBACK_BYTES: &[u8] = &[
    5, 1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 60, 254, 255, 5, 0, 0, 0, 6, 0, 3, 0, 0, 255, 255, 2, 0,
];

const WANTED: [Wanted; 2] = [
    Wanted {
        update: 7,
        count: 3,
        round: 1,
    },
    Wanted {
        update: 9,
        count: ALL_FRAGMENTS,
        round: 0,
    },
];

const NACK_BYTES: &[u8] = &[6, 1, 0, 2, 7, 0, 0, 0, 3, 1, 9, 0, 0, 0, 255, 0];
const LOST_BYTES: &[u8] = &[7, 1, 0, 5, 0, 0, 0, 6, 0, 0, 0, 4, 0, 0, 0];
const CURSOR_BYTES: &[u8] = &[8, 1, 1, 0, 2, 0, 3, 0];
const SOUND_BYTES: &[u8] = &[4, 1, 0, 2, 0, 3, 0, 4, 0, 0, 0, b'o', b'p'];
const PING_BYTES: &[u8] = &[9, 1, 2];
const PONG_BYTES: &[u8] = &[10, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0];
const ACK_BYTES: &[u8] = &[2, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0];
const INPUT_BYTES: &[u8] = &[1, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 4];

const FROM_VIEWER: [&[u8]; 5] = [
    INPUT_BYTES,
    FEEDBACK_BYTES,
    NACK_BYTES,
    LOST_BYTES,
    PING_BYTES,
];
const FROM_SERVER: [&[u8]; 5] = [
    ACK_BYTES,
    FRAGMENT_BYTES,
    SOUND_BYTES,
    CURSOR_BYTES,
    PONG_BYTES,
];

#[test]
fn the_bytes_of_a_fragment_never_change() {
    let mut bytes = FRAGMENT.encode().to_vec();
    bytes.extend(b"e\0");
    assert_eq!(bytes, FRAGMENT_BYTES);
    let fragment = Fragment {
        header: FRAGMENT,
        shard: b"e\0",
    };
    assert_eq!(
        FromServer::decode(FRAGMENT_BYTES),
        Ok(FromServer::Fragment(fragment))
    );
    assert_eq!(fragment.data_count(), 3);
}

#[test]
fn the_bytes_of_a_report_never_change() {
    let arrivals = [Some(0), None, Some(47)];
    let bytes = written(|out| FEEDBACK.encode_into(arrivals.into_iter(), out));
    assert_eq!(bytes, FEEDBACK_BYTES);
    let Ok(FromViewer::Feedback(feedback)) = FromViewer::decode(FEEDBACK_BYTES) else {
        panic!("no feedback");
    };
    assert_eq!(feedback.header, FEEDBACK);
    let read: Vec<_> = feedback.arrivals.iter().collect();
    assert_eq!(read, [Some(0), None, Some(32)]);
}

#[test]
fn an_arrival_beyond_what_a_report_spans_has_arrived_all_the_same() {
    let bytes = written(|out| FEEDBACK.encode_into([Some(u32::MAX)].into_iter(), out));
    let Ok(FromViewer::Feedback(feedback)) = FromViewer::decode(&bytes) else {
        panic!("no feedback");
    };
    assert_eq!(feedback.arrivals.iter().next(), Some(Some(1_048_544)));
}

#[test]
fn the_bytes_of_requests_for_repair_never_change() {
    let bytes = written(|out| Nack::encode_into(Epoch(1), &WANTED, out));
    assert_eq!(bytes, NACK_BYTES);
    let Ok(FromViewer::Nack(nack)) = FromViewer::decode(NACK_BYTES) else {
        panic!("no request");
    };
    assert_eq!(nack.iter().collect::<Vec<_>>(), WANTED);
    let lost = ReferenceLost {
        epoch: Epoch(1),
        first: 5,
        last: 6,
        good: 4,
    };
    assert_eq!(written(|out| lost.encode_into(out)), LOST_BYTES);
    assert_eq!(
        FromViewer::decode(LOST_BYTES),
        Ok(FromViewer::ReferenceLost(lost))
    );
}

#[test]
fn the_bytes_of_small_datagrams_never_change() {
    let cursor = Cursor {
        number: 1,
        is_visible: true,
        x: 2,
        y: 3,
    };
    let sound = SoundHeader {
        epoch: Epoch(1),
        packet: 2,
        number: 3,
        taken: 4,
    };
    let ping = Ping { number: 0x0201 };
    let pong = Pong {
        number: 0x0201,
        clock: 3,
    };
    assert_eq!(written(|out| cursor.encode_into(out)), CURSOR_BYTES);
    assert_eq!(written(|out| sound.encode_into(b"op", out)), SOUND_BYTES);
    assert_eq!(written(|out| ping.encode_into(out)), PING_BYTES);
    assert_eq!(written(|out| pong.encode_into(out)), PONG_BYTES);
    let read = |bytes| FromServer::decode(bytes).unwrap();
    assert_eq!(read(CURSOR_BYTES), FromServer::Cursor(cursor));
    assert_eq!(read(SOUND_BYTES), FromServer::Sound(sound, b"op"));
    assert_eq!(read(PONG_BYTES), FromServer::Pong(pong));
    assert_eq!(read(ACK_BYTES), FromServer::InputAck { stream: 1, seq: 2 });
    assert_eq!(FromViewer::decode(PING_BYTES), Ok(FromViewer::Ping(ping)));
}

#[test]
fn every_cut_of_every_datagram_is_refused() {
    for whole in FROM_VIEWER {
        for end in 0..whole.len() {
            assert!(
                FromViewer::decode(&whole[..end]).is_err(),
                "{whole:?} {end}"
            );
        }
    }
    for whole in FROM_SERVER {
        // The contents of a fragment and of sound have no length of their own.
        let last = match whole[0] {
            CLASS_SOUND => SOUND_HEADER_LEN + 1,
            _ => whole.len(),
        };
        for end in 0..last {
            assert!(
                FromServer::decode(&whole[..end]).is_err(),
                "{whole:?} {end}"
            );
        }
    }
}

#[test]
fn every_turned_byte_is_read_or_refused() {
    for whole in FROM_VIEWER.into_iter().chain(FROM_SERVER) {
        for at in 0..whole.len() {
            for value in 0..=u8::MAX {
                let mut bytes = whole.to_vec();
                bytes[at] = value;
                if let Ok(FromServer::Fragment(it)) = FromServer::decode(&bytes) {
                    assert!(it.data_count() <= crate::limits::FRAGMENTS_MAX);
                }
                if let Ok(FromViewer::Feedback(it)) = FromViewer::decode(&bytes) {
                    assert_eq!(it.arrivals.iter().count(), it.arrivals.len());
                }
            }
        }
    }
}

#[test]
fn what_the_layout_does_not_know_is_refused() {
    #[track_caller]
    fn check(bytes: &[u8], at: usize, value: u8, what: &'static str, number: u32) {
        let mut bytes = bytes.to_vec();
        bytes[at] = value;
        let error = DatagramError::Field {
            what,
            value: number,
        };
        let (viewer, server) = (FromViewer::decode(&bytes), FromServer::decode(&bytes));
        assert!(
            viewer == Err(error) || server == Err(error),
            "{viewer:?} {server:?}"
        );
    }
    check(FRAGMENT_BYTES, 1, 8, "flags", 8);
    check(FRAGMENT_BYTES, 14, 0, "length", 0);
    check(FRAGMENT_BYTES, 14, 200, "fragments", 100);
    check(FRAGMENT_BYTES, 16, 35, "index", 35);
    check(FRAGMENT_BYTES, 17, 33, "parity", 33);
    check(FEEDBACK_BYTES, 21, 129, "count", 129);
    check(NACK_BYTES, 3, 33, "count", 33);
    check(LOST_BYTES, 11, 5, "first lost update", 5);
    check(LOST_BYTES, 7, 4, "first lost update", 5);
    check(CURSOR_BYTES, 1, 2, "flags", 2);
    assert_eq!(FromViewer::decode(&[]), Err(DatagramError::Empty));
    assert_eq!(
        FromViewer::decode(FRAGMENT_BYTES),
        Err(DatagramError::Class(3))
    );
    assert_eq!(FromServer::decode(NACK_BYTES), Err(DatagramError::Class(6)));
    let long = vec![CLASS_FRAGMENT; DATAGRAM_BYTES_MAX + 1];
    assert_eq!(
        FromServer::decode(&long),
        Err(DatagramError::Long(DATAGRAM_BYTES_MAX + 1))
    );
}

#[test]
fn bytes_after_a_datagram_are_refused() {
    for whole in FROM_VIEWER {
        let bytes = [whole, &[0]].concat();
        assert!(FromViewer::decode(&bytes).is_err(), "{bytes:?}");
    }
    for whole in [ACK_BYTES, CURSOR_BYTES, PONG_BYTES] {
        let bytes = [whole, &[0]].concat();
        assert_eq!(FromServer::decode(&bytes), Err(DatagramError::Trailing(1)));
    }
}

#[test]
fn epochs_are_compared_around_their_end() {
    assert!(Epoch(0).is_after(Epoch(u16::MAX)));
    assert!(!Epoch(u16::MAX).is_after(Epoch(0)));
    assert!(!Epoch(3).is_after(Epoch(3)));
    assert_eq!(Epoch(u16::MAX).next(), Epoch(0));
}
