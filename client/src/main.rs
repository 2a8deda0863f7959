//! The native thin client.
fn main() {}
