//! Judges what a host can and cannot do for desktops, from facts that others gathered.

mod standing;
#[cfg(test)]
mod tests;

use std::fmt;

pub use standing::{Ids, Who};
use standing::{apparmor, cgroups, namespaces, rights, uids};

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
