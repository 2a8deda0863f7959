//! What all sessions of one warden share.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::config::WardenConfig;
use super::error::WardenError;
use super::store::Store;
use super::trust::Trust;
use crate::cgroup::{Ceilings, Own, Unlimited};
use crate::ids::Ids;
use crate::layer::{LayerError, Sys};
use crate::limits::{DISPLAY_MEMORY_MB, SESSION_DESCRIPTORS, WORKER_MEMORY_MB};
use crate::seccomp::Filters;
use crate::standing::Standing;

/// Shared, and the same for the warden's whole life.
#[derive(Debug)]
pub(crate) struct Ground<'a> {
    pub(crate) sys: &'a dyn Sys,
    pub(crate) store: Store,
    pub(crate) filters: Filters,
    pub(crate) own: Own,
    pub(crate) ceilings: Ceilings,
    pub(crate) unlimited: Unlimited,
    pub(crate) ids: Ids,
    pub(crate) trust: Trust,
    /// Whose homes were made when there was one uid for everybody.
    pub(crate) former_owner: Option<u32>,
    /// What no session of this warden has, one sentence each.
    pub(crate) weaker: Vec<String>,
    pub(crate) sessions_max: usize,
    /// `/dev/null`, for jails that have nothing to say.
    pub(crate) null: File,
    /// Our own executable, as it was when the warden started.
    pub(crate) executable: OwnedFd,
    /// What `/bin/sh` is here.
    pub(crate) shell: String,
    pub(crate) codec: String,
    pub(crate) fps_max: u16,
    pub(crate) encoder_threads: u8,
    pub(crate) log_filter: String,
}

/// Parts of the host without which there is no desktop: name, file, Debian package.
pub(crate) const PARTS: [(&str, &str, &str); 4] = [
    ("xvfb", "/usr/bin/Xvfb", "xvfb"),
    ("xkbcomp", "/usr/bin/xkbcomp", "x11-xkb-utils"),
    ("openbox", "/usr/bin/openbox", "openbox"),
    ("xterm", "/usr/bin/xterm", "xterm"),
];

/// Parts without which the desktop is poorer: file, Debian package, what is missing.
pub(crate) const EXTRAS: [(&str, &str, &str); 5] = [
    ("/usr/bin/tint2", "tint2", "panel"),
    ("/usr/bin/pcmanfm", "pcmanfm", "file manager"),
    ("/usr/bin/mousepad", "mousepad", "text editor"),
    ("/usr/bin/xsetroot", "x11-xserver-utils", "background"),
    (
        "/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf",
        "fonts-dejavu-core",
        "readable terminal font",
    ),
];

impl<'a> Ground<'a> {
    pub(crate) fn lay(
        config: &WardenConfig,
        standing: &Standing,
        store: Store,
        sys: &'a dyn Sys,
    ) -> Result<Self, WardenError> {
        let null = File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .map_err(WardenError::io("open /dev/null"))?;
        let executable = File::open("/proc/self/exe")
            .map_err(WardenError::io("open this executable"))?
            .into();
        let shell = Path::new("/bin/sh")
            .canonicalize()
            .unwrap_or_else(|_| PathBuf::from("/usr/bin/sh"));
        let trust = match standing {
            Standing::Root => Trust::Root,
            Standing::User(_) => Trust::inside(),
        };
        let threads = std::thread::available_parallelism().map_or(1, |it| it.get().min(4));
        Ok(Self {
            sys,
            store,
            filters: Filters::compile().map_err(|it| WardenError::Filter(it.into()))?,
            own: Own::find().map_err(WardenError::io("read /proc/self/cgroup"))?,
            ceilings: Ceilings {
                memory_mb: config.memory_limit_mb,
                cpu_percent: config.cpu_percent,
                pids: config.pid_limit,
            },
            unlimited: if config.allow_unlimited {
                Unlimited::Report
            } else {
                Unlimited::Refuse
            },
            ids: standing.session_ids(config.uid_base),
            trust,
            former_owner: standing.former_owner(),
            weaker: standing.weaker(),
            sessions_max: config.sessions_max.map_or_else(
                || sessions_by_memory(config.memory_limit_mb),
                |it| usize::try_from(it).unwrap_or(usize::MAX),
            ),
            null,
            executable,
            shell: shell.display().to_string(),
            codec: config.codec.clone(),
            fps_max: config.fps_max,
            encoder_threads: u8::try_from(threads).unwrap_or(1),
            log_filter: config.log_filter.clone(),
        })
    }

    /// Whether this process may open as many files as a session needs, and some more for those
    /// that run: a session must not stop half-way.
    pub(crate) fn check_descriptors(&self) -> io::Result<()> {
        let mut opened = Vec::with_capacity(SESSION_DESCRIPTORS);
        for _ in 0..SESSION_DESCRIPTORS {
            opened.push(self.null.try_clone()?);
        }
        Ok(())
    }

    /// Names the first part of the host that a desktop lacks.
    pub(crate) fn check_parts() -> Result<(), LayerError> {
        for (name, path, package) in PARTS {
            if !Path::new(path).exists() {
                return Err(LayerError::new(
                    name,
                    format_args!("{path} is not there; `apt-get install {package}` brings it"),
                ));
            }
        }
        Ok(())
    }
}

/// What desktops of this host lack, one sentence each.
pub(crate) fn missing_extras() -> Vec<String> {
    EXTRAS
        .iter()
        .filter(|(path, _, _)| !Path::new(path).exists())
        .map(|(_, package, what)| {
            format!("the desktop has no {what}; `apt-get install {package}` brings it")
        })
        .collect()
}

/// As many as the memory holds when each uses all it may, and one at least.
fn sessions_by_memory(memory_mb: u64) -> usize {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total_mb = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|it| it.trim().trim_end_matches("kB").trim().parse::<u64>().ok())
        .map_or(0, |kilobytes| kilobytes / 1024);
    let each = memory_mb + DISPLAY_MEMORY_MB + WORKER_MEMORY_MB;
    usize::try_from(total_mb / each).map_or(1, |it| it.max(1))
}
