//! Proofs of native viewers: made over their connection's exporter, so that nobody between can
//! pass them on.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

use crate::state::devices::DeviceKey;
use crate::state::tickets::TicketId;

/// Keeps tickets apart from what else is made with the same secret.
const LABEL: &[u8] = b"sandbox-server tickets";

/// What a proof is made over: 32 bytes of the TLS exporter (RFC 8446 §7.5).
pub type Exporter = [u8; 32];

/// Whether this is HMAC-SHA-256 of the exporter under `key`.
pub fn is_right(key: &[u8; 32], exporter: &Exporter, proof: &[u8; 32]) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    // Compares in constant time.
    hmac::verify(&key, exporter, proof).is_ok()
}

/// Whether this is the device's signature of the exporter.
pub fn is_signed(key: DeviceKey, exporter: &Exporter, signature: &[u8; 64]) -> bool {
    UnparsedPublicKey::new(&ED25519, key.0)
        .verify(exporter, signature)
        .is_ok()
}

/// Makes the keys of tickets. Nothing of them is stored, so whoever reads the database comes back
/// as nobody.
#[derive(Debug)]
pub struct TicketKeys(hmac::Key);

impl TicketKeys {
    pub(super) fn derive(secret: &[u8]) -> Self {
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), LABEL);
        Self(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
    }

    /// The key of this ticket; the same each time.
    ///
    /// # Panics
    ///
    /// When SHA-256 has not 32 bytes.
    pub fn key(&self, ticket: TicketId) -> [u8; 32] {
        let tag = hmac::sign(&self.0, &ticket.0);
        tag.as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;

    const EXPORTER: Exporter = [5; 32];

    #[test]
    fn a_proof_is_good_for_its_key_and_its_connection_alone() {
        let keys = TicketKeys::derive(&[1; 32]);
        let key = keys.key(TicketId([2; 16]));
        assert_eq!(key, keys.key(TicketId([2; 16])));
        let hmac_key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let proof: [u8; 32] = hmac::sign(&hmac_key, &EXPORTER)
            .as_ref()
            .try_into()
            .unwrap();
        assert!(is_right(&key, &EXPORTER, &proof));
        assert!(!is_right(&key, &[6; 32], &proof));
        assert!(!is_right(&keys.key(TicketId([3; 16])), &EXPORTER, &proof));
        let others = TicketKeys::derive(&[2; 32]).key(TicketId([2; 16]));
        assert!(!is_right(&others, &EXPORTER, &proof));
        assert!(!is_right(&key, &EXPORTER, &[0; 32]));
    }

    #[test]
    fn a_signature_is_good_for_its_key_and_its_connection_alone() {
        let pair = Ed25519KeyPair::generate().unwrap();
        let key = DeviceKey(pair.public_key().as_ref().try_into().unwrap());
        let signature: [u8; 64] = pair.sign(&EXPORTER).as_ref().try_into().unwrap();
        assert!(is_signed(key, &EXPORTER, &signature));
        assert!(!is_signed(key, &[6; 32], &signature));
        assert!(!is_signed(key, &EXPORTER, &[0; 64]));
        let other = Ed25519KeyPair::generate().unwrap();
        let other = DeviceKey(other.public_key().as_ref().try_into().unwrap());
        assert!(!is_signed(other, &EXPORTER, &signature));
        assert!(!is_signed(DeviceKey([0xff; 32]), &EXPORTER, &signature));
    }
}
