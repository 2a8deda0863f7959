//! A system that nothing is known of: a process is only a process.

use std::convert::Infallible;
use std::path::PathBuf;

/// There is nothing that could fail.
pub type Unconfined = Infallible;

/// Does nothing: what runs here may do what its user may.
///
/// # Errors
///
/// None.
pub fn confine() -> Result<(), Unconfined> {
    Ok(())
}

/// The program that runs.
pub fn program() -> PathBuf {
    std::env::current_exe().unwrap_or_default()
}
