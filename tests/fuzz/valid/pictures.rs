//! Updates with each op, rows of them that a viewer applies, and tiles in each coding.

use sandbox_protocol::screen::coding::{Coded, Coder};
use sandbox_protocol::wire::update::{Coding, Draft, Form, Header};
use sandbox_protocol::{Pixel, Point, Rect};

use super::{HEADER, SIZE};
use crate::chance::Chance;

const WHOLE: Header = Header {
    whole: Some(SIZE),
    ..HEADER
};

const BOX: Rect = Rect::between(10, 20, 26, 36);

/// Pixels of 16 rows of 16: of two colours, of some, of many, and a slope of nearly as many.
fn samples() -> Vec<Vec<Pixel>> {
    let mut chance = Chance::new(3);
    let mut of = |colours: u64| -> Vec<_> {
        (0..256)
            .map(|_| (chance.below(colours) as Pixel).wrapping_mul(0x01_0203) & 0xFF_FFFF)
            .collect()
    };
    let mut all = vec![of(2), of(9), of(100), of(200), of(1 << 20)];
    all.push(
        (0..256)
            .map(|it| it / 16 * 0x0403 + it % 16 * 0x0_0502)
            .collect(),
    );
    all.push((0..256).map(|it| it / 40).collect());
    all
}

/// Code byte as `screen::TILE` reads it, and the bytes.
fn coded() -> Vec<(Coding, Vec<u8>)> {
    let mut coder = Coder::default();
    let mut all = Vec::new();
    for pixels in samples() {
        if let Coded::Tile(coding, bytes) = coder.encode(&pixels, 16) {
            all.push((coding, bytes.to_vec()));
        }
    }
    let plain = samples()[4]
        .iter()
        .flat_map(|it| it.to_le_bytes()[..3].to_vec())
        .collect();
    all.push((Coding::of(Form::Plain), plain));
    all
}

pub(crate) fn tile() -> Vec<Vec<u8>> {
    let bytes = |(coding, bytes): (Coding, Vec<u8>)| {
        let form = match coding.form {
            Form::Bits => 0,
            Form::Runs => 1,
            Form::Indices => 2,
            Form::Plain => 3,
            Form::Predicted => 4,
        };
        let form = form | u8::from(coding.is_packed) << 7;
        [&[form, 16, 0, 16, 0][..], &bytes].concat()
    };
    coded().into_iter().map(bytes).collect()
}

fn one(header: &Header, write: impl FnOnce(&mut Draft)) -> Vec<u8> {
    let mut draft = Draft::default();
    write(&mut draft);
    draft.finish(header).to_vec()
}

/// Two lines, of two rows and of one, in two colours: before it is deflated, and its place.
fn text() -> (Vec<u8>, Rect) {
    let counts = [2, 0, 2, 0, 3, 0];
    let colours_and_lines = [0x33, 0x22, 0x11, 0x66, 0x55, 0x44, 2, 1];
    let numbers = [0, 1, 0, 2, 2, 2];
    let columns = [0, 1, 1, 0, 1];
    let body = [&counts[..], &colours_and_lines, &numbers, &columns].concat();
    (body, Rect::between(10, 20, 13, 23))
}

/// One line of what [`text`] has, with a colour and a column more.
fn more_text() -> (Vec<u8>, Rect) {
    let counts_and_colour = [1, 0, 1, 0, 3, 0, 0x99, 0x88, 0x77];
    let line_and_steps = [2, 3, 0xFC, 0, 0, 0xFF, 0];
    let numbers = [0, 1, 2, 0];
    let body = [&counts_and_colour[..], &line_and_steps, &numbers, &[2, 1]].concat();
    (body, Rect::between(10, 30, 14, 32))
}

/// As deflate stores what it cannot shorten (RFC 1951 §3.2.4).
fn stored(bytes: &[u8]) -> Vec<u8> {
    let len = (bytes.len() as u16).to_le_bytes();
    let complement = len.map(|it| !it);
    [&[1][..], &len, &complement, bytes].concat()
}

pub(crate) fn update() -> Vec<Vec<u8>> {
    let refinement = Header {
        is_refinement: true,
        ..HEADER
    };
    let mut all = vec![
        one(&WHOLE, |_| ()),
        one(&WHOLE, |it| it.fill(Rect::whole(SIZE), 0x10_2030)),
        one(&HEADER, |it| it.copy(BOX, Point { x: 12, y: 21 })),
        one(&HEADER, |it| {
            it.keep(0, 0);
            it.keep(1, 1);
            it.keep(3, 5);
        }),
        one(&HEADER, |it| {
            it.cached(0, 0);
            it.cached(1, 1);
            it.cached(3, 5);
        }),
        one(&refinement, |it| it.video(&[BOX], b"access unit")),
        one(&HEADER, |it| {
            let beside = Rect::between(26, 20, 30, 36);
            it.fill(BOX, 1);
            it.fill(beside, 1);
            it.video(&[BOX, beside], b"au");
            it.copy(beside, Point { x: 0, y: 0 });
        }),
    ];
    let (body, rect) = text();
    let stored = stored(&body);
    all.push(one(&HEADER, |it| {
        it.text(rect, false, body.len(), &stored);
    }));
    let (body, rect) = more_text();
    let stored = self::stored(&body);
    all.push(one(&HEADER, |it| {
        it.text(rect, true, body.len(), &stored);
    }));
    let tiles = coded().into_iter();
    all.extend(tiles.map(|(coding, bytes)| one(&HEADER, |it| it.tile(BOX, coding, &bytes))));
    all
}

/// A whole update and others after it, each behind its length.
pub(crate) fn updates() -> Vec<Vec<u8>> {
    let row = |updates: &[Vec<u8>]| {
        let behind_length = |it: &Vec<u8>| [&(it.len() as u16).to_le_bytes()[..], it].concat();
        updates.iter().flat_map(behind_length).collect::<Vec<_>>()
    };
    let all = update();
    let mut rows = vec![row(&all)];
    rows.extend(all[1..].windows(2).map(|it| row(&[&all[..1], it].concat())));
    rows
}
