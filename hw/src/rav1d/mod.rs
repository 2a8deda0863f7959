//! AV1 back into planes, by rav1d.
//!
//! A panic in the library ends the process, and damage in a stream leads to panics (rav1d issues
//! 1496 and 1497). So it runs only in a process that may end.

mod sys;

use sandbox_protocol::{Rect, Size};

pub use self::sys::Code;
use self::sys::Handle;
use crate::planes::Planes;

/// A temporal unit gave no picture. The decoder is then good for nothing but to be dropped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Av1Error {
    /// The library cannot be set up.
    #[error("cannot set up the decoder: {0}")]
    Setup(#[source] Code),
    /// The library refuses it: it is damaged, or refers to a picture that never came.
    #[error("cannot decode the temporal unit: {0}")]
    Refused(#[source] Code),
    /// It holds another number of pictures than one.
    #[error("the temporal unit holds {0} pictures")]
    Pictures(usize),
    /// It holds another size than was announced.
    #[error("the picture has {width}x{height} pixels, not {expected}")]
    Size {
        /// What it has.
        width: i32,
        /// What it has.
        height: i32,
        /// What was announced.
        expected: Size,
    },
    /// It is not 4:2:0 with 8 bits.
    #[error("the picture is not 4:2:0 with 8 bits a sample")]
    Format,
}

/// Decodes one stream, each temporal unit to one picture at once.
#[derive(Debug)]
pub struct Av1Decoder {
    handle: Handle,
}

/// What a temporal unit gave.
#[derive(Clone, Copy, Debug)]
pub struct Av1Picture<'a> {
    /// All of it.
    pub planes: Planes<'a>,
    /// It needed no picture before it.
    pub is_keyframe: bool,
}

impl Av1Decoder {
    /// A decoder that waits for a key frame.
    ///
    /// # Errors
    ///
    /// Returns [`Av1Error::Setup`] when the library cannot be set up.
    pub fn new() -> Result<Self, Av1Error> {
        let handle = Handle::open().map_err(Av1Error::Setup)?;
        Ok(Self { handle })
    }

    /// Decodes the next temporal unit, a picture of `size`.
    ///
    /// # Errors
    ///
    /// Returns [`Av1Error`], or ends the process: see above.
    pub fn decode(&mut self, temporal_unit: &[u8], size: Size) -> Result<Av1Picture<'_>, Av1Error> {
        let count = self.handle.decode(temporal_unit);
        match count.map_err(Av1Error::Refused)? {
            1 => (),
            count => return Err(Av1Error::Pictures(count)),
        }
        let (width, height) = self.handle.size();
        if (width, height) != (size.width.into(), size.height.into()) {
            return Err(Av1Error::Size {
                width,
                height,
                expected: size,
            });
        }
        let (samples, strides) = self.handle.planes().ok_or(Av1Error::Format)?;
        Ok(Av1Picture {
            planes: Planes {
                area: Rect::whole(size),
                samples,
                strides,
            },
            is_keyframe: self.handle.is_keyframe(),
        })
    }
}
