//! Holds the choice between video and tiles to what people do on a desktop.
#![expect(clippy::disallowed_methods, reason = "simulated time starts somewhere")]

use super::history::CHANGES;
use super::*;

const SIZE: Size = Size {
    width: 1920,
    height: 1080,
};

const FRAME: Duration = Duration::from_micros(33_333);

/// A desktop whose time is simulated.
struct World {
    owner: RegionOwner,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self {
            owner: RegionOwner::new(SIZE),
            now: Instant::now(),
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.owner.poll_timeout().filter(|it| it.at <= end) {
            self.owner.handle_timeout(deadline.at);
        }
        self.now = end;
    }

    /// Something changes, and then nothing for a while.
    fn change(&mut self, changed: &[Rect], time: Duration) {
        self.owner.handle_change(changed, None, self.now);
        self.pass(time);
    }

    /// A film plays; each frame is reported as bands of 16 rows.
    fn play(&mut self, rect: Rect, frames: u32, gap: Duration) {
        for _ in 0..frames {
            self.change(&bands(rect), gap);
        }
    }

    #[track_caller]
    fn expect(&self, video: &[Rect], handovers: u64) {
        assert_eq!(self.owner.video(), video);
        assert_eq!(self.owner.handovers(), handovers);
    }
}

fn bands(rect: Rect) -> Vec<Rect> {
    let mut bands = Vec::new();
    let mut top = rect.y;
    while top < rect.bottom() {
        let bottom = rect.bottom().min((top / 16 + 1) * 16);
        bands.push(Rect::between(rect.x, top, rect.right(), bottom));
        top = bottom;
    }
    bands
}

/// On no grid.
const FILM: Rect = Rect::between(133, 77, 773, 557);

#[test]
fn a_film_becomes_video_soon_and_goes_back_once() {
    let mut world = World::new();
    world.play(FILM, CHANGES - 1, FRAME);
    world.expect(&[], 0);
    world.play(FILM, 300, FRAME);
    world.expect(&[FILM], 1);
    world.pass(Duration::from_millis(100));
    world.expect(&[], 2);
    assert_eq!(world.owner.poll_timeout(), None);
}

#[test]
fn films_of_any_usual_rate_stay_video() {
    for rate in [60, 50, 30, 25, 24, 15, 12, 10] {
        let mut world = World::new();
        world.play(FILM, 100, Duration::from_secs(1) / rate);
        world.expect(&[FILM], 1);
    }
}

#[test]
fn a_film_that_stutters_is_not_handed_to_and_fro() {
    let mut world = World::new();
    for round in 0..40 {
        world.play(FILM, 8, FRAME);
        world.play(FILM, 1, FRAME * (1 + round % 2));
    }
    world.expect(&[FILM], 1);
}

#[test]
fn a_quiet_scene_stays_video() {
    let mut world = World::new();
    world.play(FILM, 30, FRAME);
    let face = Rect::between(400, 200, 560, 360);
    world.play(face, 300, FRAME);
    world.expect(&[FILM], 1);
}

#[test]
fn a_spinner_where_a_film_has_been_does_not_keep_it_video() {
    let mut world = World::new();
    world.play(FILM, 30, FRAME);
    let spinner = Rect::between(420, 300, 468, 348);
    world.play(spinner, 300, FRAME);
    world.expect(&[], 2);
}

#[test]
fn typing_stays_tiles() {
    let mut world = World::new();
    for key in 0..400_u16 {
        let (x, y) = (40 + key % 90 * 8, 200 + key / 90 * 16);
        let letter = Rect::between(x, y, x + 16, y + 16);
        // As fast as a held key repeats.
        world.change(&[letter], FRAME);
    }
    world.expect(&[], 0);
    // A line that is written anew with each key, and a status line.
    for _ in 0..200 {
        let lines = [
            Rect::between(40, 400, 760, 416),
            Rect::between(40, 700, 760, 716),
        ];
        world.change(&lines, Duration::from_millis(60));
    }
    world.expect(&[], 0);
}

#[test]
fn menus_and_switched_windows_stay_tiles() {
    let mut world = World::new();
    for round in 0..60 {
        let menu = Rect::between(100, 40, 380, 600);
        world.change(&[menu], Duration::from_millis(140));
        if round % 4 == 0 {
            world.change(&[Rect::whole(SIZE)], Duration::from_millis(400));
        }
    }
    world.expect(&[], 0);
}

/// Scrolls an area at a rate.
fn scroll(area: Rect, gap: Duration) -> World {
    let mut world = World::new();
    for _ in 0..300 {
        world
            .owner
            .handle_change(&bands(area), Some(area), world.now);
        world.pass(gap);
    }
    world
}

#[test]
fn scrolling_that_is_shown_by_moving_stays_tiles() {
    // A terminal by lines, a page by wheel steps, a page smoothly.
    let terminal = Rect::between(20, 20, 740, 700);
    scroll(terminal, FRAME / 2).expect(&[], 0);
    let page = Rect::between(0, 100, 1900, 1040);
    scroll(page, FRAME).expect(&[], 0);
    scroll(page, FRAME / 2).expect(&[], 0);
}

#[test]
fn a_film_beside_a_scrolled_page_becomes_video() {
    let page = Rect::between(800, 0, 1900, 1000);
    let mut world = World::new();
    for _ in 0..60 {
        let changed = [bands(FILM), bands(page)].concat();
        world.owner.handle_change(&changed, Some(page), world.now);
        world.pass(FRAME);
    }
    world.expect(&[FILM], 1);
}

#[test]
fn a_dragged_window_stays_tiles() {
    let mut world = World::new();
    for step in 0..200_u16 {
        let (x, y) = (100 + step * 5, 100 + step * 2);
        let before = Rect::between(x, y, x + 640, y + 480);
        let after = Rect::between(x + 5, y + 2, x + 645, y + 482);
        let [above, left, ..] = before.without(after);
        let changed = [after, above, left];
        let moved = before.union(after);
        world.owner.handle_change(&changed, Some(moved), world.now);
        world.pass(FRAME / 2);
    }
    world.expect(&[], 0);
}

#[test]
fn text_beside_a_film_stays_tiles() {
    let mut world = World::new();
    for frame in 0..300_u16 {
        let x = 780 + frame % 60 * 8;
        let mut changed = bands(FILM);
        changed.push(Rect::between(x, 200, x + 16, 216));
        world.change(&changed, FRAME);
    }
    world.expect(&[FILM], 1);
}

#[test]
fn two_films_are_two_regions() {
    let other = Rect::between(1000, 300, 1400, 600);
    let mut world = World::new();
    for _ in 0..60 {
        let changed = [bands(FILM), bands(other)].concat();
        world.change(&changed, FRAME);
    }
    world.expect(&[FILM, other], 2);
    world.play(FILM, 30, FRAME);
    world.expect(&[FILM], 3);
}

#[test]
fn a_film_that_fills_the_screen_is_one_region() {
    let mut world = World::new();
    world.play(FILM, 60, FRAME);
    world.play(Rect::whole(SIZE), 60, FRAME);
    // It grows to the edges of its tiles first.
    world.expect(&[Rect::whole(SIZE)], 3);
    world.pass(REST_MAX);
    world.expect(&[], 4);
}

#[test]
fn one_large_change_does_not_make_all_of_it_video() {
    let mut world = World::new();
    world.play(FILM, 60, FRAME);
    world.change(&[Rect::whole(SIZE)], FRAME);
    world.play(FILM, 60, FRAME);
    assert!(
        world
            .owner
            .video()
            .iter()
            .all(|it| it.area() < FILM.area() * 3 / 2)
    );
}

#[test]
fn a_photo_that_is_too_much_for_tiles_is_video_for_a_moment() {
    let mut world = World::new();
    world.change(&[FILM], Duration::ZERO);
    world.owner.handle_left(FILM, world.now);
    world.expect(&[FILM], 1);
    world.pass(REST_MIN);
    world.expect(&[], 2);
    // What tiles have nearly done they finish.
    let little = Rect::between(0, 0, 100, 100);
    world.owner.handle_left(little, world.now);
    world.expect(&[], 2);
}

#[test]
fn a_film_that_is_too_much_for_tiles_is_video_from_its_first_frame() {
    let mut world = World::new();
    world.change(&bands(FILM), Duration::ZERO);
    world.owner.handle_left(FILM, world.now);
    world.pass(FRAME);
    world.play(FILM, 300, FRAME);
    world.expect(&[FILM], 1);
}

#[test]
fn spinners_and_meters_stay_tiles_however_many() {
    let mut world = World::new();
    for _ in 0..300 {
        let meters = [0, 1, 2, 3].map(|it| {
            let x = 100 + it * 300;
            Rect::between(x, 900, x + 64, 964)
        });
        world.change(&meters, FRAME / 2);
    }
    world.expect(&[], 0);
}

#[test]
fn more_films_than_there_are_regions_are_survived() {
    let mut world = World::new();
    for _ in 0..60 {
        let mut changed = Vec::new();
        for film in 0..12_u16 {
            let (x, y) = (film % 4 * 450, film / 4 * 350);
            changed.extend(bands(Rect::between(x, y, x + 400, y + 300)));
        }
        world.change(&changed, FRAME);
    }
    assert!((1..=REGIONS_MAX).contains(&world.owner.video().len()));
    world.pass(REST_MAX);
    assert_eq!(world.owner.video(), []);
}

#[test]
fn another_size_begins_anew() {
    let mut world = World::new();
    world.play(FILM, 60, FRAME);
    let small = Size {
        width: 640,
        height: 400,
    };
    world.owner.handle_reset(small);
    assert_eq!(world.owner.video(), []);
    assert_eq!(world.owner.poll_timeout(), None);
    world.play(Rect::whole(small), 60, FRAME);
    assert_eq!(world.owner.video(), [Rect::whole(small)]);
}
