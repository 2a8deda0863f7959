//! Holds the bytes of updates to what is documented, and the decoder against all others.

use super::*;

const HEADER: Header = Header {
    whole: None,
    is_refinement: false,
    qp: 0,
    input_seq: 42,
    captured: 0x0102_0304,
    lag: Lapse(3),
    encode: Lapse(0x0405),
};

const fn rect(x: u16, y: u16, width: u16, height: u16) -> Rect {
    Rect {
        x,
        y,
        width,
        height,
    }
}

const RUNS: Coding = Coding {
    form: Form::Runs,
    is_packed: true,
};

/// One of each, as the documentation shows it.
fn every_op(draft: &mut Draft) {
    draft.copy(rect(0, 16, 640, 464), Point { x: 0, y: 0 });
    draft.keep(7, 1);
    draft.keep(8, 2);
    draft.cached(9, 0x0100);
    draft.fill(rect(64, 0, 64, 64), 0x0011_2233);
    draft.fill(rect(128, 0, 64, 64), 0x0011_2233);
    draft.tile(rect(3, 5, 2, 1), RUNS, b"abc");
    draft.video(&[rect(1, 2, 3, 4), rect(5, 6, 7, 8)], b"h264");
}

/// These bytes are the contract with every viewer ever shipped.
const GOLDEN: &[u8] = &[
    3, 30, 6, 0, 42, 0, 0, 0, 4, 3, 2, 1, 3, 0, 5, 4, // header
    128, 7, 56, 4, // the whole of 1920×1080
    1, 0, 0, 16, 0, 128, 2, 208, 1, 0, 0, 0, 0, // copy
    4, 7, 0, 1, 0, 2, // keep
    5, 9, 0, 0, 1, 1, // cached
    2, 64, 0, 0, 0, 128, 0, 64, 0, 0x33, 0x22, 0x11, // fill
    3, 3, 0, 5, 0, 2, 0, 1, 0, 0x81, 3, 0, 97, 98, 99, // tile
    6, 2, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8, 0, 4, 0, 0, 0, 104, 50, 54,
    52, // video
];

fn golden_header() -> Header {
    Header {
        whole: Some(Size {
            width: 1920,
            height: 1080,
        }),
        is_refinement: true,
        qp: 30,
        ..HEADER
    }
}

#[test]
fn the_bytes_of_an_update_never_change() {
    let mut draft = Draft::default();
    every_op(&mut draft);
    assert_eq!(draft.finish(&golden_header()), GOLDEN);
    let update = Update::decode(GOLDEN).unwrap();
    assert_eq!(update.header, golden_header());
    let mut ops = update.ops();
    assert_eq!(
        ops.next(),
        Some(Op::Copy {
            from: rect(0, 16, 640, 464),
            to: Point { x: 0, y: 0 },
        })
    );
    let Some(Op::Keep(run)) = ops.next() else {
        panic!("no keep")
    };
    assert_eq!(run.pairs().collect::<Vec<_>>(), [(7, 1), (8, 2)]);
    assert!(matches!(ops.next(), Some(Op::Cached(run)) if run.slot == 0x0100));
    assert_eq!(
        ops.next(),
        Some(Op::Fill {
            rect: rect(64, 0, 128, 64),
            colour: 0x0011_2233,
        })
    );
    assert_eq!(
        ops.next(),
        Some(Op::Tile {
            rect: rect(3, 5, 2, 1),
            coding: RUNS,
            bytes: b"abc",
        })
    );
    let Some(Op::Video { rects, access_unit }) = ops.next() else {
        panic!("no video")
    };
    assert_eq!(
        rects.iter().collect::<Vec<_>>(),
        [rect(1, 2, 3, 4), rect(5, 6, 7, 8)]
    );
    assert_eq!(access_unit, b"h264");
    assert_eq!(ops.next(), None);
}

/// The same for text.
const GOLDEN_TEXT: &[u8] = &[
    0, 0, 1, 0, 42, 0, 0, 0, 4, 3, 2, 1, 3, 0, 5, 4, // header
    7, 1, 0, 2, 0, 3, 0, 4, 0, 24, 0, 0, 0, 2, 0, 0, 0, 97, 98, // text
];

/// And for text that goes on.
const GOLDEN_MORE_TEXT: &[u8] = &[
    0, 0, 1, 0, 42, 0, 0, 0, 4, 3, 2, 1, 3, 0, 5, 4, // header
    8, 1, 0, 2, 0, 3, 0, 4, 0, 24, 0, 0, 0, 2, 0, 0, 0, 97, 98, // more text
];

#[test]
fn the_bytes_of_text_never_change_and_every_cut_is_refused() {
    for (goes_on, golden) in [(false, GOLDEN_TEXT), (true, GOLDEN_MORE_TEXT)] {
        let mut draft = Draft::default();
        draft.text(rect(1, 2, 3, 4), goes_on, 24, b"ab");
        assert_eq!(draft.finish(&HEADER), golden);
        let text = Op::Text {
            rect: rect(1, 2, 3, 4),
            goes_on,
            body_len: 24,
            bytes: b"ab",
        };
        let ops = Update::decode(golden).unwrap().ops();
        assert_eq!(ops.collect::<Vec<_>>(), [text]);
        for end in 0..golden.len() {
            let cut = Update::decode(&golden[..end]);
            assert_eq!(cut, Err(UpdateError::Short), "{end}");
        }
    }
}

#[test]
fn more_text_than_fits_is_refused() {
    let changed = |at: usize, bytes: &[u8]| {
        let mut update = GOLDEN_TEXT.to_vec();
        update[at..at + bytes.len()].copy_from_slice(bytes);
        Update::decode(&update).map(|_| ())
    };
    let large = rect(1, 2, 2_048, 1_025);
    let sides = [0, 8, 1, 4];
    assert_eq!(changed(21, &sides), Err(UpdateError::Rect(large)));
    assert_eq!(changed(21, &[0, 8, 0, 4]), Ok(()));
    // Twelve pixels, and colours.
    let what = "bytes of text";
    let count = 12 + 8_193;
    let refused = Err(UpdateError::Count { what, count });
    assert_eq!(changed(25, &[13, 32]), refused);
    assert_eq!(changed(25, &[12, 32]), Ok(()));
}

#[test]
fn a_draft_is_used_again_with_nothing_left_of_the_one_before() {
    let mut draft = Draft::default();
    every_op(&mut draft);
    draft.finish(&golden_header());
    draft.clear();
    assert!(draft.is_empty());
    assert_eq!(draft.finish(&HEADER).len(), HEADER_LEN);
    draft.fill(rect(0, 0, 1, 1), 0);
    assert!(!draft.is_empty());
    let bytes = draft.finish(&HEADER);
    assert_eq!(bytes.len(), HEADER_LEN + 12);
    let update = Update::decode(bytes).unwrap();
    assert_eq!((update.header, update.ops().count()), (HEADER, 1));
}

#[test]
fn every_cut_of_an_update_is_refused() {
    for end in 0..GOLDEN.len() {
        assert_eq!(
            Update::decode(&GOLDEN[..end]),
            Err(UpdateError::Short),
            "{end}"
        );
    }
}

#[test]
fn what_the_layout_does_not_know_is_refused() {
    #[track_caller]
    fn check(at: usize, value: u8, expected: UpdateError) {
        let mut bytes = GOLDEN.to_vec();
        bytes[at] = value;
        assert_eq!(Update::decode(&bytes), Err(expected));
    }
    let unknown = |what, value| UpdateError::Unknown { what, value };
    let count = |what, count| UpdateError::Count { what, count };
    check(0, 4, unknown("flag", 4));
    check(
        17,
        0,
        UpdateError::Desktop(Size {
            width: 128,
            height: 1080,
        }),
    );
    check(20, 9, unknown("op", 9));
    check(38, 0, count("tiles", 0));
    check(66, 5, unknown("coding", 5));
    check(73, 65, count("video rectangles", 65));
    let mut bytes = GOLDEN.to_vec();
    bytes.push(0);
    assert_eq!(Update::decode(&bytes), Err(UpdateError::Trailing(1)));
}

#[test]
fn rectangles_without_pixels_or_with_too_many_are_refused() {
    #[track_caller]
    fn check(op: &[u8]) {
        let mut bytes = vec![0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend(op);
        assert!(
            matches!(Update::decode(&bytes), Err(UpdateError::Rect(_))),
            "{op:?}"
        );
    }
    check(&[2, 0, 0, 0, 0, 0, 0, 1, 0, 1, 2, 3]);
    check(&[2, 0, 0, 0, 0, 1, 0, 0, 0, 1, 2, 3]);
    check(&[2, 255, 255, 0, 0, 1, 0, 1, 0, 1, 2, 3]);
    check(&[3, 0, 0, 0, 0, 129, 0, 128, 0, 3, 0, 0]);
    check(&[6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
}

#[test]
fn runs_that_leave_their_numbers_are_refused_and_never_made() {
    let mut bytes = vec![0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend([4, 0, 0, 255, 255, 1]);
    assert!(matches!(
        Update::decode(&bytes),
        Err(UpdateError::Count { what: "tiles", .. })
    ));
    let mut draft = Draft::default();
    for it in 0..600 {
        draft.keep(it, it);
    }
    let bytes = draft.finish(&HEADER).to_vec();
    let counts = Update::decode(&bytes).unwrap();
    assert_eq!(counts.ops().count(), 3);
}

#[test]
fn two_access_units_are_refused() {
    let mut draft = Draft::default();
    draft.video(&[rect(0, 0, 1, 1)], b"1");
    draft.video(&[rect(0, 0, 1, 1)], b"2");
    assert_eq!(
        Update::decode(draft.finish(&HEADER)),
        Err(UpdateError::Count {
            what: "access units",
            count: 2,
        })
    );
}

#[test]
fn video_is_alone_where_nothing_is_before_or_after_it() {
    let mut draft = Draft::default();
    assert!(!draft.is_video_alone());
    draft.video(&[rect(0, 0, 2, 2)], b"au");
    assert!(draft.is_video_alone());
    draft.fill(rect(0, 0, 1, 1), 1);
    assert!(!draft.is_video_alone());
    draft.clear();
    draft.keep(1, 1);
    draft.video(&[rect(0, 0, 2, 2)], b"au");
    assert!(!draft.is_video_alone());
}

#[test]
fn a_lapse_saturates() {
    assert_eq!(Lapse::from_micros(u64::MAX).micros(), 65_535 * 16);
    assert_eq!(Lapse::from_micros(33).micros(), 32);
}
