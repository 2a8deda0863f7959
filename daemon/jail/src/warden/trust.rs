//! Whether nobody but those who are trusted can change what a path leads to.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::WardenError;
use crate::standing::{Standing, User};

/// Who may own what the server relies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Root alone.
    Root,
    /// Root, and the ordinary user who starts the server.
    Caller {
        uid: u32,
        /// A group of nobody else's may write.
        private_gid: Option<u32>,
    },
    /// The same, seen from the user namespace: the caller is 0 there, and root is one of those
    /// that have no number. Who they are was looked at before.
    Inside { foreign: u32 },
}

impl Trust {
    /// Before a user namespace is entered.
    pub(crate) fn of(standing: &Standing) -> Self {
        match standing {
            Standing::Root => Self::Root,
            Standing::User(User { caller, .. }) => Self::Caller {
                uid: caller.uid,
                private_gid: caller.has_private_group.then_some(caller.gid),
            },
        }
    }

    /// From within the caller's user namespace.
    pub(crate) fn inside() -> Self {
        const DEFAULT: u32 = 65_534;
        let told = std::fs::read_to_string("/proc/sys/kernel/overflowuid").ok();
        Self::Inside {
            foreign: told
                .and_then(|it| it.trim().parse().ok())
                .unwrap_or(DEFAULT),
        }
    }

    /// The real path, if nobody else can change what it leads to.
    pub(crate) fn check(self, path: &Path) -> Result<PathBuf, WardenError> {
        let real = path
            .canonicalize()
            .map_err(WardenError::io(format!("resolve {}", path.display())))?;
        for component in real.ancestors() {
            let metadata = component
                .symlink_metadata()
                .map_err(WardenError::io(format!("look at {}", component.display())))?;
            if let Some(why) = self.distrust(&Owned::from(&metadata), component == real) {
                return Err(WardenError::Untrusted {
                    path: component.to_owned(),
                    why,
                    whose: self.whose(),
                });
            }
        }
        Ok(real)
    }

    fn whose(self) -> &'static str {
        match self {
            Self::Root => "root's",
            Self::Caller { .. } | Self::Inside { .. } => "root's or yours",
        }
    }

    /// A sticky directory above is fine: nobody else can move or remove a trusted entry in it.
    fn distrust(self, it: &Owned, is_last: bool) -> Option<String> {
        const STICKY: u32 = 0o1000;
        const GROUP: u32 = 0o020;
        const OTHERS: u32 = 0o002;
        let (is_trusted, private_gid) = match self {
            Self::Root => (it.uid == 0, None),
            Self::Caller { uid, private_gid } => (it.uid == 0 || it.uid == uid, private_gid),
            Self::Inside { foreign } => (it.uid == 0 || it.uid == foreign, Some(0)),
        };
        let forbidden = if private_gid == Some(it.gid) {
            OTHERS
        } else {
            GROUP | OTHERS
        };
        let is_guarded = it.mode & STICKY != 0 && !is_last;
        if !is_trusted {
            Some(format!("it belongs to uid {}", it.uid))
        } else if it.mode & forbidden != 0 && !is_guarded {
            Some(format!("its mode {:o} lets others write", it.mode & 0o7777))
        } else {
            None
        }
    }
}

struct Owned {
    uid: u32,
    gid: u32,
    mode: u32,
}

impl From<&Metadata> for Owned {
    fn from(metadata: &Metadata) -> Self {
        Self {
            uid: metadata.uid(),
            gid: metadata.gid(),
            mode: metadata.mode(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusts(trust: Trust, uid: u32, gid: u32, mode: u32) -> bool {
        trust.distrust(&Owned { uid, gid, mode }, true).is_none()
    }

    #[test]
    fn only_what_root_alone_can_change_is_roots() {
        let above = |mode| {
            let owned = Owned {
                uid: 0,
                gid: 0,
                mode,
            };
            Trust::Root.distrust(&owned, false).is_none()
        };
        assert!(trusts(Trust::Root, 0, 0, 0o755));
        assert!(above(0o1777));
        assert!(!trusts(Trust::Root, 0, 0, 0o1777));
        assert!(!above(0o775));
        assert!(!trusts(Trust::Root, 1000, 0, 0o700));
    }

    #[test]
    fn a_caller_trusts_root_itself_and_its_private_group() {
        let trust = |private_gid| Trust::Caller {
            uid: 1000,
            private_gid,
        };
        assert!(trusts(trust(None), 0, 0, 0o755));
        assert!(trusts(trust(None), 1000, 1000, 0o755));
        assert!(trusts(trust(Some(1000)), 1000, 1000, 0o775));
        assert!(!trusts(trust(None), 1000, 1000, 0o775));
        assert!(!trusts(trust(Some(1000)), 1000, 100, 0o775));
        assert!(!trusts(trust(Some(1000)), 1000, 1000, 0o777));
        assert!(!trusts(trust(Some(1000)), 1001, 1000, 0o755));
    }

    #[test]
    fn within_the_namespace_the_caller_is_0_and_root_is_foreign() {
        let trust = Trust::Inside { foreign: 65_534 };
        assert!(trusts(trust, 0, 0, 0o775));
        assert!(trusts(trust, 65_534, 65_534, 0o755));
        assert!(!trusts(trust, 65_534, 65_534, 0o775));
        assert!(!trusts(trust, 100_000, 0, 0o755));
    }
}
