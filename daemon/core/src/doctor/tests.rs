//! Recorded hosts and what is said about them.

use super::*;

fn part(name: &str, lacks: Option<&str>, is_there: bool) -> Part {
    Part {
        name: name.to_owned(),
        package: format!("{name}-package"),
        lacks: lacks.map(str::to_owned),
        is_there,
    }
}

fn port(address: &str, refused: Option<&str>, is_optional: bool) -> Port {
    Port {
        address: address.to_owned(),
        variable: "PORT".to_owned(),
        refused: refused.map(str::to_owned),
        is_optional,
    }
}

/// Debian 12 with a newer kernel and all packages, asked by root.
fn good() -> Facts {
    Facts {
        kernel: "6.12.9+deb12-amd64".to_owned(),
        who: Who::Root,
        landlock: Ok(6),
        namespaces: Ok(()),
        apparmor_restricts: None,
        cgroups: Cgroups {
            layout: "v2".to_owned(),
            missing: Vec::new(),
            weaker: Vec::new(),
            may_be_unlimited: false,
        },
        parts: vec![part("xvfb", None, true), part("tint2", Some("panel"), true)],
        encoders: vec![("libx264".to_owned(), Ok("x264 build 164".to_owned()))],
        gpus: Vec::new(),
        ports: vec![
            port("TCP 127.0.0.1:8080", None, false),
            port("TCP 127.0.0.1:9090", None, true),
        ],
        ids: Ids::Taken { overlap: None },
        clock_synchronised: Some(true),
        disk: Ok(("/var/lib/sandbox-server".to_owned(), 40_000)),
        descriptors: 1 << 20,
    }
}

#[test]
fn a_good_host_is_good_in_every_point() {
    let findings = judge(&good());
    for finding in &findings {
        assert_eq!(finding.verdict, Verdict::Ok, "{finding:?}");
    }
    assert!(can_start(&findings));
}

/// Changes one fact and checks the one finding that follows, with a word of its meaning or fix.
#[track_caller]
fn check(change: impl FnOnce(&mut Facts), subject: &str, verdict: Verdict, word: &str) {
    let mut facts = good();
    change(&mut facts);
    let findings = judge(&facts);
    let changed: Vec<&Finding> = findings
        .iter()
        .filter(|it| it.verdict != Verdict::Ok)
        .collect();
    let [finding] = changed.as_slice() else {
        panic!("not one finding: {changed:?}");
    };
    assert_eq!(
        (finding.subject.as_str(), finding.verdict),
        (subject, verdict)
    );
    let words = format!("{} {} {}", finding.found, finding.meaning, finding.fix);
    assert!(words.contains(word), "{words}");
    assert!(!finding.meaning.is_empty(), "{finding:?}");
    assert_eq!(can_start(&findings), verdict != Verdict::Missing);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_fault_is_named_with_its_weight_and_its_way_out() {
    use Verdict::{Missing, Weaker};
    check(
        |it| it.kernel = "5.10.0-28".into(),
        "kernel",
        Missing,
        "newer kernel",
    );
    check(|it| it.kernel = "5.14.0".into(), "kernel", Weaker, "5.15");
    check(
        |it| it.kernel = "strange".into(),
        "kernel",
        Weaker,
        "strange",
    );
    check(
        |it| it.landlock = Err("not active".into()),
        "landlock",
        Weaker,
        "lsm=",
    );
    check(|it| it.landlock = Ok(1), "landlock", Weaker, "moving files");
    check(
        |it| it.landlock = Ok(2),
        "landlock",
        Weaker,
        "truncating files, TCP ports",
    );
    check(
        |it| it.landlock = Ok(4),
        "landlock",
        Weaker,
        "cover device ioctls",
    );
    check(
        |it| it.namespaces = Err("EPERM".into()),
        "namespaces",
        Missing,
        "sysctl",
    );
    check(
        |it| it.cgroups.missing = vec!["memory_limit: none".into()],
        "cgroups",
        Missing,
        "SANDBOX_ALLOW_UNLIMITED",
    );
    check(
        |it| {
            it.cgroups.missing = vec!["memory_limit: none".into()];
            it.cgroups.may_be_unlimited = true;
        },
        "cgroups",
        Weaker,
        "without limits",
    );
    check(
        |it| it.cgroups.weaker = vec!["cpu_limit: none".into()],
        "cgroups",
        Weaker,
        "cpu_limit",
    );
    check(
        |it| it.parts[0].is_there = false,
        "xvfb",
        Missing,
        "apt-get install xvfb-package",
    );
    check(
        |it| it.parts[1].is_there = false,
        "tint2",
        Weaker,
        "no panel",
    );
    check(
        |it| it.encoders[0].1 = Err("absent".into()),
        "encoder",
        Missing,
        "libx264: absent",
    );
    check(
        |it| {
            it.encoders[0].1 = Err("absent".into());
            it.encoders.push(("openh264".into(), Ok("2.6".into())));
        },
        "encoder",
        Weaker,
        "openh264: 2.6",
    );
    check(
        |it| it.ports[0].refused = Some("held by nginx (process 7)".into()),
        "TCP 127.0.0.1:8080",
        Missing,
        "nginx",
    );
    check(
        |it| it.ports[1].refused = Some("held by prometheus (process 8)".into()),
        "TCP 127.0.0.1:9090",
        Weaker,
        "without metrics",
    );
    check(
        |it| {
            it.ids = Ids::Taken {
                overlap: Some("lxd".into()),
            };
        },
        "uids",
        Missing,
        "SANDBOX_UID_BASE",
    );
    check(
        |it| it.clock_synchronised = Some(false),
        "clock",
        Weaker,
        "timesyncd",
    );
    check(
        |it| it.disk = Ok(("/".into(), 500)),
        "disk",
        Weaker,
        "500 MB",
    );
    check(
        |it| it.disk = Ok(("/".into(), 3)),
        "disk",
        Missing,
        "STATE_DIR",
    );
    check(
        |it| it.disk = Err("no such directory".into()),
        "disk",
        Missing,
        "no such",
    );
    check(
        |it| it.descriptors = 1024,
        "descriptors",
        Weaker,
        "LimitNOFILE",
    );
    check(
        |it| it.descriptors = 64,
        "descriptors",
        Missing,
        "LimitNOFILE",
    );
}

#[test]
fn what_is_no_fault_of_the_host_is_said_and_not_held_against_it() {
    let mut facts = good();
    facts.apparmor_restricts = Some(true);
    facts.gpus = vec!["/dev/nvidia0".to_owned()];
    facts.clock_synchronised = None;
    facts.ports[0].refused = Some("held by sandbox-server (process 12)".to_owned());
    facts.descriptors = u64::MAX;
    let findings = judge(&facts);
    assert!(
        findings.iter().all(|it| it.verdict == Verdict::Ok),
        "{findings:?}"
    );
    let of = |subject: &str| findings.iter().find(|it| it.subject == subject).unwrap();
    assert!(of("apparmor").found.contains("not of root"));
    assert!(of("gpu").found.contains("/dev/nvidia0"));
}

/// The good host, asked by an ordinary user who has what the way without root needs.
fn without_root() -> Facts {
    Facts {
        who: Who::Ordinary("ada".to_owned()),
        ids: Ids::Delegated { users: 4095 },
        ..good()
    }
}

/// The finding about `subject` on a host that `change` made different.
fn found(change: impl FnOnce(&mut Facts), subject: &str) -> Finding {
    let mut facts = without_root();
    change(&mut facts);
    let mut findings = judge(&facts);
    findings.retain(|it| it.subject == subject);
    findings.remove(0)
}

#[test]
fn without_root_a_good_host_is_weaker_in_that_alone() {
    let findings = judge(&without_root());
    let weaker: Vec<&str> = findings
        .iter()
        .filter(|it| it.verdict != Verdict::Ok)
        .map(|it| it.subject.as_str())
        .collect();
    assert_eq!(weaker, ["rights"]);
    assert!(can_start(&findings));
}

#[test]
fn without_root_each_lack_comes_with_the_command_that_root_gives() {
    let is = |finding: Finding, verdict, words: &str| {
        assert_eq!(finding.verdict, verdict, "{finding:?}");
        assert!(finding.fix.contains(words), "{finding:?}");
    };
    let one = |it: &mut Facts| {
        it.ids = Ids::One {
            why: "no range".to_owned(),
            free: 165_536,
        };
    };
    let words = "usermod --add-subuids 165536-231071 --add-subgids 165536-231071 ada";
    is(found(one, "uids"), Verdict::Weaker, words);
    let outside = |it: &mut Facts| {
        it.ids = Ids::Outside {
            why: "lies outside".to_owned(),
        };
    };
    is(found(outside, "uids"), Verdict::Missing, "SANDBOX_UID_BASE");
    let closed = |layout: &'static str| {
        move |it: &mut Facts| {
            it.cgroups.layout = layout.to_owned();
            it.cgroups.missing = vec!["memory_limit: not writable".to_owned()];
        }
    };
    let finding = found(closed("v2"), "cgroups");
    is(
        finding,
        Verdict::Missing,
        "systemd-run --user --scope -p Delegate=yes",
    );
    is(
        found(closed("v1"), "cgroups"),
        Verdict::Missing,
        "chown ada",
    );
    let refused = |it: &mut Facts| it.namespaces = Err("EPERM".to_owned());
    let finding = found(refused, "namespaces");
    is(
        finding,
        Verdict::Missing,
        "kernel.unprivileged_userns_clone=1",
    );
}

#[test]
fn apparmor_counts_where_it_keeps_this_user_from_starting() {
    let limits = |it: &mut Facts| it.apparmor_restricts = Some(true);
    assert_eq!(found(limits, "apparmor").verdict, Verdict::Ok);
    let refuses = |it: &mut Facts| {
        limits(it);
        it.namespaces = Err("EACCES".to_owned());
    };
    let finding = found(refuses, "apparmor");
    assert_eq!(finding.verdict, Verdict::Missing);
    let fix = finding.fix;
    assert!(
        fix.contains("apparmor_restrict_unprivileged_userns"),
        "{fix}"
    );
}
