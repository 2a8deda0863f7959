//! The native client.
#![forbid(unsafe_code)]

pub mod address;
pub mod connection;
pub mod keys;
pub mod screen;
pub mod store;
