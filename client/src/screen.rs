//! The desktop's picture at the viewer: updates go in, pixels and damage come out.

use std::path::PathBuf;

use sandbox_hw::{DecodeError, H264Decoder, Target, is_keyframe};
use sandbox_protocol::screen::{ApplyError, Picture, SLOT_BYTES, Shadow, VideoSource};
use sandbox_protocol::stream::reassemble::Update as Whole;
use sandbox_protocol::wire::control::{Codec, StreamConfig};
use sandbox_protocol::wire::update::{Header, Update, UpdateError};
use sandbox_protocol::{Pixel, Rect};

use crate::av1::{Av1Error, Decoder as Av1Decoder};

/// Where the colour is: the decoder fills the byte beside it, which is 0 in a picture.
const COLOUR: Pixel = 0x00FF_FFFF;

// The decoder writes bytes BGRX, a picture holds numbers.
const _: () = assert!(cfg!(target_endian = "little"));

/// The picture and what keeps it the same as the server's.
#[derive(Debug)]
pub struct Screen {
    shadow: Shadow,
    video: Video,
    slots: u16,
    /// What came does not fit together: only a whole picture helps.
    is_lost: bool,
}

/// What an update did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// What it says about itself.
    pub header: Header,
    /// It held video that is shown.
    pub has_video: bool,
    /// That video needed none before it.
    pub has_keyframe: bool,
}

/// Why an update was not applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScreenError {
    /// It is none, or does not fit: the server is broken.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// It does not fit the picture: the server is broken.
    #[error(transparent)]
    Apply(ApplyError),
    /// Its video cannot be decoded. Until a whole picture comes nothing can be applied.
    #[error(transparent)]
    Video(#[from] VideoError),
    /// It builds on what could not be applied.
    #[error("a whole picture is needed")]
    Lost,
}

/// Why video was not decoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VideoError {
    /// H.264.
    #[error(transparent)]
    H264(#[from] DecodeError),
    /// AV1.
    #[error(transparent)]
    Av1(#[from] Av1Error),
}

#[derive(Debug)]
struct Video {
    codec: Codec,
    h264: H264Decoder,
    av1: Av1Decoder,
    /// What it builds on was given up: it is left out.
    is_broken: bool,
    has_shown: bool,
    has_keyframe: bool,
    error: Option<VideoError>,
}

impl Screen {
    /// One that shows nothing yet.
    ///
    /// # Errors
    ///
    /// Returns [`DecodeError`] when the decoder cannot be set up.
    pub fn new() -> Result<Self, DecodeError> {
        Ok(Self {
            shadow: Shadow::new(0),
            video: Video {
                codec: Codec::H264,
                h264: H264Decoder::new()?,
                av1: Av1Decoder::default(),
                is_broken: false,
                has_shown: false,
                has_keyframe: false,
                error: None,
            },
            slots: 0,
            is_lost: true,
        })
    }

    /// The same, with another program than this one to decode AV1.
    #[must_use]
    pub fn with_av1_by(mut self, program: PathBuf) -> Self {
        self.video.av1 = Av1Decoder::of(program);
        self
    }

    /// The stream's settings: the cache has a size of its own in each. The picture begins anew
    /// where that changes.
    pub fn configure(&mut self, config: &StreamConfig) {
        let bytes = usize::from(config.cache_mib) << 20;
        let slots = u16::try_from(bytes / SLOT_BYTES).unwrap_or(u16::MAX);
        if slots != self.slots {
            self.slots = slots;
            self.shadow = Shadow::new(slots);
        }
        self.video.codec = config.codec;
        match config.codec {
            Codec::H264 => self.video.av1.stop(),
            Codec::Av1 => self.video.av1.start(),
        }
    }

    /// A connection begins: what it brings needs nothing of the one before.
    ///
    /// # Errors
    ///
    /// Returns [`DecodeError`] when the decoder cannot be set up.
    pub fn restart(&mut self) -> Result<(), DecodeError> {
        self.video.h264 = H264Decoder::new()?;
        self.video.av1.stop();
        self.is_lost = true;
        Ok(())
    }

    /// Applies the next update.
    ///
    /// # Errors
    ///
    /// Returns [`ScreenError`]; the picture is then worth nothing until a whole update comes.
    pub fn apply(&mut self, update: &Whole<'_>) -> Result<Applied, ScreenError> {
        self.video.is_broken = update.is_video_broken;
        self.video.has_shown = false;
        self.video.has_keyframe = false;
        let update = Update::decode(update.bytes)?;
        if self.is_lost && update.header.whole.is_none() {
            return Err(ScreenError::Lost);
        }
        let applied = self.shadow.apply(&update, &mut self.video);
        self.is_lost = applied.is_err();
        match (applied, self.video.error.take()) {
            (Ok(()), _) => Ok(Applied {
                header: update.header,
                has_video: self.video.has_shown,
                has_keyframe: self.video.has_keyframe,
            }),
            (Err(_), Some(error)) => Err(ScreenError::Video(error)),
            (Err(error), None) => Err(ScreenError::Apply(error)),
        }
    }

    /// The picture.
    pub const fn picture(&self) -> &Picture {
        self.shadow.picture()
    }

    /// What changed since [`clear_damage`](Self::clear_damage), and perhaps a little more.
    pub fn damage(&self) -> &[Rect] {
        self.shadow.damage()
    }

    /// What changed has been shown.
    pub fn clear_damage(&mut self) {
        self.shadow.clear_damage();
    }
}

impl VideoSource for Video {
    fn show(&mut self, access_unit: &[u8], rects: &[Rect], picture: &mut Picture) -> bool {
        if self.is_broken {
            return true;
        }
        let size = picture.size();
        let mut target = Target {
            pixels: bytemuck::cast_slice_mut(picture.pixels_mut()),
            stride: usize::from(size.width) * size_of::<Pixel>(),
            size,
        };
        let decoded = match self.codec {
            Codec::H264 => {
                let decoded = self.h264.decode(access_unit, rects, &mut target);
                decoded
                    .map(|()| is_keyframe(access_unit))
                    .map_err(VideoError::H264)
            }
            Codec::Av1 => {
                let decoded = self.av1.decode(access_unit, rects, &mut target);
                decoded.map_err(VideoError::Av1)
            }
        };
        self.has_keyframe = match decoded {
            Ok(is_keyframe) => is_keyframe,
            Err(error) => {
                self.error = Some(error);
                return false;
            }
        };
        for rect in rects {
            let pixels = picture.rows_mut(*rect).flatten();
            pixels.for_each(|it| *it &= COLOUR);
        }
        self.has_shown = true;
        true
    }
}
