//! Rights as values: whoever must have one asks for it as a parameter.

use std::fmt;
use std::marker::PhantomData;

use sandbox_protocol::SessionId;

/// The right to inject input into a desktop, paste into it and say its size.
#[derive(Debug)]
pub enum Control {}

/// The right `R` in one session; only the sessions' machine hands it out. A later one of the same
/// session makes an earlier one void.
pub struct Permit<R> {
    session: SessionId,
    turn: u64,
    right: PhantomData<R>,
}

impl Permit<Control> {
    /// The right to control, for the `turn`-th time that it passes.
    pub(crate) const fn control(session: SessionId, turn: u64) -> Self {
        Self {
            session,
            turn,
            right: PhantomData,
        }
    }
}

impl<R> Permit<R> {
    /// Where it holds.
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// Counts the permits of the session from 1: of two, the higher one holds.
    pub const fn turn(&self) -> u64 {
        self.turn
    }
}

impl<R> fmt::Debug for Permit<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("session", &self.session)
            .field("turn", &self.turn)
            .finish()
    }
}

impl<R> PartialEq for Permit<R> {
    fn eq(&self, other: &Self) -> bool {
        (self.session, self.turn) == (other.session, other.turn)
    }
}

impl<R> Eq for Permit<R> {}
