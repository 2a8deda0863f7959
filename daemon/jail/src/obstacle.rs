//! Why the kernel makes no namespaces, as far as that can be seen.

/// The kernel's words with the reason behind them.
pub(crate) fn explained(words: &str) -> String {
    match seen() {
        Some(why) => format!("{words}: {why}"),
        None => words.to_owned(),
    }
}

/// A setting that stands in the way, with the command that changes it.
fn seen() -> Option<String> {
    let missing: Vec<&str> = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"]
        .into_iter()
        .filter(|name| !std::path::Path::new(&format!("/proc/self/ns/{name}")).exists())
        .collect();
    if !missing.is_empty() {
        return Some(format!(
            "this kernel has no {} namespace",
            missing.join(", ")
        ));
    }
    let is =
        |path: &str, value: &str| std::fs::read_to_string(path).is_ok_and(|it| it.trim() == value);
    if is("/proc/sys/user/max_user_namespaces", "0") {
        return Some("user.max_user_namespaces is 0; raise it with sysctl".to_owned());
    }
    if rustix::process::geteuid().is_root() {
        return None;
    }
    if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        return Some(
            "kernel.unprivileged_userns_clone is 0; as root: \
             sysctl -w kernel.unprivileged_userns_clone=1"
                .to_owned(),
        );
    }
    is(
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
    )
    .then(|| {
        "AppArmor keeps user namespaces from ordinary users; as root: \
         sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
            .to_owned()
    })
}
