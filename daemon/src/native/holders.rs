//! Which connection holds which ticket: who comes back with one ends the connection that got it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::media::PeerId;
use crate::state::tickets::TicketId;

/// One entry for each connection that is signed in.
#[derive(Debug, Default)]
pub(crate) struct TicketHolders(Mutex<BTreeMap<TicketId, PeerId>>);

impl TicketHolders {
    /// A connection gets a ticket.
    pub(super) fn give(&self, ticket: TicketId, peer: PeerId) {
        self.all().insert(ticket, peer);
    }

    /// Somebody comes with a ticket, or its connection is over. Returns who held it.
    pub(super) fn take(&self, ticket: TicketId) -> Option<PeerId> {
        self.all().remove(&ticket)
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<TicketId, PeerId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
