//! A window that nobody sees.

use std::process::{Command, Stdio};

use sandbox_protocol::wire::control::FromViewer;
use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::{
    AtomEnum, ClientMessageEvent, ConnectionExt as _, CreateWindowAux, EventMask, Window,
    WindowClass,
};

use crate::fake::Server;
use crate::{SIZE, World, program};

/// `IconicState` of the Inter-Client Communication Conventions.
const ICONIC: u32 = 3;

impl World {
    /// The program under a window manager.
    fn managed(name: &str) -> Self {
        let mut world = Self::prepare(name, Server::new(SIZE));
        let manager = Command::new("openbox")
            .env("DISPLAY", &world.display)
            .env("HOME", &world.folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        world.screens.push(manager);
        let gone = world.until_managed();
        let program = program(&world.display, &world.address, &world.folder).spawn();
        world.program = Some(program.unwrap());
        world.window = world.until("a window that is managed", |it| {
            let mut managed = it.windows_in(b"_NET_CLIENT_LIST").into_iter();
            managed.find(|it| *it != gone)
        });
        world.until("the focus in it", |it| {
            let focus = it.windows_in(b"_NET_ACTIVE_WINDOW");
            if focus != [it.window] {
                it.ask_the_manager(b"_NET_ACTIVE_WINDOW", 0);
            }
            (focus == [it.window]).then_some(())
        });
        world
    }

    /// Waits until the window manager takes windows: it overlooks some while it starts. Returns one
    /// that is gone, and that it may name for a while.
    fn until_managed(&self) -> Window {
        let window = self.x.generate_id().unwrap();
        let aux = CreateWindowAux::new();
        let opaque = WindowClass::INPUT_OUTPUT;
        self.x
            .create_window(0, window, self.root, 0, 0, 9, 9, 0, opaque, 0, &aux)
            .unwrap();
        self.until("a window manager", |it| {
            it.x.unmap_window(window).unwrap();
            it.x.map_window(window).unwrap();
            let managed = it.windows_in(b"_NET_CLIENT_LIST");
            managed.contains(&window).then_some(())
        });
        self.x.destroy_window(window).unwrap();
        self.x.flush().unwrap();
        window
    }

    fn windows_in(&self, property: &[u8]) -> Vec<Window> {
        let property = self.atom(property);
        let reply = self
            .x
            .get_property(false, self.root, property, AtomEnum::WINDOW, 0, 64)
            .unwrap()
            .reply()
            .unwrap();
        reply.value32().into_iter().flatten().collect()
    }

    fn ask_the_manager(&self, what: &[u8], value: u32) {
        let message = ClientMessageEvent::new(32, self.window, self.atom(what), [value; 5]);
        let mask = EventMask::SUBSTRUCTURE_REDIRECT | EventMask::SUBSTRUCTURE_NOTIFY;
        self.x.send_event(false, self.root, mask, message).unwrap();
        self.x.flush().unwrap();
    }
}

/// What the server was told of the window.
fn told(server: &Server) -> Vec<FromViewer> {
    let told = server.heard.iter();
    told.filter(|it| matches!(it, FromViewer::Suspend | FromViewer::Resume))
        .cloned()
        .collect()
}

#[track_caller]
fn until_told(world: &World, expected: &[FromViewer]) {
    world
        .host
        .until("what is seen of it", |it| told(it) == expected);
}

#[test]
fn a_window_that_others_cover_asks_for_no_picture() {
    let world = World::new("covered", Server::new(SIZE), &[]);
    world.until_same();
    let other = world.cover((0, 0), (1_280, 1_024));
    until_told(&world, &[FromViewer::Suspend]);
    world.host.change(|it| it.paint(5));
    world.x.destroy_window(other).unwrap();
    world.x.flush().unwrap();
    world.until_same();
    until_told(&world, &[FromViewer::Suspend, FromViewer::Resume]);
}

#[test]
fn nor_does_one_that_is_minimized() {
    let world = World::managed("minimized");
    world.until_same();
    world.ask_the_manager(b"WM_CHANGE_STATE", ICONIC);
    until_told(&world, &[FromViewer::Suspend]);
    world.host.change(|it| it.paint(5));
    // A pager asks, at no time.
    world.ask_the_manager(b"_NET_ACTIVE_WINDOW", 0);
    until_told(&world, &[FromViewer::Suspend, FromViewer::Resume]);
    world.until_same();
}
