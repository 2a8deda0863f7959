//! Puts the desktop's pixels into the window's.

use sandbox_protocol::Pixel;
use sandbox_protocol::screen::Picture;

use super::layout::{Area, Layout};

/// Beside the desktop.
const BORDER: Pixel = 0x0020_2020;

/// The window's pixels: rows without gaps.
pub(super) struct Canvas<'a> {
    pub(super) pixels: &'a mut [Pixel],
    pub(super) width: u32,
}

impl Canvas<'_> {
    /// The rows of an area, each with its number.
    pub(super) fn rows(&mut self, area: Area) -> impl Iterator<Item = (u32, &mut [Pixel])> {
        let columns = area.left as usize..area.right as usize;
        (0_u32..)
            .zip(self.pixels.chunks_exact_mut(self.width.max(1) as usize))
            .skip(area.top as usize)
            .take(area.bottom.saturating_sub(area.top) as usize)
            .filter_map(move |(y, row)| Some((y, row.get_mut(columns.clone())?)))
    }

    pub(super) fn fill(&mut self, area: Area, colour: Pixel) {
        self.rows(area).for_each(|(_, row)| row.fill(colour));
    }
}

/// Paints what lies beside the desktop.
pub(super) fn paint_border(layout: &Layout, canvas: &mut Canvas<'_>) {
    let whole = layout.whole_window();
    let (right, bottom) = (layout.left + layout.width, layout.top + layout.height);
    let sides = [
        Area {
            bottom: layout.top,
            ..whole
        },
        Area {
            top: bottom,
            ..whole
        },
        Area {
            right: layout.left,
            ..whole
        },
        Area {
            left: right,
            ..whole
        },
    ];
    for side in sides.into_iter().filter(|it| !it.is_empty()) {
        canvas.fill(side, BORDER);
    }
}

/// Paints the desktop where it shows in an area.
pub(super) fn paint(picture: &Picture, layout: &Layout, area: Area, canvas: &mut Canvas<'_>) {
    let shown = layout.area_of(layout.part);
    let area = Area {
        left: area.left.max(shown.left),
        top: area.top.max(shown.top),
        right: area.right.min(shown.right),
        bottom: area.bottom.min(shown.bottom),
    };
    if area.is_empty() || picture.size() != layout.desktop {
        return;
    }
    let (part, width) = (layout.part, usize::from(layout.desktop.width));
    let (x, y) = (area.left - layout.left, area.top - layout.top);
    for (at, row) in canvas.rows(area) {
        let y = y + (at - area.top);
        if layout.is_exact() {
            let (x, y) = (part.x as usize + x as usize, part.y as usize + y as usize);
            let from = picture.pixels().chunks_exact(width).nth(y);
            let from = from.and_then(|it| it.get(x..)).unwrap_or_default();
            for (to, from) in row.iter_mut().zip(from) {
                *to = *from;
            }
        } else if layout.is_sharp() {
            paint_steps(picture, layout, (x, y), row);
        } else {
            paint_smooth(picture, layout, (x, y), row);
        }
    }
}

fn paint_steps(picture: &Picture, layout: &Layout, (x, y): (u32, u32), row: &mut [Pixel]) {
    let part = layout.part;
    let times = (layout.width / u32::from(part.width)).max(1);
    let mut rows = picture.pixels().chunks_exact(layout.desktop.width.into());
    let from = rows.nth(usize::from(part.y) + (y / times) as usize);
    let from = from.and_then(|it| it.get(part.x.into()..));
    let from = from.unwrap_or_default();
    for (x, to) in (x..).zip(row) {
        *to = from.get((x / times) as usize).copied().unwrap_or_default();
    }
}

/// Each pixel is mixed of the four around its centre.
fn paint_smooth(picture: &Picture, layout: &Layout, (x, y): (u32, u32), row: &mut [Pixel]) {
    let width = usize::from(layout.desktop.width);
    let part = layout.part;
    let vertical = Mix::at(y, layout.step, part.height);
    let rows = [vertical.first, vertical.second].map(|it| {
        let mut rows = picture.pixels().chunks_exact(width);
        let row = rows.nth(usize::from(part.y) + it);
        row.and_then(|it| it.get(part.x.into()..))
            .unwrap_or_default()
    });
    for (x, to) in (x..).zip(row) {
        let across = Mix::at(x, layout.step, part.width);
        let [above, below] = rows.map(|row| {
            let at = |it: usize| row.get(it).copied().unwrap_or_default();
            mix(at(across.first), at(across.second), across.share)
        });
        *to = mix(above, below, vertical.share);
    }
}

/// Two neighbours, and how much the second has of what is between them, in 256ths.
struct Mix {
    first: usize,
    second: usize,
    share: u32,
}

impl Mix {
    fn at(position: u32, step: u32, side: u16) -> Self {
        // Centres of pixels lie on each other.
        let centre = u64::from(position) * u64::from(step) + u64::from(step / 2);
        let at = centre.saturating_sub(1 << 15);
        let last = usize::from(side.saturating_sub(1));
        let first = ((at >> 16) as usize).min(last);
        Self {
            first,
            second: (first + 1).min(last),
            share: ((at >> 8) & 0xff) as u32,
        }
    }
}

/// Blue and red together, green alone: their bits do not meet.
const fn mix(a: Pixel, b: Pixel, share: u32) -> Pixel {
    const OUTER: u32 = 0x00FF_00FF;
    const INNER: u32 = 0x0000_FF00;
    let rest = 256 - share;
    // Half of the lowest step, so that the mean is rounded.
    let outer = ((a & OUTER) * rest + (b & OUTER) * share + 0x0080_0080) >> 8;
    let inner = ((a & INNER) * rest + (b & INNER) * share + 0x0000_8000) >> 8;
    (outer & OUTER) | (inner & INNER)
}

#[cfg(test)]
mod tests {
    use sandbox_protocol::{Rect, Size};

    use super::super::monitors::{Monitor, Monitors, Part, arrange};
    use super::*;

    const DESKTOP: Size = Size {
        width: 4,
        height: 2,
    };

    fn picture() -> Picture {
        let mut picture = Picture::new(DESKTOP);
        let pixels: Vec<Pixel> = (1..=8).map(|it| it * 0x0010_1010).collect();
        picture.write(Rect::whole(DESKTOP), &pixels);
        picture
    }

    fn shown(window: (u32, u32)) -> Vec<Pixel> {
        shown_part(Part::WHOLE, window)
    }

    fn shown_part(part: Part, window: (u32, u32)) -> Vec<Pixel> {
        let layout = Layout::new(DESKTOP, part, window);
        let mut pixels = vec![0xdead; (window.0 * window.1) as usize];
        let mut canvas = Canvas {
            pixels: &mut pixels,
            width: window.0,
        };
        paint_border(&layout, &mut canvas);
        paint(&picture(), &layout, layout.whole_window(), &mut canvas);
        pixels
    }

    #[test]
    fn pixel_by_pixel_nothing_changes() {
        assert_eq!(shown((4, 2)), picture().pixels());
    }

    #[test]
    fn whole_steps_repeat_pixels() {
        let twice = shown((8, 4));
        for (at, pixel) in twice.iter().enumerate() {
            let (x, y) = (at % 8, at / 8);
            assert_eq!(*pixel, picture().pixels()[y / 2 * 4 + x / 2]);
        }
    }

    #[test]
    fn a_part_is_shown_as_the_whole_is() {
        let monitor = |x| Monitor {
            x,
            y: 0,
            width: 2,
            height: 2,
        };
        let both = arrange(&[monitor(0), monitor(2)], &Monitors::All).unwrap();
        let second = both.parts[1].1;
        let all = picture();
        let right = [2, 3, 6, 7].map(|it: usize| all.pixels()[it]);
        assert_eq!(shown_part(second, (2, 2)), right);
        let twice = shown_part(second, (4, 4));
        for (at, pixel) in twice.iter().enumerate() {
            let (x, y) = (at % 4, at / 4);
            assert_eq!(*pixel, right[y / 2 * 2 + x / 2]);
        }
        let smooth = shown_part(second, (3, 3));
        let corners = [0, 2, 6, 8].map(|it: usize| smooth[it]);
        assert_eq!(corners, right, "nothing of the other part is mixed in");
    }

    #[test]
    fn what_is_beside_the_desktop_is_border() {
        let pixels = shown((4, 4));
        assert!(
            pixels[..4]
                .iter()
                .chain(&pixels[12..])
                .all(|it| *it == BORDER)
        );
        assert_eq!(&pixels[4..12], picture().pixels());
    }

    #[test]
    fn between_two_pixels_there_is_their_mean() {
        let pixels = shown((6, 3));
        assert_eq!(pixels[0], 0x0010_1010);
        // Its centre lies on the seam between the first two.
        assert_eq!(pixels[1], 0x0018_1818);
        assert!(!pixels.contains(&0xdead));
    }
}
