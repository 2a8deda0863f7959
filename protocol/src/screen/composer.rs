//! Makes updates of changed pixels: the server's half of the screen layer.

mod changes;
mod regions;
mod repainting;
mod texts;

use super::cache::{Index, Namer};
use super::coding::{Coded, Coder};
use super::shift::Finder;
use super::stale::Stale;
use super::text::TextCoder;
use super::{Grid, Picture, View};
use crate::limits::{ACCESS_UNIT_BYTES_MAX, TILE_PIXELS_MAX, TILE_SIDE, UPDATE_BYTES_MAX};
use crate::wire::update::Draft;
use crate::{Pixel, Point, Rect, Size};
use changes::Changes;
use regions::Regions;

/// Bytes of tiles that an update may have at most: an access unit finds room beside them, and so
/// do copies and references, of which each tile has a handful of bytes.
const BUDGET_MAX: usize = UPDATE_BYTES_MAX - ACCESS_UNIT_BYTES_MAX - (1 << 20);

/// Changes of fewer pixels of a tile come before larger ones, and are joined with neighbours.
const SMALL_PIXELS: usize = TILE_SIDE as usize * TILE_SIDE as usize / 2;

/// Changes of fewer pixels are not searched for what has moved: tiles are cheap enough.
const SHIFT_PIXELS_MIN: usize = 128 * 128;

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
    regions: Regions,
    coder: Coder,
    text: TextCoder,
    finder: Finder,
    /// Of the rectangle that is being worked on.
    pixels: Vec<Pixel>,
    /// Tiles to be repainted with their distance, and tiles found in the cache with their slots.
    nearest: Vec<(u32, u16)>,
    hits: Vec<(u16, u16)>,
    focus: Point,
    /// What was to be repainted and is no text.
    no_text: Rect,
}

/// What a composer is given.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The desktop as it is now.
    pub picture: View<'a>,
    /// Outside of these rectangles it is as it was.
    pub damage: &'a [Rect],
    /// What video shows, which the composer leaves alone.
    pub video: &'a [Rect],
}

impl Frame<'_> {
    fn is_video(&self, rect: Rect) -> bool {
        self.video.iter().any(|it| it.touches(rect))
    }
}

/// What an update became.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Composed {
    /// The rectangle around where pixels were that have been moved, and where they are.
    pub moved: Option<Rect>,
    /// The rectangle around all other changes.
    pub changed: Rect,
    /// The rectangle around those changes that were too many for the update, so that the viewer
    /// does not show them: to be repainted, or shown as video.
    pub left: Rect,
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
            regions: Regions::default(),
            coder: Coder::default(),
            text: TextCoder::default(),
            finder: Finder::default(),
            pixels: Vec::with_capacity(TILE_PIXELS_MAX),
            nearest: Vec::new(),
            hits: Vec::new(),
            focus: Point::default(),
            no_text: Rect::default(),
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
        self.text.clear();
    }

    /// The picture as the viewer shows it, or should where it [is not exact](Self::is_exact).
    pub const fn picture(&self) -> &Picture {
        &self.shadow
    }

    /// The viewer shows this very picture once it has applied all updates.
    pub const fn is_exact(&self) -> bool {
        self.stale.is_empty()
    }

    /// Outside of what `video` shows there is something to [`repaint`](Self::repaint).
    pub fn is_behind(&self, video: &[Rect]) -> bool {
        !self.is_exact()
            && !self
                .repaintable(Rect::whole(self.shadow.size()), video)
                .is_empty()
    }

    /// Writes what has changed, as long as the update stays within `budget` bytes: first what was
    /// moved or is in the viewer's cache, whatever that takes, then small changes, then large ones.
    /// Without any change the draft stays as it is.
    ///
    /// # Panics
    ///
    /// When the picture has another size.
    pub fn compose(&mut self, frame: &Frame<'_>, budget: usize, draft: &mut Draft) -> Composed {
        assert!(
            frame.picture.size() == self.shadow.size(),
            "a picture of {} for a viewer of {}",
            frame.picture.size(),
            self.shadow.size()
        );
        self.index.begin();
        self.compare(frame);
        let moved = self.shift(frame, draft);
        let changed = self.changes.bounds();
        self.find_cached(frame);
        if moved.is_none() {
            self.keep_vanishing(draft);
        }
        self.paint_cached(frame, draft);
        let mut room = Room::new(draft, budget);
        self.paint_text(frame, &mut room);
        self.paint_small(frame, &mut room);
        self.paint_large(frame, &mut room);
        let left = room.left;
        self.take_video(frame);
        if !changed.is_empty() {
            self.focus = changed.centre();
            self.no_text = Rect::default();
        }
        Composed {
            moved,
            changed,
            left,
        }
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

    fn compare(&mut self, frame: &Frame<'_>) {
        self.changes.clear();
        for rect in frame.damage {
            self.compare_rect(frame, *rect);
        }
    }

    fn compare_rect(&mut self, frame: &Frame<'_>, rect: Rect) {
        self.changes.compare(frame, &self.shadow, &self.stale, rect);
    }

    /// Moves what has moved, and looks again at what is then left to paint.
    fn shift(&mut self, frame: &Frame<'_>, draft: &mut Draft) -> Option<Rect> {
        if self.changes.area() < SHIFT_PIXELS_MIN {
            return None;
        }
        let bounds = self.changes.bounds();
        let shift = self.finder.find(&self.shadow, &frame.picture, bounds)?;
        if frame.is_video(shift.target()) {
            return None;
        }
        // What is scrolled away comes back at another place of the grid, if at all.
        if !shift.is_clear {
            self.keep_vanishing(draft);
        }
        draft.copy(shift.from, shift.to);
        self.shadow.copy(shift.from, shift.to);
        self.stale.copy(shift.from, shift.to);
        self.compare(frame);
        if !frame.damage.iter().any(|it| it.contains(shift.target())) {
            self.compare_rect(frame, shift.target());
        }
        Some(shift.target().union(shift.from))
    }

    /// Lists the changed tiles that the viewer has in its cache.
    fn find_cached(&mut self, frame: &Frame<'_>) {
        self.hits.clear();
        for (tile, rect) in self.changes.large().filter(|it| !frame.is_video(it.1)) {
            self.pixels.clear();
            frame.picture.read(rect, &mut self.pixels);
            let key = self.namer.key(&self.pixels, rect.width);
            self.hits
                .extend(self.index.find(key).map(|slot| (tile, slot)));
        }
    }

    /// Keeps the tiles that are about to change.
    fn keep_vanishing(&mut self, draft: &mut Draft) {
        for (tile, rect) in self.changes.large().filter(|it| !self.stale.touches(it.1)) {
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
    }

    fn paint_cached(&mut self, frame: &Frame<'_>, draft: &mut Draft) {
        for (tile, slot) in self.hits.iter().copied() {
            if let Some(rect) = self.grid.rect(tile) {
                draft.cached(tile, slot);
                frame.picture.write(rect, &mut self.shadow);
                self.stale.clear(rect);
                self.changes.remove(tile);
            }
        }
    }

    /// Paints the small changes, neighbours as one: a line of text, a letter across two tiles.
    fn paint_small(&mut self, frame: &Frame<'_>, room: &mut Room<'_>) {
        let mut waiting = Rect::default();
        for tile in self.grid.tiles() {
            let rect = self.changes.of(tile);
            if rect.is_empty() || rect.area() >= SMALL_PIXELS {
                continue;
            }
            self.changes.remove(tile);
            let both = waiting.union(rect);
            let is_one = both.area() <= TILE_PIXELS_MAX
                && both.area() * 4 <= (waiting.area() + rect.area()) * 5
                && !frame.is_video(both);
            if is_one {
                waiting = both;
            } else {
                self.paint(frame, waiting, room);
                waiting = rect;
            }
        }
        self.paint(frame, waiting, room);
    }

    /// Paints the other changes, neighbours of the same two colours as one: text refers to text.
    fn paint_large(&mut self, frame: &Frame<'_>, room: &mut Room<'_>) {
        let mut waiting = Rect::default();
        let mut colours = None;
        for tile in self.grid.tiles() {
            let Some(whole) = self.grid.rect(tile).filter(|_| self.changes.has(tile)) else {
                continue;
            };
            let its_own = self.two_colours(frame, whole);
            let rect = if its_own.is_some() && !frame.is_video(whole) {
                whole
            } else {
                self.changes.of(tile)
            };
            let joined = join_colours(colours, its_own);
            let both = waiting.union(rect);
            let is_beside =
                (waiting.right(), waiting.y, waiting.height) == (rect.x, rect.y, rect.height);
            if is_beside && joined.is_some() && both.area() <= TILE_PIXELS_MAX {
                (waiting, colours) = (both, joined);
                continue;
            }
            self.paint(frame, waiting, room);
            // Another one would hardly fit where this did not, and coding it takes time.
            room.is_full |= !room.left.is_empty();
            (waiting, colours) = (rect, its_own);
        }
        self.paint(frame, waiting, room);
    }

    /// The colours of a rectangle, where it has no more than two.
    fn two_colours(&mut self, frame: &Frame<'_>, rect: Rect) -> Option<[Pixel; 2]> {
        self.pixels.clear();
        frame.picture.read(rect, &mut self.pixels);
        let first = *self.pixels.first()?;
        let second = self.pixels.iter().find(|it| **it != first);
        let second = second.copied().unwrap_or(first);
        let is_two = self.pixels.iter().all(|it| *it == first || *it == second);
        is_two.then_some([first, second])
    }

    /// What does not fit the update is remembered for repainting.
    fn paint(&mut self, frame: &Frame<'_>, rect: Rect, room: &mut Room<'_>) {
        if rect.is_empty() {
            return;
        }
        frame.picture.write(rect, &mut self.shadow);
        if !room.is_full && self.write(rect, room) {
            self.stale.clear(rect);
        } else {
            self.stale.mark(rect);
            room.left = room.left.union(rect);
        }
    }

    /// Writes pixels of the shadow; `false` where there is no room for them.
    fn write(&mut self, rect: Rect, room: &mut Room<'_>) -> bool {
        self.pixels.clear();
        self.shadow.read(rect, &mut self.pixels);
        match self.coder.encode(&self.pixels, rect.width) {
            Coded::Solid(colour) => room.draft.fill(rect, colour),
            Coded::Tile(coding, bytes) if room.fits(bytes) => room.draft.tile(rect, coding, bytes),
            Coded::Tile(..) => return false,
        }
        true
    }

    /// The viewer gets these pixels as video; here they are remembered for repainting.
    fn take_video(&mut self, frame: &Frame<'_>) {
        let desktop = Rect::whole(self.shadow.size());
        for rect in frame.video.iter().filter_map(|it| it.intersection(desktop)) {
            for part in frame.damage.iter().filter_map(|it| it.intersection(rect)) {
                frame.picture.write(part, &mut self.shadow);
                self.stale.mark(part);
            }
        }
    }
}

/// An update that must not become too large.
struct Room<'a> {
    draft: &'a mut Draft,
    budget: usize,
    is_full: bool,
    /// Around what found no room.
    left: Rect,
}

impl<'a> Room<'a> {
    fn new(draft: &'a mut Draft, budget: usize) -> Self {
        Self {
            draft,
            budget: budget.min(BUDGET_MAX),
            is_full: false,
            left: Rect::default(),
        }
    }

    fn fits(&self, bytes: &[u8]) -> bool {
        self.draft.is_empty() || self.draft.len() + bytes.len() <= self.budget
    }
}

/// The colours of both, where they are no more than two.
fn join_colours(a: Option<[Pixel; 2]>, b: Option<[Pixel; 2]>) -> Option<[Pixel; 2]> {
    let (a, b) = a.zip(b)?;
    let ([first, a], [b, c]) = (a, b);
    let others = [a, b, c];
    let second = others.into_iter().find(|it| *it != first).unwrap_or(first);
    let is_two = others.iter().all(|it| *it == first || *it == second);
    is_two.then_some([first, second])
}

fn is_flat(pixels: &[Pixel]) -> bool {
    let first = pixels.first();
    pixels.iter().all(|it| Some(it) == first)
}

#[cfg(test)]
#[path = "composer/tests.rs"]
mod tests;
