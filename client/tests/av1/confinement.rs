//! What the process that decodes may not do.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use sandbox_client::av1::{Decoder, ROLE};
use sandbox_client::platform;

use crate::stream::units;
use crate::{Canvas, client, status};

#[test]
fn the_process_can_gain_nothing_and_calls_only_what_is_listed() {
    let mut decoder = Decoder::of(client());
    let mut canvas = Canvas::new();
    let rects = [sandbox_protocol::Rect::whole(crate::stream::SIZE)];
    // Once it has answered it is confined.
    decoder
        .decode(&units()[0], &rects, &mut canvas.target())
        .unwrap();
    let process = decoder.process_id().unwrap();
    assert_eq!(status(process, "NoNewPrivs"), "1");
    assert_eq!(status(process, "Seccomp"), "2");
    assert_eq!(status(process, "Threads"), "1");
    // Ctrl+C in a terminal does not reach it.
    assert!(status(process, "NSpgid").ends_with(&process.to_string()));
    let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    for limit in [
        "Max core file size",
        "Max open files",
        "Max file size",
        "Max processes",
    ] {
        let line = limits.lines().find(|it| it.starts_with(limit)).unwrap();
        let numbers: Vec<&str> = line[limit.len()..].split_whitespace().take(2).collect();
        assert_eq!(numbers, ["0", "0"], "{line}");
    }
}

#[test]
fn whoever_starts_the_role_by_hand_is_told() {
    let output = Command::new(client())
        .arg(ROLE)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("for sandbox-client itself"), "{words}");
}

/// The process that the test below starts: tells by its socket what it could do all the same.
fn act_confined(address: &str) -> ! {
    // A file that was open before stays open.
    let mut file = File::open("/etc/passwd").unwrap();
    let parent = std::env::var("PARENT").unwrap().parse().unwrap();
    let parent = rustix::process::Pid::from_raw(parent).unwrap();
    platform::confine().unwrap();
    let mut byte = [0];
    let acts = [
        ("opens a file", File::open("/etc/passwd").is_ok()),
        ("reads an inherited one", file.read(&mut byte).is_ok()),
        (
            "makes a file",
            File::create("/tmp/sandbox-client-escaped").is_ok(),
        ),
        ("lists processes", std::fs::read_dir("/proc").is_ok()),
        ("connects", TcpStream::connect(address).is_ok()),
        ("has a port", UdpSocket::bind("127.0.0.1:0").is_ok()),
        ("has a socket", UnixStream::pair().is_ok()),
        (
            "starts a program",
            Command::new("/bin/true").status().is_ok(),
        ),
        (
            "starts a thread",
            std::thread::Builder::new().spawn(|| ()).is_ok(),
        ),
        (
            "signals its parent",
            rustix::process::test_kill_process(parent).is_ok(),
        ),
        (
            "copies a descriptor",
            rustix::io::dup(std::io::stdin().as_fd()).is_ok(),
        ),
        ("lifts a limit", platform::confine().is_ok()),
        (
            "has much memory",
            Vec::<u8>::new().try_reserve_exact(1 << 30).is_ok(),
        ),
    ];
    let mut told = String::from("confined");
    for (act, _) in acts.iter().filter(|(_, could)| *could) {
        told = format!("{told}; {act}");
    }
    rustix::io::write(std::io::stdin().as_fd(), told.as_bytes()).unwrap();
    let _refused =
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort()
}

#[test]
fn a_confined_process_computes_and_answers_and_nothing_else() {
    // This program again, for nothing but this test.
    if let Ok(address) = std::env::var("ADDRESS") {
        act_confined(&address);
    }
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "confinement::a_confined_process_computes_and_answers_and_nothing_else",
        ])
        .args(["--nocapture", "--test-threads=1"])
        .env("ADDRESS", listener.local_addr().unwrap().to_string())
        .env("PARENT", std::process::id().to_string())
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = String::new();
    ours.flush().unwrap();
    ours.read_to_string(&mut told).unwrap();
    let mut words = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut words)
        .unwrap();
    child.wait().unwrap();
    assert_eq!(told, "confined", "{words}");
}
