//! Sends what video has shown, once that rests, exactly and the nearest first.

use super::regions::REGION_PIXELS_MIN;
use super::texts::{AsText, TEXT_TILES_BYTES_MIN, estimate};
use super::{Composer, Room};
use crate::Rect;
use crate::limits::TEXT_PIXELS_MAX;
use crate::wire::update::Draft;

impl Composer {
    /// Writes pixels that the viewer does not show exactly, those nearest to the latest change
    /// first, as long as the update stays within `budget` bytes; one tile fits always. What
    /// `video` shows stays as it is.
    pub fn repaint(&mut self, video: &[Rect], budget: usize, draft: &mut Draft) {
        if self.is_exact() {
            return;
        }
        self.find_nearest(video);
        self.index.begin();
        let mut room = Room::new(draft, budget);
        self.repaint_text(video, &mut room);
        let nearest = std::mem::take(&mut self.nearest);
        for (_, tile) in &nearest {
            if room.is_full {
                break;
            }
            room.is_full = !self.repaint_tile(*tile, video, &mut room);
        }
        self.nearest = nearest;
    }

    /// Lists the tiles to be repainted, the nearest to the focus first.
    fn find_nearest(&mut self, video: &[Rect]) {
        self.nearest.clear();
        let tiles = self.grid.tiles();
        let tiles = tiles.filter_map(|tile| Some((tile, self.grid.rect(tile)?)));
        for (tile, rect) in tiles.filter(|it| self.stale.touches(it.1)) {
            if self.repaintable(rect, video).is_empty() {
                continue;
            }
            let centre = rect.centre();
            let far = |a: u16, b: u16| u32::from(a.abs_diff(b)).pow(2);
            let distance = far(centre.x, self.focus.x).saturating_add(far(centre.y, self.focus.y));
            self.nearest.push((distance, tile));
        }
        self.nearest.sort_unstable();
    }

    /// Writes all that is not exact as one text, where it is one.
    fn repaint_text(&mut self, video: &[Rect], room: &mut Room<'_>) {
        let parts = self.nearest.iter().filter_map(|it| self.grid.rect(it.1));
        let parts = parts.map(|it| self.repaintable(it, video));
        let (rect, area) = parts.fold((Rect::default(), 0), |(around, area), it| {
            (around.union(it), area + it.area())
        });
        let is_region = rect.area() >= REGION_PIXELS_MIN && area * 4 >= rect.area();
        let is_free = rect.area() <= TEXT_PIXELS_MAX && !video.iter().any(|it| it.touches(rect));
        if !is_region || !is_free || self.no_text.contains(rect) {
            return;
        }
        let read = |sample, pixels: &mut _| self.shadow.read(sample, pixels);
        let as_tiles = estimate(&mut self.coder, &mut self.pixels, read, rect);
        let is_long = as_tiles >= TEXT_TILES_BYTES_MIN;
        if !is_long || self.write_text(rect, video, as_tiles, room) != AsText::Painted {
            // The next portions are of the same pixels.
            self.no_text = rect;
        }
    }

    /// The rectangle around the stale blocks of a tile that video leaves alone.
    pub(super) fn repaintable(&self, tile: Rect, video: &[Rect]) -> Rect {
        let blocks = self.stale.marked(tile);
        blocks
            .filter(|block| !video.iter().any(|it| it.touches(*block)))
            .fold(Rect::default(), Rect::union)
    }

    /// Writes what of a tile is not exact; `false` where there is no room for it.
    fn repaint_tile(&mut self, tile: u16, video: &[Rect], room: &mut Room<'_>) -> bool {
        let whole = self.grid.rect(tile).unwrap_or_default();
        let rect = self.repaintable(whole, video);
        if rect.is_empty() {
            return true;
        }
        let slot = if rect == whole {
            self.pixels.clear();
            self.shadow.read(rect, &mut self.pixels);
            let key = self.namer.key(&self.pixels, rect.width);
            self.index.find(key)
        } else {
            None
        };
        if let Some(slot) = slot {
            room.draft.cached(tile, slot);
        } else if !self.write(rect, room) {
            return false;
        }
        self.stale.clear(rect);
        true
    }
}
