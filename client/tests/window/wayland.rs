//! The window on Wayland. The compositor is weston in windows of an X screen, so that what it shows
//! can be seen and keys be pressed; the program has no way to X.

use std::fs::{DirBuilder, create_dir_all};
use std::os::unix::fs::DirBuilderExt as _;
use std::process::{Command, Stdio};

use sandbox_protocol::Size;
use sandbox_protocol::wire::control::FromServer;
use sandbox_protocol::wire::input::Event as Input;
use x11rb::protocol::xproto::{
    BUTTON_PRESS_EVENT, BUTTON_RELEASE_EVENT, ConfigureWindowAux, ConnectionExt as _,
    MOTION_NOTIFY_EVENT, Window,
};

use crate::capture::travelled;
use crate::fake::Server;
use crate::{SIZE, World, program};

impl World {
    /// The program on a compositor with so many outputs of 640x400, the second one below the
    /// first on the X screen.
    fn on_wayland(name: &str, outputs: usize, arguments: &[&str]) -> Self {
        let mut world = Self::prepare(name, Server::new(SIZE));
        let run = world.folder.join("run");
        create_dir_all(&world.folder).unwrap();
        DirBuilder::new().mode(0o700).create(&run).unwrap();
        let weston = Command::new("weston")
            .args(["--backend=x11-backend.so", "--shell=kiosk-shell.so"])
            .args(["--use-pixman", "--no-config", "--idle-time=0"])
            .args(["--width=640", "--height=400", "--socket=wayland"])
            .arg(format!("--output-count={outputs}"))
            .env("DISPLAY", &world.display)
            .env("XDG_RUNTIME_DIR", &run)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("weston is installed by scripts/needs");
        world.screens.push(weston);
        let windows = world.until("the compositor", |it| {
            let windows = it.windows();
            (windows.len() == outputs && run.join("wayland").exists()).then_some(windows)
        });
        world.window = *windows.first().unwrap();
        for (y, window) in (0..).step_by(420).zip(windows) {
            let place = ConfigureWindowAux::new().x(0).y(y);
            world.x.configure_window(window, &place).unwrap();
        }
        world.give_focus();
        let program = program("", &world.address, &world.folder)
            .args(arguments)
            .env_remove("DISPLAY")
            .env("XDG_RUNTIME_DIR", &run)
            .env("WAYLAND_DISPLAY", "wayland")
            .spawn();
        world.program = Some(program.unwrap());
        // The compositor paints the pointer into its picture.
        world.host.until("a viewer", Server::is_live);
        world.host.change(|it| {
            it.say(&FromServer::CursorShape {
                size: Size {
                    width: 0,
                    height: 0,
                },
                hot_x: 0,
                hot_y: 0,
                rgba: Vec::new(),
            });
        });
        world
    }

    fn second_window(&self) -> Window {
        let windows = self.windows();
        windows.into_iter().find(|it| *it != self.window).unwrap()
    }
}

#[test]
fn on_wayland_too_the_window_shows_the_desktop_and_hears_keys_and_pointer() {
    let world = World::on_wayland("wayland", 1, &[]);
    world.until_same();
    world.press_and_hear();
    world.until_same();
    world.send(MOTION_NOTIFY_EVENT, 0, (123, 45));
    world
        .host
        .until("the pointer", |it| it.moves.last() == Some(&(123, 45)));
    world.send(BUTTON_PRESS_EVENT, 1, (0, 0));
    world.send(BUTTON_RELEASE_EVENT, 1, (0, 0));
    let button = |is_down| Input::Button {
        button: 0,
        is_down,
        x: 123,
        y: 45,
    };
    world.host.until("a click", |it| {
        it.input.ends_with(&[button(true), button(false)])
    });

    // A pointer that is held stays where it is, and goes on there.
    world.press_capture();
    world.until("words over the desktop", |it| {
        (it.shown() != it.host.server().desktop).then_some(())
    });
    world.send(MOTION_NOTIFY_EVENT, 0, (300, 200));
    let way = (300 - 123, 200 - 45);
    world.host.until("a step", |it| travelled(it) == way);
    world.press_capture();
    world.until_same();
    world.send(MOTION_NOTIFY_EVENT, 0, (301, 201));
    world
        .host
        .until("a place", |it| it.moves.last() == Some(&(124, 46)));
    assert_eq!(travelled(&world.host.server()), way);
}

#[test]
fn two_monitors_show_the_parts_of_one_desktop() {
    let world = World::on_wayland("two", 2, &["--monitors", "all"]);
    world.host.until("a wide desktop", |it| {
        (it.size.width, it.size.height) == (1_280, 400)
    });
    let second = world.second_window();
    world.until("both parts", |it| {
        let desktop = it.host.server().desktop.clone();
        let [left, right] = [it.shown(), it.shown_in(second)];
        let mut rows = desktop.chunks_exact(1_280).zip(0..);
        let is_same = rows.all(|(row, y)| {
            let at = |part: &[u32]| part.chunks_exact(640).nth(y).map(<[_]>::to_vec);
            let both = [at(&left), at(&right)]
                .map(Option::unwrap_or_default)
                .concat();
            both == row
        });
        is_same.then_some(())
    });
    world.send(MOTION_NOTIFY_EVENT, 0, (10, 430));
    world
        .host
        .until("the pointer", |it| it.moves.last() == Some(&(650, 10)));
}
