//! One native viewer: its sign-in, its desktop, and the end of either.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_channel::Receiver;
use futures_lite::{FutureExt as _, future};
use sandbox_core::rate_limit::RateLimit;
use sandbox_protocol::wire::codes::CloseCode;
use sandbox_protocol::wire::control::{AuthFailure, AuthMethod, FromServer, Secret};
use smol::Timer;

use super::attaching::{self, Wanted};
use super::farewell::Farewell;
use super::sign_in::sign_in;
use super::words;
use crate::attachment::{Attachment, News};
use crate::auth::proof::Exporter;
use crate::auth::random;
use crate::caller::{self, Caller};
use crate::clock;
use crate::http::App;
use crate::media::{Ask, LeftReason, Peer, ViewerEvent, Welcome};
use crate::sessions::Word;
use crate::sign_in::Refusal;
use crate::state::tickets::{self, AFTER_CONNECTION_SECONDS, TicketId};

/// Times that one connection may attach in a minute: each may cost a desktop.
const ATTACHES_PER_MINUTE: u32 = 30;

/// Times that one connection may take control in a minute: each may cost a new size.
const TAKES_PER_MINUTE: u32 = 60;

/// How long who is refused while others are being checked waits.
const BUSY_PAUSE: Duration = Duration::from_secs(2);

/// A desktop that a connection shows.
#[derive(Debug)]
pub(super) struct Stream {
    attachment: Attachment,
    /// Media may flow: before that nothing is said about control.
    is_connected: bool,
}

struct Conversation {
    app: Arc<App>,
    peer: Peer,
    caller: Option<Caller>,
    ticket: Option<TicketId>,
    stream: Option<Stream>,
    attaches: RateLimit<()>,
    takes: RateLimit<()>,
}

enum Woken {
    News(News),
    Asked(Ask),
    Gone,
    AccountsChanged,
    SignInRunsOut,
}

impl Stream {
    pub(super) const fn new(attachment: Attachment) -> Self {
        Self {
            attachment,
            is_connected: false,
        }
    }
}

/// Speaks with a native viewer until either side ends it.
pub(super) async fn run(app: Arc<App>, peer: Peer) {
    // A WebSocket has a place of its own.
    let place = (!peer.is_in_tunnel).then(|| app.connections.enter(peer.address));
    if matches!(place, Some(None)) {
        let words = "this address holds as many connections as it may \
                     (MAX_CONNECTIONS_PER_ADDRESS)";
        let code = CloseCode::Overloaded;
        return app.media.dismiss(peer.id, code, words.into()).await;
    }
    let changes = app.changes.listen();
    let mut conversation = Conversation {
        app,
        peer,
        caller: None,
        ticket: None,
        stream: None,
        attaches: RateLimit::per_minute(ATTACHES_PER_MINUTE),
        takes: RateLimit::per_minute(TAKES_PER_MINUTE),
    };
    let outcome = AssertUnwindSafe(conversation.go_on(&changes))
        .catch_unwind()
        .await;
    let peer = conversation.peer.id;
    let farewell = outcome.unwrap_or_else(|_| {
        tracing::error!(%peer, "the conversation with a native viewer panicked");
        Farewell::internal()
    });
    conversation.release().await;
    if let Farewell::Saying(code, words) = farewell {
        tracing::info!(%peer, ?code, words, "a native viewer is dismissed");
        conversation.app.media.dismiss(peer, code, words).await;
    }
}

impl Conversation {
    async fn go_on(&mut self, changes: &Receiver<()>) -> Farewell {
        loop {
            let outcome = match self.wait(changes).await {
                Woken::News(News::Told(word)) => self.handle_word(word).await,
                Woken::News(News::Viewer(event)) => self.handle_viewer(event).await,
                Woken::Asked(ask) => self.handle_ask(ask).await,
                Woken::Gone => Err(Farewell::Silent),
                Woken::AccountsChanged | Woken::SignInRunsOut => self.check_sign_in().await,
            };
            if let Err(farewell) = outcome {
                return farewell;
            }
        }
    }

    async fn wait(&self, changes: &Receiver<()>) -> Woken {
        let news = async {
            match &self.stream {
                Some(it) => Woken::News(it.attachment.news().await),
                None => future::pending().await,
            }
        };
        let asked = async {
            let ask = self.peer.asks.recv().await;
            ask.map_or(Woken::Gone, Woken::Asked)
        };
        let changed = async {
            match changes.recv().await {
                Ok(()) => Woken::AccountsChanged,
                Err(_) => future::pending().await,
            }
        };
        let runs_out = async {
            self.sign_in_end()
                .map_or_else(Timer::never, Timer::at)
                .await;
            Woken::SignInRunsOut
        };
        // The reason of an end before its consequences.
        future::or(news, future::or(changed, future::or(asked, runs_out))).await
    }

    fn sign_in_end(&self) -> Option<Instant> {
        let left = self.caller.as_ref()?.family.expires_at - clock::unix_seconds();
        let left = Duration::from_secs(u64::try_from(left).unwrap_or(0).max(1));
        clock::now().checked_add(left)
    }

    async fn handle_ask(&mut self, ask: Ask) -> Result<(), Farewell> {
        match ask {
            Ask::SignIn { method, exporter } => self.handle_sign_in(method, &exporter).await,
            Ask::Attach {
                session,
                profile,
                size,
            } => {
                take_one(&mut self.attaches, "wishes for a desktop")?;
                let caller = self.caller.as_ref().ok_or_else(sign_in_first)?;
                let wanted = Wanted {
                    session,
                    profile,
                    size,
                };
                let stream = attaching::attach(&self.app, &self.peer, caller, wanted).await?;
                if let Some(earlier) = self.stream.replace(stream) {
                    earlier.attachment.end().await;
                }
                Ok(())
            }
            Ask::TakeControl => {
                take_one(&mut self.takes, "wishes for control")?;
                if let Some(it) = &self.stream {
                    it.attachment.want_control().await;
                }
                Ok(())
            }
            Ask::Detach => {
                if let Some(it) = self.stream.take() {
                    it.attachment.end().await;
                }
                let reason = "left".into();
                self.tell(FromServer::Detached { reason }).await;
                Ok(())
            }
        }
    }

    async fn handle_sign_in(
        &mut self,
        method: AuthMethod,
        exporter: &Exporter,
    ) -> Result<(), Farewell> {
        if self.caller.is_some() {
            let words = "signed in already";
            return Err(Farewell::saying(CloseCode::ProtocolViolation, words));
        }
        let address = self.peer.address;
        let ticket = match &method {
            AuthMethod::Ticket { id, .. } => Some(TicketId(*id)),
            AuthMethod::Password { .. }
            | AuthMethod::Token { .. }
            | AuthMethod::DeviceKey { .. }
            | AuthMethod::Enrol { .. } => None,
        };
        let (why, pause) = match sign_in(&self.app, address, method, exporter).await {
            Ok(caller) => {
                if let Some(ticket) = ticket {
                    self.succeed(ticket).await;
                }
                return self.welcome(caller).await;
            }
            Err(Refusal::TooMany(wait)) => (AuthFailure::TooMany, wait.0),
            Err(Refusal::Busy(_)) => (AuthFailure::TooMany, BUSY_PAUSE),
            Err(Refusal::Wrong) => (AuthFailure::Refused, Duration::ZERO),
            Err(Refusal::Disabled) => (AuthFailure::Disabled, Duration::ZERO),
            Err(Refusal::State(error)) => return Err(error.into()),
        };
        self.app.media.refuse(self.peer.id, why, pause).await;
        Ok(())
    }

    /// The connection that a ticket was given to may not know that it is over: a viewer whose way
    /// led nowhere comes back by another.
    async fn succeed(&self, ticket: TicketId) {
        if let Some(before) = self.app.ticket_holders.take(ticket) {
            let words = "its viewer has come back".into();
            self.app
                .media
                .dismiss(before, CloseCode::Superseded, words)
                .await;
        }
    }

    async fn welcome(&mut self, caller: Caller) -> Result<(), Farewell> {
        let ticket = TicketId(random());
        let family = caller.family.clone();
        let now = clock::unix_seconds();
        self.app
            .store
            .run(move |connection| tickets::add(connection, ticket, &family, now))
            .await?;
        let welcome = Welcome {
            user: caller.user.name.clone(),
            ticket: (ticket.0, Secret(self.app.tokens.tickets().key(ticket))),
            ticket_lifetime: Duration::from_secs(AFTER_CONNECTION_SECONDS.unsigned_abs()),
        };
        tracing::info!(peer = %self.peer.id, user = caller.user.index.0, "a native viewer came");
        self.ticket = Some(ticket);
        self.app.ticket_holders.give(ticket, self.peer.id);
        self.caller = Some(caller);
        self.app.media.welcome(self.peer.id, welcome).await;
        let url = self.app.config.public_url.to_string();
        self.tell(FromServer::PublicUrl(url)).await;
        Ok(())
    }

    /// What the sessions say; nothing where they have let this viewer go.
    async fn handle_word(&mut self, word: Option<Word>) -> Result<(), Farewell> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        let message = match word {
            Some(Word::Control(permit)) => {
                stream.attachment.control(permit).await;
                if !stream.is_connected {
                    return Ok(());
                }
                FromServer::Control { has_control: true }
            }
            Some(Word::Observe) => {
                if !stream.attachment.observe() {
                    return Ok(());
                }
                FromServer::Control { has_control: false }
            }
            Some(Word::OutOfMemory(shortage)) => FromServer::Notice {
                code: "out_of_memory".into(),
                text: words::out_of_memory(&shortage),
            },
            Some(Word::Dismissed(why)) => return Err(Farewell::dismissed(why)),
            None => {
                let words = "the server let this viewer go";
                return Err(Farewell::saying(CloseCode::Overloaded, words));
            }
        };
        self.tell(message).await;
        Ok(())
    }

    async fn handle_viewer(&mut self, event: ViewerEvent) -> Result<(), Farewell> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        let reason = match event {
            ViewerEvent::Connected => {
                stream.is_connected = true;
                stream.attachment.connected().await;
                if stream.attachment.has_control() {
                    self.tell(FromServer::Control { has_control: true }).await;
                }
                return Ok(());
            }
            ViewerEvent::WorkerLost => {
                let rewired = stream.attachment.rewire().await;
                return rewired.map_err(Farewell::worker_gone);
            }
            ViewerEvent::Left(reason) => reason,
        };
        tracing::info!(peer = %self.peer.id, ?reason, "a native viewer left");
        match reason {
            // It has left the desktop, or with its connection: what it asked for last says which.
            LeftReason::Closed => {
                if let Some(it) = self.stream.take() {
                    it.attachment.end().await;
                }
                Ok(())
            }
            LeftReason::WorkerGone => {
                Err(Farewell::worker_gone(stream.attachment.worker_gone().await))
            }
            other @ (LeftReason::IceTimeout
            | LeftReason::Unread
            | LeftReason::Flood
            | LeftReason::Malformed(_)) => Err(Farewell::left(other)),
        }
    }

    /// Whether the sign-in still holds, after somebody's changed or at its end.
    async fn check_sign_in(&mut self) -> Result<(), Farewell> {
        let Some(caller) = &mut self.caller else {
            return Ok(());
        };
        match caller::still_holds(&self.app, caller.family.id).await? {
            Some(family) => {
                caller.family = family;
                Ok(())
            }
            None => Err(Farewell::saying(CloseCode::AuthExpired, "sign in again")),
        }
    }

    async fn tell(&self, message: FromServer) {
        self.app.media.tell(self.peer.id, message).await;
    }

    /// Lets the stream go; the desktop stays, and the ticket for a while.
    async fn release(&mut self) {
        if let Some(it) = self.stream.take() {
            it.attachment.end().await;
        }
        if let Some(ticket) = self.ticket.take() {
            let _it_is_over = self.app.ticket_holders.take(ticket);
            let now = clock::unix_seconds();
            let ended = self
                .app
                .store
                .run(move |connection| tickets::connection_ended(connection, ticket, now))
                .await;
            if let Err(error) = ended {
                // It then ends with the sign-in, or at the next start.
                tracing::error!(%error, "cannot shorten a ticket");
            }
        }
    }
}

fn sign_in_first() -> Farewell {
    Farewell::saying(CloseCode::AuthRequired, "then wish for a desktop")
}

/// Takes one of what a connection may do so often in a minute.
fn take_one(limit: &mut RateLimit<()>, what: &str) -> Result<(), Farewell> {
    limit.take(&(), clock::now()).map_err(|wait| {
        let words = format!("too many {what}: wait {} seconds", wait.seconds());
        Farewell::saying(CloseCode::Limit, words)
    })
}
