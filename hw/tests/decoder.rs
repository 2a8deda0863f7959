//! What an encoder wrote is shown by our decoder: the rectangles asked for, and nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is a failed test, in its helpers too"
)]

mod desktop;
mod path;
mod viewer;

use sandbox_hw::{DecodeError, H264Decoder, Invalidation, Kind, PaintError, Quality, Target};
use sandbox_protocol::{Rect, Size};

use self::desktop::{Chance, Desktop};
use self::path::{CONFIG, Path, SIZE};

/// A colour that no desktop of the tests has.
const UNTOUCHED: u8 = 0xab;

const fn rect(x: u16, y: u16, width: u16, height: u16) -> Rect {
    Rect {
        x,
        y,
        width,
        height,
    }
}

struct Screen {
    decoder: H264Decoder,
    pixels: Vec<u8>,
    stride: usize,
}

impl Screen {
    fn new() -> Self {
        let stride = usize::from(SIZE.width) * 4 + 64;
        Self {
            decoder: H264Decoder::new().unwrap(),
            pixels: vec![UNTOUCHED; stride * usize::from(SIZE.height)],
            stride,
        }
    }

    fn show(&mut self, access_unit: &[u8], rects: &[Rect]) -> Result<(), DecodeError> {
        let mut target = Target {
            pixels: &mut self.pixels,
            stride: self.stride,
            size: SIZE,
        };
        self.decoder.decode(access_unit, rects, &mut target)
    }

    /// Mean difference from a desktop within a rectangle, in levels of 255.
    fn difference(&self, desktop: &Desktop, rect: Rect) -> u64 {
        let (mut sum, mut count) = (0, 0);
        for y in usize::from(rect.y)..usize::from(rect.y + rect.height) {
            for x in usize::from(rect.x)..usize::from(rect.x + rect.width) {
                for colour in 0..3 {
                    let shown = self.pixels[y * self.stride + x * 4 + colour];
                    let meant = desktop.pixels[y * desktop.stride() + x * 4 + colour];
                    sum += u64::from(shown.abs_diff(meant));
                    count += 1;
                }
            }
        }
        sum / count
    }
}

fn encoded(seed: u64) -> (Path, Desktop, Vec<u8>) {
    let mut path = Path::new("openh264", CONFIG);
    path.redraw(seed);
    let unit = path.send(Kind::Keyframe, Quality::Fixed(12)).bytes;
    (path, Desktop::new(SIZE, seed), unit)
}

#[test]
fn a_whole_picture_shows_the_desktop_in_its_colours() {
    let (_, desktop, unit) = encoded(3);
    let mut screen = Screen::new();
    screen.show(&unit, &[Rect::whole(SIZE)]).unwrap();
    // 4:2:0 blurs the colours of coloured text; a wrong matrix or range would cost far more.
    let difference = screen.difference(&desktop, Rect::whole(SIZE));
    assert!(difference <= 4, "{difference} levels");
}

#[test]
fn only_the_rectangles_asked_for_are_touched() {
    let (_, desktop, unit) = encoded(4);
    let mut screen = Screen::new();
    let rects = [
        rect(0, 0, 2, 2),
        rect(100, 50, 64, 30),
        rect(638, 358, 2, 2),
    ];
    screen.show(&unit, &rects).unwrap();
    for (at, pixel) in screen.pixels.chunks_exact(4).enumerate() {
        let (x, y) = ((at * 4 % screen.stride) / 4, at * 4 / screen.stride);
        let is_asked = rects.iter().any(|it| {
            (usize::from(it.x)..usize::from(it.x + it.width)).contains(&x)
                && (usize::from(it.y)..usize::from(it.y + it.height)).contains(&y)
        });
        assert_eq!(pixel == [UNTOUCHED; 4], !is_asked, "{x},{y}");
    }
    assert!(screen.difference(&desktop, rects[1]) <= 4);
}

#[test]
fn later_frames_build_on_earlier_ones() {
    let (mut path, _, first) = encoded(5);
    let mut screen = Screen::new();
    screen.show(&first, &[]).unwrap();
    path.redraw(6);
    let second = path.send(Kind::Auto, Quality::Fixed(12));
    assert!(!second.is_keyframe);
    screen.show(&second.bytes, &[Rect::whole(SIZE)]).unwrap();
    let difference = screen.difference(&Desktop::new(SIZE, 6), Rect::whole(SIZE));
    assert!(difference <= 4, "{difference} levels");
}

/// A gap in the frame numbers, which the decoder must not take for an error.
#[test]
fn frames_that_never_came_and_are_not_referred_to_are_not_missed() {
    let mut path = Path::new("libx264", CONFIG);
    let mut screen = Screen::new();
    for seed in 1..=12 {
        path.redraw(seed);
        let unit = path.send(Kind::Auto, Quality::Fixed(12));
        assert_eq!(unit.is_keyframe, seed == 1);
        screen.show(&unit.bytes, &[Rect::whole(SIZE)]).unwrap();
        let difference = screen.difference(&Desktop::new(SIZE, seed), Rect::whole(SIZE));
        assert!(difference <= 4, "{difference} levels in frame {seed}");
        let first_lost = path.pts + 1;
        for _ in 0..seed % 3 {
            path.redraw(100 + seed);
            path.send(Kind::Auto, Quality::Fixed(12));
        }
        if first_lost <= path.pts {
            let outcome = path.encoder.invalidate(first_lost);
            assert_eq!(outcome, Invalidation::Avoided);
        }
    }
}

#[test]
fn rectangles_that_cannot_be_taken_out_are_refused() {
    let (_, _, unit) = encoded(7);
    for bad in [
        rect(1, 0, 2, 2),
        rect(0, 0, 3, 2),
        rect(0, 0, 0, 2),
        rect(0, 0, 642, 2),
        rect(640, 0, 2, 2),
        rect(0, 360, 2, 2),
        rect(65_534, 65_534, 65_534, 65_534),
    ] {
        let error = Screen::new().show(&unit, &[bad]).unwrap_err();
        assert!(
            matches!(error, DecodeError::Paint(PaintError::Rect { .. })),
            "{bad:?}: {error}"
        );
    }
}

#[test]
fn another_size_than_announced_is_refused() {
    let (_, _, unit) = encoded(8);
    let mut decoder = H264Decoder::new().unwrap();
    let size = Size {
        width: 320,
        height: 200,
    };
    let mut target = Target {
        pixels: &mut vec![0; 320 * 200 * 4],
        stride: 320 * 4,
        size,
    };
    let error = decoder
        .decode(&unit, &[Rect::whole(size)], &mut target)
        .unwrap_err();
    assert!(matches!(error, DecodeError::Size { .. }), "{error}");
}

#[test]
fn damaged_bytes_are_an_error_or_a_picture_and_the_next_key_frame_is_shown() {
    let (_, desktop, unit) = encoded(9);
    let mut screen = Screen::new();
    let mut chance = Chance::new(10);
    for round in 0..200 {
        let mut damaged = unit.clone();
        for _ in 0..=round % 8 {
            let at = usize::try_from(chance.below(damaged.len() as u64)).unwrap();
            damaged[at] ^= 1 << chance.below(8);
        }
        damaged.truncate(damaged.len() - round * damaged.len() / 400);
        // Whatever it is, it must not break; what it shows is overwritten below.
        let _either = screen.show(&damaged, &[Rect::whole(SIZE)]);
    }
    screen.show(&unit, &[Rect::whole(SIZE)]).unwrap();
    assert!(screen.difference(&desktop, Rect::whole(SIZE)) <= 4);
}

#[test]
fn nothing_at_all_is_an_error() {
    let error = Screen::new().show(&[], &[Rect::whole(SIZE)]).unwrap_err();
    assert!(
        matches!(error, DecodeError::Empty | DecodeError::Refused(_)),
        "{error}"
    );
}
