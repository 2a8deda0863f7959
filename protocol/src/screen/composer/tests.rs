//! Holds both ends to the same picture after any sequence of pictures, and updates to their size.

use super::*;
use crate::screen::pair::Pair;
use crate::screen::sample::{CELL, Page, Random, lines};

const SIZE: Size = Size {
    width: 800,
    height: 600,
};

impl Composer {
    pub(crate) fn is_stale(&self, rect: Rect) -> bool {
        self.stale.touches(rect)
    }
}

fn random_rect(random: &mut Random, size: Size) -> Rect {
    let (x, y) = (random.short(size.width), random.short(size.height));
    let rect = Rect {
        x,
        y,
        width: 1 + random.short(size.width / 2),
        height: 1 + random.short(size.height / 2),
    };
    rect.intersection(Rect::whole(size)).unwrap()
}

/// Changes a page in some way; returns where, give or take.
fn change(page: &mut Page, kept: &mut Vec<Page>, random: &mut Random) -> Vec<Rect> {
    let size = page.picture.size();
    let rect = random_rect(random, size);
    match random.below(8) {
        0 => {
            page.is_soft = random.below(2) == 0;
            page.text(rect.x, rect.y, &lines(random.next_u32().into(), 30, 9));
            vec![Rect::between(rect.x, rect.y, size.width, size.height)]
        }
        1 => {
            page.picture.fill(rect, random.next_u32() & 0x00FF_FFFF);
            vec![rect]
        }
        2 | 3 => {
            let to = Point {
                x: random.short(size.width - rect.width + 1),
                y: random.short(size.height - rect.height + 1),
            };
            page.picture.copy(rect, to);
            let target = Rect {
                x: to.x,
                y: to.y,
                ..rect
            };
            vec![target]
        }
        4 => {
            for row in page.picture.rows_mut(rect) {
                row.fill_with(|| random.next_u32() & 0x00FF_FFFF);
            }
            vec![rect, rect]
        }
        5 => {
            let letter = char::from_u32(97 + random.below(26)).unwrap();
            page.letter(rect.x, rect.y, letter);
            vec![Rect {
                width: CELL.0,
                height: CELL.1,
                ..rect
            }]
        }
        6 => {
            kept.truncate(3);
            kept.insert(0, page.clone());
            vec![]
        }
        _ => {
            let before = kept.get(random.below(4) as usize);
            if let Some(before) = before.filter(|it| it.picture.size() == size) {
                page.clone_from(before);
            }
            vec![Rect::whole(size)]
        }
    }
}

fn run(seed: u64, size: Size, slots: u16) {
    println!("seed {seed}, {size}, {slots} slots");
    let mut random = Random::new(seed);
    let mut page = Page::new(size.width, size.height);
    let mut kept = Vec::new();
    let mut video = Vec::new();
    let mut pair = Pair::new(size, slots);
    for _ in 0..30 {
        if random.below(6) == 0 {
            video.clear();
            for _ in 0..random.below(3) {
                video.push(random_rect(&mut random, size));
            }
        }
        let mut damage = Vec::new();
        for _ in 0..random.below(3) {
            damage.extend(change(&mut page, &mut kept, &mut random));
        }
        if random.below(25) == 0 {
            pair.reset(size);
        }
        pair.budget = [usize::MAX, 5_000, 200][random.below(3) as usize];
        pair.show(&page, &damage, &video);
        if random.below(3) == 0 {
            pair.repaint(&video, 2_000);
        }
    }
    for _ in 0..2_000 {
        if pair.composer.is_exact() {
            return;
        }
        pair.repaint(&[], 2_000);
    }
    panic!("repainting does not end");
}

#[test]
fn both_ends_show_the_same_after_any_history() {
    let small = Size {
        width: 330,
        height: 210,
    };
    for seed in 0..15 {
        let slots = [0, 1, 3, 20, 500][seed as usize % 5];
        run(seed, small, slots);
    }
    run(100, SIZE, 40);
}

#[test]
fn a_first_update_makes_a_black_viewer_show_the_desktop() {
    let mut page = Page::new(SIZE.width, SIZE.height);
    page.text(10, 10, &lines(1, 90, 30));
    let mut pair = Pair::new(SIZE, 64);
    pair.show(&page, &[], &[]);
    assert_eq!(pair.shadow.picture(), &page.picture);
    assert_eq!(pair.shadow.damage(), [Rect::whole(SIZE)]);
    // Another size begins anew.
    let mut page = Page::new(640, 400);
    page.text(10, 10, "resized");
    pair.reset(page.picture.size());
    pair.show(&page, &[], &[]);
    assert_eq!(pair.shadow.picture(), &page.picture);
}

#[test]
fn damage_without_a_change_sends_nothing() {
    let page = Page::new(SIZE.width, SIZE.height);
    let mut pair = Pair::new(SIZE, 64);
    pair.show(&page, &[], &[]);
    let composed = pair.show(&page, &[Rect::whole(SIZE)], &[]);
    assert_eq!((composed, pair.bytes), (Composed::default(), 0));
    pair.repaint(&[], usize::MAX);
    assert_eq!(pair.bytes, 0);
}

/// A terminal with text, soft or hard, and the pair that shows it.
fn terminal(is_soft: bool) -> (Page, Pair) {
    let mut page = Page::new(SIZE.width, SIZE.height);
    page.is_soft = is_soft;
    page.text(10, 10, &lines(2, 96, 35));
    let mut pair = Pair::new(SIZE, 1024);
    pair.show(&page, &[], &[]);
    (page, pair)
}

#[test]
fn a_typed_letter_is_small() {
    for is_soft in [false, true] {
        let (mut page, mut pair) = terminal(is_soft);
        for column in 0..40 {
            let x = 10 + column * CELL.0;
            page.letter(x, 330, 'e');
            // The cursor goes on, and the terminal reports its whole line.
            let cursor = Rect::between(x + 8, 330, x + 16, 346);
            page.picture.fill(cursor, page.ink);
            pair.show(&page, &[Rect::between(0, 330, 800, 346)], &[]);
            assert!((1..=200).contains(&pair.bytes), "{} bytes", pair.bytes);
        }
    }
}

/// Scrolls a terminal by some lines, and writes the exposed ones.
fn scroll(page: &mut Page, by: u16, seed: u64) {
    let height = by * CELL.1;
    let area = Rect::between(10, 10, 778, 570);
    let from = Rect::between(10, 10 + height, 778, 570);
    page.picture.copy(from, area.origin());
    page.picture
        .fill(Rect::between(10, 570 - height, 778, 570), page.paper);
    page.text(10, 570 - height, &lines(seed, 96, by));
}

#[test]
fn a_terminal_scrolled_by_a_line_is_a_copy_and_a_strip() {
    for is_soft in [false, true] {
        let (mut page, mut pair) = terminal(is_soft);
        for (line, by) in [1, 1, 1, 3, 1, 10].into_iter().enumerate() {
            scroll(&mut page, by, 50 + line as u64);
            let composed = pair.show(&page, &[Rect::whole(SIZE)], &[]);
            assert!(composed.moved.is_some_and(|it| it.area() > 300 * 200));
            let most = 4_000 * usize::from(by);
            assert!(pair.bytes <= most, "{} bytes for {by} lines", pair.bytes);
        }
    }
}

#[test]
fn another_page_of_text_is_a_few_bytes_for_each_letter() {
    for is_soft in [false, true] {
        let (mut page, mut pair) = terminal(is_soft);
        let window = Rect::between(80, 40, 720, 560);
        for seed in 1..5 {
            for (n, line) in (0..).zip(lines(seed, 76, 28).lines()) {
                page.picture
                    .fill(Rect::between(80, 40 + n * 18, 720, 58 + n * 18), page.paper);
                page.text(84, 41 + n * 18, line);
            }
            pair.show(&page, &[window], &[]);
            assert!(pair.bytes < 7_000, "{} bytes", pair.bytes);
            assert!(pair.composer.is_exact());
        }
        // Video showed it: it is there at once when it rests.
        pair.show(&page, &[window], &[window]);
        pair.repaint(&[], 10_000);
        assert!(pair.bytes < 7_000 && pair.composer.is_exact());
    }
}

/// A page with a window on it whose lines lie at another distance.
fn two_windows(page_seed: u64, window_seed: u64, window: Rect) -> Page {
    let mut page = Page::new(SIZE.width, SIZE.height);
    page.is_soft = true;
    let text = lines(page_seed, 98, 90).replace('\n', "");
    let text: Vec<char> = text.chars().collect();
    for (n, line) in (0..36).zip(text.chunks(98)) {
        page.text(3, 5 + n * 16, &line.iter().collect::<String>());
    }
    page.picture.fill(window, page.paper);
    let (columns, rows) = (window.width / CELL.0, window.height / 21);
    for (n, line) in (0..).zip(lines(window_seed, columns, rows).lines()) {
        page.text(window.x + 4, window.y + 5 + n * 21, line);
    }
    page
}

#[test]
fn text_around_another_window_is_text() {
    let mut pair = Pair::new(SIZE, 1024);
    for seed in 1..4 {
        let page = two_windows(seed, 9, Rect::between(300, 70, 800, 470));
        pair.show(&page, &[Rect::whole(SIZE)], &[]);
        let is_known = seed > 1;
        assert!(!is_known || pair.bytes < 11_000, "{} bytes", pair.bytes);
    }
}

#[test]
fn windows_beside_each_other_that_change_at_once_are_text() {
    let mut pair = Pair::new(SIZE, 1024);
    for seed in 1..5 {
        let page = two_windows(seed, 20 + seed, Rect::between(384, 0, 800, 600));
        pair.show(&page, &[Rect::whole(SIZE)], &[]);
        // Their tiles are 109 KB.
        let is_known = seed > 1;
        assert!(!is_known || pair.bytes < 40_000, "{} bytes", pair.bytes);
    }
}

#[test]
fn a_window_that_comes_back_is_sent_as_references() {
    let (page, mut pair) = terminal(true);
    let window = Rect::between(100, 80, 740, 560);
    let mut covered = page.clone();
    covered.picture.fill(window, 0x0040_4040);
    covered.is_soft = true;
    covered.text(108, 100, &lines(77, 76, 27));
    pair.show(&covered, &[window], &[]);
    let first = pair.bytes;
    for _ in 0..3 {
        pair.show(&page, &[window], &[]);
        assert!((1..=1_000).contains(&pair.bytes), "{} bytes", pair.bytes);
        pair.show(&covered, &[window], &[]);
        assert!((1..=1_000).contains(&pair.bytes), "{} bytes", pair.bytes);
    }
    assert!(first > 10_000, "there was something to send: {first} bytes");
}

#[test]
fn what_video_showed_is_repainted_in_portions_the_nearest_first() {
    let (mut page, mut pair) = terminal(false);
    let video = Rect::between(100, 100, 500, 500);
    let mut random = Random::new(9);
    for _ in 0..3 {
        // Letters in no lines: they are sent as tiles.
        for letter in ('a'..='z').cycle().take(1_000) {
            page.letter(100 + random.short(392), 100 + random.short(384), letter);
        }
        pair.show(&page, &[video], &[video]);
    }
    assert!(!pair.composer.is_exact());
    page.letter(488, 488, 'x');
    pair.show(&page, &[Rect::between(488, 488, 496, 504)], &[]);
    let near = Rect::between(448, 448, 512, 512);
    let far = Rect::between(100, 100, 164, 164);
    let mut portions = 0;
    while pair.composer.is_stale(far) {
        let was_near = pair.composer.is_stale(near);
        pair.repaint(&[], 1_000);
        assert!((1..=1_100).contains(&pair.bytes), "{} bytes", pair.bytes);
        assert!(!was_near || portions < 3, "the nearest come first");
        portions += 1;
    }
    assert!(portions > 4, "{portions} portions");
    while !pair.composer.is_exact() {
        pair.repaint(&[], 1_000);
    }
}

#[test]
fn a_change_that_is_too_large_is_left_for_later_and_small_ones_are_not() {
    let (mut page, mut pair) = terminal(false);
    pair.budget = 10_000;
    let photo = Rect::between(100, 100, 500, 400);
    let mut random = Random::new(1);
    for row in page.picture.rows_mut(photo) {
        row.fill_with(|| random.next_u32() & 0x00FF_FFFF);
    }
    page.letter(600, 500, 'x');
    let letter = Rect::between(600, 500, 608, 516);
    let composed = pair.show(&page, &[photo, letter], &[]);
    assert!(pair.bytes < 10_100, "{} bytes", pair.bytes);
    assert!(photo.contains(composed.left) && composed.left.area() > photo.area() / 2);
    assert!(!pair.composer.is_stale(letter));
    let mut updates = 0;
    while !pair.composer.is_exact() {
        pair.repaint(&[], 10_000);
        updates += 1;
    }
    assert!((10..60).contains(&updates), "{updates} updates");
    // The same at once as video.
    let (_, mut pair) = terminal(false);
    pair.show(&page, &[photo, letter], &[photo]);
    assert!(pair.bytes < 1_000, "{} bytes", pair.bytes);
}

#[test]
fn video_that_goes_on_is_not_repainted() {
    let (page, mut pair) = terminal(false);
    let video = [Rect::between(64, 64, 320, 320)];
    pair.show(&page, &video, &video);
    assert!(!pair.composer.is_behind(&video));
    pair.repaint(&video, usize::MAX);
    assert_eq!(pair.bytes, 0);
    assert!(pair.composer.is_behind(&[]));
    pair.repaint(&[], usize::MAX);
    assert!(pair.composer.is_exact() && !pair.composer.is_behind(&[]));
}

#[test]
fn text_beside_video_is_exact_while_it_plays() {
    let (mut page, mut pair) = terminal(true);
    // Edges that are on no grid.
    let video = Rect::between(133, 77, 402, 311);
    for frame in 0..4 {
        page.picture.fill(video, frame * 0x0001_0203);
        page.text(405, 77, &lines(frame.into(), 20, 14));
        let beside = Rect::between(405, 77, 800, 311);
        pair.show(&page, &[video, beside], &[video]);
        let rows =
            |page: &Picture| -> Vec<Pixel> { page.rows(beside).flatten().copied().collect() };
        assert!(rows(pair.shadow.picture()) == rows(&page.picture));
    }
}

#[test]
fn what_is_moved_out_of_video_stays_in_doubt() {
    let (mut page, mut pair) = terminal(false);
    let video = [Rect::between(200, 200, 400, 400)];
    pair.show(&page, &video, &video);
    scroll(&mut page, 1, 90);
    pair.budget = 500;
    let composed = pair.show(&page, &[Rect::whole(SIZE)], &[]);
    assert!(composed.moved.is_some());
    assert!(
        !pair.composer.is_exact(),
        "that was too much for one update"
    );
    while !pair.composer.is_exact() {
        pair.repaint(&[], 3_000);
    }
}
