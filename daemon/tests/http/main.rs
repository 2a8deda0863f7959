//! The daemon over its real sockets, with a warden of the test's own: no root, no desktop.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that finds less than it names has failed"
)]

mod access;
mod bridge;
mod native;
mod page;
mod refresh;
mod sessions;
mod signalling;
mod socket;
mod tcp;
mod tls;
mod tunnel;
mod viewer;
mod world;
