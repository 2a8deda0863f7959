//! Who this node is to native viewers: one key, made once, which they know it by.

use std::fmt;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sandbox_quic::{Fingerprint, Identity, ServerSetup};

use crate::auth::random;
use crate::config::DaemonConfig;
use crate::private_file;
use crate::tls::{TlsError, read_bounded, server_config};

const CERTIFICATE: &str = "node.crt";
const KEY: &str = "node.key";
const SECRET: &str = "node.secret";

/// The node's key cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Certificate and key of an earlier start are broken.
    #[error(
        "{dir}/node.crt and node.key are no pair ({source}): bring both back from a copy, or \
         remove both and start again, after which native viewers ask their users whether this is \
         still the same server"
    )]
    Pair {
        /// `STATE_DIR/daemon`.
        dir: PathBuf,
        /// What is wrong with them.
        source: TlsError,
    },
    /// The secret of an earlier start is broken.
    #[error(
        "{path} does not hold 32 bytes: remove it and start again, after which viewers of the \
         server's last life notice its end later"
    )]
    Secret {
        /// Which file.
        path: PathBuf,
    },
    /// A file cannot be read or made.
    #[error("cannot use {path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The library cannot make a key.
    #[error("cannot make the node's key: {0}")]
    Make(#[from] rcgen::Error),
}

/// What a native viewer knows this node by, and what its endpoint is made of.
#[derive(Debug)]
pub(crate) struct NodeIdentity {
    pub(crate) setup: ServerSetup,
    pub(crate) fingerprint: Fingerprint,
}

/// Where native viewers find this node, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NativeAddress {
    /// `HOST:PORT`, brackets around IPv6.
    place: String,
    fingerprint: Fingerprint,
}

impl NativeAddress {
    /// As viewers are told: the first of `MEDIA_ADVERTISE`, else this node's name at the port of
    /// media.
    pub(crate) fn new(config: &DaemonConfig, port: u16, fingerprint: Fingerprint) -> Self {
        let place = match config.media_advertise.first() {
            Some(it) => SocketAddr::new(it.address, it.port.unwrap_or(port)).to_string(),
            None => format!("{}:{port}", config.node_url.host),
        };
        Self { place, fingerprint }
    }

    /// What `sandbox-client` takes as its argument.
    pub(crate) fn url(&self, user: &str) -> String {
        format!("{user}@{}#pin={}", self.place, self.fingerprint)
    }
}

impl fmt::Display for NativeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sandbox-client {}, key {}", self.place, self.fingerprint)
    }
}

/// The identity of an earlier start, or a fresh one, in `STATE_DIR/daemon`.
///
/// # Errors
///
/// Returns [`IdentityError`] when the files are broken or cannot be made.
pub(crate) fn read_or_make(dir: &Path) -> Result<NodeIdentity, IdentityError> {
    let identity = pair(dir)?;
    let fingerprint =
        Fingerprint::of(&identity.certificate).map_err(|_| broken(dir, TlsError::NoCertificate))?;
    let secret = secret(&dir.join(SECRET))?;
    Ok(NodeIdentity {
        setup: ServerSetup { identity, secret },
        fingerprint,
    })
}

fn broken(dir: &Path, source: TlsError) -> IdentityError {
    IdentityError::Pair {
        dir: dir.into(),
        source,
    }
}

fn pair(dir: &Path) -> Result<Identity, IdentityError> {
    let (certificate_path, key_path) = (dir.join(CERTIFICATE), dir.join(KEY));
    let (certificate, key) = match (read(&certificate_path)?, read(&key_path)?) {
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) => return Err(broken(dir, TlsError::NoKey)),
        // The key is written first: without a certificate nobody has trusted it.
        (None, _) => make(&certificate_path, &key_path)?,
    };
    server_config(&certificate, &key).map_err(|source| broken(dir, source))?;
    let certificate = CertificateDer::from_pem_slice(&certificate)
        .map_err(|_| broken(dir, TlsError::NoCertificate))?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| broken(dir, TlsError::NoKey))?;
    Ok(Identity { certificate, key })
}

fn make(certificate: &Path, key: &Path) -> Result<(Vec<u8>, Vec<u8>), IdentityError> {
    // Never runs out, by the library's default, and names nobody: viewers look at its key alone.
    let mut params = CertificateParams::new(Vec::new())?;
    params
        .distinguished_name
        .push(DnType::CommonName, "Secure Sandbox Server");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let pair = KeyPair::generate()?;
    let made = params.self_signed(&pair)?.pem().into_bytes();
    let pair = pair.serialize_pem().into_bytes();
    write(key, &pair)?;
    write(certificate, &made)?;
    Ok((made, pair))
}

fn secret(path: &Path) -> Result<[u8; 32], IdentityError> {
    if let Some(bytes) = read(path)? {
        let secret = bytes.try_into();
        return secret.map_err(|_| IdentityError::Secret { path: path.into() });
    }
    let secret = random();
    write(path, &secret)?;
    Ok(secret)
}

/// What a file holds; nothing where there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>, IdentityError> {
    match File::open(path).and_then(read_bounded) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(io_error(path, source)),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), IdentityError> {
    private_file::write(path, bytes).map_err(|source| io_error(path, source))
}

fn io_error(path: &Path, source: io::Error) -> IdentityError {
    IdentityError::Io {
        path: path.into(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config::{Config, Host};

    fn folder(name: &str) -> PathBuf {
        let name = format!("sandbox-identity-{name}-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn it_is_made_once_for_its_owner_alone() {
        let dir = folder("once");
        let first = read_or_make(&dir).unwrap();
        let second = read_or_make(&dir).unwrap();
        assert_eq!(first.fingerprint, second.fingerprint);
        assert_eq!(first.setup.secret, second.setup.secret);
        for name in [CERTIFICATE, KEY, SECRET] {
            let mode = std::fs::metadata(dir.join(name)).unwrap().permissions();
            assert_eq!(mode.mode() & 0o777, 0o600, "{name}");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn what_is_broken_is_named_and_stays_as_it_is() {
        #[track_caller]
        fn check(name: &str, bytes: Option<&[u8]>, expected: &str) {
            let dir = folder(&format!("broken-{name}-{}", bytes.map_or(0, <[u8]>::len)));
            read_or_make(&dir).unwrap();
            let path = dir.join(name);
            match bytes {
                Some(bytes) => std::fs::write(&path, bytes).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            let words = read_or_make(&dir).unwrap_err().to_string();
            assert!(words.contains(expected), "{words}");
            assert!(words.contains(&dir.display().to_string()), "{words}");
            let after = std::fs::read(&path).ok();
            assert_eq!(after.as_deref(), bytes, "{name}");
            std::fs::remove_dir_all(&dir).unwrap();
        }
        check(CERTIFICATE, Some(b"nonsense"), "node.crt and node.key are");
        check(CERTIFICATE, Some(b""), "node.crt and node.key are");
        check(KEY, Some(b"nonsense"), "remove both and start again");
        check(KEY, None, "remove both and start again");
        check(SECRET, Some(b"short"), "does not hold 32 bytes");
        check(SECRET, Some(&[7; 33]), "does not hold 32 bytes");
    }

    #[test]
    fn a_stranger_to_its_certificate_is_no_key() {
        let (dir, other) = (folder("stranger"), folder("other"));
        read_or_make(&dir).unwrap();
        read_or_make(&other).unwrap();
        std::fs::copy(other.join(KEY), dir.join(KEY)).unwrap();
        let words = read_or_make(&dir).unwrap_err().to_string();
        assert!(words.contains("does not belong"), "{words}");
        std::fs::remove_dir_all(&dir).unwrap();
        std::fs::remove_dir_all(&other).unwrap();
    }

    #[test]
    fn viewers_are_told_what_media_advertises_or_the_nodes_name() {
        #[track_caller]
        fn check(variables: &[(&str, &str)], expected: &str) {
            let host = Host {
                is_root: false,
                user_state_dir: Some("/nonexistent".into()),
                name: "node1".into(),
                memory_mb: 1_024,
                is_terminal: false,
            };
            let variables = variables.iter().map(|(a, b)| ((*a).into(), (*b).into()));
            let config = Config::load(&[], variables, &host).unwrap().daemon;
            let address = NativeAddress::new(&config, 3478, Fingerprint([0xa5; 32]));
            let pin = "a5".repeat(32);
            let url = format!("ada@{expected}#pin=sha256:{pin}");
            assert_eq!(address.url("ada"), url);
        }
        check(&[], "localhost:3478");
        let node = ("NODE_URL", "https://node.example");
        check(&[node], "node.example:3478");
        check(
            &[("NODE_URL", "https://[2001:db8::1]:8443")],
            "[2001:db8::1]:3478",
        );
        check(
            &[node, ("MEDIA_ADVERTISE", "192.0.2.1:99,192.0.2.2")],
            "192.0.2.1:99",
        );
        check(
            &[node, ("MEDIA_ADVERTISE", "2001:db8::2")],
            "[2001:db8::2]:3478",
        );
    }

    /// As after a power cut between the two.
    #[test]
    fn a_key_without_a_certificate_is_nobodys_yet() {
        let dir = folder("half");
        let first = read_or_make(&dir).unwrap();
        std::fs::remove_file(dir.join(CERTIFICATE)).unwrap();
        let second = read_or_make(&dir).unwrap();
        assert_ne!(first.fingerprint, second.fingerprint);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
