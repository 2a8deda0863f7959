//! What each encoder writes is decoded again: by a decoder that knows nothing of ours.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a panic is a failed test, in its helpers too; a seed is told"
)]

mod annexb;
mod desktop;
mod path;
mod viewer;

use sandbox_hw::{
    Config, EncodeError, I420, Invalidation, Kind, Quality, Request, is_keyframe, open,
};
use sandbox_protocol::{Bitrate, Size};

use self::annexb::{Sps, kind, nals};
use self::desktop::{Chance, Desktop};
use self::path::{CONFIG, Path, SIZE};

/// Runs each test once for each encoder.
macro_rules! with_each_encoder {
    ($($test:ident)*) => {
        mod libx264 {
            $(#[test] fn $test() { super::$test("libx264"); })*
        }
        mod openh264 {
            $(#[test] fn $test() { super::$test("openh264"); })*
        }
    };
}

with_each_encoder! {
    a_desktop_is_seen_as_it_was_drawn
    a_fixed_quantiser_holds_whatever_the_link_carries
    a_frame_of_target_quality_leaves_no_trace_on_fixed_ones
    refinement_sharpens_text_step_by_step_and_then_costs_nothing
    a_frame_keeps_to_its_share_of_the_link
    a_bitrate_change_needs_no_keyframe
    any_bitrate_from_nothing_to_everything_is_taken
    a_resize_begins_with_a_keyframe_of_the_new_size
    a_refused_resize_leaves_the_encoder_as_it_was
    a_frame_of_another_size_is_refused_and_harms_nothing
    what_is_not_said_to_have_changed_is_passed_over
    two_frames_given_in_turn_are_not_taken_for_one
    any_number_of_threads_will_do
    any_order_of_calls_gives_a_stream_that_shows_every_frame
    the_stream_says_constrained_baseline_bt709_limited_and_no_reordering
    an_encoder_may_be_used_on_another_thread
    a_lost_frame_is_never_referred_to
}

fn a_desktop_is_seen_as_it_was_drawn(codec: &str) {
    let mut path = Path::new(codec, CONFIG);
    path.redraw(1);
    assert!(path.send(Kind::Auto, Quality::Fixed(14)).is_keyframe);
    assert_eq!(path.viewer.size, (640, 360));
    assert!(path.psnr() >= 45.0, "{} dB", path.psnr());
}

fn a_fixed_quantiser_holds_whatever_the_link_carries(codec: &str) {
    let play = |bitrate| {
        let mut path = Path::new(codec, CONFIG);
        path.encoder.set_bitrate(bitrate).unwrap();
        let mut slices = Vec::new();
        for (kind, qp) in [
            (Kind::Auto, 51),
            (Kind::Auto, 30),
            (Kind::Auto, 12),
            (Kind::Keyframe, 9),
            (Kind::Auto, 33),
            (Kind::Keyframe, 40),
            (Kind::Auto, 2),
            (Kind::Keyframe, 2),
        ] {
            path.redraw(u64::from(qp));
            let unit = path.send(kind, Quality::Fixed(qp));
            assert_eq!(unit.qp, qp);
            assert_eq!(
                unit.is_keyframe,
                kind == Kind::Keyframe || slices.is_empty()
            );
            assert_eq!(is_keyframe(&unit.bytes), unit.is_keyframe);
            slices.extend(slices_of(&unit.bytes));
        }
        slices
    };
    let slow = play(Bitrate::kbps(300));
    assert!(slow == play(Bitrate::kbps(900_000)));
}

fn a_frame_of_target_quality_leaves_no_trace_on_fixed_ones(codec: &str) {
    let mut path = Path::new(codec, CONFIG);
    path.redraw(1);
    path.send(Kind::Auto, Quality::Fixed(30));
    path.encoder.set_bitrate(Bitrate::kbps(300)).unwrap();
    path.redraw(2);
    assert!(path.send(Kind::Auto, Quality::Target).qp > 40);
    path.redraw(3);
    assert_eq!(path.send(Kind::Auto, Quality::Fixed(16)).qp, 16);
    assert!(path.psnr() > 43.0, "{} dB", path.psnr());
    path.redraw(4);
    assert!(path.send(Kind::Auto, Quality::Target).qp > 40);
}

fn refinement_sharpens_text_step_by_step_and_then_costs_nothing(codec: &str) {
    let mut path = Path::new(codec, CONFIG);
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
    assert!(rest.bytes.len() < 600, "{} bytes", rest.bytes.len());
}

fn a_frame_keeps_to_its_share_of_the_link(codec: &str) {
    let share = 8_000_000 / 8 / 60;
    let mut path = Path::new(codec, CONFIG);
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

fn a_bitrate_change_needs_no_keyframe(codec: &str) {
    let mut path = Path::new(codec, CONFIG);
    let adds_keyframes = path.encoder.capabilities().adds_keyframes;
    path.redraw(0);
    path.send(Kind::Auto, Quality::Target);
    let mut mean_at = |kbps: u64, seed: u64| {
        path.encoder.set_bitrate(Bitrate::kbps(kbps)).unwrap();
        let sizes = (seed..seed + 6).map(|seed| {
            path.redraw(seed);
            let unit = path.send(Kind::Auto, Quality::Target);
            assert!(adds_keyframes || !unit.is_keyframe);
            unit.bytes.len()
        });
        sizes.sum::<usize>() / 6
    };
    let (slow, fast, slow_again) = (mean_at(2_000, 1), mean_at(16_000, 10), mean_at(2_000, 20));
    assert!(fast > slow * 3, "{slow} {fast}");
    assert!(slow_again < fast / 3, "{fast} {slow_again}");
}

fn any_bitrate_from_nothing_to_everything_is_taken(codec: &str) {
    let mut path = Path::new(codec, CONFIG);
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

fn a_resize_begins_with_a_keyframe_of_the_new_size(codec: &str) {
    let mut path = Path::new(codec, CONFIG);
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

fn a_refused_resize_leaves_the_encoder_as_it_was(codec: &str) {
    let mut path = Path::new(codec, CONFIG);
    path.redraw(1);
    path.send(Kind::Auto, Quality::Target);
    for (width, height) in [(641, 360), (640, 359), (0, 0), (14, 360)] {
        let size = Size { width, height };
        let error = path.encoder.resize(size).unwrap_err();
        assert!(matches!(error, EncodeError::Size { size: it } if it == size));
    }
    assert!(!path.send(Kind::Auto, Quality::Target).is_keyframe);
}

fn a_frame_of_another_size_is_refused_and_harms_nothing(codec: &str) {
    let mut path = Path::new(codec, CONFIG);
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

fn what_is_not_said_to_have_changed_is_passed_over(codec: &str) {
    let mut path = Path::new(codec, CONFIG);
    path.redraw(1);
    let whole = path.send(Kind::Auto, Quality::Fixed(20)).bytes.len();
    path.send(Kind::Auto, Quality::Fixed(20));
    let mut desktop = Desktop::new(SIZE, 1);
    for _ in 0..40 {
        let cell = desktop.type_character();
        path.frame
            .update(&desktop.pixels, desktop.stride(), &[cell]);
        let unit = path.send(Kind::Auto, Quality::Fixed(20));
        assert!(unit.bytes.len() < whole / 10);
        assert!(path.viewer.psnr(&path.frame, cell) > 35.0);
    }
    assert!(path.psnr() > 40.0);
}

fn two_frames_given_in_turn_are_not_taken_for_one(codec: &str) {
    let mut path = Path::new(codec, CONFIG);
    let mut other = Path::new(codec, CONFIG);
    path.redraw(1);
    other.redraw(2);
    for _ in 0..4 {
        path.send(Kind::Auto, Quality::Fixed(18));
        assert!(path.psnr() > 40.0, "{} dB", path.psnr());
        std::mem::swap(&mut path.frame, &mut other.frame);
    }
}

fn any_number_of_threads_will_do(codec: &str) {
    for threads in [0, 1, 3, 255] {
        let mut path = Path::new(codec, Config { threads, ..CONFIG });
        for seed in 1..4 {
            path.redraw(seed);
            path.send(Kind::Auto, Quality::Fixed(18));
            assert!(path.psnr() > 40.0, "{threads} threads: {} dB", path.psnr());
        }
    }
}

fn any_order_of_calls_gives_a_stream_that_shows_every_frame(codec: &str) {
    const SEED: u64 = 11;
    println!("seed {SEED}");
    let mut chance = Chance::new(SEED);
    let mut path = Path::new(codec, CONFIG);
    for step in 0..400 {
        match chance.below(10) {
            0 => {
                let width = u16::try_from(320 + 2 * chance.below(200)).unwrap();
                let height = u16::try_from(200 + 2 * chance.below(100)).unwrap();
                let size = Size { width, height };
                path.encoder.resize(size).unwrap();
                path.frame = I420::new(size);
                path.redraw(step);
            }
            1 | 2 => {
                let rate = Bitrate::kbps(chance.below(40_000));
                path.encoder.set_bitrate(rate).unwrap();
            }
            3 => {
                _ = path
                    .encoder
                    .invalidate(path.pts.saturating_sub(chance.below(6)))
            }
            4 | 5 => path.redraw(step),
            _ => (),
        }
        let kind = match chance.below(12) {
            0 => Kind::Keyframe,
            _ => Kind::Auto,
        };
        let qp = u8::try_from(chance.below(60)).unwrap();
        let quality = match chance.below(3) {
            0 => Quality::Fixed(qp),
            _ => Quality::Target,
        };
        let unit = path.send(kind, quality);
        assert!(kind == Kind::Auto || unit.is_keyframe, "step {step}");
        if quality == Quality::Fixed(qp) && qp <= 20 {
            assert!(path.psnr() > 40.0, "step {step}: {} dB", path.psnr());
        }
    }
}

fn the_stream_says_constrained_baseline_bt709_limited_and_no_reordering(codec: &str) {
    let mut path = Path::new(codec, CONFIG);
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
        reference_frames: if path.encoder.capabilities().can_invalidate {
            4
        } else {
            1
        },
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
    let mut path = Path::new("auto", CONFIG);
    path.send(Kind::Auto, Quality::Target);
    path.pts = 0;
    path.send(Kind::Auto, Quality::Target);
}

#[test]
fn an_unknown_encoder_is_named_with_those_that_exist() {
    let error = open("h265_fpga", CONFIG).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no encoder is called \"h265_fpga\"; there are: auto, libx264, openh264"
    );
}

fn a_lost_frame_is_never_referred_to(codec: &str) {
    let mut path = Path::new(codec, CONFIG);
    path.redraw(1);
    path.send(Kind::Auto, Quality::Target);
    path.redraw(2);
    path.send(Kind::Auto, Quality::Target);
    let can_avoid = path.encoder.capabilities().can_invalidate;
    let avoided = path.encoder.invalidate(2) == Invalidation::Avoided;
    assert_eq!(avoided, can_avoid);
    assert_eq!(path.send(Kind::Auto, Quality::Target).is_keyframe, !avoided);
    assert!(!path.send(Kind::Auto, Quality::Target).is_keyframe);
}

fn an_encoder_may_be_used_on_another_thread(codec: &str) {
    let mut path = Path::new(codec, CONFIG);
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

/// The slices of an access unit: all but parameter sets and x264's signature, which names its
/// settings.
fn slices_of(bytes: &[u8]) -> Vec<Vec<u8>> {
    let nals = nals(bytes).into_iter();
    nals.filter(|nal| kind(nal) <= 5)
        .map(<[u8]>::to_vec)
        .collect()
}
