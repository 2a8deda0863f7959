//! Which uid and gid the daemon runs under, and whether a range of uids is free.

use std::io;

use crate::limits::IDS_PER_SERVER;
use crate::sys::rights::{become_ids, drop_current, empty_bounding_set};

/// The process could not become the daemon's user.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// The account list cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which file.
        path: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The account is root's.
    #[error("the account {0} has uid 0; give the daemon an account of its own")]
    IsRoot(String),
    /// The kernel refused.
    #[error("cannot become uid {uid}: start this command as root or as that user")]
    Become {
        /// Whom.
        uid: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// uid and gid of root's daemon: those of the account `name`, else the id below `uid_base`.
pub(crate) fn daemon_ids(uid_base: u32, name: &str) -> Result<(u32, u32), AccountError> {
    const PATH: &str = "/etc/passwd";
    let passwd = std::fs::read_to_string(PATH)
        .map_err(|source| AccountError::Read { path: PATH, source })?;
    match ids_of(&passwd, name) {
        Some((0, _)) => Err(AccountError::IsRoot(name.to_owned())),
        Some(ids) => Ok(ids),
        None => Ok((uid_base.saturating_sub(1), uid_base.saturating_sub(1))),
    }
}

/// Becomes the daemon's user for good, before its files are opened. One thread only.
pub(crate) fn become_daemon((uid, gid): (u32, u32)) -> Result<(), AccountError> {
    become_powerless(uid, gid).map_err(|source| AccountError::Become { uid, source })
}

/// Takes the ids and leaves every capability behind.
pub(crate) fn become_powerless(uid: u32, gid: u32) -> io::Result<()> {
    empty_bounding_set()?;
    become_ids(uid, gid)?;
    drop_current()
}

fn ids_of(passwd: &str, name: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = fields.next() == Some(name);
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        is_it.then_some((uid, gid))
    })
}

/// Names the first account or delegated range that lies in the server's uids.
pub(crate) fn overlap(uid_base: u32, daemon_user: &str) -> Option<String> {
    let range =
        u64::from(uid_base.saturating_sub(1))..u64::from(uid_base) + u64::from(IDS_PER_SERVER);
    // A file that is not there delegates nothing.
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    account_in(&read("/etc/passwd"), "/etc/passwd", &range, daemon_user)
        .or_else(|| account_in(&read("/etc/group"), "/etc/group", &range, daemon_user))
        .or_else(|| delegated_in(&read("/etc/subuid"), "/etc/subuid", &range))
        .or_else(|| delegated_in(&read("/etc/subgid"), "/etc/subgid", &range))
}

type Range = std::ops::Range<u64>;

/// Third field of passwd and group alike.
fn account_in(text: &str, path: &str, range: &Range, allowed: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let id: u64 = fields.nth(1)?.parse().ok()?;
        (range.contains(&id) && name != allowed).then(|| format!("{name} ({id}) in {path}"))
    })
}

fn delegated_in(text: &str, path: &str, range: &Range) -> Option<String> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let start: u64 = fields.next()?.parse().ok()?;
        let count: u64 = fields.next()?.trim().parse().ok()?;
        let end = start.saturating_add(count);
        (start < range.end && range.start < end)
            .then(|| format!("{name} ({start} to {}) in {path}", end.saturating_sub(1)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0::/root:/bin/bash\nsandbox-server:x:990:991::/:/usr/sbin/nologin\n";

    #[test]
    fn the_account_of_the_name_is_found() {
        assert_eq!(ids_of(PASSWD, "sandbox-server"), Some((990, 991)));
        assert_eq!(ids_of(PASSWD, "sandbox"), None);
        assert_eq!(ids_of("sandbox-server:x:-1:2:\n", "sandbox-server"), None);
    }

    #[test]
    fn every_overlap_with_the_range_is_named() {
        let range = 1_000..2_000;
        let delegated = |text| delegated_in(text, "f", &range);
        assert_eq!(delegated("a:0:1000\nb:2000:5\n"), None);
        assert!(delegated("a:0:1001\n").is_some());
        assert!(delegated("a:1999:1\n").is_some());
        assert!(delegated("a:0:18446744073709551615\n").is_some());
        let account = |text| account_in(text, "f", &range, "us");
        assert_eq!(account("us:x:1500:1500:\nb:x:999:1:\n"), None);
        assert!(account("b:x:1000:1:\n").unwrap().starts_with("b (1000)"));
    }
}
