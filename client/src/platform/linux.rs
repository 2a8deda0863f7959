//! Linux: a process that has nothing left but to compute, and a descriptor to speak by.

use std::path::PathBuf;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, Ruleset, RulesetAttr as _, RulesetError, Scope,
};
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, getpid, set_dumpable_behavior,
    set_parent_process_death_signal, setrlimit,
};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule,
};

/// Bytes of address space. Nine pictures of 3840×2160, what AV1 refers to at most, take 130 MB; the
/// program itself, an answer and what the library works with less than 100 MB.
const MEMORY_MAX: u64 = 512 << 20;

/// A layer that the kernel refuses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unconfined {
    /// A limit or a property of the process.
    #[error("cannot limit the process: {0}")]
    Process(#[from] Errno),
    /// Landlock. A kernel without it is no error.
    #[error("landlock: {0}")]
    Landlock(#[from] RulesetError),
    /// A filter that cannot be built for this processor.
    #[error("cannot build the filter of system calls: {0}")]
    Filter(#[from] BackendError),
    /// A filter that the kernel does not take.
    #[error("cannot filter system calls: {0}")]
    Seccomp(#[from] seccompiler::Error),
}

/// The program that runs, whatever stands at its path by now.
pub fn program() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// Leaves the calling thread, which has to be the only one, its memory and standard input, both
/// ways, and nothing else for good: no file, no socket, no program, no other process.
///
/// # Errors
///
/// Returns [`Unconfined`]; the process should then end.
pub fn confine() -> Result<(), Unconfined> {
    // Its parent may be killed.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::thread::set_no_new_privs(true)?;
    Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V6))?
        .handle_access(AccessNet::from_all(ABI::V6))?
        .scope(Scope::from_all(ABI::V6))?
        .create()?
        .restrict_self()?;
    for (resource, most) in [
        (Resource::As, MEMORY_MAX),
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        (Resource::Nproc, 0),
        (Resource::Nofile, 0),
    ] {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        setrlimit(resource, limit)?;
    }
    seccompiler::apply_filter(&filter()?)?;
    Ok(())
}

/// What may be called whatever the arguments are: memory that exists, waiting, ending.
const FREE: &[i64] = &[
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_sched_yield,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Every other call fails with ENOSYS, as if the kernel had none: the C library then goes another
/// way where there is one.
fn filter() -> Result<BpfProgram, Unconfined> {
    let stdin = || vec![is(0, 0)];
    let no_code = || clears(2, libc::PROT_EXEC);
    let narrow = [
        // Inherited descriptors may be open; they are of no use.
        (libc::SYS_read, stdin()),
        (libc::SYS_write, stdin()),
        (libc::SYS_mmap, vec![no_code(), is(4, -1)]),
        (libc::SYS_mprotect, vec![no_code()]),
        // A panic ends the process by a signal to itself.
        (libc::SYS_tgkill, vec![is(0, getpid().as_raw_pid())]),
    ];
    let free = FREE.iter().map(|it| (*it, Vec::new()));
    let narrow = narrow
        .into_iter()
        .map(|(number, conditions)| Ok((number, vec![SeccompRule::new(conditions)?])));
    let rules = free.map(Ok).chain(narrow);
    let filter = SeccompFilter::new(
        rules.collect::<Result<_, BackendError>>()?,
        SeccompAction::Errno(libc::ENOSYS.cast_unsigned()),
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?;
    Ok(filter.try_into()?)
}

fn is(argument: u8, value: i32) -> SeccompCondition {
    condition(argument, SeccompCmpOp::Eq, value)
}

/// None of the bits is set.
fn clears(argument: u8, bits: i32) -> SeccompCondition {
    let mask = u64::from(bits.cast_unsigned());
    condition(argument, SeccompCmpOp::MaskedEq(mask), 0)
}

fn condition(argument: u8, operator: SeccompCmpOp, value: i32) -> SeccompCondition {
    let value = u64::from(value.cast_unsigned());
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
        .expect("a system call has the argument")
}
