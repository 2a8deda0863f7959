//! bincode behind one door: a fixed layout, and a limit that holds before anything is allocated.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::{Decode, Encode};

use crate::limits::LOCAL_MESSAGE_BYTES_MAX;

const CONFIG: Configuration<LittleEndian, Fixint, Limit<LOCAL_MESSAGE_BYTES_MAX>> =
    bincode::config::standard()
        .with_fixed_int_encoding()
        .with_limit::<LOCAL_MESSAGE_BYTES_MAX>();

/// Bytes were no message, or a message was too large for its wire.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The bytes do not hold this kind of message within the limit.
    #[error("malformed message of {bytes} bytes")]
    Malformed {
        /// How many bytes came.
        bytes: usize,
        /// What the decoder said.
        #[source]
        source: bincode::error::DecodeError,
    },
    /// Bytes follow the message.
    #[error("{0} bytes after the message")]
    Trailing(usize),
    /// The message exceeds the limit of its wire.
    #[error("message exceeds {LOCAL_MESSAGE_BYTES_MAX} bytes")]
    TooLarge,
}

/// Reads one whole message.
///
/// # Errors
///
/// Returns [`CodecError`] when the bytes are malformed, too many, or followed by others.
pub fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    let (message, used) = decode_first(bytes)?;
    match bytes.len() - used {
        0 => Ok(message),
        trailing => Err(CodecError::Trailing(trailing)),
    }
}

/// Reads the message that the bytes begin with, and tells how many bytes it has.
///
/// # Errors
///
/// Returns [`CodecError`] when the bytes are malformed or too many.
pub fn decode_first<T: Decode<()>>(bytes: &[u8]) -> Result<(T, usize), CodecError> {
    bincode::decode_from_slice(bytes, CONFIG).map_err(|source| CodecError::Malformed {
        bytes: bytes.len(),
        source,
    })
}

/// Writes one message.
///
/// # Errors
///
/// Returns [`CodecError::TooLarge`] when it exceeds the limit.
pub fn encode<T: Encode>(message: &T) -> Result<Vec<u8>, CodecError> {
    let bytes = bincode::encode_to_vec(message, CONFIG).map_err(|_| CodecError::TooLarge)?;
    if bytes.len() > LOCAL_MESSAGE_BYTES_MAX {
        return Err(CodecError::TooLarge);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_from_the_wire_allocates_nothing_beyond_the_limit() {
        let mut bytes = u64::MAX.to_le_bytes().to_vec();
        bytes.extend([0; 32]);
        assert!(decode::<Vec<u8>>(&bytes).is_err());
        let mut bytes = (1_u64 << 40).to_le_bytes().to_vec();
        bytes.extend([0; 32]);
        assert!(decode::<Vec<u64>>(&bytes).is_err());
    }

    #[test]
    fn trailing_bytes_and_oversize_are_refused() {
        let mut bytes = encode(&7_u32).unwrap();
        assert_eq!(decode::<u32>(&bytes).unwrap(), 7);
        bytes.push(0);
        assert!(matches!(
            decode::<u32>(&bytes),
            Err(CodecError::Trailing(1))
        ));
        assert!(matches!(
            encode(&vec![0_u8; LOCAL_MESSAGE_BYTES_MAX]),
            Err(CodecError::TooLarge)
        ));
    }
}
