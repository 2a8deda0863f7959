//! The files of a host with control groups, below a directory of their own.

use std::fs;
use std::path::PathBuf;

use super::{Own, PID};

/// A recorded host: its files below a directory of their own.
pub(super) struct Recorded(pub(super) PathBuf);

impl Recorded {
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("cgroup-tree-{}-{number}", std::process::id());
        let host = Self(std::env::temp_dir().join(name));
        for (path, text) in files {
            host.write(path, text);
        }
        host
    }

    pub(super) fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(super) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.0.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub(super) fn own(&self) -> Own {
        Own::find_at(&self.0, PID, &["memory", "pids", "cpu", "cpuacct"]).unwrap()
    }

    /// One v2 group as the kernel shows it.
    pub(super) fn group(&self, path: &str, kind: &str, processes: &str) {
        self.write(
            &format!("{path}/cgroup.controllers"),
            "cpuset cpu io memory pids\n",
        );
        self.write(&format!("{path}/cgroup.subtree_control"), "memory pids\n");
        self.write(&format!("{path}/cgroup.procs"), processes);
        if !kind.is_empty() {
            self.write(&format!("{path}/cgroup.type"), kind);
        }
    }

    /// Files that the kernel makes with a group and that are read before they are written.
    pub(super) fn session(&self, path: &str) {
        for group in ["", "/apps", "/display", "/worker"] {
            self.write(&format!("{path}{group}/cpu.max"), "max 100000\n");
            self.write(&format!("{path}{group}/memory.swap.max"), "max\n");
        }
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        let _left = fs::remove_dir_all(&self.0);
    }
}
