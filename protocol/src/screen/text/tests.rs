//! Holds text to what was coded, to its size, and to refusing all else.

use super::*;
use crate::Size;
use crate::screen::coding::{Coded, Coder};
use crate::screen::sample::{Page, Random, lines};

const SIZE: Size = Size {
    width: 640,
    height: 800,
};

fn page(is_soft: bool) -> Page {
    let mut page = Page::new(SIZE.width, SIZE.height);
    page.is_soft = is_soft;
    for (n, line) in (0..).zip(lines(7, 78, 44).lines()) {
        page.text(3, 5 + n * 18, line);
    }
    page
}

/// What a viewer sees instead of a black picture.
fn decoded(text: Text<'_>, rect: Rect) -> Result<Picture, BadText> {
    let mut picture = Picture::new(SIZE);
    TextDecoder::default().decode(text, rect, &mut picture)?;
    Ok(picture)
}

/// A rectangle as tiles of four by four.
fn tile_bytes(page: &Page, rect: Rect) -> usize {
    let mut coder = Coder::default();
    let mut pixels = Vec::new();
    let mut sum = 0;
    for y in (rect.y..rect.bottom()).step_by(64) {
        for x in (rect.x..rect.right()).step_by(256) {
            let tile = Rect::between(x, y, x + 256, y + 64).intersection(rect);
            pixels.clear();
            page.picture.read(tile.unwrap(), &mut pixels);
            if let Coded::Tile(_, bytes) = coder.encode(&pixels, tile.unwrap().width) {
                sum += bytes.len();
            }
        }
    }
    sum
}

#[test]
fn a_page_comes_back_exactly_and_is_far_shorter_than_its_tiles() {
    let mut coder = TextCoder::default();
    for (is_soft, share) in [(false, 3), (true, 6)] {
        let page = page(is_soft);
        for rect in [Rect::whole(SIZE), Rect::between(3, 21, 603, 790)] {
            let text = coder.encode(&page.picture, rect).unwrap();
            let tiles = tile_bytes(&page, rect);
            let len = text.bytes.len();
            assert!(len * share < tiles, "{len} bytes instead of {tiles}");
            let mut seen = Vec::new();
            decoded(text, rect).unwrap().read(rect, &mut seen);
            let mut shown = Vec::new();
            page.picture.read(rect, &mut shown);
            assert!(seen == shown, "{rect:?}");
        }
    }
}

#[test]
fn more_columns_than_a_byte_can_number_come_back() {
    let mut page = Page::new(SIZE.width, SIZE.height);
    let mut random = Random::new(3);
    let rect = Rect::between(0, 0, 640, 60);
    for row in page.picture.rows_mut(Rect::between(0, 0, 300, 12)) {
        row.fill_with(|| random.below(2));
    }
    let mut coder = TextCoder::default();
    let text = coder.encode(&page.picture, rect).unwrap();
    let mut seen = Vec::new();
    decoded(text, rect).unwrap().read(rect, &mut seen);
    let mut shown = Vec::new();
    page.picture.read(rect, &mut shown);
    assert!(seen == shown);
}

#[test]
fn more_colours_than_a_byte_can_number_come_back_and_too_many_are_no_text() {
    let mut page = page(true);
    let mut coder = TextCoder::default();
    let whole = Rect::whole(SIZE);
    for (colours, is_text) in [(300, true), (1_900, true), (2_100, false)] {
        // Above the text.
        let mut slope: Vec<u32> = (0..colours).map(|it| (it * 7_777) & 0x00FF_FFFF).collect();
        slope.resize(slope.len().next_multiple_of(640), 0);
        for (row, colours) in page.picture.rows_mut(whole).zip(slope.chunks(640)) {
            row.copy_from_slice(colours);
        }
        match coder.encode(&page.picture, whole) {
            Some(text) if is_text => {
                assert!(decoded(text, whole).unwrap() == page.picture, "{colours}");
            }
            Some(_) | None => assert!(!is_text, "{colours} colours"),
        }
    }
}

#[test]
fn what_does_not_repeat_is_no_text() {
    let mut coder = TextCoder::default();
    let whole = Rect::whole(SIZE);
    let mut page = Page::new(SIZE.width, SIZE.height);
    let mut random = Random::new(5);
    for row in page.picture.rows_mut(whole) {
        row.fill_with(|| random.below(200));
    }
    assert_eq!(coder.encode(&page.picture, whole), None);
    for row in page.picture.rows_mut(whole) {
        row.fill_with(|| random.next_u32() & 0x00FF_FFFF);
    }
    assert_eq!(coder.encode(&page.picture, whole), None);
}

/// Two lines, of 2 and 1 rows of 3 pixels, in two colours.
const GOLDEN: [u8; 25] = [
    2, 0, 2, 0, 3, 0, // how many colours, lines and columns
    0x33, 0x22, 0x11, 0x66, 0x55, 0x44, // colours
    2, 1, // lines
    0, 1, 0, 2, 2, 2, // numbers
    0, 1, 1, 0, 1, // columns
];

fn deflated(body: &[u8]) -> Vec<u8> {
    miniz_oxide::deflate::compress_to_vec(body, 6)
}

fn read(body: &[u8], rect: Rect) -> Result<Picture, BadText> {
    let bytes = deflated(body);
    let body_len = body.len();
    let bytes = &bytes;
    decoded(Text { body_len, bytes }, rect)
}

#[test]
fn the_meaning_of_a_body_never_changes() {
    let rect = Rect::between(1, 1, 4, 4);
    let picture = read(&GOLDEN, rect).unwrap();
    let (zero, one) = (0x0011_2233, 0x0044_5566);
    let mut seen = Vec::new();
    picture.read(rect, &mut seen);
    assert_eq!(seen, [zero, one, zero, one, zero, one, one, one, one]);
}

#[test]
fn every_body_but_the_right_one_is_refused() {
    let rect = Rect::between(1, 1, 4, 4);
    let whole = GOLDEN.as_slice();
    for end in 0..whole.len() {
        assert!(read(&whole[..end], rect).is_err(), "{end}");
    }
    assert!(read(&[whole, &[0]].concat(), rect).is_err());
    // Each byte that must be as it is: counts, heights, numbers, indices.
    for (at, value) in [
        (0, 0),
        (0, 1),
        (1, 9),
        (2, 1),
        (4, 2),
        (4, 4),
        (12, 1),
        (12, 0),
        (13, 65),
        (14, 1),
        (15, 3),
        (17, 0),
        (17, 3),
        (20, 2),
        (24, 2),
    ] {
        let mut body = whole.to_vec();
        body[at] = value;
        assert!(read(&body, rect).is_err(), "{value} at {at}");
    }
    assert!(read(whole, Rect::between(1, 1, 5, 4)).is_err());
    assert!(read(whole, Rect::between(1, 1, 4, 5)).is_err());
}

#[test]
fn bytes_that_do_not_become_the_body_are_refused() {
    let rect = Rect::between(1, 1, 4, 4);
    let body_len = GOLDEN.len();
    let bytes = deflated(&GOLDEN);
    let text = |body_len, bytes| Text { body_len, bytes };
    assert!(decoded(text(body_len, &bytes), rect).is_ok());
    assert!(decoded(text(body_len - 1, &bytes), rect).is_err());
    assert!(decoded(text(body_len + 1, &bytes), rect).is_err());
    assert!(decoded(text(0, &[]), rect).is_err());
    for end in 0..bytes.len() {
        assert!(decoded(text(body_len, &bytes[..end]), rect).is_err());
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(decoded(text(body_len, &longer), rect).is_err());
}
