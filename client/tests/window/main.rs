//! The program's window under Xvfb: what it shows, what it hears, how it ends.
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic is a failed test, and X tells more than is looked for"
)]

mod capture;
mod clipboard;
mod composing;
#[path = "../fake/mod.rs"]
mod fake;
mod hiding;
mod wayland;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use sandbox_protocol::wire::codes::CloseCode;
use sandbox_protocol::wire::control::FromServer;
use sandbox_protocol::wire::input::Event as Input;
use sandbox_protocol::{Rect, Size};
use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::{
    BUTTON_PRESS_EVENT, BUTTON_RELEASE_EVENT, ConfigureWindowAux, ConnectionExt as _,
    CreateWindowAux, ImageFormat, InputFocus, KEY_PRESS_EVENT, KEY_RELEASE_EVENT,
    MOTION_NOTIFY_EVENT, Window, WindowClass,
};
use x11rb::protocol::xtest::ConnectionExt as _;
use x11rb::rust_connection::RustConnection;

use self::fake::host::{Host, now};
use self::fake::{PASSWORD, Server, USER};

const SIZE: Size = Size {
    width: 640,
    height: 400,
};

/// Longest wait for what the window shows.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// X's codes are evdev's and this.
const X_KEYCODE_MIN: u8 = 8;
const KEY_A: u8 = 30;

/// A screen, the program on it, and the server.
struct World {
    host: Host,
    x: RustConnection,
    display: String,
    address: String,
    root: Window,
    window: Window,
    program: Option<Child>,
    /// What it runs on.
    screens: Vec<Child>,
    folder: PathBuf,
}

impl World {
    /// The program shows the server's desktop.
    fn new(name: &str, server: Server, arguments: &[&str]) -> Self {
        let mut world = Self::prepare(name, server);
        let mut program = program(&world.display, &world.address, &world.folder);
        world.program = Some(program.args(arguments).spawn().unwrap());
        world.window = world.until("a window", |it| it.windows().pop());
        world.give_focus();
        world
    }

    /// A screen and the server, without the program.
    fn prepare(name: &str, mut server: Server) -> Self {
        // They lie over the desktop for some seconds.
        server.notices.clear();
        let mut xvfb = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "1280x1024x24"])
            .args(["-nolisten", "tcp", "-noreset"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut number = String::new();
        let mut output = BufReader::new(xvfb.stdout.take().unwrap());
        output.read_line(&mut number).unwrap();
        let display = format!(":{}", number.trim());
        let (x, screen) = x11rb::connect(Some(&display)).unwrap();
        let root = x.setup().roots.get(screen).unwrap().root;

        let host = Host::new(server);
        let address = format!("{USER}@{}#pin={}", host.address, host.server().fingerprint);
        let unique = format!("sandbox-client-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(unique);
        Self {
            host,
            x,
            display,
            address,
            root,
            window: 0,
            program: None,
            screens: vec![xvfb],
            folder,
        }
    }

    /// The windows that can be seen.
    fn windows(&self) -> Vec<Window> {
        let tree = self.x.query_tree(self.root).unwrap().reply().unwrap();
        let mut windows = tree.children;
        windows.retain(|it| {
            let attributes = self.x.get_window_attributes(*it).unwrap().reply();
            let is_seen = attributes.is_ok_and(|it| u8::from(it.map_state) == 2);
            is_seen && self.size_of(*it) != (1, 1)
        });
        windows
    }

    fn give_focus(&self) {
        self.x
            .set_input_focus(InputFocus::PARENT, self.window, x11rb::CURRENT_TIME)
            .unwrap();
        self.x.flush().unwrap();
    }

    /// Another one of the program, until its end.
    fn again(&self, arguments: &[&str]) -> Output {
        let mut program = program(&self.display, &self.address, &self.folder);
        program.args(arguments).output().unwrap()
    }

    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "what is shown tells nobody")]
    fn until<T>(&self, what: &str, look: impl Fn(&Self) -> Option<T>) -> T {
        let began = now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(now() - began < WAIT_MAX, "not within 30 s: {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn size_of(&self, window: Window) -> (u16, u16) {
        let geometry = self.x.get_geometry(window).unwrap().reply();
        geometry.map_or((1, 1), |it| (it.width, it.height))
    }

    /// The window's pixels.
    fn shown(&self) -> Vec<u32> {
        self.shown_in(self.window)
    }

    fn shown_in(&self, window: Window) -> Vec<u32> {
        let (width, height) = self.size_of(window);
        let format = ImageFormat::Z_PIXMAP;
        let image = self
            .x
            .get_image(format, window, 0, 0, width, height, u32::MAX)
            .unwrap()
            .reply()
            .unwrap();
        let (pixels, _) = image.data.as_chunks::<4>();
        let colours = pixels
            .iter()
            .map(|it| u32::from_le_bytes(*it) & 0x00FF_FFFF);
        colours.collect()
    }

    /// A pixel of the screen.
    fn shown_on_root(&self, x: i16, y: i16) -> u32 {
        let image = self
            .x
            .get_image(ImageFormat::Z_PIXMAP, self.root, x, y, 1, 1, u32::MAX)
            .unwrap()
            .reply()
            .unwrap();
        let (pixels, _) = image.data.as_chunks::<4>();
        u32::from_le_bytes(*pixels.first().unwrap()) & 0x00FF_FFFF
    }

    #[track_caller]
    fn until_same(&self) {
        self.until("the server's desktop in the window", |it| {
            let desktop = it.host.server().desktop.clone();
            (it.shown() == desktop).then_some(())
        });
    }

    /// Opens another window over this one.
    fn cover(&self, (x, y): (i16, i16), (width, height): (u16, u16)) -> Window {
        let (x11, root, window) = (&self.x, self.root, self.x.generate_id().unwrap());
        let aux = CreateWindowAux::new()
            .override_redirect(1)
            .background_pixel(0x00FF_0000);
        let opaque = WindowClass::INPUT_OUTPUT;
        x11.create_window(0, window, root, x, y, width, height, 0, opaque, 0, &aux)
            .unwrap();
        x11.map_window(window).unwrap();
        x11.flush().unwrap();
        window
    }

    fn send(&self, kind: u8, detail: u8, (x, y): (i16, i16)) {
        let now = x11rb::CURRENT_TIME;
        self.x
            .xtest_fake_input(kind, detail, now, self.root, x, y, 0)
            .unwrap();
        self.x.flush().unwrap();
    }

    fn press(&self, key: u8) {
        for kind in [KEY_PRESS_EVENT, KEY_RELEASE_EVENT] {
            self.send(kind, key + X_KEYCODE_MIN, (0, 0));
        }
    }

    /// A letter, all the way to the server.
    fn press_and_hear(&self) {
        self.press(KEY_A);
        let pressed = [letter_a(true), letter_a(false)];
        self.host
            .until("the key", |it| it.input.ends_with(&pressed));
    }

    /// Another window has the keyboard: what is held goes up.
    fn lose_keyboard(&self) {
        self.x
            .set_input_focus(InputFocus::PARENT, self.root, x11rb::CURRENT_TIME)
            .unwrap();
        self.x.flush().unwrap();
        self.host.until("all released", |it| {
            it.input.ends_with(&[Input::ReleaseAll])
        });
    }
}

fn program(display: &str, address: &str, folder: &Path) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_sandbox-client"));
    program
        .args(["--size", "640x400", address])
        .env("DISPLAY", display)
        .env_remove("WAYLAND_DISPLAY")
        .env_remove("XMODIFIERS")
        .env("LC_ALL", "en_US.UTF-8")
        .env("XDG_DATA_HOME", folder)
        .env("SANDBOX_PASSWORD", PASSWORD);
    program
}

fn letter_a(is_down: bool) -> Input {
    Input::Key {
        code: KEY_A.into(),
        keysym: 0x61,
        is_down,
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for child in self.program.iter_mut().chain(self.screens.iter_mut().rev()) {
            let _already_over = child.kill();
            let _reaped = child.wait();
        }
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}

#[track_caller]
fn show_small_changes(world: &World) {
    for n in 0..8 {
        let rect = Rect {
            x: n * 70,
            y: n * 40,
            width: 33,
            height: 17,
        };
        world
            .host
            .change(|it| it.fill(rect, u32::from(n) * 0x0011_2233));
        world.until_same();
    }
}

/// Another window covers a part, and goes again.
#[track_caller]
fn cover_and_uncover(world: &World) {
    let other = world.cover((50, 60), (200, 100));
    world.until("the other window", |it| {
        (it.shown_on_root(60, 70) == 0x00FF_0000).then_some(())
    });
    world.x.destroy_window(other).unwrap();
    world.until_same();
}

#[test]
fn a_window_shows_the_desktop_and_hears_keys_and_pointer() {
    let world = World::new("window", Server::new(SIZE), &[]);
    world.until_same();

    world.press_and_hear();
    world.until_same();

    world.send(MOTION_NOTIFY_EVENT, 0, (123, 45));
    world
        .host
        .until("the pointer", |it| it.moves.last() == Some(&(123, 45)));
    world.send(BUTTON_PRESS_EVENT, 3, (0, 0));
    world.send(BUTTON_RELEASE_EVENT, 3, (0, 0));
    world.send(BUTTON_PRESS_EVENT, 5, (0, 0));
    world.send(BUTTON_RELEASE_EVENT, 5, (0, 0));
    let button = |is_down| Input::Button {
        button: 2,
        is_down,
        x: 123,
        y: 45,
    };
    let wheel = Input::Wheel {
        dx: 0,
        dy: 120,
        x: 123,
        y: 45,
    };
    // The window system's library tells of a wheel without smooth steps, as XTEST's, with its
    // press and with its release.
    let wanted = [button(true), button(false), wheel, wheel];
    world
        .host
        .until("button and wheel", |it| it.input.ends_with(&wanted));

    world.host.change(|it| {
        it.say(&FromServer::Copied {
            text: "größe".to_owned(),
            is_first: true,
            is_last: true,
        });
    });
    world.until("the copied text", |it| {
        (it.clipboard() == "größe".as_bytes()).then_some(())
    });

    show_small_changes(&world);
    cover_and_uncover(&world);

    world.send(KEY_PRESS_EVENT, KEY_A + X_KEYCODE_MIN, (0, 0));
    world
        .host
        .until("the key again", |it| it.input.ends_with(&[letter_a(true)]));
    world.lose_keyboard();
}

#[test]
fn the_desktop_follows_the_window_and_the_end_is_told_in_it() {
    let mut world = World::new("end", Server::new(SIZE), &[]);
    world.until_same();
    let larger = ConfigureWindowAux::new().width(801).height(600);
    world.x.configure_window(world.window, &larger).unwrap();
    world.x.flush().unwrap();
    world.host.until("another size", |it| {
        (it.size.width, it.size.height) == (800, 600)
    });
    world.until("the larger desktop and a border", |it| {
        let desktop = it.host.server().desktop.clone();
        let shown = it.shown();
        let rows = shown.chunks_exact(801).map(|it| &it[..800]);
        (shown.len() == 801 * 600 && rows.eq(desktop.chunks_exact(800))).then_some(())
    });

    world.host.until("all is there", Server::is_settled);
    world
        .host
        .change(|it| it.close(now(), CloseCode::SessionEnded.number(), ""));
    world.until("words over the desktop", |it| {
        let desktop = it.host.server().desktop.clone();
        let shown = it.shown();
        let middle = shown.chunks_exact(801).nth(300)?.get(400..430)?;
        let before = desktop.chunks_exact(800).nth(300)?.get(400..430)?;
        (middle != before).then_some(())
    });
    world.press(KEY_A);
    let status = world.program.take().unwrap().wait().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_desktop_that_stays_small_is_enlarged_by_whole_steps() {
    let mut server = Server::new(SIZE);
    server.follows = false;
    let world = World::new("scaled", server, &["--size", "1280x800"]);
    world.until("each pixel four times", |it| {
        let desktop = it.host.server().desktop.clone();
        let shown = it.shown();
        let is_same = shown.len() == 1_280 * 800
            && shown.chunks_exact(1_280).enumerate().all(|(y, row)| {
                let from = &desktop[y / 2 * 640..][..640];
                row.iter().enumerate().all(|(x, it)| *it == from[x / 2])
            });
        is_same.then_some(())
    });
    world.send(MOTION_NOTIFY_EVENT, 0, (201, 101));
    world
        .host
        .until("the pointer", |it| it.moves.last() == Some(&(100, 50)));
}

#[test]
fn a_desktop_fills_the_monitors_that_are_named() {
    let world = World::new("monitors", Server::new(SIZE), &["--monitors", "all"]);
    world.until("a window on the monitor", |it| {
        (it.size_of(it.window) == (1_280, 1_024)).then_some(())
    });
    world.host.until("a desktop of its size", |it| {
        (it.size.width, it.size.height) == (1_280, 1_024)
    });
    world.until_same();
    world.send(MOTION_NOTIFY_EVENT, 0, (1_279, 1_023));
    let corner = Some(&(1_279, 1_023));
    world
        .host
        .until("the pointer", |it| it.moves.last() == corner);
    let program = world.again(&["--monitors", "2"]);
    assert_eq!(program.status.code(), Some(2));
    let words = String::from_utf8_lossy(&program.stderr);
    assert!(words.contains("1 is 1280x1024+0+0"), "{words}");
}
