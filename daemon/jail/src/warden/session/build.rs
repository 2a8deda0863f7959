//! Builds a session: its stage, its groups, its home, its three jails.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::SocketType;
use sandbox_protocol::local::VERSION;
use sandbox_protocol::local::worker::{FromWarden, WorkerPlan};
use sandbox_protocol::{SessionId, codec};

use super::worker::Succession;
use super::{Gate, Phase, Session, Turn};
use crate::cgroup::{SessionGroups, Shortage};
use crate::jail::{Jail, Order, Seats};
use crate::layer::LayerError;
use crate::limits::START_TIMEOUT;
use crate::plan::{self, JailKind, Plan, Programs};
use crate::warden::ground::Ground;
use crate::warden::home::{Opening, Owner};
use crate::warden::log::JailLog;
use crate::warden::request::Wanted;
use crate::warden::stage::{Geometry, Stage};
use crate::warden::wire;

impl Session {
    /// Begins to build. An error leaves nothing behind.
    pub(crate) fn start(wanted: Wanted, turn: &mut Turn<'_>) -> Result<Self, LayerError> {
        Ground::check_parts()?;
        let ground = turn.ground;
        let runtime = &ground.store.runtime;
        let programs = wanted.ids.of(JailKind::Programs);
        let stage = Stage::create(runtime, wanted.session, wanted.screen, programs)
            .map_err(|error| LayerError::new("stage", error))?;
        let name = format!("sandbox-{}/{}", ground.store.node, wanted.session);
        let groups = SessionGroups::create(
            &ground.own,
            &name,
            ground.ceilings,
            ground.unlimited,
            ground.sys,
        );
        let (groups, weaker) = match groups {
            Ok(made) => made,
            Err(error) => {
                // An empty directory that stays is swept at the next start.
                let _left = stage.remove(runtime);
                return Err(error);
            }
        };
        let mut session = Self {
            phase: Phase::Starting {
                deadline: turn.now + START_TIMEOUT,
            },
            stage,
            jails: BTreeMap::new(),
            logs: BTreeMap::new(),
            home: None,
            worker: None,
            worker_ready: None,
            succession: Succession::default(),
            programs: Gate::Building,
            shortage: watch_memory(wanted.session, &groups),
            groups,
            wanted,
            weaker,
            began: turn.now,
        };
        if let Err(error) = session.begin(turn) {
            session.refuse(&error, turn);
        }
        Ok(session)
    }

    /// The home opens while display and worker build themselves.
    fn begin(&mut self, turn: &Turn<'_>) -> Result<(), LayerError> {
        let ground = turn.ground;
        let home = Opening::start(
            ground.store.homes.as_fd(),
            ground.null.as_fd(),
            &self.wanted.user_name,
            Owner {
                uid: self.wanted.ids.of(JailKind::Programs),
                former: ground.former_owner,
            },
            turn.now,
        );
        self.home = Some(home.map_err(|error| LayerError::new("home", error))?);
        self.start_display(turn)?;
        self.start_worker(turn)
    }

    fn start_display(&mut self, turn: &Turn<'_>) -> Result<(), LayerError> {
        let ground = turn.ground;
        let plan = plan::display(self.wanted.screen, &self.stage.cookie, &ground.shell);
        let (log, writer) = pipe()?;
        let seats = Seats {
            stdio: [ground.null.as_fd(), writer.as_fd(), writer.as_fd()],
            passed: vec![self.stage.listener.as_fd(), self.stage.framebuffer.as_fd()],
            executable: None,
            mounts: Vec::new(),
        };
        let jail = self.jail(turn, &plan, seats, &ground.filters.display)?;
        self.jails.insert(JailKind::Display, jail);
        self.logs.insert(JailKind::Display, JailLog::new(log));
        Ok(())
    }

    pub(super) fn start_worker(&mut self, turn: &Turn<'_>) -> Result<(), LayerError> {
        let ground = turn.ground;
        let (ours, theirs) =
            wire::pair(SocketType::SEQPACKET).map_err(|it| LayerError::new("worker", it))?;
        let (log, writer) = pipe()?;
        let seats = Seats {
            stdio: [theirs.as_fd(), writer.as_fd(), writer.as_fd()],
            passed: Vec::new(),
            executable: Some(ground.executable.as_fd()),
            mounts: Vec::new(),
        };
        let jail = self.jail(turn, &plan::worker(), seats, &ground.filters.worker)?;
        self.jails.insert(JailKind::Worker, jail);
        self.logs.insert(JailKind::Worker, JailLog::new(log));
        self.tell_worker_its_plan(ground, &ours)
            .map_err(|it| LayerError::new("worker", it))?;
        self.worker = Some(ours);
        Ok(())
    }

    /// Connections that Xvfb has not accepted wait in the socket's backlog.
    fn tell_worker_its_plan(&mut self, ground: &Ground<'_>, worker: &OwnedFd) -> io::Result<()> {
        let geometry = Geometry::of(self.wanted.screen);
        let (begin, taken_over) = self.succession.next();
        let plan = FromWarden::Start(WorkerPlan {
            version: VERSION,
            begin,
            screen_size: self.wanted.screen,
            size: self.wanted.size,
            pixels_offset: geometry.pixels_offset,
            stride: geometry.stride,
            cookie: self.stage.cookie,
            fps_max: ground.fps_max,
            encoder_threads: ground.encoder_threads,
            codec: ground.codec.clone(),
            log_filter: ground.log_filter.clone(),
        });
        let bytes = codec::encode(&plan).map_err(io::Error::other)?;
        let own = taken_over.map_or_else(|| self.stage.connect(), Ok)?;
        let spare = self.stage.connect()?;
        let descriptors = [
            self.stage.framebuffer.as_fd(),
            own.as_fd(),
            spare.as_fd(),
            self.stage.notes.as_fd(),
        ];
        wire::send(worker, &bytes, &descriptors)?;
        self.succession.next_spare = Some(spare);
        Ok(())
    }

    pub(super) fn start_programs(
        &mut self,
        turn: &Turn<'_>,
        home: &OwnedFd,
    ) -> Result<(), LayerError> {
        let ground = turn.ground;
        let socket = self
            .stage
            .socket_mount()
            .map_err(|error| LayerError::new("x_socket", error))?;
        let plan = plan::programs(&Programs {
            user_name: &self.wanted.user_name,
            cookie: &self.stage.cookie,
        });
        let null = ground.null.as_fd();
        let seats = Seats {
            stdio: [null, null, null],
            passed: Vec::new(),
            executable: None,
            mounts: vec![socket.as_fd(), home.as_fd()],
        };
        let jail = self.jail(turn, &plan, seats, &ground.filters.programs)?;
        self.jails.insert(JailKind::Programs, jail);
        Ok(())
    }

    fn jail(
        &self,
        turn: &Turn<'_>,
        plan: &Plan,
        seats: Seats<'_>,
        filter: &seccompiler::BpfProgram,
    ) -> Result<Jail, LayerError> {
        let birthplace = self.groups.birthplace(plan.kind)?;
        Jail::start(&Order {
            plan,
            group: birthplace.as_ref().map(AsFd::as_fd),
            outer_id: self.wanted.ids.of(plan.kind),
            seats,
            filter,
            doors: &self.groups.doors(plan.kind)?,
            sys: turn.ground.sys,
            now: turn.now,
        })
    }
}

/// Without it a program that is killed for memory dies unexplained, and the desktop still lives.
fn watch_memory(session: SessionId, groups: &SessionGroups) -> Option<Shortage> {
    groups
        .watch_memory()
        .inspect_err(|error| tracing::warn!(%session, %error, "memory is not watched"))
        .ok()
}

fn pipe() -> Result<(io::PipeReader, io::PipeWriter), LayerError> {
    io::pipe().map_err(|error| LayerError::new("log", error))
}
