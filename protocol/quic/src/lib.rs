//! QUIC for both ends of `sandbox/1`, without I/O: datagrams in, datagrams out, `now` an argument.
//!
//! [`Endpoint`] holds every connection of one UDP port. It is driven like all machines here:
//! inputs by `handle_*`, then [`Endpoint::poll_event`] and [`Endpoint::poll_transmit`] until they
//! are empty, [`Endpoint::poll_timeout`] for the next deadline.
#![forbid(unsafe_code)]

mod endpoint;
mod events;
mod identity;
mod link;
mod silence;
mod transport;
mod window;

pub use bytes::{Bytes, BytesMut};
pub use quinn_proto::{Dir, FrameStats, StreamId};

pub use endpoint::{Arrived, ConnectError, Endpoint, Outgoing};
pub use events::{Closed, Event};
pub use identity::{BadFingerprint, Fingerprint, Identity, IdentityError, Trust};
pub use link::{Handle, NoRoom};
pub use transport::{DATAGRAM_SEND_BYTES, ServerSetup, Side, outer_tls};

/// The one provider of cryptography.
fn provider() -> std::sync::Arc<rustls::crypto::CryptoProvider> {
    std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
