//! Who is in a group, so that whoever dies can be named.

use std::fs;
use std::path::Path;

/// Bytes of a name: what the kernel keeps of it (TASK_COMM_LEN), without the end.
const NAME_BYTES_MAX: usize = 15;

/// The processes of a group at one time, the largest first.
#[derive(Debug, Default)]
pub(super) struct Census(Vec<Member>);

#[derive(Debug)]
struct Member {
    pid: u32,
    name: String,
    pages: u64,
}

impl Census {
    /// Looks at the group in `directory`.
    pub(super) fn take(directory: &Path) -> Self {
        let mut members: Vec<Member> = pids(directory).filter_map(Member::read).collect();
        members.sort_by_key(|it| std::cmp::Reverse(it.pages));
        Self(members)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names of those who have left the group or are about to, the largest first.
    pub(super) fn missing(&self, directory: &Path) -> Vec<String> {
        let present: Vec<u32> = pids(directory).collect();
        self.0
            .iter()
            .filter(|it| !present.contains(&it.pid) || pages(it.pid).is_none_or(|it| it == 0))
            .map(|it| it.name.clone())
            .collect()
    }
}

impl Member {
    fn read(pid: u32) -> Option<Self> {
        let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
        Some(Self {
            pid,
            name: printable(&name),
            pages: pages(pid)?,
        })
    }
}

fn pids(directory: &Path) -> impl Iterator<Item = u32> {
    let listed = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    let pids: Vec<u32> = listed.lines().filter_map(|it| it.parse().ok()).collect();
    pids.into_iter()
}

/// Memory in use, in pages; none of a process that has given up all of it.
fn pages(pid: u32) -> Option<u64> {
    let sizes = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    sizes.split(' ').nth(1)?.parse().ok()
}

/// A program chooses its name itself: what is shown of it is harmless.
fn printable(name: &[u8]) -> String {
    name.iter()
        .take_while(|it| **it != b'\n')
        .take(NAME_BYTES_MAX)
        .map(|it| char::from(*it))
        .map(|it| if matches!(it, ' '..='~') { it } else { '?' })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn whoever_left_is_named_and_nobody_else() {
        let directory = std::env::temp_dir().join(format!("census-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let mut children = ["cat", "sort"].map(|name| {
            Command::new(name)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        });
        let listed = children.each_ref().map(|it| format!("{}\n", it.id()));
        fs::write(directory.join("cgroup.procs"), listed.concat()).unwrap();
        let named = |name| move |it: &Member| it.name == name;
        // Until the exec a child bears our name.
        let census = loop {
            let census = Census::take(&directory);
            if census.0.iter().any(named("cat")) && census.0.iter().any(named("sort")) {
                break census;
            }
        };
        assert!(census.missing(&directory).is_empty());
        children[1].kill().unwrap();
        children[1].wait().unwrap();
        assert_eq!(census.missing(&directory), ["sort"]);
        children[0].kill().unwrap();
        children[0].wait().unwrap();
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_name_is_shown_as_plain_letters() {
        assert_eq!(printable(b"xterm\n"), "xterm");
        assert_eq!(printable(b"\x1b[2J<b>\xc3\xa4\n"), "?[2J<b>??");
        assert_eq!(printable(&[b'x'; 40]), "x".repeat(15));
    }
}
