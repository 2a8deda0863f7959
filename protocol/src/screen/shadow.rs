//! The viewer's picture: applies updates, and says what of it is to be shown anew.

use super::cache::Store;
use super::coding::{BadTile, Decoder};
use super::text::{BadText, Text, TextDecoder};
use super::{Grid, Picture};
use crate::limits::{TILE_PIXELS_MAX, TILE_SIDE, VIDEO_RECTS_MAX};
use crate::wire::update::{Op, Rects, Run, Update};
use crate::{Pixel, Point, Rect, Size};

const TILE_PIXELS: usize = TILE_SIDE as usize * TILE_SIDE as usize;

/// Rectangles to be shown that are told apart; more are joined.
const DAMAGE_MAX: usize = 16;

/// An update paints, copies and keeps so many times the desktop's pixels at most: what a server
/// needs is less than half of that, and one without a bound would hold a viewer for minutes.
const WORK_MAX: usize = 8;

/// What decodes video for a [`Shadow`].
pub trait VideoSource {
    /// Decodes one frame and paints `rects` of it, which lie within the picture, and nothing else;
    /// `false` where that failed. The upper byte of what it paints is 0.
    fn show(&mut self, access_unit: &[u8], rects: &[Rect], picture: &mut Picture) -> bool;
}

/// A picture that is the same as the server's.
#[derive(Debug)]
pub struct Shadow {
    picture: Picture,
    grid: Grid,
    store: Store,
    decoder: Decoder,
    text: TextDecoder,
    pixels: Vec<Pixel>,
    /// Of the newest video.
    rects: Vec<Rect>,
    damage: Vec<Rect>,
}

/// An update that cannot be applied: the server and this viewer no longer show the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The first update needs others before it.
    #[error("the first update is not a whole one")]
    NotWhole,
    /// A rectangle that leaves the desktop.
    #[error("{rect:?} is outside of a desktop of {size}")]
    Outside {
        /// Which one.
        rect: Rect,
        /// The desktop's size.
        size: Size,
    },
    /// A tile that the desktop has not, or a slot that is not there or holds no such tile.
    #[error("no tile {tile} in slot {slot}")]
    Cache {
        /// Which tile.
        tile: u16,
        /// Which slot.
        slot: u16,
    },
    /// More pixels are touched than an update may.
    #[error("an update that touches more than {WORK_MAX} times the pixels of a desktop of {0}")]
    TooMuch(Size),
    /// Pixels that are none.
    #[error(transparent)]
    Tile(#[from] BadTile),
    /// Text that is none.
    #[error(transparent)]
    Text(#[from] BadText),
    /// The decoder refuses an access unit.
    #[error("an access unit of {0} bytes cannot be decoded")]
    Video(usize),
}

impl Shadow {
    /// One that shows nothing yet, with a cache of so many places.
    pub fn new(slots: u16) -> Self {
        let nothing = Size {
            width: 0,
            height: 0,
        };
        Self {
            picture: Picture::new(nothing),
            grid: Grid::new(nothing),
            store: Store::new(slots),
            decoder: Decoder::default(),
            text: TextDecoder::default(),
            pixels: Vec::with_capacity(TILE_PIXELS_MAX),
            rects: Vec::with_capacity(VIDEO_RECTS_MAX),
            damage: Vec::with_capacity(DAMAGE_MAX),
        }
    }

    /// The picture.
    pub const fn picture(&self) -> &Picture {
        &self.picture
    }

    /// What changed since [`clear_damage`](Self::clear_damage), and perhaps a little more.
    pub fn damage(&self) -> &[Rect] {
        &self.damage
    }

    /// What changed has been shown.
    pub fn clear_damage(&mut self) {
        self.damage.clear();
    }

    /// Applies an update. They come in order, none left out but skipped ones.
    ///
    /// # Errors
    ///
    /// Returns [`ApplyError`] for an update that does not fit; the picture is then worth nothing
    /// until a whole update comes.
    pub fn apply(
        &mut self,
        update: &Update<'_>,
        video: &mut impl VideoSource,
    ) -> Result<(), ApplyError> {
        match update.header.whole {
            Some(size) => self.begin(size),
            None if self.grid.is_empty() => return Err(ApplyError::NotWhole),
            None => (),
        }
        let size = self.picture.size();
        let mut room = WORK_MAX * Rect::whole(size).area();
        for op in update.ops() {
            room = room
                .checked_sub(work(&op))
                .ok_or(ApplyError::TooMuch(size))?;
            match op {
                Op::Copy { from, to } => self.copy(from, to)?,
                Op::Fill { rect, colour } => {
                    self.check(rect)?;
                    self.picture.fill(rect, colour);
                    self.add_damage(rect);
                }
                Op::Tile {
                    rect,
                    coding,
                    bytes,
                } => {
                    self.check(rect)?;
                    self.pixels.clear();
                    self.pixels.resize(rect.area(), 0);
                    self.decoder
                        .decode(coding, bytes, rect.width, &mut self.pixels)?;
                    self.picture.write(rect, &self.pixels);
                    self.add_damage(rect);
                }
                Op::Keep(run) => self.keep(run)?,
                Op::Cached(run) => self.paint_cached(run)?,
                Op::Video { rects, access_unit } => self.show(rects, access_unit, video)?,
                Op::Text {
                    rect,
                    goes_on,
                    body_len,
                    bytes,
                } => {
                    self.check(rect)?;
                    let text = Text {
                        rect,
                        goes_on,
                        body_len,
                        bytes,
                    };
                    self.text.decode(text, &mut self.picture)?;
                    self.add_damage(rect);
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, size: Size) {
        self.picture.reset(size);
        self.grid = Grid::new(size);
        self.store.clear();
        self.text.clear();
        self.damage.clear();
        self.damage.push(Rect::whole(size));
    }

    fn check(&self, rect: Rect) -> Result<(), ApplyError> {
        let size = self.picture.size();
        if Rect::whole(size).contains(rect) {
            Ok(())
        } else {
            Err(ApplyError::Outside { rect, size })
        }
    }

    fn copy(&mut self, from: Rect, to: Point) -> Result<(), ApplyError> {
        let target = Rect {
            x: to.x,
            y: to.y,
            ..from
        };
        self.check(from)?;
        self.check(target)?;
        self.picture.copy(from, to);
        self.add_damage(target);
        Ok(())
    }

    fn keep(&mut self, run: Run) -> Result<(), ApplyError> {
        for (tile, slot) in run.pairs() {
            let bad = ApplyError::Cache { tile, slot };
            let rect = self.grid.rect(tile).ok_or(bad)?;
            let pixels = self.store.fill(slot).ok_or(bad)?;
            self.picture.read(rect, pixels);
        }
        Ok(())
    }

    fn paint_cached(&mut self, run: Run) -> Result<(), ApplyError> {
        for (tile, slot) in run.pairs() {
            let bad = ApplyError::Cache { tile, slot };
            let rect = self.grid.rect(tile).ok_or(bad)?;
            let pixels = self.store.pixels(slot, rect).ok_or(bad)?;
            self.picture.write(rect, pixels);
            self.add_damage(rect);
        }
        Ok(())
    }

    fn show(
        &mut self,
        rects: Rects<'_>,
        access_unit: &[u8],
        video: &mut impl VideoSource,
    ) -> Result<(), ApplyError> {
        self.rects.clear();
        self.rects.extend(rects.iter());
        self.rects.iter().try_for_each(|it| self.check(*it))?;
        if !video.show(access_unit, &self.rects, &mut self.picture) {
            return Err(ApplyError::Video(access_unit.len()));
        }
        for rect in rects.iter() {
            self.add_damage(rect);
        }
        Ok(())
    }

    /// Joins what lies together; where there are too many, the pair that grows least.
    fn add_damage(&mut self, rect: Rect) {
        let growth = |it: &Rect| it.union(rect).area() - it.area();
        let is_full = self.damage.len() == DAMAGE_MAX;
        match self.damage.iter_mut().min_by_key(|it| growth(it)) {
            Some(nearest) if is_full || growth(nearest) <= rect.area() => {
                *nearest = nearest.union(rect);
            }
            Some(_) | None => self.damage.push(rect),
        }
    }
}

/// Pixels that an op touches.
fn work(op: &Op<'_>) -> usize {
    match op {
        Op::Copy { from: rect, .. }
        | Op::Fill { rect, .. }
        | Op::Tile { rect, .. }
        | Op::Text { rect, .. } => rect.area(),
        Op::Keep(run) | Op::Cached(run) => usize::from(run.count) * TILE_PIXELS,
        Op::Video { rects, .. } => rects.iter().map(Rect::area).sum(),
    }
}

#[cfg(test)]
#[path = "shadow/tests.rs"]
mod tests;
