//! The warden: makes, limits and destroys jails.

mod account;
mod cgroup;
mod clock;
mod jail;
mod layer;
mod limits;
mod plan;
pub mod seal;
mod seccomp;
mod sys;
pub mod warden;

pub use account::{AccountError, become_daemon_user, daemon_ids};
#[doc(hidden)]
pub use layer::{Host, Layer, Sys};
