//! AV1 in a process of its own: what it shows, how it is confined, and what follows from its end.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a panic is a failed test"
)]

mod confinement;
mod decoder;
#[path = "../fake/mod.rs"]
mod fake;
mod program;
#[path = "../../../hw/tests/av1/stream.rs"]
mod stream;

use std::path::PathBuf;
use std::sync::OnceLock;

use sandbox_hw::{Av1Decoder, Target};
use sandbox_protocol::screen::Picture;
use sandbox_protocol::{Pixel, Rect};

use self::stream::{SIZE, units};

/// The program under test.
fn client() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_sandbox-client"))
}

/// Pixels as decoders write them.
struct Canvas(Vec<u8>);

impl Canvas {
    fn new() -> Self {
        Self(vec![0; 4 * Rect::whole(SIZE).area()])
    }

    fn target(&mut self) -> Target<'_> {
        Target {
            pixels: &mut self.0,
            stride: 4 * usize::from(SIZE.width),
            size: SIZE,
        }
    }

    fn pixels(&self) -> Vec<Pixel> {
        let pixels = self.0.chunks_exact(4);
        pixels
            .map(|it| u32::from_le_bytes([it[0], it[1], it[2], 0]))
            .collect()
    }
}

/// The pictures of the stream, as the library in this process decodes them.
fn pictures() -> &'static [Vec<Pixel>] {
    static PICTURES: OnceLock<Vec<Vec<Pixel>>> = OnceLock::new();
    PICTURES.get_or_init(|| {
        let mut decoder = Av1Decoder::new().unwrap();
        let decode = |unit: &Vec<u8>| {
            let mut canvas = Canvas::new();
            let decoded = decoder.decode(unit, SIZE).unwrap();
            decoded
                .planes
                .paint(Rect::whole(SIZE), &mut canvas.target())
                .unwrap();
            canvas.pixels()
        };
        units().iter().map(decode).collect()
    })
}

/// The hash of a picture over which a rectangle of another one is painted.
fn hash_with(under: &[Pixel], over: &[Pixel], rect: Rect) -> u128 {
    let width = usize::from(SIZE.width);
    let mut pixels = under.to_vec();
    for y in usize::from(rect.y)..usize::from(rect.bottom()) {
        let row = y * width + usize::from(rect.x)..y * width + usize::from(rect.right());
        pixels[row.clone()].copy_from_slice(&over[row]);
    }
    let mut picture = Picture::new(SIZE);
    picture.write(Rect::whole(SIZE), &pixels);
    picture.hash()
}

/// What `/proc` says of a process under a name.
fn status(process: u32, name: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix(name));
    line.unwrap().trim_start_matches(':').trim().to_owned()
}

fn signal(process: u32, name: &str) {
    let process = process.to_string();
    let mut kill = std::process::Command::new("kill");
    assert!(kill.args([name, &process]).status().unwrap().success());
}
