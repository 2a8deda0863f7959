//! What a jail shall look like: plain values, made from the session and applied elsewhere.

mod desktop;
mod display;
mod programs;
mod worker;

use std::fmt;

pub(crate) use display::display;
pub(crate) use programs::{Programs, programs};
pub(crate) use worker::worker;

/// The three jails of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum JailKind {
    Display,
    Worker,
    Programs,
}

impl JailKind {
    pub(crate) const ALL: [Self; 3] = [Self::Display, Self::Worker, Self::Programs];

    /// Its place in the user's range of host uids.
    pub(crate) const fn id_offset(self) -> u32 {
        match self {
            Self::Programs => 0,
            Self::Display => 1,
            Self::Worker => 2,
        }
    }

    /// The name in logs and of the cgroup.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Display => "display",
            Self::Worker => "worker",
            Self::Programs => "apps",
        }
    }
}

impl fmt::Display for JailKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One jail. Paths inside are relative to its root, without a leading slash.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) kind: JailKind,
    /// Applied in this order; missing parents are made.
    pub(crate) root: Vec<Entry>,
    /// The only paths that Landlock lets through, with what they may be used for.
    pub(crate) rules: Vec<Rule>,
    pub(crate) image: Program,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<String>,
    /// `LISTEN_PID` is the program's own number, known only after the fork.
    pub(crate) listens: bool,
    /// The program waits, sealed, until it is released.
    pub(crate) is_gated: bool,
    /// Programs may execute what they wrote into memory or a memfd.
    pub(crate) memfd_programs: bool,
}

/// What the jail's first child becomes.
#[derive(Debug)]
pub(crate) enum Program {
    /// A file inside.
    Path(String),
    /// Our own executable, handed in as a descriptor.
    Own,
}

/// One step of building the root.
#[derive(Debug)]
pub(crate) enum Entry {
    /// A read-only view of a host path; with `optional` a missing one is left out.
    View {
        path: String,
        executable: bool,
        optional: bool,
    },
    /// A mount that the warden made, by its place among the given descriptors.
    Given {
        place: usize,
        at: String,
        is_directory: bool,
    },
    /// Scratch space.
    Scratch {
        at: String,
        options: String,
        executable: bool,
    },
    /// A generated file.
    Text {
        at: String,
        mode: u32,
        bytes: Vec<u8>,
    },
    Directory {
        at: String,
        mode: u32,
    },
    Link {
        at: String,
        to: String,
    },
    /// `/proc` of the jail's own processes and nothing else.
    Proc,
    /// Device nodes of the host, by name.
    Devices(Vec<String>),
    /// Pseudo terminals of its own.
    Terminals,
}

/// A path and what it may be used for.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) path: String,
    pub(crate) rights: Rights,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    /// List directories.
    List,
    Read,
    /// Read and execute one file or a tree.
    Execute,
    /// Read, write to existing files, device ioctls.
    Use,
    /// Everything but execution.
    Write,
    Everything,
}

fn view(path: &str) -> Entry {
    Entry::View {
        path: path.to_owned(),
        executable: false,
        optional: true,
    }
}

fn program(path: &str) -> Entry {
    Entry::View {
        path: path.to_owned(),
        executable: true,
        optional: false,
    }
}

fn link(at: &str, to: &str) -> Entry {
    Entry::Link {
        at: at.to_owned(),
        to: to.to_owned(),
    }
}

fn text(at: &str, bytes: impl Into<Vec<u8>>) -> Entry {
    Entry::Text {
        at: at.to_owned(),
        mode: 0o644,
        bytes: bytes.into(),
    }
}

fn directory(at: &str, mode: u32) -> Entry {
    Entry::Directory {
        at: at.to_owned(),
        mode,
    }
}

fn scratch(at: &str, options: &str) -> Entry {
    Entry::Scratch {
        at: at.to_owned(),
        options: options.to_owned(),
        executable: false,
    }
}

fn devices(names: &[&str]) -> Entry {
    Entry::Devices(names.iter().map(|it| (*it).to_owned()).collect())
}

fn rule(rights: Rights, paths: &[&str]) -> Vec<Rule> {
    paths
        .iter()
        .map(|path| Rule {
            path: (*path).to_owned(),
            rights,
        })
        .collect()
}

/// The directories of the dynamic loader, as links into `/usr` (merged since Debian 12).
fn loader_links() -> Vec<Entry> {
    vec![link("lib", "usr/lib"), link("lib64", "usr/lib64")]
}

/// MIT-MAGIC-COOKIE-1 for display 0 in the format of Xau, for whatever host name.
pub(crate) fn x_authority(cookie: &[u8; 16]) -> Vec<u8> {
    const FAMILY_WILD: [u8; 2] = [0xff, 0xff];
    let mut bytes = FAMILY_WILD.to_vec();
    for field in [b"".as_slice(), b"0", b"MIT-MAGIC-COOKIE-1", cookie] {
        let length = u16::try_from(field.len()).expect("the fields above are short");
        bytes.extend(length.to_be_bytes());
        bytes.extend(field);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_file_has_the_layout_of_xau() {
        let bytes = x_authority(b"0123456789abcdef");
        assert_eq!(
            bytes,
            b"\xff\xff\0\0\0\x010\0\x12MIT-MAGIC-COOKIE-1\0\x100123456789abcdef"
        );
    }

    #[test]
    fn no_two_jails_share_a_uid() {
        let mut offsets = JailKind::ALL.map(JailKind::id_offset);
        offsets.sort_unstable();
        assert_eq!(offsets, [0, 1, 2]);
    }
}
