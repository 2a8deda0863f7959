//! The programs jail: window manager, panel, and whatever the user runs.

use super::{
    Entry, JailKind, Plan, Program, Rights, desktop, devices, directory, link, loader_links, rule,
    scratch, text, view, x_authority,
};

/// What the programs jail is made for.
#[derive(Debug)]
pub(crate) struct Programs<'a> {
    /// Checked: `[a-z_][a-z0-9_-]{0,31}`.
    pub(crate) user_name: &'a str,
    pub(crate) cookie: &'a [u8; 16],
}

/// Places of the mounts that the warden makes, among the descriptors it gives.
pub(crate) const X_SOCKET: usize = 0;
pub(crate) const HOME: usize = 1;

/// Parts of the host's `/etc` that programs read, without secrets or names of this host.
const ETC: [&str; 12] = [
    "/etc/ld.so.cache",
    "/etc/fonts",
    "/etc/X11",
    "/etc/alternatives",
    "/etc/mime.types",
    "/etc/terminfo",
    "/etc/inputrc",
    "/etc/dconf",
    "/etc/vim",
    "/etc/xdg/libfm",
    "/etc/xdg/pcmanfm",
    "/etc/xdg/menus",
];

/// Plans the jail of a user's programs.
pub(crate) fn programs(what: &Programs<'_>) -> Plan {
    let name = what.user_name;
    let mut root = vec![
        Entry::View {
            path: "/usr".to_owned(),
            executable: true,
            optional: false,
        },
        link("bin", "usr/bin"),
        link("sbin", "usr/sbin"),
        view("/var/cache/fontconfig"),
        Entry::Proc,
        devices(&["null", "zero", "full", "random", "urandom", "tty"]),
        Entry::Terminals,
        scratch("dev/shm", "mode=1777,size=128m,nr_inodes=4096"),
        Entry::Scratch {
            at: "tmp".to_owned(),
            options: "mode=1777,size=256m,nr_inodes=16384".to_owned(),
            executable: true,
        },
        link("var/tmp", "../tmp"),
        scratch("run", "mode=755,size=16m,nr_inodes=1024"),
        directory("run/user/1000", 0o700),
        Entry::Text {
            at: "run/user/1000/xauthority".to_owned(),
            mode: 0o600,
            bytes: x_authority(what.cookie),
        },
        directory("tmp/.X11-unix", 0o1777),
        Entry::Given {
            place: X_SOCKET,
            at: "tmp/.X11-unix/X0".to_owned(),
            is_directory: false,
        },
        Entry::Given {
            place: HOME,
            at: format!("home/{name}"),
            is_directory: true,
        },
    ];
    root.extend(loader_links());
    root.extend(ETC.map(view));
    root.extend(names(name));
    root.extend(desktop::files());

    // A file manager opens `/` too; what lies there is the jail's own.
    let mut rules = rule(Rights::List, &["/"]);
    rules.extend(rule(Rights::Execute, &["/usr", "/opt"]));
    rules.extend(rule(Rights::Read, &["/etc", "/var", "/proc"]));
    rules.extend(rule(Rights::Use, &["/dev", "/proc"]));
    rules.extend(rule(Rights::Write, &["/run", "/dev/shm"]));
    // Landlock does not see through a hidden mount point: the home's rule is on its parent.
    rules.extend(rule(Rights::Everything, &["/tmp", "/home"]));

    Plan {
        kind: JailKind::Programs,
        root,
        rules,
        image: Program::Path("/opt/desktop/session".to_owned()),
        arguments: vec!["session".to_owned()],
        environment: environment(name),
        listens: false,
        is_gated: true,
        memfd_programs: true,
    }
}

/// Who and where the user is, as programs look it up.
fn names(name: &str) -> [Entry; 5] {
    [
        text(
            "etc/passwd",
            format!(
                "{name}:x:1000:1000:{name}:/home/{name}:/bin/bash\n\
                 nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
            ),
        ),
        text("etc/group", format!("{name}:x:1000:\nnogroup:x:65534:\n")),
        text("etc/hosts", "127.0.0.1 localhost desktop\n"),
        text("etc/hostname", "desktop\n"),
        text(
            "etc/nsswitch.conf",
            "passwd: files\ngroup: files\nhosts: files\n",
        ),
    ]
}

fn environment(name: &str) -> Vec<String> {
    let mut environment = vec![
        format!("HOME=/home/{name}"),
        format!("USER={name}"),
        format!("LOGNAME={name}"),
    ];
    environment.extend(
        [
            "PATH=/usr/local/bin:/usr/bin:/bin",
            "SHELL=/bin/bash",
            "LANG=C.UTF-8",
            "TERM=xterm-256color",
            "XDG_RUNTIME_DIR=/run/user/1000",
            "XDG_DATA_DIRS=/opt/desktop/share:/usr/local/share:/usr/share",
            "DISPLAY=:0",
            "XAUTHORITY=/run/user/1000/xauthority",
            // There is no bus and no network: nobody should wait for one.
            "DBUS_SESSION_BUS_ADDRESS=disabled:",
            "NO_AT_BRIDGE=1",
            "GTK_A11Y=none",
            "GIO_USE_VFS=local",
            "GSETTINGS_BACKEND=keyfile",
        ]
        .map(str::to_owned),
    );
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_holds_names_of_the_desktop_only() {
        let plan = programs(&Programs {
            user_name: "ada",
            cookie: &[7; 16],
        });
        let names: Vec<&str> = plan
            .environment
            .iter()
            .map(|it| it.split_once('=').unwrap().0)
            .collect();
        assert!(!names.iter().any(|it| it.starts_with("SANDBOX")));
        assert!(plan.environment.contains(&"HOME=/home/ada".to_owned()));
        assert!(plan.is_gated);
    }
}
