//! The native client.
#![forbid(unsafe_code)]

pub mod address;
pub mod av1;
mod carrier;
pub mod clock;
pub mod connection;
pub mod device;
pub mod figures;
pub mod keys;
pub mod net;
pub mod origin;
pub mod platform;
pub mod probe;
pub mod screen;
pub mod script;
mod socket;
pub mod store;
mod tunnel;
pub mod typist;
pub mod window;
