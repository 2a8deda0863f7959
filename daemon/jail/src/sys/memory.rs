//! Tells the C library's allocator to give large blocks back.

/// Blocks of this many bytes and more come straight from the kernel and return to it when freed.
const DIRECT_BYTES: libc::c_int = 1 << 20;

/// Keeps one large block from making the process large for ever.
///
/// The allocator raises its threshold for such blocks to the largest one it has seen freed, and
/// every thread keeps memory of its own: after a few password hashes of 19 MiB each the daemon
/// held 180 MiB. A threshold that is set stays.
///
/// Call it before the process has threads.
pub fn return_large_blocks() {
    for (parameter, value) in [
        (libc::M_MMAP_THRESHOLD, DIRECT_BYTES),
        (libc::M_ARENA_MAX, 2),
    ] {
        // SAFETY: the call takes two numbers and changes nothing but the allocator's settings.
        let taken = unsafe { libc::mallopt(parameter, value) };
        debug_assert_eq!(taken, 1, "the allocator refused {parameter}");
    }
}
