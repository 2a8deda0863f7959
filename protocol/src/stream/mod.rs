//! Machines of a media stream: without I/O and without a clock, shared by daemon and viewers.

pub mod input;
pub mod parity;
pub mod rate;
