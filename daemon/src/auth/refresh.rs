//! Refresh tokens: name a sign-in and their own number in it, and cannot be made up.
//!
//! Nothing of them is stored, so the same number gives the same token again, and whoever reads the
//! database can sign in as nobody.

use aws_lc_rs::hmac;

use super::{hex, unhex};
use crate::state::sign_ins::FamilyId;

/// Keeps the signatures apart from those of access tokens made with the same secret.
const LABEL: &[u8] = b"sandbox-server refresh tokens";

/// Hexadecimal letters of family, number and signature.
const TOKEN_LEN: usize = 2 * (16 + 4 + 32);

/// Makes and reads refresh tokens.
#[derive(Debug)]
pub struct RefreshKey(hmac::Key);

/// What a refresh token says, its signature being right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshClaim {
    /// The sign-in it belongs to.
    pub family: FamilyId,
    /// Which of its tokens this is.
    pub generation: u32,
}

impl RefreshKey {
    pub(super) fn derive(secret: &[u8]) -> Self {
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), LABEL);
        Self(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
    }

    /// The token of this number; the same each time.
    pub fn issue(&self, claim: RefreshClaim) -> String {
        let message = message(claim);
        let signature = hmac::sign(&self.0, &message);
        hex(&message) + &hex(signature.as_ref())
    }

    /// Reads a token; `None` when it is not ours or was altered.
    pub fn read(&self, token: &str) -> Option<RefreshClaim> {
        if token.len() != TOKEN_LEN {
            return None;
        }
        let claim = RefreshClaim {
            family: FamilyId(unhex(token.get(..32)?)?),
            generation: u32::from_be_bytes(unhex(token.get(32..40)?)?),
        };
        let signature: [u8; 32] = unhex(token.get(40..)?)?;
        // Compares in constant time.
        hmac::verify(&self.0, &message(claim), &signature).ok()?;
        Some(claim)
    }
}

fn message(RefreshClaim { family, generation }: RefreshClaim) -> [u8; 20] {
    let mut message = [0; 20];
    let (id, number) = message.split_at_mut(16);
    id.copy_from_slice(&family.0);
    number.copy_from_slice(&generation.to_be_bytes());
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLAIM: RefreshClaim = RefreshClaim {
        family: FamilyId([7; 16]),
        generation: 3,
    };

    #[test]
    fn a_token_says_again_what_was_signed_and_is_the_same_each_time() {
        let key = RefreshKey::derive(&[1; 32]);
        let token = key.issue(CLAIM);
        assert_eq!(key.read(&token), Some(CLAIM));
        assert_eq!(key.issue(CLAIM), token);
        let next = RefreshClaim {
            generation: 4,
            ..CLAIM
        };
        assert_ne!(key.issue(next), token);
    }

    #[test]
    fn tokens_of_others_and_altered_ones_are_not_read() {
        let key = RefreshKey::derive(&[1; 32]);
        let token = key.issue(CLAIM);
        assert_eq!(RefreshKey::derive(&[2; 32]).read(&token), None);
        for at in [0, 39, 40, TOKEN_LEN - 1] {
            let mut altered = token.clone().into_bytes();
            altered[at] = if altered[at] == b'0' { b'1' } else { b'0' };
            let altered = String::from_utf8(altered).unwrap();
            assert_eq!(key.read(&altered), None, "{at}");
        }
        let umlauts = "ä".repeat(TOKEN_LEN / 2);
        for bad in ["", "x", &token[1..], &format!("{token}0"), &umlauts] {
            assert_eq!(key.read(bad), None);
        }
    }
}
