//! Makes updates of changed pixels: the server's half of the screen layer.

mod changes;

use super::cache::{Index, Namer};
use super::coding::{Coded, Coder};
use super::shift::Finder;
use super::stale::Stale;
use super::{Grid, Picture, View};
use crate::limits::TILE_PIXELS_MAX;
use crate::wire::update::Draft;
use crate::{Pixel, Point, Rect, Size};
use changes::{Before, Changes};

/// Knows what one viewer shows, and what its cache holds.
///
/// Where video has painted, the viewer's pixels are not known; there the shadow holds the pixels
/// that it should show, and [`repaint`](Self::repaint) sends them.
#[derive(Debug)]
pub struct Composer {
    grid: Grid,
    shadow: Picture,
    stale: Stale,
    changes: Changes,
    index: Index,
    namer: Namer,
    coder: Coder,
    finder: Finder,
    /// Of the rectangle that is being worked on.
    pixels: Vec<Pixel>,
    /// Tiles to be repainted with their distance, and tiles found in the cache with their slots.
    nearest: Vec<(u32, u16)>,
    hits: Vec<(u16, u16)>,
    focus: Point,
}

/// What an update became.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Composed {
    /// The rectangle around where pixels were that have been moved, and where they are.
    pub moved: Option<Rect>,
    /// The rectangle around all other changes.
    pub changed: Rect,
}

impl Composer {
    /// For a viewer whose picture is black and whose cache has `slots` places, all empty. The
    /// seed must be random and secret.
    pub fn new(size: Size, slots: u16, seed: u64) -> Self {
        Self {
            grid: Grid::new(size),
            shadow: Picture::new(size),
            stale: Stale::new(size),
            changes: Changes::new(size),
            index: Index::new(slots),
            namer: Namer::new(seed),
            coder: Coder::default(),
            finder: Finder::default(),
            pixels: Vec::with_capacity(TILE_PIXELS_MAX),
            nearest: Vec::new(),
            hits: Vec::new(),
            focus: Point::default(),
        }
    }

    /// The next update is a whole one, of this size: the viewer begins with a black picture and
    /// an empty cache. All of the desktop is to be composed then.
    pub fn reset(&mut self, size: Size) {
        if size != self.shadow.size() {
            self.grid = Grid::new(size);
            self.changes = Changes::new(size);
        }
        self.shadow.reset(size);
        self.stale = Stale::new(size);
        self.index.clear();
    }

    /// The picture as the viewer shows it, or should where it [is not exact](Self::is_exact).
    pub const fn picture(&self) -> &Picture {
        &self.shadow
    }

    /// The viewer shows this very picture once it has applied all updates.
    pub const fn is_exact(&self) -> bool {
        self.stale.is_empty()
    }

    /// Writes what has changed within `damage`, but for what `video` shows. Elsewhere the picture
    /// is as it was. Without any change the draft stays as it is.
    ///
    /// # Panics
    ///
    /// When the picture has another size.
    pub fn compose(
        &mut self,
        picture: &View<'_>,
        damage: &[Rect],
        video: &[Rect],
        draft: &mut Draft,
    ) -> Composed {
        assert!(
            picture.size() == self.shadow.size(),
            "a picture of {} for a viewer of {}",
            picture.size(),
            self.shadow.size()
        );
        self.compare(picture, damage, video);
        let moved = self.shift(picture, damage, video, draft);
        let changed = self.changes.bounds();
        self.index.begin();
        self.paint_cached(picture, video, moved, draft);
        self.paint_changed(picture, video, draft);
        self.take_video(picture, damage, video);
        if let Some(centre) = (!changed.is_empty()).then(|| changed.centre()) {
            self.focus = centre;
        }
        Composed { moved, changed }
    }

    /// Writes a video frame that the viewer shows within `rects`. What it shows there is not
    /// exact from now on.
    ///
    /// # Panics
    ///
    /// When that is more than an update may hold.
    pub fn video(&mut self, rects: &[Rect], access_unit: &[u8], draft: &mut Draft) {
        draft.video(rects, access_unit);
        for rect in rects {
            self.stale.mark(*rect);
        }
    }

    /// Writes pixels that the viewer does not show exactly, those nearest to the latest change
    /// first, until the update has `budget` bytes; the last tile may exceed it. What `video` shows
    /// stays as it is.
    pub fn repaint(&mut self, video: &[Rect], budget: usize, draft: &mut Draft) {
        if self.is_exact() {
            return;
        }
        self.find_nearest(video);
        self.index.begin();
        let nearest = std::mem::take(&mut self.nearest);
        for (_, tile) in &nearest {
            if draft.len() >= budget {
                break;
            }
            self.repaint_tile(*tile, video, draft);
        }
        self.nearest = nearest;
    }

    fn compare(&mut self, picture: &View<'_>, damage: &[Rect], video: &[Rect]) {
        self.changes.clear();
        for rect in damage {
            self.compare_rect(picture, *rect, video);
        }
    }

    fn compare_rect(&mut self, picture: &View<'_>, rect: Rect, video: &[Rect]) {
        let before = Before {
            shadow: &self.shadow,
            stale: &self.stale,
            video,
        };
        self.changes.compare(before, picture, rect);
    }

    /// Moves what has moved, and looks again at what is then left to paint.
    fn shift(
        &mut self,
        picture: &View<'_>,
        damage: &[Rect],
        video: &[Rect],
        draft: &mut Draft,
    ) -> Option<Rect> {
        let bounds = self.changes.bounds();
        let shift = self.finder.find(&self.shadow, picture, bounds)?;
        let target = shift.target();
        let is_foreign = video.iter().any(|it| it.touches(target));
        if is_foreign || self.stale.touches(shift.from) {
            return None;
        }
        draft.copy(shift.from, shift.to);
        self.shadow.copy(shift.from, shift.to);
        self.compare(picture, damage, video);
        self.compare_rect(picture, target, video);
        Some(target.union(shift.from))
    }

    /// Paints the tiles that are in the cache, after it has kept those that vanish. What is
    /// scrolled away is not kept: it comes back at another place of the grid, if at all.
    fn paint_cached(
        &mut self,
        picture: &View<'_>,
        video: &[Rect],
        moved: Option<Rect>,
        draft: &mut Draft,
    ) {
        self.hits.clear();
        let is_foreign = |rect: Rect| video.iter().any(|it| it.touches(rect));
        for (tile, rect) in self.changes.large().filter(|it| !is_foreign(it.1)) {
            self.pixels.clear();
            picture.read(rect, &mut self.pixels);
            let key = self.namer.key(&self.pixels, rect.width);
            self.hits
                .extend(self.index.find(key).map(|slot| (tile, slot)));
        }
        let vanishing = self.changes.large().filter(|_| moved.is_none());
        for (tile, rect) in vanishing.filter(|it| !self.stale.touches(it.1)) {
            self.pixels.clear();
            self.shadow.read(rect, &mut self.pixels);
            if is_flat(&self.pixels) {
                continue;
            }
            let key = self.namer.key(&self.pixels, rect.width);
            if self.index.contains(key) {
                continue;
            }
            if let Some(slot) = self.index.insert(key) {
                draft.keep(tile, slot);
            }
        }
        for (tile, slot) in self.hits.iter().copied() {
            let Some(rect) = self.grid.rect(tile) else {
                continue;
            };
            draft.cached(tile, slot);
            self.pixels.clear();
            picture.read(rect, &mut self.pixels);
            self.shadow.write(rect, &self.pixels);
            self.stale.clear(rect);
            self.changes.remove(tile);
        }
    }

    /// Paints what is left, small neighbours as one.
    fn paint_changed(&mut self, picture: &View<'_>, video: &[Rect], draft: &mut Draft) {
        let mut waiting = Rect::default();
        for tile in self.grid.tiles() {
            let rect = self.changes.of(tile);
            let both = waiting.union(rect);
            let is_one = both.area() <= TILE_PIXELS_MAX
                && both.area() * 4 <= (waiting.area() + rect.area()) * 5
                && rect.area() < TILE_PIXELS_MAX / 8
                && !video.iter().any(|it| it.touches(both));
            if rect.is_empty() {
                continue;
            }
            if is_one {
                waiting = both;
            } else {
                self.paint(picture, waiting, draft);
                waiting = rect;
            }
        }
        self.paint(picture, waiting, draft);
    }

    fn paint(&mut self, picture: &View<'_>, rect: Rect, draft: &mut Draft) {
        if rect.is_empty() {
            return;
        }
        self.pixels.clear();
        picture.read(rect, &mut self.pixels);
        self.shadow.write(rect, &self.pixels);
        self.stale.clear(rect);
        self.write(rect, draft);
    }

    /// Writes `pixels`.
    fn write(&mut self, rect: Rect, draft: &mut Draft) {
        match self.coder.encode(&self.pixels, rect.width) {
            Coded::Solid(colour) => draft.fill(rect, colour),
            Coded::Tile(coding, bytes) => draft.tile(rect, coding, bytes),
        }
    }

    /// The viewer gets these pixels as video; here they are remembered for repainting.
    fn take_video(&mut self, picture: &View<'_>, damage: &[Rect], video: &[Rect]) {
        let desktop = Rect::whole(self.shadow.size());
        for rect in video {
            let parts = damage.iter().filter_map(|it| it.intersection(*rect));
            for part in parts.filter_map(|it| it.intersection(desktop)) {
                for (to, from) in self.shadow.rows_mut(part).zip(picture.rows(part)) {
                    from.write(to);
                }
                self.stale.mark(part);
            }
        }
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

    /// The rectangle around the stale blocks of a tile that video leaves alone.
    fn repaintable(&self, tile: Rect, video: &[Rect]) -> Rect {
        let blocks = self.stale.marked(tile);
        blocks
            .filter(|block| !video.iter().any(|it| it.touches(*block)))
            .fold(Rect::default(), Rect::union)
    }

    fn repaint_tile(&mut self, tile: u16, video: &[Rect], draft: &mut Draft) {
        let Some(whole) = self.grid.rect(tile) else {
            return;
        };
        let rect = self.repaintable(whole, video);
        self.pixels.clear();
        self.shadow.read(rect, &mut self.pixels);
        self.stale.clear(rect);
        if rect == whole {
            let key = self.namer.key(&self.pixels, rect.width);
            if let Some(slot) = self.index.find(key) {
                draft.cached(tile, slot);
                return;
            }
        }
        self.write(rect, draft);
    }
}

fn is_flat(pixels: &[Pixel]) -> bool {
    let first = pixels.first();
    pixels.iter().all(|it| Some(it) == first)
}

#[cfg(test)]
#[path = "composer/tests.rs"]
mod tests;
