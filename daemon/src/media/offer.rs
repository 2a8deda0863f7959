//! Turns a page's offer into a connection: ICE-lite, H.264 alone, our one certificate.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::change::SdpOffer;
use str0m::config::{CryptoProvider, DtlsCert};
use str0m::format::{Codec, PayloadParams};
use str0m::media::{Mid, Pt};
use str0m::net::TcpType;
use str0m::rtp::Extension;
use str0m::{Candidate, Rtc, RtcConfig};

use super::AttachError;
use super::addresses::Candidates;

/// Outgoing packets held for retransmission: the largest access unit and a second of video.
const SEND_BUFFER_PACKETS: usize = 8_192;

/// Sender reports: they only serve to measure the round trip.
const REPORT_INTERVAL: Duration = Duration::from_secs(2);

/// Free in str0m's standard map, which lacks this extension.
const PLAYOUT_DELAY_ID: u8 = 5;

/// Makes connections.
pub(super) struct Answerer {
    crypto: Arc<CryptoProvider>,
    certificate: DtlsCert,
    candidates: Candidates,
}

/// A connection that was answered.
pub(super) struct Answer {
    pub(super) rtc: Rtc,
    /// Our STUN user name.
    pub(super) ufrag: String,
    pub(super) sdp: String,
}

impl Answerer {
    /// Makes the certificate that all connections share: one each would cost a key pair per viewer.
    pub(super) fn new(candidates: Candidates) -> Result<Self, String> {
        let crypto = Arc::new(str0m::crypto::from_feature_flags());
        let certificate = crypto
            .dtls_provider
            .generate_certificate()
            .ok_or("cannot make a DTLS certificate")?;
        Ok(Self {
            crypto,
            certificate,
            candidates,
        })
    }

    pub(super) const fn candidates(&self) -> &Candidates {
        &self.candidates
    }

    /// Answers a first offer.
    pub(super) fn answer(&self, offer: &str, now: Instant) -> Result<Answer, AttachError> {
        let mut rtc = self.config().build(now);
        for address in &self.candidates.udp {
            let candidate = Candidate::host(*address, "udp");
            add_candidate(&mut rtc, candidate)?;
        }
        for address in &self.candidates.tcp {
            let candidate = Candidate::builder()
                .tcp()
                .host(*address)
                .tcptype(TcpType::Passive)
                .build();
            add_candidate(&mut rtc, candidate)?;
        }
        let (sdp, ufrag) = accept(&mut rtc, offer)?;
        if !sdp.contains(" H264/90000") {
            return Err(AttachError::NoCodec(
                "the browser offers no H.264; Firefox needs its OpenH264 plugin for it".to_owned(),
            ));
        }
        Ok(Answer { rtc, ufrag, sdp })
    }

    fn config(&self) -> RtcConfig {
        Rtc::builder()
            .set_crypto_provider(self.crypto.clone())
            .set_dtls_cert(self.certificate.clone())
            .set_ice_lite(true)
            .clear_codecs()
            .enable_h264(true)
            .set_extension(PLAYOUT_DELAY_ID, Extension::PlayoutDelay)
            .set_send_buffer_video(SEND_BUFFER_PACKETS)
            .set_rtcp_report_interval_video(REPORT_INTERVAL)
            // Its raw packets feed our own estimate of the link: str0m's pads for ever.
            .enable_raw_packets(true)
    }
}

/// Answers an offer on a connection; says the answer and our STUN user name.
pub(super) fn accept(rtc: &mut Rtc, offer: &str) -> Result<(String, String), AttachError> {
    let accepted = catch_unwind(AssertUnwindSafe(|| {
        let offer = SdpOffer::from_sdp_string(offer).map_err(|it| it.to_string())?;
        let answer = rtc
            .sdp_api()
            .accept_offer(offer)
            .map_err(|it| it.to_string())?;
        Ok((
            answer.to_sdp_string(),
            rtc.direct_api().local_ice_credentials().ufrag,
        ))
    }));
    match accepted {
        Ok(answer) => answer.map_err(AttachError::Sdp),
        Err(_) => Err(AttachError::Sdp("it breaks the parser".to_owned())),
    }
}

fn add_candidate<E: ToString>(
    rtc: &mut Rtc,
    candidate: Result<Candidate, E>,
) -> Result<(), AttachError> {
    let candidate = candidate.map_err(|it| AttachError::Sdp(it.to_string()))?;
    rtc.add_local_candidate(candidate);
    Ok(())
}

/// The payload type that our encoder's stream fits best, among those that the page takes.
///
/// Every encoder of ours makes Constrained Baseline, which every H.264 decoder takes; a page that
/// names only Baseline or Main decodes it as well.
pub(super) fn h264(rtc: &mut Rtc, mid: Mid) -> Option<Pt> {
    let writer = rtc.writer(mid)?;
    writer
        .payload_params()
        .filter_map(|it| Some((preference(it)?, it.pt())))
        .min_by_key(|(preference, _)| *preference)
        .map(|(_, pt)| pt)
}

fn preference(params: &PayloadParams) -> Option<u8> {
    let spec = params.spec();
    // Mode 0 knows no fragments: a frame larger than a packet could not be sent.
    if spec.codec != Codec::H264 || spec.format.packetization_mode != Some(1) {
        return None;
    }
    match spec.format.profile_level_id.unwrap_or(0x42_0010) >> 8 {
        0x42e0 | 0x42c0 => Some(0),
        0x4200 => Some(1),
        0x4d00..=0x4dff => Some(2),
        0x6400..=0x64ff => Some(3),
        _ => Some(4),
    }
}
