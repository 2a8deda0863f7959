//! Sends what is other text now as such.

use super::regions::REGION_PIXELS_MIN;
use super::{Composer, Frame, Room};
use crate::limits::TILE_SIDE;
use crate::screen::coding::{Coded, Coder};
use crate::screen::text::NoText;
use crate::{Pixel, Rect};

/// Tiles that are coded in order to know how long others would be.
const SAMPLES: u16 = 4;

/// What takes fewer bytes as tiles is not tried as text: most links carry them while the columns
/// would still be searched.
pub(super) const TEXT_TILES_BYTES_MIN: usize = 4 << 10;

/// The same for a piece of such, of which there are many.
const PIECE_TILES_BYTES_MIN: usize = 1 << 10;

/// Bytes of a tile beside its pixels.
const TILE_BYTES: usize = 12;

/// Where lines of several windows lie beside each other, they are looked for in pieces of such
/// sides: most of them are of one window.
const PIECE: (u16, u16) = (2 * TILE_SIDE, 4 * TILE_SIDE);

/// What became of changes that may be text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AsText {
    Painted,
    /// They are none together, but parts of them may be.
    Mixed,
    No,
}

impl Composer {
    /// Paints what is other text now, where that is shorter than its tiles.
    pub(super) fn paint_text(&mut self, frame: &Frame<'_>, room: &mut Room<'_>) {
        let mut regions = std::mem::take(&mut self.regions);
        regions.find(&self.changes);
        while let Some(region) = regions.next() {
            if region.is_block() {
                region
                    .pieces()
                    .for_each(|it| self.paint_block(frame, it, room));
                continue;
            }
            let is_mixed = region.pieces().any(|it| {
                self.paint_as_text(frame, it, TEXT_TILES_BYTES_MIN, room) == AsText::Mixed
            });
            if is_mixed {
                for block in regions.cut(&self.changes, region) {
                    self.paint_block(frame, *block, room);
                }
            }
        }
        self.regions = regions;
    }

    /// Paints a block as one text; where it is none, its pieces.
    fn paint_block(&mut self, frame: &Frame<'_>, block: Rect, room: &mut Room<'_>) {
        let painted = self.paint_as_text(frame, block, TEXT_TILES_BYTES_MIN, room);
        if painted == AsText::Mixed {
            self.paint_pieces(frame, block, room);
        }
    }

    /// Paints those pieces of a block that are text. They are of whole tiles: a tile that is not
    /// painted whole is sent once more.
    fn paint_pieces(&mut self, frame: &Frame<'_>, block: Rect, room: &mut Room<'_>) {
        let (width, height) = PIECE;
        let starts = |from: u16, to: u16, side: u16| (from / side * side..to).step_by(side.into());
        for y in starts(block.y, block.bottom(), height) {
            for x in starts(block.x, block.right(), width) {
                let (right, bottom) = (x.saturating_add(width), y.saturating_add(height));
                let piece = Rect::between(x, y, right, bottom).intersection(block);
                if let Some(piece) = piece.filter(|it| it.area() >= REGION_PIXELS_MIN) {
                    self.paint_as_text(frame, piece, PIECE_TILES_BYTES_MIN, room);
                }
            }
        }
    }

    fn paint_as_text(
        &mut self,
        frame: &Frame<'_>,
        rect: Rect,
        bytes_min: usize,
        room: &mut Room<'_>,
    ) -> AsText {
        if frame.is_video(rect) {
            return AsText::Mixed;
        }
        let read = |sample, pixels: &mut _| frame.picture.read(sample, pixels);
        let as_tiles = estimate(&mut self.coder, &mut self.pixels, read, rect);
        if as_tiles < bytes_min {
            return AsText::No;
        }
        frame.picture.write(rect, &mut self.shadow);
        let painted = self.write_text(rect, frame.video, as_tiles, room);
        if painted == AsText::Painted {
            self.changes.remove_within(rect);
        }
        painted
    }

    /// Writes a rectangle of the shadow, or a little more, as text, where there is room for it.
    pub(super) fn write_text(
        &mut self,
        rect: Rect,
        video: &[Rect],
        as_tiles: usize,
        room: &mut Room<'_>,
    ) -> AsText {
        let desktop = Rect::whole(self.shadow.size());
        let bounds = if video.is_empty() { desktop } else { rect };
        let text = match self.text.encode(&self.shadow, rect, bounds) {
            Ok(text) => text,
            Err(NoText::Columns | NoText::Varied) => return AsText::Mixed,
            Err(NoText::Colours | NoText::Long) => return AsText::No,
        };
        if text.bytes.len() >= as_tiles || !room.fits(text.bytes) {
            return AsText::No;
        }
        room.draft
            .text(text.rect, text.goes_on, text.body_len, text.bytes);
        self.stale.clear(text.rect);
        self.text.keep();
        AsText::Painted
    }
}

/// About how many bytes the tiles of a rectangle would be: some of them are coded.
pub(super) fn estimate(
    coder: &mut Coder,
    pixels: &mut Vec<Pixel>,
    read: impl Fn(Rect, &mut Vec<Pixel>),
    rect: Rect,
) -> usize {
    let (mut bytes, mut area) = (0, 0);
    for n in 0..SAMPLES {
        let at = |start: u16, side: u16| start + (side / SAMPLES) * n;
        let corner = Rect {
            x: at(rect.x, rect.width),
            y: at(rect.y, rect.height),
            width: TILE_SIDE,
            height: TILE_SIDE,
        };
        let sample = corner.intersection(rect).unwrap_or(rect);
        pixels.clear();
        read(sample, pixels);
        bytes += TILE_BYTES;
        if let Coded::Tile(_, coded) = coder.encode(pixels, sample.width) {
            bytes += coded.len();
        }
        area += sample.area();
    }
    bytes * rect.area() / area
}
