//! The constants of the warden, each with its unit and reason.

use std::time::Duration;

/// Host uids that one user has: programs, display, worker, and room for what comes.
pub(crate) const IDS_PER_USER: u32 = 16;

/// Highest user number; keeps the whole range at a million uids.
pub(crate) const USER_INDEX_MAX: u32 = 65_535;

/// Host uids of one server, from `SANDBOX_UID_BASE` on.
pub(crate) const IDS_PER_SERVER: u32 = (USER_INDEX_MAX + 1) * IDS_PER_USER;

/// `SANDBOX_UID_BASE` where it is not set.
pub(crate) const UID_BASE_DEFAULT: u32 = 1_900_000_000;

/// uid and gid of everybody inside a jail.
pub(crate) const INSIDE_ID: u32 = 1000;

/// From the request to the worker's `Ready`; a slow machine under load needs 3 s.
pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(10);

/// For a forked step on a home; then the home is taken for stuck.
pub(crate) const HOME_TIMEOUT: Duration = Duration::from_secs(5);

/// Between two attempts to remove a cgroup whose last task is still leaving.
pub(crate) const CLEANUP_PAUSE: Duration = Duration::from_millis(5);

/// After this the leftovers are named in the log and left to the next start's sweep.
pub(crate) const CLEANUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Ends of a session's workers within [`WORKER_ENDS_PERIOD`] after which no further one follows:
/// what ends each of them would end the next.
pub(crate) const WORKER_ENDS_MAX: usize = 5;

/// Period in which a worker's ends are counted.
pub(crate) const WORKER_ENDS_PERIOD: Duration = Duration::from_secs(60);

/// For a worker to take its viewer's sockets; then it hangs and is replaced. Longer than the 5 s
/// after which it gives X up by itself, so that it can say what held it.
pub(crate) const ATTACH_TIMEOUT: Duration = Duration::from_secs(6);

/// Requests about one session that wait for its next worker; the daemon has no more unanswered.
pub(crate) const OWED_MAX: usize = 64;

/// For a daemon from a new file to say that it serves; then the old one goes on.
pub(crate) const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);

/// For the daemon to end by itself after SIGTERM.
pub(crate) const DAEMON_END_TIMEOUT: Duration = Duration::from_secs(3);

/// Before the first restart of a daemon that crashed; doubles up to [`DAEMON_PAUSE_MAX`].
pub(crate) const DAEMON_PAUSE_MIN: Duration = Duration::from_millis(200);

/// Longest pause between two starts of the daemon.
pub(crate) const DAEMON_PAUSE_MAX: Duration = Duration::from_secs(10);

/// A daemon that lived this long starts with the shortest pause again.
pub(crate) const DAEMON_PROVEN: Duration = Duration::from_secs(60);

/// Events that may wait for the daemon; one that leaves more unread is stuck and is restarted.
pub(crate) const DAEMON_EVENTS_MAX: usize = 256;

/// Requests answered in one turn, so that a flood leaves room for everything else.
pub(crate) const REQUESTS_PER_TURN: usize = 16;

/// Descriptors that must be free for a session to start: it holds up to thirty while it is built,
/// and as many again must be left for the next daemon and the workers of those that run.
pub(crate) const SESSION_DESCRIPTORS: usize = 64;

/// Bytes of a jail's log that are kept to explain its end.
pub(crate) const LOG_TAIL_BYTES: usize = 2 << 10;

/// Lines a jail may log in a second; further ones are counted.
pub(crate) const LOG_LINES_PER_SECOND: u32 = 50;

/// Bytes of one logged line; the rest is cut.
pub(crate) const LOG_LINE_BYTES: usize = 500;

/// Processes of the display jail: init, Xvfb, and twice `sh` with `xkbcomp`.
pub(crate) const DISPLAY_PIDS: u64 = 16;

/// Processes and threads of the worker jail: init, worker, encoder threads.
pub(crate) const WORKER_PIDS: u64 = 48;

/// Memory of the display jail: 33 MB framebuffer, 18 MB Xvfb, the rest pixmaps of programs.
pub(crate) const DISPLAY_MEMORY_MB: u64 = 384;

/// Memory of the worker jail: an encoder at 4K with its frames.
pub(crate) const WORKER_MEMORY_MB: u64 = 512;

/// CPU that display and worker may use beyond the programs' share, in percent of one core.
pub(crate) const SERVICE_CPU_PERCENT: u32 = 150;

/// Period of a CPU quota: short, so that a throttled program stalls for one frame, not for six.
pub(crate) const CPU_PERIOD: Duration = Duration::from_millis(20);

/// Bytes that the worker may write ahead of the daemon: a key frame at 1080p, so that it never
/// waits within one.
pub(crate) const ATTACH_BUFFER_BYTES: usize = 1 << 20;

/// Bytes of the media socket's kernel buffers: a key frame at 20 Mbit/s and 4K.
pub(crate) const MEDIA_BUFFER_BYTES: usize = 8 << 20;

/// Between a notice that memory is short and the look at what was killed; doubles while nothing
/// was.
pub(crate) const MEMORY_KILL_PAUSE: Duration = Duration::from_millis(50);

/// Further looks: 3 s in all, for a killer that had to wait for its own processor time.
pub(crate) const MEMORY_KILL_LOOKS: u32 = 5;

/// What a v1 group weighs against its neighbours unless told otherwise.
pub(crate) const CPU_SHARES: u64 = 1024;

/// The same on v2.
pub(crate) const CPU_WEIGHT: u64 = 100;

/// How many times the programs' weight display and worker have.
pub(crate) const SERVICE_WEIGHT: u64 = 4;
