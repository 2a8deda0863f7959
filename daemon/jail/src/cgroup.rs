//! A session's control groups: made and limited before any process enters them.

mod census;
mod layout;
mod shortage;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use cgroups_rs::cpu::CpuController;
use cgroups_rs::memory::MemController;
use cgroups_rs::pid::PidController;
use cgroups_rs::{Cgroup, MaxValue};
use rustix::fs::{Mode, OFlags};

use crate::layer::{Layer, LayerError, Sys, enter};
use crate::limits::{
    CPU_PERIOD, CPU_SHARES, CPU_WEIGHT, DISPLAY_MEMORY_MB, DISPLAY_PIDS, SERVICE_CPU_PERCENT,
    SERVICE_WEIGHT, WORKER_MEMORY_MB, WORKER_PIDS,
};
use crate::plan::JailKind;
pub(crate) use layout::Own;
use layout::{Tree, Version};
pub(crate) use shortage::{Killed, Shortage};

/// What the operator allows a session's programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ceilings {
    pub(crate) memory_mb: u64,
    pub(crate) cpu_percent: u32,
    pub(crate) pids: u64,
}

/// Limits of one group; `None` leaves them to the group above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limits {
    memory_mb: u64,
    pids: Option<u64>,
    cpu_percent: Option<u32>,
    /// Weight against the neighbours, in units of the kernel's default.
    cpu_weight: u64,
}

impl Ceilings {
    fn whole_session(self) -> Limits {
        Limits {
            memory_mb: self.memory_mb + DISPLAY_MEMORY_MB + WORKER_MEMORY_MB,
            pids: None,
            cpu_percent: Some(self.cpu_percent + SERVICE_CPU_PERCENT),
            cpu_weight: 1,
        }
    }

    fn of(self, kind: JailKind) -> Limits {
        match kind {
            JailKind::Display => Limits {
                memory_mb: DISPLAY_MEMORY_MB,
                pids: Some(DISPLAY_PIDS),
                cpu_percent: None,
                cpu_weight: SERVICE_WEIGHT,
            },
            JailKind::Worker => Limits {
                memory_mb: WORKER_MEMORY_MB,
                pids: Some(WORKER_PIDS),
                cpu_percent: None,
                cpu_weight: SERVICE_WEIGHT,
            },
            JailKind::Programs => Limits {
                memory_mb: self.memory_mb,
                pids: Some(self.pids),
                cpu_percent: Some(self.cpu_percent),
                cpu_weight: 1,
            },
        }
    }
}

/// The groups of one session.
#[derive(Debug)]
pub(crate) struct SessionGroups {
    own: Own,
    name: String,
    jails: Vec<JailKind>,
}

/// What a session uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) cpu_nanos: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) pids: u32,
}

/// Whether a session may run although the host cannot limit memory or processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unlimited {
    Refuse,
    Report,
}

/// Control groups that are open to be entered.
#[derive(Debug)]
pub(crate) struct Doors(Vec<(PathBuf, File)>);

impl Doors {
    /// Moves the calling process, which has one thread, into each. To move anybody else the kernel
    /// waits for all processors, some 10 ms.
    pub(crate) fn pass(&self) -> Result<(), LayerError> {
        for (directory, tasks) in &self.0 {
            let mut tasks = tasks;
            tasks
                .write_all(b"0")
                .map_err(|error| cannot("enter", directory, &error))?;
        }
        Ok(())
    }
}

impl SessionGroups {
    /// Makes and limits the groups. Missing limits that are only reported come back as sentences.
    pub(crate) fn create(
        own: &Own,
        name: &str,
        ceilings: Ceilings,
        unlimited: Unlimited,
        sys: &dyn Sys,
    ) -> Result<(Self, Vec<String>), LayerError> {
        let mut weaker = missing(own, unlimited)?;
        let mut groups = Self {
            own: own.clone(),
            name: name.to_owned(),
            jails: Vec::new(),
        };
        let made = groups.fill(ceilings, sys, &mut weaker);
        match made {
            Ok(()) => Ok((groups, weaker)),
            Err(error) => {
                // Empty groups go at once; one that stays is swept at the next start.
                let _left = groups.remove();
                Err(error)
            }
        }
    }

    fn fill(
        &mut self,
        ceilings: Ceilings,
        sys: &dyn Sys,
        weaker: &mut Vec<String>,
    ) -> Result<(), LayerError> {
        make(&self.own, &self.name)?;
        limit(&self.own, &self.name, ceilings.whole_session(), sys, weaker)?;
        for tree in &self.own.trees {
            if tree.version == Version::V2 {
                let directory = tree.directory.join(&self.name);
                tree.pass_on(&directory)
                    .map_err(|error| cannot("pass limits on in", &directory, &error))?;
            }
        }
        for kind in JailKind::ALL {
            let name = self.jail_name(kind);
            make(&self.own, &name)?;
            limit(&self.own, &name, ceilings.of(kind), sys, weaker)?;
            self.jails.push(kind);
        }
        Ok(())
    }

    fn jail_name(&self, kind: JailKind) -> String {
        format!("{}/{kind}", self.name)
    }

    fn directory(&self, tree: &Tree, kind: JailKind) -> PathBuf {
        tree.directory.join(self.jail_name(kind))
    }

    /// The v2 group that a jail's first process is born into, where the host has v2.
    pub(crate) fn birthplace(&self, kind: JailKind) -> Result<Option<OwnedFd>, LayerError> {
        let Some(tree) = self.own.unified() else {
            return Ok(None);
        };
        let directory = self.directory(tree, kind);
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        rustix::fs::open(&directory, flags, Mode::empty())
            .map(Some)
            .map_err(|error| cannot("open", &directory, &error.into()))
    }

    /// The v1 groups that a jail's first process enters.
    pub(crate) fn doors(&self, kind: JailKind) -> Result<Doors, LayerError> {
        let mut doors = Vec::new();
        for tree in self.own.trees.iter().filter(|it| it.version == Version::V1) {
            let directory = self.directory(tree, kind);
            let tasks = File::options()
                .create(true)
                .append(true)
                .open(directory.join("tasks"))
                .map_err(|error| cannot("open", &directory, &error))?;
            doors.push((directory, tasks));
        }
        Ok(Doors(doors))
    }

    /// What the kernel counts; a counter that cannot be read counts nothing.
    pub(crate) fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for kind in &self.jails {
            usage.memory_bytes += self.memory_bytes(*kind).unwrap_or_default();
            usage.cpu_nanos += self.cpu_nanos(*kind).unwrap_or_default();
            if *kind == JailKind::Programs {
                let pids = self.read(self.own.tree_with("pids"), *kind, "pids.current");
                usage.pids = pids
                    .and_then(|it| it.trim().parse().ok())
                    .unwrap_or_default();
            }
        }
        usage
    }

    fn memory_bytes(&self, kind: JailKind) -> Option<u64> {
        let tree = self.own.tree_with("memory")?;
        let file = match tree.version {
            Version::V1 => "memory.usage_in_bytes",
            Version::V2 => "memory.current",
        };
        self.read(Some(tree), kind, file)?.trim().parse().ok()
    }

    fn cpu_nanos(&self, kind: JailKind) -> Option<u64> {
        if let Some(tree) = self.own.tree_with("cpuacct") {
            return self
                .read(Some(tree), kind, "cpuacct.usage")?
                .trim()
                .parse()
                .ok();
        }
        // Every v2 group counts, with or without the controller.
        let micros: u64 = self
            .read(self.own.unified(), kind, "cpu.stat")?
            .lines()
            .find_map(|line| line.strip_prefix("usage_usec "))?
            .parse()
            .ok()?;
        micros.checked_mul(1_000)
    }

    fn read(&self, tree: Option<&Tree>, kind: JailKind, file: &str) -> Option<String> {
        fs::read_to_string(self.directory(tree?, kind).join(file)).ok()
    }

    /// Watches for programs that the kernel kills for memory.
    pub(crate) fn watch_memory(&self) -> io::Result<Shortage> {
        let tree = self
            .own
            .tree_with("memory")
            .ok_or(io::ErrorKind::Unsupported)?;
        Shortage::watch(tree.version, &self.directory(tree, JailKind::Programs))
    }

    /// Ends everything in the groups at once where the kernel can; on v1 each jail's init does it.
    pub(crate) fn kill(&self) {
        if let Some(tree) = self.own.unified() {
            kill_all(&tree.directory.join(&self.name));
        }
    }

    /// Removes the groups; an error while a task is still leaving one.
    pub(crate) fn remove(&self) -> io::Result<()> {
        for directory in self.own.directories(&self.name) {
            for kind in JailKind::ALL {
                remove_directory(&directory.join(kind.name()))?;
            }
            remove_directory(&directory)?;
        }
        Ok(())
    }
}

/// What the host cannot limit: an error where that must be, else a sentence each.
pub(crate) fn missing(own: &Own, unlimited: Unlimited) -> Result<Vec<String>, LayerError> {
    let mut absent = Vec::new();
    for (controller, layer) in [
        ("memory", Layer::MemoryLimit),
        ("pids", Layer::PidsLimit),
        ("cpu", Layer::CpuLimit),
    ] {
        if own.has(controller) {
            continue;
        }
        let why = own.obstacle.clone().unwrap_or_else(|| {
            format!(
                "no cgroup controller `{controller}` is given to this server (cgroups: {})",
                own.layout()
            )
        });
        if layer != Layer::CpuLimit && unlimited == Unlimited::Refuse {
            return Err(LayerError::new(
                layer,
                format_args!("{why}; SANDBOX_ALLOW_UNLIMITED=true goes without"),
            ));
        }
        match absent.last_mut() {
            // One obstacle for all of them is told once.
            Some((names, reason)) if *reason == why => *names = format!("{names}, {layer}"),
            Some(_) | None => absent.push((layer.to_string(), why)),
        }
    }
    let sentences = absent.into_iter();
    Ok(sentences
        .map(|(names, why)| format!("{names}: {why}"))
        .collect())
}

fn cannot(what: &str, directory: &Path, error: &io::Error) -> LayerError {
    LayerError::new(
        Layer::MemoryLimit,
        format_args!("cannot {what} {}: {error}", directory.display()),
    )
}

fn make(own: &Own, name: &str) -> Result<(), LayerError> {
    for directory in own.directories(name) {
        fs::create_dir_all(&directory).map_err(|error| cannot("make", &directory, &error))?;
    }
    Ok(())
}

fn limit(
    own: &Own,
    name: &str,
    limits: Limits,
    sys: &dyn Sys,
    weaker: &mut Vec<String>,
) -> Result<(), LayerError> {
    let group = own.group(name);
    if let Some(tree) = own.tree_with("memory") {
        let directory = tree.directory.join(name);
        enter(sys, Layer::MemoryLimit, || {
            limit_memory(&group, tree.version, &directory, limits.memory_mb)
        })?;
    }
    if let Some(maximum) = limits.pids.filter(|_| own.has("pids")) {
        enter(sys, Layer::PidsLimit, || {
            let maximum = i64::try_from(maximum).map_err(io::Error::other)?;
            let pids: &PidController = group.controller_of().ok_or(io::ErrorKind::NotFound)?;
            pids.set_pid_max(MaxValue::Value(maximum)).map_err(other)
        })?;
    }
    if let Some(tree) = own.tree_with("cpu") {
        let limited = enter(sys, Layer::CpuLimit, || {
            limit_cpu(&group, tree.version, limits)
        });
        if let Err(error) = limited {
            weaker.push(error.to_string());
        }
    }
    Ok(())
}

fn limit_memory(
    group: &Cgroup,
    version: Version,
    directory: &Path,
    megabytes: u64,
) -> io::Result<()> {
    let memory: &MemController = group.controller_of().ok_or(io::ErrorKind::NotFound)?;
    let bytes = i64::try_from(megabytes << 20).map_err(io::Error::other)?;
    memory.set_limit(bytes).map_err(other)?;
    // The kernel has no such file where swap is not accounted, or not built in.
    if version == Version::V1 || directory.join("memory.swap.max").exists() {
        memory.set_swappiness(0).map_err(other)?;
    }
    Ok(())
}

fn limit_cpu(group: &Cgroup, version: Version, limits: Limits) -> io::Result<()> {
    let cpu: &CpuController = group.controller_of().ok_or(io::ErrorKind::NotFound)?;
    let usual = match version {
        Version::V1 => CPU_SHARES,
        Version::V2 => CPU_WEIGHT,
    };
    cpu.set_shares(usual * limits.cpu_weight).map_err(other)?;
    let Some(percent) = limits.cpu_percent else {
        return Ok(());
    };
    let period = u64::try_from(CPU_PERIOD.as_micros()).map_err(io::Error::other)?;
    let quota = i64::try_from(period * u64::from(percent) / 100).map_err(io::Error::other)?;
    // The kernel takes no quota below a millisecond.
    cpu.set_cfs_quota_and_period(Some(quota.max(1_000)), Some(period))
        .map_err(other)
}

/// The crate's error with its cause.
fn other(error: cgroups_rs::error::Error) -> io::Error {
    let mut words = error.to_string();
    if let Some(cause) = std::error::Error::source(&error) {
        words = format!("{words}: {cause}");
    }
    io::Error::other(words)
}

fn remove_directory(path: &Path) -> io::Result<()> {
    match fs::remove_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn kill_all(directory: &Path) {
    let file = directory.join("cgroup.kill");
    // Linux 5.14 brings it.
    if file.exists()
        && let Err(error) = fs::write(&file, "1")
    {
        tracing::warn!(path = %file.display(), %error, "a cgroup was not killed");
    }
}

/// Kills what is left in the groups below `directory` and removes them. For leftovers of an
/// earlier warden alone: nothing of a living session is there.
pub(crate) fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    kill_all(directory);
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|it| it.is_dir()) {
            sweep(&entry.path());
        }
    }
    let processes = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    for pid in processes.lines().filter_map(|it| it.parse().ok()) {
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    if let Err(error) = remove_directory(directory) {
        tracing::warn!(path = %directory.display(), %error, "a leftover cgroup stays");
    }
}
