//! Writes an update into one buffer that is used again for the next.

use super::{
    Coding, FLAG_REFINEMENT, FLAG_WHOLE, HEADER_LEN_MAX, Header, OP_CACHED, OP_COPY, OP_FILL,
    OP_KEEP, OP_MORE_TEXT, OP_TEXT, OP_TILE, OP_VIDEO, Run,
};
use crate::limits::{
    ACCESS_UNIT_BYTES_MAX, TEXT_PIXELS_MAX, TILE_PIXELS_MAX, VIDEO_RECTS_MAX, text_body_bytes_max,
};
use crate::{Pixel, Point, Rect};

/// An update in the making. Runs of tiles and neighbouring fills become one op.
#[derive(Debug)]
pub struct Draft {
    /// Room for the largest header, then the ops.
    bytes: Vec<u8>,
    ops: u16,
    has_video: bool,
    open: Open,
}

/// The newest op, as long as it can still grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Nothing,
    Keep(Run),
    Cached(Run),
    Fill { rect: Rect, colour: Pixel },
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            bytes: vec![0; HEADER_LEN_MAX],
            ops: 0,
            has_video: false,
            open: Open::Nothing,
        }
    }
}

impl Draft {
    /// Begins the next update.
    pub fn clear(&mut self) {
        self.bytes.truncate(HEADER_LEN_MAX);
        self.ops = 0;
        self.has_video = false;
        self.open = Open::Nothing;
    }

    /// Has no op.
    pub fn is_empty(&self) -> bool {
        self.ops == 0 && self.open == Open::Nothing
    }

    /// Has an access unit and no other op: the server may give it up.
    pub fn is_video_alone(&self) -> bool {
        self.has_video && self.ops == 1 && self.open == Open::Nothing
    }

    /// Bytes of the ops so far.
    pub const fn len(&self) -> usize {
        self.bytes.len() - HEADER_LEN_MAX
    }

    /// Moves pixels of the picture.
    pub fn copy(&mut self, from: Rect, to: Point) {
        self.begin(OP_COPY);
        self.rect(from);
        self.short(to.x);
        self.short(to.y);
    }

    /// Paints one colour.
    pub fn fill(&mut self, rect: Rect, colour: Pixel) {
        if let Open::Fill {
            rect: before,
            colour: same,
        } = self.open
            && same == colour
            && is_beside(before, rect)
        {
            let rect = before.union(rect);
            self.open = Open::Fill { rect, colour };
            return;
        }
        self.close();
        self.open = Open::Fill { rect, colour };
    }

    /// Paints pixels.
    ///
    /// # Panics
    ///
    /// When the rectangle or its bytes are more than a tile may have.
    pub fn tile(&mut self, rect: Rect, coding: Coding, coded: &[u8]) {
        assert!(rect.area() <= TILE_PIXELS_MAX, "a tile of {rect:?}");
        let len = u16::try_from(coded.len()).expect("no form needs more than three bytes a pixel");
        self.begin(OP_TILE);
        self.rect(rect);
        self.bytes.push(coding.encode());
        self.short(len);
        self.bytes.extend_from_slice(coded);
    }

    /// Paints lines of text, whose `coded` bytes become `body_len` ones; they may need those of
    /// the texts before.
    ///
    /// # Panics
    ///
    /// When that is more than an update may hold.
    pub fn text(&mut self, rect: Rect, goes_on: bool, body_len: usize, coded: &[u8]) {
        assert!(
            rect.area() <= TEXT_PIXELS_MAX && body_len <= text_body_bytes_max(rect.area()),
            "{body_len} bytes of text in {rect:?}"
        );
        self.begin(if goes_on { OP_MORE_TEXT } else { OP_TEXT });
        self.rect(rect);
        for len in [body_len, coded.len()] {
            let len = u32::try_from(len).unwrap_or(u32::MAX);
            self.bytes.extend(len.to_le_bytes());
        }
        self.bytes.extend_from_slice(coded);
    }

    /// Puts a tile of the picture into the cache.
    pub fn keep(&mut self, tile: u16, slot: u16) {
        let grown = match self.open {
            Open::Keep(run) => grow(run, tile, slot),
            Open::Nothing | Open::Cached(_) | Open::Fill { .. } => None,
        };
        self.open_or_grow(Open::Keep, grown, Run::one(tile, slot));
    }

    /// Paints a tile out of the cache.
    pub fn cached(&mut self, tile: u16, slot: u16) {
        let grown = match self.open {
            Open::Cached(run) => grow(run, tile, slot),
            Open::Nothing | Open::Keep(_) | Open::Fill { .. } => None,
        };
        self.open_or_grow(Open::Cached, grown, Run::one(tile, slot));
    }

    /// Paints pixels of a video frame.
    ///
    /// # Panics
    ///
    /// When that is more than an update may hold.
    pub fn video(&mut self, rects: &[Rect], access_unit: &[u8]) {
        assert!(
            (1..=VIDEO_RECTS_MAX).contains(&rects.len()),
            "{} video rectangles",
            rects.len()
        );
        assert!(
            (1..=ACCESS_UNIT_BYTES_MAX).contains(&access_unit.len()),
            "an access unit of {} bytes",
            access_unit.len()
        );
        self.begin(OP_VIDEO);
        self.has_video = true;
        self.bytes
            .push(u8::try_from(rects.len()).unwrap_or(u8::MAX));
        for rect in rects {
            self.rect(*rect);
        }
        let len = u32::try_from(access_unit.len()).unwrap_or(u32::MAX);
        self.bytes.extend(len.to_le_bytes());
        self.bytes.extend_from_slice(access_unit);
    }

    /// Puts the header in front; returns the whole update.
    pub fn finish(&mut self, header: &Header) -> &[u8] {
        self.close();
        let flags = u8::from(header.whole.is_some()) * FLAG_WHOLE
            + u8::from(header.is_refinement) * FLAG_REFINEMENT;
        // Written backwards, so that it ends where the ops begin.
        let mut at = HEADER_LEN_MAX;
        if let Some(size) = header.whole {
            self.put_before(&mut at, &size.height.to_le_bytes());
            self.put_before(&mut at, &size.width.to_le_bytes());
        }
        self.put_before(&mut at, &header.encode.0.to_le_bytes());
        self.put_before(&mut at, &header.lag.0.to_le_bytes());
        self.put_before(&mut at, &header.captured.to_le_bytes());
        self.put_before(&mut at, &header.input_seq.to_le_bytes());
        self.put_before(&mut at, &self.ops.to_le_bytes());
        self.put_before(&mut at, &[flags, header.qp]);
        self.bytes.get(at..).unwrap_or_default()
    }

    fn put_before(&mut self, at: &mut usize, field: &[u8]) {
        let end = *at;
        *at -= field.len();
        if let Some(slot) = self.bytes.get_mut(*at..end) {
            slot.copy_from_slice(field);
        }
    }

    fn open_or_grow(&mut self, op: fn(Run) -> Open, grown: Option<Run>, one: Run) {
        if let Some(run) = grown {
            self.open = op(run);
            return;
        }
        self.close();
        self.open = op(one);
    }

    /// Writes the op that could still have grown.
    fn close(&mut self) {
        match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Nothing => (),
            Open::Keep(run) => self.run(OP_KEEP, run),
            Open::Cached(run) => self.run(OP_CACHED, run),
            Open::Fill { rect, colour } => {
                self.start(OP_FILL);
                self.rect(rect);
                let [blue, green, red, _] = colour.to_le_bytes();
                self.bytes.extend([blue, green, red]);
            }
        }
    }

    fn begin(&mut self, op: u8) {
        self.close();
        self.start(op);
    }

    fn start(&mut self, op: u8) {
        // Each tile of the largest desktop has a handful at most.
        self.ops = self.ops.checked_add(1).expect("an update of 65,535 ops");
        self.bytes.push(op);
    }

    fn run(&mut self, op: u8, run: Run) {
        self.start(op);
        self.short(run.tile);
        self.short(run.slot);
        self.bytes.push(run.count);
    }

    fn rect(&mut self, rect: Rect) {
        for field in [rect.x, rect.y, rect.width, rect.height] {
            self.short(field);
        }
    }

    fn short(&mut self, value: u16) {
        self.bytes.extend(value.to_le_bytes());
    }
}

impl Run {
    const fn one(tile: u16, slot: u16) -> Self {
        Self {
            tile,
            slot,
            count: 1,
        }
    }
}

/// The run with one more tile, where that one continues it.
fn grow(run: Run, tile: u16, slot: u16) -> Option<Run> {
    let count = u16::from(run.count);
    let continues = run.tile.checked_add(count) == Some(tile)
        && run.slot.checked_add(count) == Some(slot)
        && tile < u16::MAX
        && slot < u16::MAX;
    let count = run.count.checked_add(1).filter(|_| continues)?;
    Some(Run { count, ..run })
}

/// The two make one rectangle.
fn is_beside(a: Rect, b: Rect) -> bool {
    let beside = a.y == b.y && a.height == b.height && a.right() == b.x;
    let below = a.x == b.x && a.width == b.width && a.bottom() == b.y;
    beside || below
}
