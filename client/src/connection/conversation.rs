//! The control stream: who says what next.

use std::time::Duration;

use sandbox_protocol::limits::{
    COPY_BYTES_MAX, CURSOR_SIDE_MAX, PASTE_BYTES_MAX, PASTE_PIECE_BYTES_MAX,
};
use sandbox_protocol::wire::control::{
    self, AuthFailure, AuthMethod, Codec, ControlError, Display, FEATURES, Features, Frames,
    FromServer, FromViewer, MINOR_MAX, MINOR_MIN, StreamConfig, Trust,
};
use sandbox_protocol::{SessionId, Size};
use sandbox_quic::{Dir, Endpoint, Handle, StreamId};

use super::codecs::Codecs;
use super::credentials::{Credentials, Proof, Ticket};
use super::{End, Shape, Told};
use crate::origin::BadOrigin;

/// The control stream comes before updates.
const PRIORITY: i32 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The server's key is being looked at.
    Silent,
    Greeting,
    SigningIn {
        by_ticket: bool,
    },
    Attaching,
    Live,
}

/// What a message leads to.
#[derive(Debug)]
pub(super) enum Step {
    Nothing,
    Tell(Told),
    Pasted,
    Attached(Told, StreamConfig),
    Over(End),
    Violation(String),
}

/// The viewer's side of the control stream.
#[derive(Debug)]
pub(super) struct Conversation {
    state: State,
    credentials: Credentials,
    /// What is wanted, and what the server was told of it.
    size: Size,
    asked: Size,
    /// Whether anybody can see the picture.
    is_shown: bool,
    cache_mib: u16,
    /// What this network has carried before.
    link_kbps: Option<u32>,
    stream: Option<StreamId>,
    frames: Frames,
    /// What the stream has not taken yet.
    unsent: Vec<u8>,
    /// A copied text that is not whole.
    copied: String,
    has_control: bool,
    /// What both ends can do, once the server has said what it can.
    features: Features,
    codecs: Codecs,
    goodbye: Option<Goodbye>,
}

/// What the server said before it closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Goodbye {
    pub(super) code: u32,
    pub(super) retry_after: Duration,
}

impl Conversation {
    pub(super) fn new(
        credentials: Credentials,
        size: Size,
        is_shown: bool,
        cache_mib: u16,
        link_kbps: Option<u32>,
        codecs: &'static [Codec],
    ) -> Self {
        Self {
            state: State::Silent,
            credentials,
            size,
            asked: size,
            is_shown,
            cache_mib,
            link_kbps,
            stream: None,
            frames: Frames::default(),
            unsent: Vec::new(),
            copied: String::new(),
            has_control: true,
            features: Features::default(),
            codecs: Codecs::new(codecs),
            goodbye: None,
        }
    }

    pub(super) const fn is_live(&self) -> bool {
        matches!(self.state, State::Live)
    }

    pub(super) fn is_its(&self, stream: StreamId) -> bool {
        self.stream == Some(stream)
    }

    /// What both ends can do.
    pub(super) const fn features(&self) -> Features {
        self.features
    }

    /// What the server said before it closed.
    pub(super) const fn goodbye(&self) -> Option<Goodbye> {
        self.goodbye
    }

    /// The server is trusted: the conversation begins.
    pub(super) fn greet(&mut self) {
        if self.state != State::Silent {
            return;
        }
        self.state = State::Greeting;
        self.say(&FromViewer::Hello {
            minor_min: MINOR_MIN,
            minor_max: MINOR_MAX,
            features: FEATURES.0,
            video: self.codecs.capabilities(),
            cache_mib: self.cache_mib,
            agent: concat!("sandbox-client ", env!("CARGO_PKG_VERSION")).to_owned(),
        });
    }

    pub(super) fn resize(&mut self, size: Size) {
        self.size = size;
        if self.asked != size {
            self.ask_size();
        }
    }

    /// Whoever had control before may have had another size.
    fn ask_size(&mut self) {
        if self.is_live() {
            let displays = FromViewer::Displays(self.displays());
            self.say(&displays);
        }
    }

    /// Returns whether the text found room.
    pub(super) fn paste(&mut self, text: &str) -> bool {
        if !self.is_live() || text.len() > PASTE_BYTES_MAX || !self.unsent.is_empty() {
            return false;
        }
        let mut rest = text;
        loop {
            let (piece, after) = rest.split_at(boundary(rest, PASTE_PIECE_BYTES_MAX));
            rest = after;
            self.say(&FromViewer::Paste {
                text: piece.to_owned(),
                is_last: rest.is_empty(),
            });
            if rest.is_empty() {
                return true;
            }
        }
    }

    pub(super) fn show(&mut self, is_shown: bool) {
        let was_shown = std::mem::replace(&mut self.is_shown, is_shown);
        if was_shown != is_shown && self.is_live() {
            self.say(if is_shown {
                &FromViewer::Resume
            } else {
                &FromViewer::Suspend
            });
        }
    }

    pub(super) fn ask_whole(&mut self) {
        if self.is_live() {
            self.say(&FromViewer::WholePicture);
        }
    }

    pub(super) fn take_control(&mut self) {
        if self.is_live() {
            self.say(&FromViewer::TakeControl);
        }
    }

    /// Takes the next message out of what came; `bytes` is shortened by what was taken in.
    pub(super) fn poll_message(
        &mut self,
        bytes: &mut &[u8],
    ) -> Result<Option<FromServer>, ControlError> {
        // What a server may say is not shorter before the sign-in: it is known by then.
        loop {
            while let Some(frame) = self.frames.poll_frame(Trust::SignedIn)? {
                if let Some(message) = control::decode(frame)? {
                    return Ok(Some(message));
                }
            }
            if bytes.is_empty() {
                return Ok(None);
            }
            let room = self.frames.room(Trust::SignedIn).min(bytes.len());
            let (now, later) = bytes.split_at(room);
            self.frames.handle_bytes(now);
            *bytes = later;
        }
    }

    /// A message came. `exporter` gives the bytes that proofs are made of.
    pub(super) fn handle_message(
        &mut self,
        message: FromServer,
        exporter: impl FnOnce() -> Option<[u8; 32]>,
    ) -> Step {
        match (message, self.state) {
            (
                FromServer::Hello {
                    features, codec, ..
                },
                State::Greeting,
            ) => match self.codecs.handle_choice(codec) {
                Ok(()) => {
                    self.features = Features(features & FEATURES.0);
                    self.sign_in(exporter)
                }
                Err(words) => Step::Violation(words),
            },
            (FromServer::Welcome { ticket, .. }, State::SigningIn { .. }) => {
                let (id, key) = ticket;
                self.welcome(Ticket { id, key })
            }
            (FromServer::AuthFailed { .. }, State::SigningIn { by_ticket: true }) => {
                self.credentials.ticket = None;
                self.sign_in(exporter)
            }
            (
                FromServer::AuthFailed {
                    why,
                    retry_after_ms,
                },
                State::SigningIn { by_ticket: false },
            ) => Step::Over(End::SignIn {
                why,
                retry_after: Duration::from_millis(retry_after_ms.into()),
            }),
            (
                FromServer::Attached {
                    session,
                    config,
                    notices,
                    ..
                },
                State::Attaching,
            ) => self.attach(session, config, notices),
            (
                FromServer::Goodbye {
                    code,
                    retry_after_ms,
                    ..
                },
                _,
            ) => {
                self.goodbye = Some(Goodbye {
                    code,
                    retry_after: Duration::from_millis(retry_after_ms.into()),
                });
                Step::Nothing
            }
            (FromServer::Detached { reason }, _) => Step::Over(End::Detached { reason }),
            (FromServer::Control { has_control }, State::Attaching | State::Live) => {
                let had_control = std::mem::replace(&mut self.has_control, has_control);
                if has_control && !had_control {
                    self.ask_size();
                }
                Step::Tell(Told::Control(has_control))
            }
            (FromServer::Notice { text, .. }, _) => Step::Tell(Told::Notice(text)),
            (FromServer::PublicUrl(url), State::Attaching | State::Live) => public_url(&url),
            (message, State::Live) => self.handle_live(message),
            (message, _) => Step::Violation(format!("out of order: {}", kind(&message))),
        }
    }

    fn welcome(&mut self, ticket: Ticket) -> Step {
        self.state = State::Attaching;
        let attach = FromViewer::Attach {
            session: None,
            profile: None,
            displays: self.displays(),
        };
        self.say(&attach);
        Step::Tell(Told::Welcome(ticket))
    }

    fn attach(&mut self, session: SessionId, config: StreamConfig, notices: Vec<String>) -> Step {
        if let Err(words) = self.codecs.check(&config) {
            return Step::Violation(words);
        }
        self.state = State::Live;
        if let Some(kbps) = self.link_kbps {
            self.say(&FromViewer::LinkRate { kbps });
        }
        self.say(&FromViewer::Start);
        if !self.is_shown {
            self.say(&FromViewer::Suspend);
        }
        // It may have changed meanwhile.
        self.resize(self.size);
        let told = Told::Attached {
            session,
            features: self.features,
            notices,
        };
        Step::Attached(told, config)
    }

    fn handle_live(&mut self, message: FromServer) -> Step {
        match message {
            FromServer::Config(config) => match self.codecs.check(&config) {
                Ok(()) => Step::Tell(Told::Config(config)),
                Err(words) => Step::Violation(words),
            },
            FromServer::Copied {
                text,
                is_first,
                is_last,
            } => {
                if is_first {
                    self.copied.clear();
                }
                self.copied.push_str(&text);
                if self.copied.len() > COPY_BYTES_MAX {
                    return Step::Violation("a copied text that is too long".to_owned());
                }
                if is_last {
                    return Step::Tell(Told::Copied(std::mem::take(&mut self.copied)));
                }
                Step::Nothing
            }
            FromServer::CursorShape {
                size,
                hot_x,
                hot_y,
                rgba,
            } => {
                let bytes = usize::from(size.width) * usize::from(size.height) * 4;
                let is_small = size.width.max(size.height) <= CURSOR_SIDE_MAX;
                if !is_small || rgba.len() != bytes {
                    return Step::Violation(format!("a pointer of {size}"));
                }
                Step::Tell(Told::Shape(Shape {
                    size,
                    hot_x,
                    hot_y,
                    rgba,
                }))
            }
            FromServer::Pasted => Step::Pasted,
            FromServer::LinkRate { kbps } => {
                // A session that is attached anew begins with it.
                self.link_kbps = Some(kbps);
                Step::Tell(Told::LinkRate(kbps))
            }
            // Keys change by hand here: the known one is compared.
            FromServer::NextKey(_) => Step::Nothing,
            message @ (FromServer::Hello { .. }
            | FromServer::Welcome { .. }
            | FromServer::AuthFailed { .. }
            | FromServer::Attached { .. }
            | FromServer::Notice { .. }
            | FromServer::Detached { .. }
            | FromServer::Control { .. }
            | FromServer::PublicUrl(_)
            | FromServer::Goodbye { .. }) => {
                Step::Violation(format!("out of order: {}", kind(&message)))
            }
        }
    }

    fn sign_in(&mut self, exporter: impl FnOnce() -> Option<[u8; 32]>) -> Step {
        let Credentials {
            user,
            proof,
            ticket,
        } = &self.credentials;
        let by_ticket = ticket.is_some();
        let method = match (ticket, proof) {
            (None, Proof::Password(password)) => Some(AuthMethod::Password {
                user: user.clone(),
                password: password.clone(),
            }),
            (Some(ticket), _) => exporter().map(|exporter| ticket.method(&exporter)),
            (None, Proof::Device(key)) => exporter().map(|exporter| AuthMethod::DeviceKey {
                key: key.public(),
                signature: key.sign(&exporter),
            }),
            (None, Proof::Enrol { code, key, name }) => {
                exporter().map(|exporter| AuthMethod::Enrol {
                    code: code.clone(),
                    key: key.public(),
                    signature: key.sign(&exporter),
                    name: name.clone(),
                })
            }
        };
        let Some(method) = method else {
            // The connection is gone, and says why.
            return Step::Nothing;
        };
        self.state = State::SigningIn { by_ticket };
        if !self.say(&FromViewer::Auth(method)) {
            return Step::Over(End::SignIn {
                why: AuthFailure::Refused,
                retry_after: Duration::ZERO,
            });
        }
        Step::Nothing
    }

    /// Writes what the stream takes.
    pub(super) fn flush(&mut self, endpoint: &mut Endpoint, handle: Handle) {
        if self.unsent.is_empty() {
            return;
        }
        let open = || endpoint.open_stream(handle, Dir::Bi, PRIORITY);
        let Some(stream) = self.stream.or_else(open) else {
            return;
        };
        self.stream = Some(stream);
        let written = endpoint.write(handle, stream, &self.unsent);
        self.unsent.drain(..written);
    }

    fn displays(&mut self) -> Vec<Display> {
        self.asked = self.size;
        vec![Display {
            x: 0,
            y: 0,
            size: self.size,
            scale: 100,
        }]
    }

    /// Returns whether the message is short enough to be said.
    fn say(&mut self, message: &FromViewer) -> bool {
        control::encode_into(message, &mut self.unsent).is_ok()
    }
}

fn public_url(url: &str) -> Step {
    match url.parse() {
        Ok(origin) => Step::Tell(Told::PublicUrl(origin)),
        Err(bad) => Step::Violation(BadOrigin::to_string(&bad)),
    }
}

/// Where a text can be cut so that its first part has at most so many bytes.
fn boundary(text: &str, most: usize) -> usize {
    let mut at = most.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A message's name.
const fn kind(message: &FromServer) -> &'static str {
    match message {
        FromServer::Hello { .. } => "Hello",
        FromServer::Welcome { .. } => "Welcome",
        FromServer::AuthFailed { .. } => "AuthFailed",
        FromServer::Attached { .. } => "Attached",
        FromServer::Config(_) => "Config",
        FromServer::Notice { .. } => "Notice",
        FromServer::Copied { .. } => "Copied",
        FromServer::CursorShape { .. } => "CursorShape",
        FromServer::NextKey(_) => "NextKey",
        FromServer::Detached { .. } => "Detached",
        FromServer::Goodbye { .. } => "Goodbye",
        FromServer::Control { .. } => "Control",
        FromServer::Pasted => "Pasted",
        FromServer::PublicUrl(_) => "PublicUrl",
        FromServer::LinkRate { .. } => "LinkRate",
    }
}
