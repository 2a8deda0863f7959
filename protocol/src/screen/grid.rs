//! The tiles of a desktop: squares that begin at its upper left, cut at its right and lower edge.

use crate::limits::TILE_SIDE;
use crate::{Rect, Size};

/// A desktop cut into tiles, which are numbered in rows from the top left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    size: Size,
}

impl Grid {
    /// The grid of a desktop.
    pub const fn new(size: Size) -> Self {
        Self { size }
    }

    /// Tiles in a row.
    pub const fn columns(self) -> u16 {
        self.size.width.div_ceil(TILE_SIDE)
    }

    /// Tiles in all.
    pub fn len(self) -> usize {
        usize::from(self.columns()) * usize::from(self.size.height.div_ceil(TILE_SIDE))
    }

    /// A desktop without pixels has none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// All of them.
    pub fn tiles(self) -> std::ops::Range<u16> {
        // The largest desktop has fewer than a number can name.
        0..u16::try_from(self.len()).unwrap_or(u16::MAX)
    }

    /// Where a tile is; `None` for one that the desktop has not.
    pub fn rect(self, tile: u16) -> Option<Rect> {
        let columns = self.columns();
        let x = tile.checked_rem(columns)?.checked_mul(TILE_SIDE)?;
        let y = (tile / columns).checked_mul(TILE_SIDE)?;
        let square = Rect {
            x,
            y,
            width: TILE_SIDE,
            height: TILE_SIDE,
        };
        square.intersection(Rect::whole(self.size))
    }

    /// The tiles that a rectangle within the desktop touches, each with its part of it.
    pub fn parts(self, rect: Rect) -> impl Iterator<Item = (u16, Rect)> {
        let columns = rect.x / TILE_SIDE..rect.right().div_ceil(TILE_SIDE);
        let rows = rect.y / TILE_SIDE..rect.bottom().div_ceil(TILE_SIDE);
        let tiles = rows.flat_map(move |row| columns.clone().map(move |it| (row, it)));
        tiles.filter_map(move |(row, column)| {
            let tile = row.checked_mul(self.columns())?.checked_add(column)?;
            Some((tile, self.rect(tile)?.intersection(rect)?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_a_desktop_once() {
        let size = Size {
            width: 1000,
            height: 600,
        };
        let grid = Grid::new(size);
        assert_eq!((grid.columns(), grid.len()), (16, 160));
        let rects: Vec<Rect> = (0..160).map(|it| grid.rect(it).unwrap()).collect();
        let area: usize = rects.iter().map(|it| it.area()).sum();
        assert_eq!(area, Rect::whole(size).area());
        assert_eq!(rects[15], Rect::between(960, 0, 1000, 64));
        assert_eq!(rects[159], Rect::between(960, 576, 1000, 600));
        assert_eq!(grid.rect(160), None);
        assert_eq!(grid.rect(u16::MAX), None);
    }

    #[test]
    fn the_parts_of_a_rectangle_make_it_up() {
        let grid = Grid::new(Size {
            width: 300,
            height: 200,
        });
        let rect = Rect::between(60, 64, 129, 130);
        let parts: Vec<_> = grid.parts(rect).collect();
        let tiles: Vec<u16> = parts.iter().map(|it| it.0).collect();
        assert_eq!(tiles, [5, 6, 7, 10, 11, 12]);
        let area: usize = parts.iter().map(|it| it.1.area()).sum();
        assert_eq!(area, rect.area());
        assert_eq!(parts[0].1, Rect::between(60, 64, 64, 128));
    }
}
