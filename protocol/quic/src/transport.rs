//! How connections are set up: TLS 1.3 with one protocol name, timers, buffers and limits.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac::{HMAC_SHA256, Key};
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::{
    AckFrequencyConfig, ClientConfig, EndpointConfig, HashedConnectionIdGenerator, IdleTimeout,
    MtuDiscoveryConfig, ServerConfig, TransportConfig, VarInt,
};
use rustls::crypto::CryptoProvider;

use crate::identity::{Identity, IdentityError, PinVerifier, Trust};
use crate::silence::Acknowledged;
use crate::window::WindowFactory;

/// The protocol's name in the handshake (ALPN, RFC 7301).
const ALPN: &[u8] = b"sandbox/1";

/// Round trip assumed before one is known: quinn's 333 ms would pace the first picture over a
/// third of a second.
const INITIAL_RTT: Duration = Duration::from_millis(50);

/// A peer that is silent for so long is gone. Three keep-alives fit into it.
const IDLE_MAX_MS: u32 = 12_000;

/// Keeps the way through address translators open; most forget UDP after 30 s, some after 15 s.
const KEEP_ALIVE: Duration = Duration::from_secs(3);

/// An acknowledgement waits no longer: a lone small update is known to have arrived soon.
const ACK_DELAY_MAX: Duration = Duration::from_millis(5);

/// Bytes of datagrams that may wait inside QUIC. Our scheduler stands in front: what waits here
/// can be reordered no more.
pub const DATAGRAM_SEND_BYTES: usize = 128 << 10;

/// Bytes of received datagrams that may wait for their reader, a burst of large updates.
const DATAGRAM_RECEIVE_BYTES: usize = 4 << 20;

/// Streams that a viewer may open: control, and a few for clipboard and files.
const VIEWER_BIDI_MAX: u32 = 8;
const VIEWER_UNI_MAX: u32 = 8;

/// Streams that a server may open: one per large update in flight, cursor shapes, clipboard.
const SERVER_UNI_MAX: u32 = 64;
const SERVER_BIDI_MAX: u32 = 8;

/// Bytes of one stream that a viewer may send ahead of our reading.
const FROM_VIEWER_BYTES: u32 = 1 << 20;

/// Bytes of one stream that a server may send ahead: a whole desktop of plain pixels is 8 MB.
const FROM_SERVER_BYTES: u32 = 8 << 20;

/// Bytes of streams that wait for acknowledgement.
const SEND_WINDOW_BYTES: u64 = 8 << 20;

/// Which end of a connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Answers.
    Server,
    /// Asks.
    Client,
}

/// What a server's endpoint is made of.
#[derive(Clone, Debug)]
pub struct ServerSetup {
    /// The node's certificate and key.
    pub identity: Identity,
    /// Random, kept over restarts: clients of an earlier life are told at once that it is over
    /// (RFC 9000 §10.3), and address tokens stay good.
    pub secret: [u8; 32],
}

pub(crate) fn endpoint(secret: &[u8; 32]) -> EndpointConfig {
    let mut config = EndpointConfig::new(Arc::new(Key::new(HMAC_SHA256, secret)));
    // Media, STUN and DTLS share the port: the bit tells QUIC apart (RFC 9443, RFC 9287).
    config.grease_quic_bit(false);
    // An earlier life's connection ids have to look like ours, or nobody is told of the restart.
    let [a, b, c, d, e, f, g, h, ..] = *digest(&SHA256, secret).as_ref() else {
        unreachable!("SHA-256 has 32 bytes");
    };
    let key = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(key)));
    config
}

pub(crate) fn server(
    setup: &ServerSetup,
    provider: Arc<CryptoProvider>,
) -> Result<ServerConfig, IdentityError> {
    let identity = setup.identity.clone();
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate], identity.key)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    // Nothing of ours may be replayed, so nothing is said before the handshake is over.
    tls.max_early_data_size = 0;
    let crypto = QuicServerConfig::try_from(tls).map_err(no_initial_suite)?;
    let token_key = Salt::new(HKDF_SHA256, b"sandbox/1 address token").extract(&setup.secret);
    let mut config = ServerConfig::new(Arc::new(crypto), Arc::new(token_key));
    config.transport_config(Arc::new(transport(Side::Server, None)));
    config.max_incoming(INCOMING_MAX);
    config.incoming_buffer_size(INCOMING_BYTES);
    config.incoming_buffer_size_total(INCOMING_BYTES * INCOMING_MAX as u64);
    Ok(config)
}

/// Connections that wait for our answer to their first packet; each is answered in the call that
/// brings it.
const INCOMING_MAX: usize = 64;

/// Bytes that one of them may send before it is answered.
const INCOMING_BYTES: u64 = 16 << 10;

pub(crate) fn client(
    trust: Trust,
    provider: Arc<CryptoProvider>,
    acknowledged: Acknowledged,
) -> Result<ClientConfig, IdentityError> {
    let verifier = PinVerifier::new(trust, &provider);
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    // The name means nothing, and nobody on the way needs to read it.
    tls.enable_sni = false;
    // A resumed handshake shows no certificate that could be compared with the known one.
    tls.resumption = rustls::client::Resumption::disabled();
    let crypto = QuicClientConfig::try_from(tls).map_err(no_initial_suite)?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    let transport = transport(Side::Client, Some(acknowledged));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// TLS of a client around a connection that is inside a WebSocket: it hides from the network what
/// is spoken, and proves nothing. Any certificate will do, for the server is known by the key that
/// it shows inside.
///
/// # Errors
///
/// Returns [`IdentityError`] when the cryptography cannot be set up.
pub fn outer_tls() -> Result<rustls::ClientConfig, IdentityError> {
    let provider = crate::provider();
    let verifier = PinVerifier::new(Trust::Asked, &provider);
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(tls)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature that Result::map_err wants"
)]
fn no_initial_suite(error: quinn_proto::crypto::rustls::NoInitialCipherSuite) -> IdentityError {
    IdentityError(rustls::Error::General(error.to_string()))
}

fn transport(side: Side, acknowledged: Option<Acknowledged>) -> TransportConfig {
    let (bidi, uni, stream_bytes) = match side {
        Side::Server => (VIEWER_BIDI_MAX, VIEWER_UNI_MAX, FROM_VIEWER_BYTES),
        Side::Client => (SERVER_BIDI_MAX, SERVER_UNI_MAX, FROM_SERVER_BYTES),
    };
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(2))
        .max_ack_delay(Some(ACK_DELAY_MAX))
        .reordering_threshold(VarInt::from_u32(2));
    let mut config = TransportConfig::default();
    config
        .initial_rtt(INITIAL_RTT)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_MAX_MS))))
        // One end is enough, and the viewer is the one behind a translator.
        .keep_alive_interval((side == Side::Client).then_some(KEEP_ALIVE))
        .mtu_discovery_config(Some(MtuDiscoveryConfig::default()))
        .ack_frequency_config(Some(acks))
        .datagram_send_buffer_size(DATAGRAM_SEND_BYTES)
        .datagram_receive_buffer_size(Some(DATAGRAM_RECEIVE_BYTES))
        .max_concurrent_bidi_streams(VarInt::from_u32(bidi))
        .max_concurrent_uni_streams(VarInt::from_u32(uni))
        .stream_receive_window(VarInt::from_u32(stream_bytes))
        .receive_window(VarInt::from_u32(stream_bytes * 2))
        .send_window(SEND_WINDOW_BYTES)
        .allow_spin(false)
        .congestion_controller_factory(Arc::new(WindowFactory(acknowledged)));
    config
}
