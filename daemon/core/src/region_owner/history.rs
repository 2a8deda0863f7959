//! How often, and by how much, each tile of a desktop has changed lately.

use std::time::{Duration, Instant};

use sandbox_protocol::screen::Grid;
use sandbox_protocol::{Rect, Size};

/// Changes further apart are separate events: somebody types, a menu opens. Eight a second is the
/// slowest that looks like motion.
pub(super) const GAP_MAX: Duration = Duration::from_millis(125);

/// So many changes without a larger gap make motion: 170 ms at 30 frames a second, for which
/// tiles carry it.
pub(super) const CHANGES: u32 = 5;

/// A moving tile changes by this share of its pixels, half of the times at least.
const TILE_SHARE: usize = 2;

/// The histories of all tiles.
#[derive(Debug)]
pub(super) struct History {
    grid: Grid,
    tiles: Vec<Tile>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tile {
    /// Pixels of the change that is being looked at.
    pixels: usize,
    last: Option<Instant>,
    /// Changes since the last long gap, and those among them that were large.
    changes: u32,
    large: u32,
}

impl History {
    /// Nothing has changed.
    pub(super) fn new(size: Size) -> Self {
        let grid = Grid::new(size);
        Self {
            grid,
            tiles: vec![Tile::default(); grid.len()],
        }
    }

    /// Everything in `parts`, which do not overlap, changed at once.
    pub(super) fn count<I: Iterator<Item = Rect>>(&mut self, parts: impl Fn() -> I, now: Instant) {
        for (tile, part) in parts().flat_map(|it| self.grid.parts(it)) {
            if let Some(tile) = self.tiles.get_mut(usize::from(tile)) {
                tile.pixels += part.area();
            }
        }
        for (tile, _) in parts().flat_map(|it| self.grid.parts(it)) {
            let area = self.grid.rect(tile).map_or(0, Rect::area);
            if let Some(tile) = self.tiles.get_mut(usize::from(tile)) {
                tile.finish(area, now);
            }
        }
    }

    /// Touches a tile that changes often and largely.
    pub(super) fn moves(&self, part: Rect) -> bool {
        let mut tiles = self.grid.parts(part);
        tiles.any(|(tile, _)| self.tile(tile).is_some_and(Tile::moves))
    }

    /// What of a change lies in tiles that change often.
    pub(super) fn frequent_part(&self, part: Rect) -> Rect {
        let tiles = self.grid.parts(part);
        let often =
            tiles.filter(|(tile, _)| self.tile(*tile).is_some_and(|it| it.changes >= CHANGES));
        often.fold(Rect::default(), |all, (_, part)| all.union(part))
    }

    fn tile(&self, tile: u16) -> Option<&Tile> {
        self.tiles.get(usize::from(tile))
    }
}

impl Tile {
    /// Counts a change, once, however many parts of it the tile has.
    fn finish(&mut self, area: usize, now: Instant) {
        let pixels = std::mem::take(&mut self.pixels);
        if pixels == 0 {
            return;
        }
        let is_near = self
            .last
            .is_some_and(|it| now.saturating_duration_since(it) <= GAP_MAX);
        if !is_near {
            (self.changes, self.large) = (0, 0);
        }
        self.last = Some(now);
        self.changes = self.changes.saturating_add(1);
        if pixels * TILE_SHARE >= area {
            self.large = self.large.saturating_add(1);
        }
    }

    const fn moves(&self) -> bool {
        self.changes >= CHANGES && self.large >= self.changes / 2
    }
}
