//! Places on a desktop, in pixels from its top left.

use crate::Size;

/// One pixel's place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Point {
    /// Pixels from the left.
    pub x: u16,
    /// Pixels from the top.
    pub y: u16,
}

/// A rectangle. Edges saturate: nothing reaches past pixel 65,535.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rect {
    /// Left edge.
    pub x: u16,
    /// Upper edge.
    pub y: u16,
    /// Pixels from left to right.
    pub width: u16,
    /// Pixels from top to bottom.
    pub height: u16,
}

impl Rect {
    /// The rectangle that covers all of `size`.
    pub const fn whole(size: Size) -> Self {
        Self {
            x: 0,
            y: 0,
            width: size.width,
            height: size.height,
        }
    }

    /// The rectangle between edges; empty where they are the wrong way round.
    pub const fn between(left: u16, top: u16, right: u16, bottom: u16) -> Self {
        Self {
            x: left,
            y: top,
            width: right.saturating_sub(left),
            height: bottom.saturating_sub(top),
        }
    }

    /// Upper left pixel.
    pub const fn origin(self) -> Point {
        Point {
            x: self.x,
            y: self.y,
        }
    }

    /// First column right of it.
    pub const fn right(self) -> u16 {
        self.x.saturating_add(self.width)
    }

    /// First row below it.
    pub const fn bottom(self) -> u16 {
        self.y.saturating_add(self.height)
    }

    /// Has no pixel.
    pub const fn is_empty(self) -> bool {
        self.width == 0 || self.height == 0
    }

    /// How many pixels it has.
    pub fn area(self) -> usize {
        usize::from(self.width) * usize::from(self.height)
    }

    /// What both cover; `None` where that is nothing.
    pub fn intersection(self, other: Self) -> Option<Self> {
        let both = Self::between(
            self.x.max(other.x),
            self.y.max(other.y),
            self.right().min(other.right()),
            self.bottom().min(other.bottom()),
        );
        (!both.is_empty()).then_some(both)
    }

    /// Both cover some pixel.
    pub fn touches(self, other: Self) -> bool {
        self.intersection(other).is_some()
    }

    /// Covers every pixel of `other`.
    pub fn contains(self, other: Self) -> bool {
        other.is_empty() || self.intersection(other) == Some(other)
    }

    /// The smallest rectangle around both.
    pub fn union(self, other: Self) -> Self {
        if self.is_empty() {
            return other;
        }
        if other.is_empty() {
            return self;
        }
        Self::between(
            self.x.min(other.x),
            self.y.min(other.y),
            self.right().max(other.right()),
            self.bottom().max(other.bottom()),
        )
    }

    /// What is left of it when `hole` is cut out: above, left, right, below; some may be empty.
    pub fn without(self, hole: Self) -> [Self; 4] {
        let Some(hole) = self.intersection(hole) else {
            return [self, Self::default(), Self::default(), Self::default()];
        };
        let (right, bottom) = (self.right(), self.bottom());
        [
            Self::between(self.x, self.y, right, hole.y),
            Self::between(self.x, hole.y, hole.x, hole.bottom()),
            Self::between(hole.right(), hole.y, right, hole.bottom()),
            Self::between(self.x, hole.bottom(), right, bottom),
        ]
    }

    /// Its middle.
    pub const fn centre(self) -> Point {
        Point {
            x: self.x.saturating_add(self.width / 2),
            y: self.y.saturating_add(self.height / 2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOX: Rect = Rect::between(10, 20, 30, 50);

    #[test]
    fn a_hole_leaves_what_is_around_it_and_no_pixel_twice() {
        for hole in [
            Rect::between(15, 25, 20, 30),
            Rect::between(0, 0, 12, 22),
            Rect::between(0, 0, 100, 100),
            Rect::between(30, 50, 40, 60),
            BOX,
        ] {
            let parts = BOX.without(hole);
            let cut = BOX.intersection(hole).map_or(0, Rect::area);
            let left: usize = parts.iter().map(|it| it.area()).sum();
            assert_eq!(left + cut, BOX.area(), "{hole:?}");
            assert!(parts.iter().all(|it| BOX.contains(*it)));
            assert!(parts.iter().all(|it| !it.touches(hole)));
        }
    }

    #[test]
    fn a_union_with_nothing_is_what_was_there() {
        assert_eq!(BOX.union(Rect::default()), BOX);
        assert_eq!(Rect::default().union(BOX), BOX);
        let around = BOX.union(Rect::between(0, 60, 5, 70));
        assert_eq!(around, Rect::between(0, 20, 30, 70));
    }

    #[test]
    fn edges_past_the_end_of_numbers_saturate() {
        let far = Rect {
            x: u16::MAX,
            y: 1,
            width: 9,
            height: 1,
        };
        assert_eq!(far.right(), u16::MAX);
        assert!(!far.touches(BOX));
    }
}
