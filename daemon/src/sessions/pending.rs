//! Requests that the warden has not answered: it answers those of one session in their order.

use std::collections::{BTreeMap, VecDeque};

use async_channel::Sender;
use sandbox_core::sessions::AttachId;
use sandbox_protocol::SessionId;

use super::{RequestError, Ticket, Usage};

/// Requests about one session that may wait for the warden's answers.
pub(super) const PENDING_MAX: usize = 32;

/// One request, and who waits for it.
pub(super) enum Pending {
    Attach(AttachId, Sender<Result<Ticket, RequestError>>),
    Usage(Sender<Result<Usage, RequestError>>),
}

/// All of them, by session.
#[derive(Default)]
pub(super) struct Queues(BTreeMap<SessionId, VecDeque<Pending>>);

impl Queues {
    /// Notes a request that is about to be sent; gives it back when too many wait.
    pub(super) fn push(&mut self, session: SessionId, pending: Pending) -> Result<(), Pending> {
        let queue = self.0.entry(session).or_default();
        if queue.len() >= PENDING_MAX {
            return Err(pending);
        }
        queue.push_back(pending);
        Ok(())
    }

    /// The request that an answer belongs to.
    pub(super) fn answered(&mut self, session: SessionId) -> Option<Pending> {
        let queue = self.0.get_mut(&session)?;
        let pending = queue.pop_front();
        if queue.is_empty() {
            self.0.remove(&session);
        }
        pending
    }

    /// Everything that waits about a session that is gone.
    pub(super) fn take_all(&mut self, session: SessionId) -> VecDeque<Pending> {
        self.0.remove(&session).unwrap_or_default()
    }
}
