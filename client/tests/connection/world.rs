//! A viewer, a server and what is between them, in simulated time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sandbox_client::connection::{CODECS, Connection, Credentials, End, Proof, Setup, Told};
use sandbox_client::screen::{Screen, ScreenError};
use sandbox_protocol::Size;
use sandbox_protocol::stream::input_sender::InputSender;
use sandbox_protocol::wire::control::Secret;
use sandbox_quic::{Arrived, Fingerprint};

use crate::fake::{PASSWORD, Server, USER};

const ONE_WAY: Duration = Duration::from_millis(20);
const STEPS_MAX: usize = 100_000;
pub(crate) const SIZE: Size = Size {
    width: 640,
    height: 400,
};

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

pub(crate) struct Packet {
    at: Instant,
    to_server: bool,
    bytes: Vec<u8>,
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) server: Server,
    pub(crate) client: Connection,
    pub(crate) screen: Screen,
    pub(crate) told: Vec<Told>,
    pub(crate) packets: Vec<Packet>,
    /// Every so many-th packet to the viewer is lost.
    pub(crate) loses: usize,
    /// Every so many-th packet to the server is lost.
    pub(crate) loses_back: usize,
    /// Every third packet takes so much longer.
    pub(crate) delay: Duration,
    pub(crate) count: usize,
    pub(crate) is_cut: bool,
    /// The server may send anything: what is no update is answered as the program does.
    pub(crate) is_hostile: bool,
}

pub(crate) fn credentials() -> Credentials {
    Credentials {
        user: USER.to_owned(),
        proof: Proof::Password(Secret(PASSWORD.to_owned())),
        ticket: None,
    }
}

pub(crate) fn setup(known: Option<Fingerprint>) -> Setup {
    Setup {
        known,
        credentials: credentials(),
        size: SIZE,
        is_shown: true,
        cache_mib: 64,
        link_kbps: None,
        codecs: CODECS,
        secret: [9; 32],
        input: InputSender::new(77),
    }
}

impl World {
    /// A viewer that knows the server.
    pub(crate) fn new() -> Self {
        let server = Server::new(SIZE);
        let known = Some(server.fingerprint);
        Self::with(server, setup(known))
    }

    pub(crate) fn with(server: Server, setup: Setup) -> Self {
        let now = Instant::now();
        Self {
            now,
            server,
            client: Connection::new(now, address(2), setup).unwrap(),
            screen: Screen::new().unwrap(),
            told: Vec::new(),
            packets: Vec::new(),
            loses: usize::MAX,
            loses_back: usize::MAX,
            delay: Duration::ZERO,
            count: 0,
            is_cut: false,
            is_hostile: false,
        }
    }

    pub(crate) fn live() -> Self {
        let mut world = Self::new();
        world.run_until(Self::is_same);
        world
    }

    pub(crate) fn is_same(&self) -> bool {
        self.screen.picture().size() == self.server.size
            && self.screen.picture().hash() == self.server.hash()
    }

    pub(crate) fn end(&self) -> Option<&End> {
        match self.told.last() {
            Some(Told::Over(end)) => Some(end),
            _ => None,
        }
    }

    fn exchange(&mut self) {
        let mut buffer = Vec::new();
        while let Some(out) = self.client.poll_transmit(self.now, 8, &mut buffer) {
            self.carry(true, &buffer, out.segment);
            buffer.clear();
        }
        while let Some(out) = self.server.poll_transmit(self.now, &mut buffer) {
            self.carry(false, &buffer, out.segment);
            buffer.clear();
        }
        while let Some(told) = self.client.poll_told() {
            if let Told::Config(config) = &told {
                self.screen.configure(config);
            }
            self.told.push(told);
        }
        while let Some(update) = self.client.poll_update() {
            match self.screen.apply(&update) {
                Ok(_) => (),
                Err(error) if !self.is_hostile => panic!("{error}"),
                Err(ScreenError::Video(_) | ScreenError::Lost) => self.client.ask_whole(self.now),
                Err(error) => self.client.refuse_update(self.now, error.to_string()),
            }
        }
    }

    fn carry(&mut self, to_server: bool, bytes: &[u8], segment: usize) {
        for bytes in bytes.chunks(segment) {
            self.count += 1;
            let loses = if to_server {
                self.loses_back
            } else {
                self.loses
            };
            let is_lost = self.count.is_multiple_of(loses);
            let is_late = self.count.is_multiple_of(3);
            if !is_lost && !self.is_cut {
                self.packets.push(Packet {
                    at: self.now + ONE_WAY + if is_late { self.delay } else { Duration::ZERO },
                    to_server,
                    bytes: bytes.to_vec(),
                });
            }
        }
    }

    pub(crate) fn step(&mut self) {
        self.exchange();
        let timers = [self.server.poll_timeout(), self.client.poll_timeout()];
        let arrivals = self.packets.iter().map(|it| it.at);
        let Some(next) = timers.into_iter().flatten().chain(arrivals).min() else {
            return;
        };
        self.now = self.now.max(next);
        let now = self.now;
        let (due, later) = std::mem::take(&mut self.packets)
            .into_iter()
            .partition(|it: &Packet| it.at <= now);
        self.packets = later;
        for packet in due {
            let (from, to) = if packet.to_server { (1, 2) } else { (2, 1) };
            let arrived = Arrived {
                from: address(from),
                to: Some(address(to).ip()),
                bytes: &packet.bytes,
            };
            if packet.to_server {
                self.server.handle_datagram(now, arrived);
            } else {
                self.client.handle_datagram(now, arrived);
            }
        }
        self.server.handle_timeout(now);
        self.client.handle_timeout(now);
        self.exchange();
    }

    #[track_caller]
    pub(crate) fn run_until(&mut self, is_done: impl Fn(&Self) -> bool) {
        for _ in 0..STEPS_MAX {
            if is_done(self) {
                return;
            }
            self.step();
        }
        panic!("not reached: {:?}", self.told);
    }
}
