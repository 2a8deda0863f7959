//! Gives up identities, capabilities, keys.

use std::io;

use rustix::process::{Gid, Uid};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    set_capabilities, set_capabilities_secure_bits, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

use super::last;

/// Becomes `uid` and `gid` with no supplementary group, for good. One thread only.
pub(crate) fn become_ids(uid: u32, gid: u32) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    if !groups_are_kept()? {
        set_thread_groups(&[])?;
    }
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

/// In a user namespace that an ordinary user made without help nobody can leave a group.
fn groups_are_kept() -> io::Result<bool> {
    Ok(std::fs::read_to_string("/proc/self/setgroups")?.trim() == "deny")
}

/// Empties every capability set and the bounding set, and locks the ways back.
pub(crate) fn drop_capabilities() -> io::Result<()> {
    empty_bounding_set()?;
    clear_ambient_capability_set()?;
    set_capabilities_secure_bits(
        CapabilitiesSecureBits::NO_ROOT
            | CapabilitiesSecureBits::NO_ROOT_LOCKED
            | CapabilitiesSecureBits::NO_SETUID_FIXUP
            | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
            | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED,
    )?;
    drop_current()
}

/// No program executed from here on can gain a capability.
pub(crate) fn empty_bounding_set() -> io::Result<()> {
    for capability in 0..64 {
        // SAFETY: PR_CAPBSET_DROP takes integers only.
        let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        match last(dropped) {
            Ok(_) => {}
            // The first number that the kernel does not know ends the list.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && capability > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Empties the sets that can be emptied without CAP_SETPCAP.
pub(crate) fn drop_current() -> io::Result<()> {
    set_capabilities(
        None,
        CapabilitySets {
            effective: CapabilitySet::empty(),
            permitted: CapabilitySet::empty(),
            inheritable: CapabilitySet::empty(),
        },
    )?;
    Ok(())
}

/// Makes the present cgroup the root of what this process sees.
pub(crate) fn enter_cgroup_namespace() -> io::Result<()> {
    enter_namespaces(libc::CLONE_NEWCGROUP)
}

/// Makes mounts that nobody else sees.
pub(crate) fn enter_mount_namespace() -> io::Result<()> {
    enter_namespaces(libc::CLONE_NEWNS)
}

/// Takes every right over a user namespace and a mount namespace of its own. One thread only.
pub(crate) fn enter_user_namespace() -> io::Result<()> {
    enter_namespaces(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)
}

/// Makes the ids that this process had before its user namespace 0 inside, and no others.
pub(crate) fn map_alone(uid: u32, gid: u32) -> io::Result<()> {
    // Or the kernel takes no gid from an ordinary user: who leaves a group may gain by that.
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("0 {uid} 1\n"))?;
    std::fs::write("/proc/self/gid_map", format!("0 {gid} 1\n"))
}

fn enter_namespaces(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: none of the flags above touches the descriptor table or memory.
    last(unsafe { libc::unshare(flags) }).map(drop)
}

/// Leaves the parent's keys behind.
pub(crate) fn join_fresh_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    let joined = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            KEYCTL_JOIN_SESSION_KEYRING,
            std::ptr::null::<libc::c_char>(),
        )
    };
    last(joined).map(drop)
}

/// The kernel's Landlock ABI; 0 where there is none.
pub(crate) fn landlock_abi() -> i64 {
    landlock_answer().unwrap_or(0)
}

/// What the kernel says about its Landlock ABI.
pub(crate) fn landlock_answer() -> io::Result<i64> {
    const LANDLOCK_CREATE_RULESET_VERSION: libc::c_long = 1;
    // SAFETY: with this flag the kernel takes a null attribute and only answers a number.
    last(unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    })
}
