//! H.264 back into pixels, by OpenH264.
//!
//! Access units come from another machine: whatever they hold, the outcome is a picture or an
//! error. The library runs in the caller's thread.

use openh264::OpenH264API;
use openh264::decoder::{Decoder, DecoderConfig, Flush};
use openh264::formats::YUVSource as _;
use sandbox_protocol::{Rect, Size};

use crate::planes::{PaintError, Planes, Target};
use crate::sps;

/// An access unit gave no picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The library refuses it: it is damaged, or refers to a picture that never came.
    #[error("cannot decode the access unit")]
    Refused(#[source] openh264::Error),
    /// The library cannot be set up.
    #[error("cannot set up the decoder")]
    Setup(#[source] openh264::Error),
    /// It holds another size than was announced.
    #[error("the picture has {width}x{height} pixels, not {expected}")]
    Size {
        /// What it has.
        width: usize,
        /// What it has.
        height: usize,
        /// What was announced.
        expected: Size,
    },
    /// It was decoded and holds no picture: our streams give one for each access unit.
    #[error("the access unit holds no picture")]
    Empty,
    /// A rectangle cannot be taken out of it.
    #[error(transparent)]
    Paint(#[from] PaintError),
}

/// Kinds of slices (ITU-T H.264, 7.4.1): of any picture, and of one that needs no other.
const NAL_SLICE: u8 = 1;
const NAL_IDR: u8 = 5;

/// Whether an access unit needs none before it: its first slice says so.
pub fn is_keyframe(access_unit: &[u8]) -> bool {
    let mut units = access_unit.windows(4).filter_map(|it| match it {
        [0, 0, 1, head] => Some(head & 0x1F),
        _ => None,
    });
    units.find(|it| [NAL_SLICE, NAL_IDR].contains(it)) == Some(NAL_IDR)
}

/// Decodes one stream.
pub struct H264Decoder {
    decoder: Decoder,
    /// A key frame whose parameter set was changed.
    changed: Vec<u8>,
}

impl std::fmt::Debug for H264Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("H264Decoder")
    }
}

impl H264Decoder {
    /// A decoder that waits for a key frame.
    ///
    /// # Errors
    ///
    /// Returns [`DecodeError::Setup`] when the library cannot be set up.
    pub fn new() -> Result<Self, DecodeError> {
        // Each access unit is a picture: nothing is held back, nothing is flushed out.
        let config = DecoderConfig::new().flush_after_decode(Flush::NoFlush);
        let decoder = Decoder::with_api_config(OpenH264API::from_source(), config)
            .map_err(DecodeError::Setup)?;
        Ok(Self {
            decoder,
            changed: Vec::new(),
        })
    }

    /// Decodes the next access unit, which refers to none that was left out, and writes the pixels
    /// of `rects`, whose edges are even, into the target, nothing else.
    ///
    /// # Errors
    ///
    /// Returns [`DecodeError`]; the target may then hold a part of the picture.
    pub fn decode(
        &mut self,
        access_unit: &[u8],
        rects: &[Rect],
        target: &mut Target<'_>,
    ) -> Result<(), DecodeError> {
        let access_unit = with_gaps_allowed(access_unit, &mut self.changed);
        let picture = self
            .decoder
            .decode(access_unit)
            .map_err(DecodeError::Refused)?
            .ok_or(DecodeError::Empty)?;
        let (width, height) = picture.dimensions();
        let expected = target.size;
        if (width, height) != (expected.width.into(), expected.height.into()) {
            return Err(DecodeError::Size {
                width,
                height,
                expected,
            });
        }
        let (luma, blue, red) = picture.strides();
        let planes = Planes {
            area: Rect::whole(expected),
            samples: [picture.y(), picture.u(), picture.v()],
            strides: [luma, blue, red],
        };
        for rect in rects {
            planes.paint(*rect, target)?;
        }
        Ok(())
    }
}

/// Frames may be missing that nothing refers to: an encoder that leaves lost ones out does not say
/// so in its parameter sets, and without that the library takes each gap for an error.
fn with_gaps_allowed<'a>(access_unit: &'a [u8], changed: &'a mut Vec<u8>) -> &'a [u8] {
    let Some(bit) = sps::gaps_allowed(access_unit) else {
        return access_unit;
    };
    changed.clear();
    changed.extend_from_slice(access_unit);
    if let Some(byte) = changed.get_mut(bit.byte) {
        *byte |= bit.mask;
    }
    changed
}
