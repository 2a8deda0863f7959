//! What viewers and the daemon say to each other. `docs/PROTOCOL.md` gives every layout.

pub mod ctl;
pub mod input;
pub mod signal;
pub mod update;
