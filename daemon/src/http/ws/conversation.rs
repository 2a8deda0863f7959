//! One page and one session: token, offer, answer, and the end of either.

mod attaching;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_channel::Receiver;
use futures_lite::{FutureExt as _, future};
use sandbox_core::lifecycle::Lifecycle;
use sandbox_core::rate_limit::RateLimit;
use sandbox_core::sessions::Wish;
use sandbox_protocol::limits::{DESKTOP_SIZE_MAX, DESKTOP_SIZE_MIN};
use sandbox_protocol::wire::signal::{ToPage, ToServer};
use sandbox_protocol::{SessionId, Size};
use smol::Timer;

use super::super::problem::Problem;
use super::farewell::Farewell;
use super::{App, Incoming, Socket};
use crate::attachment::{Attachment, News};
use crate::caller::{self, Caller};
use crate::clock;
use crate::media::{AckPacket, LeftReason, ViewerEvent};
use crate::sessions::{View, Word};

/// How long the token may take.
const AUTH_TIMEOUT: Duration = Duration::from_secs(5);

/// Offers of one socket in a minute: each costs a handshake.
const OFFERS_PER_MINUTE: u32 = 30;

/// Times that one socket may take control in a minute: each may cost a new size.
const TAKES_PER_MINUTE: u32 = 60;

/// Proxies close a socket that is silent for a minute.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// A stream that this socket stands for.
struct Stream {
    attachment: Attachment,
    acks: Receiver<AckPacket>,
}

struct Conversation {
    app: Arc<App>,
    socket: Socket,
    session: SessionId,
    caller: Caller,
    stream: Option<Stream>,
    offers: RateLimit<()>,
    takes: RateLimit<()>,
}

enum Woken {
    News(News),
    Acked(AckPacket),
    Incoming(Incoming),
    AccountsChanged,
    TokenRunsOut,
    Silence,
}

/// Speaks with a page until either side ends it.
pub(super) async fn run(app: Arc<App>, mut socket: Socket, session: &str) {
    let changes = app.changes.listen();
    let (caller, view) = match introduce(&app, &mut socket, session).await {
        Ok(both) => both,
        Err(farewell) => {
            let session: Option<SessionId> = session.parse().ok();
            tracing::info!(?session, message = ?farewell.message, "a page is refused");
            return say_goodbye(socket, farewell).await;
        }
    };
    let session = view.plan.session;
    let mut conversation = Conversation {
        app,
        socket,
        session,
        caller,
        stream: None,
        offers: RateLimit::per_minute(OFFERS_PER_MINUTE),
        takes: RateLimit::per_minute(TAKES_PER_MINUTE),
    };
    let outcome = AssertUnwindSafe(conversation.go_on(&view, &changes))
        .catch_unwind()
        .await;
    conversation.release().await;
    let farewell = outcome.unwrap_or_else(|_| {
        tracing::error!(%session, "signalling panicked");
        Farewell::problem(&Problem::internal())
    });
    if let Some(message) = &farewell.message {
        tracing::info!(%session, ?message, "a page is dismissed");
    }
    say_goodbye(conversation.socket, farewell).await;
}

async fn say_goodbye(mut socket: Socket, farewell: Farewell) {
    let is_heard = match &farewell.message {
        Some(message) => socket.send(message).await,
        None => true,
    };
    if is_heard {
        socket.close(farewell.code).await;
    }
}

/// Takes the token, finds the session, and waits until its desktop runs.
async fn introduce(
    app: &App,
    socket: &mut Socket,
    session: &str,
) -> Result<(Caller, View), Farewell> {
    let late = async {
        Timer::after(AUTH_TIMEOUT).await;
        None
    };
    let first = future::or(async { Some(socket.receive().await) }, late).await;
    let token = match first {
        Some(Incoming::Message(ToServer::Auth { token })) => token,
        Some(other) => return Err(Farewell::refusing(other)),
        None => {
            return Err(Farewell::error(
                "auth_timeout",
                "no access token came within five seconds",
            ));
        }
    };
    let found = caller::identify(app, &token).await;
    let caller = found
        .map_err(|error| Farewell::problem(&error.into()))?
        .ok_or_else(|| Farewell::problem(&Problem::unauthorized()))?;
    let view = match session.parse() {
        Ok(session) => caller.own_session(app, session).await,
        Err(_) => None,
    };
    let view = view.ok_or_else(|| Farewell::problem(&Problem::not_found()))?;
    if let (Lifecycle::Ended, Some(reason)) = (view.state, view.reason) {
        return Err(Farewell::ended(reason));
    }
    let outcome = app.sessions.await_start(view.plan.session).await;
    match outcome {
        Ok(outcome) => Ok((caller, outcome.view)),
        Err(error) => Err(Farewell::problem(&error.into())),
    }
}

impl Conversation {
    async fn go_on(&mut self, view: &View, changes: &Receiver<()>) -> Farewell {
        let mut notices = self.app.notices.clone();
        notices.extend(view.weaker.iter().cloned());
        let ready = ToPage::Ready {
            session: self.session.to_string(),
            media: self.app.media.media_addresses(),
            notices,
        };
        if !self.socket.send(&ready).await {
            return Farewell::silent();
        }
        let mut renewal = self.renewal();
        loop {
            let outcome = match self.wait(changes, renewal).await {
                Woken::News(News::Told(word)) => self.handle_word(word).await,
                Woken::News(News::Viewer(event)) => self.handle_viewer(event).await,
                Woken::Acked(ack) if self.socket.acknowledge(ack).await => Ok(()),
                Woken::Acked(_) => Err(Farewell::silent()),
                Woken::Incoming(incoming) => self.handle_incoming(incoming).await,
                Woken::AccountsChanged => self.check_sign_in().await,
                Woken::TokenRunsOut => {
                    let outcome = self.renew().await;
                    renewal = self.renewal();
                    outcome
                }
                Woken::Silence if self.socket.ping().await => Ok(()),
                Woken::Silence => Err(Farewell::silent()),
            };
            if let Err(farewell) = outcome {
                return farewell;
            }
        }
    }

    /// A third of a token's life before it ends; the sign-in's end where that comes first.
    fn renewal(&self) -> std::time::Instant {
        let left = self.caller.family.expires_at - clock::unix_seconds();
        let life = self.app.tokens.expires_in();
        let seconds = left.min(life * 2 / 3).max(1);
        clock::now() + Duration::from_secs(u64::try_from(seconds).unwrap_or(1))
    }

    async fn wait(&mut self, changes: &Receiver<()>, renewal: std::time::Instant) -> Woken {
        let stream = self.stream.as_ref();
        let news = async {
            match stream {
                Some(it) => Woken::News(it.attachment.news().await),
                None => future::pending().await,
            }
        };
        let acked = async {
            match stream {
                Some(it) => match it.acks.recv().await {
                    Ok(ack) => Woken::Acked(ack),
                    Err(_) => future::pending().await,
                },
                None => future::pending().await,
            }
        };
        let changed = async {
            match changes.recv().await {
                Ok(()) => Woken::AccountsChanged,
                Err(_) => future::pending().await,
            }
        };
        let runs_out = async {
            Timer::at(renewal).await;
            Woken::TokenRunsOut
        };
        let silence = async {
            Timer::after(PING_INTERVAL).await;
            Woken::Silence
        };
        let socket = &mut self.socket;
        let incoming = async { Woken::Incoming(socket.receive().await) };
        let traffic = future::or(acked, incoming);
        let timers = future::or(runs_out, silence);
        future::or(news, future::or(changed, future::or(traffic, timers))).await
    }

    async fn handle_incoming(&mut self, incoming: Incoming) -> Result<(), Farewell> {
        match incoming {
            Incoming::Message(ToServer::Offer {
                sdp,
                width,
                height,
                observe,
            }) => {
                let size = Size { width, height }.fit(DESKTOP_SIZE_MIN, DESKTOP_SIZE_MAX);
                let wish = if observe {
                    Wish::Observe
                } else {
                    Wish::Control
                };
                self.handle_offer(sdp, size, wish).await
            }
            Incoming::Message(ToServer::TakeControl) => {
                take_one(&mut self.takes, "wishes for control")?;
                if let Some(it) = &self.stream {
                    it.attachment.want_control().await;
                }
                Ok(())
            }
            Incoming::Message(ToServer::Renew { token }) => self.handle_renewal(&token).await,
            Incoming::Message(ToServer::Bye) => Err(Farewell::silent()),
            Incoming::Input(packet) => {
                // Before the stream stands there is nothing to press keys on; they come again.
                if let Some(it) = &self.stream {
                    self.app.media.input(it.attachment.viewer(), packet).await;
                }
                Ok(())
            }
            other @ (Incoming::Message(ToServer::Auth { .. })
            | Incoming::Malformed(_)
            | Incoming::TooLarge
            | Incoming::Closed) => Err(Farewell::refusing(other)),
        }
    }

    /// What the sessions say; nothing where they have let this viewer go.
    async fn handle_word(&mut self, word: Option<Word>) -> Result<(), Farewell> {
        let message = match word {
            Some(Word::Control(permit)) => {
                if let Some(it) = &mut self.stream {
                    it.attachment.control(permit).await;
                }
                ToPage::Control { yours: true }
            }
            Some(Word::Observe) => {
                let is_told = self
                    .stream
                    .as_mut()
                    .is_some_and(|it| it.attachment.observe());
                if !is_told {
                    return Ok(());
                }
                ToPage::Control { yours: false }
            }
            Some(Word::OutOfMemory(shortage)) => ToPage::OutOfMemory {
                limit_mb: shortage.limit_mb,
                killed: shortage.killed,
                programs: shortage.programs,
            },
            Some(Word::Dismissed(why)) => return Err(Farewell::dismissed(why)),
            None => {
                let words = "the server let this page go; trying again";
                return Err(Farewell::error("let_go", words));
            }
        };
        if self.socket.send(&message).await {
            Ok(())
        } else {
            Err(Farewell::silent())
        }
    }

    async fn handle_viewer(&mut self, event: ViewerEvent) -> Result<(), Farewell> {
        let reason = match event {
            ViewerEvent::Connected => {
                if let Some(it) = &self.stream {
                    it.attachment.connected().await;
                }
                return Ok(());
            }
            ViewerEvent::WorkerLost => {
                return match &self.stream {
                    Some(it) => it.attachment.rewire().await.map_err(Farewell::worker_gone),
                    None => Ok(()),
                };
            }
            ViewerEvent::Left(reason) => reason,
        };
        tracing::info!(session = %self.session, ?reason, "a viewer left");
        Err(match reason {
            LeftReason::Closed => Farewell::error("closed", "the media connection was closed"),
            LeftReason::IceTimeout => Farewell::error(
                "unreachable",
                "no way to the media port was found, or it was silent for too long",
            ),
            LeftReason::WorkerGone => match &self.stream {
                Some(it) => Farewell::worker_gone(it.attachment.worker_gone().await),
                None => Farewell::silent(),
            },
            LeftReason::Unread => {
                Farewell::error("unread", "the page has not read its picture for too long")
            }
            LeftReason::Flood => Farewell::error("flood", "too many input messages in one second"),
            LeftReason::Malformed(words) => Farewell::error("malformed", words),
        })
    }

    /// Whether the sign-in still holds, after somebody's changed.
    async fn check_sign_in(&mut self) -> Result<(), Farewell> {
        let live = caller::still_holds(&self.app, self.caller.family.id).await;
        match live {
            Ok(Some(family)) => {
                self.caller.family = family;
                Ok(())
            }
            Ok(None) => Err(Farewell::error(
                "token_revoked",
                "the sign-in has ended; sign in again",
            )),
            Err(error) => Err(Farewell::problem(&error.into())),
        }
    }

    /// Hands the page a fresh token, as long as its sign-in holds.
    async fn renew(&mut self) -> Result<(), Farewell> {
        self.check_sign_in().await?;
        let now = clock::unix_seconds();
        let family = &self.caller.family;
        let tokens = &self.app.tokens;
        let token = tokens.issue(family.user.index.0, family.id, family.expires_at, now);
        let left = tokens.expires_in().min(family.expires_at - now);
        let message = ToPage::Token {
            token,
            expires_in: u64::try_from(left).unwrap_or(0),
        };
        if self.socket.send(&message).await {
            Ok(())
        } else {
            Err(Farewell::silent())
        }
    }

    /// The page signed in anew and keeps the socket.
    async fn handle_renewal(&mut self, token: &str) -> Result<(), Farewell> {
        let found = caller::identify(&self.app, token).await;
        let caller = found
            .map_err(|error| Farewell::problem(&error.into()))?
            .filter(|it| it.user.index == self.caller.user.index)
            .ok_or_else(|| Farewell::problem(&Problem::unauthorized()))?;
        self.caller = caller;
        Ok(())
    }

    /// Lets the stream go; the desktop stays.
    async fn release(&mut self) {
        if let Some(it) = self.stream.take() {
            it.attachment.end().await;
        }
    }
}

/// Takes one of what a socket may do so often in a minute.
fn take_one(limit: &mut RateLimit<()>, what: &str) -> Result<(), Farewell> {
    limit.take(&(), clock::now()).map_err(|wait| {
        let words = format!("too many {what}: wait {} seconds", wait.seconds());
        Farewell::error("rate_limited", words)
    })
}
