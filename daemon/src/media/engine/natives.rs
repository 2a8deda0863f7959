//! Native viewers on the media thread: QUIC between the sockets and the connections, and what the
//! daemon says to them.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Instant;

use sandbox_protocol::ViewerId;
use sandbox_protocol::wire::codes::CloseCode;
use sandbox_protocol::wire::control::{FromServer, StreamConfig};
use sandbox_protocol::wire::datagram::Epoch;
use sandbox_quic::{Arrived, Bytes, Closed, Event, Handle, StreamId};

use super::{Hub, Seat, Way};
use crate::clock;
use crate::media::demux::Near;
use crate::media::member::Member;
use crate::media::native::{
    Ask, AttachNative, Begin, Effect, NativeCommand, NativeViewer, Natives, PeerId, Refusal,
};
use crate::media::tunnel;
use crate::media::{AttachError, LeftReason};

/// What a proof of a sign-in is made over (RFC 8446 §7.5).
const EXPORTER: &[u8] = b"EXPORTER-sandbox-auth";

impl Hub {
    /// A datagram of somebody's QUIC; [`settle_natives`](Self::settle_natives) follows.
    pub(super) fn handle_quic(&self, now: Instant, from: SocketAddr, near: Near, bytes: &[u8]) {
        let to = near.ip.or_else(|| {
            let socket = self.sockets.get(near.socket)?;
            Some(socket.local().ip()).filter(|it| !it.is_unspecified())
        });
        let arrived = Arrived { from, to, bytes };
        let mut natives = self.natives.borrow_mut();
        natives.endpoint.handle_datagram(now, arrived);
    }

    /// Lets time pass for connections.
    pub(super) fn handle_native_timeout(&self, now: Instant) {
        let mut natives = self.natives.borrow_mut();
        if natives.poll_timeout().is_none_or(|at| at > now) {
            return;
        }
        let refused = natives.handle_timeout(now);
        drop(natives);
        for (handle, refusal) in refused {
            self.refuse(handle, refusal);
        }
        self.settle_natives();
    }

    /// Does what QUIC has told, and sends what follows.
    pub(super) fn settle_natives(&self) {
        let now = clock::now();
        loop {
            let event = self.natives.borrow_mut().endpoint.poll_event();
            let Some((handle, event)) = event else { break };
            // What a panic leaves half done in a connection goes with the connection.
            let act = || self.handle_event(now, handle, event);
            let acted = catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|_| {
                tracing::error!("a native viewer's connection broke; it is ended");
                Err(broken())
            });
            if let Err(refusal) = acted {
                self.refuse(handle, refusal);
            }
        }
        self.transmit_natives(now);
        let mut waiting = self.stirred.take();
        waiting.extend(self.natives.borrow().held());
        for seat in waiting.into_iter().filter_map(|it| self.seat(it)) {
            self.serve(&seat, |_| Ok(()));
        }
    }

    fn handle_event(&self, now: Instant, handle: Handle, event: Event) -> Result<(), Refusal> {
        match event {
            Event::Connected(_) => self.handle_native_connected(now, handle)?,
            Event::Datagram(bytes) => self.handle_viewer_datagram(now, handle, &bytes)?,
            Event::Read {
                stream,
                bytes,
                is_end,
            } => self.handle_read(now, handle, stream, (&bytes, is_end))?,
            Event::Reset { .. } => return Err(goodbye("the control stream was reset")),
            Event::Writable(_) => self.handle_writable(handle),
            Event::Stopped { stream, code } => {
                self.natives.borrow_mut().reset(handle, stream, code);
                self.handle_over(handle, stream, NativeViewer::handle_stream_stopped);
            }
            Event::Finished(stream) => self.handle_over(handle, stream, |viewer, update| {
                viewer.handle_stream_arrived(now, update);
            }),
            // Nothing is put in where it would not fit.
            Event::Room => (),
            Event::Closed(why) => self.handle_closed(handle, &why),
        }
        Ok(())
    }

    fn handle_native_connected(&self, now: Instant, handle: Handle) -> Result<(), Refusal> {
        let mut natives = self.natives.borrow_mut();
        let Some(address) = natives.endpoint.remote(handle) else {
            return Ok(());
        };
        if natives.has_tunnel(address) {
            return Err(Refusal {
                code: CloseCode::ProtocolViolation,
                words: "a WebSocket carries one connection".to_owned(),
            });
        }
        natives.handle_connected(now, handle, self.client_at(address));
        Ok(())
    }

    fn handle_viewer_datagram(
        &self,
        now: Instant,
        handle: Handle,
        bytes: &[u8],
    ) -> Result<(), Refusal> {
        let viewer = self.natives.borrow_mut().count_datagram(now, handle)?;
        // What is still on its way to a session that was left is not held against anybody.
        let Some(seat) = viewer.and_then(|it| self.seat(it)) else {
            return Ok(());
        };
        // What follows is sent when all that has come is known: one answer to many questions.
        self.stirred.borrow_mut().insert(seat.id);
        let entered = seat.span.enter();
        let acted = self.guard(&seat, |member| match member {
            Member::Native(viewer) => viewer.handle_datagram(now, bytes),
            Member::Page(_) => Ok(()),
        });
        let acted = acted.and_then(|()| self.carry_out(&seat));
        drop(entered);
        self.conclude(&seat, acted);
        Ok(())
    }

    fn handle_read(
        &self,
        now: Instant,
        handle: Handle,
        stream: StreamId,
        (bytes, is_end): (&Bytes, bool),
    ) -> Result<(), Refusal> {
        let read = self
            .natives
            .borrow_mut()
            .handle_read(now, handle, stream, bytes);
        // What came before a message that is refused was good.
        self.carry_out_effects(now, handle)?;
        read?;
        if is_end {
            return Err(goodbye("the control stream has ended"));
        }
        Ok(())
    }

    /// A stream takes more: that of control, or that of an update.
    fn handle_writable(&self, handle: Handle) {
        self.natives.borrow_mut().flush(handle);
        if let Some(seat) = self.seat_of(handle) {
            self.serve(&seat, |_| Ok(()));
        }
    }

    /// An update's stream is over; the next update may be welcome by that.
    fn handle_over(
        &self,
        handle: Handle,
        stream: StreamId,
        tell: impl FnOnce(&mut NativeViewer, (Epoch, u32)),
    ) {
        let update = self.natives.borrow_mut().handle_over(handle, stream);
        if let (Some(update), Some(seat)) = (update, self.seat_of(handle)) {
            self.serve_native(&seat, |viewer| {
                tell(viewer, update);
                Ok(())
            });
        }
    }

    fn handle_closed(&self, handle: Handle, why: &Closed) {
        self.end_tunnel(handle, CloseCode::NoError);
        let Some(connection) = self.natives.borrow_mut().remove(handle) else {
            return;
        };
        tracing::debug!(peer = connection.id.0, ?why, "native viewer is gone");
        let reason = match why {
            Closed::TimedOut => LeftReason::IceTimeout,
            Closed::ByPeer { .. }
            | Closed::ByUs
            | Closed::Restarted
            | Closed::WrongKey
            | Closed::Broken(_) => LeftReason::Closed,
        };
        if let Some(seat) = connection.viewer.and_then(|it| self.seat(it)) {
            self.end(&seat, Some(reason));
        }
    }

    fn carry_out_effects(&self, now: Instant, handle: Handle) -> Result<(), Refusal> {
        loop {
            let effect = {
                let mut natives = self.natives.borrow_mut();
                natives
                    .get(handle)
                    .and_then(|it| it.conversation.poll_effect())
            };
            let Some(effect) = effect else { break };
            self.carry_out_effect(now, handle, effect)?;
        }
        self.natives.borrow_mut().flush(handle);
        Ok(())
    }

    fn carry_out_effect(
        &self,
        now: Instant,
        handle: Handle,
        effect: Effect,
    ) -> Result<(), Refusal> {
        let natives = &self.natives;
        match effect {
            Effect::Say(message) => natives.borrow_mut().say(handle, message),
            Effect::Announce { agent } => natives.borrow_mut().announce(handle, agent),
            Effect::SignIn(method) => {
                let exporter = natives.borrow().endpoint.exporter(handle, EXPORTER);
                let exporter = exporter.ok_or_else(broken)?;
                natives
                    .borrow()
                    .ask(handle, Ask::SignIn { method, exporter })
            }
            Effect::Attach {
                session,
                profile,
                size,
            } => natives.borrow().ask(
                handle,
                Ask::Attach {
                    session,
                    profile,
                    size,
                },
            ),
            Effect::TakeControl => natives.borrow().ask(handle, Ask::TakeControl),
            Effect::Detach => {
                if let Some(seat) = self.seat_of(handle) {
                    self.end(&seat, None);
                }
                natives.borrow().ask(handle, Ask::Detach)
            }
            Effect::Session(request) => {
                if let Some(seat) = self.seat_of(handle) {
                    self.serve_native(&seat, |viewer| viewer.handle_request(now, request));
                }
                Ok(())
            }
        }
    }

    /// Carries out what the daemon says to native viewers.
    pub(super) fn handle_native_command(self: &Rc<Self>, command: NativeCommand) {
        let now = clock::now();
        match command {
            NativeCommand::Welcome(peer, welcome) => self.converse(now, peer, |natives, handle| {
                let connection = natives.get(handle);
                if connection.is_some_and(|it| it.conversation.handle_welcome(welcome)) {
                    natives.endpoint.admit(handle);
                }
            }),
            NativeCommand::Refuse {
                peer,
                why,
                retry_after,
            } => self.converse(now, peer, |natives, handle| {
                if let Some(connection) = natives.get(handle) {
                    let conversation = &mut connection.conversation;
                    conversation.handle_refused(now, why, retry_after);
                }
            }),
            NativeCommand::Attach(attach, reply) => {
                let _unwanted = reply.try_send(self.attach_native(now, *attach));
            }
            NativeCommand::Tell(peer, message) => self.tell_native(now, peer, *message),
            NativeCommand::Dismiss { peer, code, words } => {
                let handle = self.natives.borrow().handle_of(peer);
                if let Some(handle) = handle {
                    self.dismiss(handle, &Refusal { code, words }, None);
                }
            }
        }
        self.settle_natives();
    }

    fn tell_native(&self, now: Instant, peer: PeerId, message: FromServer) {
        let handle = self.natives.borrow().handle_of(peer);
        if let (FromServer::Detached { .. }, Some(handle)) = (&message, handle)
            && let Some(seat) = self.seat_of(handle)
        {
            // Nothing of the session comes after the word that it is over.
            self.end(&seat, None);
        }
        self.converse(now, peer, |natives, handle| {
            if let Some(connection) = natives.get(handle) {
                connection.conversation.handle_told(message);
            }
        });
    }

    fn converse(&self, now: Instant, peer: PeerId, act: impl FnOnce(&mut Natives, Handle)) {
        let mut natives = self.natives.borrow_mut();
        let Some(handle) = natives.handle_of(peer) else {
            return;
        };
        act(&mut natives, handle);
        drop(natives);
        if let Err(refusal) = self.carry_out_effects(now, handle) {
            self.refuse(handle, refusal);
        }
    }

    fn attach_native(
        self: &Rc<Self>,
        now: Instant,
        attach: AttachNative,
    ) -> Result<ViewerId, AttachError> {
        let waiting = self.natives.borrow().attaching(attach.peer);
        let (handle, agreed, epoch) = waiting.ok_or(AttachError::NoPeer(attach.peer))?;
        let place = self.place(attach.session, attach.worker)?;
        let size = place.audience.shared.borrow().size();
        let config = StreamConfig {
            epoch: epoch.next().0,
            size: size.unwrap_or(attach.size),
            codec: agreed.video.codec,
            profile: agreed.video.profile,
            chroma: agreed.video.chroma,
            cache_mib: agreed.cache_mib,
        };
        let remote = self.natives.borrow().endpoint.remote(handle);
        let is_in_order = remote.is_some_and(|it| tunnel::is_tunnel(it.ip()));
        let begin = Begin {
            timeline: self.timeline,
            bitrate_max: self.config.bitrate_max,
            size: attach.size,
            config: config.clone(),
            epoch,
            is_in_order,
        };
        let attached = FromServer::Attached {
            session: attach.session,
            lease: attach.lease,
            config,
            notices: attach.notices,
        };
        self.converse(now, attach.peer, |natives, handle| {
            if let Some(connection) = natives.get(handle) {
                connection.conversation.handle_attached(attached);
            }
        });
        let member = Member::Native(Box::new(NativeViewer::new(begin, now)));
        let id = self.next_viewer();
        if let Some(connection) = self.natives.borrow_mut().get(handle) {
            connection.viewer = Some(id);
            let (peer, agent) = (connection.id.0, &connection.agent);
            tracing::info!(session = %attach.session, viewer = id.0, peer, agent, "native viewer is attached");
        }
        self.sit(id, place, member, Way::Native(handle), attach.events);
        Ok(id)
    }

    /// Hands to QUIC what a native viewer has ready, and to the network what QUIC has.
    pub(super) fn pump(&self, seat: &Rc<Seat>) -> Result<(), LeftReason> {
        let Way::Native(handle) = seat.way else {
            return Ok(());
        };
        loop {
            let now = clock::now();
            self.guard(seat, |member| match member {
                Member::Native(viewer) => self.natives.borrow_mut().pump(now, handle, viewer),
                Member::Page(_) => Ok(()),
            })?;
            self.transmit_natives(now);
            if !self.natives.borrow_mut().has_room(handle) {
                return Ok(());
            }
        }
    }

    /// A native viewer has left its session, its connection may stay.
    pub(super) fn unseat(&self, seat: &Seat, handle: Handle, reason: Option<&LeftReason>) {
        let mut natives = self.natives.borrow_mut();
        if let (Member::Native(viewer), Some(connection)) =
            (&*seat.member.borrow(), natives.get(handle))
        {
            connection.viewer = None;
            connection.epoch = viewer.epoch();
            connection.conversation.handle_left();
        }
        natives.reset_updates(handle);
        drop(natives);
        let refusal = match reason {
            Some(LeftReason::Malformed(words)) => Refusal {
                code: CloseCode::ProtocolViolation,
                words: words.clone(),
            },
            Some(LeftReason::Flood) => Refusal {
                code: CloseCode::Limit,
                words: "more input than anybody can type".to_owned(),
            },
            Some(LeftReason::Unread) => Refusal {
                code: CloseCode::Limit,
                words: "too much was left unread".to_owned(),
            },
            Some(LeftReason::Closed | LeftReason::IceTimeout | LeftReason::WorkerGone) | None => {
                return;
            }
        };
        self.dismiss(handle, &refusal, None);
        self.transmit_natives(clock::now());
    }

    /// The thread ends.
    pub(super) fn dismiss_all(&self) {
        let all = self.natives.borrow().all();
        let refusal = Refusal {
            code: CloseCode::Shutdown,
            words: "the server goes down".to_owned(),
        };
        for handle in all {
            self.dismiss(handle, &refusal, Some(LeftReason::Closed));
        }
        self.transmit_natives(clock::now());
    }

    /// A connection ends because of what came on it.
    fn refuse(&self, handle: Handle, refusal: Refusal) {
        let reason = if refusal.code == CloseCode::NoError {
            LeftReason::Closed
        } else if refusal.code == CloseCode::Limit {
            LeftReason::Flood
        } else {
            LeftReason::Malformed(refusal.words.clone())
        };
        self.dismiss(handle, &refusal, Some(reason));
    }

    /// Ends a connection; with a reason its viewer is told.
    pub(super) fn dismiss(&self, handle: Handle, refusal: &Refusal, reason: Option<LeftReason>) {
        let Refusal { code, words } = refusal;
        self.end_tunnel(handle, *code);
        let mut natives = self.natives.borrow_mut();
        let Some(connection) = natives.remove(handle) else {
            return;
        };
        tracing::debug!(peer = connection.id.0, %code, words, "native viewer is sent away");
        natives
            .endpoint
            .close(clock::now(), handle, code.number(), words);
        drop(natives);
        if let Some(seat) = connection.viewer.and_then(|it| self.seat(it)) {
            self.end(&seat, reason);
        }
    }

    fn serve_native(
        &self,
        seat: &Rc<Seat>,
        act: impl FnOnce(&mut NativeViewer) -> Result<(), LeftReason>,
    ) {
        self.serve(seat, |member| match member {
            Member::Native(viewer) => act(viewer),
            Member::Page(_) => Ok(()),
        });
    }

    fn seat_of(&self, handle: Handle) -> Option<Rc<Seat>> {
        let viewer = self.natives.borrow_mut().get(handle)?.viewer?;
        self.seat(viewer)
    }
}

/// A mistake of ours.
fn broken() -> Refusal {
    Refusal {
        code: CloseCode::Internal,
        words: "internal error".to_owned(),
    }
}

fn goodbye(words: &str) -> Refusal {
    Refusal {
        code: CloseCode::NoError,
        words: words.to_owned(),
    }
}
