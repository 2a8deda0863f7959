//! Reads RTCP for what our own estimate needs: arrivals of packets, and the round trip.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use sandbox_protocol::stream::rate::Arrival;
use str0m::rtp::rtcp::{ReceptionReport, SenderReport, Twcc};

/// Seconds from NTP's epoch (1900) to Unix's (RFC 868).
const NTP_OFFSET_SECS: u64 = 2_208_988_800;

/// Sender reports that may still be answered.
const SENT_MAX: usize = 4;

/// Rounding between two conversions of one time, in 1/65536 s.
const STAMP_TOLERANCE: u32 = 4;

/// Measures the round trip by sender and receiver reports (RFC 3550 §6.4.1).
#[derive(Debug, Default)]
pub(super) struct RoundTrips {
    sent: VecDeque<(u32, Instant)>,
}

impl RoundTrips {
    pub(super) fn handle_sent(&mut self, now: Instant, report: &SenderReport) {
        if self.sent.len() == SENT_MAX {
            self.sent.pop_front();
        }
        self.sent
            .push_back((middle_bits(report.sender_info.ntp_time), now));
    }

    pub(super) fn handle_received(
        &self,
        now: Instant,
        report: &ReceptionReport,
    ) -> Option<Duration> {
        let (_, sent_at) = self.sent.iter().find(|(stamp, _)| {
            let ahead = report.last_sr_time.wrapping_sub(*stamp);
            ahead.wrapping_add(STAMP_TOLERANCE) <= 2 * STAMP_TOLERANCE
        })?;
        let held = Duration::from_secs(1) * report.last_sr_delay / 65_536;
        now.duration_since(*sent_at).checked_sub(held)
    }
}

/// The middle 32 bits of an NTP time stamp.
fn middle_bits(time: SystemTime) -> u32 {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = (since.as_secs() + NTP_OFFSET_SECS) & 0xffff;
    let fraction = u64::from(since.subsec_nanos()) * 65_536 / 1_000_000_000;
    u32::try_from(seconds << 16 | fraction).unwrap_or_default()
}

/// What a transport-wide report says about each packet.
pub(super) fn arrivals(report: Twcc, zero: Instant) -> impl Iterator<Item = Arrival> {
    // Far from zero, so that unwrapping the first number cannot go below it.
    let extend_from = u64::from(u16::MAX) * 4;
    report
        .into_iter(zero, extend_from.into())
        .map(move |(seq, _, at)| Arrival {
            seq: *seq as u16,
            at: at.map(|it| it.saturating_duration_since(zero)),
        })
}

#[cfg(test)]
mod tests {
    use str0m::media::MediaTime;
    use str0m::rtp::rtcp::SenderInfo;

    use super::*;

    fn answer(last_sr_time: u32, last_sr_delay: u32) -> ReceptionReport {
        ReceptionReport {
            ssrc: 1.into(),
            fraction_lost: 0,
            packets_lost: 0,
            max_seq: 0,
            jitter: 0,
            last_sr_time,
            last_sr_delay,
        }
    }

    #[test]
    fn the_round_trip_is_what_the_report_was_away_less_what_it_was_held() {
        let now = crate::clock::now();
        let ntp_time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_790_000_000_250);
        let mut trips = RoundTrips::default();
        let sender_info = SenderInfo {
            ssrc: 1.into(),
            ntp_time,
            rtp_time: MediaTime::from_90khz(0),
            sender_packet_count: 0,
            sender_octet_count: 0,
        };
        trips.handle_sent(
            now,
            &SenderReport {
                sender_info,
                reports: Default::default(),
            },
        );
        let later = now + Duration::from_millis(540);
        let half_second = 32_768;
        let stamp = middle_bits(ntp_time);
        let trip = |stamp, delay| trips.handle_received(later, &answer(stamp, delay));
        assert_eq!(trip(stamp, half_second), Some(Duration::from_millis(40)));
        assert_eq!(
            trip(stamp + 2, half_second),
            Some(Duration::from_millis(40))
        );
        assert_eq!(trip(stamp + 100, half_second), None);
        assert_eq!(trip(stamp, 65_536), None);
    }
}
