//! The media thread: sockets, timers and commands around the viewers. Decides nothing itself.

mod audience;
mod natives;
mod sending;
mod serving;
mod tasks;
mod tunnels;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use sandbox_protocol::{SessionId, ViewerId};
use sandbox_quic::Handle;
use smol::{LocalExecutor, Task, Timer};
use str0m::ice::StunMessage;
use str0m::net::{Protocol, Receive};

use self::audience::Audience;
use self::tasks::{keep_flushing, keep_receiving, keep_time, serve_connection};
use super::demux::{Carrier, Demux, Kind, Near, Path, Remote, classify};
use super::member::Member;
use super::native::Natives;
use super::offer::Answerer;
use super::socket::MediaSocket;
use super::tcp::Connection;
use super::timeline::Timeline;
use super::tunnel::{self, Tunnel};
use super::viewer::{Begin, Viewer};
use super::worker_link::WorkerLink;
use super::{
    AckPacket, Attach, AttachError, Attached, Command, LeftReason, MediaConfig, StreamCounters,
    ViewerEvent,
};
use crate::clock;

/// TCP connections that may be open at once: one per viewer and as many strangers.
const CONNECTIONS_MAX: usize = 256;

/// Time that a worker has to say what it counted.
const COUNT_MAX: Duration = Duration::from_secs(1);

/// Questions about one stream that wait for the worker's answer; older ones are dropped.
const COUNTING_MAX: usize = 16;

/// What the thread is started with.
pub(super) struct Setup {
    pub(super) sockets: Vec<MediaSocket>,
    pub(super) answerer: Answerer,
    pub(super) natives: Natives,
    pub(super) config: MediaConfig,
}

/// Runs until every handle is dropped. A daemon without this thread would answer every page in
/// vain, so one that breaks takes the process along, and the warden starts the next.
pub(super) fn run_or_abort(setup: Setup, commands: &Receiver<Command>) {
    if catch_unwind(AssertUnwindSafe(|| run(setup, commands))).is_err() {
        tracing::error!("the media thread broke");
        std::process::abort();
    }
}

fn run(setup: Setup, commands: &Receiver<Command>) {
    let executor = Rc::new(LocalExecutor::new());
    let hub = Rc::new(Hub::new(setup, executor.clone()));
    smol::block_on(executor.run(async {
        let mut tasks: Vec<Task<()>> = (0..hub.sockets.len())
            .flat_map(|index| {
                [
                    executor.spawn(keep_receiving(hub.clone(), index)),
                    executor.spawn(keep_flushing(hub.clone(), index)),
                ]
            })
            .collect();
        tasks.push(executor.spawn(keep_time(hub.clone())));
        while let Ok(command) = commands.recv().await {
            hub.handle_command(command);
        }
        hub.end_all();
        for task in tasks {
            task.cancel().await;
        }
    }));
}

struct Hub {
    executor: Rc<LocalExecutor<'static>>,
    sockets: Vec<MediaSocket>,
    flushes: Vec<(Sender<()>, Receiver<()>)>,
    answerer: Answerer,
    natives: RefCell<Natives>,
    /// Native viewers of which something came in the batch at hand.
    stirred: RefCell<BTreeSet<ViewerId>>,
    /// What QUIC writes its datagrams to.
    quic_buffer: RefCell<Vec<u8>>,
    config: MediaConfig,
    timeline: Timeline,
    demux: RefCell<Demux>,
    seats: RefCell<BTreeMap<ViewerId, Rc<Seat>>>,
    audiences: RefCell<BTreeMap<SessionId, Rc<Audience>>>,
    connections: RefCell<HashMap<SocketAddr, Rc<Connection>>>,
    /// By the address that QUIC knows each by.
    tunnels: RefCell<BTreeMap<SocketAddr, Rc<Tunnel>>>,
    last_viewer: Cell<u64>,
    last_tunnel: Cell<u64>,
    alarm: Alarm,
}

/// Where a viewer is to sit.
struct Place {
    audience: Rc<Audience>,
    /// None: that of the others.
    worker: Option<WorkerLink>,
}

/// A viewer and what belongs to it outside.
struct Seat {
    id: ViewerId,
    member: RefCell<Member>,
    way: Way,
    audience: Rc<Audience>,
    events: Sender<ViewerEvent>,
    span: tracing::Span,
}

/// How a viewer is reached beside its own connection.
enum Way {
    /// A page, where copies of its input are acknowledged.
    Page(Sender<AckPacket>),
    /// Nowhere: the connection of a native viewer carries everything.
    Native(Handle),
}

/// The thread's one timer.
struct Alarm {
    armed: Cell<Option<Instant>>,
    sooner: (Sender<()>, Receiver<()>),
}

impl Alarm {
    /// Makes sure that the timer fires by `at`. A later time needs nothing: it fires early, finds
    /// nothing due, and is armed again.
    fn set(&self, at: Instant) {
        if self.armed.get().is_none_or(|armed| at < armed) {
            let _already_told = self.sooner.0.try_send(());
        }
    }
}

impl Hub {
    fn new(setup: Setup, executor: Rc<LocalExecutor<'static>>) -> Self {
        Self {
            executor,
            flushes: setup
                .sockets
                .iter()
                .map(|_| async_channel::bounded(1))
                .collect(),
            sockets: setup.sockets,
            answerer: setup.answerer,
            natives: RefCell::new(setup.natives),
            stirred: RefCell::default(),
            quic_buffer: RefCell::default(),
            config: setup.config,
            timeline: Timeline::new(clock::now(), clock::micros()),
            demux: RefCell::default(),
            seats: RefCell::default(),
            audiences: RefCell::default(),
            connections: RefCell::default(),
            tunnels: RefCell::default(),
            last_viewer: Cell::new(0),
            last_tunnel: Cell::new(0),
            alarm: Alarm {
                armed: Cell::new(None),
                sooner: async_channel::bounded(1),
            },
        }
    }

    fn handle_command(self: &Rc<Self>, command: Command) {
        // Nobody waits for an answer any more where one cannot be sent.
        match command {
            Command::Attach(attach, reply) => {
                let _unwanted = reply.try_send(self.attach(*attach));
            }
            Command::Reoffer(viewer, sdp, reply) => {
                let _unwanted = reply.try_send(self.reoffer(viewer, &sdp));
            }
            Command::Rewire {
                viewer,
                control,
                media,
                reply,
            } => {
                let _unwanted = reply.try_send(self.rewire(viewer, control, media));
            }
            Command::Control(viewer, permit) => self.control(viewer, permit),
            Command::Detach(viewer) => {
                if let Some(seat) = self.seat(viewer) {
                    self.end(&seat, None);
                }
            }
            Command::Input(viewer, packet) => {
                if let Some(seat) = self.seat(viewer) {
                    self.serve_page(&seat, |viewer| viewer.handle_copy(clock::now(), packet));
                }
            }
            Command::Count(session, reply) => self.count(session, reply),
            Command::End(reply) => {
                self.end_all();
                let hub = self.clone();
                let told = async move {
                    hub.flush_tunnels().await;
                    let _unwanted = reply.try_send(());
                };
                self.executor.spawn(told).detach();
            }
            Command::Tcp(stream, peer) => self.accept_tcp(stream, peer),
            Command::Tunnel(opened) => self.open_tunnel(opened),
            Command::Native(command) => self.handle_native_command(command),
        }
    }

    fn attach(self: &Rc<Self>, attach: Attach) -> Result<Attached, AttachError> {
        let now = clock::now();
        let place = self.place(attach.session, attach.worker)?;
        let answer = self.answerer.answer(&attach.sdp, now)?;
        let begin = Begin {
            rtc: answer.rtc,
            timeline: self.timeline,
            size: attach.size,
            bitrate_max: self.config.bitrate_max,
        };
        let member = Member::Page(Box::new(Viewer::new(begin, now)));
        let seat = self.sit(
            self.next_viewer(),
            place,
            member,
            Way::Page(attach.acks),
            attach.events,
        );
        self.demux.borrow_mut().add_ufrag(seat.id, answer.ufrag);
        self.choose_pictures(&seat.audience);
        self.serve(&seat, |member| member.handle_timeout(now));
        Ok(Attached {
            viewer: seat.id,
            answer: answer.sdp,
        })
    }

    /// The audience of a session, and the worker that a viewer who joins it brings along.
    fn place(
        &self,
        session: SessionId,
        worker: Option<[OwnedFd; 2]>,
    ) -> Result<Place, AttachError> {
        let known = self.audiences.borrow().get(&session).cloned();
        let worker = match (worker, &known) {
            (Some([control, media]), _) => {
                Some(WorkerLink::new(control, media).map_err(AttachError::Worker)?)
            }
            (None, Some(_)) => None,
            (None, None) => return Err(AttachError::NoWorker),
        };
        let audience =
            known.unwrap_or_else(|| Rc::new(Audience::new(session, self.config.workers)));
        Ok(Place { audience, worker })
    }

    fn next_viewer(&self) -> ViewerId {
        let id = ViewerId(self.last_viewer.get() + 1);
        self.last_viewer.set(id.0);
        id
    }

    fn sit(
        self: &Rc<Self>,
        id: ViewerId,
        place: Place,
        member: Member,
        way: Way,
        events: Sender<ViewerEvent>,
    ) -> Rc<Seat> {
        let Place { audience, worker } = place;
        let session = audience.session;
        self.audiences
            .borrow_mut()
            .insert(session, audience.clone());
        let seat = Rc::new(Seat {
            id,
            member: RefCell::new(member),
            way,
            audience: audience.clone(),
            events,
            span: tracing::info_span!("viewer", %session, viewer = id.0),
        });
        self.seats.borrow_mut().insert(id, seat.clone());
        audience.add(seat.clone());
        // It may see nothing itself, and hold the worker up.
        if let Some(leader) = audience.leader().filter(|it| it.id != id) {
            self.serve(&leader, |_| Ok(()));
        }
        match worker {
            Some(worker) => self.wire(&audience, worker),
            None => self.greet(&seat),
        }
        seat
    }

    fn reoffer(&self, viewer: ViewerId, sdp: &str) -> Result<String, AttachError> {
        let seat = self.seat(viewer).ok_or(AttachError::Unknown(viewer))?;
        let now = clock::now();
        let mut answer = Err(AttachError::Unknown(viewer));
        self.serve_page(&seat, |viewer| {
            answer = viewer.handle_offer(now, sdp);
            Ok(())
        });
        let (sdp, ufrag) = answer?;
        self.demux.borrow_mut().add_ufrag(viewer, ufrag);
        Ok(sdp)
    }

    fn count(self: &Rc<Self>, session: SessionId, reply: Sender<StreamCounters>) {
        let Some(audience) = self.audiences.borrow().get(&session).cloned() else {
            return;
        };
        let mut counting = audience.counting.borrow_mut();
        if counting.len() == COUNTING_MAX {
            counting.remove(0);
        }
        counting.push(reply.clone());
        drop(counting);
        self.ask_counters(&audience);
        // The asker does not wait for ever for a worker that does not answer.
        self.executor
            .spawn(async move {
                Timer::after(COUNT_MAX).await;
                reply.close();
            })
            .detach();
    }

    fn accept_tcp(self: &Rc<Self>, stream: TcpStream, peer: SocketAddr) {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        if self.connections.borrow().len() >= CONNECTIONS_MAX {
            tracing::warn!(%peer, "too many ICE-TCP connections");
            return;
        }
        match Connection::new(stream) {
            Ok(connection) => {
                let connection = Rc::new(connection);
                self.connections
                    .borrow_mut()
                    .insert(peer, connection.clone());
                self.executor
                    .spawn(serve_connection(self.clone(), connection, peer))
                    .detach();
            }
            Err(error) => tracing::debug!(%error, %peer, "cannot use ICE-TCP connection"),
        }
    }

    /// A datagram from anybody.
    fn handle_datagram(&self, remote: Remote, near: Near, local: SocketAddr, datagram: &[u8]) {
        let now = clock::now();
        let kind = classify(datagram);
        if kind == Kind::Quic && remote.carrier == Carrier::Udp {
            // Its true source may be anything.
            if tunnel::is_tunnel(remote.address.ip()) {
                return;
            }
            return self.handle_quic(now, remote.address, near, datagram);
        }
        let Some(id) = self.owner(kind, remote, datagram) else {
            return;
        };
        let (Some(seat), Some(told)) = (
            self.seat(id),
            self.answerer.candidates().told(remote.carrier, local),
        ) else {
            return;
        };
        let protocol = match remote.carrier {
            Carrier::Udp => Protocol::Udp,
            Carrier::Tcp => Protocol::Tcp,
        };
        let Ok(received) = Receive::new(protocol, remote.address, told, datagram) else {
            return;
        };
        self.serve_page(&seat, |viewer| {
            let is_accepted = viewer.handle_datagram(now, received)?;
            if is_accepted && kind == Kind::Stun {
                let path = Path { viewer: id, near };
                self.demux.borrow_mut().learn(remote, path);
            }
            Ok(())
        });
    }

    fn owner(&self, kind: Kind, remote: Remote, datagram: &[u8]) -> Option<ViewerId> {
        let demux = self.demux.borrow();
        let proven = || demux.path(remote).map(|it| it.viewer);
        match kind {
            Kind::Stun => {
                // By name first: an address may have passed to another page since.
                let message = StunMessage::parse(datagram).ok()?;
                let named = message
                    .split_username()
                    .and_then(|(ours, _)| demux.by_ufrag(ours));
                named.or_else(proven)
            }
            Kind::Dtls | Kind::Rtp => proven(),
            Kind::Quic | Kind::Unknown => None,
        }
    }

    fn end_all(&self) {
        for seat in self.all_seats() {
            self.end(&seat, Some(LeftReason::Closed));
        }
        self.dismiss_all();
    }

    fn seat(&self, viewer: ViewerId) -> Option<Rc<Seat>> {
        self.seats.borrow().get(&viewer).cloned()
    }

    fn all_audiences(&self) -> Vec<Rc<Audience>> {
        self.audiences.borrow().values().cloned().collect()
    }

    fn all_seats(&self) -> Vec<Rc<Seat>> {
        self.seats.borrow().values().cloned().collect()
    }
}
