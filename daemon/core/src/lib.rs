//! Every decision of the daemon and the worker: pure, without I/O and without a clock.
//!
//! Machines have the same four verbs: `handle_*` takes an input and `now`, `poll_effect` hands out
//! the next effect, `poll_timeout` names the next deadline, `handle_timeout` lets time pass. After
//! every input the driver drains the effects, then sleeps until the deadline.
#![forbid(unsafe_code)]

pub mod doctor;
pub mod frame_clock;
pub mod lifecycle;
pub mod permit;
pub mod pulse;
pub mod rate_limit;
pub mod refinement;
pub mod region_owner;
pub mod sessions;
