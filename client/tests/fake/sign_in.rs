//! Whom the fake server lets in.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use sandbox_protocol::wire::control::{AuthMethod, Secret};

use super::{CODE, PASSWORD, Server, USER};

impl Server {
    /// The method's name, and whether it lets in.
    pub(super) fn judge(&self, method: &AuthMethod) -> (&'static str, bool) {
        match method {
            AuthMethod::Password { user, password } => (
                "password",
                user == USER && password.0 == PASSWORD && !self.refuses_password,
            ),
            AuthMethod::Ticket { id, .. } => ("ticket", *id == [4; 16]),
            AuthMethod::Enrol {
                code,
                key,
                signature,
                ..
            } => ("enrol", code.0 == CODE && self.is_signed(key, signature)),
            AuthMethod::DeviceKey { key, signature } => ("device", self.is_signed(key, signature)),
            AuthMethod::Token { .. } => ("token", false),
        }
    }

    fn is_signed(&self, key: &[u8; 32], signature: &Secret<[u8; 64]>) -> bool {
        let handle = self.peer.as_ref().unwrap().handle;
        let exporter = self.endpoint.exporter(handle, b"EXPORTER-sandbox-auth");
        UnparsedPublicKey::new(&ED25519, key)
            .verify(&exporter.unwrap(), &signature.0)
            .is_ok()
    }
}
