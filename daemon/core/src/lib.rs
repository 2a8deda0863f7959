//! Every decision of the daemon and the worker: pure, without I/O and without a clock.
#![forbid(unsafe_code)]

pub mod frame_clock;
pub mod refinement;
