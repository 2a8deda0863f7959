//! Access tokens: signed, short-lived, and worth nothing once their sign-in is revoked.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::proof::TicketKeys;
use super::refresh::RefreshKey;
use super::{hex, unhex};
use crate::private_file;
use crate::state::sign_ins::FamilyId;

/// Longest token that is looked at, in bytes; ours have some 300.
const TOKEN_LEN_MAX: usize = 2_048;

/// Bytes of a key file; an Ed25519 key in PKCS#8 has 83.
const KEY_LEN_MAX: u64 = 1_024;

/// The signing key cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file cannot be read or made.
    #[error("cannot use the key file {path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds no Ed25519 key.
    #[error(
        "{path} holds no Ed25519 key: remove it and start again, after which everybody signs in \
         anew"
    )]
    Malformed {
        /// Which.
        path: PathBuf,
    },
    /// The library cannot make one.
    #[error("cannot make an Ed25519 key")]
    Generate,
}

/// Makes and reads access tokens.
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    algorithm: Algorithm,
    /// Fixes key and algorithm together: a token that names another is not looked at.
    key_id: String,
    expiry: Duration,
    refresh: RefreshKey,
    tickets: TicketKeys,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

/// What a token says, its signature and its time being right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The sign-in it belongs to.
    pub family: FamilyId,
    /// When it runs out, seconds since 1970.
    pub expires_at: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    /// The user's number; for people who read tokens, the truth is the family's row.
    sub: String,
    fam: String,
    iat: i64,
    exp: i64,
}

impl Tokens {
    /// Signs with the key pair of this node, made where there is none.
    ///
    /// # Errors
    ///
    /// Returns [`KeyError`] when the file cannot be used.
    pub fn with_node_key(path: &Path, expiry: Duration) -> Result<Self, KeyError> {
        let document = read_or_make_key(path)?;
        let pair = Ed25519KeyPair::from_pkcs8(&document)
            .map_err(|_| KeyError::Malformed { path: path.into() })?;
        let public = pair.public_key().as_ref();
        Ok(Self {
            encoding: EncodingKey::from_ed_der(&document),
            decoding: DecodingKey::from_ed_der(public),
            algorithm: Algorithm::EdDSA,
            key_id: key_id("ed", public),
            expiry,
            refresh: RefreshKey::derive(&document),
            tickets: TicketKeys::derive(&document),
        })
    }

    /// Signs with a secret that several nodes share.
    pub fn with_secret(secret: &[u8], expiry: Duration) -> Self {
        Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            algorithm: Algorithm::HS256,
            key_id: key_id("hs", secret),
            expiry,
            refresh: RefreshKey::derive(secret),
            tickets: TicketKeys::derive(secret),
        }
    }

    /// Makes and reads the refresh tokens that go with these.
    pub const fn refresh(&self) -> &RefreshKey {
        &self.refresh
    }

    /// Makes the keys of native viewers' tickets.
    pub const fn tickets(&self) -> &TicketKeys {
        &self.tickets
    }

    /// Eight letters that differ from key to key: servers on one host name share its cookies.
    pub fn short_id(&self) -> &str {
        self.key_id
            .get(3..11)
            .expect("kind, dash and 16 letters were put together above")
    }

    /// Seconds that a token lives.
    pub fn expires_in(&self) -> i64 {
        i64::try_from(self.expiry.as_secs()).unwrap_or(i64::MAX)
    }

    /// Makes a token of this sign-in; it never outlives it.
    ///
    /// # Panics
    ///
    /// When signing fails: the key was read with success at the start.
    pub fn issue(&self, user: u32, family: FamilyId, family_ends: i64, now: i64) -> String {
        let claims = Claims {
            sub: user.to_string(),
            fam: hex(&family.0),
            iat: now,
            exp: now.saturating_add(self.expires_in()).min(family_ends),
        };
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.key_id.clone());
        jsonwebtoken::encode(&header, &claims, &self.encoding)
            .expect("the key signed nothing but tokens and was checked at the start")
    }

    /// Reads a token; `None` when it is not ours, altered or out of time.
    pub fn read(&self, token: &str, now: i64) -> Option<Claim> {
        if token.len() > TOKEN_LEN_MAX {
            return None;
        }
        let header = jsonwebtoken::decode_header(token).ok()?;
        if header.kid.as_deref() != Some(&self.key_id) || header.alg != self.algorithm {
            return None;
        }
        let mut validation = Validation::new(self.algorithm);
        // The time is ours to compare: the library would read the clock, and forgive a minute.
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["exp", "sub"]);
        let claims: Claims = jsonwebtoken::decode(token, &self.decoding, &validation)
            .ok()?
            .claims;
        (claims.exp > now).then_some(Claim {
            family: FamilyId(unhex(&claims.fam)?),
            expires_at: claims.exp,
        })
    }
}

fn key_id(kind: &str, key: &[u8]) -> String {
    let hash = super::code_hash(&format!("sandbox-server key id {}", hex(key)));
    format!("{kind}-{}", hex(hash.get(..8).unwrap_or_default()))
}

fn read_or_make_key(path: &Path) -> Result<Vec<u8>, KeyError> {
    let io = |source| KeyError::Io {
        path: path.into(),
        source,
    };
    match std::fs::metadata(path) {
        Ok(it) if it.len() > KEY_LEN_MAX => {
            return Err(KeyError::Malformed { path: path.into() });
        }
        Ok(_) => return std::fs::read(path).map_err(io),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io(error)),
    }
    let document =
        Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyError::Generate)?;
    private_file::write(path, document.as_ref()).map_err(io)?;
    Ok(document.as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const FAMILY: FamilyId = FamilyId([9; 16]);
    const HOUR: Duration = Duration::from_secs(3_600);

    fn key_file(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("sandbox-{name}-{}", std::process::id()));
        let _absent = std::fs::remove_file(&path);
        path
    }

    #[test]
    fn a_token_is_read_until_it_runs_out() {
        let tokens = Tokens::with_secret(&[1; 32], HOUR);
        let token = tokens.issue(7, FAMILY, i64::MAX, 1_000);
        let claim = Claim {
            family: FAMILY,
            expires_at: 4_600,
        };
        assert_eq!(tokens.read(&token, 4_599), Some(claim));
        assert_eq!(tokens.read(&token, 4_600), None);
        let short = tokens.issue(7, FAMILY, 1_010, 1_000);
        assert_eq!(
            tokens.read(&short, 1_010),
            None,
            "the sign-in's end is its end"
        );
    }

    /// Forward, tokens run out early and the page refreshes; back, they last longer by the jump,
    /// and the sign-in behind them can still be revoked.
    #[test]
    fn a_clock_that_jumps_moves_a_tokens_end_and_never_past_its_sign_ins() {
        const JUMP: i64 = 3_600;
        let (issued, family_ends) = (1_000_000, 1_000_900);
        let tokens = Tokens::with_secret(&[1; 32], Duration::from_secs(900));
        let token = tokens.issue(7, FAMILY, family_ends, issued);
        assert_eq!(tokens.read(&token, issued + JUMP), None);
        let claim = tokens.read(&token, issued - JUMP).unwrap();
        assert_eq!(claim.expires_at, issued + 900);
        let after_jump_back = tokens.issue(7, FAMILY, family_ends, issued - JUMP);
        let claim = tokens.read(&after_jump_back, issued - JUMP).unwrap();
        assert_eq!(claim.expires_at, issued - JUMP + 900);
        let late = tokens.issue(7, FAMILY, family_ends, issued + JUMP);
        assert_eq!(tokens.read(&late, issued + JUMP), None);
    }

    #[test]
    fn the_nodes_key_is_made_once_for_its_owner_alone() {
        let path = key_file("key");
        let first = Tokens::with_node_key(&path, HOUR).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let token = first.issue(7, FAMILY, i64::MAX, 1_000);
        let second = Tokens::with_node_key(&path, HOUR).unwrap();
        assert!(second.read(&token, 1_000).is_some());
        std::fs::write(&path, b"no key").unwrap();
        let words = Tokens::with_node_key(&path, HOUR).unwrap_err().to_string();
        assert!(words.contains("holds no Ed25519 key"), "{words}");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn tokens_of_others_and_altered_ones_are_not_read() {
        let path = key_file("other");
        let ours = Tokens::with_node_key(&path, HOUR).unwrap();
        let token = ours.issue(7, FAMILY, i64::MAX, 1_000);
        assert!(ours.read(&token, 1_000).is_some());
        std::fs::remove_file(&path).unwrap();
        let theirs = Tokens::with_node_key(&path, HOUR).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(theirs.read(&token, 1_000), None);

        let mut altered = token.clone().into_bytes();
        let middle = token.find('.').unwrap() + 5;
        altered[middle] = if altered[middle] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).unwrap();
        for bad in [
            "",
            "a.b.c",
            &altered,
            &"x".repeat(100_000),
            &format!("{token}x"),
        ] {
            assert_eq!(ours.read(bad, 1_000), None);
        }
    }

    /// The classic: the public key, used as an HMAC secret.
    #[test]
    fn a_token_cannot_choose_its_own_algorithm() {
        let path = key_file("confusion");
        let ours = Tokens::with_node_key(&path, HOUR).unwrap();
        let public = Ed25519KeyPair::from_pkcs8(&std::fs::read(&path).unwrap())
            .unwrap()
            .public_key()
            .as_ref()
            .to_vec();
        std::fs::remove_file(&path).unwrap();
        let mut forger = Tokens::with_secret(&public, HOUR);
        forger.key_id.clone_from(&ours.key_id);
        let forged = forger.issue(7, FAMILY, i64::MAX, 1_000);
        assert_eq!(ours.read(&forged, 1_000), None);
    }
}
