//! The system calls that each jail may make; every other one fails with ENOSYS.
//!
//! One allow-list per jail, made of lists by what its programs do. ENOSYS rather than EPERM,
//! because the C library then takes its older way (`clone3` → `clone`, `fchmodat2` → `fchmodat`).
//! Calls of a foreign architecture kill; numbers with the x32 bit are unknown numbers.

mod arguments;
mod base;
mod desktop;
mod files;
mod processes;
mod server;
mod start;

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule};

use self::arguments::{arguments, sealed_arguments};
use self::base::BASE;
use self::desktop::DESKTOP;
use self::files::FILES;
use self::processes::PROCESSES;
use self::server::{FRAMEBUFFER, SERVER};
use self::start::{START, WORKER_START};

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

/// A call, and the arguments with which it is allowed.
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
