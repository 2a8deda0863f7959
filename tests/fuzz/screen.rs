//! Targets: updates, what applies them, and the codings of tiles.

use sandbox_protocol::limits::TILE_PIXELS_MAX;
use sandbox_protocol::screen::coding::{Coded, Coder, Decoder};
use sandbox_protocol::screen::{Picture, SLOT_BYTES, Shadow, VideoSource};
use sandbox_protocol::wire::update::{Coding, Draft, Form, Header, Op, Update};
use sandbox_protocol::{Pixel, Rect};

use crate::{Target, valid, way};

/// Slots of the cache under test.
const SLOTS: u16 = 16;

/// A picture of the largest desktop, and its successor while it grows.
const PICTURES: usize = 3 * 4 * 3_840 * 2_160;

/// Buffers of tiles that coder and decoder keep.
const BUFFERS: usize = 2 << 20;

pub(crate) const UPDATE: Target = Target {
    name: "update",
    valid: valid::update,
    read: read_update,
    memory_max: 256 << 10,
    mutations: 20_000,
};

pub(crate) const SHADOW: Target = Target {
    name: "shadow",
    valid: valid::updates,
    read: read_updates,
    memory_max: PICTURES + 2 * SLOTS as usize * SLOT_BYTES + 2 * BUFFERS,
    mutations: 1_000,
};

pub(crate) const TILE: Target = Target {
    name: "tile",
    valid: valid::tile,
    read: read_tile,
    memory_max: 2 * BUFFERS,
    mutations: 2_000,
};

/// Paints what it is told to, or refuses all.
struct Video {
    accepts: bool,
    shown: usize,
}

impl VideoSource for Video {
    fn show(&mut self, access_unit: &[u8], rects: &[Rect], picture: &mut Picture) -> bool {
        self.shown += 1;
        for rect in rects.iter().filter(|_| self.accepts) {
            picture.fill(*rect, access_unit.len() as Pixel);
        }
        self.accepts
    }
}

/// The update as our own server would write it.
fn written(update: &Update<'_>) -> Vec<u8> {
    let mut draft = Draft::default();
    for op in update.ops() {
        match op {
            Op::Copy { from, to } => draft.copy(from, to),
            Op::Fill { rect, colour } => draft.fill(rect, colour),
            Op::Tile {
                rect,
                coding,
                bytes,
            } => draft.tile(rect, coding, bytes),
            Op::Keep(run) => run.pairs().for_each(|(tile, slot)| draft.keep(tile, slot)),
            Op::Cached(run) => run
                .pairs()
                .for_each(|(tile, slot)| draft.cached(tile, slot)),
            Op::Video { rects, access_unit } => {
                draft.video(&rects.iter().collect::<Vec<_>>(), access_unit);
            }
            Op::Text {
                rect,
                goes_on,
                body_len,
                bytes,
            } => draft.text(rect, goes_on, body_len, bytes),
        }
    }
    draft.finish(&update.header).to_vec()
}

/// Neighbouring ops may become one; written once, they stay as they are.
fn read_update(bytes: &[u8]) -> String {
    let update = match Update::decode(bytes) {
        Ok(update) => update,
        Err(error) => return way(&error),
    };
    assert!(update.ops().count() <= bytes.len());
    let once = written(&update);
    assert!(once.len() <= bytes.len());
    let again = Update::decode(&once).unwrap();
    assert_eq!(again.header, update.header);
    assert_eq!(written(&again), once);
    way(&update.header.whole) + &update.ops().map(|it| way(&kind(&it))).collect::<String>()
}

const fn kind(op: &Op<'_>) -> &'static [char] {
    match op {
        Op::Copy { .. } => &['c'],
        Op::Fill { .. } => &['f'],
        Op::Tile { .. } => &['t'],
        Op::Keep(_) => &['k'],
        Op::Cached(_) => &['h'],
        Op::Video { .. } => &['v'],
        Op::Text { goes_on: false, .. } => &['l'],
        Op::Text { goes_on: true, .. } => &['m'],
    }
}

/// Several updates, each behind its length: after whatever came, a whole one makes all well.
fn read_updates(bytes: &[u8]) -> String {
    [true, false].map(|it| apply(bytes, it)).concat()
}

fn apply(bytes: &[u8], accepts: bool) -> String {
    let mut shadow = Shadow::new(SLOTS);
    let mut video = Video { accepts, shown: 0 };
    let (mut left, mut came) = (bytes, String::new());
    while let Some((length, rest)) = left.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
        let (bytes, rest) = rest.split_at(length);
        left = rest;
        match Update::decode(bytes) {
            Ok(update) => {
                video.shown = 0;
                came += &way(&shadow.apply(&update, &mut video));
                assert!(video.shown <= 1);
            }
            Err(error) => came += &way(&error),
        }
        let whole = Rect::whole(shadow.picture().size());
        assert_eq!(shadow.picture().pixels().len(), whole.area());
        assert!(shadow.damage().iter().all(|it| whole.contains(*it)));
    }
    let mut draft = Draft::default();
    draft.fill(Rect::between(1, 2, 3, 4), 5);
    let header = Header {
        whole: Some(valid::SIZE),
        ..valid::HEADER
    };
    let update = Update::decode(draft.finish(&header)).unwrap();
    let mut fresh = Shadow::new(SLOTS);
    for it in [&mut shadow, &mut fresh] {
        it.apply(&update, &mut video).unwrap();
    }
    assert_eq!(shadow.picture(), fresh.picture());
    came
}

/// `form u8` (the top bit: packed) · `width u16` · `rows u16` · the tile's bytes.
fn read_tile(bytes: &[u8]) -> String {
    let Some(([form, w0, w1, h0, h1], bytes)) = bytes.split_first_chunk::<5>() else {
        return "short".to_owned();
    };
    let (width, rows) = (
        u16::from_le_bytes([*w0, *w1]),
        u16::from_le_bytes([*h0, *h1]),
    );
    let forms = [
        Form::Bits,
        Form::Runs,
        Form::Indices,
        Form::Plain,
        Form::Predicted,
    ];
    let coding = Coding {
        form: forms[usize::from(form & 0x7f) % forms.len()],
        is_packed: form & 0x80 != 0,
    };
    let area = (usize::from(width) * usize::from(rows)).min(TILE_PIXELS_MAX);
    let mut pixels = vec![0; area];
    let mut decoder = Decoder::default();
    if decoder.decode(coding, bytes, width, &mut pixels).is_err() {
        return way(&("refused", coding));
    }
    if area > 0 {
        let mut again = vec![0; area];
        match Coder::default().encode(&pixels, width) {
            Coded::Solid(colour) => again.fill(colour),
            Coded::Tile(coding, bytes) => {
                decoder.decode(coding, bytes, width, &mut again).unwrap();
            }
        }
        assert_eq!(again, pixels);
    }
    way(&coding)
}
