//! Since when nothing of ours has been acknowledged: the first sign that a way leads nowhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use quinn_proto::Connection;

/// Set with each acknowledgement of something that had not been acknowledged. QUIC tells its
/// congestion control of them, and nobody else.
#[derive(Clone, Debug, Default)]
pub(crate) struct Acknowledged(Arc<AtomicBool>);

impl Acknowledged {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

#[derive(Debug)]
pub(crate) struct Silence {
    acknowledged: Acknowledged,
    /// Frames that the peer has to acknowledge, as far as they were sent.
    asked: u64,
    since: Option<Instant>,
}

impl Silence {
    pub(crate) const fn new(acknowledged: Acknowledged) -> Self {
        Self {
            acknowledged,
            asked: 0,
            since: None,
        }
    }

    /// A packet left.
    pub(crate) fn handle_sent(&mut self, now: Instant, quic: &Connection) {
        let asked = asked(quic);
        if asked != self.asked {
            self.asked = asked;
            self.since.get_or_insert(now);
        }
    }

    /// A packet came. What else is in flight is asked about again by QUIC's probes.
    pub(crate) fn handle_came(&mut self) {
        if self.acknowledged.take() {
            self.since = None;
        }
    }

    pub(crate) const fn since(&self) -> Option<Instant> {
        self.since
    }
}

/// All else that has to be acknowledged is followed by such frames where it is not. Probes for
/// larger packets hold both kinds of questions too, and are lost wherever the path ends at smaller
/// ones.
fn asked(quic: &Connection) -> u64 {
    let stats = quic.stats();
    let sent = stats.frame_tx;
    let probes = stats.path.sent_plpmtud_probes;
    let questions = [sent.ping, sent.immediate_ack].map(|it| it.saturating_sub(probes));
    questions.iter().sum::<u64>() + sent.datagram + sent.stream
}
