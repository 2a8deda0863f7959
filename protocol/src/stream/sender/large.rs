//! Updates on streams of their own: no report names their packets, but QUIC knows when all of one
//! is there, and how long that took tells the link's rate.

use std::time::Instant;

use super::Sender;
use crate::wire::datagram::Epoch;

impl Sender {
    /// All bytes of an update's stream have arrived, as QUIC knows.
    pub fn handle_stream_arrived(&mut self, now: Instant, (epoch, update): (Epoch, u32)) {
        if epoch == self.epoch
            && let Some((bytes, since)) = self.sent.close_stream(update)
        {
            self.reports.handle_large(now, bytes, since);
            self.set_rate(now);
        }
    }

    /// The viewer does not want an update's stream.
    pub fn handle_stream_stopped(&mut self, (epoch, update): (Epoch, u32)) {
        if epoch == self.epoch {
            self.sent.close_stream(update);
        }
    }
}
