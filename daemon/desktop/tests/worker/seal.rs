//! A worker's last confinement, as far as a test can lay it on one of its threads.

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// Confines the calling thread, and those that it will start, much as the warden does: no file,
/// no program and no socket is opened any more.
pub(crate) fn seal() -> Result<Vec<String>, String> {
    let denied = [
        libc::SYS_open,
        libc::SYS_openat,
        libc::SYS_openat2,
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_fork,
        libc::SYS_clone3,
        libc::SYS_socket,
        libc::SYS_socketpair,
        libc::SYS_connect,
        libc::SYS_memfd_create,
        libc::SYS_ioctl,
        libc::SYS_newfstatat,
    ];
    let filter = SeccompFilter::new(
        denied.into_iter().map(|it| (it, Vec::new())).collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS.cast_unsigned()),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
    Ok(vec!["one layer".to_owned()])
}
