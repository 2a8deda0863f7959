//! Writes down what becomes of sessions, and again what could not be written: a session that is in
//! no record ends with this daemon.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use futures_lite::future;
use sandbox_protocol::{Deadline, SessionId, Wakeup};

use crate::clock;
use crate::state::Store;
use crate::state::sessions::{self, Record};

/// Between two attempts while the database cannot be written: somebody has to make room first.
const PAUSE: Duration = Duration::from_secs(5);

/// Failures that may wait; the database's thread waits with the next one.
const FAILURES_MAX: usize = 64;

/// The records of this node's sessions.
#[derive(Debug)]
pub(super) struct Records {
    store: Store,
    failures: (Sender<SessionId>, Receiver<SessionId>),
    /// Sessions whose newest state may not be written.
    unwritten: BTreeSet<SessionId>,
    retry_at: Option<Instant>,
}

impl Records {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            failures: async_channel::bounded(FAILURES_MAX),
            unwritten: BTreeSet::new(),
            retry_at: None,
        }
    }

    /// Writes a session's state, as soon as the database can.
    pub(super) fn write(&mut self, record: Record) {
        let (now, unix) = (clock::now(), clock::unix_seconds());
        let session = record.plan.session;
        let failures = self.failures.0.clone();
        let is_posted = self.store.post(move |connection| {
            if let Err(error) = sessions::write(connection, &record, unix) {
                tracing::error!(%session, %error, "a session's state is not recorded yet");
                // At the end of the process nobody tries again.
                let _ending = failures.send_blocking(session);
            }
        });
        if !is_posted {
            tracing::warn!(%session, "the database is too slow to record a session's state yet");
            self.handle_failure(session, now);
        }
    }

    /// The next session whose record could not be written.
    pub(super) async fn failure(&self) -> SessionId {
        match self.failures.1.recv().await {
            Ok(session) => session,
            // Never: the sender lives as long as we do.
            Err(_) => future::pending().await,
        }
    }

    pub(super) fn handle_failure(&mut self, session: SessionId, now: Instant) {
        self.unwritten.insert(session);
        self.retry_at.get_or_insert(now + PAUSE);
    }

    pub(super) fn poll_timeout(&self) -> Option<Deadline> {
        self.retry_at.map(|at| Deadline {
            at,
            why: Wakeup::UnwrittenRecord,
        })
    }

    /// The sessions whose state is to be written now.
    pub(super) fn due(&mut self, now: Instant) -> BTreeSet<SessionId> {
        match self.retry_at.take_if(|at| now >= *at) {
            Some(_) => std::mem::take(&mut self.unwritten),
            None => BTreeSet::new(),
        }
    }
}
