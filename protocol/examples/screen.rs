//! Measures the screen layer on real desktops: bytes and microseconds, as a table.
//!
//! `Xvfb :9 -screen 0 1920x1080x24 -fbdir DIR` keeps the framebuffer in `DIR/Xvfb_screen0`; copies
//! of that file are what this takes, all of one size:
//! `cargo run --release -p sandbox-protocol --example screen -- FILE...`
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench: it looks at the clock, prints a table, and ends where it cannot go on"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sandbox_protocol::screen::coding::{Coded, Coder, Decoder};
use sandbox_protocol::screen::{Composer, Frame, Grid, Picture, Shadow, VideoSource, View};
use sandbox_protocol::wire::update::{Draft, Header, Lapse, Update};
use sandbox_protocol::{Rect, Size};

const ROUNDS: u32 = 20;

/// A framebuffer's file: an XWD header, then rows of BGRX.
struct Screen {
    size: Size,
    stride: usize,
    bytes: Vec<u8>,
}

impl Screen {
    fn read(path: &str) -> Self {
        let file = std::fs::read(path).unwrap();
        // XWDFile.h: big-endian words.
        let word = |n: usize| {
            let bytes = file.get(n * 4..).and_then(<[u8]>::first_chunk).unwrap();
            u32::from_be_bytes(*bytes) as usize
        };
        let pixels = word(0) + word(19) * 12;
        Self {
            size: Size {
                width: u16::try_from(word(4)).unwrap(),
                height: u16::try_from(word(5)).unwrap(),
            },
            stride: word(12),
            bytes: file.get(pixels..).unwrap().to_vec(),
        }
    }

    fn view(&self) -> View<'_> {
        View::new(&self.bytes, self.stride, self.size)
    }
}

struct NoVideo;

impl VideoSource for NoVideo {
    fn show(&mut self, _: &[u8], _: &[Rect], _: &mut Picture) -> bool {
        false
    }
}

#[derive(Default)]
struct Sum {
    tiles: u32,
    bytes: usize,
    encode: Duration,
    decode: Duration,
}

fn main() {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let screens: Vec<Screen> = paths.iter().map(|it| Screen::read(it)).collect();
    println!("| form | tiles | bytes a tile | encode us | decode us |\n|---|---|---|---|---|");
    let mut sums = BTreeMap::new();
    for screen in &screens {
        measure_tiles(screen, &mut sums);
    }
    for (form, sum) in &sums {
        let each = f64::from(sum.tiles);
        let micros = |it: Duration| it.as_secs_f64() * 1e6 / each;
        println!(
            "| {form} | {} | {} | {:.1} | {:.1} |",
            sum.tiles,
            sum.bytes / sum.tiles as usize,
            micros(sum.encode),
            micros(sum.decode)
        );
    }
    println!("\n| update | bytes | compose ms | apply ms |\n|---|---|---|---|");
    let mut rounds: Vec<Vec<Step>> = (0..ROUNDS).map(|_| measure_updates(&screens)).collect();
    let steps = rounds.pop().unwrap_or_default().into_iter().enumerate();
    for (n, step) in steps {
        let same = || rounds.iter().filter_map(|it| it.get(n));
        let millis = |it: Option<Duration>| it.unwrap_or_default().as_secs_f64() * 1e3;
        println!(
            "| {} | {} | {:.2} | {:.2} |",
            step.what,
            step.bytes,
            millis(same().map(|it| it.compose).min()),
            millis(same().map(|it| it.apply).min())
        );
    }
}

/// One update.
struct Step {
    what: &'static str,
    bytes: usize,
    compose: Duration,
    apply: Duration,
}

fn measure_tiles(screen: &Screen, sums: &mut BTreeMap<String, Sum>) {
    let mut pair = Pair::new(screen.size);
    pair.show("", &screen.view());
    let picture = pair.shadow.picture();
    let grid = Grid::new(screen.size);
    let (mut coder, mut decoder) = (Coder::default(), Decoder::default());
    for rect in grid.tiles().filter_map(|it| grid.rect(it)) {
        let mut pixels = Vec::new();
        picture.read(rect, &mut pixels);
        let encode = best(|| {
            coder.encode(&pixels, rect.width);
        });
        let (form, bytes, decode) = match coder.encode(&pixels, rect.width) {
            Coded::Solid(_) => ("Solid".to_owned(), 3, Duration::ZERO),
            Coded::Tile(coding, bytes) => {
                let decode = best(|| {
                    decoder
                        .decode(coding, bytes, rect.width, &mut pixels)
                        .unwrap();
                });
                let packed = if coding.is_packed { " packed" } else { "" };
                (format!("{:?}{packed}", coding.form), bytes.len(), decode)
            }
        };
        let sum = sums.entry(form).or_default();
        sum.tiles += 1;
        sum.bytes += bytes;
        sum.encode += encode;
        sum.decode += decode;
    }
}

/// The quickest of many rounds: what it takes when nothing else runs.
fn best(mut round: impl FnMut()) -> Duration {
    let rounds = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        round();
        start.elapsed()
    });
    rounds.min().unwrap_or_default()
}

/// Both ends.
struct Pair {
    composer: Composer,
    shadow: Shadow,
    draft: Draft,
    whole: Option<Size>,
}

impl Pair {
    fn new(size: Size) -> Self {
        Self {
            composer: Composer::new(size, 4096, 1),
            shadow: Shadow::new(4096),
            draft: Draft::default(),
            whole: Some(size),
        }
    }

    /// Sends a picture, all of it damaged.
    fn show(&mut self, what: &'static str, view: &View<'_>) -> Step {
        self.show_within(what, view, Rect::whole(view.size()))
    }

    /// Sends a picture.
    fn show_within(&mut self, what: &'static str, view: &View<'_>, damage: Rect) -> Step {
        self.draft.clear();
        let start = Instant::now();
        let frame = Frame {
            picture: *view,
            damage: &[damage],
            video: &[],
        };
        self.composer.compose(&frame, usize::MAX, &mut self.draft);
        let compose = start.elapsed();
        let bytes = self.draft.finish(&Header {
            whole: self.whole.take(),
            is_refinement: false,
            qp: 0,
            input_seq: 0,
            captured: 0,
            lag: Lapse::default(),
            encode: Lapse::default(),
        });
        let start = Instant::now();
        let update = Update::decode(bytes).unwrap();
        self.shadow.apply(&update, &mut NoVideo).unwrap();
        let apply = start.elapsed();
        assert_eq!(
            self.shadow.picture().hash(),
            self.composer.picture().hash(),
            "both ends show the same"
        );
        let bytes = bytes.len();
        Step {
            what,
            bytes,
            compose,
            apply,
        }
    }
}

fn measure_updates(screens: &[Screen]) -> Vec<Step> {
    let Some(first) = screens.first() else {
        return Vec::new();
    };
    let mut pair = Pair::new(first.size);
    let mut steps = vec![
        pair.show("first picture", &first.view()),
        pair.show("damage without a change", &first.view()),
    ];
    for other in screens.get(1..).unwrap_or_default() {
        steps.push(pair.show("to another screen", &other.view()));
        steps.push(pair.show("and back", &first.view()));
        steps.push(pair.show("there again", &other.view()));
        steps.push(pair.show("and back again", &first.view()));
    }
    // All of it upwards: the lowest rows stay, as if they had been written anew.
    let mut moved = first.bytes.clone();
    moved.copy_within(48 * first.stride.., 0);
    let moved = View::new(&moved, first.stride, first.size);
    steps.push(pair.show("scrolled by 48 rows", &moved));
    steps.push(pair.show("and back", &first.view()));
    steps.extend(measure_changes(first));
    steps
}

/// What happens within one window.
fn measure_changes(screen: &Screen) -> Vec<Step> {
    let mut pair = Pair::new(screen.size);
    pair.show("first picture", &screen.view());
    let mut bytes = screen.bytes.clone();
    let window = Rect::between(860, 80, 1700, 720);
    let rows = |bytes: &mut [u8], rect: Rect, each: &mut dyn FnMut(&mut [u8])| {
        let columns = usize::from(rect.x) * 4..usize::from(rect.right()) * 4;
        let rows = bytes.chunks_mut(screen.stride).skip(rect.y.into());
        for row in rows.take(rect.height.into()) {
            each(row.get_mut(columns.clone()).unwrap());
        }
    };
    let letter = Rect::between(900, 300, 910, 316);
    let line = Rect::between(860, 300, 1700, 316);
    rows(&mut bytes, letter, &mut |row| row.rotate_right(4));
    let view = View::new(&bytes, screen.stride, screen.size);
    let typed = pair.show_within("a letter, in the damage of its line", &view, line);
    let by = 18;
    let mut bytes = bytes.clone();
    let mut lower: Vec<Vec<u8>> = Vec::new();
    rows(&mut bytes, window, &mut |row| lower.push(row.to_vec()));
    // What leaves at the top comes in at the bottom.
    lower.rotate_left(by);
    let mut from = lower.iter();
    rows(&mut bytes, window, &mut |row| {
        row.copy_from_slice(from.next().unwrap())
    });
    let view = View::new(&bytes, screen.stride, screen.size);
    let scrolled = pair.show_within("a window of 840x640 scrolled by a line", &view, window);
    vec![typed, scrolled]
}
