//! The x264 backend: which settings suit a desktop, and what a request means to x264.

mod rate;
mod sys;

use std::collections::VecDeque;
use std::error::Error as _;
use std::sync::Arc;

use sandbox_protocol::{Bitrate, Size};

use self::rate::{KEYFRAME_SHARE, Rate};
pub(crate) use self::sys::BUILDS;
use self::sys::{Api, Handle, Order, Params};
use crate::I420;
use crate::encoder::{
    self, AccessUnit, Capabilities, Config, EncodeError, Encoder, Invalidation, Kind, Quality,
    Request, check_size, fixed, signed,
};

/// The encoder's name, as in `VIDEO_CODEC`.
pub(crate) const NAME: &str = "libx264";

/// Frames the decoder keeps, so that a lost one can be referred around. Level 4 allows four at
/// 1920×1080; each costs 4 MB there.
const FRAMES_KEPT: usize = 4;

/// ITU-T H.264, table A-1: level, macroblocks per second, per frame, and in the decoder's buffer.
/// The bitrate is left out: what the link carries changes, and a decoder may refuse a level.
const LEVELS: [(&str, u32, u32, u32); 7] = [
    ("3", 40_500, 1_620, 8_100),
    ("3.1", 108_000, 3_600, 18_000),
    ("3.2", 216_000, 5_120, 20_480),
    ("4", 245_760, 8_192, 32_768),
    ("4.2", 522_240, 8_704, 34_816),
    ("5", 589_824, 22_080, 110_400),
    ("5.1", 983_040, 36_864, 184_320),
];

/// The level above all of [`LEVELS`]: 3840×2160 at 60 frames per second.
const LEVEL_MAX: &str = "5.2";

/// x264 behind [`Encoder`].
#[derive(Debug)]
pub(crate) struct X264 {
    api: Arc<Api>,
    config: Config,
    /// Without one the next access unit opens one, and is a keyframe.
    stream: Option<Stream>,
    /// Room for x264's parameters.
    params: Params,
    pts_last: Option<u64>,
}

/// An open handle, from one keyframe to the next. A keyframe is always the first of a handle: only
/// there x264 forgets the quantisers of the frames before, and lets it take more than one share.
#[derive(Debug)]
struct Stream {
    handle: Handle,
    /// What the handle was last told.
    rate: Rate,
    kept: Kept,
    /// The frame that was coded last, unless this x264 takes no hints.
    seen: Seen,
    /// Room for a hint for each block.
    hints: Vec<u8>,
    /// x264 failed on a frame.
    is_spent: bool,
}

/// Which blocks x264 may pass over without a look: those that are as in the frame coded last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// Its layout is not known to take hints.
    Unsupported,
    Nothing,
    Frame {
        id: u64,
        version: u64,
    },
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
    fn push(&mut self, pts: u64) {
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
    let api = load(&BUILDS)?;
    preset(&api)?;
    Ok(format!("x264 build {}", api.build()))
}

impl X264 {
    /// Loads the first of these builds that is installed and opens an encoder.
    pub(crate) fn open(config: Config, builds: &[u16]) -> Result<Self, EncodeError> {
        let api = load(builds)?;
        check_size(config.size)?;
        let mut encoder = Self {
            params: preset(&api)?,
            api,
            config,
            stream: None,
            pts_last: None,
        };
        let rate = Rate::new(&config, Quality::Target, KEYFRAME_SHARE);
        encoder.stream = Some(encoder.open_stream(rate)?);
        tracing::debug!(
            build = encoder.api.build(),
            size = %config.size,
            threads = config.threads,
            "x264 is open"
        );
        Ok(encoder)
    }

    fn open_stream(&mut self, rate: Rate) -> Result<Stream, EncodeError> {
        self.params = preset(&self.api)?;
        self.params.set_size(self.config.size);
        self.set(&settings(&self.config))?;
        self.set(&rate.settings())?;
        if !self.params.apply_profile(&self.api, c"baseline") {
            return Err(refused("profile", "baseline".to_owned()));
        }
        let seen = if self.params.enable_hints() {
            Seen::Nothing
        } else {
            Seen::Unsupported
        };
        let Some(handle) = Handle::open(&self.api, &mut self.params) else {
            return Err(refused("parameters", format!("{:?}", self.config)));
        };
        Ok(Stream {
            handle,
            rate,
            kept: Kept::default(),
            seen,
            hints: Vec::new(),
            is_spent: false,
        })
    }

    /// The stream, where it can code the requested frame: told the right rate, or opened afresh.
    fn prepare(&mut self, request: Request) -> Result<&mut Stream, EncodeError> {
        let following = Rate::new(&self.config, request.quality, 1);
        let first = Rate::new(&self.config, request.quality, KEYFRAME_SHARE);
        let stream = match self.stream.take() {
            Some(stream) if stream.goes_on(request.kind) => {
                if stream.rate == following {
                    stream
                } else {
                    self.reconfigure(stream, following)?
                }
            }
            Some(stream) if stream.is_fresh() && stream.rate == first => stream,
            // The former handle is closed before another is opened: one is 40 MB at 1080p.
            Some(_) | None => self.open_stream(first)?,
        };
        Ok(self.stream.insert(stream))
    }

    fn reconfigure(&mut self, mut stream: Stream, rate: Rate) -> Result<Stream, EncodeError> {
        stream.handle.read_params(&mut self.params);
        self.set(&rate.settings())?;
        if !stream.handle.reconfigure(&mut self.params) {
            return Err(refused("rate", format!("{rate:?}")));
        }
        Ok(Stream { rate, ..stream })
    }

    fn set(&mut self, settings: &[(&'static str, String)]) -> Result<(), EncodeError> {
        settings.iter().try_for_each(|(name, value)| {
            if self.params.parse(&self.api, name, value) {
                Ok(())
            } else {
                Err(refused(name, value.clone()))
            }
        })
    }
}

impl Stream {
    /// Nothing was coded with this handle.
    fn is_fresh(&self) -> bool {
        self.kept.0.is_empty() && !self.is_spent
    }

    /// The next frame may refer to those before.
    fn goes_on(&self, kind: Kind) -> bool {
        !self.kept.0.is_empty() && !self.is_spent && kind == Kind::Auto
    }

    /// Writes down which blocks of `frame` are as they were in the last one; `false` where that is
    /// not known.
    fn hint(&mut self, frame: &I420) -> bool {
        let (id, version) = frame.version();
        let before = match self.seen {
            Seen::Unsupported => return false,
            Seen::Nothing => None,
            Seen::Frame { id: before, .. } if before != id => None,
            Seen::Frame { version, .. } => Some(version),
        };
        self.seen = Seen::Frame { id, version };
        let Some(before) = before else { return false };
        self.hints.clear();
        let hints = frame.unchanged_since(before);
        self.hints
            .extend(hints.map(|it| u8::from(it) * sys::UNCHANGED));
        true
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
            adds_keyframes: false,
            delay_frames: 0,
        }
    }

    fn size(&self) -> Size {
        self.config.size
    }

    fn encode(&mut self, frame: &I420, request: Request) -> Result<AccessUnit<'_>, EncodeError> {
        encoder::check_order(self.pts_last, request.pts);
        encoder::check_frame(frame.size(), self.config.size)?;
        self.pts_last = Some(request.pts);
        let stream = self.prepare(request)?;
        let is_hinted = stream.hint(frame);
        let order = Order {
            pts: signed(request.pts),
            is_idr: stream.is_fresh(),
            qp: match request.quality {
                Quality::Target => None,
                Quality::Fixed(qp) => Some(fixed(qp)),
            },
            unchanged: is_hinted.then_some(stream.hints.as_slice()),
        };
        stream.is_spent = true;
        let coded = stream.handle.encode(frame, order);
        let coded = coded.map_err(|code| EncodeError::Encode {
            encoder: NAME,
            pts: request.pts,
            code,
        })?;
        stream.is_spent = false;
        stream.kept.push(request.pts);
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
        self.config.size = size;
        self.stream = None;
        Ok(())
    }

    fn invalidate(&mut self, pts: u64) -> Invalidation {
        let is_avoided = self.stream.as_mut().is_some_and(|stream| {
            stream.kept.lose_from(pts) == Invalidation::Avoided
                && stream.handle.invalidate(signed(pts))
        });
        if is_avoided {
            Invalidation::Avoided
        } else {
            self.stream = None;
            Invalidation::NeedsKeyframe
        }
    }
}

/// The first of `builds` that is installed.
fn load(builds: &[u16]) -> Result<Arc<Api>, EncodeError> {
    let mut tried = Vec::new();
    for build in builds {
        match Api::load(*build) {
            Ok(api) => return Ok(Arc::new(api)),
            Err(error) => tried.push(match error.source() {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            }),
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

/// The lowest level that holds such frames; the highest where none does.
fn level(size: Size, fps: u16) -> &'static str {
    let blocks = u32::from(size.width.div_ceil(16)) * u32::from(size.height.div_ceil(16));
    let kept = u32::try_from(FRAMES_KEPT).expect("a few frames");
    let mut levels = LEVELS.iter();
    let fits = levels.find(|(_, per_second, per_frame, buffer)| {
        blocks.saturating_mul(fps.into()) <= *per_second
            && blocks <= *per_frame
            && blocks * kept <= *buffer
    });
    fits.map_or(LEVEL_MAX, |(level, ..)| level)
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
        BUILDS
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
        assert_eq!(kept.lose_from(1), Invalidation::NeedsKeyframe);
        for pts in 1..=6 {
            kept.push(pts);
        }
        assert_eq!(kept.lose_from(7), Invalidation::Avoided);
        assert_eq!(kept.lose_from(4), Invalidation::Avoided);
        // Frame 7 shifts out frame 3, the last intact one.
        kept.push(7);
        assert_eq!(kept.lose_from(7), Invalidation::NeedsKeyframe);
    }

    #[test]
    fn without_a_known_library_the_error_says_what_to_install() {
        let error = load(&[1, 2]).unwrap_err();
        assert!(matches!(
            error,
            EncodeError::Missing {
                layer: "libx264",
                ..
            }
        ));
        let text = error.to_string();
        for part in [
            "libx264.so.1:",
            "libx264.so.2:",
            "apt-get install libx264-164",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
