//! What the thread does: a connection, its socket and its clock, one attempt after the other.

mod apart;
mod beside;
mod join;
mod news;
mod updates;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use async_signal::{Signal, Signals};
use futures_lite::future;
use sandbox_protocol::stream::input_sender::InputSender;
use sandbox_protocol::wire::control::Codec;
use sandbox_protocol::wire::input::Event;
use sandbox_quic::{Arrived, Fingerprint};
use smol::Timer;

use self::beside::Search;
use self::join::{Came, Joined};
use super::host::{fresh_input, resolve, signalled};
use super::memory::Network;
use super::race::{Transport, Way};
use super::rates::Rates;
use super::{Command, Ended, News, Shared, Task};
use crate::carrier::Carrier;
use crate::clock;
use crate::connection::{CODECS, Connection, End, Told};
use crate::figures::Figures;
use crate::origin::Origin;
use crate::probe::{Outcome, Probe};
use crate::script;
use crate::socket::{Slots, Socket};

/// Between two attempts to connect again: the first, and the longest.
const RETRY_MIN: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(15);

/// A server that was heard each three seconds at least is silent for so long: perhaps this machine
/// has another address. A fresh socket finds out, and the connection goes on there.
const REBIND_AFTER: Duration = Duration::from_secs(4);

/// Refusals by the kernel, one after the other, before a server counts as gone.
const REFUSALS_MAX: u32 = 3;

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
    /// Where the server says that its HTTP port is.
    origin: Option<Origin>,
    was_live: bool,
    /// When a whole picture was asked for, and when it will be.
    whole_asked: Option<Instant>,
    whole_due: Option<Instant>,
    rates: Rates,
    /// Between two connections.
    input: Option<InputSender>,
    is_shown: bool,
    /// What is offered: less once something of it cannot be decoded.
    codecs: &'static [Codec],
    slots: Slots,
    /// Those that end the program: it leaves before. None where the kernel refuses.
    signals: Option<Signals>,
}

/// How a server was reached, and from where.
type Place<'a> = (Way, &'a Option<Network>);

/// What follows a connection.
enum Next {
    Nothing(End),
    /// One that was answered where this one was not.
    Other(Box<Joined>),
}

/// What ends a wait.
enum Wake {
    Came(io::Result<()>),
    Beside(Came),
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
            origin: None,
            was_live: false,
            whole_asked: None,
            whole_due: None,
            input: None,
            is_shown: true,
            codecs: CODECS,
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
        if let Some(rates) = self.rates.poll_last() {
            let _nobody_keeps_them = self.task.keeps.send(rates);
        }
        let failed = self.probe.as_mut().map(|it| it.fail(&end.to_string()));
        Ended {
            probe: self.outcome.take().or(failed),
            end,
        }
    }

    /// One connection, by the first way on which the server answers.
    async fn connect(&mut self) -> End {
        let addresses = match self.look_up().await {
            Ok(addresses) => addresses,
            Err(end) => return end,
        };
        let mut joined = match self.join(addresses).await {
            Ok(joined) => joined,
            Err(end) => return end,
        };
        loop {
            match self.carry_on(joined).await {
                Next::Nothing(end) => return end,
                Next::Other(next) => joined = *next,
            }
        }
    }

    /// A connection, from the server's answer to its end.
    async fn carry_on(&mut self, mut joined: Joined) -> Next {
        if let Err(error) = self.shared.view().screen.restart() {
            return Next::Nothing(End::Broken(error.to_string()));
        }
        self.whole_due = None;
        let way = joined.carrier.way();
        self.figures.restart(way);
        if let Some(probe) = &mut self.probe {
            probe.handle_answered(way);
        }
        let now = clock::now();
        let input = self.input.take().map_or_else(fresh_input, Ok);
        match input {
            Ok(input) => {
                let size = self.task.size;
                joined.connection.take_over(now, input, size, self.is_shown);
            }
            Err(error) => return Next::Nothing(End::Broken(error.to_string())),
        }
        let mut search = Search::new(self.task.transport);
        let next = self.drive(&mut joined, &mut search).await;
        search.abandon(clock::now()).await;
        joined.carrier.finish().await;
        let has_left = matches!(next, Next::Nothing(End::Left));
        if joined.connection.loses_text() && !has_left {
            let words = "a text may not have been pasted: its connection is over";
            self.tell(News::Notice(words.to_owned()));
        }
        self.input = Some(joined.connection.into_input(clock::now()));
        next
    }

    /// The server's addresses; none are needed where UDP is not wanted.
    async fn look_up(&self) -> Result<Vec<SocketAddr>, End> {
        if self.task.transport == Transport::Only(Way::WebSocket) {
            return Ok(Vec::new());
        }
        let (host, port) = (self.task.address.host.clone(), self.task.address.port);
        let signal = async {
            signalled(self.signals.as_ref()).await;
            Err(End::Left)
        };
        let found = async {
            let found = resolve(host, port).await;
            found.map_err(|error| End::Unknown(error.to_string()))
        };
        future::or(found, signal).await
    }

    async fn drive(&mut self, joined: &mut Joined, search: &mut Search) -> Next {
        let Joined {
            carrier,
            connection,
            network,
        } = joined;
        let server = carrier.server();
        let mut refusals = 0;
        let mut rebind_at = clock::now() + REBIND_AFTER;
        let mut buffer = Vec::new();
        loop {
            let end = self.turn(connection, (carrier.way(), network));
            let now = clock::now();
            let is_silent = search.poll_rebind(now, (carrier, connection));
            let next = search.turn(self, now, server).await;
            if next.is_some() {
                connection.supersede(now);
            }
            carrier.send_all(now, connection, &mut buffer).await;
            if let Some(next) = next {
                return Next::Other(Box::new(next));
            }
            if let Some(end) = end {
                return Next::Nothing(end);
            }
            let rebind = matches!(carrier, Carrier::Udp(_)).then_some(rebind_at);
            if is_silent || rebind.is_some_and(|it| it <= now) {
                rebind_at = now + REBIND_AFTER;
                // Without a network there is none to bind to: the old one may come back.
                if let Ok(fresh) = Socket::new(server) {
                    self.rates.handle_network(fresh.network());
                    *carrier = Carrier::Udp(fresh);
                    connection.handle_network_changed(now);
                    continue;
                }
            }
            let due = self.next_due(now, connection);
            let due = [due, rebind, search.poll_timeout()];
            let due = due.into_iter().flatten().min();
            match self.wait((carrier, search), due).await {
                Wake::Came(Ok(())) => {
                    refusals = 0;
                    rebind_at = clock::now() + REBIND_AFTER;
                    carrier.packets(&self.slots, |bytes| {
                        let (from, to) = (server, None);
                        let arrived = Arrived { from, to, bytes };
                        connection.handle_datagram(clock::now(), arrived);
                    });
                }
                Wake::Came(Err(error)) if carrier.way() == Way::WebSocket => {
                    return Next::Nothing(End::Cut(error.to_string()));
                }
                // The kernel tells of an answer that nobody listens.
                Wake::Came(Err(_)) if refusals == REFUSALS_MAX => {
                    return Next::Nothing(End::Silent);
                }
                Wake::Came(Err(_)) => refusals += 1,
                Wake::Command(command) => {
                    self.obey(connection, command.unwrap_or(Command::Leave));
                    while let Ok(command) = self.commands.try_recv() {
                        self.obey(connection, command);
                    }
                }
                Wake::Beside(came) => search.handle(self, came),
                Wake::Time => {
                    let now = clock::now();
                    connection.handle_timeout(now);
                    search.handle_timeout(now);
                }
            }
        }
    }

    async fn wait(
        &mut self,
        (carrier, search): (&mut Carrier, &mut Search),
        due: Option<Instant>,
    ) -> Wake {
        let came = async { Wake::Came(carrier.receive(&mut self.slots).await) };
        let beside = async { Wake::Beside(search.receive().await) };
        let command = async { Wake::Command(self.commands.recv().await.ok()) };
        let signal = async {
            signalled(self.signals.as_ref()).await;
            Wake::Command(None)
        };
        let time = async {
            due.map_or_else(Timer::never, Timer::at).await;
            Wake::Time
        };
        let asked = future::or(command, signal);
        let came = future::or(came, beside);
        future::or(came, future::or(asked, time)).await
    }

    fn next_due(&self, now: Instant, connection: &mut Connection) -> Option<Instant> {
        let second = self.wants_figures.then(|| self.figures.next_second());
        let others = [self.due_apart(now), second, self.rates.poll_timeout()];
        let others = others.into_iter().chain([self.whole_due]).flatten();
        others.chain(connection.poll_timeout()).min()
    }

    /// Takes what the connection has, and does what is due.
    fn turn(&mut self, connection: &mut Connection, from: Place<'_>) -> Option<End> {
        let end = self.take_told(connection, from);
        self.apply_updates(connection);
        if end.is_some() {
            return end;
        }
        self.act(connection);
        let now = clock::now();
        self.ask_whole(now, connection);
        if self.wants_figures && self.figures.next_second() <= now {
            let (counters, round_trip) = (connection.counters(), connection.round_trip());
            let second = self.figures.handle_second(now, counters, round_trip);
            self.task.records.write_second(&self.figures);
            self.shared.view().figures = second;
            self.shared.wake();
        }
        if let Some(rates) = self.rates.poll_due(now) {
            // Where the one before is still being written, the next will tell.
            let _too_soon = self.task.keeps.try_send(rates);
        }
        // Script and probe may have left.
        self.take_told(connection, from)
    }

    fn take_told(&mut self, connection: &mut Connection, from: Place<'_>) -> Option<End> {
        while let Some(told) = connection.poll_told() {
            if let Some(end) = self.handle_told(told, from) {
                return Some(end);
            }
        }
        None
    }

    fn handle_told(&mut self, told: Told, from: Place<'_>) -> Option<End> {
        match told {
            Told::FirstUse(shown) => {
                self.shown = Some(shown);
                self.tell(News::FirstUse(shown));
            }
            Told::Welcome(ticket) => self.task.credentials.handle_welcome(ticket),
            Told::Attached {
                features, notices, ..
            } => self.handle_attached(from, features, notices),
            Told::PublicUrl(origin) => self.origin = Some(origin),
            Told::Config(config) => {
                self.figures.handle_codec(config.codec);
                self.shared.view().screen.configure(&config);
            }
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
            Command::Shown(is_shown) => {
                self.is_shown = is_shown;
                connection.handle_shown(now, is_shown);
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
}
