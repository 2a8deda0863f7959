//! Machines of a media stream: without I/O and without a clock, shared by daemon and viewers.

pub mod clock;
mod feedback;
pub mod input;
pub mod input_sender;
mod nack;
mod pacer;
pub mod packetize;
mod parity;
pub mod rate;
pub mod reassemble;
pub mod receiver;
pub mod recovery;
mod round_trip;
mod scheduler;
pub mod sender;
