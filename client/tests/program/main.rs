//! The program itself, without a window, against a server on a real UDP port.
#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

#[path = "../fake/mod.rs"]
mod fake;
mod hostile_http;
mod http_host;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use sandbox_client::store::Store;
use sandbox_protocol::wire::codes::CloseCode;
use sandbox_protocol::wire::control::{FromServer, FromViewer};
use sandbox_protocol::wire::input::Event as Input;
use sandbox_protocol::{Rect, Size};
use serde_json::Value;

use self::fake::host::{Host, now};
use self::fake::{PASSWORD, Server, USER};

const SIZE: Size = Size {
    width: 640,
    height: 400,
};

/// Longest wait for the program.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// What the program remembers and writes, removed again.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let unique = format!("sandbox-client-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(unique);
        let _left_over = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn script(&self, text: &str) -> PathBuf {
        let path = self.file("script");
        fs::write(&path, text).unwrap();
        path
    }

    fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox-client"));
        command
            // Another server may be at the ports where HTTP is guessed.
            .args(["--headless", "--size", "640x400", "--transport", "udp"])
            .args(arguments)
            .env("XDG_DATA_HOME", &self.0)
            .env("SANDBOX_PASSWORD", PASSWORD)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Output {
        wait(self.program(arguments).spawn().unwrap())
    }

    fn lines(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.file(name)).unwrap();
        let lines = text.lines().map(|it| serde_json::from_str(it).unwrap());
        lines.collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

fn at(host: &Host) -> String {
    format!("{USER}@{}", host.address)
}

fn pinned(host: &Host) -> String {
    format!("{}#pin={}", at(host), host.server().fingerprint)
}

/// A server that is not there.
fn nobody() -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    format!("{USER}@{}", socket.local_addr().unwrap())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits for the program's end, which all of these tests are about.
#[track_caller]
#[expect(
    clippy::disallowed_methods,
    reason = "the standard library has no wait with a bound"
)]
fn wait(mut child: Child) -> Output {
    let began = now();
    while child.try_wait().unwrap().is_none() {
        if now() - began > WAIT_MAX {
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            panic!("not over within 30 s: {}", text(&output.stderr));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

#[track_caller]
fn finish(child: Child) -> (Option<i32>, String) {
    let output = wait(child);
    (output.status.code(), text(&output.stderr))
}

#[test]
fn a_probe_finds_a_desktop_that_answers() {
    let folder = Folder::new("probe");
    let host = Host::new(Server::new(SIZE));
    let output = folder.run(&["--probe", &pinned(&host)]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(line["ok"], true, "{line}");
    assert_eq!(line["keys"], 10);
    for figure in ["connect_ms", "first_picture_ms", "key_to_pixel_ms_p50"] {
        assert!(line[figure].as_f64().unwrap() > 0.0, "{line}");
    }
}

#[test]
fn a_probe_fails_where_a_key_changes_no_pixel() {
    let folder = Folder::new("deaf");
    let mut server = Server::new(SIZE);
    server.echoes = false;
    let host = Host::new(server);
    let output = folder.run(&["--probe", &pinned(&host)]);
    assert_eq!(output.status.code(), Some(1));
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(line["ok"], false, "{line}");
}

#[test]
fn a_script_types_and_the_frame_log_ends_with_the_servers_picture() {
    let folder = Folder::new("script");
    let host = Host::new(Server::new(SIZE));
    let wanted = {
        let mut server = Server::new(SIZE);
        server.fill(Rect::between(8, 64, 16, 80), 0x00AB_CDEF ^ 1);
        server.hash()
    };
    let script = folder.script(&format!("key 30 0x61 down\nuntil-hash {wanted:032x}\nend"));
    let (frames, seconds) = (folder.file("frames"), folder.file("seconds"));
    let output = folder.run(&[
        "--script",
        script.to_str().unwrap(),
        "--frame-log",
        frames.to_str().unwrap(),
        "--stats-json",
        seconds.to_str().unwrap(),
        &pinned(&host),
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("a notice"));
    let key = Input::Key {
        code: 30,
        keysym: 0x61,
        is_down: true,
    };
    assert_eq!(host.server().input, [key]);
    let lines = folder.lines("frames");
    assert_eq!(lines[0]["whole"], true);
    let last = lines.last().unwrap();
    assert_eq!(last["hash"], format!("{wanted:032x}"));
    assert_eq!(last["input"], 1);
}

#[test]
fn a_wrong_password_is_not_permitted() {
    let folder = Folder::new("password");
    let host = Host::new(Server::new(SIZE));
    let mut program = folder.program(&[&pinned(&host)]);
    let output = wait(program.env("SANDBOX_PASSWORD", "wrong").spawn().unwrap());
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("name or password is wrong"));
}

#[test]
fn a_server_is_remembered_and_another_one_in_its_place_refused_until_it_is_forgotten() {
    let folder = Folder::new("known");
    let script = folder.script("end");
    let script = script.to_str().unwrap();
    let host = Host::new(Server::new(SIZE));
    let output = folder.run(&["--script", script, &at(&host)]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("#pin=sha256:"));
    assert!(host.server().heard.is_empty());
    let trusting = ["--trust-on-first-use", "--script", script, &at(&host)];
    assert_eq!(folder.run(&trusting).status.code(), Some(0));
    assert_eq!(folder.run(&trusting[1..]).status.code(), Some(0));

    // Another server, with another key, at the same place.
    host.change(|it| *it = Server::new(SIZE));
    let output = folder.run(&trusting);
    assert_eq!(output.status.code(), Some(3));
    let words = text(&output.stderr);
    assert!(words.contains("another key than before"), "{words}");
    assert!(words.contains(&host.server().fingerprint.to_string()));
    let forget = folder.run(&["--forget", &at(&host)]);
    assert_eq!(forget.status.code(), Some(0), "{}", text(&forget.stderr));
    assert_eq!(folder.run(&trusting).status.code(), Some(0));
}

#[test]
fn what_a_network_carries_is_remembered_for_the_next_time() {
    let folder = Folder::new("rates");
    let host = Host::new(Server::new(SIZE));
    let child = waiting_for_nine(&folder, &host);
    host.change(|it| it.say(&FromServer::LinkRate { kbps: 7_000 }));
    host.change(|it| it.paint(9));
    let (code, words) = finish(child);
    assert_eq!(code, Some(0), "{words}");
    let script = folder.script("end");
    let again = folder.run(&["--script", script.to_str().unwrap(), &pinned(&host)]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again.stderr));
    let hint = FromViewer::LinkRate { kbps: 7_000 };
    assert!(host.server().heard.contains(&hint));
}

#[test]
fn what_a_network_carries_is_remembered_by_a_program_that_is_killed() {
    let folder = Folder::new("killed");
    let host = Host::new(Server::new(SIZE));
    let mut child = waiting_for_nine(&folder, &host);
    host.change(|it| it.say(&FromServer::LinkRate { kbps: 7_000 }));
    let store = Store::open(&folder.file("sandbox/client.db")).unwrap();
    let rates = || store.link_rates(&host.address.to_string()).unwrap();
    host.until("the rate in the file", |_| !rates().is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(rates().values().eq(&[7_000]));
}

#[test]
fn nobody_there_is_told_at_once() {
    let folder = Folder::new("nobody");
    let began = now();
    let output = folder.run(&["--probe", &nobody()]);
    assert_eq!(output.status.code(), Some(1));
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(line["why"].as_str().unwrap().contains("nobody listens"));
    // Silence would take QUIC's twelve seconds.
    assert!(now() - began < Duration::from_secs(10));
}

/// A viewer that leaves once it shows what a server painted with 9 does.
fn waiting_for_nine(folder: &Folder, host: &Host) -> Child {
    let mut other = Server::new(SIZE);
    other.paint(9);
    let wanted = other.hash();
    let script = folder.script(&format!("until-hash {wanted:032x}\nend"));
    let child = folder
        .program(&["--script", script.to_str().unwrap(), &pinned(host)])
        .spawn()
        .unwrap();
    host.until("a viewer", Server::is_settled);
    child
}

#[test]
fn after_a_restart_it_connects_again_with_its_ticket() {
    let folder = Folder::new("again");
    let host = Host::new(Server::new(SIZE));
    let child = waiting_for_nine(&folder, &host);
    host.change(|it| it.close(now(), CloseCode::Shutdown.number(), "back soon"));
    host.change(|it| it.paint(9));
    let (code, words) = finish(child);
    assert_eq!(code, Some(0), "{words}");
    assert!(words.contains("back soon; connecting again"), "{words}");
    assert_eq!(host.server().methods, ["password", "ticket"]);
}

#[test]
fn where_its_address_leads_nowhere_any_more_it_goes_on_with_another() {
    let folder = Folder::new("moved");
    let host = Host::new(Server::new(SIZE));
    let child = waiting_for_nine(&folder, &host);
    host.cut();
    host.change(|it| it.paint(9));
    let (code, words) = finish(child);
    assert_eq!(code, Some(0), "{words}");
    // The connection is the same.
    assert!(!words.contains("connecting again"), "{words}");
    assert_eq!(host.server().methods, ["password"]);
}

fn terminate(child: &Child) {
    let pid = child.id().to_string();
    let kill = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(kill.success());
}

#[test]
fn who_waits_for_a_server_can_be_told_to_end() {
    let folder = Folder::new("waiting");
    let host = Host::new(Server::new(SIZE));
    let mut child = folder.program(&[&pinned(&host)]).spawn().unwrap();
    host.until("a viewer", Server::is_settled);
    host.change(|it| it.close(now(), CloseCode::Shutdown.number(), ""));
    drop(host);
    let mut words = BufReader::new(child.stderr.take().unwrap()).lines();
    let absent = words.find(|it| it.as_ref().unwrap().contains("nobody listens"));
    assert!(absent.is_some());
    terminate(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn who_is_told_to_end_leaves_the_server_first() {
    let folder = Folder::new("signal");
    let host = Host::new(Server::new(SIZE));
    let child = folder.program(&[&pinned(&host)]).spawn().unwrap();
    host.until("a viewer", Server::is_settled);
    terminate(&child);
    let (code, words) = finish(child);
    assert_eq!(code, Some(0), "{words}");
    // Silence would be noticed after twelve seconds.
    host.until("that it has left", |it| !it.is_live());
}

#[test]
fn an_ended_session_ends_the_program_with_its_reason() {
    let folder = Folder::new("ended");
    let host = Host::new(Server::new(SIZE));
    let child = folder.program(&[&pinned(&host)]).spawn().unwrap();
    host.until("a viewer", Server::is_settled);
    host.change(|it| it.close(now(), CloseCode::SessionEnded.number(), ""));
    let (code, words) = finish(child);
    assert_eq!(code, Some(0), "{words}");
    assert!(words.contains("the session is over"), "{words}");
}

#[test]
fn from_a_menu_the_server_is_asked_for_and_the_end_stays_to_be_read() {
    let folder = Folder::new("menu");
    let mut child = Command::new("script")
        .args(["-qec", env!("CARGO_BIN_EXE_sandbox-client"), "/dev/null"])
        .env("XDG_DATA_HOME", &folder.0)
        .env("SANDBOX_PASSWORD", PASSWORD)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut terminal = child.stdin.take().unwrap();
    let mut shown = BufReader::new(child.stdout.take().unwrap());
    let mut until = |wanted: &str| {
        let mut words = Vec::new();
        while !text(&words).ends_with(wanted) {
            let read = shown.by_ref().take(1).read_to_end(&mut words).unwrap();
            assert_eq!(read, 1, "{wanted:?} not in {:?}", text(&words));
        }
        text(&words)
    };
    until("Which server, as [USER@]HOST[:PORT]? ");
    writeln!(terminal, "{}", nobody()).unwrap();
    let words = until("Press Enter to close. ");
    assert!(words.contains("nobody listens"), "{words}");
    assert!(child.try_wait().unwrap().is_none());
    terminal.write_all(b"\n").unwrap();
    assert_eq!(wait(child).status.code(), Some(1));
}
