//! Sends what is other text now as such.

use super::{Composer, Frame, Room};
use crate::limits::TILE_SIDE;
use crate::screen::coding::{Coded, Coder};
use crate::{Pixel, Rect};

/// Tiles that are coded in order to know how long others would be.
const SAMPLES: u16 = 4;

/// What takes fewer bytes as tiles is not tried as text: most links carry them while the columns
/// would still be searched.
pub(super) const TEXT_TILES_BYTES_MIN: usize = 4 << 10;

/// Bytes of a tile beside its pixels.
const TILE_BYTES: usize = 12;

impl Composer {
    /// Paints what is other text now, where that is shorter than its tiles.
    pub(super) fn paint_text(&mut self, frame: &Frame<'_>, room: &mut Room<'_>) {
        let mut regions = std::mem::take(&mut self.regions);
        regions.find(&self.changes);
        while let Some(region) = regions.next() {
            let mut is_done = true;
            for rect in region.pieces() {
                is_done &= self.paint_as_text(frame, rect, room);
            }
            if !is_done {
                for rect in regions.cut(&self.changes, region) {
                    self.paint_as_text(frame, *rect, room);
                }
            }
        }
        self.regions = regions;
    }

    /// `false` where these changes are no text, but a part of them may be.
    fn paint_as_text(&mut self, frame: &Frame<'_>, rect: Rect, room: &mut Room<'_>) -> bool {
        if frame.is_video(rect) {
            return false;
        }
        let read = |sample, pixels: &mut _| frame.picture.read(sample, pixels);
        let as_tiles = estimate(&mut self.coder, &mut self.pixels, read, rect);
        if as_tiles < TEXT_TILES_BYTES_MIN {
            return true;
        }
        frame.picture.write(rect, &mut self.shadow);
        let is_text = self.write_text(rect, frame.video, as_tiles, room);
        if is_text {
            self.changes.remove_within(rect);
        }
        is_text
    }

    /// Writes a rectangle of the shadow, or a little more, as text; `false` where it is none, or no
    /// shorter than its tiles, or where there is no room for it.
    pub(super) fn write_text(
        &mut self,
        rect: Rect,
        video: &[Rect],
        as_tiles: usize,
        room: &mut Room<'_>,
    ) -> bool {
        let desktop = Rect::whole(self.shadow.size());
        let bounds = if video.is_empty() { desktop } else { rect };
        let Some(text) = self.text.encode(&self.shadow, rect, bounds) else {
            return false;
        };
        let is_written = text.bytes.len() < as_tiles && room.fits(text.bytes);
        if is_written {
            room.draft
                .text(text.rect, text.goes_on, text.body_len, text.bytes);
            self.stale.clear(text.rect);
            self.text.keep();
        }
        is_written
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
