//! Frames and messages of the control stream: cut, hostile, of another version, and as they must
//! stay.

use super::*;
use crate::Size;

const SIZE: Size = Size {
    width: 1_920,
    height: 1_080,
};

const DISPLAY: Display = Display {
    x: 0,
    y: 0,
    size: SIZE,
    scale: 100,
};

fn config() -> StreamConfig {
    StreamConfig {
        epoch: 1,
        size: SIZE,
        codec: Codec::H264,
        profile: Profile::Main,
        chroma: Chroma::Yuv420,
        cache_mib: 64,
    }
}

/// One of each, in the order of their kinds.
fn from_viewer() -> Vec<FromViewer> {
    let capability = VideoCapability {
        codec: Codec::Av1,
        profile: Profile::Main,
        chroma: Chroma::Yuv420,
        size: SIZE,
        decode_us: 3_000,
    };
    vec![
        FromViewer::Hello {
            minor_min: 0,
            minor_max: 1,
            features: 2,
            video: vec![capability],
            cache_mib: 64,
            agent: "v".to_owned(),
        },
        FromViewer::Auth(AuthMethod::Password {
            user: "anna".to_owned(),
            password: Secret("pw".to_owned()),
        }),
        FromViewer::Attach {
            session: None,
            profile: None,
            displays: vec![DISPLAY],
        },
        FromViewer::Start,
        FromViewer::Displays(vec![DISPLAY]),
        FromViewer::Quality(50),
        FromViewer::WholePicture,
        FromViewer::Paste {
            text: "é".to_owned(),
            is_last: true,
        },
        FromViewer::Suspend,
        FromViewer::Resume,
        FromViewer::Detach,
        FromViewer::Goodbye { code: 0x100 },
        FromViewer::TakeControl,
        FromViewer::LinkRate { kbps: 40_000 },
    ]
}

/// One of each, in the order of their kinds.
fn from_server() -> Vec<FromServer> {
    vec![
        FromServer::Hello {
            minor: 0,
            features: 1,
            node: [7; 16],
            codec: Codec::H264,
            cache_mib: 64,
        },
        FromServer::Welcome {
            user: "anna".to_owned(),
            ticket: ([1; 16], Secret([2; 32])),
            ticket_seconds: 60,
        },
        FromServer::AuthFailed {
            why: AuthFailure::TooMany,
            retry_after_ms: 1_000,
        },
        FromServer::Attached {
            session: crate::SessionId::from_bytes([3; 16]),
            lease: 4,
            config: config(),
            notices: vec!["n".to_owned()],
        },
        FromServer::Config(config()),
        FromServer::Notice {
            code: "c".to_owned(),
            text: "t".to_owned(),
        },
        FromServer::Copied {
            text: "x".to_owned(),
            is_first: true,
            is_last: false,
        },
        FromServer::CursorShape {
            size: Size {
                width: 1,
                height: 1,
            },
            hot_x: 0,
            hot_y: 0,
            rgba: vec![1, 2, 3, 4],
        },
        FromServer::NextKey([5; 32]),
        FromServer::Detached {
            reason: "requested".to_owned(),
        },
        FromServer::Goodbye {
            code: 0x10e,
            retry_after_ms: 1,
            node: String::new(),
        },
        FromServer::Control { has_control: true },
        FromServer::Pasted,
        FromServer::PublicUrl("https://box".to_owned()),
        FromServer::LinkRate { kbps: 40_000 },
    ]
}

fn frame<M: Message>(message: &M) -> Vec<u8> {
    let mut out = Vec::new();
    encode_into(message, &mut out).unwrap();
    out.split_off(LENGTH_LEN)
}

#[track_caller]
fn check_kinds<M: Message + PartialEq + std::fmt::Debug>(messages: Vec<M>) {
    assert_eq!(messages.len(), M::KINDS as usize);
    for (kind, message) in (0_u32..).zip(messages) {
        let frame = frame(&message);
        assert_eq!(frame[..4], kind.to_le_bytes(), "{message:?}");
        assert_eq!(decode::<M>(&frame).unwrap().as_ref(), Some(&message));
        for end in 0..frame.len() {
            assert!(decode::<M>(&frame[..end]).is_err(), "{message:?} {end}");
        }
    }
}

#[test]
fn every_message_has_its_kind_and_survives() {
    check_kinds(from_viewer());
    check_kinds(from_server());
}

#[test]
fn the_bytes_of_a_message_never_change() {
    let mut bytes = Vec::new();
    encode_into(&from_viewer()[0], &mut bytes).unwrap();
    #[rustfmt::skip]
    let hello = [
        55, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0,
        1, 0, 0, 0, 0, 0, 0, 0,
        1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 128, 7, 56, 4, 184, 11, 0, 0,
        64, 0, 1, 0, 0, 0, 0, 0, 0, 0, b'v',
    ];
    assert_eq!(bytes, hello);
    bytes.clear();
    encode_into(&from_server()[10], &mut bytes).unwrap();
    let goodbye = [
        20, 0, 0, 0, 10, 0, 0, 0, 14, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    assert_eq!(bytes, goodbye);
    bytes.clear();
    encode_into(&from_viewer()[12], &mut bytes).unwrap();
    encode_into(&from_server()[11], &mut bytes).unwrap();
    assert_eq!(bytes, [4, 0, 0, 0, 12, 0, 0, 0, 5, 0, 0, 0, 11, 0, 0, 0, 1]);
    bytes.clear();
    encode_into(&from_server()[12], &mut bytes).unwrap();
    assert_eq!(bytes, [4, 0, 0, 0, 12, 0, 0, 0]);
    bytes.clear();
    encode_into(&FromServer::PublicUrl("u".to_owned()), &mut bytes).unwrap();
    let url = [13, 0, 0, 0, 13, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, b'u'];
    assert_eq!(bytes, url);
    bytes.clear();
    encode_into(&from_viewer()[13], &mut bytes).unwrap();
    encode_into(&from_server()[14], &mut bytes).unwrap();
    let rate = |kind| [8, 0, 0, 0, kind, 0, 0, 0, 0x40, 0x9c, 0, 0];
    assert_eq!(bytes, [rate(13), rate(14)].concat());
}

#[test]
fn what_is_not_known_is_skipped_unless_it_is_critical() {
    let later = |kind: u32| [&kind.to_le_bytes()[..], b"whatever"].concat();
    assert!(decode::<FromViewer>(&later(14)).unwrap().is_none());
    assert!(
        decode::<FromViewer>(&later(CRITICAL_KIND - 1))
            .unwrap()
            .is_none()
    );
    assert!(matches!(
        decode::<FromViewer>(&later(CRITICAL_KIND)),
        Err(ControlError::Kind(CRITICAL_KIND))
    ));
    let extended = |kind: u16| {
        let mut bytes = frame(&FromViewer::Start);
        bytes.extend(kind.to_le_bytes());
        bytes.extend([2, 0, b'o', b'k']);
        bytes
    };
    let read = decode::<FromViewer>(&extended(7)).unwrap();
    assert_eq!(read, Some(FromViewer::Start));
    assert!(matches!(
        decode::<FromViewer>(&extended(CRITICAL_EXTENSION | 7)),
        Err(ControlError::Extension(0x8007))
    ));
    let mut cut = extended(7);
    cut.pop();
    assert!(matches!(
        decode::<FromViewer>(&cut),
        Err(ControlError::Malformed {
            kind: 3,
            source: None
        })
    ));
}

#[test]
fn a_stranger_may_say_less_than_who_signed_in() {
    let mut bytes = Vec::new();
    let paste = FromViewer::Paste {
        text: "x".repeat(5_000),
        is_last: true,
    };
    encode_into(&paste, &mut bytes).unwrap();
    let mut frames = Frames::default();
    assert_eq!(frames.room(Trust::Stranger), 4 + 4_096);
    // The length alone is enough to refuse it.
    frames.handle_bytes(&bytes[..4]);
    assert!(matches!(
        frames.poll_frame(Trust::Stranger),
        Err(ControlError::Long {
            length: 5_013,
            most: 4_096
        })
    ));
    frames.handle_bytes(&bytes[4..]);
    let frame = frames.poll_frame(Trust::SignedIn).unwrap().unwrap();
    assert_eq!(decode(frame).unwrap(), Some(paste));
}

#[test]
fn messages_are_found_in_whatever_pieces_they_come() {
    let messages = from_viewer();
    let mut bytes = Vec::new();
    for message in &messages {
        encode_into(message, &mut bytes).unwrap();
    }
    for piece in [1, 3, 7, bytes.len()] {
        let mut frames = Frames::default();
        let mut read = Vec::new();
        for piece in bytes.chunks(piece) {
            assert!(piece.len() <= frames.room(Trust::Stranger));
            frames.handle_bytes(piece);
            while let Some(frame) = frames.poll_frame(Trust::Stranger).unwrap() {
                read.extend(decode::<FromViewer>(frame).unwrap());
            }
        }
        assert_eq!(read, messages, "{piece}");
    }
}

#[test]
fn a_length_inside_a_message_allocates_nothing() {
    let mut bytes = frame(&FromViewer::Displays(vec![DISPLAY]));
    bytes[4..12].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(decode::<FromViewer>(&bytes).is_err());
    bytes[4..12].copy_from_slice(&(1_u64 << 30).to_le_bytes());
    assert!(decode::<FromViewer>(&bytes).is_err());
}

#[test]
fn every_turned_byte_is_read_or_refused() {
    for message in from_viewer() {
        let whole = frame(&message);
        for at in 0..whole.len() {
            for value in [0, 1, 2, 127, 128, 255] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                let _read = decode::<FromViewer>(&bytes).is_ok();
            }
        }
    }
}

#[test]
fn secrets_stay_out_of_logs() {
    let shown = format!("{:?} {:?}", from_viewer()[1], from_server()[1]);
    assert!(!shown.contains("pw") && !shown.contains("2, 2"), "{shown}");
}
