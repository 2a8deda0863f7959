//! What x264 writes is decoded again: by a decoder that knows nothing of ours.
#![allow(
    clippy::unwrap_used,
    reason = "a panic is a failed test, in its helpers too"
)]

mod annexb;
mod desktop;
mod viewer;

use sandbox_hw::{
    Config, EncodeError, Encoder, I420, Invalidation, Kind, Quality, Rect, Request, open,
};
use sandbox_protocol::{Bitrate, Size};

use self::annexb::{Sps, kind, nals};
use self::desktop::Desktop;
use self::viewer::Viewer;

const SIZE: Size = Size {
    width: 640,
    height: 360,
};

const CONFIG: Config = Config {
    size: SIZE,
    fps_max: 60,
    bitrate: Bitrate::kbps(8_000),
    threads: 2,
};

#[test]
fn a_desktop_is_seen_as_it_was_drawn() {
    let mut path = Path::new(CONFIG);
    path.redraw(1);
    assert!(path.send(Kind::Auto, Quality::Fixed(14)).is_keyframe);
    assert_eq!(path.viewer.size, (640, 360));
    assert!(path.psnr() >= 45.0, "{} dB", path.psnr());
}

#[test]
fn a_fixed_quantiser_holds_whatever_the_link_carries() {
    let play = |bitrate| {
        let mut path = Path::new(CONFIG);
        path.encoder.set_bitrate(bitrate).unwrap();
        let mut slices = Vec::new();
        for (kind, qp) in [
            (Kind::Auto, 51),
            (Kind::Auto, 30),
            (Kind::Auto, 12),
            (Kind::Keyframe, 9),
            (Kind::Auto, 33),
            (Kind::Keyframe, 40),
            (Kind::Auto, 1),
        ] {
            path.redraw(u64::from(qp));
            let unit = path.send(kind, Quality::Fixed(qp));
            assert_eq!(unit.qp, qp);
            slices.extend(slices_of(&unit.bytes));
        }
        slices
    };
    let slow = play(Bitrate::kbps(300));
    assert!(slow == play(Bitrate::kbps(900_000)));
}

#[test]
fn a_frame_of_target_quality_leaves_no_trace_on_fixed_ones() {
    let mut path = Path::new(CONFIG);
    path.redraw(1);
    path.send(Kind::Auto, Quality::Fixed(30));
    path.encoder.set_bitrate(Bitrate::kbps(300)).unwrap();
    path.redraw(2);
    assert!(path.send(Kind::Auto, Quality::Target).qp > 40);
    path.redraw(3);
    assert_eq!(path.send(Kind::Auto, Quality::Fixed(16)).qp, 16);
    assert!(path.psnr() > 45.0, "{} dB", path.psnr());
    path.redraw(4);
    assert!(path.send(Kind::Auto, Quality::Target).qp > 40);
}

#[test]
fn refinement_sharpens_text_step_by_step_and_then_costs_nothing() {
    let mut path = Path::new(CONFIG);
    path.encoder.set_bitrate(Bitrate::kbps(1_000)).unwrap();
    path.redraw(1);
    path.send(Kind::Auto, Quality::Target);
    let mut psnr_before = path.psnr();
    for (qp, psnr_min) in [(24, 38.0), (18, 43.0), (14, 47.0)] {
        path.send(Kind::Auto, Quality::Fixed(qp));
        let psnr = path.psnr();
        assert!(psnr >= psnr_min && psnr > psnr_before, "QP {qp}: {psnr} dB");
        psnr_before = psnr;
    }
    path.send(Kind::Auto, Quality::Fixed(14));
    let rest = path.send(Kind::Auto, Quality::Fixed(14));
    assert!(rest.bytes.len() < 300, "{} bytes", rest.bytes.len());
}

#[test]
fn a_frame_keeps_to_its_share_of_the_link() {
    let share = 8_000_000 / 8 / 60;
    let mut path = Path::new(CONFIG);
    path.redraw(0);
    let unit = path.send(Kind::Auto, Quality::Target);
    assert!(
        unit.bytes.len() <= 4 * share,
        "keyframe of {}",
        unit.bytes.len()
    );
    for seed in 1..12 {
        path.redraw(seed);
        let unit = path.send(Kind::Auto, Quality::Target);
        assert!(!unit.is_keyframe);
        assert!(
            unit.bytes.len() <= share * 5 / 4,
            "{} bytes",
            unit.bytes.len()
        );
    }
    path.redraw(20);
    let unit = path.send(Kind::Keyframe, Quality::Target);
    assert!(unit.is_keyframe);
    assert!(
        unit.bytes.len() > share,
        "a keyframe may take more than one share"
    );
    assert!(
        unit.bytes.len() <= 4 * share,
        "keyframe of {}",
        unit.bytes.len()
    );
}

#[test]
fn a_bitrate_change_needs_no_keyframe() {
    let mut path = Path::new(CONFIG);
    path.redraw(0);
    path.send(Kind::Auto, Quality::Target);
    let mut mean_at = |kbps: u64, seed: u64| {
        path.encoder.set_bitrate(Bitrate::kbps(kbps)).unwrap();
        let sizes = (seed..seed + 6).map(|seed| {
            path.redraw(seed);
            let unit = path.send(Kind::Auto, Quality::Target);
            assert!(!unit.is_keyframe);
            unit.bytes.len()
        });
        sizes.sum::<usize>() / 6
    };
    let (slow, fast, slow_again) = (mean_at(2_000, 1), mean_at(16_000, 10), mean_at(2_000, 20));
    assert!(fast > slow * 3, "{slow} {fast}");
    assert!(slow_again < fast / 3, "{fast} {slow_again}");
}

#[test]
fn any_bitrate_from_nothing_to_everything_is_taken() {
    let mut path = Path::new(CONFIG);
    for (seed, bps) in [
        (1, 0),
        (2, u64::MAX),
        (3, 1),
        (4, 3_000_000_000),
        (5, 500_000),
    ] {
        path.encoder.set_bitrate(Bitrate::from_bps(bps)).unwrap();
        path.redraw(seed);
        path.send(Kind::Auto, Quality::Target);
        path.send(Kind::Keyframe, Quality::Target);
    }
}

#[test]
fn a_resize_begins_with_a_keyframe_of_the_new_size() {
    let mut path = Path::new(CONFIG);
    path.redraw(1);
    path.send(Kind::Auto, Quality::Target);
    for (width, height) in [(800, 600), (642, 362), (320, 200), (16, 16), (640, 360)] {
        let size = Size { width, height };
        path.encoder.resize(size).unwrap();
        assert_eq!(path.encoder.size(), size);
        path.frame = I420::new(size);
        assert!(path.send(Kind::Auto, Quality::Target).is_keyframe);
        assert_eq!(path.viewer.size, (width.into(), height.into()));
        assert!(!path.send(Kind::Auto, Quality::Target).is_keyframe);
    }
}

#[test]
fn a_refused_resize_leaves_the_encoder_as_it_was() {
    let mut path = Path::new(CONFIG);
    path.redraw(1);
    path.send(Kind::Auto, Quality::Target);
    for (width, height) in [(641, 360), (640, 359), (0, 0), (14, 360)] {
        let size = Size { width, height };
        let error = path.encoder.resize(size).unwrap_err();
        assert!(matches!(error, EncodeError::Size { size: it } if it == size));
    }
    assert!(!path.send(Kind::Auto, Quality::Target).is_keyframe);
}

#[test]
fn a_frame_of_another_size_is_refused_and_harms_nothing() {
    let mut path = Path::new(CONFIG);
    path.redraw(1);
    path.send(Kind::Auto, Quality::Target);
    let other = I420::new(Size {
        width: 320,
        height: 200,
    });
    let request = Request {
        pts: 2,
        kind: Kind::Auto,
        quality: Quality::Target,
    };
    let error = path.encoder.encode(&other, request).unwrap_err();
    assert_eq!(
        error.to_string(),
        "frame of 320x200 given to an encoder for 640x360"
    );
    path.redraw(2);
    assert!(!path.send(Kind::Auto, Quality::Target).is_keyframe);
}

#[test]
fn after_an_invalidation_the_next_frame_refers_to_none_of_the_lost_ones() {
    // Two streams differ in frames 3 and 4 alone. Frame 5 of one is shown after 3 and 4 of the
    // other: that is whole only if it refers to frame 2.
    let play = |seeds: [u64; 2], invalidated: bool| {
        let mut path = Path::new(CONFIG);
        let mut units = Vec::new();
        for seed in [1, 2, seeds[0], seeds[1]] {
            path.redraw(seed);
            units.push(path.send(Kind::Auto, Quality::Fixed(16)).bytes);
        }
        if invalidated {
            assert_eq!(path.encoder.invalidate(3), Invalidation::Avoided);
        }
        path.redraw(2);
        let last = path.send(Kind::Auto, Quality::Fixed(16));
        assert!(!last.is_keyframe);
        units.push(last.bytes);
        (units, path)
    };
    for invalidated in [true, false] {
        let (shown, _) = play([3, 4], invalidated);
        let (other, path) = play([13, 14], invalidated);
        let mut viewer = Viewer::new();
        for unit in shown[..4].iter().chain(&other[4..]) {
            viewer.show(unit);
        }
        let psnr = viewer.psnr(&path.frame, Rect::whole(SIZE));
        assert_eq!(psnr > 40.0, invalidated, "{psnr} dB");
    }
}

#[test]
fn with_every_kept_frame_lost_the_next_is_a_keyframe() {
    let mut path = Path::new(CONFIG);
    for seed in 1..=6 {
        path.redraw(seed);
        path.send(Kind::Auto, Quality::Target);
    }
    assert_eq!(path.encoder.invalidate(2), Invalidation::NeedsKeyframe);
    assert_eq!(path.encoder.invalidate(6), Invalidation::NeedsKeyframe);
    path.redraw(7);
    assert!(path.send(Kind::Auto, Quality::Target).is_keyframe);
    path.redraw(8);
    assert!(!path.send(Kind::Auto, Quality::Target).is_keyframe);
    assert_eq!(path.encoder.invalidate(8), Invalidation::Avoided);
    path.redraw(9);
    assert!(!path.send(Kind::Auto, Quality::Target).is_keyframe);
}

#[test]
fn the_stream_says_constrained_baseline_bt709_limited_and_no_reordering() {
    let mut path = Path::new(CONFIG);
    path.redraw(1);
    let unit = path.send(Kind::Auto, Quality::Target);
    assert!(unit.bytes.starts_with(&[0, 0, 0, 1]));
    let nals_of_first = nals(&unit.bytes);
    let of_kind = |wanted| nals_of_first.iter().filter(move |nal| kind(nal) == wanted);
    assert_eq!(of_kind(8).count(), 1);
    let sps = Sps::read(of_kind(7).next().unwrap());
    let expected = Sps {
        profile: 66,
        constraint_flags: 0xc0,
        level: 31,
        reference_frames: 4,
        full_range: 0,
        colours: [1, 1, 1],
        reorder_frames: 0,
    };
    assert_eq!(sps, expected);
    path.redraw(2);
    let unit = path.send(Kind::Auto, Quality::Target);
    assert!(nals(&unit.bytes).iter().all(|nal| kind(nal) == 1));
}

#[test]
#[should_panic(expected = "frame 1 after Some(1)")]
fn a_frame_name_given_twice_is_a_bug() {
    let mut path = Path::new(CONFIG);
    path.send(Kind::Auto, Quality::Target);
    path.pts = 0;
    path.send(Kind::Auto, Quality::Target);
}

#[test]
fn an_unknown_encoder_is_named_with_those_that_exist() {
    let error = open("h265_fpga", CONFIG).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no encoder is called \"h265_fpga\"; there are: auto, libx264"
    );
}

#[test]
fn an_encoder_may_be_used_on_another_thread() {
    let mut path = Path::new(CONFIG);
    path.send(Kind::Auto, Quality::Target);
    let Path {
        mut encoder, frame, ..
    } = path;
    let bytes = std::thread::spawn(move || {
        let request = Request {
            pts: 2,
            kind: Kind::Auto,
            quality: Quality::Target,
        };
        encoder.encode(&frame, request).unwrap().bytes.len()
    });
    assert!(bytes.join().unwrap() > 0);
}

/// One encoder, the frame it is given, and a viewer behind it.
struct Path {
    encoder: Box<dyn Encoder>,
    frame: I420,
    viewer: Viewer,
    pts: u64,
}

/// An access unit that outlives the encoder's buffer.
struct Unit {
    bytes: Vec<u8>,
    is_keyframe: bool,
    qp: u8,
}

impl Path {
    fn new(config: Config) -> Self {
        Self {
            encoder: open("auto", config).unwrap(),
            frame: I420::new(config.size),
            viewer: Viewer::new(),
            pts: 0,
        }
    }

    fn redraw(&mut self, seed: u64) {
        let desktop = Desktop::new(self.frame.size(), seed);
        let whole = Rect::whole(desktop.size);
        self.frame
            .update(&desktop.pixels, desktop.stride(), &[whole]);
    }

    #[track_caller]
    fn send(&mut self, kind: Kind, quality: Quality) -> Unit {
        self.pts += 1;
        let request = Request {
            pts: self.pts,
            kind,
            quality,
        };
        let unit = self.encoder.encode(&self.frame, request).unwrap();
        self.viewer.show(unit.bytes);
        Unit {
            bytes: unit.bytes.to_vec(),
            is_keyframe: unit.is_keyframe,
            qp: unit.qp,
        }
    }

    fn psnr(&self) -> f64 {
        self.viewer
            .psnr(&self.frame, Rect::whole(self.frame.size()))
    }
}

/// The slices of an access unit: all but parameter sets and x264's signature, which names its
/// settings.
fn slices_of(bytes: &[u8]) -> Vec<Vec<u8>> {
    let nals = nals(bytes).into_iter();
    nals.filter(|nal| kind(nal) <= 5)
        .map(<[u8]>::to_vec)
        .collect()
}
