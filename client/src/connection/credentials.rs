//! Who signs in, and how they prove it.

use aws_lc_rs::hmac;
use sandbox_protocol::wire::control::{AuthMethod, Secret};

use crate::device::DeviceKey;

/// Who signs in.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Account.
    pub user: String,
    /// How they prove it.
    pub proof: Proof,
    /// Of the connection before; the proof follows where it is refused.
    pub ticket: Option<Ticket>,
}

/// How a user proves who they are.
#[derive(Clone, Debug)]
pub enum Proof {
    /// By a password.
    Password(Secret<String>),
    /// By this device's key, which the server knows.
    Device(DeviceKey),
    /// By a code for one use, with which the server learns this device's key.
    Enrol {
        /// The code.
        code: Secret<String>,
        /// The key.
        key: DeviceKey,
        /// What the user calls the device.
        name: String,
    },
}

impl Credentials {
    /// The server has let the user in, and knows this device's key from here on.
    pub fn handle_welcome(&mut self, ticket: Ticket) {
        self.ticket = Some(ticket);
        if let Proof::Enrol { key, .. } = &self.proof {
            self.proof = Proof::Device(key.clone());
        }
    }
}

/// Signs in once, without a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Its name.
    pub id: [u8; 16],
    /// Its key.
    pub key: Secret<[u8; 32]>,
}

impl Ticket {
    pub(super) fn method(&self, exporter: &[u8; 32]) -> AuthMethod {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.key.0);
        let proof = hmac::sign(&key, exporter);
        AuthMethod::Ticket {
            id: self.id,
            proof: Secret(proof.as_ref().try_into().expect("SHA-256 has 32 bytes")),
        }
    }
}
