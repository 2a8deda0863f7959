//! The calls of a server on path sockets, and of the X server beside.

/// A server on path sockets.
pub(super) const SERVER: &[i64] = &[
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

/// Xvfb flushes its framebuffer file before each wait.
pub(super) const FRAMEBUFFER: &[i64] = &[libc::SYS_msync];
