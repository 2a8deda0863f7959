//! Who a server is: one key per node, named by the SHA-256 of its public half.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerIncompatible, SignatureScheme};

const PREFIX: &str = "sha256:";

/// SHA-256 of a public key (SubjectPublicKeyInfo, RFC 7469 §2.4), written `sha256:` and 64
/// hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// A text was no fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no fingerprint: it is written sha256: and 64 hexadecimal digits")]
pub struct BadFingerprint(String);

impl Fingerprint {
    /// The fingerprint of a certificate's key.
    ///
    /// # Errors
    ///
    /// Returns [`IdentityError`] when the bytes are no certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let parsed = ParsedCertificate::try_from(certificate).map_err(IdentityError)?;
        let key = parsed.subject_public_key_info();
        let hash = digest(&SHA256, &key);
        let bytes = hash.as_ref().try_into().expect("SHA-256 has 32 bytes");
        Ok(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.0.iter().try_for_each(|it| write!(f, "{it:02x}"))
    }
}

impl FromStr for Fingerprint {
    type Err = BadFingerprint;

    fn from_str(text: &str) -> Result<Self, BadFingerprint> {
        let bad = || BadFingerprint(text.chars().take(80).collect());
        let digits = text.strip_prefix(PREFIX).ok_or_else(bad)?.as_bytes();
        let mut bytes = [0; 32];
        if digits.len() != 2 * bytes.len() {
            return Err(bad());
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = str::from_utf8(pair).map_err(|_| bad())?;
            // The parser would take a sign.
            if !pair.bytes().all(|it| it.is_ascii_hexdigit()) {
                return Err(bad());
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
        }
        Ok(Self(bytes))
    }
}

/// A certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("certificate or key cannot be used: {0}")]
pub struct IdentityError(#[from] pub(crate) Error);

/// A server's certificate and key.
#[derive(Debug)]
pub struct Identity {
    /// Self-signed: clients know the key, not who signed it.
    pub certificate: CertificateDer<'static>,
    /// PKCS #8.
    pub key: PrivateKeyDer<'static>,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self {
            certificate: self.certificate.clone(),
            key: self.key.clone_key(),
        }
    }
}

/// Which servers a client speaks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Only the one with this key; any other fails in the handshake, before anything is said.
    Pinned(Fingerprint),
    /// Any: whoever connects compares the fingerprint before it says anything.
    Asked,
}

/// Holds a server to its key; names and dates in a self-signed certificate mean nothing.
#[derive(Debug)]
pub(crate) struct PinVerifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

impl PinVerifier {
    pub(crate) fn new(trust: Trust, provider: &CryptoProvider) -> Arc<Self> {
        Arc::new(Self {
            trust,
            algorithms: provider.signature_verification_algorithms,
        })
    }
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let bad = Error::InvalidCertificate(CertificateError::BadEncoding);
        let seen = Fingerprint::of(end_entity).map_err(|_| bad)?;
        match self.trust {
            Trust::Pinned(pinned) if pinned != seen => Err(Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            )),
            Trust::Pinned(_) | Trust::Asked => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // QUIC is TLS 1.3 alone (RFC 9001 §4.2).
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_it_is_written() {
        let fingerprint = Fingerprint([0xa5; 32]);
        let text = fingerprint.to_string();
        assert_eq!(text.len(), "sha256:".len() + 64);
        assert_eq!(text.parse(), Ok(fingerprint));
        assert_eq!(
            text.to_uppercase().replace("SHA256", "sha256").parse(),
            Ok(fingerprint)
        );
    }

    #[test]
    fn what_is_no_fingerprint_is_refused_with_the_form() {
        let digits = "a5".repeat(32);
        for text in [
            String::new(),
            digits.clone(),
            format!("sha1:{digits}"),
            format!("sha256:{digits}00"),
            format!("sha256:{}", &digits[1..]),
            format!("sha256:+5{}", &digits[2..]),
            format!("sha256:é{}", &digits[2..]),
        ] {
            let error = text.parse::<Fingerprint>().unwrap_err();
            assert!(
                error.to_string().contains("64 hexadecimal digits"),
                "{text}"
            );
        }
    }
}
