//! The wires inside one node: warden, daemon, worker. Each opens with its version.

pub mod frame;
pub mod warden;
pub mod worker;
