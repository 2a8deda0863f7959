//! Holds text to what was coded, to its size, and to refusing all else.

use super::*;
use crate::screen::coding::{Coded, Coder};
use crate::screen::sample::{Page, Random, lines};
use crate::{Pixel, Size};

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
fn decoded(text: Text<'_>) -> Result<Picture, BadText> {
    let mut picture = Picture::new(SIZE);
    TextDecoder::default().decode(text, &mut picture)?;
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
            let text = coder.encode(&page.picture, rect, rect).unwrap();
            let tiles = tile_bytes(&page, rect);
            let len = text.bytes.len();
            assert!(len * share < tiles, "{len} bytes instead of {tiles}");
            let mut seen = Vec::new();
            decoded(text).unwrap().read(rect, &mut seen);
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
    let text = coder.encode(&page.picture, rect, rect).unwrap();
    let mut seen = Vec::new();
    decoded(text).unwrap().read(rect, &mut seen);
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
        match coder.encode(&page.picture, whole, whole) {
            Ok(text) if is_text => {
                assert!(decoded(text).unwrap() == page.picture, "{colours}");
            }
            Ok(_) => panic!("{colours} colours"),
            Err(why) => assert!(!is_text && why == NoText::Colours, "{colours}: {why:?}"),
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
    assert_eq!(
        coder.encode(&page.picture, whole, whole),
        Err(NoText::Varied)
    );
    for row in page.picture.rows_mut(whole) {
        row.fill_with(|| random.next_u32() & 0x00FF_FFFF);
    }
    assert_eq!(
        coder.encode(&page.picture, whole, whole),
        Err(NoText::Colours)
    );
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
    let text = Text {
        rect,
        goes_on: false,
        body_len,
        bytes,
    };
    decoded(text)
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

/// After [`GOLDEN`]: a third colour and a fourth column, in a line of 2 rows.
const GOLDEN_ON: [u8; 22] = [
    1, 0, 1, 0, 3, 0, // how many colours are new, lines, how many columns are used
    0x99, 0x88, 0x77, // colour
    2,    // line
    3, 0xFC, 0, 0, 0xFF, 0, // steps to the columns: a new one, and two that are known
    0, 1, 2, 0, // numbers
    2, 1, // the new column
];

fn text_of(rect: Rect, goes_on: bool, body_len: usize, bytes: &[u8]) -> Text<'_> {
    Text {
        rect,
        goes_on,
        body_len,
        bytes,
    }
}

/// The pixels of a rectangle that two bodies painted, the second of them with the first.
fn read_on(first: &[u8], second: &[u8]) -> Result<Vec<Pixel>, BadText> {
    let mut decoder = TextDecoder::default();
    let mut picture = Picture::new(SIZE);
    let bytes = [deflated(first), deflated(second)];
    let before = Rect::between(1, 1, 4, 4);
    let before = text_of(before, false, first.len(), &bytes[0]);
    decoder.decode(before, &mut picture)?;
    let rect = Rect::between(1, 5, 5, 7);
    let after = text_of(rect, true, second.len(), &bytes[1]);
    decoder.decode(after, &mut picture)?;
    let mut seen = Vec::new();
    picture.read(rect, &mut seen);
    Ok(seen)
}

#[test]
fn the_meaning_of_a_body_that_goes_on_never_changes() {
    let (zero, one, two) = (0x0011_2233, 0x0044_5566, 0x0077_8899);
    let shown = [two, zero, one, two, one, one, zero, one];
    assert_eq!(read_on(&GOLDEN, &GOLDEN_ON).unwrap(), shown);
    // Without what it goes on from it is nothing, nor with columns of another height.
    let rect = Rect::between(1, 5, 5, 7);
    assert!(read(&GOLDEN_ON, rect).is_err());
    for (at, value) in [
        (0, 0),
        (0, 2),
        (4, 0),
        (4, 2),
        (4, 4),
        (9, 1),
        (10, 4),
        (11, 2),
        (13, 1),
        (14, 0),
        (16, 1),
        (17, 2),
        (18, 3),
        (20, 3),
    ] {
        let mut body = GOLDEN_ON.to_vec();
        body[at] = value;
        assert!(read_on(&GOLDEN, &body).is_err(), "{value} at {at}");
    }
    for end in 0..GOLDEN_ON.len() {
        assert!(read_on(&GOLDEN, &GOLDEN_ON[..end]).is_err(), "{end}");
    }
}

/// Lines of 14 rows with so many different columns in two colours, the last one again and again.
fn columns_body(count: u16) -> (Vec<u8>, Rect) {
    let (rows, lines, width) = (14, 14, 640);
    let [low, high] = count.to_le_bytes();
    let mut body = vec![2, 0, lines, 0, low, high, 0, 0, 0, 9, 9, 9];
    body.extend([rows].repeat(lines.into()));
    let numbers = || (0..width * u16::from(lines)).map(|it| it.min(count - 1).to_le_bytes());
    body.extend(numbers().map(|[low, _]| low));
    body.extend(numbers().map(|[_, high]| high));
    for column in 0..count {
        body.extend((0..rows).map(|row| u8::from(column >> row & 1 == 1)));
    }
    let height = u16::from(rows) * u16::from(lines);
    (body, Rect::between(0, 0, width, height))
}

#[test]
fn more_columns_than_may_be_known_are_refused() {
    let (body, rect) = columns_body(8_193);
    assert!(read(&body, rect).is_err());
    let (body, rect) = columns_body(8_192);
    let bytes = deflated(&body);
    let mut decoder = TextDecoder::default();
    let mut picture = Picture::new(SIZE);
    let text = text_of(rect, false, body.len(), &bytes);
    decoder.decode(text, &mut picture).unwrap();
    // A step to the one behind them, and its two pixels.
    let one_more = [0, 0, 1, 0, 1, 0, 2, 0x00, 0x20, 0, 1, 1];
    let bytes = deflated(&one_more);
    let text = text_of(Rect::between(0, 0, 1, 2), true, one_more.len(), &bytes);
    assert!(decoder.decode(text, &mut picture).is_err());
    // To the last one of them.
    let known = [0, 0, 1, 0, 1, 0, 14, 0xFF, 0x1F, 0];
    let bytes = deflated(&known);
    let mut decoder = TextDecoder::default();
    let (body, rect) = columns_body(8_192);
    let all = deflated(&body);
    let text = text_of(rect, false, body.len(), &all);
    decoder.decode(text, &mut picture).unwrap();
    let text = text_of(Rect::between(0, 0, 1, 14), true, known.len(), &bytes);
    assert!(decoder.decode(text, &mut picture).is_ok());
}

#[test]
fn a_photograph_makes_no_letters_forgotten() {
    let page = page(true);
    let mut ends = Ends::default();
    let upper = Rect::between(0, 0, 640, 391);
    let (_, goes_on) = ends.show(&page, upper);
    assert!(!goes_on);
    let mut photo = Page::new(SIZE.width, SIZE.height);
    let mut random = Random::new(5);
    for row in photo.picture.rows_mut(upper) {
        row.fill_with(|| random.next_u32() & 0x00FF_FFFF);
    }
    let coded = ends.coder.encode(&photo.picture, upper, upper);
    assert_eq!(coded, Err(NoText::Colours));
    let (_, goes_on) = ends.show(&page, Rect::between(0, 403, 640, 800));
    assert!(goes_on);
}

#[test]
fn a_text_that_does_not_go_on_begins_anew() {
    let mut decoder = TextDecoder::default();
    let mut picture = Picture::new(SIZE);
    let rect = Rect::between(1, 1, 4, 4);
    let bytes = deflated(&GOLDEN);
    for _ in 0..2 {
        let text = text_of(rect, false, GOLDEN.len(), &bytes);
        decoder.decode(text, &mut picture).unwrap();
    }
    let on = deflated(&GOLDEN_ON);
    let below = Rect::between(1, 5, 5, 7);
    let text = text_of(below, true, GOLDEN_ON.len(), &on);
    assert!(decoder.decode(text, &mut picture).is_ok());
    decoder.clear();
    assert!(decoder.decode(text, &mut picture).is_err());
}

/// Both ends, and what a viewer sees after each text.
#[derive(Default)]
struct Ends {
    coder: TextCoder,
    decoder: TextDecoder,
}

impl Ends {
    /// Shows it; how many bytes that took, and whether it went on.
    fn show(&mut self, page: &Page, rect: Rect) -> (usize, bool) {
        let bounds = Rect::whole(SIZE);
        let text = self.coder.encode(&page.picture, rect, bounds).unwrap();
        assert!(text.rect.contains(rect));
        let rect = text.rect;
        let mut seen = Picture::new(SIZE);
        self.decoder.decode(text, &mut seen).unwrap();
        let said = (text.bytes.len(), text.goes_on);
        self.coder.keep();
        let (mut shown, mut there) = (Vec::new(), Vec::new());
        page.picture.read(rect, &mut shown);
        seen.read(rect, &mut there);
        assert!(shown == there, "{rect:?}");
        said
    }
}

#[test]
fn letters_that_the_viewer_knows_are_not_sent_again() {
    let page = page(true);
    let (upper, lower) = (
        Rect::between(0, 0, 640, 391),
        Rect::between(0, 403, 640, 800),
    );
    let mut ends = Ends::default();
    let (first, goes_on) = ends.show(&page, upper);
    assert!(!goes_on);
    let (second, goes_on) = ends.show(&page, lower);
    assert!(goes_on && second * 6 < first * 5, "{first}, then {second}");
    // What was coded but not sent is not known.
    let other = Page {
        ink: 0x0012_3456,
        ..self::page(true)
    };
    for _ in 0..2 {
        assert!(ends.coder.encode(&other.picture, upper, upper).is_ok());
    }
    let (third, goes_on) = ends.show(&page, lower);
    assert!(goes_on && third <= second, "{second}, then {third}");
}

#[test]
fn where_no_more_can_be_known_a_text_begins_anew() {
    let mut ends = Ends::default();
    let mut random = Random::new(11);
    let rect = Rect::between(0, 0, 640, 60);
    let (mut went_on, mut began) = (0, 0);
    for round in 0..40 {
        let mut page = Page::new(SIZE.width, SIZE.height);
        page.ink = round * 0x0003_0507;
        for row in page.picture.rows_mut(Rect::between(0, 0, 300, 12)) {
            let ink = round * 0x0003_0507;
            row.fill_with(|| if random.below(2) == 0 { ink } else { 0 });
        }
        match ends.show(&page, rect) {
            (_, true) => went_on += 1,
            (_, false) => began += 1,
        }
    }
    // Each round has about 300 columns of its own.
    assert!(went_on > 30 && (2..5).contains(&began), "{went_on} {began}");
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
    let text = |body_len, bytes| Text {
        rect,
        goes_on: false,
        body_len,
        bytes,
    };
    assert!(decoded(text(body_len, &bytes)).is_ok());
    assert!(decoded(text(body_len - 1, &bytes)).is_err());
    assert!(decoded(text(body_len + 1, &bytes)).is_err());
    assert!(decoded(text(0, &[])).is_err());
    for end in 0..bytes.len() {
        assert!(decoded(text(body_len, &bytes[..end])).is_err());
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(decoded(text(body_len, &longer)).is_err());
}
