//! Parts of the native thin client: what it is told, what keys mean, what it remembers.

pub mod address;
pub mod keys;
pub mod store;
