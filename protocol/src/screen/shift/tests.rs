//! Holds the search for moved pixels to finding them, and to leaving the rest alone.

use super::*;
use crate::Size;
use crate::screen::sample::{Page, Random, lines};

const SIZE: Size = Size {
    width: 800,
    height: 600,
};

fn find(old: &Page, new: &Page, area: Rect) -> Option<Shift> {
    let bytes = new.bytes();
    let view = View::new(&bytes, usize::from(SIZE.width) * 4, SIZE);
    Finder::default().find(&old.picture, &view, area)
}

/// Applies a shift; returns how many pixels of `area` are then still wrong.
fn wrong_after(shift: Shift, old: &Page, new: &Page, area: Rect) -> usize {
    let mut picture = old.picture.clone();
    picture.copy(shift.from, shift.to);
    let rows = picture.rows(area).zip(new.picture.rows(area));
    rows.flat_map(|(a, b)| a.iter().zip(b))
        .filter(|(a, b)| a != b)
        .count()
}

fn page(seed: u64, first_line: usize) -> Page {
    let mut page = Page::new(SIZE.width, SIZE.height);
    let text = lines(seed, 90, 200);
    let shown: Vec<&str> = text.lines().skip(first_line).take(30).collect();
    page.text(20, 40, &shown.join("\n"));
    page
}

#[test]
fn a_scrolled_page_is_found_in_both_directions() {
    for (before, after, y) in [(10, 11, 16), (10, 13, 48), (13, 10, -48), (10, 30, 320)] {
        let (old, new) = (page(1, before), page(1, after));
        let area = Rect::between(20, 40, 780, 520);
        let shift = find(&old, &new, area).unwrap();
        let distance = i32::from(shift.from.y) - i32::from(shift.to.y);
        assert_eq!((shift.from.x, distance), (shift.to.x, y));
        let strip = usize::try_from(y.unsigned_abs()).unwrap() * 760;
        let wrong = wrong_after(shift, &old, &new, area);
        assert!(
            wrong < strip,
            "{wrong} pixels, the exposed strip has {strip}"
        );
    }
}

#[test]
fn what_stands_still_beside_a_scrolled_page_is_left_alone() {
    let (mut old, mut new) = (page(2, 5), page(2, 8));
    for page in [&mut old, &mut new] {
        page.picture
            .fill(Rect::between(0, 0, 120, 600), 0x0033_6699);
        page.text(8, 8, &lines(8, 13, 36));
    }
    // The thumb of a scroll bar, which moves the other way.
    old.picture.fill(Rect::between(760, 100, 776, 200), 0);
    new.picture.fill(Rect::between(760, 110, 776, 210), 0);
    let shift = find(&old, &new, Rect::whole(SIZE)).unwrap();
    let target = shift.target();
    assert!(target.x >= 90 && target.right() <= 760, "{target:?}");
    assert!(target.area() > 600 * 400, "{target:?}");
}

#[test]
fn a_dragged_window_is_found() {
    let draw = |x: u16, y: u16| {
        let mut page = page(3, 0);
        let mut window = Page::new(300, 200);
        window.ink = 0x0022_8844;
        window.text(4, 24, &lines(9, 36, 10));
        window
            .picture
            .fill(Rect::between(0, 0, 300, 20), 0x0044_4444);
        let rect = Rect {
            x,
            y,
            width: 300,
            height: 200,
        };
        page.picture.write(rect, window.picture.pixels());
        page
    };
    for (x, y) in [(207, 113), (200, 93), (193, 100), (240, 100), (200, 170)] {
        let (old, new) = (draw(200, 100), draw(x, y));
        let before = Rect::between(200, 100, 500, 300);
        let area = before.union(Rect::between(x, y, x + 300, y + 200));
        let shift = find(&old, &new, area).unwrap();
        let target = shift.target();
        let found = (
            i32::from(target.x) - i32::from(shift.from.x),
            i32::from(target.y) - i32::from(shift.from.y),
        );
        assert_eq!(found, (i32::from(x) - 200, i32::from(y) - 100));
        assert!(target.area() > 290 * 190, "{target:?}");
    }
}

#[test]
fn another_page_has_not_moved() {
    assert_eq!(find(&page(4, 0), &page(5, 0), Rect::whole(SIZE)), None);
    let mut random = Random::new(6);
    let mut noise = Page::new(SIZE.width, SIZE.height);
    for row in noise.picture.rows_mut(Rect::whole(SIZE)) {
        row.fill_with(|| random.next_u32() & 0x00FF_FFFF);
    }
    assert_eq!(find(&page(4, 0), &noise, Rect::whole(SIZE)), None);
    assert_eq!(find(&noise, &page(4, 0), Rect::whole(SIZE)), None);
}

#[test]
fn blank_pictures_and_periodic_ones_are_survived() {
    let blank = Page::new(SIZE.width, SIZE.height);
    let mut striped = blank.clone();
    for y in (0..600).step_by(6) {
        striped.picture.fill(Rect::between(0, y, 800, y + 3), 7);
    }
    for (old, new) in [(&blank, &striped), (&striped, &blank), (&blank, &blank)] {
        if let Some(shift) = find(old, new, Rect::whole(SIZE)) {
            let whole = Rect::whole(SIZE);
            assert!(whole.contains(shift.from) && whole.contains(shift.target()));
        }
    }
}

#[test]
fn any_two_pictures_give_a_shift_within_the_desktop() {
    let mut random = Random::new(7);
    for _ in 0..60 {
        let seed = random.next_u32().into();
        let (mut old, mut new) = (page(seed, 0), page(seed, 0));
        for page in [&mut old, &mut new] {
            for _ in 0..random.below(6) {
                let (x, y) = (random.short(600), random.short(400));
                let from = Rect {
                    x,
                    y,
                    width: 1 + random.short(200),
                    height: 1 + random.short(200),
                };
                let to = Point {
                    x: random.short(600),
                    y: random.short(400),
                };
                page.picture.copy(from, to);
            }
        }
        let area = Rect::between(random.short(300), random.short(200), 700, 500);
        if let Some(shift) = find(&old, &new, area) {
            assert!(area.contains(shift.target()), "{shift:?}");
            assert!(Rect::whole(SIZE).contains(shift.from), "{shift:?}");
        }
    }
}
