//! Which ways to a server are tried, and when: UDP, and a WebSocket for networks without it.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// How much sooner UDP is tried: where it works, it has answered by then from most places.
const HEAD_START: Duration = Duration::from_millis(250);

/// How packets travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By themselves.
    Udp,
    /// Inside a WebSocket.
    WebSocket,
}

/// Which ways the user allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Both, and the first that is answered.
    #[default]
    Auto,
    /// One alone.
    Only(Way),
}

/// What is known of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hint {
    /// UDP may work.
    None,
    /// It did not the last time.
    WithoutUdp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    Due(Instant),
    Runs,
    Failed,
    /// Not allowed.
    Closed,
}

/// The race.
#[derive(Debug)]
pub(super) struct Race {
    udp: Lane,
    websocket: Lane,
}

impl Race {
    pub(super) fn new(now: Instant, transport: Transport, hint: Hint) -> Self {
        let head_start = match hint {
            Hint::None => HEAD_START,
            // Where UDP works again, it is the quicker one all the same.
            Hint::WithoutUdp => Duration::ZERO,
        };
        let (udp, websocket) = match transport {
            Transport::Auto => (Lane::Due(now), Lane::Due(now + head_start)),
            Transport::Only(Way::Udp) => (Lane::Due(now), Lane::Closed),
            Transport::Only(Way::WebSocket) => (Lane::Closed, Lane::Due(now)),
        };
        Self { udp, websocket }
    }

    /// A way that is to be tried from now on.
    pub(super) fn poll_start(&mut self, now: Instant) -> Option<Way> {
        for way in [Way::Udp, Way::WebSocket] {
            let lane = self.lane(way);
            if matches!(lane, Lane::Due(at) if *at <= now) {
                *lane = Lane::Runs;
                return Some(way);
            }
        }
        None
    }

    /// A way leads nowhere: the other one does not wait any longer.
    pub(super) fn handle_failed(&mut self, now: Instant, way: Way) {
        *self.lane(way) = Lane::Failed;
        for way in [Way::Udp, Way::WebSocket] {
            let lane = self.lane(way);
            if let Lane::Due(_) = lane {
                *lane = Lane::Due(now);
            }
        }
    }

    /// Whether no way is left.
    pub(super) fn is_lost(&self) -> bool {
        let is_out = |lane| matches!(lane, Lane::Failed | Lane::Closed);
        is_out(self.udp) && is_out(self.websocket)
    }

    /// When to call [`poll_start`](Self::poll_start).
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let due = |lane| match lane {
            Lane::Due(at) => Some(at),
            Lane::Runs | Lane::Failed | Lane::Closed => None,
        };
        due(self.udp).into_iter().chain(due(self.websocket)).min()
    }

    const fn lane(&mut self, way: Way) -> &mut Lane {
        match way {
            Way::Udp => &mut self.udp,
            Way::WebSocket => &mut self.websocket,
        }
    }
}

impl Way {
    /// What it is called in files and flags.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::WebSocket => "websocket",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text was no [`Transport`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no way to a server; there are udp, websocket, and auto for either")]
pub struct BadTransport(String);

impl FromStr for Transport {
    type Err = BadTransport;

    fn from_str(text: &str) -> Result<Self, BadTransport> {
        match text {
            "auto" => Ok(Self::Auto),
            "udp" => Ok(Self::Only(Way::Udp)),
            "websocket" => Ok(Self::Only(Way::WebSocket)),
            _ => Err(BadTransport(text.to_owned())),
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "simulated time starts somewhere")]
mod tests {
    use super::*;

    fn started(race: &mut Race, now: Instant) -> Vec<Way> {
        std::iter::from_fn(|| race.poll_start(now)).collect()
    }

    #[test]
    fn udp_has_a_head_start() {
        let now = Instant::now();
        let mut race = Race::new(now, Transport::Auto, Hint::None);
        assert_eq!(started(&mut race, now), [Way::Udp]);
        let later = race.poll_timeout().unwrap();
        assert_eq!(later, now + HEAD_START);
        assert_eq!(started(&mut race, later), [Way::WebSocket]);
        assert_eq!(race.poll_timeout(), None);
        assert!(!race.is_lost());
    }

    #[test]
    fn both_begin_at_once_where_udp_did_not_work() {
        let now = Instant::now();
        let mut race = Race::new(now, Transport::Auto, Hint::WithoutUdp);
        assert_eq!(started(&mut race, now), [Way::Udp, Way::WebSocket]);
    }

    #[test]
    fn nobody_waits_for_a_way_that_leads_nowhere() {
        let now = Instant::now();
        let mut race = Race::new(now, Transport::Auto, Hint::None);
        assert_eq!(started(&mut race, now), [Way::Udp]);
        race.handle_failed(now, Way::Udp);
        assert!(!race.is_lost());
        assert_eq!(started(&mut race, now), [Way::WebSocket]);
        race.handle_failed(now, Way::WebSocket);
        assert!(race.is_lost());
        assert_eq!(race.poll_timeout(), None);
    }

    #[test]
    fn a_way_that_is_not_allowed_is_not_tried() {
        let now = Instant::now();
        for (transport, way) in [("udp", Way::Udp), ("websocket", Way::WebSocket)] {
            let mut race = Race::new(now, transport.parse().unwrap(), Hint::WithoutUdp);
            assert_eq!(started(&mut race, now + HEAD_START), [way]);
            race.handle_failed(now, way);
            assert!(race.is_lost());
            assert_eq!(way.to_string(), transport);
        }
        let bad = "tcp".parse::<Transport>().unwrap_err().to_string();
        assert!(bad.contains("tcp") && bad.contains("websocket"), "{bad}");
    }
}
