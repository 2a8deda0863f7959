//! Finds a way to the server: connections by UDP and inside a WebSocket are begun, and the first
//! that the server answers, with the proof of its key, goes on.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_lite::future;
use sandbox_quic::Arrived;
use smol::Timer;

use super::Driver;
use crate::carrier::Carrier;
use crate::clock;
use crate::connection::{Connection, End, Setup, Told};
use crate::net::host::{fresh_input, signalled};
use crate::net::race::{Hint, Race};
use crate::net::{Command, Network, Transport, Way};
use crate::origin::Origin;
use crate::socket::{Slots, Socket};
use crate::tunnel::{self, Tunnel};

/// One of several addresses gets so much time to answer.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Mebibytes for the tile cache.
const CACHE_MIB: u16 = 64;

/// A connection that the server has answered.
pub(super) struct Joined {
    pub(super) carrier: Carrier,
    pub(super) connection: Connection,
    pub(super) network: Option<Network>,
}

type Opening = Pin<Box<dyn Future<Output = Result<Box<Tunnel>, String>>>>;

/// The ways that are tried.
pub(super) struct Join {
    race: Race,
    origins: Vec<Origin>,
    /// Those that have not been tried.
    addresses: VecDeque<SocketAddr>,
    network: Option<Network>,
    tries_udp: bool,
    udp: Option<(Socket, Connection)>,
    answer_by: Option<Instant>,
    opening: Option<Opening>,
    websocket: Option<(Box<Tunnel>, Connection)>,
    udp_end: Option<End>,
    websocket_end: Option<End>,
    slots: Slots,
}

/// Something came by one of the ways.
pub(super) enum Came {
    Udp(io::Result<()>),
    WebSocket(io::Result<()>),
    Opened(Result<Box<Tunnel>, String>),
}

/// What ends a wait.
enum Woken {
    Came(Came),
    Command(Command),
    Time,
}

impl Driver {
    /// The first connection that is answered.
    pub(super) async fn join(&mut self, addresses: Vec<SocketAddr>) -> Result<Joined, End> {
        let mut join = Join::new(self, clock::now(), addresses);
        loop {
            let now = clock::now();
            if let Some(ended) = join.turn(self, now).await {
                return ended;
            }
            if let Some(end) = self.act_apart() {
                join.abandon(now).await;
                return Err(end);
            }
            let due = [join.poll_timeout(), self.due_apart(now)];
            let due = due.into_iter().flatten().min();
            match join.wait(self, due).await {
                Woken::Came(came) => join.handle(self, came),
                Woken::Command(command) => {
                    if !self.obey_apart(command) {
                        join.abandon(clock::now()).await;
                        return Err(End::Left);
                    }
                }
                Woken::Time => join.handle_timeout(clock::now()),
            }
        }
    }

    /// Begins a connection. What is typed goes to the one that is answered.
    fn begin(&self, now: Instant, server: SocketAddr) -> io::Result<Connection> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        let setup = Setup {
            known: self.task.known,
            credentials: self.task.credentials.clone(),
            size: self.task.size,
            is_shown: self.is_shown,
            cache_mib: CACHE_MIB,
            link_kbps: self.rates.hint(),
            codecs: self.codecs,
            secret,
            input: fresh_input()?,
        };
        Connection::new(now, server, setup).map_err(io::Error::other)
    }
}

impl Join {
    fn new(driver: &mut Driver, now: Instant, addresses: Vec<SocketAddr>) -> Self {
        let network = addresses.first().and_then(|it| network_towards(*it));
        driver.rates.handle_network(network.clone());
        let task = &driver.task;
        let hint = task.memory.hint(network.as_ref());
        Self {
            race: Race::new(now, task.transport, hint),
            origins: Origin::of(&task.address, task.memory.origin.as_ref()),
            addresses: addresses.into(),
            network: network.filter(|_| task.transport == Transport::Auto),
            tries_udp: false,
            udp: None,
            answer_by: None,
            opening: None,
            websocket: None,
            udp_end: None,
            websocket_end: None,
            slots: Slots::new(),
        }
    }

    /// The way beside a connection by UDP that is not answered.
    pub(super) fn beside(driver: &mut Driver, now: Instant, server: SocketAddr) -> Self {
        let way = Transport::Only(Way::WebSocket);
        Self {
            race: Race::new(now, way, Hint::WithoutUdp),
            ..Self::new(driver, now, vec![server])
        }
    }

    /// Does what is due. Returns the connection that was answered, or why there is none.
    pub(super) async fn turn(
        &mut self,
        driver: &Driver,
        now: Instant,
    ) -> Option<Result<Joined, End>> {
        self.start(driver, now);
        self.send(now).await;
        if let Some(joined) = self.take_answered(now).await {
            return Some(Ok(joined));
        }
        self.take_failed(now);
        self.poll_lost().map(Err)
    }

    /// Begins what is due.
    fn start(&mut self, driver: &Driver, now: Instant) {
        loop {
            if self.tries_udp && self.udp.is_none() {
                self.try_next_address(driver, now);
            }
            match self.race.poll_start(now) {
                Some(Way::Udp) => self.tries_udp = true,
                Some(Way::WebSocket) => {
                    let origins = std::mem::take(&mut self.origins);
                    self.opening = Some(Box::pin(Tunnel::open(origins)));
                }
                // One that failed at once is followed by the next.
                None if self.tries_udp && self.udp.is_none() => (),
                None => return,
            }
        }
    }

    fn try_next_address(&mut self, driver: &Driver, now: Instant) {
        let Some(server) = self.addresses.pop_front() else {
            self.tries_udp = false;
            return self.race.handle_failed(now, Way::Udp);
        };
        let has_other = !self.addresses.is_empty();
        self.answer_by = has_other.then_some(now + ANSWER_MAX);
        let begun = Socket::new(server).and_then(|it| Ok((it, driver.begin(now, server)?)));
        match begun {
            Ok(udp) => self.udp = Some(udp),
            Err(error) => self.fail_udp(End::Unreachable(error.to_string())),
        }
    }

    fn fail_udp(&mut self, end: End) {
        self.udp = None;
        self.udp_end = Some(end);
    }

    fn fail_websocket(&mut self, now: Instant, end: End) {
        self.websocket = None;
        self.websocket_end = Some(end);
        self.race.handle_failed(now, Way::WebSocket);
    }

    async fn send(&mut self, now: Instant) {
        let mut buffer = Vec::new();
        if let Some((socket, connection)) = &mut self.udp {
            let most = socket.segments_max();
            while let Some(out) = connection.poll_transmit(now, most, &mut buffer) {
                // As if the network had lost it.
                let _lost = socket.send(&buffer, out.segment).await;
                buffer.clear();
            }
        }
        if let Some((tunnel, connection)) = &mut self.websocket {
            while connection.poll_transmit(now, 1, &mut buffer).is_some() {
                tunnel.push(&buffer);
                buffer.clear();
            }
        }
    }

    /// The connection that was answered; the other one is given up.
    async fn take_answered(&mut self, now: Instant) -> Option<Joined> {
        let udp = self.udp.take_if(|(_, it)| it.is_connected());
        // Another key may be that of another server: what is guessed or told need not be right.
        let is_right = |it: &Connection| it.is_connected() && !it.is_over();
        let websocket = self.websocket.take_if(|(_, it)| is_right(it));
        let udp = udp.map(|(socket, connection)| (Carrier::Udp(socket), connection));
        let websocket = websocket.map(|(it, connection)| (Carrier::WebSocket(it), connection));
        let (carrier, connection) = udp.or(websocket)?;
        self.abandon(now).await;
        Some(Joined {
            carrier,
            connection,
            network: self.network.take(),
        })
    }

    /// Gives up what is under way. The end of a WebSocket is noticed without a word.
    pub(super) async fn abandon(&mut self, now: Instant) {
        if let Some((_, connection)) = &mut self.udp {
            connection.supersede(now);
        }
        self.websocket = None;
        self.opening = None;
        self.send(now).await;
    }

    /// Drops what has failed.
    fn take_failed(&mut self, now: Instant) {
        if let Some((_, connection)) = &mut self.udp {
            let is_late = self.answer_by.is_some_and(|it| it <= now);
            let end = over(connection).or(is_late.then_some(End::NoAnswer));
            if let Some(end) = end {
                self.fail_udp(end);
            }
        }
        if let Some((_, connection)) = &mut self.websocket
            && let Some(end) = over(connection)
        {
            self.fail_websocket(now, end);
        }
    }

    /// Why there is no way, once that is so.
    fn poll_lost(&mut self) -> Option<End> {
        if !self.race.is_lost() {
            return None;
        }
        Some(match (self.udp_end.take(), self.websocket_end.take()) {
            (Some(udp), Some(websocket)) => End::Nowhere {
                udp: Box::new(udp),
                websocket: Box::new(websocket),
            },
            (Some(end), None) | (None, Some(end)) => end,
            (None, None) => End::NoAnswer,
        })
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(super) fn poll_timeout(&mut self) -> Option<Instant> {
        let udp = self.udp.as_mut().and_then(|(_, it)| it.poll_timeout());
        let answer_by = self.answer_by.filter(|_| self.udp.is_some());
        let websocket = self.websocket.as_mut();
        let websocket = websocket.and_then(|(_, it)| it.poll_timeout());
        let all = [udp, answer_by, websocket, self.race.poll_timeout()];
        all.into_iter().flatten().min()
    }

    async fn wait(&mut self, driver: &Driver, due: Option<Instant>) -> Woken {
        let came = async { Woken::Came(self.receive().await) };
        let command = async {
            let command = driver.commands.recv().await;
            Woken::Command(command.unwrap_or(Command::Leave))
        };
        let signal = async {
            signalled(driver.signals.as_ref()).await;
            Woken::Command(Command::Leave)
        };
        let time = async {
            due.map_or_else(Timer::never, Timer::at).await;
            Woken::Time
        };
        let asked = future::or(command, signal);
        future::or(came, future::or(asked, time)).await
    }

    /// Waits for what comes by the ways.
    pub(super) async fn receive(&mut self) -> Came {
        let slots = &mut self.slots;
        let udp = async {
            match &self.udp {
                Some((socket, _)) => Came::Udp(socket.receive(slots).await),
                None => future::pending().await,
            }
        };
        let websocket = async {
            match (&mut self.websocket, &mut self.opening) {
                (Some((tunnel, _)), _) => Came::WebSocket(tunnel.receive().await),
                (None, Some(opening)) => Came::Opened(opening.await),
                (None, None) => future::pending().await,
            }
        };
        future::or(udp, websocket).await
    }

    /// Something came.
    pub(super) fn handle(&mut self, driver: &Driver, came: Came) {
        match came {
            Came::Udp(came) => self.handle_udp(came),
            Came::WebSocket(came) => self.handle_websocket(came),
            Came::Opened(opened) => self.handle_opened(driver, opened),
        }
    }

    fn handle_udp(&mut self, came: io::Result<()>) {
        match (came, &mut self.udp) {
            (Ok(()), Some((socket, connection))) => {
                let from = socket.server();
                for bytes in self.slots.datagrams() {
                    take(connection, from, bytes);
                }
            }
            // The kernel tells of an answer that nobody listens.
            (Err(_), _) => self.fail_udp(End::Absent),
            (Ok(()), None) => (),
        }
    }

    fn handle_websocket(&mut self, came: io::Result<()>) {
        match (came, &mut self.websocket) {
            (Ok(()), Some((tunnel, connection))) => {
                for bytes in tunnel.packets() {
                    take(connection, tunnel::SERVER, bytes);
                }
            }
            (Err(error), _) => {
                let end = End::NoWebSocket(error.to_string());
                self.fail_websocket(clock::now(), end);
            }
            (Ok(()), None) => (),
        }
    }

    fn handle_opened(&mut self, driver: &Driver, opened: Result<Box<Tunnel>, String>) {
        self.opening = None;
        let now = clock::now();
        let begin = |tunnel| {
            let connection = driver.begin(now, tunnel::SERVER);
            Ok((tunnel, connection.map_err(|it| it.to_string())?))
        };
        match opened.and_then(begin) {
            Ok(websocket) => self.websocket = Some(websocket),
            Err(words) => self.fail_websocket(now, End::NoWebSocket(words)),
        }
    }

    /// Lets time pass.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Some((_, connection)) = &mut self.udp {
            connection.handle_timeout(now);
        }
        if let Some((_, connection)) = &mut self.websocket {
            connection.handle_timeout(now);
        }
    }
}

fn take(connection: &mut Connection, from: SocketAddr, bytes: &[u8]) {
    let to = None;
    connection.handle_datagram(clock::now(), Arrived { from, to, bytes });
}

/// Why a connection that was not answered is over.
fn over(connection: &mut Connection) -> Option<End> {
    // Nothing else comes before an answer.
    let Told::Over(end) = connection.poll_told()? else {
        return None;
    };
    Some(end)
}

/// Which network leads to an address: the kernel chooses the way, nothing is sent.
fn network_towards(server: SocketAddr) -> Option<Network> {
    Socket::new(server).ok()?.network()
}
