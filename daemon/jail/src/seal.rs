//! The worker's last step before it reads a byte from X.

use crate::seccomp::sealed_worker;

/// The worker cannot seal itself and must end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The filter cannot be compiled.
    #[error("seccomp: the worker's filter cannot be compiled")]
    Compile(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The kernel took no filter.
    #[error("seccomp: the kernel refuses the worker's filter")]
    Load(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Gives up files, sockets and programs for good: what stays is memory, threads, waiting, and
/// the descriptors that are open. Called by the worker when its libraries are loaded. Threads
/// that run already are sealed too.
///
/// Returns what is weaker than designed, one sentence each.
///
/// # Errors
///
/// Returns [`SealError`] when the filter is not in force.
pub fn seal_worker() -> Result<Vec<String>, SealError> {
    let filter = sealed_worker().map_err(|it| SealError::Compile(it.into()))?;
    seccompiler::apply_filter_all_threads(&filter).map_err(|it| SealError::Load(it.into()))?;
    Ok(Vec::new())
}
