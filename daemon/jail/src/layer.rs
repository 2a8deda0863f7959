//! The layers of confinement by name, and the seam at which a test takes one away.

use std::fmt;
use std::io;

/// One layer; its name is what `doctor`, the log and the page show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// User, mount, pid, net, ipc and uts namespace.
    Namespaces,
    /// The cgroup namespace, entered after the limits hold.
    CgroupNamespace,
    /// The mapping of one uid and gid.
    IdMap,
    /// The jail's own file system tree.
    Root,
    /// The change to that tree.
    PivotRoot,
    /// Limits of the process itself.
    ResourceLimits,
    /// No capability in any set.
    Capabilities,
    /// `no_new_privs`.
    NoNewPrivs,
    /// The Landlock rules.
    Landlock,
    /// The seccomp filter.
    Seccomp,
    /// The memory ceiling.
    MemoryLimit,
    /// The ceiling of processes and threads.
    PidsLimit,
    /// The ceiling of CPU time.
    CpuLimit,
}

impl Layer {
    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::CgroupNamespace => "cgroup_namespace",
            Self::IdMap => "id_map",
            Self::Root => "root",
            Self::PivotRoot => "pivot_root",
            Self::ResourceLimits => "resource_limits",
            Self::Capabilities => "capabilities",
            Self::NoNewPrivs => "no_new_privs",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
            Self::MemoryLimit => "memory_limit",
            Self::PidsLimit => "pids_limit",
            Self::CpuLimit => "cpu_limit",
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Every layer is entered through this; a test refuses one to see the session refused by name.
pub trait Sys: fmt::Debug {
    /// Runs the step that puts `layer` in force.
    ///
    /// # Errors
    ///
    /// Returns what the kernel said.
    fn enter(&self, layer: Layer, step: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        let _ = layer;
        step()
    }
}

/// The kernel as it is.
#[derive(Clone, Copy, Debug)]
pub struct Host;

impl Sys for Host {}

/// A jail cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{layer}: {detail}")]
pub(crate) struct LayerError {
    /// A [`Layer`]'s name or a part of the host (`xvfb`).
    pub(crate) layer: String,
    /// What was tried and what came back.
    pub(crate) detail: String,
}

impl LayerError {
    pub(crate) fn new(layer: impl fmt::Display, detail: impl fmt::Display) -> Self {
        Self {
            layer: layer.to_string(),
            detail: detail.to_string(),
        }
    }
}

/// Runs a step of `layer` through the seam.
pub(crate) fn enter<T>(
    sys: &dyn Sys,
    layer: Layer,
    mut step: impl FnMut() -> io::Result<T>,
) -> Result<T, LayerError> {
    let mut outcome = None;
    sys.enter(layer, &mut || {
        outcome = Some(step()?);
        Ok(())
    })
    .map_err(|error| LayerError::new(layer, error))?;
    outcome.ok_or_else(|| LayerError::new(layer, "the step was skipped"))
}
