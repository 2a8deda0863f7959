//! The daemon over its real sockets, with a warden of the test's own: no root, no desktop.
#![expect(clippy::unwrap_used, reason = "tests")]

mod access;
mod page;
mod sessions;
mod signalling;
mod socket;
mod world;
