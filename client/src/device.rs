//! This device's key, with which its user signs in without a password.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::error::KeyRejected;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use sandbox_protocol::wire::control::Secret;

/// A key cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot make a key for this device")]
pub struct NoKey;

/// What is remembered is no key.
#[derive(Debug, thiserror::Error)]
#[error("the key of this device is broken ({0}): forget the server, and enrol again")]
pub struct BrokenKey(KeyRejected);

/// An Ed25519 key; clones share it.
#[derive(Clone)]
pub struct DeviceKey {
    pair: Arc<Ed25519KeyPair>,
    pkcs8: Secret<Vec<u8>>,
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceKey")
    }
}

impl DeviceKey {
    /// Makes a fresh one.
    ///
    /// # Errors
    ///
    /// Returns [`NoKey`] when the library cannot.
    pub fn make() -> Result<Self, NoKey> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| NoKey)?;
        Self::from_pkcs8(document.as_ref()).map_err(|_| NoKey)
    }

    /// Reads [`pkcs8`](Self::pkcs8).
    ///
    /// # Errors
    ///
    /// Returns [`BrokenKey`] when the bytes are no key.
    pub fn from_pkcs8(bytes: &[u8]) -> Result<Self, BrokenKey> {
        Ok(Self {
            pair: Arc::new(Ed25519KeyPair::from_pkcs8(bytes).map_err(BrokenKey)?),
            pkcs8: Secret(bytes.to_vec()),
        })
    }

    /// The key as it is remembered.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8.0
    }

    /// The public half.
    ///
    /// # Panics
    ///
    /// When Ed25519 has no 32 bytes.
    pub fn public(&self) -> [u8; 32] {
        let bytes = self.pair.public_key().as_ref();
        bytes.try_into().expect("Ed25519 has 32 bytes")
    }

    /// Signs what a proof is made over.
    ///
    /// # Panics
    ///
    /// When a signature has no 64 bytes.
    pub fn sign(&self, exporter: &[u8; 32]) -> Secret<[u8; 64]> {
        let signature = self.pair.sign(exporter);
        let bytes = signature.as_ref().try_into();
        Secret(bytes.expect("a signature has 64 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    #[test]
    fn a_key_signs_as_before_once_it_was_remembered() {
        let key = DeviceKey::make().unwrap();
        let again = DeviceKey::from_pkcs8(key.pkcs8()).unwrap();
        assert_eq!(key.public(), again.public());
        let signature = again.sign(&[5; 32]);
        let public = UnparsedPublicKey::new(&ED25519, key.public());
        assert!(public.verify(&[5; 32], &signature.0).is_ok());
        assert!(public.verify(&[6; 32], &signature.0).is_err());
        assert_ne!(DeviceKey::make().unwrap().public(), key.public());
    }

    #[test]
    fn what_is_no_key_is_told_with_the_way_out() {
        let words = DeviceKey::from_pkcs8(b"no key").unwrap_err().to_string();
        assert!(words.contains("enrol again"), "{words}");
    }
}
