//! The x264 backend: which settings suit a desktop, and what a request means to x264.
//!
//! Rate control is "quality first": every frame starts at [`QP_TARGET`], and x264's VBV makes it
//! coarser where it would not fit one frame's share of the link.

mod sys;

use std::collections::VecDeque;
use std::sync::Arc;

use sandbox_protocol::{Bitrate, Size};

use self::sys::{Api, Handle, Order, Params};
use crate::I420;
use crate::encoder::{
    AccessUnit, Capabilities, Config, EncodeError, Encoder, Invalidation, Kind, Quality, Request,
};

/// The encoder's name, as in `VIDEO_CODEC`.
pub(crate) const NAME: &str = "libx264";

/// Quantiser while the link has room: text is readable and a full screen still codes in 25 ms.
const QP_TARGET: u8 = 20;

/// Frames' worth of the link that a keyframe may take; at 1080p of text one frame's worth of
/// 20 Mbit/s means QP 41, four mean 30.
const KEYFRAME_SHARE: u64 = 4;

/// Frames the decoder keeps, so that a lost one can be referred around. Level 4 allows four at
/// 1920×1080; each costs 4 MB there.
const FRAMES_KEPT: usize = 4;

/// x264 stops within half a step above its limit and rounds to the nearest quantiser: this much
/// below the wanted one both ends round to it.
const FIXED_BELOW: f64 = 0.4;

/// x264 wants at least 1 kbit in a frame's share, and 32-bit bits per second.
const KBPS_MIN: u64 = 256;
const KBPS_MAX: u64 = 1_000_000;

/// Smallest side: one macroblock.
const SIDE_MIN: u16 = 16;

/// ITU-T H.264, table A-1: level, macroblocks per second, per frame, and in the decoder's buffer.
/// The bitrate is left out: what the link carries changes, and a decoder may refuse a level.
const LEVELS: [(&str, u32, u32, u32); 8] = [
    ("3", 40_500, 1_620, 8_100),
    ("3.1", 108_000, 3_600, 18_000),
    ("3.2", 216_000, 5_120, 20_480),
    ("4", 245_760, 8_192, 32_768),
    ("4.2", 522_240, 8_704, 34_816),
    ("5", 589_824, 22_080, 110_400),
    ("5.1", 983_040, 36_864, 184_320),
    ("5.2", 2_073_600, 36_864, 184_320),
];

/// x264 behind [`Encoder`].
#[derive(Debug)]
pub(crate) struct X264 {
    api: Arc<Api>,
    config: Config,
    handle: Handle,
    /// Room for the handle's parameters.
    params: Params,
    /// What the handle was last told about rates.
    rate: Rate,
    next: Next,
    kept: Kept,
    pts_last: Option<u64>,
}

/// What the next access unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The first of a handle: a keyframe.
    First,
    /// Refers to others.
    Following,
    /// No intact frame is left to refer to.
    MustBeKeyframe,
}

/// x264's rate control settings. With quantiser compression off, CRF is the quantiser itself.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rate {
    crf: f64,
    crf_max: f64,
    kbps: u64,
    frame_kbit: u64,
}

impl Rate {
    fn new(config: &Config, quality: Quality, frames: u64) -> Self {
        let kbps = config.bitrate.as_kbps().clamp(KBPS_MIN, KBPS_MAX);
        // No larger than x264's own quotient: then it plans each frame for itself, and a frame
        // that was cheap leaves nothing for the next to be late with.
        let frame_kbit = (kbps * frames / u64::from(config.fps_max.max(1))).max(1);
        let (crf, crf_max) = match quality {
            // The upper end is out of reach: VBV alone decides.
            Quality::Target => (f64::from(QP_TARGET), 99.0),
            Quality::Fixed(qp) => {
                let below = f64::from(fixed(qp)) - FIXED_BELOW;
                (below, below + 0.01)
            }
        };
        Self {
            crf,
            crf_max,
            kbps,
            frame_kbit,
        }
    }

    fn settings(&self) -> [(&'static str, String); 4] {
        [
            ("crf", self.crf.to_string()),
            ("crf-max", self.crf_max.to_string()),
            ("vbv-maxrate", self.kbps.to_string()),
            ("vbv-bufsize", self.frame_kbit.to_string()),
        ]
    }
}

/// A quantiser that 8-bit H.264 has and that is not lossless, which Baseline lacks.
fn fixed(qp: u8) -> u8 {
    qp.clamp(1, 51)
}

/// The frames that encoder and decoder both keep, oldest first.
#[derive(Debug, Default)]
struct Kept(VecDeque<(u64, Intact)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Intact {
    Yes,
    No,
}

impl Kept {
    fn push(&mut self, pts: u64, is_keyframe: bool) {
        if is_keyframe {
            self.0.clear();
        }
        if self.0.len() == FRAMES_KEPT {
            self.0.pop_front();
        }
        self.0.push_back((pts, Intact::Yes));
    }

    fn lose_from(&mut self, pts: u64) -> Invalidation {
        for (kept, intact) in &mut self.0 {
            if *kept >= pts {
                *intact = Intact::No;
            }
        }
        if self.0.iter().any(|(_, intact)| *intact == Intact::Yes) {
            Invalidation::Avoided
        } else {
            Invalidation::NeedsKeyframe
        }
    }
}

/// What library there is, in words.
pub(crate) fn version() -> Result<String, EncodeError> {
    let api = load()?;
    preset(&api)?;
    Ok(format!("x264 build {}", api.build()))
}

impl X264 {
    /// Loads the library and opens an encoder.
    pub(crate) fn open(config: Config) -> Result<Self, EncodeError> {
        let api = load()?;
        check_size(config.size)?;
        let rate = Rate::new(&config, Quality::Target, KEYFRAME_SHARE);
        let mut params = preset(&api)?;
        let handle = open_handle(&api, &mut params, &config, rate)?;
        tracing::debug!(build = api.build(), size = %config.size, threads = config.threads, "x264");
        Ok(Self {
            api,
            config,
            handle,
            params,
            rate,
            next: Next::First,
            kept: Kept::default(),
            pts_last: None,
        })
    }

    /// A keyframe is the first of a new handle: only there x264 forgets the quantisers of the
    /// frames before, and lets it take more than one frame's share of the link.
    fn restart(&mut self, config: Config, rate: Rate) -> Result<(), EncodeError> {
        self.params = preset(&self.api)?;
        self.handle = open_handle(&self.api, &mut self.params, &config, rate)?;
        self.config = config;
        self.rate = rate;
        self.next = Next::First;
        Ok(())
    }

    fn apply(&mut self, rate: Rate) -> Result<(), EncodeError> {
        self.handle.read_params(&mut self.params);
        set(&self.api, &mut self.params, &rate.settings())?;
        if !self.handle.reconfigure(&mut self.params) {
            return Err(refused("rate", format!("{rate:?}")));
        }
        self.rate = rate;
        Ok(())
    }

    /// Brings the handle to where it can code the requested frame.
    fn prepare(&mut self, request: Request) -> Result<(), EncodeError> {
        let is_keyframe_wanted = match self.next {
            Next::First => false,
            Next::Following => request.kind == Kind::Keyframe,
            Next::MustBeKeyframe => true,
        };
        if is_keyframe_wanted || self.next == Next::First {
            let rate = Rate::new(&self.config, request.quality, KEYFRAME_SHARE);
            if is_keyframe_wanted || rate != self.rate {
                self.restart(self.config, rate)?;
            }
            return Ok(());
        }
        let rate = Rate::new(&self.config, request.quality, 1);
        if rate != self.rate {
            self.apply(rate)?;
        }
        Ok(())
    }
}

impl Encoder for X264 {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            can_invalidate: true,
            can_fix_quality: true,
            delay_frames: 0,
        }
    }

    fn size(&self) -> Size {
        self.config.size
    }

    fn encode(&mut self, frame: &I420, request: Request) -> Result<AccessUnit<'_>, EncodeError> {
        assert!(
            self.pts_last.is_none_or(|last| last < request.pts),
            "frame {} after {:?}",
            request.pts,
            self.pts_last
        );
        if frame.size() != self.config.size {
            return Err(EncodeError::FrameSize {
                frame: frame.size(),
                encoder: self.config.size,
            });
        }
        self.prepare(request)?;
        let order = Order {
            pts: signed(request.pts),
            is_idr: self.next == Next::First,
            qp: match request.quality {
                Quality::Target => None,
                Quality::Fixed(qp) => Some(fixed(qp)),
            },
        };
        self.pts_last = Some(request.pts);
        let coded = self
            .handle
            .encode(frame, order)
            .map_err(|code| EncodeError::Encode {
                encoder: NAME,
                pts: request.pts,
                code,
            })?;
        self.next = Next::Following;
        self.kept.push(request.pts, coded.is_keyframe);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "held within what a quantiser can be"
        )]
        let qp = coded.crf_average.round().clamp(0.0, 51.0) as u8;
        Ok(AccessUnit {
            bytes: coded.bytes,
            is_keyframe: coded.is_keyframe,
            qp,
        })
    }

    fn set_bitrate(&mut self, bitrate: Bitrate) -> Result<(), EncodeError> {
        // Told to x264 with the next frame, together with the quality wanted then.
        self.config.bitrate = bitrate;
        Ok(())
    }

    fn resize(&mut self, size: Size) -> Result<(), EncodeError> {
        check_size(size)?;
        let config = Config {
            size,
            ..self.config
        };
        self.restart(config, Rate::new(&config, Quality::Target, KEYFRAME_SHARE))
    }

    fn invalidate(&mut self, pts: u64) -> Invalidation {
        let outcome = match self.next {
            Next::First | Next::MustBeKeyframe => Invalidation::NeedsKeyframe,
            Next::Following => self.kept.lose_from(pts),
        };
        let outcome = match outcome {
            Invalidation::Avoided if self.handle.invalidate(signed(pts)) => Invalidation::Avoided,
            Invalidation::Avoided | Invalidation::NeedsKeyframe => Invalidation::NeedsKeyframe,
        };
        if outcome == Invalidation::NeedsKeyframe && self.next == Next::Following {
            self.next = Next::MustBeKeyframe;
        }
        outcome
    }
}

/// The newest library whose layout is known.
fn load() -> Result<Arc<Api>, EncodeError> {
    let mut tried = Vec::new();
    for build in sys::BUILDS {
        match Api::load(build) {
            Ok(api) => return Ok(Arc::new(api)),
            Err(error) => tried.push(error.to_string()),
        }
    }
    Err(missing(format!("tried {}", tried.join("; "))))
}

fn preset(api: &Api) -> Result<Params, EncodeError> {
    Params::preset(api, c"ultrafast", c"zerolatency").map_err(|error| {
        let build = api.build();
        missing(format!(
            "libx264.so.{build} has an unknown layout ({error})"
        ))
    })
}

/// Opens a handle with `params`, which hold the preset.
fn open_handle(
    api: &Arc<Api>,
    params: &mut Params,
    config: &Config,
    rate: Rate,
) -> Result<Handle, EncodeError> {
    params.set_size(config.size);
    set(api, params, &settings(config))?;
    set(api, params, &rate.settings())?;
    if !params.apply_profile(api, c"baseline") {
        return Err(refused("profile", "baseline".to_owned()));
    }
    Handle::open(api, params).ok_or_else(|| refused("parameters", format!("{config:?}")))
}

/// The lowest level that holds such frames; the highest where none does.
fn level(size: Size, fps: u16) -> &'static str {
    let blocks = u32::from(size.width.div_ceil(16)) * u32::from(size.height.div_ceil(16));
    let kept = u32::try_from(FRAMES_KEPT).expect("a few frames");
    let fits = LEVELS.iter().find(|(_, per_second, per_frame, buffer)| {
        blocks.saturating_mul(fps.into()) <= *per_second
            && blocks <= *per_frame
            && blocks * kept <= *buffer
    });
    fits.unwrap_or(&LEVELS[LEVELS.len() - 1]).0
}

fn settings(config: &Config) -> [(&'static str, String); 22] {
    let text = str::to_owned;
    [
        ("level", text(level(config.size, config.fps_max))),
        ("log", text("-1")),
        ("threads", config.threads.max(1).to_string()),
        ("fps", config.fps_max.max(1).to_string()),
        // Rate control counts frames: a still minute must not become a minute's worth of bits.
        ("force-cfr", text("1")),
        ("annexb", text("1")),
        ("repeat-headers", text("1")),
        ("keyint", text("infinite")),
        ("scenecut", text("0")),
        ("bframes", text("0")),
        ("ref", text("1")),
        ("dpb-size", FRAMES_KEPT.to_string()),
        // Scrolled text is found up to some 160 pixels away; a smaller range or a cheaper search
        // makes it coarse for as long as it scrolls.
        ("me", text("umh")),
        ("merange", text("64")),
        // The quantiser alone decides, the same for every part of every frame.
        ("qcomp", text("1")),
        ("ipratio", text("1")),
        ("aq-mode", text("0")),
        ("vbv-init", text("1")),
        ("colormatrix", text("bt709")),
        ("colorprim", text("bt709")),
        ("transfer", text("bt709")),
        ("fullrange", text("off")),
    ]
}

fn set(
    api: &Api,
    params: &mut Params,
    settings: &[(&'static str, String)],
) -> Result<(), EncodeError> {
    settings.iter().try_for_each(|(name, value)| {
        if params.parse(api, name, value) {
            Ok(())
        } else {
            Err(refused(name, value.clone()))
        }
    })
}

fn check_size(size: Size) -> Result<(), EncodeError> {
    let fits = |side: u16| side >= SIDE_MIN && side.is_multiple_of(2);
    if fits(size.width) && fits(size.height) {
        Ok(())
    } else {
        Err(EncodeError::Size { size })
    }
}

fn signed(pts: u64) -> i64 {
    i64::try_from(pts).expect("frames are named by 63 bits")
}

fn refused(setting: &'static str, value: String) -> EncodeError {
    EncodeError::Configure {
        encoder: NAME,
        setting,
        value,
    }
}

fn missing(tried: String) -> EncodeError {
    let detail = format!(
        "{tried}; known are builds {:?}; to install: apt-get install libx264-164 (Debian 12), \
         libx264-163 (Ubuntu 22.04) or libx264-165 (newer)",
        sys::BUILDS
    );
    EncodeError::Missing {
        layer: "libx264",
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_that_of_the_real_size() {
        for (width, height, fps, expected) in [
            (320, 200, 60, "3"),
            (1280, 720, 30, "3.1"),
            (1280, 720, 60, "3.2"),
            (1920, 1080, 30, "4"),
            (1920, 1080, 60, "4.2"),
            (2560, 1440, 60, "5.1"),
            (3840, 2160, 60, "5.2"),
            (u16::MAX, u16::MAX, u16::MAX, "5.2"),
        ] {
            let size = Size { width, height };
            assert_eq!(level(size, fps), expected, "{size} at {fps}");
        }
    }

    #[test]
    fn a_lost_frame_takes_all_later_ones_with_it() {
        let mut kept = Kept::default();
        for pts in 1..=6 {
            kept.push(pts, pts == 1);
        }
        assert_eq!(kept.lose_from(4), Invalidation::Avoided);
        assert_eq!(kept.lose_from(3), Invalidation::NeedsKeyframe);
        kept.push(7, true);
        assert_eq!(kept.lose_from(8), Invalidation::Avoided);
        assert_eq!(kept.lose_from(7), Invalidation::NeedsKeyframe);
    }
}
