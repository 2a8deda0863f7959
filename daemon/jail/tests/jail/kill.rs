//! SIGKILL of each process at each step of a session's start, from a list.

use std::ffi::CString;
use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use sandbox_protocol::SessionId;
use sandbox_protocol::local::warden::{Event, Request};

use crate::Test;
use crate::hold::{JAILS, held, release};
use crate::server::{Server, children, command_line, ids_of, kill, session_id, start, wait_for};

pub(crate) const TESTS: &[Test] = &[(
    "whoever_is_killed_during_a_start_nothing_half_is_left",
    whoever_is_killed_during_a_start_nothing_half_is_left,
)];

/// The first row of the quick form.
const FIRST: usize = 7;
/// From one row of the quick form to the next: each victim and each kind of stage comes up.
const STRIDE: usize = 16;

/// What a jail's first process does before its program runs, in this order.
const JAIL_STEPS: [(&str, u32); 11] = [
    ("id_map", 1),
    ("cgroup_namespace", 1),
    ("namespaces", 1),
    ("id_map", 2),
    ("root", 1),
    ("pivot_root", 1),
    ("resource_limits", 1),
    ("capabilities", 1),
    ("no_new_privs", 1),
    ("landlock", 1),
    ("seccomp", 1),
];

/// What the warden does for a start, with the jails that exist then.
const WARDEN_STEPS: [(&str, u32, usize); 9] = [
    ("memory_limit", 1, 0),
    ("cpu_limit", 1, 0),
    ("memory_limit", 3, 0),
    ("namespaces", 1, 0),
    ("id_map", 1, 1),
    ("namespaces", 2, 1),
    ("id_map", 2, 2),
    ("namespaces", 3, 2),
    ("id_map", 3, 3),
];

/// Where a start is held.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Before this layer, for the n-th time.
    Step(&'static str, &'static str, u32),
    /// While a home does not answer: X server and worker are up by then.
    Home,
}

#[derive(Clone, Copy, Debug)]
enum Victim {
    Warden,
    Daemon,
    /// Opens the home.
    Helper,
    /// The first process of one of [`JAILS`].
    Init(usize),
    /// What runs in it.
    Program(usize),
}

fn rows() -> Vec<(Stage, Victim)> {
    let mut rows = Vec::new();
    for place in JAILS {
        for (layer, time) in JAIL_STEPS {
            let stage = Stage::Step(place, layer, time);
            rows.extend([Victim::Warden, Victim::Daemon].map(|it| (stage, it)));
            rows.extend([0, 1, 2].map(|it| (stage, Victim::Init(it))));
        }
        if place != "display" {
            rows.push((Stage::Step(place, "seccomp", 1), Victim::Program(0)));
        }
    }
    for (layer, time, jails) in WARDEN_STEPS {
        let stage = Stage::Step("warden", layer, time);
        rows.extend([Victim::Warden, Victim::Daemon].map(|it| (stage, it)));
        rows.extend((0..jails).map(|it| (stage, Victim::Init(it))));
    }
    rows.extend([Victim::Warden, Victim::Daemon, Victim::Helper].map(|it| (Stage::Home, it)));
    rows.extend([0, 1].map(|it| (Stage::Home, Victim::Init(it))));
    rows.extend([0, 1].map(|it| (Stage::Home, Victim::Program(it))));
    rows
}

fn whoever_is_killed_during_a_start_nothing_half_is_left() {
    let is_long = std::env::var("LONG").is_ok_and(|it| it == "1");
    let (first, stride) = if is_long { (0, 1) } else { (FIRST, STRIDE) };
    for (stage, victim) in rows().into_iter().skip(first).step_by(stride) {
        println!("{stage:?}: {victim:?}");
        check(stage, victim);
    }
}

fn check(stage: Stage, victim: Victim) {
    let option = match stage {
        Stage::Step(place, layer, time) => vec![format!("hold={place}:{layer}:{time}")],
        Stage::Home => Vec::new(),
    };
    let options: Vec<&str> = option.iter().map(String::as_str).collect();
    let mut server = Server::start(&options);
    let silent = matches!(stage, Stage::Home).then(|| SilentHome::lay(&server));
    let session = session_id(1);
    server.send(&Request::Start(start(1)));
    let warden = server.warden.id();
    let held = match stage {
        Stage::Step("warden", ..) => Some(held(|| vec![warden])),
        Stage::Step(..) => Some(held(|| children(warden))),
        Stage::Home => None,
    };
    let victim_pid = find(&server, victim);
    match victim {
        Victim::Warden => {
            let all = descendants(warden);
            kill(victim_pid);
            server.wait();
            held.inspect(|it| release(*it));
            all.into_iter().for_each(await_end_of);
            drop(silent);
            return check_next(&server, session);
        }
        Victim::Daemon => {
            server.crash_daemon();
            held.filter(|it| *it == warden).inspect(|it| release(*it));
            match server.meet_daemon() {
                Event::Hello { sessions, .. } => assert_eq!(sessions, []),
                other => panic!("{other:?}"),
            }
        }
        Victim::Helper | Victim::Init(_) | Victim::Program(_) => {
            kill(victim_pid);
            held.filter(|it| *it == warden).inspect(|it| release(*it));
            server.refused();
        }
    }
    server.await_end(session);
    assert_eq!(server.groups_of(session), Vec::<PathBuf>::new());
    drop(silent);
    server.start_session(1);
    server.stop();
}

/// What a killed warden left behind is swept, and desktops start again.
fn check_next(killed: &Server, session: SessionId) {
    let mut next = Server::start_in(killed.directory.clone(), &[]);
    next.meet_daemon();
    assert_eq!(next.groups_of(session), Vec::<PathBuf>::new());
    next.start_session(1);
    next.stop();
}

/// The victim's number, once it runs.
fn find(server: &Server, victim: Victim) -> u32 {
    let warden = server.warden.id();
    match victim {
        Victim::Warden => warden,
        Victim::Daemon => server.daemon_pid(),
        Victim::Helper => wait_for("the helper", || {
            let mut all = children(warden).into_iter();
            all.find(|it| !is_jailed(*it) && !command_line(*it).contains("daemon"))
        }),
        Victim::Init(place) => wait_for("a jail", || {
            let mut all = children(warden).into_iter().filter(|it| is_jailed(*it));
            all.nth(place)
        }),
        Victim::Program(place) => {
            let init = find(server, Victim::Init(place));
            wait_for("a jail's program", || children(init).first().copied())
        }
    }
}

fn is_jailed(pid: u32) -> bool {
    let namespace = |of: &str| fs::read_link(format!("/proc/{of}/ns/pid")).ok();
    namespace(&pid.to_string()).is_some_and(|it| Some(it) != namespace("self"))
}

fn descendants(pid: u32) -> Vec<u32> {
    let own = children(pid);
    let further = own.iter().flat_map(|it| descendants(*it)).collect();
    [own, further].concat()
}

fn await_end_of(pid: u32) {
    wait_for("a process to end with the warden", || {
        (!Path::new(&format!("/proc/{pid}")).exists()).then_some(())
    });
}

/// A file system that answers nothing in the place of user 1's home.
struct SilentHome {
    at: PathBuf,
    _fuse: fs::File,
}

impl SilentHome {
    fn lay(server: &Server) -> Self {
        let at = server.home(1);
        fs::create_dir(&at).unwrap();
        std::os::unix::fs::chown(&at, Some(ids_of(1)), Some(ids_of(1))).unwrap();
        let fuse = fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/fuse")
            .unwrap();
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0",
            fuse.as_raw_fd()
        );
        let options = CString::new(options).unwrap();
        mount("silent", &at, "fuse", MountFlags::NOSUID, &*options).unwrap();
        Self { at, _fuse: fuse }
    }
}

impl Drop for SilentHome {
    fn drop(&mut self) {
        unmount(&self.at, UnmountFlags::DETACH).unwrap();
    }
}
