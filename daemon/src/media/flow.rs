//! Decides whether the worker may capture: what the link has not taken yet is worth no newer frame.

use std::time::Duration;

use sandbox_protocol::Bitrate;

/// What the link may hold beyond a round trip: receivers report about ten times a second.
const SLACK: Duration = Duration::from_millis(150);

/// Bytes that are always allowed in flight: one frame of a slow link.
const WINDOW_BYTES_MIN: u64 = 64 << 10;

/// The worker's permission to capture.
#[derive(Debug)]
pub(super) struct Flow {
    is_open: bool,
}

/// What is known of the link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    /// Bytes sent and not yet reported, and bytes not yet sent.
    pub(super) outstanding_bytes: usize,
    pub(super) target: Bitrate,
    pub(super) round_trip: Duration,
}

impl Flow {
    pub(super) const fn new() -> Self {
        Self { is_open: true }
    }

    pub(super) const fn is_open(&self) -> bool {
        self.is_open
    }

    /// Says what changed, if anything: `true` to go on, `false` to stop.
    pub(super) fn handle_link(&mut self, link: Link) -> Option<bool> {
        let outstanding = u64::try_from(link.outstanding_bytes).unwrap_or(u64::MAX);
        let window = link.window_bytes();
        // Reopens at half the window, so that it does not flap with every report.
        let is_open = outstanding <= if self.is_open { window } else { window / 2 };
        (is_open != self.is_open).then(|| {
            self.is_open = is_open;
            is_open
        })
    }
}

impl Link {
    fn window_bytes(self) -> u64 {
        let millis = u64::try_from((self.round_trip + SLACK).as_millis()).unwrap_or(u64::MAX);
        let bytes = self.target.bps().saturating_mul(millis) / 8_000;
        bytes.max(WINDOW_BYTES_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(outstanding_bytes: usize) -> Link {
        Link {
            outstanding_bytes,
            target: Bitrate::kbps(8_000),
            round_trip: Duration::from_millis(50),
        }
    }

    #[test]
    fn the_window_is_the_rate_over_a_round_trip_and_some_slack() {
        assert_eq!(link(0).window_bytes(), 200_000);
        let slow = Link {
            target: Bitrate::kbps(100),
            ..link(0)
        };
        assert_eq!(slow.window_bytes(), WINDOW_BYTES_MIN);
    }

    #[test]
    fn a_full_link_stops_captures_until_half_of_it_has_drained() {
        let mut flow = Flow::new();
        assert_eq!(flow.handle_link(link(200_000)), None);
        assert_eq!(flow.handle_link(link(200_001)), Some(false));
        assert_eq!(flow.handle_link(link(150_000)), None);
        assert_eq!(flow.handle_link(link(100_000)), Some(true));
        assert_eq!(flow.handle_link(link(0)), None);
    }
}
