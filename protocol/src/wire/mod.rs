//! What viewers and the daemon say to each other. `docs/PROTOCOL.md` gives every layout.

pub mod codes;
pub mod control;
pub mod ctl;
pub mod datagram;
pub mod input;
mod reader;
pub mod signal;
pub mod update;
pub mod update_stream;
