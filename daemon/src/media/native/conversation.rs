//! What a native viewer says on its control stream: the order of messages and their limits.
//!
//! Bytes go in, [`Effect`]s come out; without I/O. What is out of order or beyond a limit is a
//! [`Refusal`], and the connection is closed with its code.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sandbox_protocol::limits::{
    CONTROL_MESSAGES_PER_SECOND_MAX, DESKTOP_SIZE_MAX, DESKTOP_SIZE_MIN, DISPLAYS_MAX,
};
use sandbox_protocol::wire::codes::CloseCode;
use sandbox_protocol::wire::control::{
    Agreement, AuthFailure, AuthMethod, Chroma, Codec, Display, Features, Frames, FromServer,
    FromViewer, MINOR_MAX, MINOR_MIN, Offer, Profile, Trust, VideoCapability, decode, negotiate,
};
use sandbox_protocol::{Bitrate, SessionId, Size};

use super::{Node, Welcome};
use crate::media::flood::{FloodMeter, Flooded};

/// Time that a stranger has to sign in.
const SIGN_IN_MAX: Duration = Duration::from_secs(5);

/// Time that the daemon has to look at a proof; passwords wait for each other.
const JUDGING_MAX: Duration = Duration::from_secs(30);

/// Mebibytes of tile cache that a worker keeps for its session.
const CACHE_MIB: u16 = 64;

/// Characters of a viewer's name that are kept.
const AGENT_MAX: usize = 80;

/// What the worker's encoders make.
const VIDEO: [VideoCapability; 1] = [VideoCapability {
    codec: Codec::H264,
    profile: Profile::Baseline,
    chroma: Chroma::Yuv420,
    size: DESKTOP_SIZE_MAX,
    decode_us: 0,
}];

/// One viewer's side of the conversation.
#[derive(Debug)]
pub(in crate::media) struct Conversation {
    node: Node,
    frames: Frames,
    meter: FloodMeter,
    phase: Phase,
    effects: VecDeque<Effect>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It has said nothing.
    Fresh { until: Instant },
    /// It has said hello.
    Stranger { until: Instant, agreed: Agreement },
    /// Its proof is looked at.
    Judged { until: Instant, agreed: Agreement },
    /// It may attach. What it says to a session that has ended meanwhile is not held against it.
    SignedIn { agreed: Agreement, has_left: bool },
    /// Its session is looked for.
    Attaching { agreed: Agreement },
    /// It looks at a session.
    Attached { agreed: Agreement, is_started: bool },
}

/// What a message leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::media) enum Effect {
    /// To be said to the viewer.
    Say(FromServer),
    /// It is no browser and no stranger to the protocol: its name and version.
    Announce {
        agent: String,
    },
    /// Its proof is to be looked at.
    SignIn(AuthMethod),
    /// It wants a session.
    Attach {
        session: Option<SessionId>,
        profile: Option<String>,
        size: Size,
    },
    /// It leaves the session.
    Detach,
    TakeControl,
    /// To the session that it looks at.
    Session(Request),
}

/// What a viewer wants of the session that it looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::media) enum Request {
    Start,
    Resize(Size),
    WholePicture,
    /// Its network has carried so much before.
    LinkRate(Bitrate),
    Paste {
        text: String,
        is_last: bool,
    },
    Suspend,
    Resume,
}

/// Why the connection is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::media) struct Refusal {
    pub(in crate::media) code: CloseCode,
    pub(in crate::media) words: String,
}

impl Refusal {
    fn new(code: CloseCode, words: impl ToString) -> Self {
        let words = words.to_string();
        Self { code, words }
    }

    fn violation(words: impl ToString) -> Self {
        Self::new(CloseCode::ProtocolViolation, words)
    }
}

impl Conversation {
    /// A viewer has connected; `node` is what it is told.
    pub(in crate::media) fn new(node: Node, now: Instant) -> Self {
        Self {
            node,
            frames: Frames::default(),
            meter: FloodMeter::new(CONTROL_MESSAGES_PER_SECOND_MAX),
            phase: Phase::Fresh {
                until: now + SIGN_IN_MAX,
            },
            effects: VecDeque::new(),
        }
    }

    /// The next bytes of the control stream.
    ///
    /// # Errors
    ///
    /// Returns [`Refusal`] where the connection is to be closed.
    pub(in crate::media) fn handle_bytes(
        &mut self,
        now: Instant,
        mut bytes: &[u8],
    ) -> Result<(), Refusal> {
        while !bytes.is_empty() {
            let room = self.frames.room(self.trust()).min(bytes.len());
            let (piece, rest) = bytes.split_at(room);
            bytes = rest;
            self.frames.handle_bytes(piece);
            while let Some(message) = self.next_message(now)? {
                if let Some(message) = message {
                    self.handle_message(now, message)?;
                }
            }
        }
        Ok(())
    }

    /// It is who it says. Says whether anybody had asked.
    pub(in crate::media) fn handle_welcome(&mut self, welcome: Welcome) -> bool {
        let Phase::Judged { agreed, .. } = self.phase else {
            return false;
        };
        self.phase = Phase::SignedIn {
            agreed,
            has_left: false,
        };
        let seconds = welcome.ticket_lifetime.as_secs();
        self.say(FromServer::Welcome {
            user: welcome.user,
            ticket: welcome.ticket,
            ticket_seconds: u32::try_from(seconds).unwrap_or(u32::MAX),
        });
        true
    }

    /// It is not who it says.
    pub(in crate::media) fn handle_refused(
        &mut self,
        now: Instant,
        why: AuthFailure,
        retry_after: Duration,
    ) {
        if let Phase::Judged { agreed, .. } = self.phase {
            self.phase = Phase::Stranger {
                until: now + retry_after + SIGN_IN_MAX,
                agreed,
            };
            let retry_after_ms = u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX);
            self.say(FromServer::AuthFailed {
                why,
                retry_after_ms,
            });
        }
    }

    /// What was agreed with a viewer that waits for its session.
    pub(in crate::media) const fn attaching(&self) -> Option<Agreement> {
        match self.phase {
            Phase::Attaching { agreed } => Some(agreed),
            Phase::Fresh { .. }
            | Phase::Stranger { .. }
            | Phase::Judged { .. }
            | Phase::SignedIn { .. }
            | Phase::Attached { .. } => None,
        }
    }

    /// It looks at its session from here on; `attached` tells it so.
    pub(in crate::media) fn handle_attached(&mut self, attached: FromServer) {
        if let Phase::Attaching { agreed } = self.phase {
            self.phase = Phase::Attached {
                agreed,
                is_started: false,
            };
            self.say(attached);
        }
    }

    /// The daemon says something of its own. A session that cannot be attached to is told as
    /// one that has ended.
    pub(in crate::media) fn handle_told(&mut self, message: FromServer) {
        if matches!(message, FromServer::Detached { .. }) {
            self.handle_left();
        }
        self.say(message);
    }

    /// It looks at no session any more.
    pub(in crate::media) const fn handle_left(&mut self) {
        if let Phase::Attached { agreed, .. } | Phase::Attaching { agreed } = self.phase {
            self.phase = Phase::SignedIn {
                agreed,
                has_left: true,
            };
        }
    }

    /// Lets time pass.
    ///
    /// # Errors
    ///
    /// Returns [`Refusal`] where the connection is to be closed.
    pub(in crate::media) fn handle_timeout(&mut self, now: Instant) -> Result<(), Refusal> {
        if self.poll_timeout().is_none_or(|at| at > now) {
            return Ok(());
        }
        Err(match self.phase {
            Phase::Judged { .. } => {
                Refusal::new(CloseCode::Overloaded, "the sign-in takes too long")
            }
            Phase::Fresh { .. }
            | Phase::Stranger { .. }
            | Phase::SignedIn { .. }
            | Phase::Attaching { .. }
            | Phase::Attached { .. } => {
                let words = format!("no sign-in within {} s", SIGN_IN_MAX.as_secs());
                Refusal::new(CloseCode::AuthRequired, words)
            }
        })
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(in crate::media) const fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Fresh { until }
            | Phase::Stranger { until, .. }
            | Phase::Judged { until, .. } => Some(until),
            Phase::SignedIn { .. } | Phase::Attaching { .. } | Phase::Attached { .. } => None,
        }
    }

    /// What is to be done next.
    pub(in crate::media) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    const fn trust(&self) -> Trust {
        match self.phase {
            Phase::Fresh { .. } | Phase::Stranger { .. } | Phase::Judged { .. } => Trust::Stranger,
            Phase::SignedIn { .. } | Phase::Attaching { .. } | Phase::Attached { .. } => {
                Trust::SignedIn
            }
        }
    }

    /// The next whole message, which may be one to skip.
    fn next_message(&mut self, now: Instant) -> Result<Option<Option<FromViewer>>, Refusal> {
        let frame = self.frames.poll_frame(self.trust());
        let frame = frame.map_err(|it| Refusal::new(CloseCode::Limit, it))?;
        let Some(frame) = frame else {
            return Ok(None);
        };
        self.meter.handle_message(now).map_err(|Flooded| {
            let words = format!("more than {CONTROL_MESSAGES_PER_SECOND_MAX} messages in a second");
            Refusal::new(CloseCode::Limit, words)
        })?;
        decode(frame).map(Some).map_err(Refusal::violation)
    }

    fn handle_message(&mut self, now: Instant, message: FromViewer) -> Result<(), Refusal> {
        if let FromViewer::Goodbye { .. } = message {
            return Err(Refusal::new(CloseCode::NoError, "goodbye"));
        }
        match (self.phase, message) {
            (
                Phase::Fresh { until },
                FromViewer::Hello {
                    minor_min,
                    minor_max,
                    features,
                    video,
                    cache_mib,
                    agent,
                },
            ) => {
                let offer = Offer {
                    minor_min,
                    minor_max,
                    features: Features(features),
                    video: &video,
                    cache_mib,
                };
                self.handle_hello(until, &offer, &agent)
            }
            (Phase::Stranger { agreed, .. }, FromViewer::Auth(method)) => {
                self.phase = Phase::Judged {
                    until: now + JUDGING_MAX,
                    agreed,
                };
                self.effects.push_back(Effect::SignIn(method));
                Ok(())
            }
            (
                Phase::SignedIn { agreed, .. },
                FromViewer::Attach {
                    session,
                    profile,
                    displays,
                },
            ) => {
                let size = extent(&displays)?;
                self.phase = Phase::Attaching { agreed };
                self.effects.push_back(Effect::Attach {
                    session,
                    profile,
                    size,
                });
                Ok(())
            }
            (Phase::Attached { agreed, is_started }, message) => {
                self.handle_request(agreed, is_started, message)
            }
            (Phase::SignedIn { has_left: true, .. }, message) if is_request(&message) => Ok(()),
            (Phase::Fresh { .. } | Phase::Stranger { .. } | Phase::Judged { .. }, message)
                if is_request(&message) || matches!(message, FromViewer::Attach { .. }) =>
            {
                let words = "sign in before anything else";
                Err(Refusal::new(CloseCode::AuthRequired, words))
            }
            (phase, message) => Err(out_of_order(phase, &message)),
        }
    }

    fn handle_hello(
        &mut self,
        until: Instant,
        viewer: &Offer<'_>,
        agent: &str,
    ) -> Result<(), Refusal> {
        let ours = Offer {
            minor_min: MINOR_MIN,
            minor_max: MINOR_MAX,
            features: self.node.features,
            video: &VIDEO,
            cache_mib: CACHE_MIB,
        };
        let agreed = negotiate(&ours, viewer, DESKTOP_SIZE_MAX)
            .map_err(|error| Refusal::new(error.code(), error))?;
        self.phase = Phase::Stranger { until, agreed };
        self.say(FromServer::Hello {
            minor: agreed.minor,
            features: agreed.features.0,
            node: self.node.id,
            codec: agreed.video.codec,
            cache_mib: agreed.cache_mib,
        });
        self.effects.push_back(Effect::Announce {
            agent: agent.chars().take(AGENT_MAX).collect(),
        });
        Ok(())
    }

    fn handle_request(
        &mut self,
        agreed: Agreement,
        is_started: bool,
        message: FromViewer,
    ) -> Result<(), Refusal> {
        let request = match message {
            FromViewer::Start if !is_started => {
                self.phase = Phase::Attached {
                    agreed,
                    is_started: true,
                };
                Request::Start
            }
            FromViewer::LinkRate { kbps } if !is_started => {
                Request::LinkRate(Bitrate::kbps(kbps.into()))
            }
            FromViewer::Displays(displays) => Request::Resize(extent(&displays)?),
            FromViewer::WholePicture => Request::WholePicture,
            FromViewer::Paste { text, is_last } => Request::Paste { text, is_last },
            FromViewer::Suspend => Request::Suspend,
            FromViewer::Resume => Request::Resume,
            FromViewer::Quality(0..=100) => return Ok(()),
            FromViewer::Quality(quality) => {
                return Err(Refusal::violation(format!("quality {quality}")));
            }
            FromViewer::Detach => {
                self.handle_left();
                self.effects.push_back(Effect::Detach);
                return Ok(());
            }
            FromViewer::TakeControl => {
                self.effects.push_back(Effect::TakeControl);
                return Ok(());
            }
            message @ (FromViewer::Start
            | FromViewer::LinkRate { .. }
            | FromViewer::Hello { .. }
            | FromViewer::Auth(_)
            | FromViewer::Attach { .. }
            | FromViewer::Goodbye { .. }) => return Err(out_of_order(self.phase, &message)),
        };
        self.effects.push_back(Effect::Session(request));
        Ok(())
    }

    fn say(&mut self, message: FromServer) {
        self.effects.push_back(Effect::Say(message));
    }
}

/// Whether it is for the session that a viewer looks at.
const fn is_request(message: &FromViewer) -> bool {
    match message {
        FromViewer::Start
        | FromViewer::LinkRate { .. }
        | FromViewer::Displays(_)
        | FromViewer::Quality(_)
        | FromViewer::WholePicture
        | FromViewer::Paste { .. }
        | FromViewer::Suspend
        | FromViewer::Resume
        | FromViewer::Detach
        | FromViewer::TakeControl => true,
        FromViewer::Hello { .. }
        | FromViewer::Auth(_)
        | FromViewer::Attach { .. }
        | FromViewer::Goodbye { .. } => false,
    }
}

/// The desktop that all displays are part of.
fn extent(displays: &[Display]) -> Result<Size, Refusal> {
    if !(1..=DISPLAYS_MAX).contains(&displays.len()) {
        let words = format!("{} displays, outside 1 to {DISPLAYS_MAX}", displays.len());
        return Err(Refusal::violation(words));
    }
    let most = |end: fn(&Display) -> u16| displays.iter().map(end).max().unwrap_or_default();
    let size = Size {
        width: most(|it| it.x.saturating_add(it.size.width)),
        height: most(|it| it.y.saturating_add(it.size.height)),
    };
    Ok(size.fit(DESKTOP_SIZE_MIN, DESKTOP_SIZE_MAX))
}

fn out_of_order(phase: Phase, message: &FromViewer) -> Refusal {
    let place = match phase {
        Phase::Fresh { .. } => "before hello",
        Phase::Stranger { .. } => "before the sign-in",
        Phase::Judged { .. } => "while the sign-in is looked at",
        Phase::SignedIn { .. } => "before a session is attached",
        Phase::Attaching { .. } => "while a session is looked for",
        Phase::Attached { .. } => "while a session is attached",
    };
    Refusal::violation(format!("{} {place}", message.name()))
}

#[cfg(test)]
#[path = "conversation_tests.rs"]
mod tests;
