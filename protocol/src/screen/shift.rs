//! Finds pixels that have moved: a page that was scrolled, a window that was dragged.
//!
//! Short pieces of rows of the new picture are searched in the old one, and each that is found
//! votes for a distance; the rectangle that moved so far is then measured block by block. A
//! wrong guess costs bytes, never pixels: whoever applies it compares afterwards.

mod anchors;
mod blocks;

use super::picture::Picture;
use super::view::View;
use crate::{Point, Rect};
use anchors::Anchors;
use blocks::{Blocks, Measured};

/// Largest area in which pieces are searched at every column: a millisecond's work.
const AREA_MAX: usize = 1 << 20;

/// Pixels that are somewhere else now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shift {
    /// Where they were.
    pub from: Rect,
    /// Where the upper left one is.
    pub to: Point,
    /// That explains nearly all that has changed.
    pub(super) is_clear: bool,
}

impl Shift {
    /// Where they are.
    pub(super) const fn target(&self) -> Rect {
        Rect {
            x: self.to.x,
            y: self.to.y,
            ..self.from
        }
    }
}

/// How far pixels have moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Offset {
    /// From the new place to the old one, to the right.
    x: i32,
    /// The same, downwards.
    y: i32,
}

impl Offset {
    /// A rectangle at its old place; `None` where that is not in `within`.
    fn source(self, rect: Rect, within: Rect) -> Option<Rect> {
        let source = Rect {
            x: u16::try_from(i32::from(rect.x) + self.x).ok()?,
            y: u16::try_from(i32::from(rect.y) + self.y).ok()?,
            ..rect
        };
        within.contains(source).then_some(source)
    }
}

/// Searches; its buffers serve one picture after the other.
#[derive(Debug, Default)]
pub(super) struct Finder {
    anchors: Anchors,
    blocks: Blocks,
}

impl Finder {
    /// The largest part of `area` whose new pixels are elsewhere in the old picture, if it is a
    /// good part of all that has changed. Time is bounded by the area, not by what it shows.
    pub(super) fn find(&mut self, old: &Picture, new: &View<'_>, area: Rect) -> Option<Shift> {
        self.anchors.take(old, new, area);
        self.anchors.search_same_columns(old, area);
        let found = self.best(old, new, area);
        if found.is_some() || area.area() > AREA_MAX {
            return found;
        }
        self.anchors.search_everywhere(old, area);
        self.best(old, new, area)
    }

    fn best(&mut self, old: &Picture, new: &View<'_>, area: Rect) -> Option<Shift> {
        let mut best: Option<Measured> = None;
        for offset in self.anchors.candidates() {
            let Some(measured) = self.blocks.measure(old, new, area, offset) else {
                continue;
            };
            if best.is_none_or(|it| it.gain < measured.gain) {
                best = Some(measured);
            }
            if measured.shift.is_clear {
                break;
            }
        }
        best.map(|it| it.shift)
    }
}

#[cfg(test)]
#[path = "shift/tests.rs"]
mod tests;
