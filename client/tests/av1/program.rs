//! The program itself against a server that sends AV1.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use sandbox_protocol::Rect;
use sandbox_protocol::wire::control::{Codec, FromViewer};
use serde_json::Value;

use crate::fake::host::{Host, now};
use crate::fake::video::Video;
use crate::fake::{PASSWORD, Server, USER};
use crate::stream::{KEYS, SIZE, units};
use crate::{client, hash_with, pictures, signal, status};

/// Where the desktop moves.
const RECT: Rect = Rect {
    x: 64,
    y: 32,
    width: 320,
    height: 200,
};

/// Longest wait for the program.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A server with a stream, and the program that looks at it.
struct World {
    host: Host,
    program: Child,
    folder: PathBuf,
}

impl World {
    /// The program leaves once it shows unit `until`, or the desktop as it is without video.
    fn new(name: &str, until: Option<usize>, prepare: impl FnOnce(&mut Server)) -> Self {
        let folder = format!("sandbox-client-av1-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        let _left_over = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let mut server = Server::new(SIZE);
        server.video = Some(Video::new(units(), &KEYS, RECT));
        prepare(&mut server);
        let wanted = match until {
            Some(until) => hash_with(&server.desktop, &pictures()[until], RECT),
            None => server.hash(),
        };
        let script = folder.join("script");
        fs::write(&script, format!("until-hash {wanted:032x}\nend")).unwrap();
        let host = Host::new(server);
        let server = format!("{USER}@{}#pin={}", host.address, host.server().fingerprint);
        let program = Command::new(client())
            .args(["--headless", "--size", "640x400", "--transport", "udp"])
            .args([Path::new("--script"), &script])
            .args([Path::new("--frame-log"), &folder.join("frames")])
            .arg(server)
            .env("XDG_DATA_HOME", &folder)
            .env("SANDBOX_PASSWORD", PASSWORD)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            host,
            program,
            folder,
        }
    }

    /// Waits until the viewer has what was sent.
    fn settle(&self) {
        self.host.until("that it has all", Server::is_settled);
    }

    fn show_next(&self) {
        self.host.change(|it| it.video().due += 1);
        self.host
            .until("that it is sent", |it| it.video.as_ref().unwrap().due == 0);
        self.settle();
    }

    /// The program's own processes.
    fn processes(&self) -> Vec<u32> {
        let parent = format!("\nPPid:\t{}\n", self.program.id());
        let all = fs::read_dir("/proc").unwrap();
        let numbers = all.filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok());
        let is_its = |it: &u32| {
            let status = fs::read_to_string(format!("/proc/{it}/status"));
            status.is_ok_and(|it| it.contains(&parent))
        };
        numbers.filter(is_its).collect()
    }

    /// The process that decodes.
    fn decoder(&self) -> u32 {
        let processes = self.processes();
        assert_eq!(processes.len(), 1, "{processes:?}");
        processes[0]
    }

    /// Waits for the program's end, and gives what it said.
    #[track_caller]
    fn finish(&mut self) -> String {
        let error = self.program.stderr.take().unwrap();
        let (said, words) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            let lines = BufReader::new(error).lines().map_while(Result::ok);
            for line in lines {
                let _nobody_waits = said.send(line);
            }
        });
        let began = now();
        let mut all = Vec::new();
        loop {
            let left = WAIT_MAX.saturating_sub(now() - began);
            match words.recv_timeout(left) {
                Ok(line) => all.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("not over within 30 s: {all:?}"),
            }
        }
        reader.join().unwrap();
        let status = self.program.wait().unwrap();
        let words = all.join("\n");
        assert_eq!(status.code(), Some(0), "{words}");
        words
    }

    fn frames(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.join("frames")).unwrap();
        let lines = text.lines().map(|it| serde_json::from_str(it).unwrap());
        lines.collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ended = self.program.kill();
        let _ended = self.program.wait();
        let _gone = fs::remove_dir_all(&self.folder);
    }
}

/// What each viewer that came offered to decode.
fn offers(server: &Server) -> Vec<Vec<Codec>> {
    let hellos = server.heard.iter().filter_map(|it| match it {
        FromViewer::Hello { video, .. } => Some(video.iter().map(|it| it.codec).collect()),
        _ => None,
    });
    hellos.collect()
}

#[test]
fn video_of_a_server_that_chose_av1_is_shown_by_a_confined_process() {
    let mut world = World::new("shows", Some(5), |_| ());
    world.settle();
    (1..=3).for_each(|_| world.show_next());
    let process = world.decoder();
    assert_eq!(status(process, "NoNewPrivs"), "1");
    assert_eq!(status(process, "Seccomp"), "2");
    world.show_next();
    world.host.change(|it| it.video().due += 1);
    let words = world.finish();
    assert_eq!(words, "sandbox-client: a notice");
    let log = world.frames();
    assert!(log.iter().all(|it| it["video"] == true), "{log:?}");
    let keys: Vec<bool> = log.iter().map(|it| it["keyframe"] == true).collect();
    assert_eq!(keys, [true, false, false, false, false, false]);
    assert_eq!(offers(&world.host.server()), [[Codec::H264, Codec::Av1]]);
    assert!(!PathBuf::from(format!("/proc/{process}")).exists());
}

#[test]
fn without_av1_there_is_no_process_for_it() {
    let mut world = World::new("lazy", Some(0), |it| it.video = None);
    world.settle();
    assert_eq!(world.processes(), [0; 0]);
    assert_eq!(offers(&world.host.server()), [[Codec::H264, Codec::Av1]]);
    // The same picture, without video.
    world.host.change(|it| {
        for y in 32..232 {
            for x in 64..384 {
                it.desktop[y * 640 + x] = pictures()[0][y * 640 + x];
            }
        }
        it.damage(RECT);
    });
    world.finish();
}

#[test]
fn after_a_damaged_unit_a_whole_picture_is_asked_for_and_shown() {
    let mut world = World::new("damaged", Some(6), |_| ());
    world.settle();
    world.show_next();
    world.host.change(|it| {
        it.video().instead = Some(vec![0; 40]);
        it.video().due += 1;
    });
    let words = world.finish();
    assert!(
        words.contains("decoder failed and is started anew: it refused"),
        "{words}"
    );
    let server = world.host.server();
    assert!(server.heard.contains(&FromViewer::WholePicture));
    assert_eq!(server.methods, ["password"]);
}

#[test]
fn after_its_process_was_killed_the_program_goes_on_with_a_whole_picture() {
    let mut world = World::new("killed", Some(6), |_| ());
    world.settle();
    world.show_next();
    signal(world.decoder(), "-KILL");
    world.host.change(|it| it.video().due += 1);
    let words = world.finish();
    assert!(words.contains("signal: 9"), "{words}");
}

#[test]
fn a_process_that_hangs_costs_a_second() {
    let mut world = World::new("hangs", Some(6), |_| ());
    world.settle();
    world.show_next();
    signal(world.decoder(), "-STOP");
    world.host.change(|it| it.video().due += 1);
    let words = world.finish();
    assert!(words.contains("no answer within 1 s"), "{words}");
}

#[test]
fn where_av1_keeps_failing_the_program_connects_again_without_it() {
    let never = |it: &mut Server| it.video().never = Some(vec![0; 40]);
    let mut world = World::new("gives-up", None, never);
    let words = world.finish();
    let told = words.matches("is started anew").count();
    assert_eq!(told, 4, "{words}");
    assert!(
        words.contains("going on without AV1; connecting again"),
        "{words}"
    );
    let server = world.host.server();
    let expected = [&[Codec::H264, Codec::Av1][..], &[Codec::H264]];
    assert_eq!(offers(&server), expected);
    assert_eq!(server.methods, ["password", "ticket"]);
}
