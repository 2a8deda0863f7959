//! Starts a warden for a test and plays its daemon.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::fs::{FlockOperation, flock};
use rustix::net::RecvFlags;
use sandbox_protocol::local::warden::{EndReason, Event, Refusal, Request, StartSession};
use sandbox_protocol::{SessionId, Size, UserIndex, codec};

use crate::ground;
use crate::roles::{receive_message, send_message};

/// For whatever the warden promises within a second.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Why the tests cannot run here, if they cannot.
pub(crate) fn cannot_run() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("jails are made by root");
    }
    ["Xvfb", "openbox", "xterm", "newuidmap"]
        .iter()
        .any(|it| !std::path::Path::new("/usr/bin").join(it).exists())
        .then_some("Xvfb, openbox, xterm and uidmap are not all installed")
}

/// A warden in a process of its own.
pub(crate) struct Server {
    pub(crate) warden: Child,
    pub(crate) directory: PathBuf,
    link: Option<UnixStream>,
    /// The daemon ends when this closes.
    daemon: Option<UnixStream>,
    listener: Option<UnixListener>,
    /// The cgroup that was made for an ordinary user's warden.
    lent: Option<String>,
}

/// A daemon whose part is not being played.
#[derive(Default)]
pub(crate) struct Played {
    link: Option<UnixStream>,
    daemon: Option<UnixStream>,
}

impl Server {
    pub(crate) fn start(options: &[&str]) -> Self {
        let directory = fresh_directory();
        let mut server = Self::start_in(directory, options);
        server.meet_daemon();
        server
    }

    /// Starts a warden on this directory without waiting for its daemon.
    pub(crate) fn start_in(directory: PathBuf, options: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "jail-test-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let log = File::options()
            .create(true)
            .append(true)
            .open(directory.join("log"))
            .unwrap();
        let (mut command, lent) = ground::warden_command(&directory, &name);
        let warden = command
            .arg("serve")
            .arg(&directory)
            .arg(&name)
            .args(options)
            .arg(format!("uid_base={}", uid_base()))
            .stdin(Stdio::null())
            .stderr(log)
            .env("SECRET_OF_THE_HOST", "hunter2")
            .spawn()
            .unwrap();
        Self {
            warden,
            directory,
            link: None,
            daemon: None,
            listener: Some(listener),
            lent,
        }
    }

    /// Takes over the link of the daemon that the warden starts next; its greeting.
    pub(crate) fn meet_daemon(&mut self) -> Event {
        let hello = self.await_daemon();
        self.send(&Request::Ready);
        hello
    }

    /// The same for a daemon that does not serve yet.
    pub(crate) fn await_daemon(&mut self) -> Event {
        let (stream, _) = wait_for("the daemon", || self.listener.as_ref()?.accept().ok());
        stream.set_nonblocking(false).unwrap();
        let (_, descriptors) = receive_message(stream.as_fd(), RecvFlags::empty()).unwrap();
        let [link]: [OwnedFd; 1] = descriptors.try_into().unwrap();
        let link = UnixStream::from(link);
        link.set_read_timeout(Some(PATIENCE)).unwrap();
        self.link = Some(link);
        self.daemon = Some(stream);
        self.event().0
    }

    /// Exchanges the daemon that this plays for another one of the same server.
    pub(crate) fn play(&mut self, other: &mut Played) {
        std::mem::swap(&mut self.link, &mut other.link);
        std::mem::swap(&mut self.daemon, &mut other.daemon);
    }

    /// Ends the daemon as a crash would.
    pub(crate) fn crash_daemon(&mut self) {
        self.link = None;
        self.daemon = None;
    }

    /// Without a listener each further daemon ends before it is ready.
    pub(crate) fn refuse_daemons(&mut self) {
        self.crash_daemon();
        self.listener = None;
    }

    pub(crate) fn send(&self, request: &Request) {
        self.send_bytes(&codec::encode(request).unwrap());
    }

    pub(crate) fn send_bytes(&self, bytes: &[u8]) {
        let link = self.link.as_ref().expect("there is a daemon");
        send_message(link.as_fd(), bytes, &[]).unwrap();
    }

    pub(crate) fn event(&self) -> (Event, Vec<OwnedFd>) {
        let link = self.link.as_ref().expect("there is a daemon");
        let (bytes, descriptors) = receive_message(link.as_fd(), RecvFlags::empty())
            .unwrap_or_else(|error| panic!("no event: {error}\n{}", self.log()));
        assert!(
            !bytes.is_empty(),
            "the warden closed the link\n{}",
            self.log()
        );
        (codec::decode(&bytes).unwrap(), descriptors)
    }

    /// Starts the session of user `index` and waits until it runs.
    pub(crate) fn start_session(&self, index: u8) -> SessionId {
        self.send(&Request::Start(start(index)));
        match self.event().0 {
            Event::Started {
                session,
                size,
                weaker,
            } => {
                assert_eq!((size.width, size.height), (1280, 720));
                assert_eq!(weaker, Vec::<String>::new());
                session
            }
            other => panic!("not started: {other:?}\n{}", self.log()),
        }
    }

    pub(crate) fn refused(&self) -> Refusal {
        match self.event().0 {
            Event::Refused { why, .. } => why,
            other => panic!("not refused: {other:?}\n{}", self.log()),
        }
    }

    pub(crate) fn ended(&self) -> (SessionId, EndReason) {
        match self.event().0 {
            Event::Ended { session, reason } => (session, reason),
            other => panic!("not ended: {other:?}\n{}", self.log()),
        }
    }

    /// Waits until the id of a refused session is free.
    pub(crate) fn await_end(&self, session: SessionId) {
        wait_for("the session's end", || {
            self.send(&Request::Usage { session });
            loop {
                match self.event().0 {
                    Event::Refused {
                        why: Refusal::Unknown,
                        ..
                    } => return Some(()),
                    Event::Usage { .. } => return None,
                    // A daemon that was started meanwhile may be told.
                    Event::Ended { .. } => {}
                    other => panic!("{other:?}"),
                }
            }
        });
    }

    /// Where user `index` keeps its files.
    pub(crate) fn home(&self, index: u8) -> PathBuf {
        self.directory.join(format!("state/users/user{index}"))
    }

    /// Makes the home of user `index` with a script that the window manager runs.
    pub(crate) fn lay_autostart(&self, index: u8, script: &[u8]) {
        let owner = ids_of(index);
        let home = self.home(index);
        let folder = home.join(".config/openbox");
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("autostart");
        fs::write(&file, script).unwrap();
        for path in [home.join(".config"), home, folder, file] {
            std::os::unix::fs::chown(path, Some(owner), Some(owner)).unwrap();
        }
    }

    /// The cgroups of one of its sessions.
    pub(crate) fn groups_of(&self, session: SessionId) -> Vec<PathBuf> {
        cgroups(&format!("sandbox-{}/{session}", node(&self.directory)))
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// The child of the warden that is the daemon.
    pub(crate) fn daemon_pid(&self) -> u32 {
        *children(self.warden.id())
            .iter()
            .find(|pid| command_line(**pid).contains("daemon"))
            .expect("a daemon runs")
    }

    /// The first processes of the three jails by what they run: `Xvfb`, `desktop`, `session`.
    pub(crate) fn jails(&self, index: u8) -> [Jailed; 3] {
        let base = ids_of(index);
        [base + 1, base + 2, base].map(|uid| {
            let init = *children(self.warden.id())
                .iter()
                .find(|pid| uid_of(**pid) == uid)
                .unwrap_or_else(|| panic!("no jail of uid {uid}"));
            let program = wait_for("the jail's program", || children(init).first().copied());
            Jailed { init, program }
        })
    }

    /// The first process of the worker's jail, where there is one.
    pub(crate) fn worker_init(&self, index: u8) -> Option<u32> {
        let uid = ids_of(index) + 2;
        let mut all = children(self.warden.id()).into_iter();
        all.find(|pid| uid_of(*pid) == uid)
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.warden);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the warden's end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.link = None;
        self.daemon = None;
        wait_for("the warden's end", || self.warden.try_wait().unwrap())
    }

    /// Ends the warden in order and checks that nothing is left.
    pub(crate) fn stop(mut self) {
        self.end_in_order();
    }

    /// The same for a server whose directory is to stay until this is dropped.
    pub(crate) fn end_in_order(&mut self) {
        self.signal(rustix::process::Signal::TERM);
        let status = self.wait();
        assert!(status.success(), "{status}\n{}", self.log());
        assert_nothing_left(&self.directory);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // In order where it can, so that a failed test leaves nothing for the next one.
        if matches!(self.warden.try_wait(), Ok(None)) {
            self.signal(rustix::process::Signal::TERM);
            let deadline = Instant::now() + PATIENCE;
            while matches!(self.warden.try_wait(), Ok(None)) && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(5));
            }
            let _gone = self.warden.kill();
            let _collected = self.warden.wait();
        }
        if thread::panicking() && !self.directory.as_os_str().is_empty() {
            println!("{}", self.log());
        }
        ground::forget_user(self.lent.as_deref());
        let _gone = fs::remove_dir_all(&self.directory);
    }
}

/// A jail's init and the program in it, by their numbers on the host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Jailed {
    pub(crate) init: u32,
    pub(crate) program: u32,
}

pub(crate) fn session_id(index: u8) -> SessionId {
    SessionId::from_bytes([index + 0xa0; 16])
}

pub(crate) fn start(index: u8) -> StartSession {
    StartSession {
        session: session_id(index),
        user: UserIndex(index.into()),
        user_name: format!("user{index}"),
        profile: "desktop".to_owned(),
        size: Size {
            width: 1280,
            height: 720,
        },
    }
}

/// Ranges of uids that runs at the same time share out.
const RANGES: u32 = 400;

/// First uid of this run's range: two runs on one host do not meet.
pub(crate) fn uid_base() -> u32 {
    static RANGE: OnceLock<(u32, File)> = OnceLock::new();
    let (range, _) = RANGE.get_or_init(claim_range);
    1_300_000_000 + range * 1_100_000
}

/// A range and the lock that keeps others away from it while this process lives.
fn claim_range() -> (u32, File) {
    let first = std::process::id() % RANGES;
    let mut ranges = (first..RANGES).chain(0..first);
    let claimed = ranges.find_map(|range| {
        let path = std::env::temp_dir().join(format!("sandbox-jail-test-range-{range}"));
        let file = File::create(path).ok()?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
        Some((range, file))
    });
    claimed.expect("a range that nobody holds")
}

/// First uid of user `index`.
pub(crate) fn ids_of(index: u8) -> u32 {
    uid_base() + u32::from(index) * 16
}

/// Below a directory that root alone can write.
pub(crate) fn fresh_directory() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let directory = PathBuf::from(format!("/run/jail-test-{}-{number}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// Looks again and again until `look` sees something.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn kill(process: u32) {
    let pid = rustix::process::Pid::from_raw(process.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

pub(crate) fn children(pid: u32) -> Vec<u32> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .map(|it| it.parse().unwrap())
        .collect()
}

pub(crate) fn command_line(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cmdline"))
        .unwrap_or_default()
        .replace('\0', " ")
}

pub(crate) fn status_field(pid: u32, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .map(|it| it.split_whitespace().collect::<Vec<_>>().join(" "))
        .unwrap_or_default()
}

pub(crate) fn uid_of(pid: u32) -> u32 {
    let uids = status_field(pid, "Uid");
    uids.split(' ').next().unwrap().parse().unwrap_or(u32::MAX)
}

/// The node's name, from the server's own file.
pub(crate) fn node(directory: &std::path::Path) -> String {
    fs::read_to_string(directory.join("state/node")).unwrap()
}

/// Every cgroup directory whose path contains `name`.
pub(crate) fn cgroups(name: &str) -> Vec<PathBuf> {
    fn walk(directory: PathBuf, name: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|it| it.is_dir()) {
                if entry.path().to_string_lossy().contains(name) {
                    found.push(entry.path());
                }
                walk(entry.path(), name, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(PathBuf::from("/sys/fs/cgroup"), name, &mut found);
    found
}

/// No process, mount, cgroup or file of the server remains.
#[track_caller]
pub(crate) fn assert_nothing_left(directory: &std::path::Path) {
    assert_eq!(cgroups(&node(directory)), Vec::<PathBuf>::new());
    let left: Vec<_> = fs::read_dir(directory.join("run"))
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    assert_eq!(left, Vec::<std::ffi::OsString>::new());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(directory.to_str().unwrap()), "{mounts}");
    let processes: Vec<u32> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|it| it.unwrap().file_name().to_str()?.parse().ok())
        .filter(|pid| (uid_base() - 1..uid_base() + 1_048_576).contains(&uid_of(*pid)))
        .collect();
    assert_eq!(processes, Vec::<u32>::new());
}

/// `show [SECONDS] [FILE] [AUTOSTART]`: starts one desktop and copies its framebuffer, to look
/// at. AUTOSTART is laid into the home; what it leaves there as `result` is printed.
pub(crate) fn show(arguments: &[String]) {
    let seconds = arguments.first().map_or(3, |it| it.parse().unwrap());
    let server = Server::start(&["memory=1024", "cpu=200", "pids=200"]);
    if let Some(script) = arguments.get(2) {
        server.lay_autostart(1, &fs::read(script).unwrap());
    }
    let began = Instant::now();
    server.start_session(1);
    println!("started in {:?}", began.elapsed());
    thread::sleep(Duration::from_secs(seconds));
    if let Some(file) = arguments.get(1) {
        let [display, _, _] = server.jails(1);
        copy_framebuffer(display.program, file).unwrap();
    }
    println!("{}", server.log());
    let result = fs::read_to_string(server.home(1).join("result"));
    println!("{}", result.unwrap_or_default());
    server.stop();
}

/// The framebuffer among what a process holds open.
pub(crate) fn framebuffer_of(pid: u32) -> PathBuf {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .map(|it| it.unwrap().path())
        .find(|it| fs::read_link(it).is_ok_and(|to| to.to_string_lossy().contains("framebuffer")))
        .expect("the process holds the framebuffer")
}

fn copy_framebuffer(pid: u32, file: &str) -> io::Result<()> {
    fs::copy(framebuffer_of(pid), file).map(drop)
}
