//! Changed tiles that lie together: windows whose content is another.

use super::changes::Changes;
use crate::Rect;
use crate::limits::{TEXT_PIXELS_MAX, TILE_SIDE};

/// Smaller ones are not worth a look: a few tiles say them as well. A line of text is larger.
pub(super) const REGION_PIXELS_MIN: usize = 2 * TILE_SIDE as usize * TILE_SIDE as usize;

/// Finds them; its buffers serve one picture after the other.
#[derive(Debug, Default)]
pub(super) struct Regions {
    found: Vec<Rect>,
    /// Tiles that were looked at, and those that are still to be.
    seen: Vec<bool>,
    waiting: Vec<u16>,
}

impl Regions {
    /// Rectangles around changes that lie together and fill a quarter of them at least.
    pub(super) fn find(&mut self, changes: &Changes) -> &[Rect] {
        self.found.clear();
        self.seen.clear();
        self.seen.resize(changes.grid().len(), false);
        for tile in changes.grid().tiles() {
            let (rect, changed) = self.gather(changes, tile);
            if rect.area() >= REGION_PIXELS_MIN && changed * 4 >= rect.area() {
                self.found.extend(pieces(rect));
            }
        }
        &self.found
    }

    /// The rectangle around a tile's changes and all that lie together with them, and how many
    /// pixels have changed; nothing where that was looked at before.
    fn gather(&mut self, changes: &Changes, tile: u16) -> (Rect, usize) {
        let (mut around, mut changed) = (Rect::default(), 0);
        let columns = changes.grid().columns();
        self.waiting.push(tile);
        while let Some(tile) = self.waiting.pop() {
            let of_tile = changes.of(tile);
            let is_new = |seen: &mut bool| !std::mem::replace(seen, true);
            let is_new = self.seen.get_mut(usize::from(tile)).is_some_and(is_new);
            if of_tile.is_empty() || !is_new {
                continue;
            }
            around = around.union(of_tile);
            changed += of_tile.area();
            let (row, column) = (tile / columns, tile % columns);
            self.waiting.extend(tile.checked_add(columns));
            self.waiting.extend(tile.checked_sub(columns));
            self.waiting
                .extend((column > 0).then(|| row * columns + column - 1));
            self.waiting
                .extend((column + 1 < columns).then(|| row * columns + column + 1));
        }
        (around, changed)
    }
}

/// A rectangle as parts that can be coded.
fn pieces(rect: Rect) -> impl Iterator<Item = Rect> {
    let rows = TEXT_PIXELS_MAX / usize::from(rect.width).max(1);
    let rows = u16::try_from(rows).unwrap_or(u16::MAX);
    let tops = (rect.y..rect.bottom()).step_by(rows.into());
    tops.map(move |y| Rect {
        y,
        height: rows.min(rect.bottom() - y),
        ..rect
    })
}
