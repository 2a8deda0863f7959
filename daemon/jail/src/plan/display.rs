//! The display jail: Xvfb, the keymap compiler and the shell that runs it.

use sandbox_protocol::Size;

use super::{
    Entry, JailKind, Plan, Program, Rights, devices, link, loader_links, program, rule, scratch,
    view, x_authority,
};

/// Descriptors that Xvfb finds open; systemd's protocol fixes the first.
pub(crate) const FRAMEBUFFER_FD: u32 = 4;

/// Plans the jail of an X server of this size. `shell` is what `/bin/sh` is on this host.
pub(crate) fn display(screen: Size, cookie: &[u8; 16], shell: &str) -> Plan {
    let mut root = vec![
        program("/usr/bin/Xvfb"),
        program("/usr/bin/xkbcomp"),
        program(shell),
        link("bin", "usr/bin"),
        view("/usr/share/X11"),
        view("/usr/share/fonts"),
        view("/etc/ld.so.cache"),
        view("/etc/X11/xkb"),
        Entry::Proc,
        devices(&["null", "urandom"]),
        scratch("tmp", "mode=1777,size=1m,nr_inodes=64"),
        scratch("run", "mode=700,size=64k,nr_inodes=16"),
        scratch("var/lib/xkb", "mode=700,size=2m,nr_inodes=64"),
        Entry::Text {
            at: "run/xauthority".to_owned(),
            mode: 0o600,
            bytes: x_authority(cookie),
        },
        // Xvfb opens the file of this name and finds the memfd.
        link(
            "fb/Xvfb_screen0",
            &format!("/proc/self/fd/{FRAMEBUFFER_FD}"),
        ),
    ];
    if shell != "/usr/bin/sh" {
        root.push(link("usr/bin/sh", shell));
    }
    for libraries in ["/usr/lib", "/usr/lib64"] {
        root.push(Entry::View {
            path: libraries.to_owned(),
            executable: true,
            optional: true,
        });
    }
    root.extend(loader_links());

    let mut rules = rule(
        Rights::Execute,
        &[
            "/usr/bin/Xvfb",
            "/usr/bin/xkbcomp",
            shell,
            super::worker::LOADER,
        ],
    );
    rules.extend(rule(Rights::Read, &["/usr", "/etc", "/fb", "/proc"]));
    rules.extend(rule(Rights::Use, &["/proc", "/dev"]));
    rules.extend(rule(Rights::Write, &["/tmp", "/run", "/var/lib/xkb"]));

    Plan {
        kind: JailKind::Display,
        root,
        rules,
        image: Program::Path("/usr/bin/Xvfb".to_owned()),
        arguments: arguments(screen),
        environment: vec!["PATH=/usr/bin".to_owned(), "LISTEN_FDS=1".to_owned()],
        listens: true,
        is_gated: false,
        memfd_programs: false,
    }
}

fn arguments(screen: Size) -> Vec<String> {
    let geometry = format!("{}x{}x24", screen.width, screen.height);
    [
        "Xvfb",
        ":0",
        "-screen",
        "0",
        &geometry,
        "-fbdir",
        "/fb",
        "-auth",
        "/run/xauthority",
        // Without it the passed socket is lost with the last client.
        "-noreset",
        "-nolisten",
        "tcp",
        "-nolisten",
        "local",
        "-extension",
        "GLX",
        "-extension",
        "MIT-SHM",
    ]
    .map(str::to_owned)
    .to_vec()
}
