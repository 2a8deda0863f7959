//! What is known of a path from elsewhere before anything has left, and what is learnt for later.

use std::time::{Duration, Instant};

use super::Sender;
use crate::Bitrate;
use crate::stream::pacer::Pacer;

impl Sender {
    /// A round trip was measured elsewhere, as in the handshake.
    pub fn handle_round_trip(&mut self, now: Instant, sample: Duration) {
        self.reports.handle_round_trip(now, sample);
    }

    /// Begins, before the first update, with the rate that the viewer's path is said to have taken
    /// before. It is believed for the encoder's first pictures: what is under way stays within what
    /// is usual until the path was measured.
    pub fn handle_hint(&mut self, hint: Bitrate) {
        self.reports.handle_hint(hint);
        self.pacer = Pacer::new(self.reports.trusted());
    }

    /// What the path takes, once it was measured: a hint for the next stream.
    pub fn learnt(&self) -> Option<Bitrate> {
        self.reports.learnt()
    }
}
