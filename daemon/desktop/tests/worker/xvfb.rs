//! A real X server that draws into a file of ours.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::harness::{COOKIE, SCREEN};

/// One entry for any host and display (family 65535).
pub(crate) fn write_cookie(path: &PathBuf) {
    let mut file = File::create(path).unwrap();
    file.write_all(&[0xff, 0xff, 0, 0, 0, 0, 0, 18]).unwrap();
    file.write_all(b"MIT-MAGIC-COOKIE-1").unwrap();
    file.write_all(&[0, 16]).unwrap();
    file.write_all(&COOKIE).unwrap();
}

pub(crate) fn start(folder: &Path, listener: UnixListener, number: u32) -> Child {
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
    let screen = format!("{}x{}x24", SCREEN.width, SCREEN.height);
    // The display's number names nothing but a lock, which is not taken.
    let display = format!(":{}", 1_000 + std::process::id() % 10_000 * 5 + number);
    Command::new("sh")
        .args(["-c", script, "sh", "Xvfb", &display, "-nolock"])
        .args(["-screen", "0", &screen, "-nolisten", "tcp", "-noreset"])
        .args(["-nolisten", "local", "-nolisten", "unix"])
        .arg("-fbdir")
        .arg(folder)
        .arg("-auth")
        .arg(folder.join("cookie"))
        .args(["-extension", "GLX", "-extension", "MIT-SHM"])
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .spawn()
        .expect("Xvfb is installed")
}
