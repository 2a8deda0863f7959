//! A certificate that this server makes for itself, once.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};

use super::load::{TlsError, read, read_bounded, server_config};
use crate::config::DaemonConfig;
use crate::private_file;

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// A certificate of our own cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelfSignedError {
    /// Files of an earlier start are broken.
    #[error(
        "STATE_DIR/daemon/tls.crt and tls.key are no pair ({0}): remove both and start again, \
         after which the fingerprint is another"
    )]
    Broken(#[from] TlsError),
    /// The library cannot make it.
    #[error("cannot make a certificate: {0}; PUBLIC_URL, NODE_URL and HOST_ALIASES name its hosts")]
    Make(#[from] rcgen::Error),
    /// The files cannot be written.
    #[error("cannot write STATE_DIR/daemon/tls.crt and tls.key: {0}")]
    Write(#[from] io::Error),
}

/// The certificate of an earlier start, or a fresh one; with its fingerprint.
///
/// # Errors
///
/// Returns [`SelfSignedError`] when the files are broken or cannot be made.
pub(super) fn read_or_make(
    config: &DaemonConfig,
) -> Result<(Arc<ServerConfig>, String), SelfSignedError> {
    let (certificate, key) = (config.dir.join(CERTIFICATE), config.dir.join(KEY));
    // The key is written first: without a certificate nobody has trusted it.
    if !certificate.exists() {
        make(config, &certificate, &key)?;
    }
    let certificate = read("TLS_SELF_SIGNED", &certificate)?;
    let key = File::open(&key)
        .and_then(read_bounded)
        .map_err(|_| TlsError::NoKey)?;
    let server = server_config(&certificate, &key)?;
    let der = CertificateDer::from_pem_slice(&certificate).map_err(|_| TlsError::NoCertificate)?;
    Ok((server, fingerprint(&der)))
}

fn make(config: &DaemonConfig, certificate: &Path, key: &Path) -> Result<(), SelfSignedError> {
    // Never runs out, by the library's default: it is trusted by its fingerprint, which is to stay.
    let mut params = CertificateParams::new(names(config))?;
    params
        .distinguished_name
        .push(DnType::CommonName, "Secure Sandbox Server");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let pair = KeyPair::generate()?;
    let made = params.self_signed(&pair)?;
    private_file::write(key, pair.serialize_pem().as_bytes())?;
    private_file::write(certificate, made.pem().as_bytes())?;
    Ok(())
}

/// Every name that this server answers to.
fn names(config: &DaemonConfig) -> Vec<String> {
    let aliases = config.host_aliases.iter().map(|(host, _)| host);
    let names: BTreeSet<String> = [&config.public_url.host, &config.node_url.host]
        .into_iter()
        .chain(aliases)
        .map(|it| it.trim_matches(['[', ']']).to_owned())
        .chain(["localhost", "127.0.0.1", "::1"].map(str::to_owned))
        .collect();
    names.into_iter().collect()
}

/// SHA-256 as browsers show it.
fn fingerprint(der: &CertificateDer<'_>) -> String {
    let bytes = Sha256::digest(der);
    let pairs: Vec<String> = bytes.iter().map(|it| format!("{it:02X}")).collect();
    pairs.join(":")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config::{Config, Host};

    fn config(name: &str) -> DaemonConfig {
        let state = std::env::temp_dir().join(format!("sandbox-{name}-{}", std::process::id()));
        std::fs::create_dir_all(state.join("daemon")).unwrap();
        let environment = [
            ("STATE_DIR", state.display().to_string()),
            ("TLS_SELF_SIGNED", "true".into()),
            ("PUBLIC_URL", "https://[2001:db8::1]:8443".into()),
            ("HOST_ALIASES", "desk.example,other.example:81".into()),
        ];
        let host = Host {
            is_root: false,
            user_state_dir: None,
            name: "node1".into(),
            memory_mb: 1_024,
            is_terminal: false,
        };
        let environment = environment.map(|(name, value)| (name.to_owned(), value));
        Config::load(&[], environment, &host).unwrap().daemon
    }

    #[test]
    fn it_is_made_once_for_its_owner_alone_and_a_broken_pair_is_named() {
        let config = config("self-signed");
        let (_, first) = read_or_make(&config).unwrap();
        assert_eq!(first.len(), 32 * 3 - 1);
        let (_, second) = read_or_make(&config).unwrap();
        assert_eq!(first, second);
        let key = config.dir.join(KEY);
        let mode = std::fs::metadata(&key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(&key, "nonsense").unwrap();
        let words = read_or_make(&config).unwrap_err().to_string();
        assert!(words.contains("remove both and start again"), "{words}");
        std::fs::remove_file(config.dir.join(CERTIFICATE)).unwrap();
        let (_, third) = read_or_make(&config).unwrap();
        assert_ne!(first, third);
        std::fs::remove_dir_all(config.dir.parent().unwrap()).unwrap();
    }

    #[test]
    fn it_names_every_host_of_this_server() {
        let config = config("names");
        std::fs::remove_dir_all(config.dir.parent().unwrap()).unwrap();
        let expected = [
            "127.0.0.1",
            "2001:db8::1",
            "::1",
            "desk.example",
            "localhost",
            "other.example",
        ];
        assert_eq!(names(&config), expected);
    }
}
