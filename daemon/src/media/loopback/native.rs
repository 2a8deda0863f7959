//! Native viewers over real sockets.

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use sandbox_quic::{Identity, ServerSetup};

/// A node of the test's own.
pub(super) fn setup() -> ServerSetup {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap();
    ServerSetup {
        identity: Identity {
            certificate: certificate.der().clone(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        },
        secret: [7; 32],
    }
}
