//! The bytes in flight that QUIC itself allows: a safety cap around our own estimate of the link.
//!
//! The rate is decided by one estimator above (`stream::rate`); a second controller below it
//! would fight it. This one keeps a wide window, halves it when the path is dead (persistent
//! congestion, RFC 9002 §7.6), and grows it back with what is delivered.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use quinn_proto::congestion::{Controller, ControllerFactory};
use quinn_proto::{Connection, RttEstimator};

use crate::silence::Acknowledged;

/// QUIC spreads a window over four fifths of a round trip; what we let leave at once, 256 KB, is
/// not to be stretched by that. A megabyte in 40 ms is 260 Mbit/s.
const INITIAL_BYTES: u64 = 1 << 20;

/// What is in flight on the widest link we serve: 100 Mbit/s over 300 ms.
const MAX_BYTES: u64 = 4 << 20;

/// Enough for input, control and a small picture, whatever was lost.
const MIN_BYTES: u64 = 64 << 10;

#[derive(Clone, Debug)]
pub(crate) struct Window {
    bytes: u64,
    /// The connection is over. QUIC holds even the words of its end back while the window is
    /// full, and hears of no acknowledgement that would open it.
    is_closing: Arc<AtomicBool>,
    acknowledged: Option<Acknowledged>,
}

impl Window {
    /// Lets the words of a connection's end leave.
    pub(crate) fn open_for_end(connection: &Connection) {
        let state = connection.congestion_state().clone_box().into_any();
        if let Ok(window) = state.downcast::<Self>() {
            window.is_closing.store(true, Ordering::Relaxed);
        }
    }
}

/// Makes windows; those of one connection tell of its acknowledgements, where somebody asks.
#[derive(Debug)]
pub(crate) struct WindowFactory(pub(crate) Option<Acknowledged>);

impl ControllerFactory for WindowFactory {
    fn build(self: Arc<Self>, _now: Instant, _current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Window {
            bytes: INITIAL_BYTES,
            is_closing: Arc::default(),
            acknowledged: self.0.clone(),
        })
    }
}

impl Controller for Window {
    fn on_ack(
        &mut self,
        _now: Instant,
        _sent: Instant,
        bytes: u64,
        app_limited: bool,
        _rtt: &RttEstimator,
    ) {
        // What we do not fill need not grow.
        if !app_limited {
            self.bytes = (self.bytes + bytes).min(MAX_BYTES);
        }
    }

    fn on_end_acks(&mut self, _: Instant, _in_flight: u64, _app_limited: bool, _: Option<u64>) {
        if let Some(acknowledged) = &self.acknowledged {
            acknowledged.set();
        }
    }

    fn on_congestion_event(
        &mut self,
        _now: Instant,
        _sent: Instant,
        is_persistent_congestion: bool,
        _lost_bytes: u64,
    ) {
        if is_persistent_congestion {
            self.bytes = (self.bytes / 2).max(MIN_BYTES);
        }
    }

    fn on_mtu_update(&mut self, _new_mtu: u16) {}

    fn window(&self) -> u64 {
        if self.is_closing.load(Ordering::Relaxed) {
            u64::MAX
        } else {
            self.bytes
        }
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        INITIAL_BYTES
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
