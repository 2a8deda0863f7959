//! Changed tiles that lie together: windows whose content is another.

use super::changes::Changes;
use crate::Rect;
use crate::limits::{TEXT_PIXELS_MAX, TILE_SIDE};

/// Smaller ones are not worth a look: a few tiles say them as well. A line of text is larger.
pub(super) const REGION_PIXELS_MIN: usize = 2 * TILE_SIDE as usize * TILE_SIDE as usize;

/// Finds them; its buffers serve one picture after the other.
#[derive(Debug, Default)]
pub(super) struct Regions {
    found: Vec<Region>,
    /// For each tile, together with which others it was found; 0 before that.
    groups: Vec<u16>,
    /// Tiles that are still to be looked at.
    waiting: Vec<u16>,
    blocks: Vec<Block>,
    rects: Vec<Rect>,
}

/// Changed tiles that lie together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Region {
    number: u16,
    all: Block,
}

/// Changes within a rectangle.
#[derive(Clone, Copy, Debug, Default)]
struct Block {
    around: Rect,
    /// How many pixels have changed.
    changed: usize,
}

impl Regions {
    /// Finds changes that lie together and fill a quarter of their rectangle at least.
    pub(super) fn find(&mut self, changes: &Changes) {
        self.found.clear();
        self.groups.clear();
        self.groups.resize(changes.grid().len(), 0);
        let mut number = 0;
        for tile in changes.grid().tiles() {
            number += 1;
            let all = self.gather(changes, tile, number);
            if all.around.area() >= REGION_PIXELS_MIN && all.fills(1, 4) {
                self.found.push(Region { number, all });
            }
        }
        self.found.reverse();
    }

    /// The next one that was found.
    pub(super) fn next(&mut self) -> Option<Region> {
        self.found.pop()
    }

    /// Cuts a region around what it surrounds and has not changed, such as another window, whose
    /// lines lie at other distances.
    pub(super) fn cut(&mut self, changes: &Changes, region: Region) -> &[Rect] {
        self.rects.clear();
        self.blocks.clear();
        let columns = changes.grid().columns();
        let mut run: Option<Block> = None;
        for (tile, group) in changes.grid().tiles().zip(&self.groups) {
            let of_tile = changes.of(tile);
            let is_of_it = *group == region.number && !of_tile.is_empty();
            let goes_on =
                run.filter(|it| is_of_it && tile % columns != 0 && is_in_row(it.around, of_tile));
            if goes_on.is_none() {
                add_run(&mut self.blocks, run.take());
            }
            if is_of_it {
                run = Some(goes_on.unwrap_or_default().with(Block::of(of_tile)));
            }
        }
        add_run(&mut self.blocks, run);
        let blocks = self.blocks.iter().map(|it| it.around);
        let blocks = blocks.filter(|it| it.area() >= REGION_PIXELS_MIN);
        self.rects.extend(blocks.flat_map(pieces));
        &self.rects
    }

    /// Finds all changed tiles that lie together with this one and in no group, and gives them a
    /// number.
    fn gather(&mut self, changes: &Changes, tile: u16, number: u16) -> Block {
        let mut all = Block::default();
        let columns = changes.grid().columns();
        self.waiting.push(tile);
        while let Some(tile) = self.waiting.pop() {
            let of_tile = changes.of(tile);
            let group = self.groups.get_mut(usize::from(tile));
            let Some(group) = group.filter(|it| **it == 0 && !of_tile.is_empty()) else {
                continue;
            };
            *group = number;
            all = all.with(Block::of(of_tile));
            let (row, column) = (tile / columns, tile % columns);
            self.waiting.extend(tile.checked_add(columns));
            self.waiting.extend(tile.checked_sub(columns));
            self.waiting
                .extend((column > 0).then(|| row * columns + column - 1));
            self.waiting
                .extend((column + 1 < columns).then(|| row * columns + column + 1));
        }
        all
    }
}

impl Region {
    /// It surrounds nothing that has not changed.
    pub(super) fn is_block(self) -> bool {
        self.all.fills(9, 10)
    }

    /// Rectangles around all of it that can be coded.
    pub(super) fn pieces(self) -> impl Iterator<Item = Rect> {
        pieces(self.all.around)
    }
}

impl Block {
    fn of(tile: Rect) -> Self {
        Self {
            around: tile,
            changed: tile.area(),
        }
    }

    fn with(self, other: Self) -> Self {
        Self {
            around: self.around.union(other.around),
            changed: self.changed + other.changed,
        }
    }

    /// This share of the rectangle has changed at least.
    fn fills(self, part: usize, of: usize) -> bool {
        self.changed * of >= self.around.area() * part
    }
}

/// The tile goes on with what changed to the left of it.
fn is_in_row(run: Rect, tile: Rect) -> bool {
    let is_near = |a: u16, b: u16| a.abs_diff(b) < TILE_SIDE / 4;
    is_near(run.y, tile.y) && is_near(run.bottom(), tile.bottom())
}

/// Adds a row's part to the block above it that is as wide, or as a block of its own.
fn add_run(blocks: &mut Vec<Block>, run: Option<Block>) {
    let Some(run) = run else {
        return;
    };
    let above = blocks.iter_mut().rev().find(|it| {
        let touches = it.around.bottom() >= run.around.y.saturating_sub(TILE_SIDE / 4);
        it.around.y < run.around.y && touches && it.with(run).fills(4, 5)
    });
    match above {
        Some(above) => *above = above.with(run),
        None => blocks.push(run),
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
