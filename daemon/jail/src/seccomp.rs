//! The system calls that each jail may make; every other one fails with ENOSYS.
//!
//! One allow-list per jail. ENOSYS rather than EPERM, because the C library then takes its older
//! way (`clone3` → `clone`, `fchmodat2` → `fchmodat`). Calls of a foreign architecture kill;
//! numbers with the x32 bit are unknown numbers.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// A filter that cannot be built is a mistake in these lists or an unsupported architecture.
#[derive(Debug, thiserror::Error)]
#[error("cannot compile the seccomp filter of the {jail} jail")]
pub(crate) struct FilterError {
    jail: &'static str,
    #[source]
    source: seccompiler::BackendError,
}

/// The compiled filters; compiled once, because compiling takes as long as loading.
#[derive(Debug)]
pub(crate) struct Filters {
    pub(crate) display: BpfProgram,
    pub(crate) worker: BpfProgram,
    pub(crate) programs: BpfProgram,
}

impl Filters {
    pub(crate) fn compile() -> Result<Self, FilterError> {
        Ok(Self {
            display: compile(
                "display",
                &[BASE, START, FILES, PROCESSES, SERVER, FRAMEBUFFER],
                &[],
            )?,
            worker: compile("worker", &[BASE, START, WORKER_START], &[])?,
            programs: compile(
                "programs",
                &[BASE, START, FILES, PROCESSES, SERVER, DESKTOP],
                &[],
            )?,
        })
    }
}

/// The worker's last filter, on top of its first one: no file, no socket, no program.
pub(crate) fn sealed_worker() -> Result<BpfProgram, FilterError> {
    compile("sealed worker", &[BASE], &sealed_arguments())
}

type Rules = (i64, Vec<Vec<SeccompCondition>>);

fn compile(
    jail: &'static str,
    lists: &[&[i64]],
    narrowed: &[Rules],
) -> Result<BpfProgram, FilterError> {
    let error = |source| FilterError { jail, source };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = lists
        .iter()
        .flat_map(|list| list.iter())
        .map(|number| (*number, Vec::new()))
        .collect();
    let general = arguments()
        .into_iter()
        .filter(|(number, _)| !narrowed.iter().any(|it| it.0 == *number));
    for (number, ways) in general.chain(narrowed.iter().cloned()) {
        // A call that no list allows stays forbidden.
        if let Some(allowed) = rules.get_mut(&number) {
            for conditions in ways {
                allowed.push(SeccompRule::new(conditions).map_err(error)?);
            }
        }
    }
    let architecture = std::env::consts::ARCH.try_into().map_err(error)?;
    SeccompFilter::new(
        rules,
        SeccompAction::Errno(libc::ENOSYS.cast_unsigned()),
        SeccompAction::Allow,
        architecture,
    )
    .and_then(TryInto::try_into)
    .map_err(error)
}

/// Calls that are allowed with some arguments only; each inner list must hold as a whole.
fn arguments() -> Vec<Rules> {
    let unix_only = || vec![vec![is(0, libc::AF_UNIX)]];
    vec![
        (libc::SYS_socket, unix_only()),
        // socketpair() makes VSOCK and netlink sockets that a rule on socket() alone lets through.
        (libc::SYS_socketpair, unix_only()),
        (libc::SYS_clone, vec![vec![clears(0, NAMESPACE_FLAGS)]]),
        (libc::SYS_personality, vec![vec![is(0, 0)], vec![is(0, -1)]]),
        // Compared on the low 32 bits, as the kernel reads them (CVE-2019-10063).
        (
            libc::SYS_ioctl,
            vec![
                [TIOCSTI, TIOCLINUX, TIOCCONS, TIOCSETD]
                    .into_iter()
                    .map(|it| is_not(1, it))
                    .collect(),
            ],
        ),
        // A pidfd of the other end of a socket that was made outside.
        (
            libc::SYS_getsockopt,
            vec![
                vec![is_not(1, libc::SOL_SOCKET)],
                vec![is_not(2, SO_PEERPIDFD)],
            ],
        ),
    ]
}

/// No code but what is loaded, and threads instead of processes.
fn sealed_arguments() -> Vec<Rules> {
    const THREAD: i32 = libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND;
    vec![
        (libc::SYS_mmap, vec![vec![clears(2, libc::PROT_EXEC)]]),
        (libc::SYS_mprotect, vec![vec![clears(2, libc::PROT_EXEC)]]),
        (
            libc::SYS_clone,
            vec![vec![has(0, THREAD), clears(0, NAMESPACE_FLAGS)]],
        ),
        (libc::SYS_prctl, vec![vec![is(0, libc::PR_SET_NAME)]]),
    ]
}

const NAMESPACE_FLAGS: i32 = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

const TIOCSTI: i32 = 0x5412;
const TIOCLINUX: i32 = 0x541c;
const TIOCCONS: i32 = 0x541d;
const TIOCSETD: i32 = 0x5423;
const SO_PEERPIDFD: i32 = 77;

fn condition(argument: u8, operator: SeccompCmpOp, value: i32) -> SeccompCondition {
    let value = u64::from(value.cast_unsigned());
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
        .expect("a system call has the argument")
}

fn is(argument: u8, value: i32) -> SeccompCondition {
    condition(argument, SeccompCmpOp::Eq, value)
}

fn is_not(argument: u8, value: i32) -> SeccompCondition {
    condition(argument, SeccompCmpOp::Ne, value)
}

/// All of the bits are set.
fn has(argument: u8, bits: i32) -> SeccompCondition {
    let mask = u64::from(bits.cast_unsigned());
    condition(argument, SeccompCmpOp::MaskedEq(mask), bits)
}

/// None of the bits is set.
fn clears(argument: u8, bits: i32) -> SeccompCondition {
    let mask = u64::from(bits.cast_unsigned());
    condition(argument, SeccompCmpOp::MaskedEq(mask), 0)
}

/// Numbers that the libc crate does not name yet; the same on every architecture.
const SYS_MSEAL: i64 = 462;

/// What a running program without files needs: memory, waiting, threads, open descriptors.
const BASE: &[i64] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_fcntl,
    libc::SYS_ioctl,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_mprotect,
    libc::SYS_mlock,
    libc::SYS_munlock,
    libc::SYS_membarrier,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_tgkill,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_clone,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    libc::SYS_prctl,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_pipe2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_select,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_time,
];

/// What a program needs until its libraries are loaded.
const START: &[i64] = &[
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
const WORKER_START: &[i64] = &[
    libc::SYS_socketpair,
    libc::SYS_memfd_create,
    libc::SYS_ftruncate,
];

/// Files that are written.
const FILES: &[i64] = &[
    libc::SYS_pwritev,
    libc::SYS_ftruncate,
    libc::SYS_truncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_fadvise64,
    libc::SYS_flock,
    libc::SYS_umask,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_chdir,
    libc::SYS_fchdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_creat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_link,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_symlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utimes,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_futimesat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_getdents,
];

/// Programs that run programs.
const PROCESSES: &[i64] = &[
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_getpgid,
    libc::SYS_setpgid,
    libc::SYS_getsid,
    libc::SYS_setsid,
    libc::SYS_getgroups,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setrlimit,
    libc::SYS_getrusage,
    libc::SYS_times,
    libc::SYS_getpriority,
    libc::SYS_getitimer,
    libc::SYS_setitimer,
    libc::SYS_timer_create,
    libc::SYS_timer_settime,
    libc::SYS_timer_gettime,
    libc::SYS_timer_getoverrun,
    libc::SYS_timer_delete,
    libc::SYS_capget,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigqueueinfo,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_pipe,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_dup2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_pause,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_alarm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_getpgrp,
];

/// Xvfb flushes its framebuffer file before each wait.
const FRAMEBUFFER: &[i64] = &[libc::SYS_msync];

/// A server on path sockets.
const SERVER: &[i64] = &[
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_signalfd4,
    libc::SYS_memfd_create,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_create,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_eventfd,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_signalfd,
];

/// What users' programs use beyond that.
const DESKTOP: &[i64] = &[
    libc::SYS_personality,
    libc::SYS_msync,
    libc::SYS_mincore,
    libc::SYS_mlock2,
    libc::SYS_mlockall,
    libc::SYS_munlockall,
    libc::SYS_pkey_mprotect,
    libc::SYS_pkey_alloc,
    libc::SYS_pkey_free,
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_shmdt,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semctl,
    libc::SYS_semtimedop,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_tee,
    libc::SYS_copy_file_range,
    libc::SYS_sync_file_range,
    libc::SYS_readahead,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_fgetxattr,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_flistxattr,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
    libc::SYS_setpriority,
    libc::SYS_sched_setparam,
    libc::SYS_sched_getparam,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_sched_rr_get_interval,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setattr,
    libc::SYS_sched_getattr,
    libc::SYS_ioprio_get,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_rm_watch,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_process_mrelease,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_restrict_self,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_inotify_init,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_compile_and_fit_the_kernel() {
        let filters = Filters::compile().unwrap();
        let sealed = sealed_worker().unwrap();
        for program in [
            &filters.display,
            &filters.worker,
            &filters.programs,
            &sealed,
        ] {
            // BPF_MAXINSNS
            assert!(program.len() < 4096, "{}", program.len());
        }
    }

    #[test]
    fn no_jail_may_make_a_dangerous_call() {
        let dangerous = [
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_move_mount,
            libc::SYS_open_tree,
            libc::SYS_mount_setattr,
            libc::SYS_pivot_root,
            libc::SYS_chroot,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_clone3,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_userfaultfd,
            libc::SYS_io_uring_setup,
            libc::SYS_keyctl,
            libc::SYS_add_key,
            libc::SYS_request_key,
            libc::SYS_init_module,
            libc::SYS_kexec_load,
            libc::SYS_reboot,
            libc::SYS_open_by_handle_at,
            libc::SYS_name_to_handle_at,
            libc::SYS_pidfd_getfd,
            libc::SYS_kcmp,
            libc::SYS_fanotify_init,
            libc::SYS_memfd_secret,
            libc::SYS_vmsplice,
            libc::SYS_mq_open,
            libc::SYS_sync,
            libc::SYS_syncfs,
            libc::SYS_mknodat,
            libc::SYS_ioprio_set,
            libc::SYS_syslog,
            libc::SYS_quotactl,
        ];
        let all = [BASE, START, WORKER_START, FILES, PROCESSES, SERVER, DESKTOP];
        for number in dangerous {
            assert!(!all.iter().any(|it| it.contains(&number)), "{number}");
        }
        for number in [libc::SYS_openat, libc::SYS_execve, libc::SYS_socket] {
            assert!(!BASE.contains(&number), "{number}");
        }
    }
}
