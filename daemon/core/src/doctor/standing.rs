//! Judges what depends on who starts the server: root, or an ordinary user.

use super::{Cgroups, Facts, Finding};

/// Who starts the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Root.
    Root,
    /// An ordinary user, by name.
    Ordinary(String),
}

/// The uids that sessions would run under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ids {
    /// Of a range that root's server takes, and who else uses some of it.
    Taken {
        /// Accounts or ranges.
        overlap: Option<String>,
    },
    /// Of a range that the host gives an ordinary user.
    Delegated {
        /// How many people it serves.
        users: u32,
    },
    /// The ordinary user's own alone.
    One {
        /// Why there are no more.
        why: String,
        /// The first uid from which on a range could be given.
        free: u32,
    },
    /// Of none: `SANDBOX_UID_BASE` asks for what the user may not have.
    Outside {
        /// What is wrong.
        why: String,
    },
}

pub(super) fn rights(who: &Who) -> Finding {
    match who {
        Who::Root => Finding::ok("rights", "root"),
        Who::Ordinary(name) => Finding::ok("rights", format!("{name}, an ordinary user")).weaker(
            "the way without root: the kernel allows small socket buffers only, and forbids no \
             programs in memory to X server and worker; the findings hold for this user",
            "sudo sandbox-server doctor says how the way with root stands",
        ),
    }
}

pub(super) fn namespaces(facts: &Facts) -> Finding {
    let why = match &facts.namespaces {
        Ok(()) => return Finding::ok("namespaces", "all seven, tried"),
        Err(why) => why.as_str(),
    };
    let fix = match facts.who {
        Who::Root => {
            "sysctl -w user.max_user_namespaces=15000; in a container, allow namespaces and mounts \
             (such as `docker run --privileged`)"
        }
        Who::Ordinary(_) => {
            "as root: sysctl -w user.max_user_namespaces=15000, and on older Debian \
             kernel.unprivileged_userns_clone=1; in a container, start it as root"
        }
    };
    Finding::ok("namespaces", why).missing("no jail can be made", fix)
}

pub(super) fn apparmor(facts: &Facts) -> Finding {
    let subject = "apparmor";
    let limits = "limits user namespaces of ordinary users";
    match (facts.apparmor_restricts, &facts.who, &facts.namespaces) {
        (None | Some(false), _, _) => Finding::ok(subject, "no limit on user namespaces"),
        (Some(true), Who::Root, _) => Finding::ok(subject, format!("{limits}, not of root")),
        (Some(true), Who::Ordinary(_), Ok(())) => {
            Finding::ok(subject, format!("{limits}, not of this program"))
        }
        (Some(true), Who::Ordinary(_), Err(_)) => Finding::ok(subject, limits).missing(
            "only root can start desktops",
            "as root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0; or start the \
             server as root",
        ),
    }
}

pub(super) fn cgroups(groups: &Cgroups, who: &Who) -> Finding {
    let found = Finding::ok("cgroups", groups.layout.as_str());
    let fix = match who {
        Who::Root => {
            "start the server as a systemd service or by `systemd-run --scope -p Delegate=yes`"
                .to_owned()
        }
        Who::Ordinary(_) if groups.layout == "v2" => {
            "start it by `systemd-run --user --scope -p Delegate=yes sandbox-server serve`"
                .to_owned()
        }
        Who::Ordinary(name) => format!(
            "as root, for each controller of memory, pids, cpu and cpuacct: mkdir \
             /sys/fs/cgroup/CONTROLLER/{name}; chown {name} /sys/fs/cgroup/CONTROLLER/{name}; \
             echo PID > /sys/fs/cgroup/CONTROLLER/{name}/cgroup.procs, where PID is that of the \
             shell that starts the server"
        ),
    };
    if !groups.missing.is_empty() {
        let why = groups.missing.join("; ");
        return if groups.may_be_unlimited {
            found.weaker(format!("desktops run without limits: {why}"), fix)
        } else {
            found.missing(
                why,
                format!("{fix}; SANDBOX_ALLOW_UNLIMITED=true goes without"),
            )
        };
    }
    if groups.weaker.is_empty() {
        found
    } else {
        found.weaker(groups.weaker.join("; "), fix)
    }
}

pub(super) fn uids(ids: &Ids, who: &Who) -> Finding {
    let does_not_start = "the server does not start";
    match ids {
        Ids::Taken { overlap: None } => Finding::ok("uids", "the users' range is free"),
        Ids::Taken {
            overlap: Some(whose),
        } => Finding::ok("uids", format!("the users' range overlaps {whose}")).missing(
            does_not_start,
            "set SANDBOX_UID_BASE to the first of a million free uids",
        ),
        Ids::Delegated { users } => Finding::ok(
            "uids",
            format!("a range of their own for {users} people, tried"),
        ),
        Ids::One { why, free } => {
            let last = free.saturating_add(65_535);
            let name = match who {
                Who::Root => "root",
                Who::Ordinary(name) => name.as_str(),
            };
            Finding::ok("uids", format!("one for everything: {why}")).weaker(
                "the server and every desktop run under one uid: a program that leaves its jail \
                 meets no further wall between users",
                format!(
                    "as root: apt-get install uidmap; usermod --add-subuids {free}-{last} \
                     --add-subgids {free}-{last} {name}"
                ),
            )
        }
        Ids::Outside { why } => Finding::ok("uids", format!("SANDBOX_UID_BASE {why}"))
            .missing(does_not_start, "leave SANDBOX_UID_BASE out"),
    }
}
