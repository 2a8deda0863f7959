//! What a session is confined by, read from outside and tried from inside.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use sandbox_protocol::local::warden::{Event, Refusal, Request};

use crate::Test;
use crate::ground::{self, Ground};
use crate::server::{
    Server, cgroups, children, command_line, framebuffer_of, fresh_directory, ids_of, node,
    session_id, start, status_field, uid_base, uid_of, wait_for,
};

pub(crate) const TESTS: &[Test] = &[
    (
        "every_process_of_a_session_is_confined_as_designed",
        every_process_of_a_session_is_confined_as_designed,
    ),
    (
        "the_daemon_has_no_right_and_no_picture",
        the_daemon_has_no_right_and_no_picture,
    ),
    (
        "a_subcommand_becomes_the_daemons_user_for_good",
        a_subcommand_becomes_the_daemons_user_for_good,
    ),
    (
        "limits_are_read_back_from_the_kernel",
        limits_are_read_back_from_the_kernel,
    ),
    (
        "programs_reach_neither_the_x_server_nor_the_host",
        programs_reach_neither_the_x_server_nor_the_host,
    ),
    (
        "xvfb_lays_out_its_framebuffer_as_planned",
        xvfb_lays_out_its_framebuffer_as_planned,
    ),
    (
        "a_missing_layer_refuses_the_session_by_its_name",
        a_missing_layer_refuses_the_session_by_its_name,
    ),
    (
        "a_missing_reported_layer_is_told_with_the_session",
        a_missing_reported_layer_is_told_with_the_session,
    ),
];

pub(crate) const NAMESPACES: [&str; 7] = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"];

/// What a desktop needs in its environment, and nothing of the host's.
const ENVIRONMENT: [&str; 16] = [
    "HOME",
    "USER",
    "LOGNAME",
    "PATH",
    "SHELL",
    "LANG",
    "TERM",
    "XDG_RUNTIME_DIR",
    "XDG_DATA_DIRS",
    "DISPLAY",
    "XAUTHORITY",
    "DBUS_SESSION_BUS_ADDRESS",
    "NO_AT_BRIDGE",
    "GTK_A11Y",
    "GIO_USE_VFS",
    "GSETTINGS_BACKEND",
];

pub(crate) fn every_process_of_a_session_is_confined_as_designed() {
    let server = Server::start(&[]);
    server.start_session(1);
    let jails = server.jails(1);
    for jail in jails {
        for pid in descendants(jail.init) {
            assert_confined(pid);
        }
    }
    let [display, worker, programs] = jails.map(|it| environment(it.program));
    assert_eq!(worker, [""; 0]);
    assert_eq!(display, ["PATH", "LISTEN_FDS", "LISTEN_PID"]);
    assert_eq!(programs, ENVIRONMENT);
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        for name in NAMESPACES {
            assert_ne!(
                namespace(jails[one].init, name),
                namespace(jails[other].init, name),
                "{name} of jails {one} and {other}"
            );
        }
    }
    server.stop();
}

fn assert_confined(pid: u32) {
    let who = format!("{pid}: {}", command_line(pid));
    for field in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(
            status_field(pid, field),
            "0000000000000000",
            "{field} of {who}"
        );
    }
    assert_eq!(status_field(pid, "NoNewPrivs"), "1", "{who}");
    assert_eq!(status_field(pid, "Seccomp"), "2", "{who}");
    assert_eq!(status_field(pid, "Groups"), "", "{who}");
    assert!((ids_of(1)..ids_of(2)).contains(&uid_of(pid)), "{who}");
    for name in NAMESPACES {
        let own = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_ne!(
            namespace(pid, name),
            own.to_string_lossy(),
            "{name} of {who}"
        );
    }
    let map = fs::read_to_string(format!("/proc/{pid}/uid_map")).unwrap();
    assert_eq!(map.split_whitespace().next(), Some("1000"), "{who}");
    assert_eq!(map.lines().count(), 1, "{who}");
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits
        .lines()
        .find(|it| it.starts_with("Max core"))
        .unwrap();
    let core: Vec<&str> = core.split_whitespace().collect();
    assert_eq!(core[4..6], ["1", "1"], "core size of {who}");
}

pub(crate) fn the_daemon_has_no_right_and_no_picture() {
    let server = Server::start(&[]);
    server.start_session(1);
    let daemon = server.daemon_pid();
    for field in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status_field(daemon, field), "0000000000000000", "{field}");
    }
    assert_eq!(status_field(daemon, "NoNewPrivs"), "1");
    assert_eq!(uid_of(daemon), uid_base() - 1);
    assert_eq!(environment(daemon), [""; 0]);
    let open: Vec<String> = fs::read_dir(format!("/proc/{daemon}/fd"))
        .unwrap()
        .filter_map(|it| fs::read_link(it.unwrap().path()).ok())
        .map(|it| it.display().to_string())
        .collect();
    assert!(
        !open.iter().any(|it| it.contains("framebuffer")),
        "{open:?}"
    );
    let state = server.directory.join("state");
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    // Only root's daemon passes through; another has its part by a mount.
    let above = match ground::present() {
        Ground::Root => 0o711,
        Ground::Range | Ground::OneId | Ground::Unlimited => 0o700,
    };
    assert_eq!(mode(&state), above);
    assert_eq!(mode(&state.join("users")), above);
    assert_eq!(mode(&state.join("daemon")), 0o700);
    assert_eq!(mode(&server.directory.join("run")), 0o700);
    assert_eq!(
        fs::metadata(state.join("daemon")).unwrap().uid(),
        uid_base() - 1
    );
    let home = fs::metadata(state.join("users/user1")).unwrap();
    assert_eq!((home.uid(), home.mode() & 0o7777), (ids_of(1), 0o700));
    server.stop();
}

fn a_subcommand_becomes_the_daemons_user_for_good() {
    let directory = fresh_directory();
    let output = std::process::Command::new("/proc/self/exe")
        .arg("become")
        .arg(&directory)
        .output()
        .unwrap();
    let ids = [(u32::MAX / 2).to_string().as_str(); 4].join(" ");
    let none = "0000000000000000";
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!(
            "Uid: {ids}\nGid: {ids}\nGroups:\nCapEff: {none}\nCapPrm: {none}\nCapBnd: {none}\n"
        )
    );
    fs::remove_dir_all(directory).unwrap();
}

pub(crate) fn limits_are_read_back_from_the_kernel() {
    let server = Server::start(&["memory=300", "cpu=80", "pids=60"]);
    let session = server.start_session(1);
    let name = format!("sandbox-{}/{session}", node(&server.directory));
    // The same limit has another file in v1 and v2.
    let numbers = |group: &str, file: &str| -> Option<Vec<u64>> {
        let text = cgroups(&name)
            .into_iter()
            .filter(|it| it.ends_with(format!("{name}{group}")))
            .find_map(|it| fs::read_to_string(it.join(file)).ok())?;
        Some(
            text.split_whitespace()
                .map(|it| it.parse().unwrap())
                .collect(),
        )
    };
    let memory = |group| {
        let bytes =
            numbers(group, "memory.limit_in_bytes").or_else(|| numbers(group, "memory.max"));
        bytes.unwrap()[0] >> 20
    };
    assert_eq!(memory("/apps"), 300);
    assert_eq!(memory("/display"), 384);
    assert_eq!(memory("/worker"), 512);
    assert_eq!(memory(""), 300 + 384 + 512);
    assert_eq!(numbers("/apps", "pids.max").unwrap(), [60]);
    assert_eq!(numbers("/display", "pids.max").unwrap(), [16]);
    let cpu = |group| {
        let of_v1 = |file| Some(numbers(group, file)?[0]);
        let both = of_v1("cpu.cfs_quota_us").zip(of_v1("cpu.cfs_period_us"));
        both.unwrap_or_else(|| {
            let quota_and_period = numbers(group, "cpu.max").unwrap();
            (quota_and_period[0], quota_and_period[1])
        })
    };
    assert_eq!(cpu("/apps"), (16_000, 20_000));
    assert_eq!(cpu(""), (46_000, 20_000));

    let [display, worker, programs] = server.jails(1);
    for (jail, group) in [(display, "display"), (worker, "worker"), (programs, "apps")] {
        for pid in descendants(jail.init) {
            assert_limited(pid, &format!("{name}/{group}"));
        }
    }
    let (cpu, bytes, pids) = wait_for("the desktop's processes", || {
        server.send(&Request::Usage { session });
        match server.event().0 {
            Event::Usage {
                cpu_nanos,
                memory_bytes,
                pids,
                ..
            } => (pids >= 3).then_some((cpu_nanos, memory_bytes, pids)),
            other => panic!("{other:?}"),
        }
    });
    assert!(cpu > 0);
    assert!(bytes > 33 << 20, "{bytes}");
    assert!(pids <= 60, "{pids}");
    server.stop();
}

pub(crate) fn programs_reach_neither_the_x_server_nor_the_host() {
    let server = Server::start(&[]);
    let session = server.start_session(1);
    let [display, worker, programs] = server.jails(1);
    for pid in descendants(programs.init) {
        let open: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .filter_map(|it| fs::read_link(it.unwrap().path()).ok())
            .map(|it| it.display().to_string())
            .collect();
        assert!(
            !open.iter().any(|it| it.contains("framebuffer")),
            "{pid}: {open:?}"
        );
    }
    // Only Xvfb and the worker hold the framebuffer.
    framebuffer_of(display.program);
    framebuffer_of(worker.program);

    let socket = server.directory.join(format!("run/session-{session}/X0"));
    let metadata = fs::metadata(&socket).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
    assert_eq!(metadata.uid(), uid_of(programs.program));

    // The script writes what it finds into the home, run by the window manager's autostart.
    server.lay_autostart(2, SCRIPT.as_bytes());
    server.start_session(2);
    let result = wait_for("the script's result", || {
        fs::read_to_string(server.home(2).join("result")).ok()
    });
    for line in [
        "cgroups above 0",
        "X yes",
        "xauthority 600",
        "hostname desktop",
        "id 1000",
        "pids few",
        "init-root no",
        "init-environ no",
        "host-root no",
        "etc-shadow no",
        "write-usr no",
        "write-etc no",
        "sys no",
        "oom 300",
        "x-without-cookie no",
        "unshare no",
        "home-write yes",
        "home-exec yes",
        "other-home no",
        "network no",
    ] {
        assert!(
            result.lines().any(|it| it == line),
            "{line} is not in:\n{result}"
        );
    }
    server.stop();
}

const SCRIPT: &str = r#"
exec 2>/dev/null
cd "$HOME"
try() { name=$1; shift; if "$@" >/dev/null 2>&1; then echo "$name yes"; else echo "$name no"; fi; }
{
    echo "cgroups above $(grep -cv ':/$' /proc/self/cgroup)"
    try X openbox --reconfigure
    echo "xauthority $(stat -c %a "$XAUTHORITY")"
    echo "hostname $(uname -n)"
    echo "id $(id -u)"
    [ "$(ls -d /proc/[0-9]* | wc -l)" -lt 20 ] && echo "pids few"
    try init-root ls /proc/1/root/
    try init-environ cat /proc/1/environ
    try host-root ls /root
    try etc-shadow cat /etc/shadow
    try write-usr touch /usr/bin/x
    try write-etc touch /etc/x
    try sys ls /sys/kernel
    echo "oom $(cat /proc/self/oom_score_adj)"
    try x-without-cookie env XAUTHORITY=/dev/null openbox --reconfigure
    try unshare unshare -U true
    try home-write touch "$HOME/file"
    cp /bin/true "$HOME/true"; try home-exec "$HOME/true"
    try other-home ls /home/user1
    try network bash -c 'exec 3<>/dev/tcp/127.0.0.1/22'
} > result.part
mv result.part result
"#;

fn xvfb_lays_out_its_framebuffer_as_planned() {
    let server = Server::start(&[]);
    server.start_session(1);
    let [_, worker, _] = server.jails(1);
    let file = framebuffer_of(worker.program);
    let bytes = fs::read(file).unwrap();
    let field = |at: usize| u32::from_be_bytes(bytes[at * 4..][..4].try_into().unwrap());
    let (header, colours, stride) = (field(0), field(19), field(12));
    assert_eq!(header + colours * 12, 3_232, "offset of the first pixel");
    assert_eq!((field(4), field(5)), (3840, 2160));
    assert_eq!((field(11), stride), (32, 15_360));
    assert_eq!((field(14), field(15), field(16)), (0xff_0000, 0xff00, 0xff));
    assert_eq!(bytes.len(), 3_232 + 15_360 * 2_160);
    server.stop();
}

pub(crate) fn a_missing_layer_refuses_the_session_by_its_name() {
    for layer in [
        "namespaces",
        "cgroup_namespace",
        "id_map",
        "root",
        "pivot_root",
        "resource_limits",
        "capabilities",
        "no_new_privs",
        "seccomp",
        "memory_limit",
        "pids_limit",
    ] {
        let server = Server::start(&[&format!("without={layer}")]);
        server.send(&Request::Start(start(1)));
        match server.refused() {
            Refusal::Missing { layer: named, .. } => assert_eq!(named, layer),
            other => panic!("without {layer}: {other:?}"),
        }
        server.stop();
    }
}

fn a_missing_reported_layer_is_told_with_the_session() {
    for layer in ["landlock", "cpu_limit"] {
        let server = Server::start(&[&format!("without={layer}")]);
        server.send(&Request::Start(start(1)));
        match server.event().0 {
            Event::Started {
                session, weaker, ..
            } => {
                assert_eq!(session, session_id(1));
                assert!(weaker.iter().any(|it| it.starts_with(layer)), "{weaker:?}");
            }
            other => panic!("without {layer}: {other:?}"),
        }
        server.stop();
    }
}

/// In every hierarchy that limits or is v2, the process is in this group.
#[track_caller]
fn assert_limited(pid: u32, group: &str) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let has_unified = mounts.contains(" - cgroup2 ");
    let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let is_ours = |line: &&str| {
        let controllers = line.split(':').nth(1).unwrap();
        let limits = ["memory", "pids", "cpu"];
        let is_v1 = controllers.split(',').any(|it| limits.contains(&it));
        is_v1 || (has_unified && line.starts_with("0::"))
    };
    let places: Vec<&str> = own.lines().filter(is_ours).collect();
    let is_limited = !places.is_empty() && places.iter().all(|it| it.ends_with(group));
    // One that has just ended stands in no group any more.
    let has_ended = || matches!(status_field(pid, "State").get(..1), None | Some("Z" | "X"));
    assert!(is_limited || has_ended(), "{pid}: {own}");
}

pub(crate) fn descendants(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    for child in children(pid) {
        all.extend(descendants(child));
    }
    all
}

pub(crate) fn namespace(pid: u32, name: &str) -> String {
    fs::read_link(format!("/proc/{pid}/ns/{name}"))
        .unwrap()
        .display()
        .to_string()
}

/// Names in a program's environment, in order.
fn environment(pid: u32) -> Vec<String> {
    fs::read_to_string(format!("/proc/{pid}/environ"))
        .unwrap()
        .split_terminator('\0')
        .map(|it| it.split_once('=').unwrap().0.to_owned())
        .collect()
}
