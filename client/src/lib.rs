//! The native thin client.

pub mod address;
pub mod keys;
pub mod store;
