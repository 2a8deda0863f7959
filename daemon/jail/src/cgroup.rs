//! A session's control groups: made and limited before any process enters them.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use cgroups_rs::cpu::CpuController;
use cgroups_rs::cpuacct::CpuAcctController;
use cgroups_rs::memory::MemController;
use cgroups_rs::pid::PidController;
use cgroups_rs::{Cgroup, CgroupPid, Hierarchy, MaxValue, Subsystem};

use crate::layer::{Layer, LayerError, Sys, enter};
use crate::limits::{
    CPU_PERIOD, DISPLAY_MEMORY_MB, DISPLAY_PIDS, SERVICE_CPU_PERCENT, WORKER_MEMORY_MB, WORKER_PIDS,
};
use crate::plan::JailKind;

/// The v1 controllers that limit or count, where this host has them.
const CONTROLLERS: [&str; 4] = ["memory", "pids", "cpu", "cpuacct"];

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
    /// Weight against the neighbours; the kernel's default is 1024.
    cpu_shares: u64,
}

impl Ceilings {
    fn whole_session(self) -> Limits {
        Limits {
            memory_mb: self.memory_mb + DISPLAY_MEMORY_MB + WORKER_MEMORY_MB,
            pids: None,
            cpu_percent: Some(self.cpu_percent + SERVICE_CPU_PERCENT),
            cpu_shares: 1024,
        }
    }

    fn of(self, kind: JailKind) -> Limits {
        match kind {
            JailKind::Display => Limits {
                memory_mb: DISPLAY_MEMORY_MB,
                pids: Some(DISPLAY_PIDS),
                cpu_percent: None,
                cpu_shares: 4096,
            },
            JailKind::Worker => Limits {
                memory_mb: WORKER_MEMORY_MB,
                pids: Some(WORKER_PIDS),
                cpu_percent: None,
                cpu_shares: 4096,
            },
            JailKind::Programs => Limits {
                memory_mb: self.memory_mb,
                pids: Some(self.pids),
                cpu_percent: Some(self.cpu_percent),
                cpu_shares: 1024,
            },
        }
    }
}

/// Where this process stands in each v1 hierarchy: our groups are made below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Own {
    /// Controller → (mount point, our path below it).
    places: Vec<(String, PathBuf, String)>,
}

impl Own {
    /// Reads it from `/proc/self`.
    pub(crate) fn find() -> io::Result<Self> {
        Ok(Self::parse(
            &std::fs::read_to_string("/proc/self/mountinfo")?,
            &std::fs::read_to_string("/proc/self/cgroup")?,
        ))
    }

    fn parse(mountinfo: &str, cgroup: &str) -> Self {
        let places = CONTROLLERS
            .into_iter()
            .filter_map(|controller| {
                let (root, mount_point) = mount_of(mountinfo, controller)?;
                let path = path_of(cgroup, controller)?;
                // A container sees only a part of the tree: what is mounted is the root here.
                let below = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
                let below = below.to_str()?.to_owned();
                Some((controller.to_owned(), PathBuf::from(mount_point), below))
            })
            .collect();
        Self { places }
    }

    /// Absolute directories of a group by this name, one for each controller.
    pub(crate) fn directories(&self, name: &str) -> Vec<PathBuf> {
        self.places
            .iter()
            .map(|(_, mount_point, below)| mount_point.join(below).join(name))
            .collect()
    }

    pub(crate) fn has(&self, controller: &str) -> bool {
        self.places.iter().any(|it| it.0 == controller)
    }

    fn group(&self, name: &str) -> Result<Cgroup, cgroups_rs::error::Error> {
        let relative: HashMap<String, String> = self
            .places
            .iter()
            .map(|(controller, _, below)| (controller.clone(), below.clone()))
            .collect();
        Cgroup::new_with_relative_paths(Box::new(self.clone()), name, relative)
    }
}

impl Hierarchy for Own {
    fn subsystems(&self) -> Vec<Subsystem> {
        self.places
            .iter()
            .filter_map(|(controller, mount_point, _)| {
                let root = mount_point.clone();
                Some(match controller.as_str() {
                    "memory" => Subsystem::Mem(MemController::new(root, false)),
                    "pids" => Subsystem::Pid(PidController::new(root, false)),
                    "cpu" => Subsystem::Cpu(CpuController::new(root, false)),
                    "cpuacct" => Subsystem::CpuAcct(CpuAcctController::new(root)),
                    _ => return None,
                })
            })
            .collect()
    }

    fn root(&self) -> PathBuf {
        PathBuf::from("/sys/fs/cgroup")
    }

    fn root_control_group(&self) -> Cgroup {
        Cgroup::load(Box::new(self.clone()), "")
    }

    fn parent_control_group(&self, path: &str) -> Cgroup {
        let parent = Path::new(path).parent().unwrap_or(Path::new(""));
        Cgroup::load(Box::new(self.clone()), parent)
    }

    fn v2(&self) -> bool {
        false
    }
}

fn mount_of<'a>(mountinfo: &'a str, controller: &str) -> Option<(&'a str, &'a str)> {
    mountinfo.lines().find_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        let mut source = source.split(' ');
        let is_v1 = source.next() == Some("cgroup");
        let names_it = source.nth(1)?.split(',').any(|it| it == controller);
        let mut fields = mount.split(' ').skip(3);
        (is_v1 && names_it).then_some((fields.next()?, fields.next()?))
    })
}

fn path_of<'a>(cgroup: &'a str, controller: &str) -> Option<&'a str> {
    cgroup.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let names_it = controllers.split(',').any(|it| it == controller);
        names_it.then_some(path)
    })
}

/// The groups of one session.
#[derive(Debug)]
pub(crate) struct SessionGroups {
    own: Own,
    name: String,
    jails: Vec<(JailKind, Cgroup)>,
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
        let session = make(&self.own, &self.name)?;
        limit(&session, ceilings.whole_session(), sys, weaker)?;
        for kind in JailKind::ALL {
            let group = make(&self.own, &format!("{}/{kind}", self.name))?;
            limit(&group, ceilings.of(kind), sys, weaker)?;
            self.jails.push((kind, group));
        }
        Ok(())
    }

    /// Puts a process into a jail's group.
    pub(crate) fn place(&self, kind: JailKind, pid: u32) -> Result<(), LayerError> {
        self.group(kind)?
            .add_task_by_tgid(CgroupPid::from(u64::from(pid)))
            .map_err(|error| LayerError::new(Layer::MemoryLimit, error))
    }

    fn group(&self, kind: JailKind) -> Result<&Cgroup, LayerError> {
        self.jails
            .iter()
            .find_map(|(it, group)| (*it == kind).then_some(group))
            .ok_or_else(|| LayerError::new(Layer::MemoryLimit, "the session has no groups"))
    }

    /// What the kernel counts; a counter that cannot be read counts nothing.
    pub(crate) fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for (kind, group) in &self.jails {
            if let Some(memory) = group.controller_of::<MemController>() {
                usage.memory_bytes += memory.memory_stat().usage_in_bytes;
            }
            if let Some(cpu) = group.controller_of::<CpuAcctController>() {
                usage.cpu_nanos += cpu.cpuacct().usage;
            }
            let pids = group.controller_of::<PidController>();
            if let (JailKind::Programs, Some(pids)) = (kind, pids) {
                let current = pids.get_pid_current().unwrap_or_default();
                usage.pids = current.try_into().unwrap_or(u32::MAX);
            }
        }
        usage
    }

    /// Removes the groups; an error while a task is still leaving one.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let directories = self.own.directories(&self.name);
        for directory in directories {
            for kind in JailKind::ALL {
                remove_directory(&directory.join(kind.name()))?;
            }
            remove_directory(&directory)?;
        }
        Ok(())
    }
}

fn missing(own: &Own, unlimited: Unlimited) -> Result<Vec<String>, LayerError> {
    let mut weaker = Vec::new();
    for (controller, layer) in [
        ("memory", Layer::MemoryLimit),
        ("pids", Layer::PidsLimit),
        ("cpu", Layer::CpuLimit),
    ] {
        if own.has(controller) {
            continue;
        }
        let error = LayerError::new(
            layer,
            format_args!("this host has no cgroup v1 controller `{controller}`"),
        );
        if layer != Layer::CpuLimit && unlimited == Unlimited::Refuse {
            return Err(LayerError::new(
                error.layer,
                format_args!(
                    "{}; SANDBOX_ALLOW_UNLIMITED=true goes without",
                    error.detail
                ),
            ));
        }
        weaker.push(error.to_string());
    }
    Ok(weaker)
}

fn make(own: &Own, name: &str) -> Result<Cgroup, LayerError> {
    let group = own
        .group(name)
        .map_err(|error| LayerError::new(Layer::MemoryLimit, error))?;
    // The crate logs a directory that it could not make, and goes on.
    for directory in own.directories(name) {
        if !directory.is_dir() {
            return Err(LayerError::new(
                Layer::MemoryLimit,
                format_args!("cannot make {}", directory.display()),
            ));
        }
    }
    Ok(group)
}

fn limit(
    group: &Cgroup,
    limits: Limits,
    sys: &dyn Sys,
    weaker: &mut Vec<String>,
) -> Result<(), LayerError> {
    let other = |error: cgroups_rs::error::Error| io::Error::other(error.to_string());
    if let Some(memory) = group.controller_of::<MemController>() {
        enter(sys, Layer::MemoryLimit, || {
            let bytes = i64::try_from(limits.memory_mb << 20).map_err(io::Error::other)?;
            memory.set_limit(bytes).map_err(other)?;
            memory.set_swappiness(0).map_err(other)
        })?;
    }
    if let (Some(pids), Some(maximum)) = (group.controller_of::<PidController>(), limits.pids) {
        enter(sys, Layer::PidsLimit, || {
            let maximum = i64::try_from(maximum).map_err(io::Error::other)?;
            pids.set_pid_max(MaxValue::Value(maximum)).map_err(other)
        })?;
    }
    if let Some(cpu) = group.controller_of::<CpuController>() {
        let limited = enter(sys, Layer::CpuLimit, || {
            cpu.set_shares(limits.cpu_shares).map_err(other)?;
            let Some(percent) = limits.cpu_percent else {
                return Ok(());
            };
            let period = u64::try_from(CPU_PERIOD.as_micros()).map_err(io::Error::other)?;
            let quota =
                i64::try_from(period * u64::from(percent) / 100).map_err(io::Error::other)?;
            cpu.set_cfs_period(period).map_err(other)?;
            // The kernel takes no quota below a millisecond.
            cpu.set_cfs_quota(quota.max(1_000)).map_err(other)
        });
        if let Err(error) = limited {
            weaker.push(error.to_string());
        }
    }
    Ok(())
}

fn remove_directory(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Kills what is left in the groups below `directory` and removes them. For leftovers of an
/// earlier warden alone: nothing of a living session is there.
pub(crate) fn sweep(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|it| it.is_dir()) {
            sweep(&entry.path());
        }
    }
    let processes = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    for pid in processes.lines().filter_map(|it| it.parse().ok()) {
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    if let Err(error) = remove_directory(directory) {
        tracing::warn!(path = %directory.display(), %error, "a leftover cgroup stays");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &str = "\
33 26 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
34 26 0:29 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
35 26 0:30 /docker/x /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
36 26 0:31 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    const CGROUP: &str = "\
8:pids:/docker/x/y
4:memory:/system/a
2:cpu,cpuacct:/
0::/
";

    #[test]
    fn groups_are_made_below_our_own() {
        let own = Own::parse(MOUNTINFO, CGROUP);
        let directories: Vec<String> = own
            .directories("n/s")
            .iter()
            .map(|it| it.display().to_string())
            .collect();
        assert_eq!(
            directories,
            [
                "/sys/fs/cgroup/memory/system/a/n/s",
                "/sys/fs/cgroup/pids/y/n/s",
                "/sys/fs/cgroup/cpu,cpuacct/n/s",
                "/sys/fs/cgroup/cpu,cpuacct/n/s",
            ]
        );
    }

    #[test]
    fn a_host_without_memory_limits_is_refused_by_name() {
        let own = Own::parse("", CGROUP);
        let error = missing(&own, Unlimited::Refuse).unwrap_err();
        assert_eq!(error.layer, "memory_limit");
        assert_eq!(missing(&own, Unlimited::Report).unwrap().len(), 3);
    }

    #[test]
    fn the_session_holds_what_its_jails_may_use_together() {
        let ceilings = Ceilings {
            memory_mb: 512,
            cpu_percent: 50,
            pids: 100,
        };
        let sum: u64 = JailKind::ALL
            .map(|kind| ceilings.of(kind).memory_mb)
            .iter()
            .sum();
        assert_eq!(ceilings.whole_session().memory_mb, sum);
        assert_eq!(ceilings.whole_session().cpu_percent, Some(200));
    }
}
