//! Control groups on hosts of every layout, as recorded trees, and on this one.

mod recorded;

use std::process::Command;

use super::layout::Layout;
use super::*;
use crate::layer::Host;
use crate::sys::process::{Forked, split};
use recorded::Recorded;

const PID: u32 = 4242;

const V1_MOUNTS: &str = "\
33 26 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
34 26 0:29 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
35 26 0:30 /docker/x /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
";
const V1_GROUPS: &str = "\
8:pids:/docker/x/y
4:memory:/system/a
2:cpu,cpuacct:/
1:name=systemd:/
";
const HYBRID_MOUNT: &str =
    "36 26 0:31 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
const V2_MOUNTS: &str = "\
25 30 0:23 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
29 25 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate
";
const TOP: &str = "sys/fs/cgroup";
const SLICE: &str = "sys/fs/cgroup/user.slice/user-1000.slice";
const SCOPE: &str = "sys/fs/cgroup/user.slice/user-1000.slice/session-3.scope";
const SERVICE: &str = "sys/fs/cgroup/system.slice/sandbox-server.service";

fn v1_host(more_mounts: &str, more_groups: &str) -> Recorded {
    Recorded::new(&[
        ("proc/self/mountinfo", &format!("{V1_MOUNTS}{more_mounts}")),
        ("proc/self/cgroup", &format!("{V1_GROUPS}{more_groups}")),
    ])
}

fn v2_host(own: &str) -> Recorded {
    let host = Recorded::new(&[
        ("proc/self/mountinfo", V2_MOUNTS),
        ("proc/self/cgroup", &format!("0::{own}\n")),
    ]);
    host.group(TOP, "", "1\n2\n3\n");
    host
}

/// A Debian 12 login: the shell and sudo stand in the same scope as the server.
fn login() -> Recorded {
    let host = v2_host("/user.slice/user-1000.slice/session-3.scope");
    host.group("sys/fs/cgroup/user.slice", "domain\n", "");
    host.group(SLICE, "domain\n", "");
    host.group(SCOPE, "domain\n", "900\n4100\n4242\n");
    host
}

fn service() -> Recorded {
    let host = v2_host("/system.slice/sandbox-server.service");
    host.group(SERVICE, "domain\n", "4242\n");
    host
}

fn container() -> Recorded {
    let host = v2_host("/");
    host.group(TOP, "domain\n", "1\n4242\n");
    host
}

#[track_caller]
fn check_places(host: &Recorded, layout: Layout, places: &[(&str, &str)]) {
    let own = host.own();
    assert_eq!(own.layout(), layout);
    let found: Vec<(String, String)> = own
        .trees
        .iter()
        .map(|it| {
            let place = it.directory.strip_prefix(&host.0).unwrap();
            (place.display().to_string(), it.controllers.join(" "))
        })
        .collect();
    let places: Vec<(String, String)> = places
        .iter()
        .map(|(place, controllers)| ((*place).to_owned(), (*controllers).to_owned()))
        .collect();
    assert_eq!(found, places);
}

const V1_PLACES: [(&str, &str); 3] = [
    ("sys/fs/cgroup/memory/system/a", "memory"),
    ("sys/fs/cgroup/pids/y", "pids"),
    ("sys/fs/cgroup/cpu,cpuacct", "cpu cpuacct"),
];

#[test]
fn groups_are_made_below_our_own_in_every_layout() {
    check_places(&v1_host("", ""), Layout::V1, &V1_PLACES);
    let mut hybrid = V1_PLACES.to_vec();
    hybrid.push(("sys/fs/cgroup/unified/a.scope", ""));
    check_places(
        &v1_host(HYBRID_MOUNT, "0::/a.scope\n"),
        Layout::Hybrid,
        &hybrid,
    );
    let all = "memory pids cpu";
    check_places(&service(), Layout::V2, &[(SERVICE, all)]);
    // Whoever logged in stands in the scope: the nearest group that holds no process takes ours.
    check_places(&login(), Layout::V2, &[(SLICE, all)]);
    check_places(&container(), Layout::V2, &[(TOP, "")]);
    let none = Recorded::new(&[("proc/self/mountinfo", ""), ("proc/self/cgroup", "0::/\n")]);
    check_places(&none, Layout::Nothing, &[]);
}

#[test]
fn a_user_manager_that_gives_no_cpu_controller_gives_the_others() {
    const SCOPE: &str = "sys/fs/cgroup/user.slice/user@1000.service/app.slice/run-7.scope";
    let host = v2_host("/user.slice/user@1000.service/app.slice/run-7.scope");
    host.group(SCOPE, "domain\n", "4242\n");
    host.write(&format!("{SCOPE}/cgroup.controllers"), "memory pids\n");
    for path in [
        "sys/fs/cgroup/user.slice/user@1000.service/app.slice",
        "sys/fs/cgroup/user.slice/user@1000.service",
        "sys/fs/cgroup/user.slice",
    ] {
        host.group(path, "domain\n", "");
        host.write(&format!("{path}/cgroup.controllers"), "memory pids\n");
    }
    // The kernel's root group is not an ordinary user's to write.
    host.group(TOP, "domain\n", "1\n");
    check_places(&host, Layout::V2, &[(SCOPE, "memory pids")]);
    let weaker = missing(&host.own(), Unlimited::Refuse).unwrap();
    assert_eq!(weaker.len(), 1);
    assert!(
        weaker.iter().all(|it| it.starts_with("cpu_limit")),
        "{weaker:?}"
    );
}

#[test]
fn controllers_split_between_both_versions_come_from_where_they_are() {
    let host = Recorded::new(&[
        (
            "proc/self/mountinfo",
            "34 26 0:29 / /cg/memory rw - cgroup cgroup rw,memory\n36 26 0:31 / /cg/unified rw - cgroup2 cgroup2 rw\n",
        ),
        ("proc/self/cgroup", "4:memory:/\n0::/\n"),
    ]);
    host.group("cg/unified", "", "1\n");
    let places = [("cg/memory", "memory"), ("cg/unified", "pids cpu")];
    check_places(&host, Layout::Hybrid, &places);
}

#[test]
fn a_place_outside_of_what_we_see_is_not_used() {
    let host = v2_host("/../../system.slice");
    check_places(&host, Layout::Nothing, &[]);
}

#[test]
fn a_service_moves_its_warden_into_a_leaf_before_it_gives_limits() {
    let host = service();
    let mut own = host.own();
    own.settle_as("sandbox-n", PID);
    assert_eq!(own.obstacle, None);
    assert_eq!(
        host.read(&format!("{SERVICE}/sandbox-n/warden/cgroup.procs")),
        "4242"
    );
    assert_eq!(
        host.read(&format!("{SERVICE}/cgroup.subtree_control")),
        "+cpu"
    );
    let below = format!("{SERVICE}/sandbox-n/cgroup.subtree_control");
    assert_eq!(host.read(&below), "+memory +pids +cpu");
}

#[test]
fn nobody_is_moved_where_the_groups_are_made_above() {
    let host = login();
    let mut own = host.own();
    own.settle_as("sandbox-n", PID);
    assert!(!host.0.join(format!("{SLICE}/sandbox-n/warden")).exists());
    assert_eq!(
        host.read(&format!("{SCOPE}/cgroup.procs")),
        "900\n4100\n4242\n"
    );
}

#[test]
fn what_stands_in_the_way_is_named_with_the_way_out() {
    let error = missing(&container().own(), Unlimited::Refuse).unwrap_err();
    assert_eq!(error.layer, "memory_limit");
    assert!(
        error.detail.contains("other processes, such as 1"),
        "{error}"
    );
    assert!(error.detail.contains("Delegate=yes"), "{error}");
    let host = service();
    host.write(&format!("{SERVICE}/cgroup.controllers"), "pids\n");
    // Above it stands init, in a group that has everything but is not the kernel's root.
    host.group(TOP, "domain\n", "1\n");
    let error = missing(&host.own(), Unlimited::Refuse).unwrap_err();
    assert!(error.detail.contains("has not all of them"), "{error}");
}

#[test]
fn a_host_without_memory_limits_is_refused_by_name() {
    let host = Recorded::new(&[("proc/self/mountinfo", ""), ("proc/self/cgroup", "0::/\n")]);
    let own = host.own();
    let error = missing(&own, Unlimited::Refuse).unwrap_err();
    assert_eq!(error.layer, "memory_limit");
    assert_eq!(missing(&own, Unlimited::Report).unwrap().len(), 3);
}

const CEILINGS: Ceilings = Ceilings {
    memory_mb: 512,
    cpu_percent: 50,
    pids: 100,
};

fn groups_on(host: &Recorded) -> SessionGroups {
    let own = host.own();
    let made = SessionGroups::create(&own, "sandbox-n/s", CEILINGS, Unlimited::Refuse, &Host);
    let (groups, weaker) = made.unwrap();
    assert_eq!(weaker, Vec::<String>::new());
    groups
}

#[test]
fn limits_are_written_in_the_words_of_v2() {
    let host = service();
    let session = format!("{SERVICE}/sandbox-n/s");
    host.session(&session);
    groups_on(&host);
    let megabytes = |mb: u64| (mb << 20).to_string();
    for (file, text) in [
        (
            "memory.max",
            megabytes(512 + DISPLAY_MEMORY_MB + WORKER_MEMORY_MB),
        ),
        ("cpu.max", "40000 20000".to_owned()),
        ("cpu.weight", "100".to_owned()),
        ("cgroup.subtree_control", "+memory +pids +cpu".to_owned()),
        ("apps/memory.max", megabytes(512)),
        ("apps/memory.swap.max", "0".to_owned()),
        ("apps/pids.max", "100".to_owned()),
        ("apps/cpu.max", "10000 20000".to_owned()),
        ("display/memory.max", megabytes(DISPLAY_MEMORY_MB)),
        ("display/cpu.weight", "400".to_owned()),
        ("display/cpu.max", "max 100000\n".to_owned()),
        ("worker/pids.max", WORKER_PIDS.to_string()),
    ] {
        assert_eq!(host.read(&format!("{session}/{file}")), text, "{file}");
    }
    assert!(
        !host
            .0
            .join(format!("{session}/apps/cgroup.subtree_control"))
            .exists()
    );
}

#[test]
fn a_v2_host_that_accounts_no_swap_takes_the_other_limits() {
    let host = service();
    let session = format!("{SERVICE}/sandbox-n/s");
    host.session(&session);
    fs::remove_file(host.0.join(format!("{session}/apps/memory.swap.max"))).unwrap();
    groups_on(&host);
    assert_eq!(
        host.read(&format!("{session}/apps/memory.max")),
        "536870912"
    );
}

#[test]
fn limits_are_written_in_the_words_of_v1() {
    let host = v1_host("", "");
    let doors = groups_on(&host).doors(JailKind::Programs).unwrap();
    doors.pass().unwrap();
    for (file, text) in [
        (
            "memory/system/a/sandbox-n/s/apps/memory.limit_in_bytes",
            "536870912",
        ),
        ("memory/system/a/sandbox-n/s/apps/memory.swappiness", "0"),
        ("pids/y/sandbox-n/s/apps/pids.max", "100"),
        ("cpu,cpuacct/sandbox-n/s/apps/cpu.cfs_quota_us", "10000"),
        ("cpu,cpuacct/sandbox-n/s/apps/cpu.cfs_period_us", "20000"),
        ("cpu,cpuacct/sandbox-n/s/display/cpu.shares", "4096"),
        ("pids/y/sandbox-n/s/apps/tasks", "0"),
        ("cpu,cpuacct/sandbox-n/s/apps/tasks", "0"),
    ] {
        assert_eq!(host.read(&format!("{TOP}/{file}")), text, "{file}");
    }
}

#[test]
fn usage_is_read_from_the_files_of_v2() {
    let host = service();
    let session = format!("{SERVICE}/sandbox-n/s");
    host.session(&session);
    let groups = groups_on(&host);
    for (group, bytes, micros) in [("apps", 1000, 5), ("display", 200, 7), ("worker", 30, 11)] {
        host.write(
            &format!("{session}/{group}/memory.current"),
            &format!("{bytes}\n"),
        );
        let stat = format!("usage_usec {micros}\nuser_usec 1\nsystem_usec 4\n");
        host.write(&format!("{session}/{group}/cpu.stat"), &stat);
    }
    host.write(&format!("{session}/apps/pids.current"), "9\n");
    let usage = groups.usage();
    assert_eq!(
        (usage.memory_bytes, usage.cpu_nanos, usage.pids),
        (1230, 23_000, 9)
    );
}

#[test]
fn programs_killed_for_memory_are_counted_from_the_events_of_v2() {
    let host = service();
    let session = format!("{SERVICE}/sandbox-n/s");
    host.session(&session);
    let events =
        |kills: u32| format!("low 0\nhigh 0\nmax 12\noom 3\noom_kill {kills}\noom_group_kill 0\n");
    let file = format!("{session}/apps/memory.events");
    host.write(&file, &events(1));
    let mut shortage = groups_on(&host).watch_memory().unwrap();
    let now = crate::clock::now();
    assert_eq!(shortage.poll_timeout(), None);
    host.write(&file, &events(3));
    let mut ready = [rustix::event::PollFd::from_borrowed_fd(
        shortage.notice(),
        rustix::event::PollFlags::IN,
    )];
    rustix::event::poll(&mut ready, None).unwrap();
    shortage.handle_notice(now);
    assert_eq!(
        shortage.handle_timeout(now),
        Killed::default(),
        "too early to look"
    );
    let due = shortage.poll_timeout().unwrap();
    let killed = Killed {
        count: 2,
        names: Vec::new(),
    };
    assert_eq!(shortage.handle_timeout(due), killed);
    assert_eq!(shortage.poll_timeout(), None);
}

#[test]
fn a_count_that_does_not_grow_is_looked_at_again_and_then_left() {
    let host = service();
    let session = format!("{SERVICE}/sandbox-n/s");
    host.session(&session);
    host.write(&format!("{session}/apps/memory.events"), "oom_kill 1\n");
    let mut shortage = groups_on(&host).watch_memory().unwrap();
    shortage.handle_notice(crate::clock::now());
    let mut looks = 0;
    while let Some(due) = shortage.poll_timeout() {
        assert_eq!(shortage.handle_timeout(due), Killed::default());
        looks += 1;
    }
    assert_eq!(looks, 6);
}

#[test]
fn the_session_holds_what_its_jails_may_use_together() {
    let sum: u64 = JailKind::ALL
        .map(|kind| CEILINGS.of(kind).memory_mb)
        .iter()
        .sum();
    assert_eq!(CEILINGS.whole_session().memory_mb, sum);
    assert_eq!(CEILINGS.whole_session().cpu_percent, Some(200));
}

/// Where this host's v2 tree can be written, and a controller that it has.
fn unified_here() -> Option<(PathBuf, Option<String>)> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount_point = mountinfo.lines().find_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        source
            .starts_with("cgroup2 ")
            .then(|| mount.split(' ').nth(4))
            .flatten()
    })?;
    let top = PathBuf::from(mount_point);
    // The kernel's root group alone has no type, and this test needs it.
    let is_usable = rustix::process::geteuid().is_root() && !top.join("cgroup.type").exists();
    let controllers = fs::read_to_string(top.join("cgroup.controllers")).unwrap();
    let first = controllers.split_whitespace().next().map(str::to_owned);
    is_usable.then_some((top, first))
}

/// A directory of this host's v2 tree that goes with everything below it.
struct Group(PathBuf);

impl Drop for Group {
    fn drop(&mut self) {
        // A dying process is counted until it is gone.
        while self.0.exists() {
            sweep(&self.0);
        }
    }
}

#[test]
fn a_child_is_born_into_its_v2_group_and_ends_with_it() {
    let Some((top, _)) = unified_here() else {
        return eprintln!("skipped: no v2 tree that root may write");
    };
    let group = Group(top.join(format!("jail-test-birth-{}", std::process::id())));
    fs::create_dir(&group.0).unwrap();
    let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
    let directory = rustix::fs::open(&group.0, flags, Mode::empty()).unwrap();
    let process = match split(0, Some(std::os::fd::AsFd::as_fd(&directory))).unwrap() {
        Forked::Child => loop {
            rustix::event::pause();
        },
        Forked::Parent(process) => process,
    };
    let own = fs::read_to_string(format!("/proc/{}/cgroup", process.pid.as_raw_nonzero())).unwrap();
    let name = group.0.file_name().unwrap().to_str().unwrap();
    assert!(own.lines().any(|it| it == format!("0::/{name}")), "{own}");
    kill_all(&group.0);
    process.wait();
}

#[test]
fn the_kernel_takes_our_way_into_a_leaf_and_gives_the_controllers_below() {
    let Some((top, Some(controller))) = unified_here() else {
        return eprintln!("skipped: no v2 tree with a controller that root may write");
    };
    let group = Group(top.join(format!("jail-test-leaf-{}", std::process::id())));
    fs::create_dir(&group.0).unwrap();
    fs::write(top.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    fs::write(group.0.join("cgroup.procs"), child.id().to_string()).unwrap();
    let found = |pid| {
        let mut own = Own::default();
        own.join_unified(&top, &group.0, pid, &[&controller]);
        own
    };
    // Somebody else in the group: the next above serves, which is the kernel's root here.
    assert_eq!(found(child.id() + 1).trees[0].directory, top);
    let mut own = found(child.id());
    assert_eq!(own.trees[0].directory, group.0);
    own.settle_as("node", child.id());
    assert_eq!(own.obstacle, None);
    let processes = fs::read_to_string(group.0.join("node/warden/cgroup.procs")).unwrap();
    assert_eq!(processes.trim(), child.id().to_string());
    make(&own, "node/session").unwrap();
    own.trees[0].pass_on(&group.0.join("node/session")).unwrap();
    make(&own, "node/session/apps").unwrap();
    let below = fs::read_to_string(group.0.join("node/session/apps/cgroup.controllers")).unwrap();
    assert_eq!(below.trim(), controller);
    sweep(&group.0);
    child.wait().unwrap();
}
