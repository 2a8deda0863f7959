//! From a certificate and its key to what a TLS connection is accepted with.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Error, InconsistentKeys, ServerConfig};

/// Bytes of one file: the longest chains have some twenty thousand.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {name}={path}: {source}; name a PEM file that this user may read")]
    Io {
        /// The variable.
        name: &'static str,
        /// Its value.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No certificate in it.
    #[error(
        "the certificate's file holds none: it must be PEM, beginning with -----BEGIN \
         CERTIFICATE-----, this server's certificate first and those of its issuers after it"
    )]
    NoCertificate,
    /// No key in it.
    #[error(
        "the key's file holds none: it must be PEM without a passphrase, such as `openssl pkey -in \
         FILE` prints"
    )]
    NoKey,
    /// Both are fine, but strangers to each other.
    #[error(
        "the key does not belong to the certificate: take both from one issue, such as \
         fullchain.pem and privkey.pem of one folder"
    )]
    Mismatch,
    /// The library's words.
    #[error("certificate or key cannot be used: {0}; have both issued again")]
    Unusable(Error),
}

/// Reads one of the operator's files.
///
/// # Errors
///
/// Returns [`TlsError::Io`] with the variable's name.
pub(crate) fn read(name: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    File::open(path)
        .and_then(read_bounded)
        .map_err(|source| TlsError::Io {
            name,
            path: path.into(),
            source,
        })
}

/// Reads a file of bounded length.
pub(crate) fn read_bounded(file: File) -> io::Result<Vec<u8>> {
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let words = format!("it has more than {FILE_BYTES_MAX} bytes");
        return Err(io::Error::other(words));
    }
    Ok(bytes)
}

/// TLS 1.3 with this certificate, both parts in PEM.
///
/// # Errors
///
/// Returns [`TlsError`] when either is missing or broken, or they do not belong together.
pub(crate) fn server_config(certificate: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|_| TlsError::NoCertificate)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::NoKey)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| {
            if error == Error::InconsistentKeys(InconsistentKeys::KeyMismatch) {
                TlsError::Mismatch
            } else {
                TlsError::Unusable(error)
            }
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn issued() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["desk.example".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[track_caller]
    fn refused(certificate: &str, key: &str, expected: &str) {
        let words = server_config(certificate.as_bytes(), key.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(words.contains(expected), "{words}");
    }

    #[test]
    fn a_certificate_is_taken_with_its_own_key_alone() {
        let (certificate, key) = issued();
        let (other, other_key) = issued();
        server_config(certificate.as_bytes(), key.as_bytes()).unwrap();
        let chain = format!("{certificate}{other}");
        server_config(chain.as_bytes(), key.as_bytes()).unwrap();
        refused(&certificate, &other_key, "does not belong");
        refused("", &key, "certificate's file holds none");
        refused(&key, &key, "certificate's file holds none");
        refused(&certificate, "", "key's file holds none");
        refused(&certificate, &certificate, "key's file holds none");
        let half: String = certificate.chars().take(200).collect();
        refused(&half, &key, "certificate's file holds none");
        let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        refused(nonsense, &key, "cannot be used");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_told_by_variable_and_path() {
        for path in ["/nonexistent/cert.pem", "/proc", "/dev/zero"] {
            let words = read("TLS_CERT", Path::new(path)).unwrap_err().to_string();
            assert!(words.contains(&format!("TLS_CERT={path}")), "{words}");
        }
    }
}
