//! Which encoders this machine has, and which one is taken.

use crate::{Config, EncodeError, Encoder, x264};

/// Names that `VIDEO_CODEC` may hold.
const KNOWN: &str = "auto, libx264";

/// One encoder that this build knows, and whether this machine has it.
#[derive(Debug)]
pub struct Found {
    /// The encoder's name, as in `VIDEO_CODEC`.
    pub name: &'static str,
    /// The library's version in words, or why it cannot be used.
    pub version: Result<String, EncodeError>,
}

/// Looks for every known encoder, best first. Loads libraries: call it before the seal.
pub fn probe() -> Vec<Found> {
    vec![Found {
        name: x264::NAME,
        version: x264::version(),
    }]
}

/// Opens the encoder that `codec` names, or the best one for `auto`. Loads its library and reads
/// what it needs: call it before the seal.
///
/// # Errors
///
/// [`EncodeError::Unknown`] for a name that is not known, [`EncodeError::Missing`] when the host
/// lacks the library, [`EncodeError::Size`] or [`EncodeError::Configure`] when it refuses `config`.
pub fn open(codec: &str, config: Config) -> Result<Box<dyn Encoder>, EncodeError> {
    match codec {
        "auto" | x264::NAME => Ok(Box::new(x264::X264::open(config)?)),
        name => Err(EncodeError::Unknown {
            name: name.to_owned(),
            known: KNOWN,
        }),
    }
}
