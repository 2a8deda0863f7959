//! What both ends of a wire agree on. Pure: no I/O, no clock, no unsafe.
#![forbid(unsafe_code)]

pub mod codec;
mod deadline;
mod id;
pub mod limits;
pub mod local;
mod rect;
pub mod screen;
pub mod stream;
mod units;
pub mod wire;

pub use deadline::{Deadline, Wakeup};
pub use id::{BadId, SessionId, UserIndex, ViewerId};
pub use rect::{Point, Rect};
pub use units::{Bitrate, Micros, Pixel, Size};
