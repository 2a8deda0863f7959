//! Plays a film on a desktop, with the screen layer at both ends: regions change hands, and the
//! viewer ends with every pixel right.
#![expect(clippy::disallowed_methods, reason = "simulated time starts somewhere")]

use sandbox_protocol::Pixel;
use sandbox_protocol::screen::{Composer, Frame, Picture, Shadow, VideoSource, View};
use sandbox_protocol::wire::update::{Draft, Header, Lapse, Update};

use super::*;

const SIZE: Size = Size {
    width: 800,
    height: 608,
};
const FRAME: Duration = Duration::from_micros(33_333);
/// On no grid.
const FILM: Rect = Rect::between(133, 77, 613, 437);
/// Bytes of an update that only repaints.
const PORTION: usize = 32 << 10;

/// Every pixel a little wrong, as lossy coding leaves it; the access unit is the picture itself.
struct Lossy;

impl VideoSource for Lossy {
    fn show(&mut self, access_unit: &[u8], rects: &[Rect], picture: &mut Picture) -> bool {
        for rect in rects {
            for (y, row) in (rect.y..).zip(picture.rows_mut(*rect)) {
                let start = usize::from(y) * usize::from(SIZE.width) + usize::from(rect.x);
                for (to, from) in row.iter_mut().zip(access_unit[start * 4..].chunks(4)) {
                    *to = u32::from_le_bytes(from.try_into().unwrap()) & 0x00F8_F8F8 | 4;
                }
            }
        }
        true
    }
}

/// A server, its desktop and a viewer.
struct World {
    owner: RegionOwner,
    composer: Composer,
    shadow: Shadow,
    draft: Draft,
    bytes: Vec<u8>,
    now: Instant,
    updates: u32,
    /// Bytes of tiles that an update may have.
    budget: usize,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            owner: RegionOwner::new(SIZE),
            composer: Composer::new(SIZE, 64, 1),
            shadow: Shadow::new(64),
            draft: Draft::default(),
            bytes: vec![0xC0; usize::from(SIZE.width) * usize::from(SIZE.height) * 4],
            now: Instant::now(),
            updates: 0,
            budget: usize::MAX,
        };
        world.frame(&[Rect::whole(SIZE)], Some(SIZE));
        world
    }

    fn paint(&mut self, rect: Rect, mut colour: impl FnMut(u16, u16) -> Pixel) {
        for y in rect.y..rect.bottom() {
            for x in rect.x..rect.right() {
                let at = (usize::from(y) * usize::from(SIZE.width) + usize::from(x)) * 4;
                self.bytes[at..at + 4].copy_from_slice(&colour(x, y).to_le_bytes());
            }
        }
    }

    /// A frame of the film, all of it other than the one before.
    fn film(&mut self, number: u32) {
        self.paint(FILM, |x, y| {
            let (x, y) = (u32::from(x) + number * 7, u32::from(y) + number * 3);
            (x * x + y * 31).wrapping_mul(0x0001_0203 + number) >> 7
        });
    }

    fn frame(&mut self, damage: &[Rect], whole: Option<Size>) {
        let video = self.owner.video().to_vec();
        let frame = Frame {
            picture: View::new(&self.bytes, usize::from(SIZE.width) * 4, SIZE),
            damage,
            video: &video,
        };
        let composed = self.composer.compose(&frame, self.budget, &mut self.draft);
        self.owner.handle_left(composed.left, self.now);
        let video = self.owner.video();
        let is_shown = |it: &Rect| video.iter().any(|video| video.touches(*it));
        if damage.iter().any(is_shown) {
            self.composer.video(video, &self.bytes, &mut self.draft);
        }
        if whole.is_none() {
            self.owner.handle_change(damage, composed.moved, self.now);
        }
        self.send(whole);
    }

    fn send(&mut self, whole: Option<Size>) {
        if self.draft.is_empty() {
            return;
        }
        let bytes = self.draft.finish(&Header {
            whole,
            is_refinement: false,
            qp: 0,
            input_seq: 0,
            captured: 0,
            lag: Lapse::default(),
            encode: Lapse::default(),
        });
        let update = Update::decode(bytes).unwrap();
        self.shadow.apply(&update, &mut Lossy).unwrap();
        self.updates += 1;
        self.draft.clear();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.owner.handle_timeout(self.now);
    }

    /// How many pixels of a rectangle the viewer shows wrong.
    fn wrong(&self, rect: Rect) -> usize {
        let rows = self.shadow.picture().rows(rect);
        let ours = self.composer.picture().rows(rect);
        let pixels = rows.zip(ours).flat_map(|(a, b)| a.iter().zip(b));
        pixels.filter(|(a, b)| a != b).count()
    }
}

#[test]
fn a_film_comes_and_goes_and_leaves_every_pixel_right() {
    let mut world = World::new();
    let beside = Rect::between(620, 60, 796, 460);
    for number in 0..40 {
        world.film(number);
        let x = 620 + u16::try_from(number % 20).unwrap() * 8;
        let letter = Rect::between(x, 200, x + 8, 216);
        world.paint(letter, |x, y| u32::from((x * 5) ^ (y * 3)) & 1);
        world.frame(&[FILM, letter], None);
        assert_eq!(
            world.wrong(beside),
            0,
            "text beside the film, frame {number}"
        );
        let is_video = number >= 5;
        assert_eq!(world.wrong(FILM) > 0, is_video, "frame {number}");
        world.pass(FRAME);
    }
    assert_eq!(world.owner.video(), [FILM]);
    assert_eq!(world.owner.handovers(), 1);
    // It stops. Nothing is damaged any more, and all is made exact.
    world.pass(REST_MAX);
    assert_eq!(world.owner.video(), []);
    let before = world.updates;
    while !world.composer.is_exact() {
        world.composer.repaint(&[], PORTION, &mut world.draft);
        world.send(None);
        assert!(world.updates - before < 100);
    }
    let (ours, theirs) = (world.composer.picture(), world.shadow.picture());
    assert_eq!(ours.hash(), theirs.hash());
    assert_eq!(world.owner.handovers(), 2);
    assert_eq!(world.owner.poll_timeout(), None);
}

#[test]
fn what_is_painted_where_a_film_has_been_is_right_at_once() {
    let mut world = World::new();
    for number in 0..20 {
        world.film(number);
        world.frame(&[FILM], None);
        world.pass(FRAME);
    }
    world.pass(REST_MAX);
    let window = Rect::between(200, 100, 500, 300);
    world.paint(window, |x, y| u32::from(x / 8 + y / 16) & 1);
    world.frame(&[window], None);
    assert_eq!(world.wrong(window), 0);
    assert!(world.wrong(FILM) > 0, "the rest waits for repainting");
}

#[test]
fn a_photo_is_shown_at_once_and_exact_after_a_moment() {
    let mut world = World::new();
    world.budget = 20_000;
    world.film(0);
    world.frame(&[FILM], None);
    let far_off = |it: &[Pixel], ours: &[Pixel]| {
        let pairs = it.iter().zip(ours);
        pairs.filter(|(a, b)| (*a ^ *b) & 0x00F8_F8F8 != 0).count()
    };
    let rows = world.shadow.picture().rows(FILM);
    let wrong: usize = rows
        .zip(world.composer.picture().rows(FILM))
        .map(|(a, b)| far_off(a, b))
        .sum();
    assert_eq!(wrong, 0, "all of it is there, if coarse");
    assert!(!world.composer.is_exact());
    world.pass(REST_MIN);
    assert_eq!(world.owner.video(), []);
    while !world.composer.is_exact() {
        world.composer.repaint(&[], PORTION, &mut world.draft);
        world.send(None);
    }
    assert_eq!(world.wrong(FILM), 0);
}
