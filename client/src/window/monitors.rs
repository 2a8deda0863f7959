//! Several monitors as one wide desktop: which part of it each shows.

use std::fmt;
use std::str::FromStr;

use sandbox_protocol::limits::DESKTOP_SIZE_MAX;
use sandbox_protocol::{Rect, Size};

/// Monitors that the desktop fills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Monitors {
    /// Every one.
    All,
    /// These, counted from 1 in the window system's order.
    These(Vec<usize>),
}

/// A text names no monitors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--monitors {0}: all, or numbers from 1 on with commas between them, each once")]
pub struct BadMonitors(String);

impl FromStr for Monitors {
    type Err = BadMonitors;

    fn from_str(text: &str) -> Result<Self, BadMonitors> {
        if text == "all" {
            return Ok(Self::All);
        }
        let mut numbers = Vec::new();
        for number in text.split(',') {
            match number.parse() {
                Ok(it) if it > 0 && !numbers.contains(&it) => numbers.push(it),
                Ok(_) | Err(_) => return Err(BadMonitors(text.to_owned())),
            }
        }
        Ok(Self::These(numbers))
    }
}

/// One monitor, as the window system tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Monitor {
    pub(super) x: i32,
    pub(super) y: i32,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Monitor {
    const fn right(self) -> i32 {
        self.x.saturating_add_unsigned(self.width)
    }

    const fn bottom(self) -> i32 {
        self.y.saturating_add_unsigned(self.height)
    }

    const fn overlaps(self, other: Self) -> bool {
        let across = self.x < other.right() && other.x < self.right();
        across && self.y < other.bottom() && other.y < self.bottom()
    }
}

impl fmt::Display for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}+{}+{}", self.width, self.height, self.x, self.y)
    }
}

/// The share of the desktop that a window shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    place: Rect,
    of: Size,
}

impl Part {
    /// All of it.
    pub(super) const WHOLE: Self = {
        let of = Size {
            width: 1,
            height: 1,
        };
        let place = Rect::whole(of);
        Self { place, of }
    };

    /// Where it is on a desktop, which may have another size than was asked for.
    pub(super) fn within(self, desktop: Size) -> Rect {
        let along = |at: u16, of: u16, side: u16| {
            let at = u32::from(at) * u32::from(side) / u32::from(of.max(1));
            u16::try_from(at).unwrap_or(side)
        };
        let across = |at| along(at, self.of.width, desktop.width);
        let down = |at| along(at, self.of.height, desktop.height);
        let Rect { x, y, .. } = self.place;
        let (right, bottom) = (self.place.right(), self.place.bottom());
        Rect::between(across(x), down(y), across(right), down(bottom))
    }
}

/// The desktop for some monitors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arrangement {
    pub(super) size: Size,
    /// Each with the number of its monitor in the list, from 0 on.
    pub(super) parts: Vec<(usize, Part)>,
}

/// Lays a desktop out over those of the monitors there are that are wanted.
///
/// # Errors
///
/// Returns words for the user where that cannot be.
pub(super) fn arrange(all: &[Monitor], wanted: &Monitors) -> Result<Arrangement, String> {
    let numbers: Vec<usize> = match wanted {
        Monitors::All => (0..all.len()).collect(),
        Monitors::These(numbers) => numbers.iter().map(|it| it - 1).collect(),
    };
    let find = |number: &usize| {
        let found = all.get(*number).copied();
        found.ok_or_else(|| {
            let list: Vec<String> = (1..)
                .zip(all)
                .map(|(number, it)| format!("{number} is {it}"))
                .collect();
            let (wanted, list) = (number + 1, list.join(", "));
            format!("--monitors {wanted}: there is none of that number; {list}")
        })
    };
    let mut places = numbers.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    if has_overlap(&places) {
        put_side_by_side(&mut places);
    }
    let least = |it: fn(&Monitor) -> i32| places.iter().map(it).min().unwrap_or_default();
    let (left, top) = (least(|it| it.x), least(|it| it.y));
    let most = |it: fn(&Monitor) -> i32| places.iter().map(it).max().unwrap_or_default();
    let width = most(|it| it.right()).abs_diff(left);
    let height = most(|it| it.bottom()).abs_diff(top);
    let side = |it: u32, most: u16| u16::try_from(it).ok().filter(|it| *it > 0 && *it <= most);
    let Size {
        width: widest,
        height: highest,
    } = DESKTOP_SIZE_MAX;
    let (Some(width), Some(height)) = (side(width, widest), side(height, highest)) else {
        return Err(format!(
            "the monitors are {width}x{height} together, and a desktop is {DESKTOP_SIZE_MAX} at \
             most: choose some of them by --monitors"
        ));
    };
    let size = Size { width, height };
    let part = |it: &Monitor| {
        // Within the desktop, whose sides fit.
        let [x, y] = [it.x.abs_diff(left), it.y.abs_diff(top)].map(|it| it as u16);
        let place = Rect {
            x,
            y,
            width: it.width as u16,
            height: it.height as u16,
        };
        Part { place, of: size }
    };
    let parts = numbers.into_iter().zip(places.iter().map(part)).collect();
    Ok(Arrangement { size, parts })
}

/// Monitors that show the same do not overlap.
fn has_overlap(places: &[Monitor]) -> bool {
    places.iter().enumerate().any(|(at, it)| {
        let mut others = places.iter().take(at);
        others.any(|other| it != other && it.overlaps(*other))
    })
}

/// Where scales differ places are no pixels: the order is what is left.
fn put_side_by_side(places: &mut [Monitor]) {
    let mut order: Vec<&mut Monitor> = places.iter_mut().collect();
    order.sort_by_key(|it| (it.x, it.y));
    let mut x = 0;
    for it in order {
        (it.x, it.y) = (x, 0);
        x = it.right();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn monitor(x: i32, y: i32, width: u32, height: u32) -> Monitor {
        Monitor {
            x,
            y,
            width,
            height,
        }
    }

    #[track_caller]
    fn check(all: &[Monitor], wanted: &str, size: &str, expected: &[(usize, [u16; 4])]) {
        let found = arrange(all, &wanted.parse().unwrap()).unwrap();
        assert_eq!(found.size.to_string(), size);
        let parts: Vec<_> = found
            .parts
            .iter()
            .map(|(number, part)| {
                let Rect {
                    x,
                    y,
                    width,
                    height,
                } = part.within(found.size);
                (*number, [x, y, width, height])
            })
            .collect();
        assert_eq!(parts, expected);
    }

    #[test]
    fn a_desktop_is_as_large_as_its_monitors_together() {
        let two = [monitor(0, 0, 1_920, 1_080), monitor(1_920, 0, 1_920, 1_080)];
        let one = [(0, [0, 0, 1_920, 1_080])];
        check(&two, "1", "1920x1080", &one);
        check(&two, "2", "1920x1080", &[(1, [0, 0, 1_920, 1_080])]);
        let both = [(0, [0, 0, 1_920, 1_080]), (1, [1_920, 0, 1_920, 1_080])];
        check(&two, "all", "3840x1080", &both);
        // The first one to the right of the second, and higher.
        let odd = [monitor(0, -200, 1_280, 800), monitor(-1_024, 0, 1_024, 768)];
        let parts = [(0, [1_024, 0, 1_280, 800]), (1, [0, 200, 1_024, 768])];
        check(&odd, "all", "2304x968", &parts);
        let parts = [(1, [0, 200, 1_024, 768]), (0, [1_024, 0, 1_280, 800])];
        check(&odd, "2,1", "2304x968", &parts);
        let three = [
            monitor(0, 0, 1_280, 1_024),
            monitor(1_280, 0, 1_280, 1_024),
            monitor(0, 1_024, 1_280, 1_024),
        ];
        let parts = [(0, [0, 0, 1_280, 1_024]), (2, [0, 1_024, 1_280, 1_024])];
        check(&three, "1,3", "1280x2048", &parts);
    }

    #[test]
    fn monitors_that_show_the_same_share_a_part() {
        let mirrored = [monitor(0, 0, 1_280, 800), monitor(0, 0, 1_280, 800)];
        let parts = [(0, [0, 0, 1_280, 800]), (1, [0, 0, 1_280, 800])];
        check(&mirrored, "all", "1280x800", &parts);
    }

    #[test]
    fn where_places_are_no_pixels_the_order_counts() {
        // Logical places of scale 1 and 2, as Wayland tells them: 1280 and 640 wide.
        let mixed = [monitor(640, 0, 1_280, 720), monitor(0, 0, 1_280, 800)];
        let parts = [(0, [1_280, 0, 1_280, 720]), (1, [0, 0, 1_280, 800])];
        check(&mixed, "all", "2560x800", &parts);
    }

    #[test]
    fn what_cannot_be_is_said_with_the_way_out() {
        let wide = [monitor(0, 0, 2_560, 1_440), monitor(2_560, 0, 2_560, 1_440)];
        let words = arrange(&wide, &Monitors::All).unwrap_err();
        assert!(
            words.contains("5120x1440") && words.contains("3840x2160"),
            "{words}"
        );
        let words = arrange(&wide, &"3".parse().unwrap()).unwrap_err();
        assert!(words.contains("2 is 2560x1440+2560+0"), "{words}");
        assert!(arrange(&[], &Monitors::All).is_err());
        for text in ["", "0", "none", "1,", "1,1", "-1"] {
            let error = text.parse::<Monitors>().unwrap_err();
            assert!(error.to_string().contains("all"), "{error}");
        }
    }

    #[test]
    fn on_a_desktop_of_another_size_parts_keep_their_share() {
        let part = Part {
            place: Rect {
                x: 1_920,
                y: 0,
                width: 1_920,
                height: 1_080,
            },
            of: Size {
                width: 3_840,
                height: 1_080,
            },
        };
        let small = Size {
            width: 1_281,
            height: 800,
        };
        assert_eq!(part.within(small), Rect::between(640, 0, 1_281, 800));
        assert_eq!(Part::WHOLE.within(small), Rect::whole(small));
    }
}
