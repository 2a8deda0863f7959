//! Picks the role before any thread or library starts.

fn main() {}
