//! Who somebody is: passwords, tokens, single-use links.

pub mod password;
pub mod proof;
pub mod refresh;
pub mod token;

use sha2::{Digest as _, Sha256};

/// Seconds in which a single-use link must be used.
pub const LINK_SECONDS: i64 = 600;

/// Random bytes from the kernel.
///
/// # Panics
///
/// When the kernel has no randomness, which Linux reports only before it has started.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
    bytes
}

/// A single-use code, as it stands in the link: 160 bits in 32 letters and digits.
pub fn new_code() -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnopqrstuvwxyz2345678";
    let random: [u8; 32] = random();
    random
        .iter()
        .filter_map(|it| ALPHABET.get(usize::from(it % 32)))
        .map(|it| char::from(*it))
        .collect()
}

/// What is stored of a single-use code.
pub fn code_hash(code: &str) -> [u8; 32] {
    Sha256::digest(code.as_bytes()).into()
}

/// Longest single-use code that is looked up, in bytes.
pub const CODE_LEN_MAX: usize = 256;

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, it| {
        // Writing to a string cannot fail.
        let _infallible = write!(text, "{it:02x}");
        text
    })
}

/// Reads [`hex`] of exactly `N` bytes.
pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    if text.len() != 2 * N || !text.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_160_bits_and_no_two_are_alike() {
        let (a, b) = (new_code(), new_code());
        assert_eq!(a.len(), 32);
        assert_ne!(a, b);
        assert_ne!(code_hash(&a), code_hash(&b));
    }

    #[test]
    fn hexadecimal_survives_a_round_trip_and_refuses_the_rest() {
        assert_eq!(hex(&[0, 0xab]), "00ab");
        assert_eq!(unhex("00ab"), Some([0, 0xab]));
        for bad in ["", "00a", "00abc", "+0ab", "00ag"] {
            assert_eq!(unhex::<2>(bad), None, "{bad}");
        }
    }
}
