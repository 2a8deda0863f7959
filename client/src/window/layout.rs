//! Where the desktop's pixels are in the window.

use sandbox_protocol::{Rect, Size};

use super::monitors::Part;

/// One step of the fractions that positions are reckoned in.
const ONE: u32 = 1 << 16;

/// Growth by less than this share is left to a border: whole steps are sharp.
const SHARP_HUNDREDTHS: u32 = 15;

/// The desktop in the middle of the window: pixel by pixel, in whole steps, or smoothly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) desktop: Size,
    /// What of it is shown.
    pub(super) part: Rect,
    pub(super) window: (u32, u32),
    /// Where it is in the window.
    pub(super) left: u32,
    pub(super) top: u32,
    pub(super) width: u32,
    pub(super) height: u32,
    /// Desktop pixels for one of the window, in 65,536ths.
    pub(super) step: u32,
}

/// A rectangle of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) left: u32,
    pub(super) top: u32,
    pub(super) right: u32,
    pub(super) bottom: u32,
}

impl Layout {
    pub(super) fn new(desktop: Size, part: Part, window: (u32, u32)) -> Self {
        let part = part.within(desktop);
        let (width, height) = (u32::from(part.width), u32::from(part.height));
        let (wide, high) = (window.0.max(1), window.1.max(1));
        // The window's pixels for one of the desktop, in hundredths.
        let scale = (wide * 100 / width.max(1)).min(high * 100 / height.max(1));
        let (shown_width, shown_height) = if scale >= 100 && scale % 100 < SHARP_HUNDREDTHS {
            (width * (scale / 100), height * (scale / 100))
        } else if u64::from(wide) * u64::from(height) <= u64::from(high) * u64::from(width) {
            (wide, (height * wide / width.max(1)).max(1))
        } else {
            ((width * high / height.max(1)).max(1), high)
        };
        Self {
            desktop,
            part,
            window,
            left: (wide.saturating_sub(shown_width)) / 2,
            top: (high.saturating_sub(shown_height)) / 2,
            width: shown_width,
            height: shown_height,
            step: (u64::from(width) * u64::from(ONE) / u64::from(shown_width.max(1))) as u32,
        }
    }

    /// Whether a pixel of the window is a pixel of the desktop.
    pub(super) const fn is_exact(&self) -> bool {
        self.step == ONE
    }

    /// Whether each pixel of the desktop is a square of the window's.
    pub(super) const fn is_sharp(&self) -> bool {
        self.width.is_multiple_of(self.part.width as u32) && self.step <= ONE
    }

    /// The desktop's pixel at a place of the window; beside the desktop the nearest one. What is
    /// dragged past the window's border goes on in the part that lies there.
    pub(super) fn desktop_at(&self, x: f64, y: f64) -> (u16, u16) {
        let along = |at: f64, first: u32, shown: u32, (from, part): (u16, u16), side: u16| {
            let share = (at - f64::from(first)) / f64::from(shown.max(1));
            let last = f64::from(side.saturating_sub(1));
            let at = f64::from(from) + (share * f64::from(part)).floor();
            at.clamp(0.0, last) as u16
        };
        let Rect {
            x: left,
            y: top,
            width,
            height,
        } = self.part;
        (
            along(x, self.left, self.width, (left, width), self.desktop.width),
            along(y, self.top, self.height, (top, height), self.desktop.height),
        )
    }

    /// Where a rectangle of the desktop shows, with all the pixels that it has a part in.
    pub(super) fn area_of(&self, rect: Rect) -> Area {
        let (right, bottom) = (self.part.right(), self.part.bottom());
        let [x, y] = [(rect.x, self.part.x), (rect.y, self.part.y)]
            .map(|(it, first)| it.saturating_sub(first));
        let right = rect.right().min(right).saturating_sub(self.part.x);
        let bottom = rect.bottom().min(bottom).saturating_sub(self.part.y);
        let rect = Rect::between(x, y, right, bottom);
        if rect.is_empty() {
            return Area::default();
        }
        // Between two pixels both have a part.
        let margin = u32::from(!self.is_sharp());
        let along = |from: u16, to: u16, shown: u32, side: u16| {
            let side = u64::from(side.max(1));
            let first = u64::from(from) * u64::from(shown) / side;
            let last = (u64::from(to) * u64::from(shown)).div_ceil(side);
            let last = (last as u32 + margin).min(shown);
            ((first as u32).saturating_sub(margin), last)
        };
        let (left, right) = along(rect.x, rect.right(), self.width, self.part.width);
        let (top, bottom) = along(rect.y, rect.bottom(), self.height, self.part.height);
        Area {
            left: self.left + left,
            top: self.top + top,
            right: (self.left + right).min(self.window.0),
            bottom: (self.top + bottom).min(self.window.1),
        }
    }

    pub(super) const fn whole_window(&self) -> Area {
        Area {
            left: 0,
            top: 0,
            right: self.window.0,
            bottom: self.window.1,
        }
    }
}

impl Area {
    pub(super) const fn is_empty(&self) -> bool {
        self.left >= self.right || self.top >= self.bottom
    }
}

#[cfg(test)]
mod tests {
    use super::super::monitors::{Monitor, Monitors, arrange};
    use super::*;

    const DESKTOP: Size = Size {
        width: 640,
        height: 400,
    };

    #[track_caller]
    fn check(window: (u32, u32), expected: (u32, u32, u32, u32)) {
        let it = Layout::new(DESKTOP, Part::WHOLE, window);
        assert_eq!((it.left, it.top, it.width, it.height), expected);
    }

    #[test]
    fn the_desktop_is_shown_whole_in_the_middle() {
        check((640, 400), (0, 0, 640, 400));
        check((641, 401), (0, 0, 640, 400));
        check((700, 420), (30, 10, 640, 400));
        check((1_280, 900), (0, 50, 1_280, 800));
        check((960, 600), (0, 0, 960, 600));
        check((320, 400), (0, 100, 320, 200));
        check((1_000, 200), (340, 0, 320, 200));
        check((1, 1), (0, 0, 1, 1));
    }

    #[test]
    fn a_place_in_the_window_is_a_pixel_of_the_desktop() {
        let it = Layout::new(DESKTOP, Part::WHOLE, (1_280, 900));
        assert_eq!(it.desktop_at(0.0, 50.0), (0, 0));
        assert_eq!(it.desktop_at(3.9, 53.9), (1, 1));
        assert_eq!(it.desktop_at(1_279.9, 849.9), (639, 399));
        assert_eq!(it.desktop_at(-5.0, 10_000.0), (0, 399));
    }

    #[test]
    fn what_changed_covers_every_pixel_that_it_has_a_part_in() {
        let rect = Rect {
            x: 10,
            y: 20,
            width: 30,
            height: 40,
        };
        let area = |window| {
            let it = Layout::new(DESKTOP, Part::WHOLE, window).area_of(rect);
            (it.left, it.top, it.right, it.bottom)
        };
        assert_eq!(area((640, 400)), (10, 20, 40, 60));
        assert_eq!(area((1_280, 800)), (20, 40, 80, 120));
        assert_eq!(area((960, 600)), (14, 29, 61, 91));
        assert_eq!(area((320, 200)), (4, 9, 21, 31));
    }

    #[test]
    fn a_part_begins_where_the_one_beside_it_ends() {
        let monitor = |x| Monitor {
            x,
            y: 0,
            width: 320,
            height: 400,
        };
        let both = arrange(&[monitor(0), monitor(320)], &Monitors::All).unwrap();
        assert_eq!(both.size, DESKTOP);
        let [first, second] = [0, 1].map(|it| Layout::new(DESKTOP, both.parts[it].1, (320, 400)));
        assert!(first.is_exact() && second.is_exact());
        assert_eq!(first.desktop_at(5.0, 6.0), (5, 6));
        assert_eq!(second.desktop_at(5.0, 6.0), (325, 6));
        // What is dragged out of a window goes on in the next.
        assert_eq!(first.desktop_at(330.0, 6.0), (330, 6));
        assert_eq!(second.desktop_at(-20.0, 6.0), (300, 6));
        assert_eq!(second.desktop_at(900.0, -6.0), (639, 0));
        let rect = Rect::between(310, 10, 335, 20);
        let area = |it: &Layout| {
            let it = it.area_of(rect);
            (it.left, it.top, it.right, it.bottom)
        };
        assert_eq!(area(&first), (310, 10, 320, 20));
        assert_eq!(area(&second), (0, 10, 15, 20));
        let left = Rect::between(0, 0, 320, 400);
        assert!(second.area_of(left).is_empty());
    }
}
