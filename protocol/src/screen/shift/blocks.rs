//! Measures what a known distance explains.

use super::{Offset, Shift};
use crate::Rect;
use crate::screen::picture::Picture;
use crate::screen::view::View;

/// Blocks that are compared as one: as high as half a line of text, as wide as a word.
const WIDTH: u16 = 32;
const HEIGHT: u16 = 8;

/// The shift must explain one in so many of the pixels that changed.
const SHARE: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    /// As it was, and not as the shift says.
    Stays,
    /// As it was, and as the shift says: both hold on one colour.
    Either,
    /// Another than it was, as the shift says.
    Moved,
    /// Another than it was, and not as the shift says.
    New,
}

/// What a distance explains.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) shift: Shift,
    /// How many changed pixels.
    pub(super) gain: usize,
}

/// The blocks of an area.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    blocks: Vec<(Rect, Block)>,
}

impl Blocks {
    /// The rectangle that has moved; `None` where that explains too little, or would destroy too
    /// much.
    pub(super) fn measure(
        &mut self,
        old: &Picture,
        new: &View<'_>,
        area: Rect,
        offset: Offset,
    ) -> Option<Measured> {
        self.blocks.clear();
        for y in (area.y..area.bottom()).step_by(HEIGHT.into()) {
            for x in (area.x..area.right()).step_by(WIDTH.into()) {
                let block = Rect {
                    x,
                    y,
                    width: WIDTH.min(area.right() - x),
                    height: HEIGHT.min(area.bottom() - y),
                };
                self.blocks.push((block, classify(old, new, block, offset)));
            }
        }
        let moved = self.blocks.iter().filter(|it| it.1 == Block::Moved);
        let target = moved.fold(Rect::default(), |all, it| all.union(it.0));
        let target = cut(target, offset, Rect::whole(old.size()))?;
        let pixels = |within: Rect, is: &dyn Fn(Block) -> bool| -> usize {
            let blocks = self.blocks.iter().filter(|it| is(it.1));
            blocks
                .filter_map(|it| it.0.intersection(within))
                .map(Rect::area)
                .sum()
        };
        let gain = pixels(target, &|it| it == Block::Moved);
        let loss = pixels(target, &|it| it == Block::Stays);
        let changed = pixels(area, &|it| matches!(it, Block::Moved | Block::New));
        if gain <= 2 * loss || gain * SHARE < changed {
            return None;
        }
        let target = grow(old, new, area, target, offset);
        let from = offset.source(target, Rect::whole(old.size()))?;
        let to = target.origin();
        Some(Measured {
            shift: Shift {
                from,
                to,
                is_clear: gain * 4 >= changed * 3,
            },
            gain,
        })
    }
}

fn classify(old: &Picture, new: &View<'_>, block: Rect, offset: Offset) -> Block {
    let is_same = is_same(old, new, block, block);
    let source = offset.source(block, Rect::whole(old.size()));
    let is_moved = source.is_some_and(|it| self::is_same(old, new, block, it));
    match (is_same, is_moved) {
        (true, false) => Block::Stays,
        (true, true) => Block::Either,
        (false, true) => Block::Moved,
        (false, false) => Block::New,
    }
}

/// The new pixels at one place are the old ones at the other.
fn is_same(old: &Picture, new: &View<'_>, at: Rect, source: Rect) -> bool {
    let mut rows = new.rows(at).zip(old.rows(source));
    rows.all(|(new, old)| new.is_same(old))
}

/// The part of a rectangle whose old place is in the picture.
fn cut(rect: Rect, offset: Offset, whole: Rect) -> Option<Rect> {
    let edge = |edge: u16, offset: i32, end: u16| {
        let old = (i32::from(edge) + offset).clamp(0, end.into());
        u16::try_from((old - offset).max(0)).unwrap_or(end)
    };
    let rect = Rect::between(
        edge(rect.x, offset.x, whole.right()),
        edge(rect.y, offset.y, whole.bottom()),
        edge(rect.right(), offset.x, whole.right()),
        edge(rect.bottom(), offset.y, whole.bottom()),
    );
    (!rect.is_empty()).then_some(rect)
}

/// Moves the edges outwards, at most a block, while whole rows and columns fit.
fn grow(old: &Picture, new: &View<'_>, area: Rect, target: Rect, offset: Offset) -> Rect {
    let mut target = target;
    let whole = Rect::whole(old.size());
    let fits = |edge: Rect| {
        let source = offset.source(edge, whole);
        area.contains(edge) && source.is_some_and(|it| is_same(old, new, edge, it))
    };
    for _ in 0..WIDTH {
        let Rect {
            x,
            y,
            width,
            height,
        } = target;
        let (right, bottom) = (target.right(), target.bottom());
        let edges = [
            Rect::between(x, y.saturating_sub(1), right, y),
            Rect {
                x,
                y: bottom,
                width,
                height: 1,
            },
            Rect::between(x.saturating_sub(1), y, x, bottom),
            Rect {
                x: right,
                y,
                width: 1,
                height,
            },
        ];
        let before = target;
        for edge in edges.into_iter().filter(|it| !it.is_empty() && fits(*it)) {
            target = target.union(edge);
        }
        if target == before {
            break;
        }
    }
    target
}
