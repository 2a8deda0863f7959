//! Judges what a host can and cannot do for desktops, from facts that others gathered.

#[cfg(test)]
mod tests;

use std::fmt;

/// Linux before this lacks `mount_setattr`, without which a jail's root cannot be made read-only.
const KERNEL_MIN: (u32, u32) = (5, 12);

/// The oldest Linux that is tried with every release.
const KERNEL_TRIED: (u32, u32) = (5, 15);

/// The Landlock ABI whose rights are all used.
const LANDLOCK_WANTED: u32 = 6;

/// Free space below which SQLite and the first home soon fail, MB.
const DISK_MIN_MB: u64 = 64;

/// Free space that one home may fill, MB.
const DISK_WANTED_MB: u64 = 1024;

/// Descriptors without which not even one desktop comes up.
const DESCRIPTORS_MIN: u64 = 256;

/// Descriptors that a jail's programs may have.
const DESCRIPTORS_WANTED: u64 = 4096;

/// What is known about the host. Texts are for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// `uname -r`.
    pub kernel: String,
    /// Who asks, and so would start the server.
    pub who: Who,
    /// The kernel's Landlock ABI, or why there is none.
    pub landlock: Result<u32, String>,
    /// Whether a child got its namespaces and could mount in them.
    pub namespaces: Result<(), String>,
    /// `kernel.apparmor_restrict_unprivileged_userns`, where the host has it.
    pub apparmor_restricts: Option<bool>,
    /// The control groups.
    pub cgroups: Cgroups,
    /// Programs and files of the distribution.
    pub parts: Vec<Part>,
    /// Encoders, best first, each with its version or why it cannot be used.
    pub encoders: Vec<(String, Result<String, String>)>,
    /// Device files of GPUs.
    pub gpus: Vec<String>,
    /// Ports that the server wants.
    pub ports: Vec<Port>,
    /// What sessions would run under.
    pub ids: Ids,
    /// Whether something keeps the clock right, where the kernel says so.
    pub clock_synchronised: Option<bool>,
    /// Where `STATE_DIR` lies, and its free space in MB.
    pub disk: Result<(String, u64), String>,
    /// Most descriptors that a process may have.
    pub descriptors: u64,
}

/// Who starts the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Root.
    Root,
    /// An ordinary user, by name.
    Ordinary(String),
}

/// The uids that sessions would run under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ids {
    /// Of a range that root's server takes, and who else uses some of it.
    Taken {
        /// Accounts or ranges.
        overlap: Option<String>,
    },
    /// Of a range that the host gives an ordinary user.
    Delegated {
        /// How many people it serves.
        users: u32,
    },
    /// The ordinary user's own alone.
    One {
        /// Why there are no more.
        why: String,
        /// The first uid from which on a range could be given.
        free: u32,
    },
    /// Of none: `SANDBOX_UID_BASE` asks for what the user may not have.
    Outside {
        /// What is wrong.
        why: String,
    },
}

/// The control groups that the server would use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroups {
    /// `v1`, `v2`, `v1 and v2` or `none`.
    pub layout: String,
    /// Layers without which no session starts, with what stands in the way.
    pub missing: Vec<String>,
    /// Layers that are only reported.
    pub weaker: Vec<String>,
    /// The operator accepts sessions without limits.
    pub may_be_unlimited: bool,
}

/// A program or file of the distribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// The package that brings it.
    pub package: String,
    /// What the desktop lacks without it; `None`: without it there is no desktop.
    pub lacks: Option<String>,
    /// The host has it.
    pub is_there: bool,
}

/// A port that the server wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// `TCP 127.0.0.1:8080`.
    pub address: String,
    /// What changes it.
    pub variable: String,
    /// Why it cannot be had: its holder, or the kernel's words.
    pub refused: Option<String>,
    /// The server starts without it.
    pub is_optional: bool,
}

/// How a subject stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Desktops start, with something less.
    Weaker,
    /// No desktop starts.
    Missing,
}

impl Verdict {
    /// The stable word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Weaker => "weaker",
            Self::Missing => "missing",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What was found about one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The stable name.
    pub subject: String,
    /// How it stands.
    pub verdict: Verdict,
    /// What is there.
    pub found: String,
    /// What follows from it; empty where nothing does.
    pub meaning: String,
    /// The command or step that mends it; empty where there is nothing to mend.
    pub fix: String,
}

impl Finding {
    fn ok(subject: &str, found: impl Into<String>) -> Self {
        Self {
            subject: subject.to_owned(),
            verdict: Verdict::Ok,
            found: found.into(),
            meaning: String::new(),
            fix: String::new(),
        }
    }

    fn but(self, verdict: Verdict, meaning: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            verdict,
            meaning: meaning.into(),
            fix: fix.into(),
            ..self
        }
    }

    fn weaker(self, meaning: impl Into<String>, fix: impl Into<String>) -> Self {
        self.but(Verdict::Weaker, meaning, fix)
    }

    fn missing(self, meaning: impl Into<String>, fix: impl Into<String>) -> Self {
        self.but(Verdict::Missing, meaning, fix)
    }
}

/// One finding for each subject, in a fixed order.
pub fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![
        rights(&facts.who),
        kernel(&facts.kernel),
        landlock(&facts.landlock),
        namespaces(facts),
        apparmor(facts),
        cgroups(&facts.cgroups, &facts.who),
    ];
    findings.extend(facts.parts.iter().map(part));
    findings.extend([encoder(&facts.encoders), gpu(&facts.gpus)]);
    findings.extend(facts.ports.iter().map(port));
    findings.extend([
        uids(&facts.ids, &facts.who),
        clock(facts.clock_synchronised),
        disk(&facts.disk),
        descriptors(facts.descriptors),
    ]);
    findings
}

/// Whether a desktop can start.
pub fn can_start(findings: &[Finding]) -> bool {
    findings.iter().all(|it| it.verdict != Verdict::Missing)
}

fn rights(who: &Who) -> Finding {
    match who {
        Who::Root => Finding::ok("rights", "root"),
        Who::Ordinary(name) => Finding::ok("rights", format!("{name}, an ordinary user")).weaker(
            "the way without root: the kernel allows small socket buffers only, and forbids no \
             programs in memory to X server and worker; the findings hold for this user",
            "sudo sandbox-server doctor says how the way with root stands",
        ),
    }
}

fn kernel(release: &str) -> Finding {
    let found = Finding::ok("kernel", format!("Linux {release}"));
    let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return found.weaker("its version cannot be read", "");
    };
    let fix = "install a newer kernel";
    if (major, minor) < KERNEL_MIN {
        found.missing("it lacks mount_setattr, which every jail's root needs", fix)
    } else if (major, minor) < KERNEL_TRIED {
        let (major, minor) = KERNEL_TRIED;
        found.weaker(format!("kernels before {major}.{minor} are not tried"), fix)
    } else {
        found
    }
}

fn landlock(abi: &Result<u32, String>) -> Finding {
    let newer = "install a newer kernel (6.12 has all of it)";
    match abi {
        Err(why) => Finding::ok("landlock", why.as_str()).weaker(
            "jails stand on namespaces, seccomp and their own roots alone",
            "boot with `landlock` in front of the kernel's `lsm=` list (see `cat \
             /sys/kernel/security/lsm`), or install a kernel that has it",
        ),
        Ok(abi) if *abi >= LANDLOCK_WANTED => Finding::ok("landlock", format!("ABI {abi}, active")),
        Ok(1) => Finding::ok("landlock", "ABI 1, active").weaker(
            "it would break moving files between directories: the programs jail goes without",
            newer,
        ),
        Ok(abi) => {
            let mut lacks = Vec::new();
            for (from, what) in [
                (3, "truncating files"),
                (4, "TCP ports"),
                (5, "device ioctls"),
                (6, "signals and abstract sockets across jails"),
            ] {
                if *abi < from {
                    lacks.push(what);
                }
            }
            let lacks = lacks.join(", ");
            Finding::ok(
                "landlock",
                format!("ABI {abi} of {LANDLOCK_WANTED}, active"),
            )
            .weaker(format!("this second wall does not cover {lacks}"), newer)
        }
    }
}

fn namespaces(facts: &Facts) -> Finding {
    let why = match &facts.namespaces {
        Ok(()) => return Finding::ok("namespaces", "all seven, tried"),
        Err(why) => why.as_str(),
    };
    let fix = match facts.who {
        Who::Root => {
            "sysctl -w user.max_user_namespaces=15000; in a container, allow namespaces and mounts \
             (such as `docker run --privileged`)"
        }
        Who::Ordinary(_) => {
            "as root: sysctl -w user.max_user_namespaces=15000, and on older Debian \
             kernel.unprivileged_userns_clone=1; in a container, start it as root"
        }
    };
    Finding::ok("namespaces", why).missing("no jail can be made", fix)
}

fn apparmor(facts: &Facts) -> Finding {
    let subject = "apparmor";
    let limits = "limits user namespaces of ordinary users";
    match (facts.apparmor_restricts, &facts.who, &facts.namespaces) {
        (None | Some(false), _, _) => Finding::ok(subject, "no limit on user namespaces"),
        (Some(true), Who::Root, _) => Finding::ok(subject, format!("{limits}, not of root")),
        (Some(true), Who::Ordinary(_), Ok(())) => {
            Finding::ok(subject, format!("{limits}, not of this program"))
        }
        (Some(true), Who::Ordinary(_), Err(_)) => Finding::ok(subject, limits).missing(
            "only root can start desktops",
            "as root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0; or start the \
             server as root",
        ),
    }
}

fn cgroups(groups: &Cgroups, who: &Who) -> Finding {
    let found = Finding::ok("cgroups", groups.layout.as_str());
    let fix = match who {
        Who::Root => {
            "start the server as a systemd service or by `systemd-run --scope -p Delegate=yes`"
                .to_owned()
        }
        Who::Ordinary(_) if groups.layout == "v2" => {
            "start it by `systemd-run --user --scope -p Delegate=yes sandbox-server serve`"
                .to_owned()
        }
        Who::Ordinary(name) => format!(
            "as root, for each controller of memory, pids, cpu and cpuacct: mkdir \
             /sys/fs/cgroup/CONTROLLER/{name}; chown {name} /sys/fs/cgroup/CONTROLLER/{name}; \
             echo PID > /sys/fs/cgroup/CONTROLLER/{name}/cgroup.procs, where PID is that of the \
             shell that starts the server"
        ),
    };
    if !groups.missing.is_empty() {
        let why = groups.missing.join("; ");
        return if groups.may_be_unlimited {
            found.weaker(format!("desktops run without limits: {why}"), fix)
        } else {
            found.missing(
                why,
                format!("{fix}; SANDBOX_ALLOW_UNLIMITED=true goes without"),
            )
        };
    }
    if groups.weaker.is_empty() {
        found
    } else {
        found.weaker(groups.weaker.join("; "), fix)
    }
}

fn part(part: &Part) -> Finding {
    let name = part.name.as_str();
    if part.is_there {
        return Finding::ok(name, "installed");
    }
    let fix = format!("apt-get install {}", part.package);
    let found = Finding::ok(name, "not installed");
    match &part.lacks {
        None => found.missing("no desktop starts without it", fix),
        Some(what) => found.weaker(format!("the desktop has no {what}"), fix),
    }
}

fn encoder(encoders: &[(String, Result<String, String>)]) -> Finding {
    let mut refusals = Vec::new();
    for (name, version) in encoders {
        match version {
            Ok(version) if refusals.is_empty() => {
                return Finding::ok("encoder", format!("{name}: {version}"));
            }
            Ok(version) => {
                return Finding::ok("encoder", format!("{name}: {version}")).weaker(
                    format!("a better one cannot be used: {}", refusals.join("; ")),
                    "apt-get install libx264-164 (Debian 12) or libx264-163 (Ubuntu 22.04)",
                );
            }
            Err(why) => refusals.push(format!("{name}: {why}")),
        }
    }
    Finding::ok("encoder", refusals.join("; ")).missing(
        "no picture can be encoded",
        "apt-get install libx264-164 (Debian 12) or libx264-163 (Ubuntu 22.04)",
    )
}

fn gpu(devices: &[String]) -> Finding {
    Finding::ok(
        "gpu",
        if devices.is_empty() {
            "none; pictures are encoded on the processor".to_owned()
        } else {
            format!("{}; not used by this version", devices.join(", "))
        },
    )
}

fn port(port: &Port) -> Finding {
    let subject = port.address.as_str();
    let Some(why) = &port.refused else {
        return Finding::ok(subject, "free");
    };
    let found = Finding::ok(subject, why.as_str());
    // Asked while the server runs, its own ports are where they belong.
    if why.starts_with("held by sandbox-server ") {
        return found;
    }
    let fix = format!("stop the holder, or set {}", port.variable);
    if port.is_optional {
        found.weaker("the server starts without metrics", fix)
    } else {
        found.missing("the server does not start", fix)
    }
}

fn uids(ids: &Ids, who: &Who) -> Finding {
    let does_not_start = "the server does not start";
    match ids {
        Ids::Taken { overlap: None } => Finding::ok("uids", "the users' range is free"),
        Ids::Taken {
            overlap: Some(whose),
        } => Finding::ok("uids", format!("the users' range overlaps {whose}")).missing(
            does_not_start,
            "set SANDBOX_UID_BASE to the first of a million free uids",
        ),
        Ids::Delegated { users } => Finding::ok(
            "uids",
            format!("a range of their own for {users} people, tried"),
        ),
        Ids::One { why, free } => {
            let last = free.saturating_add(65_535);
            let name = match who {
                Who::Root => "root",
                Who::Ordinary(name) => name.as_str(),
            };
            Finding::ok("uids", format!("one for everything: {why}")).weaker(
                "the server and every desktop run under one uid: a program that leaves its jail \
                 meets no further wall between users",
                format!(
                    "as root: apt-get install uidmap; usermod --add-subuids {free}-{last} \
                     --add-subgids {free}-{last} {name}"
                ),
            )
        }
        Ids::Outside { why } => Finding::ok("uids", format!("SANDBOX_UID_BASE {why}"))
            .missing(does_not_start, "leave SANDBOX_UID_BASE out"),
    }
}

fn clock(synchronised: Option<bool>) -> Finding {
    match synchronised {
        Some(true) => Finding::ok("clock", "synchronised"),
        Some(false) => Finding::ok("clock", "not synchronised").weaker(
            "sign-ins and links end by this clock; other nodes would disagree",
            "apt-get install systemd-timesyncd (or chrony); in a virtual machine the host may \
             keep it right",
        ),
        None => Finding::ok(
            "clock",
            "the kernel does not say whether it is synchronised",
        ),
    }
}

fn disk(space: &Result<(String, u64), String>) -> Finding {
    let fix = "free space, or set STATE_DIR and FILE_STORAGE_PATH to another disk";
    match space {
        Err(why) => Finding::ok("disk", why.as_str()).missing("accounts cannot be kept", fix),
        Ok((path, free_mb)) => {
            let found = Finding::ok("disk", format!("{free_mb} MB free for {path}"));
            if *free_mb < DISK_MIN_MB {
                found.missing("accounts and homes cannot be written", fix)
            } else if *free_mb < DISK_WANTED_MB {
                found.weaker("one home may fill it", fix)
            } else {
                found
            }
        }
    }
}

fn descriptors(most: u64) -> Finding {
    let found = if most == u64::MAX {
        Finding::ok("descriptors", "no limit")
    } else {
        Finding::ok("descriptors", format!("at most {most} in a process"))
    };
    let fix = "LimitNOFILE=65536 in the unit, or `ulimit -Hn 65536` as root before the start";
    if most < DESCRIPTORS_MIN {
        found.missing("one desktop needs more", fix)
    } else if most < DESCRIPTORS_WANTED {
        found.weaker("large programs and many viewers meet the limit", fix)
    } else {
        found
    }
}
