//! The warden: makes, limits and destroys jails.
//!
//! [`warden::run`] is the server's first process. `plan` says what each jail shall look like,
//! `jail` applies a plan irrevocably, `sys` holds the calls that no library wraps. In a jail's
//! process the order is: own cgroup with its limits, namespaces, ids, root, pivot, resource
//! limits, capabilities, `no_new_privs`, Landlock, seccomp, program; each step goes through
//! [`Sys`], so that a test can take one away and see the session refused by that layer's name.

mod account;
mod cgroup;
mod clock;
mod cover;
mod delegation;
mod ids;
mod jail;
mod layer;
mod limits;
mod obstacle;
mod plan;
pub mod probe;
pub mod seal;
mod seccomp;
mod standing;
mod sys;
pub mod warden;

pub use account::AccountError;
#[doc(hidden)]
pub use layer::{Host, Layer, Sys};
pub use sys::memory::return_large_blocks;
