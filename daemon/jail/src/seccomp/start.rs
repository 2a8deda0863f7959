//! The calls of a program that starts.

/// A number that the libc crate does not name yet; the same on every architecture.
const SYS_MSEAL: i64 = 462;

/// What a program needs until its libraries are loaded.
pub(super) const START: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_prlimit64,
    libc::SYS_getrlimit,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getppid,
    libc::SYS_wait4,
    libc::SYS_waitid,
    // A program may seal itself further; the worker does.
    libc::SYS_seccomp,
    SYS_MSEAL,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_arch_prctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    // The first process of a jail forks by this one on x86-64's older C libraries.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
];

/// What the worker does before it seals itself: sockets between its threads.
pub(super) const WORKER_START: &[i64] = &[
    libc::SYS_socketpair,
    libc::SYS_memfd_create,
    libc::SYS_ftruncate,
];
