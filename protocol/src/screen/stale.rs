//! Where the viewer's picture may differ from ours: what video painted and nothing repainted.

use crate::limits::TILE_SIDE;
use crate::{Point, Rect, Size};

/// Side of a block in pixels; a tile is made of whole blocks.
const BLOCK: u16 = 16;

const _: () = assert!(TILE_SIDE.is_multiple_of(BLOCK));

/// A mark for each block of a desktop. A marked block *may* differ, an unmarked one does not.
#[derive(Debug)]
pub(super) struct Stale {
    size: Size,
    marks: Vec<bool>,
    count: usize,
    /// Of a copy that is being made.
    moved: Vec<Rect>,
}

impl Stale {
    /// Nothing is marked.
    pub(super) fn new(size: Size) -> Self {
        let blocks =
            usize::from(size.width.div_ceil(BLOCK)) * usize::from(size.height.div_ceil(BLOCK));
        Self {
            size,
            marks: vec![false; blocks],
            count: 0,
            moved: Vec::new(),
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Marks the blocks that a rectangle touches.
    pub(super) fn mark(&mut self, rect: Rect) {
        self.set(outer(rect), true);
    }

    /// Takes the mark from the blocks that a rectangle covers to the desktop's edge.
    pub(super) fn clear(&mut self, rect: Rect) {
        self.set(inner(rect, self.size), false);
    }

    /// Pixels go to another place, and the doubt about them goes along.
    pub(super) fn copy(&mut self, from: Rect, to: Point) {
        let mut moved = std::mem::take(&mut self.moved);
        let parts = self.marked(from).filter_map(|it| it.intersection(from));
        moved.extend(parts.map(|it| Rect {
            x: it.x - from.x + to.x,
            y: it.y - from.y + to.y,
            ..it
        }));
        for rect in moved.drain(..) {
            self.mark(rect);
        }
        self.moved = moved;
    }

    /// A marked block is touched.
    pub(super) fn touches(&self, rect: Rect) -> bool {
        !self.is_empty() && self.marked(rect).next().is_some()
    }

    /// The marked blocks that a rectangle touches, cut to the desktop.
    pub(super) fn marked(&self, rect: Rect) -> impl Iterator<Item = Rect> {
        let blocks = outer(rect);
        let columns = usize::from(self.columns()).max(1);
        let rows = (blocks.y..blocks.bottom())
            .zip(self.marks.chunks_exact(columns).skip(usize::from(blocks.y)));
        let desktop = Rect::whole(self.size);
        rows.flat_map(move |(row, marks)| {
            let columns = (blocks.x..blocks.right()).zip(marks.iter().skip(blocks.x.into()));
            columns
                .filter(|(_, mark)| **mark)
                .filter_map(move |(column, _)| {
                    let block = Rect {
                        x: column * BLOCK,
                        y: row * BLOCK,
                        width: BLOCK,
                        height: BLOCK,
                    };
                    block.intersection(desktop)
                })
        })
    }

    const fn columns(&self) -> u16 {
        self.size.width.div_ceil(BLOCK)
    }

    fn set(&mut self, blocks: Rect, value: bool) {
        let columns = usize::from(self.columns()).max(1);
        let rows = self
            .marks
            .chunks_exact_mut(columns)
            .skip(usize::from(blocks.y))
            .take(usize::from(blocks.height));
        for row in rows {
            let marks = row
                .iter_mut()
                .skip(usize::from(blocks.x))
                .take(usize::from(blocks.width));
            for mark in marks.filter(|it| **it != value) {
                *mark = value;
                self.count = if value {
                    self.count + 1
                } else {
                    self.count - 1
                };
            }
        }
    }
}

/// The blocks that a rectangle touches, as a rectangle in blocks.
const fn outer(rect: Rect) -> Rect {
    if rect.is_empty() {
        return Rect::between(0, 0, 0, 0);
    }
    Rect::between(
        rect.x / BLOCK,
        rect.y / BLOCK,
        rect.right().div_ceil(BLOCK),
        rect.bottom().div_ceil(BLOCK),
    )
}

/// The blocks that a rectangle covers; one that the desktop's edge cuts is covered up to there.
const fn inner(rect: Rect, size: Size) -> Rect {
    let right = if rect.right() >= size.width {
        size.width.div_ceil(BLOCK)
    } else {
        rect.right() / BLOCK
    };
    let bottom = if rect.bottom() >= size.height {
        size.height.div_ceil(BLOCK)
    } else {
        rect.bottom() / BLOCK
    };
    Rect::between(
        rect.x.div_ceil(BLOCK),
        rect.y.div_ceil(BLOCK),
        right,
        bottom,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size {
        width: 100,
        height: 40,
    };

    #[test]
    fn marks_reach_outwards_and_are_taken_inwards() {
        let mut stale = Stale::new(SIZE);
        stale.mark(Rect::between(15, 15, 17, 17));
        assert_eq!(stale.marked(Rect::whole(SIZE)).count(), 4);
        stale.clear(Rect::between(1, 0, 32, 32));
        let left: Vec<Rect> = stale.marked(Rect::whole(SIZE)).collect();
        assert_eq!(
            left,
            [Rect::between(0, 0, 16, 16), Rect::between(0, 16, 16, 32)]
        );
        stale.clear(Rect::between(0, 0, 32, 32));
        assert!(stale.is_empty());
    }

    #[test]
    fn doubt_goes_along_with_a_copy() {
        let mut stale = Stale::new(SIZE);
        stale.mark(Rect::between(0, 0, 16, 16));
        stale.copy(Rect::between(8, 8, 40, 24), Point { x: 60, y: 20 });
        let marked: Vec<Rect> = stale.marked(Rect::whole(SIZE)).collect();
        let copied = [48, 64].map(|x| Rect::between(x, 16, x + 16, 32));
        assert_eq!(marked, [Rect::between(0, 0, 16, 16), copied[0], copied[1]]);
    }

    #[test]
    fn the_edge_of_the_desktop_ends_its_blocks() {
        let mut stale = Stale::new(SIZE);
        stale.mark(Rect::whole(SIZE));
        stale.clear(Rect::between(96, 32, 100, 40));
        stale.clear(Rect::between(0, 0, 99, 40));
        let left: Vec<Rect> = stale.marked(Rect::whole(SIZE)).collect();
        assert_eq!(
            left,
            [
                Rect::between(96, 0, 100, 16),
                Rect::between(96, 16, 100, 32)
            ]
        );
        assert!(stale.touches(Rect::between(99, 0, 100, 1)));
        assert!(!stale.touches(Rect::between(0, 0, 96, 40)));
    }
}
