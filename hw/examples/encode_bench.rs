//! Prints what the encoder costs and gives on a text desktop, 1920×1080.
//!
//! `cargo run --release -p sandbox-hw --example encode_bench -- [kbit/s] [threads] [encoder]`
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a bench measures time and prints what it finds"
)]

#[path = "../tests/desktop/mod.rs"]
mod desktop;
#[path = "../tests/viewer/mod.rs"]
mod viewer;

use std::time::Instant;

use sandbox_hw::{Config, Encoder, I420, Kind, Quality, Request};
use sandbox_protocol::{Bitrate, Rect, Size};

use self::desktop::Desktop;
use self::viewer::Viewer;

const SIZE: Size = Size {
    width: 1920,
    height: 1080,
};

/// One encoder, the frame it is given, and a viewer behind it.
struct Path {
    encoder: Box<dyn Encoder>,
    frame: I420,
    viewer: Viewer,
    pts: u64,
}

/// What one frame cost and gave.
#[derive(Clone, Copy)]
struct Cost {
    convert_ms: f64,
    encode_ms: f64,
    bytes: usize,
    qp: u8,
}

impl Path {
    fn new(config: Config) -> Self {
        let codec = std::env::args().nth(3);
        let codec = codec.as_deref().unwrap_or("auto");
        Self {
            encoder: sandbox_hw::open(codec, config).unwrap().encoder,
            frame: I420::new(SIZE),
            viewer: Viewer::new(),
            pts: 0,
        }
    }

    fn send(&mut self, desktop: &Desktop, damage: &[Rect], kind: Kind, quality: Quality) -> Cost {
        self.pts += 1;
        let request = Request {
            pts: self.pts,
            kind,
            quality,
        };
        let started = Instant::now();
        self.frame.update(&desktop.pixels, desktop.stride(), damage);
        let converted = Instant::now();
        let unit = self.encoder.encode(&self.frame, request).unwrap();
        let cost = Cost {
            convert_ms: (converted - started).as_secs_f64() * 1e3,
            encode_ms: converted.elapsed().as_secs_f64() * 1e3,
            bytes: unit.bytes.len(),
            qp: unit.qp,
        };
        self.viewer.show(unit.bytes);
        cost
    }

    /// Luma PSNR of the document's text.
    fn psnr(&self, desktop: &Desktop) -> f64 {
        self.viewer.psnr(&self.frame, desktop.document())
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let kbps = arguments.next().map_or(20_000, |it| it.parse().unwrap());
    let threads = arguments.next().map_or(2, |it| it.parse().unwrap());
    let config = Config {
        size: SIZE,
        fps_max: 60,
        bitrate: Bitrate::kbps(kbps),
        threads,
    };
    for found in sandbox_hw::probe() {
        println!("{}: {:?}", found.name, found.version);
    }
    println!(
        "{SIZE}, {kbps} kbit/s, {threads} threads, one frame's share {} B",
        kbps * 125 / 60
    );
    println!("encoder: {}", Path::new(config).encoder.name());
    live(config);
    refinement(config);
    large_changes(config);
}

/// Frames as they come while somebody works.
fn live(config: Config) {
    println!("\n| content | convert p50 ms | encode p50 | p95 | bytes p50 | max | qp p50 |");
    println!("|---|---|---|---|---|---|---|");
    let mut desktop = Desktop::new(SIZE, 1);
    let mut path = Path::new(config);
    path.send(&desktop, &[Rect::whole(SIZE)], Kind::Auto, Quality::Target);
    for _ in 0..4 {
        path.send(&desktop, &[], Kind::Auto, Quality::Fixed(16));
    }
    let print = |name: &str, mut costs: Vec<Cost>| {
        let mut at = |share: usize, key: fn(&Cost) -> f64| {
            costs.sort_by(|a, b| key(a).total_cmp(&key(b)));
            key(&costs[(costs.len() - 1) * share / 100])
        };
        println!(
            "| {name} | {:.3} | {:.2} | {:.2} | {} | {} | {} |",
            at(50, |it| it.convert_ms),
            at(50, |it| it.encode_ms),
            at(95, |it| it.encode_ms),
            at(50, |it| it.bytes as f64),
            at(100, |it| it.bytes as f64),
            at(50, |it| f64::from(it.qp)),
        );
    };
    let mut run = |name: &str, frames: u64, change: fn(&mut Desktop, u64) -> Vec<Rect>| {
        let costs = (0..frames)
            .map(|index| {
                let damage = change(&mut desktop, index);
                path.send(&desktop, &damage, Kind::Auto, Quality::Target)
            })
            .collect();
        print(name, costs);
    };
    run("nothing changed", 200, |_, _| Vec::new());
    run("one character", 300, |it, _| vec![it.type_character()]);
    run("64×64 of text", 200, |it, index| {
        vec![it.change_patch(index)]
    });
    run("scroll 1 line (16 px)", 60, |it, _| vec![it.scroll(1)]);
    run("scroll 3 lines (48 px)", 60, |it, _| vec![it.scroll(3)]);
    run("scroll 8 lines (128 px)", 60, |it, _| vec![it.scroll(8)]);
    run("whole screen", 20, |it, index| {
        *it = Desktop::new(SIZE, 50 + index);
        vec![Rect::whole(SIZE)]
    });
}

/// A coarse picture made sharp: what each way of steps costs.
fn refinement(config: Config) {
    println!("\n| step | encode ms | bytes | qp told | text PSNR dB |");
    println!("|---|---|---|---|---|");
    for steps in [
        [30, 24, 18, 14].as_slice(),
        &[24, 18, 14],
        &[24, 16],
        &[20, 14],
        &[18],
        &[16],
        &[14],
        &[12],
    ] {
        let desktop = Desktop::new(SIZE, 7);
        let mut path = Path::new(config);
        let damage = [Rect::whole(SIZE)];
        let first = path.send(&desktop, &damage, Kind::Auto, Quality::Target);
        let print = |name: String, cost: Cost, path: &Path| {
            println!(
                "| {name} | {:.1} | {} | {} | {:.1} |",
                cost.encode_ms,
                cost.bytes,
                cost.qp,
                path.psnr(&desktop)
            );
        };
        print(format!("{steps:?}: keyframe"), first, &path);
        let mut sum = 0;
        for qp in steps {
            let cost = path.send(&desktop, &[], Kind::Auto, Quality::Fixed(*qp));
            sum += cost.bytes;
            print(format!("→ {qp}"), cost, &path);
        }
        let again = path.send(
            &desktop,
            &[],
            Kind::Auto,
            Quality::Fixed(steps[steps.len() - 1]),
        );
        print(format!("the last again (steps {sum} B)"), again, &path);
    }
}

/// How far a large change overshoots one frame's share, and what follows it.
fn large_changes(config: Config) {
    println!(
        "\n| after a whole-screen change, target quality | encode ms | bytes | qp | text PSNR dB |"
    );
    println!("|---|---|---|---|---|");
    let mut path = Path::new(config);
    let whole = [Rect::whole(SIZE)];
    path.send(&Desktop::new(SIZE, 1), &whole, Kind::Auto, Quality::Target);
    let desktop = Desktop::new(SIZE, 2);
    for frame in 0..12 {
        let damage = if frame == 0 { whole.as_slice() } else { &[] };
        let cost = path.send(&desktop, damage, Kind::Auto, Quality::Target);
        println!(
            "| frame {frame} | {:.1} | {} | {} | {:.1} |",
            cost.encode_ms,
            cost.bytes,
            cost.qp,
            path.psnr(&desktop)
        );
    }
    let cost = path.send(&desktop, &[], Kind::Keyframe, Quality::Target);
    println!(
        "| keyframe | {:.1} | {} | {} | {:.1} |",
        cost.encode_ms,
        cost.bytes,
        cost.qp,
        path.psnr(&desktop)
    );
}
