//! A warden that an ordinary user starts: the same walls, on another ground.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use sandbox_protocol::local::warden::{Event, Refusal, Request};

use crate::ground::{Ground, on, ordinary_uid};
use crate::server::{
    Server, children, fresh_directory, ids_of, start, status_field, uid_base, uid_of,
};
use crate::{Test, confinement, life};

pub(crate) const TESTS: &[Test] = &[
    ("without_root_every_process_is_confined_as_designed", || {
        on(
            Ground::Range,
            confinement::every_process_of_a_session_is_confined_as_designed,
        )
    }),
    (
        "without_root_the_daemon_has_no_right_and_no_picture",
        || {
            on(
                Ground::Range,
                confinement::the_daemon_has_no_right_and_no_picture,
            )
        },
    ),
    ("without_root_limits_are_read_back_from_the_kernel", || {
        on(
            Ground::Range,
            confinement::limits_are_read_back_from_the_kernel,
        )
    }),
    (
        "without_root_programs_reach_neither_the_x_server_nor_the_host",
        || {
            on(
                Ground::Range,
                confinement::programs_reach_neither_the_x_server_nor_the_host,
            )
        },
    ),
    (
        "without_root_a_missing_layer_refuses_the_session_by_its_name",
        || {
            on(
                Ground::Range,
                confinement::a_missing_layer_refuses_the_session_by_its_name,
            )
        },
    ),
    (
        "without_root_an_upgrade_switches_when_the_next_daemon_serves",
        || {
            on(
                Ground::Range,
                life::an_upgrade_switches_when_the_next_daemon_serves_and_never_without,
            )
        },
    ),
    (
        "without_root_a_killed_warden_takes_everything_with_it",
        || {
            on(
                Ground::Range,
                life::a_killed_warden_takes_everything_with_it_and_the_next_sweeps,
            )
        },
    ),
    ("with_one_uid_the_jails_share_it_and_nothing_else", || {
        on(
            Ground::OneId,
            with_one_uid_the_jails_share_it_and_nothing_else,
        )
    }),
    (
        "what_one_uid_kept_is_given_to_the_ids_that_came_later",
        what_one_uid_kept_is_given_to_the_ids_that_came_later,
    ),
    (
        "the_daemon_sees_nothing_of_the_callers_home_but_its_own_part",
        || {
            on(
                Ground::OneId,
                the_daemon_sees_nothing_of_the_callers_home_but_its_own_part,
            )
        },
    ),
    (
        "without_a_cgroup_no_session_starts_unlimited_by_itself",
        || {
            on(
                Ground::Unlimited,
                without_a_cgroup_no_session_starts_unlimited_by_itself,
            )
        },
    ),
    (
        "a_host_without_user_namespaces_is_named",
        a_host_without_user_namespaces_is_named,
    ),
];

fn with_one_uid_the_jails_share_it_and_nothing_else() {
    let server = Server::start(&[]);
    server.start_session(1);
    let daemon = server.daemon_pid();
    let inits: Vec<u32> = children(server.warden.id())
        .into_iter()
        .filter(|pid| *pid != daemon)
        .collect();
    assert_eq!(inits.len(), 3, "{inits:?}");
    for init in &inits {
        for pid in confinement::descendants(*init) {
            assert_eq!(uid_of(pid), ordinary_uid());
            for field in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
                assert_eq!(
                    status_field(pid, field),
                    "0000000000000000",
                    "{field} of {pid}"
                );
            }
            assert_eq!(status_field(pid, "NoNewPrivs"), "1");
            assert_eq!(status_field(pid, "Seccomp"), "2");
        }
        for other in inits.iter().filter(|it| *it != init) {
            for name in confinement::NAMESPACES {
                assert_ne!(
                    confinement::namespace(*init, name),
                    confinement::namespace(*other, name),
                    "{name}"
                );
            }
        }
    }
    assert_eq!(uid_of(daemon), ordinary_uid());
    for field in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status_field(daemon, field), "0000000000000000", "{field}");
    }
    server.stop();
}

fn what_one_uid_kept_is_given_to_the_ids_that_came_later() {
    let directory = fresh_directory();
    let run = |ground| {
        on(ground, || {
            let mut server = Server::start_in(directory.clone(), &[]);
            server.meet_daemon();
            server.start_session(1);
            let file = server.home(1).join("kept");
            if ground == Ground::OneId {
                fs::write(&file, "kept").unwrap();
                let link = server.home(1).join("link");
                std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
                let uid = Some(ordinary_uid());
                for path in [&file, &link] {
                    std::os::unix::fs::lchown(path, uid, uid).unwrap();
                }
            }
            let owners = [directory.join("state/daemon"), server.home(1), file]
                .map(|it| it.symlink_metadata().unwrap().uid());
            server.end_in_order();
            // The next one goes on in it.
            server.directory = std::path::PathBuf::new();
            owners
        })
    };
    assert_eq!(run(Ground::OneId), [ordinary_uid(); 3]);
    let passwd = fs::metadata("/etc/passwd").unwrap().uid();
    assert_eq!(run(Ground::Range), [uid_base() - 1, ids_of(1), ids_of(1)]);
    assert_eq!(fs::metadata("/etc/passwd").unwrap().uid(), passwd);
    fs::remove_dir_all(directory).unwrap();
}

fn the_daemon_sees_nothing_of_the_callers_home_but_its_own_part() {
    let server = Server::start(&[]);
    fs::write(server.directory.join("secret"), "of the caller").unwrap();
    let root = format!("/proc/{}/root", server.daemon_pid());
    let seen = |path: &std::path::Path| {
        let below = format!("{root}{}", path.display());
        let names = fs::read_dir(below).unwrap();
        names
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(seen(&server.directory), ["state"]);
    assert_eq!(seen(&server.directory.join("state")), ["daemon"]);
    let own = format!("{root}{}/state/daemon", server.directory.display());
    fs::write(format!("{own}/mark"), "").unwrap();
    assert!(server.directory.join("state/daemon/mark").exists());
    server.stop();
}

fn without_a_cgroup_no_session_starts_unlimited_by_itself() {
    let server = Server::start(&[]);
    server.send(&Request::Start(start(1)));
    match server.refused() {
        Refusal::Missing { layer, detail } => {
            assert_eq!(layer, "memory_limit");
            assert!(detail.contains("SANDBOX_ALLOW_UNLIMITED=true"), "{detail}");
        }
        other => panic!("{other:?}"),
    }
    server.stop();
    let server = Server::start(&["unlimited=1"]);
    server.send(&Request::Start(start(1)));
    match server.event().0 {
        Event::Started { weaker, .. } => {
            let limits = "memory_limit, pids_limit, cpu_limit: ";
            assert!(weaker.iter().any(|it| it.starts_with(limits)), "{weaker:?}");
        }
        other => panic!("{other:?}\n{}", server.log()),
    }
    server.stop();
}

fn a_host_without_user_namespaces_is_named() {
    let directory = fresh_directory();
    let output = Command::new("unshare")
        .args([
            "--user",
            "--map-user=1000",
            "--map-group=1000",
            "--keep-caps",
            "sh",
            "-c",
        ])
        .arg("echo 0 >/proc/sys/user/max_user_namespaces; exec \"$@\"")
        .arg("sh")
        .arg(std::env::current_exe().unwrap())
        .arg("serve")
        .arg(&directory)
        .args(["nobody-listens", "uid_base=1900000000"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("user.max_user_namespaces is 0"), "{said}");
    fs::remove_dir_all(directory).unwrap();
}
