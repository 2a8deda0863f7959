//! What each system does in its own way.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;

#[cfg(target_os = "linux")]
pub use self::linux::{Unconfined, confine, program};
#[cfg(not(target_os = "linux"))]
pub use self::other::{Unconfined, confine, program};
