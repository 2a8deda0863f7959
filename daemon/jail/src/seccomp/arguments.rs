//! Calls that are allowed with some arguments only.

use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition};

use super::Rules;

/// Those of every jail; each inner list must hold as a whole.
pub(super) fn arguments() -> Vec<Rules> {
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
pub(super) fn sealed_arguments() -> Vec<Rules> {
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
