//! Why a connection is over, in words for the user: what happened, and the way out.

use std::fmt;
use std::time::Duration;

use sandbox_protocol::wire::codes::CloseCode;
use sandbox_protocol::wire::control::AuthFailure;
use sandbox_quic::{Closed, Fingerprint};

use super::conversation::Goodbye;

/// The end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The user left.
    Left,
    /// The user does not trust the server.
    Distrusted(Fingerprint),
    /// The server shows another key than the known one.
    WrongKey {
        /// The one that was expected.
        known: Fingerprint,
        /// The one that it shows.
        shown: Fingerprint,
    },
    /// The sign-in failed.
    SignIn {
        /// Why.
        why: AuthFailure,
        /// How long another attempt has to wait.
        retry_after: Duration,
    },
    /// The server left the session on its own.
    Detached {
        /// Stable name of the reason.
        reason: String,
    },
    /// The server closed the connection.
    Closed {
        /// Its reason.
        code: u64,
        /// Its words.
        words: String,
        /// How long it wants to be left alone.
        retry_after: Duration,
    },
    /// The host's name leads nowhere.
    Unknown(String),
    /// This machine cannot send to it.
    Unreachable(String),
    /// Nobody listens there.
    Absent,
    /// No answer at all.
    NoAnswer,
    /// No WebSocket leads there.
    NoWebSocket(String),
    /// Neither way leads there.
    Nowhere {
        /// What became of UDP.
        udp: Box<Self>,
        /// What became of the WebSocket.
        websocket: Box<Self>,
    },
    /// The WebSocket broke.
    Cut(String),
    /// It was there, and is silent now.
    Silent,
    /// It was restarted.
    Restarted,
    /// It speaks something else, or another version.
    Broken(String),
    /// It broke the protocol.
    Violation(String),
    /// The codec that it chose cannot be decoded here after all.
    Undecodable(String),
}

impl End {
    /// What QUIC says, with what the server said before it.
    pub(super) fn of(closed: Closed, was_connected: bool, goodbye: Option<Goodbye>) -> Self {
        match (closed, goodbye) {
            (Closed::ByPeer { code, words }, _) => Self::Closed {
                code,
                words,
                retry_after: goodbye.map_or(Duration::ZERO, |it| it.retry_after),
            },
            // The words of its end were lost, those before it were not.
            (Closed::TimedOut | Closed::Restarted, Some(goodbye)) => Self::Closed {
                code: goodbye.code.into(),
                words: String::new(),
                retry_after: goodbye.retry_after,
            },
            (closed, _) => Self::of_quic(closed, was_connected),
        }
    }

    fn of_quic(closed: Closed, was_connected: bool) -> Self {
        match closed {
            Closed::ByPeer { words, .. } => Self::Broken(words),
            Closed::ByUs => Self::Left,
            Closed::TimedOut if was_connected => Self::Silent,
            Closed::TimedOut => Self::NoAnswer,
            Closed::Restarted => Self::Restarted,
            // Keys are compared here, not in the handshake.
            Closed::WrongKey => Self::Broken("the key was refused".to_owned()),
            Closed::Broken(words) => Self::Broken(words),
        }
    }

    /// Whether to connect again by oneself: only then can it be better the next time.
    pub fn may_reconnect(&self) -> bool {
        match self {
            Self::Silent | Self::Restarted | Self::Cut(_) | Self::Undecodable(_) => true,
            Self::Closed { code, .. } => {
                CloseCode::from_number(*code).is_some_and(CloseCode::may_reconnect)
            }
            Self::Left
            | Self::Distrusted(_)
            | Self::WrongKey { .. }
            | Self::SignIn { .. }
            | Self::Detached { .. }
            | Self::Unknown(_)
            | Self::Unreachable(_)
            | Self::Absent
            | Self::NoAnswer
            | Self::NoWebSocket(_)
            | Self::Nowhere { .. }
            | Self::Broken(_)
            | Self::Violation(_) => false,
        }
    }

    /// Whether the server may just not be there yet: worth waiting for where it was before.
    pub fn is_absence(&self) -> bool {
        match self {
            Self::Unknown(_)
            | Self::Unreachable(_)
            | Self::Absent
            | Self::NoAnswer
            | Self::NoWebSocket(_) => true,
            Self::Nowhere { udp, .. } => udp.is_absence(),
            Self::Left
            | Self::Distrusted(_)
            | Self::WrongKey { .. }
            | Self::SignIn { .. }
            | Self::Detached { .. }
            | Self::Closed { .. }
            | Self::Silent
            | Self::Cut(_)
            | Self::Restarted
            | Self::Broken(_)
            | Self::Violation(_)
            | Self::Undecodable(_) => false,
        }
    }

    /// How long the server wants to be left alone.
    pub const fn retry_after(&self) -> Duration {
        match self {
            Self::Closed { retry_after, .. } | Self::SignIn { retry_after, .. } => *retry_after,
            Self::Left
            | Self::Distrusted(_)
            | Self::WrongKey { .. }
            | Self::Detached { .. }
            | Self::Unknown(_)
            | Self::Unreachable(_)
            | Self::Absent
            | Self::NoAnswer
            | Self::NoWebSocket(_)
            | Self::Nowhere { .. }
            | Self::Silent
            | Self::Cut(_)
            | Self::Restarted
            | Self::Broken(_)
            | Self::Violation(_)
            | Self::Undecodable(_) => Duration::ZERO,
        }
    }

    /// The program's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Left => 0,
            Self::Distrusted(_) | Self::WrongKey { .. } | Self::SignIn { .. } => 3,
            Self::Closed { code, .. } => match CloseCode::from_number(*code) {
                Some(CloseCode::NoError | CloseCode::SessionEnded) => 0,
                Some(CloseCode::AuthFailed | CloseCode::AuthExpired | CloseCode::Forbidden) => 3,
                Some(_) | None => 1,
            },
            Self::Detached { .. }
            | Self::Unknown(_)
            | Self::Unreachable(_)
            | Self::Absent
            | Self::NoAnswer
            | Self::NoWebSocket(_)
            | Self::Silent
            | Self::Cut(_)
            | Self::Restarted
            | Self::Broken(_)
            | Self::Violation(_)
            | Self::Undecodable(_) => 1,
            Self::Nowhere { udp, websocket } => udp.exit_code().max(websocket.exit_code()),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => f.write_str("you left; the desktop goes on"),
            Self::Distrusted(shown) => write!(f, "the server's key {shown} was not trusted"),
            Self::WrongKey { known, shown } => write!(
                f,
                "the server shows another key than before: {shown} instead of {known}. Somebody \
                 may be in between, or it was set up anew: ask its administrator. If the new key \
                 is right, `sandbox-client --forget HOST` forgets the old one"
            ),
            Self::SignIn { why, retry_after } => sign_in(f, *why, *retry_after),
            Self::Detached { reason } => write!(f, "the server ended this view: {reason}"),
            Self::Closed { code, words, .. } => closed(f, *code, words),
            Self::Unknown(words) => {
                write!(
                    f,
                    "the host's name cannot be resolved ({words}): is it written right?"
                )
            }
            Self::Unreachable(words) => write!(f, "nothing can be sent to the server: {words}"),
            Self::Absent => f.write_str(
                "nobody listens there: is the server running, and is this its MEDIA_PORT?",
            ),
            Self::NoAnswer => f.write_str(
                "the server does not answer: is it running, and does a firewall let UDP through?",
            ),
            Self::NoWebSocket(words) => write!(f, "no WebSocket leads to the server: {words}"),
            Self::Nowhere { udp, websocket } => {
                write!(f, "by UDP: {udp} By WebSocket: {websocket}")
            }
            Self::Cut(words) => write!(
                f,
                "the WebSocket to the server broke ({words}): it may be restarting, or the \
                 network be down"
            ),
            Self::Silent => f.write_str("the server is silent: the network may be down"),
            Self::Restarted => f.write_str("the server was restarted"),
            Self::Broken(words) => write!(
                f,
                "the server speaks another protocol or version: {words}. Update the older one"
            ),
            Self::Violation(words) => write!(
                f,
                "the server said what this client does not understand: {words}. Update the older \
                 one"
            ),
            Self::Undecodable(words) => write!(f, "{words}; going on without AV1"),
        }
    }
}

fn sign_in(f: &mut fmt::Formatter<'_>, why: AuthFailure, retry_after: Duration) -> fmt::Result {
    match why {
        AuthFailure::Refused => {
            f.write_str("name or password is wrong, or this device's key or code")
        }
        AuthFailure::TooMany => write!(
            f,
            "too many attempts to sign in: try again in {} s",
            retry_after.as_millis().div_ceil(1_000)
        ),
        AuthFailure::Disabled => {
            f.write_str("the account is disabled: ask the server's administrator")
        }
        AuthFailure::NotOffered => f.write_str("the server does not offer this way to sign in"),
    }
}

fn closed(f: &mut fmt::Formatter<'_>, code: u64, words: &str) -> fmt::Result {
    match CloseCode::from_number(code) {
        Some(code) if words.is_empty() => write!(f, "{code}"),
        Some(code) => write!(f, "{code}: {words}"),
        None => write!(f, "the server closed the connection: {code:#x} {words}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(code: CloseCode) -> End {
        End::Closed {
            code: code.number().into(),
            words: String::new(),
            retry_after: Duration::ZERO,
        }
    }

    fn nowhere(websocket: End) -> End {
        End::Nowhere {
            udp: Box::new(End::NoAnswer),
            websocket: Box::new(websocket),
        }
    }

    #[test]
    fn only_what_can_be_better_next_time_is_tried_again() {
        for (end, may) in [
            (End::Silent, true),
            (End::Restarted, true),
            (End::Cut("reset".to_owned()), true),
            (End::Undecodable("it is gone".to_owned()), true),
            (closed(CloseCode::Shutdown), true),
            (closed(CloseCode::Overloaded), true),
            (closed(CloseCode::AuthFailed), false),
            (closed(CloseCode::SessionEnded), false),
            (End::NoAnswer, false),
            (End::Left, false),
        ] {
            assert_eq!(end.may_reconnect(), may, "{end}");
        }
    }

    #[test]
    fn a_changed_key_is_told_with_both_and_the_way_out() {
        let end = End::WrongKey {
            known: Fingerprint([1; 32]),
            shown: Fingerprint([2; 32]),
        };
        let words = end.to_string();
        for part in ["sha256:0101", "sha256:0202", "--forget"] {
            assert!(words.contains(part), "{words}");
        }
        assert_eq!(end.exit_code(), 3);
        let end = nowhere(end);
        assert_eq!(end.exit_code(), 3);
        assert!(end.is_absence(), "UDP may lead to the right one later");
    }

    #[test]
    fn codes_are_told_in_words() {
        for (end, expected) in [
            (closed(CloseCode::SessionTaken), "another viewer"),
            (End::NoAnswer, "UDP"),
            (nowhere(End::NoWebSocket("refused".to_owned())), "refused"),
            (nowhere(End::NoWebSocket("refused".to_owned())), "UDP"),
            (
                End::SignIn {
                    why: AuthFailure::TooMany,
                    retry_after: Duration::from_millis(1_500),
                },
                "in 2 s",
            ),
        ] {
            assert!(end.to_string().contains(expected), "{end}");
        }
    }
}
