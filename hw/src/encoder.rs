//! What every encoder offers: one frame in, one access unit out, nothing held back.

use std::fmt;

use sandbox_protocol::{Bitrate, Size};

use crate::I420;

/// What an encoder is opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Size of every frame until [`Encoder::resize`]; both sides even.
    pub size: Size,
    /// Highest frame rate, in frames per second: one frame may take the bits of `1 / fps_max` s.
    pub fps_max: u16,
    /// What the link carries.
    pub bitrate: Bitrate,
    /// Threads that may work on one frame; at least 1.
    pub threads: u8,
}

/// How one frame shall be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Names the frame: greater than every `pts` this encoder was given before. The unit is the
    /// caller's (a frame number will do); rate control does not read it.
    pub pts: u64,
    /// Whether the access unit must be decodable alone.
    pub kind: Kind,
    /// How much may be lost.
    pub quality: Quality,
}

/// Whether an access unit must be decodable alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The encoder refers to earlier frames where it can.
    Auto,
    /// A keyframe with parameter sets.
    Keyframe,
}

/// How much of the picture may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quality {
    /// Sharp where that fits one frame's share of the bitrate, coarser where it does not. Further
    /// frames of a picture that stands still sharpen it, each within its share.
    Target,
    /// This quantiser exactly (2 is nearly lossless, 51 the coarsest), whatever it costs: the
    /// caller has seen that the link is free. Values outside 2–51 are clamped.
    Fixed(u8),
}

/// One encoded frame, borrowed until the encoder is used again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AccessUnit<'a> {
    /// H.264 Annex B: NAL units with start codes, ready for the media socket.
    pub bytes: &'a [u8],
    /// Decodable alone, with parameter sets.
    pub is_keyframe: bool,
    /// Mean quantiser of the frame.
    pub qp: u8,
}

impl fmt::Debug for AccessUnit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessUnit")
            .field("bytes", &self.bytes.len())
            .field("is_keyframe", &self.is_keyframe)
            .field("qp", &self.qp)
            .finish()
    }
}

/// What the caller may rely on beyond encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// [`Encoder::invalidate`] can avoid a keyframe.
    pub can_invalidate: bool,
    /// [`Quality::Fixed`] holds exactly.
    pub can_fix_quality: bool,
    /// A picture with next to nothing in common with the one before may become a keyframe unasked.
    pub adds_keyframes: bool,
    /// Frames given before the first access unit comes out; 0 for everything live.
    pub delay_frames: u8,
}

/// What the frame after [`Encoder::invalidate`] will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalidation {
    /// It refers to a frame before the lost one.
    Avoided,
    /// No intact frame is kept: it will be a keyframe.
    NeedsKeyframe,
}

/// Turns frames into access units. One frame in gives one access unit out.
///
/// An encoder may be opened on one thread and used on another. Everything it reads from files is
/// read by `open`; afterwards only memory and threads are asked of the kernel.
pub trait Encoder: fmt::Debug + Send {
    /// The encoder's name, as in `VIDEO_CODEC`.
    fn name(&self) -> &'static str;

    /// What this encoder can do.
    fn capabilities(&self) -> Capabilities;

    /// Size of the frames it takes.
    fn size(&self) -> Size;

    /// Encodes one frame. The first access unit after `open` and [`resize`](Self::resize) is a
    /// keyframe whatever the request says.
    ///
    /// # Errors
    ///
    /// [`EncodeError::FrameSize`] for a frame of another size; nothing has changed then.
    /// [`EncodeError::Encode`] or [`EncodeError::Configure`] when the library fails: the frame is
    /// lost, and the next access unit is a keyframe.
    ///
    /// # Panics
    ///
    /// When `request.pts` is not greater than the one before.
    fn encode(&mut self, frame: &I420, request: Request) -> Result<AccessUnit<'_>, EncodeError>;

    /// Changes what the link carries, from the next frame on, without a keyframe.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Configure`] when the library refuses; the former rate stays.
    fn set_bitrate(&mut self, bitrate: Bitrate) -> Result<(), EncodeError>;

    /// Takes frames of another size from now on; the next access unit is a keyframe. Opens no
    /// file, but may end threads and start others.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Size`] or [`EncodeError::Configure`]; the former size stays.
    fn resize(&mut self, size: Size) -> Result<(), EncodeError>;

    /// The decoder lost the frame named `pts`, and with it every later one: the next frame refers
    /// to an earlier frame, or becomes a keyframe.
    fn invalidate(&mut self, pts: u64) -> Invalidation;
}

/// An encoder could not be opened, changed or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The host lacks a library, or has one that is unknown.
    #[error("{layer} is missing: {detail}")]
    Missing {
        /// The part that is missing, as the warden reports it.
        layer: &'static str,
        /// What was tried, and how to get it.
        detail: String,
    },
    /// No encoder of this name is known.
    #[error("no encoder is called {name:?}; there are: {known}")]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The names that exist.
        known: &'static str,
    },
    /// A size that cannot be encoded.
    #[error("cannot encode {size}: both sides must be even and at least 16")]
    Size {
        /// The size that was asked for.
        size: Size,
    },
    /// The library refused a setting.
    #[error("{encoder} refused {setting}={value:?}")]
    Configure {
        /// The encoder's name.
        encoder: &'static str,
        /// Which setting.
        setting: &'static str,
        /// Its value.
        value: String,
    },
    /// The library failed on a frame.
    #[error("{encoder} failed to encode frame {pts} (code {code})")]
    Encode {
        /// The encoder's name.
        encoder: &'static str,
        /// The frame's name.
        pts: u64,
        /// What the library returned.
        code: i32,
    },
    /// A frame has another size than the encoder.
    #[error("frame of {frame} given to an encoder for {encoder}")]
    FrameSize {
        /// Size of the frame.
        frame: Size,
        /// Size of the encoder.
        encoder: Size,
    },
}

/// Smallest side: one macroblock.
const SIDE_MIN: u16 = 16;

/// Refuses a size that no encoder here takes.
pub(crate) fn check_size(size: Size) -> Result<(), EncodeError> {
    let fits = |side: u16| side >= SIDE_MIN && side.is_multiple_of(2);
    if fits(size.width) && fits(size.height) {
        Ok(())
    } else {
        Err(EncodeError::Size { size })
    }
}

/// Refuses a frame of another size than the encoder's.
pub(crate) fn check_frame(frame: Size, encoder: Size) -> Result<(), EncodeError> {
    if frame == encoder {
        Ok(())
    } else {
        Err(EncodeError::FrameSize { frame, encoder })
    }
}

/// Holds the caller to its promise.
///
/// # Panics
///
/// When `pts` is not greater than the one before.
pub(crate) fn check_order(last: Option<u64>, pts: u64) {
    assert!(
        last.is_none_or(|last| last < pts),
        "frame {pts} after {last:?}"
    );
}

/// A frame's name as C libraries take it.
pub(crate) fn signed(pts: u64) -> i64 {
    i64::try_from(pts).expect("frames are named by 63 bits")
}

/// A quantiser that every encoder here can hold. From 2 on: x264 takes a CRF below 1 for
/// "lossless", which Baseline has not.
pub(crate) fn fixed(qp: u8) -> u8 {
    qp.clamp(2, 51)
}
