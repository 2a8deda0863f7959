//! What the thread does: a connection, its socket and its clock, one attempt after the other.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use async_signal::{Signal, Signals};
use futures_lite::future;
use sandbox_protocol::stream::input_sender::InputSender;
use sandbox_protocol::wire::input::Event;
use sandbox_quic::{Arrived, Fingerprint};
use smol::Timer;

use super::host::{fresh_input, resolve, signalled};
use super::rates::Rates;
use super::{Command, Ended, News, Shared, Task};
use crate::clock;
use crate::connection::{Connection, End, Setup, Told};
use crate::figures::Figures;
use crate::probe::{Outcome, Probe};
use crate::screen::ScreenError;
use crate::script;
use crate::socket::{Slots, Socket};

/// One of several addresses gets so much time to answer.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Between two attempts to connect again: the first, and the longest.
const RETRY_MIN: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(15);

/// A server that was heard each three seconds at least is silent for so long: perhaps this machine
/// has another address. A fresh socket finds out, and the connection goes on there.
const REBIND_AFTER: Duration = Duration::from_secs(4);

/// Refusals by the kernel, one after the other, before a server counts as gone.
const REFUSALS_MAX: u32 = 3;

/// A whole picture is asked for at most so often; the server answers no faster.
const WHOLE_INTERVAL: Duration = Duration::from_millis(250);

/// Mebibytes for the tile cache.
const CACHE_MIB: u16 = 64;

/// Lives in the thread.
pub(super) struct Driver {
    task: Task,
    shared: Arc<Shared>,
    commands: async_channel::Receiver<Command>,
    news: SyncSender<News>,
    figures: Figures,
    wants_figures: bool,
    probe: Option<Probe>,
    outcome: Option<Outcome>,
    shown: Option<Fingerprint>,
    was_live: bool,
    whole_asked: Option<Instant>,
    rates: Rates,
    /// Between two connections.
    input: Option<InputSender>,
    slots: Slots,
    /// Those that end the program: it leaves before. None where the kernel refuses.
    signals: Option<Signals>,
}

/// What ends a wait.
enum Wake {
    Came(io::Result<usize>),
    Command(Option<Command>),
    Time,
}

impl Driver {
    pub(super) fn new(
        task: Task,
        shared: Arc<Shared>,
        commands: async_channel::Receiver<Command>,
        news: SyncSender<News>,
    ) -> Self {
        let now = clock::now();
        Self {
            wants_figures: task.records.wants_figures(),
            probe: task.is_probe.then(|| Probe::new(now)),
            rates: Rates::new(task.link_rates.clone()),
            task,
            shared,
            commands,
            news,
            figures: Figures::new(now),
            outcome: None,
            shown: None,
            was_live: false,
            whole_asked: None,
            input: None,
            slots: Slots::new(),
            signals: Signals::new([Signal::Int, Signal::Term]).ok(),
        }
    }

    pub(super) async fn run(&mut self) -> Ended {
        let mut wait = RETRY_MIN;
        let end = loop {
            let before = std::mem::take(&mut self.was_live);
            let end = self.connect().await;
            if self.was_live {
                wait = RETRY_MIN;
            }
            self.was_live |= before;
            let may = end.may_reconnect() || end.is_absence();
            if !self.was_live || !may || self.outcome.is_some() {
                break end;
            }
            let pause = wait.max(end.retry_after());
            self.tell(News::Lost {
                words: end.to_string(),
                wait: pause,
            });
            if !self.rest(pause).await {
                break End::Left;
            }
            wait = (wait * 2).min(RETRY_MAX);
        };
        let failed = self.probe.as_mut().map(|it| it.fail(&end.to_string()));
        Ended {
            probe: self.outcome.take().or(failed),
            end,
            link_rates: self.rates.take_measured(),
        }
    }

    /// Waits before the next attempt. Returns `false` where the user leaves.
    async fn rest(&mut self, pause: Duration) -> bool {
        let until = clock::now() + pause;
        loop {
            let commands = &self.commands;
            let command = async { Some(commands.recv().await.unwrap_or(Command::Leave)) };
            let signal = async {
                signalled(self.signals.as_ref()).await;
                Some(Command::Leave)
            };
            let time = async {
                Timer::at(until).await;
                None
            };
            match future::or(command, future::or(signal, time)).await {
                None => return true,
                Some(Command::Leave) => return false,
                Some(Command::Size(size)) => self.task.size = size,
                Some(Command::Figures(wants)) => self.wants_figures = wants,
                // It waits for the next connection, as what was pressed before it was lost.
                Some(Command::Input(event)) => {
                    if let Some(input) = &mut self.input {
                        input.handle_event(clock::now(), event);
                    }
                }
                Some(Command::Paste(_)) => {
                    self.tell(News::Notice(
                        "the text was not pasted: no connection".to_owned(),
                    ));
                }
                // There is nobody to tell.
                Some(_) => (),
            }
        }
    }

    /// One connection, to the first address that answers.
    async fn connect(&mut self) -> End {
        let (host, port) = (self.task.address.host.clone(), self.task.address.port);
        let signal = async {
            signalled(self.signals.as_ref()).await;
            None
        };
        let found = async { Some(resolve(host, port).await) };
        let addresses = match future::or(found, signal).await {
            Some(Ok(addresses)) => addresses,
            Some(Err(error)) => return End::Unknown(error.to_string()),
            None => return End::Left,
        };
        let mut end = End::Unknown("no address".to_owned());
        for (at, address) in addresses.iter().enumerate() {
            let has_other = at + 1 < addresses.len();
            end = self.session(*address, has_other).await;
            if !end.is_absence() {
                break;
            }
        }
        end
    }

    async fn session(&mut self, server: SocketAddr, has_other: bool) -> End {
        let (socket, mut connection) = match self.begin(clock::now(), server) {
            Ok(both) => both,
            Err(error) => return End::Unreachable(error.to_string()),
        };
        self.figures.restart();
        let end = self.drive(socket, &mut connection, has_other).await;
        self.input = Some(connection.into_input(clock::now()));
        end
    }

    async fn drive(
        &mut self,
        mut socket: Socket,
        connection: &mut Connection,
        has_other: bool,
    ) -> End {
        let (now, server) = (clock::now(), socket.server());
        let answer_by = has_other.then_some(now + ANSWER_MAX);
        let mut refusals = 0;
        let mut rebind_at = now + REBIND_AFTER;
        let mut buffer = Vec::new();
        loop {
            let end = self.turn(connection);
            let now = clock::now();
            while let Some(out) = connection.poll_transmit(now, socket.segments_max(), &mut buffer)
            {
                // What cannot be sent is lost like any datagram; silence is told by time.
                let _lost = socket.send(&buffer, out.segment).await;
                buffer.clear();
            }
            if let Some(end) = end {
                return end;
            }
            let answer_by = answer_by.filter(|_| !connection.is_connected());
            if answer_by.is_some_and(|it| it <= now) {
                return End::NoAnswer;
            }
            let rebind = connection.is_connected().then_some(rebind_at);
            if rebind.is_some_and(|it| it <= now) {
                rebind_at = now + REBIND_AFTER;
                // Without a network there is none to bind to: the old one may come back.
                if let Ok(fresh) = Socket::new(server) {
                    socket = fresh;
                    self.rates.handle_network(socket.network());
                    connection.handle_network_changed(now);
                    continue;
                }
            }
            let due = self.next_due(now, connection);
            let due = [due, answer_by, rebind].into_iter().flatten().min();
            match self.wait(&socket, due).await {
                Wake::Came(Ok(count)) => {
                    refusals = 0;
                    rebind_at = clock::now() + REBIND_AFTER;
                    self.receive(connection, server, count);
                }
                // The kernel tells of an answer that nobody listens.
                Wake::Came(Err(_)) if !connection.is_connected() => return End::Absent,
                Wake::Came(Err(_)) if refusals == REFUSALS_MAX => return End::Silent,
                Wake::Came(Err(_)) => refusals += 1,
                Wake::Command(command) => {
                    self.obey(connection, command.unwrap_or(Command::Leave));
                    while let Ok(command) = self.commands.try_recv() {
                        self.obey(connection, command);
                    }
                }
                Wake::Time => connection.handle_timeout(clock::now()),
            }
        }
    }

    fn begin(&mut self, now: Instant, server: SocketAddr) -> io::Result<(Socket, Connection)> {
        let socket = Socket::new(server)?;
        self.rates.handle_network(socket.network());
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        let setup = Setup {
            known: self.task.known,
            credentials: self.task.credentials.clone(),
            size: self.task.size,
            cache_mib: CACHE_MIB,
            link_kbps: self.rates.hint(),
            secret,
            input: self.input.take().map_or_else(fresh_input, Ok)?,
        };
        let connection = Connection::new(now, server, setup).map_err(io::Error::other)?;
        self.shared
            .view()
            .screen
            .restart()
            .map_err(io::Error::other)?;
        Ok((socket, connection))
    }

    async fn wait(&mut self, socket: &Socket, due: Option<Instant>) -> Wake {
        let came = async { Wake::Came(socket.receive(&mut self.slots).await) };
        let command = async { Wake::Command(self.commands.recv().await.ok()) };
        let signal = async {
            signalled(self.signals.as_ref()).await;
            Wake::Command(None)
        };
        let time = async {
            match due {
                Some(due) => Timer::at(due).await,
                None => future::pending().await,
            };
            Wake::Time
        };
        let asked = future::or(command, signal);
        future::or(came, future::or(asked, time)).await
    }

    fn receive(&self, connection: &mut Connection, from: SocketAddr, count: usize) {
        let now = clock::now();
        for bytes in self.slots.datagrams(count) {
            let to = None;
            connection.handle_datagram(now, Arrived { from, to, bytes });
        }
    }

    fn next_due(&self, now: Instant, connection: &mut Connection) -> Option<Instant> {
        let script = self.task.script.poll_timeout(now);
        let probe = self.probe.as_ref().and_then(Probe::poll_timeout);
        let second = self.wants_figures.then(|| self.figures.next_second());
        let others = [script, probe, second].into_iter().flatten();
        others.chain(connection.poll_timeout()).min()
    }

    /// Takes what the connection has, and does what is due.
    fn turn(&mut self, connection: &mut Connection) -> Option<End> {
        let end = self.take_told(connection);
        self.apply_updates(connection);
        if end.is_some() {
            return end;
        }
        self.act(connection);
        let now = clock::now();
        if self.wants_figures && self.figures.next_second() <= now {
            let (counters, round_trip) = (connection.counters(), connection.round_trip());
            let second = self.figures.handle_second(now, counters, round_trip);
            self.task.records.write_second(&self.figures);
            self.shared.view().figures = second;
            self.shared.wake();
        }
        // Script and probe may have left.
        self.take_told(connection)
    }

    fn take_told(&mut self, connection: &mut Connection) -> Option<End> {
        while let Some(told) = connection.poll_told() {
            if let Some(end) = self.handle_told(told) {
                return Some(end);
            }
        }
        None
    }

    fn handle_told(&mut self, told: Told) -> Option<End> {
        match told {
            Told::FirstUse(shown) => {
                self.shown = Some(shown);
                self.tell(News::FirstUse(shown));
            }
            Told::Welcome(ticket) => self.task.credentials.handle_welcome(ticket),
            Told::Attached { notices, .. } => {
                self.was_live = true;
                if let Some(probe) = &mut self.probe {
                    probe.handle_attached(clock::now());
                }
                if let Some(known) = self.task.known {
                    self.tell(News::Live(known, notices));
                }
            }
            Told::Config(config) => self.shared.view().screen.configure(&config),
            Told::Notice(words) => self.tell(News::Notice(words)),
            Told::Copied(text) => self.tell(News::Copied(text)),
            Told::LinkRate(kbps) => self.rates.handle_measured(kbps),
            Told::Control(has_control) => self.tell(News::Control(has_control)),
            Told::Shape(shape) => {
                self.shared.view().shape = Some(shape);
                self.shared.wake();
            }
            // The user's own pointer is where the user sees it.
            Told::Pointer { .. } => (),
            Told::Over(end) => return Some(end),
        }
        None
    }

    fn apply_updates(&mut self, connection: &mut Connection) {
        loop {
            let came = clock::now();
            let server_clock = connection.server_clock(came);
            let Some(update) = connection.poll_update() else {
                return;
            };
            let mut view = self.shared.view();
            let applied = view.screen.apply(&update);
            let now = clock::now();
            match applied {
                Ok(applied) => {
                    let picture = view.screen.picture();
                    self.task
                        .records
                        .write_update(now, &update, &applied, server_clock, picture);
                    drop(view);
                    let header = &applied.header;
                    self.figures
                        .handle_update((came, now), header, server_clock);
                    if let Some(probe) = &mut self.probe {
                        probe.handle_update(now, header);
                    }
                    self.task.script.begin(now);
                    self.shared.wake();
                }
                Err(ScreenError::Video(_) | ScreenError::Lost) => {
                    drop(view);
                    let is_due = |it| now >= it + WHOLE_INTERVAL;
                    if self.whole_asked.is_none_or(is_due) {
                        self.whole_asked = Some(now);
                        connection.ask_whole(now);
                    }
                }
                Err(error @ (ScreenError::Update(_) | ScreenError::Apply(_))) => {
                    connection.refuse_update(now, error.to_string());
                }
            }
        }
    }

    /// Does what script and probe want.
    fn act(&mut self, connection: &mut Connection) {
        let now = clock::now();
        let shared = Arc::clone(&self.shared);
        let hash = || shared.view().screen.picture().hash();
        while let Some(action) = self.task.script.poll_action(now, hash) {
            for command in script::commands(action).into_iter().flatten() {
                self.obey(connection, command);
            }
        }
        let Some(probe) = &mut self.probe else {
            return;
        };
        if let Some([down, up]) = probe.poll_press(now)
            && let Some(seq) = connection.handle_input(now, down)
        {
            connection.handle_input(now, up);
            probe.handle_pressed(now, seq);
        }
        if let Some(outcome) = probe.poll_outcome(now) {
            self.outcome = Some(outcome);
            self.probe = None;
            connection.leave(now);
        }
    }

    fn obey(&mut self, connection: &mut Connection, command: Command) {
        let now = clock::now();
        match command {
            Command::Trust => {
                self.task.known = self.shown;
                connection.trust(now);
            }
            Command::Distrust => {
                if let Some(shown) = self.shown {
                    connection.distrust(now, shown);
                }
            }
            Command::Input(event) => {
                let seq = connection.handle_input(now, event);
                let is_press = matches!(
                    event,
                    Event::Key { is_down: true, .. } | Event::Button { is_down: true, .. }
                );
                if let Some(seq) = seq.filter(|_| is_press) {
                    self.figures.handle_press(now, seq);
                }
            }
            Command::Move { x, y } => connection.handle_move(now, x, y),
            Command::Size(size) => {
                self.task.size = size;
                connection.handle_size(now, size);
            }
            Command::Paste(text) => {
                if !connection.handle_paste(now, &text) {
                    let words = "the text was not pasted: it is longer than 1 MiB, or the one \
                                 before it is still on its way";
                    self.tell(News::Notice(words.to_owned()));
                }
            }
            Command::TakeControl => connection.take_control(now),
            Command::Figures(wants) => {
                self.wants_figures = wants || self.task.records.wants_figures();
            }
            Command::Leave => connection.leave(now),
        }
    }

    fn tell(&self, news: News) {
        // With nobody to read, or too much unread, it does not matter.
        let _unread = self.news.try_send(news);
        self.shared.wake();
    }
}
