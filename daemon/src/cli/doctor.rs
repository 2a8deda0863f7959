//! `doctor`: says what this host can do for desktops, what is weaker, and what mends it.

use std::io::{self, Write as _};
use std::path::Path;

use rustix::fs::statvfs;
use rustix::process::{Resource, getrlimit};
use sandbox_core::doctor::{
    Cgroups, Facts, Finding, Ids, Part, Port, Verdict, Who, can_start, judge,
};
use sandbox_jail::probe;
use serde_json::{Value, json};

use super::serve::DAEMON_USER;
use super::{Failure, chain};
use crate::config::Config;

pub(super) fn run(arguments: &[String]) -> Result<(), Failure> {
    let (json, flags): (Vec<String>, Vec<String>) =
        arguments.iter().cloned().partition(|it| it == "--json");
    let config = super::config(&flags)?;
    let findings = judge(&facts(&config));
    let text = if json.is_empty() {
        table(&findings)
    } else {
        serde_json::to_string_pretty(&as_json(&findings))
            .map_err(|error| Failure::simple(error.to_string()))?
    };
    writeln!(io::stdout(), "{text}")?;
    if can_start(&findings) {
        return Ok(());
    }
    let missing: Vec<&str> = findings
        .iter()
        .filter(|it| it.verdict == Verdict::Missing)
        .map(|it| it.subject.as_str())
        .collect();
    Err(Failure {
        words: format!("no desktop can start here: see {}", missing.join(", ")),
        code: 4,
    })
}

/// Looks and tries. This process has one thread: a child is split off it.
fn facts(config: &Config) -> Facts {
    Facts {
        kernel: rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned(),
        who: who(),
        landlock: probe::landlock(),
        namespaces: probe::namespaces(),
        apparmor_restricts: apparmor_restricts(),
        cgroups: cgroups(config),
        parts: parts(),
        encoders: encoders(),
        gpus: gpus(),
        ports: ports(config),
        ids: ids(config),
        clock_synchronised: probe::clock_synchronised(),
        disk: disk(&config.state_dir),
        descriptors: getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX),
    }
}

fn who() -> Who {
    match probe::ordinary_user() {
        None => Who::Root,
        Some(name) => Who::Ordinary(name),
    }
}

fn ids(config: &Config) -> Ids {
    match probe::ids(config.uid_base, DAEMON_USER) {
        probe::Ids::Taken { overlap } => Ids::Taken { overlap },
        probe::Ids::Delegated { users } => Ids::Delegated { users },
        probe::Ids::One { why, free } => Ids::One { why, free },
        probe::Ids::Outside { why } => Ids::Outside { why },
    }
}

fn apparmor_restricts() -> Option<bool> {
    let path = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
    std::fs::read_to_string(path)
        .ok()
        .map(|it| it.trim() != "0")
}

fn cgroups(config: &Config) -> Cgroups {
    let groups = probe::groups().unwrap_or_else(|error| probe::Groups {
        layout: "unknown".to_owned(),
        missing: vec![format!("/proc/self/cgroup cannot be read: {error}")],
        weaker: Vec::new(),
    });
    Cgroups {
        layout: groups.layout,
        missing: groups.missing,
        weaker: groups.weaker,
        may_be_unlimited: config.allow_unlimited,
    }
}

fn parts() -> Vec<Part> {
    probe::parts()
        .into_iter()
        .map(|it| Part {
            name: it.name.to_owned(),
            package: it.package.to_owned(),
            lacks: it.lacks.map(str::to_owned),
            is_there: it.is_there,
        })
        .collect()
}

fn encoders() -> Vec<(String, Result<String, String>)> {
    sandbox_hw::probe()
        .into_iter()
        .map(|it| {
            let version = it.version.map_err(|error| chain(&error));
            (it.name.to_owned(), version)
        })
        .collect()
}

fn gpus() -> Vec<String> {
    ["/dev", "/dev/dri"]
        .iter()
        .filter_map(|it| std::fs::read_dir(it).ok())
        .flat_map(|entries| entries.flatten())
        .filter_map(|it| it.path().into_os_string().into_string().ok())
        .filter(|path| {
            let card = path.strip_prefix("/dev/nvidia");
            let is_card = card.is_some_and(|it| it.parse::<u32>().is_ok());
            is_card || path.starts_with("/dev/dri/render")
        })
        .collect()
}

fn ports(config: &Config) -> Vec<Port> {
    let tcp = |address, variable: &str, is_optional| Port {
        address: format!("TCP {address}"),
        variable: variable.to_owned(),
        refused: probe::tcp_refusal(address),
        is_optional,
    };
    vec![
        tcp(config.http, "PORT", false),
        Port {
            address: format!("UDP {}", config.media),
            variable: "MEDIA_PORT".to_owned(),
            refused: probe::udp_refusal(config.media),
            is_optional: false,
        },
        tcp(config.metrics, "METRICS_ADDR", true),
    ]
}

/// Free space where `directory` is or would be made.
fn disk(directory: &Path) -> Result<(String, u64), String> {
    let existing = directory
        .ancestors()
        .find(|it| it.exists())
        .unwrap_or(Path::new("/"));
    let space = statvfs(existing).map_err(|error| format!("{}: {error}", existing.display()))?;
    let free_mb = space.f_bavail.saturating_mul(space.f_frsize) >> 20;
    Ok((directory.display().to_string(), free_mb))
}

fn table(findings: &[Finding]) -> String {
    let width = findings
        .iter()
        .map(|it| it.subject.len())
        .max()
        .unwrap_or(0);
    let mut lines = Vec::new();
    for it in findings {
        let (verdict, subject) = (it.verdict.name(), &it.subject);
        lines.push(format!("{verdict:<8} {subject:<width$}  {}", it.found));
        for (label, words) in [("means", &it.meaning), ("mend", &it.fix)] {
            if !words.is_empty() {
                lines.push(format!("{:<8} {:<width$}    {label}: {words}", "", ""));
            }
        }
    }
    lines.join("\n")
}

fn as_json(findings: &[Finding]) -> Value {
    let list: Vec<Value> = findings
        .iter()
        .map(|it| {
            json!({
                "subject": it.subject,
                "verdict": it.verdict.name(),
                "found": it.found,
                "meaning": it.meaning,
                "fix": it.fix,
            })
        })
        .collect();
    json!({ "can_start": can_start(findings), "findings": list })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(verdict: Verdict, meaning: &str, fix: &str) -> Finding {
        Finding {
            subject: "xvfb".to_owned(),
            verdict,
            found: "not installed".to_owned(),
            meaning: meaning.to_owned(),
            fix: fix.to_owned(),
        }
    }

    #[test]
    fn a_table_says_what_follows_and_what_mends_below_what_was_found() {
        let findings = [
            finding(Verdict::Ok, "", ""),
            finding(Verdict::Missing, "no desktop", "apt-get install xvfb"),
        ];
        assert_eq!(
            table(&findings),
            "ok       xvfb  not installed\n\
             missing  xvfb  not installed\n                 \
             means: no desktop\n                 \
             mend: apt-get install xvfb"
        );
    }

    #[test]
    fn json_says_whether_a_desktop_can_start() {
        let of = |verdict| as_json(&[finding(verdict, "m", "f")]);
        assert_eq!(of(Verdict::Weaker)["can_start"], json!(true));
        let missing = of(Verdict::Missing);
        assert_eq!(missing["can_start"], json!(false));
        assert_eq!(
            missing["findings"],
            json!([{
                "subject": "xvfb", "verdict": "missing", "found": "not installed",
                "meaning": "m", "fix": "f"
            }])
        );
    }

    #[test]
    fn a_state_directory_that_is_not_there_yet_is_judged_by_what_is_above_it() {
        let (path, free_mb) = disk(Path::new("/tmp/not/there/yet")).unwrap();
        assert_eq!(path, "/tmp/not/there/yet");
        assert!(free_mb > 0);
    }
}
