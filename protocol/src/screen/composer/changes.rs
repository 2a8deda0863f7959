//! What of each tile has changed.

use super::Frame;
use crate::limits::TILE_SIDE;
use crate::screen::Grid;
use crate::screen::picture::Picture;
use crate::screen::stale::Stale;
use crate::screen::view::Row;
use crate::{Pixel, Rect, Size};

/// For each tile the rectangle around its changed pixels.
#[derive(Debug)]
pub(super) struct Changes {
    grid: Grid,
    tiles: Vec<Rect>,
}

impl Changes {
    pub(super) fn new(size: Size) -> Self {
        let grid = Grid::new(size);
        Self {
            grid,
            tiles: vec![Rect::default(); grid.len()],
        }
    }

    pub(super) fn clear(&mut self) {
        self.tiles.fill(Rect::default());
    }

    /// Adds what is new in a rectangle, but for what video shows.
    pub(super) fn compare(
        &mut self,
        frame: &Frame<'_>,
        shadow: &Picture,
        stale: &Stale,
        rect: Rect,
    ) {
        let Some(rect) = rect.intersection(Rect::whole(shadow.size())) else {
            return;
        };
        outside(rect, frame.video, &mut |piece| {
            // Row by row, as memory lies: most of them are the same.
            let rows = frame.picture.rows(piece).zip(shadow.rows(piece));
            for (y, (new, old)) in (piece.y..).zip(rows) {
                if !new.is_same(old) {
                    self.compare_row(piece.x, y, new, old);
                }
            }
            if stale.touches(piece) {
                self.add_stale(frame, stale, piece);
            }
        });
    }

    /// Adds what differs in a row that begins at a place, tile by tile.
    fn compare_row(&mut self, left: u16, y: u16, new: Row<'_>, old: &[Pixel]) {
        let lead = usize::from(TILE_SIDE - left % TILE_SIDE).min(old.len());
        let (first, rest) = old.split_at(lead);
        let mut x = left;
        let mut at = 0;
        for old in std::iter::once(first).chain(rest.chunks(TILE_SIDE.into())) {
            let new = new.part(at..at + old.len());
            let end = x.saturating_add(u16::try_from(old.len()).unwrap_or(u16::MAX));
            let tile = self.tile_at(x, y);
            if let Some(all) = self.tiles.get_mut(tile) {
                // Where it is as wide as it can be, only how far down it reaches is to be known.
                let is_wide = all.x <= x && all.right() >= end;
                let found = if is_wide {
                    (!new.is_same(old)).then_some((0, old.len()))
                } else {
                    new.difference(old)
                };
                if let Some((first, last)) = found {
                    let column = |it| x.saturating_add(u16::try_from(it).unwrap_or(u16::MAX));
                    *all = all.union(Rect::between(column(first), y, column(last), y + 1));
                }
            }
            at += old.len();
            x = end;
        }
    }

    /// Adds the stale blocks: what the viewer shows there is not known. Where video goes on beside
    /// the piece, no more than the piece.
    fn add_stale(&mut self, frame: &Frame<'_>, stale: &Stale, piece: Rect) {
        for block in stale.marked(piece) {
            let part = if frame.is_video(block) {
                block.intersection(piece)
            } else {
                Some(block)
            };
            let tile = self.tile_at(block.x, block.y);
            if let Some((all, part)) = self.tiles.get_mut(tile).zip(part) {
                *all = all.union(part);
            }
        }
    }

    fn tile_at(&self, x: u16, y: u16) -> usize {
        let row = usize::from(y / TILE_SIDE) * usize::from(self.grid.columns());
        row + usize::from(x / TILE_SIDE)
    }

    pub(super) const fn grid(&self) -> Grid {
        self.grid
    }

    /// Everything is sent for this rectangle.
    pub(super) fn remove_within(&mut self, rect: Rect) {
        for changed in self.tiles.iter_mut().filter(|it| rect.contains(**it)) {
            *changed = Rect::default();
        }
    }

    /// Something has changed of one tile.
    pub(super) fn has(&self, tile: u16) -> bool {
        !self.of(tile).is_empty()
    }

    /// What has changed of one tile.
    pub(super) fn of(&self, tile: u16) -> Rect {
        self.tiles
            .get(usize::from(tile))
            .copied()
            .unwrap_or_default()
    }

    /// The changed tiles, in order.
    fn iter(&self) -> impl Iterator<Item = (u16, Rect)> {
        let tiles = (0_u16..).zip(self.tiles.iter().copied());
        tiles.filter(|(_, rect)| !rect.is_empty())
    }

    /// The tiles that have changed at least so much that the whole of them is worth a look.
    pub(super) fn large(&self) -> impl Iterator<Item = (u16, Rect)> {
        self.iter().filter_map(|(tile, changed)| {
            let rect = self.grid.rect(tile)?;
            (changed.area() * 8 >= rect.area()).then_some((tile, rect))
        })
    }

    /// Everything is sent for this tile.
    pub(super) fn remove(&mut self, tile: u16) {
        if let Some(rect) = self.tiles.get_mut(usize::from(tile)) {
            *rect = Rect::default();
        }
    }

    /// The pixels of all changes, give or take.
    pub(super) fn area(&self) -> usize {
        self.iter().map(|it| it.1.area()).sum()
    }

    /// The rectangle around all changes.
    pub(super) fn bounds(&self) -> Rect {
        self.iter().fold(Rect::default(), |all, it| all.union(it.1))
    }
}

/// The parts of a rectangle that no hole covers.
pub(super) fn outside(rect: Rect, holes: &[Rect], each: &mut impl FnMut(Rect)) {
    let Some((hole, rest)) = holes.split_first() else {
        each(rect);
        return;
    };
    for part in rect.without(*hole).into_iter().filter(|it| !it.is_empty()) {
        outside(part, rest, each);
    }
}
