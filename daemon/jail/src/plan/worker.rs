//! The worker jail: our own executable and the libraries that it loads, nothing else.

use super::{Entry, JailKind, Plan, Program, Rights, devices, loader_links, rule, view};

/// The dynamic loader: executed by the kernel with each program.
#[cfg(target_arch = "x86_64")]
pub(crate) const LOADER: &str = "/usr/lib64/ld-linux-x86-64.so.2";
#[cfg(target_arch = "aarch64")]
pub(crate) const LOADER: &str = "/usr/lib/ld-linux-aarch64.so.1";

/// Plans the jail of a desktop worker.
pub(crate) fn worker() -> Plan {
    let mut root = vec![view("/etc/ld.so.cache"), devices(&["null", "urandom"])];
    for libraries in ["/usr/lib", "/usr/lib64"] {
        root.push(Entry::View {
            path: libraries.to_owned(),
            executable: true,
            optional: true,
        });
    }
    root.extend(loader_links());

    let mut rules = rule(Rights::Execute, &[LOADER]);
    rules.extend(rule(Rights::Read, &["/usr", "/etc"]));
    rules.extend(rule(Rights::Use, &["/dev"]));

    Plan {
        kind: JailKind::Worker,
        root,
        rules,
        image: Program::Own,
        arguments: vec!["sandbox-server".to_owned(), "desktop".to_owned()],
        environment: Vec::new(),
        listens: false,
        is_gated: false,
        memfd_programs: false,
    }
}
