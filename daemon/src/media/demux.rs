//! Decides which viewer a datagram belongs to: by its first byte, its source, its STUN user name.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use sandbox_protocol::ViewerId;

/// Remote addresses remembered per viewer: a browser checks from each of its networks, over UDP
/// and TCP; more is somebody playing.
const PATHS_PER_VIEWER_MAX: usize = 16;

/// What the first byte of a datagram says about its protocol (RFC 9443 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// STUN: names its viewer itself.
    Stun,
    /// DTLS: belongs to whoever proved this source address.
    Dtls,
    /// RTP or RTCP: the same.
    Rtp,
    /// QUIC: names its connection itself.
    Quic,
    /// ZRTP, reserved, or empty.
    Unknown,
}

/// Tells what a datagram is. TURN channels are not used here, so their range stays QUIC's.
pub(super) fn classify(datagram: &[u8]) -> Kind {
    match datagram.first() {
        Some(0..=3) => Kind::Stun,
        Some(20..=63) => Kind::Dtls,
        Some(128..=191) => Kind::Rtp,
        Some(64..=127 | 192..=255) => Kind::Quic,
        Some(4..=19) | None => Kind::Unknown,
    }
}

/// How the bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Carrier {
    Udp,
    Tcp,
}

/// The far end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Remote {
    pub(super) carrier: Carrier,
    pub(super) address: SocketAddr,
}

/// The near end of a path: where answers have to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Near {
    /// Which UDP socket; unused for TCP.
    pub(super) socket: usize,
    /// The address that the viewer sent to: a wildcard socket must answer from it.
    pub(super) ip: Option<IpAddr>,
}

/// A proven path of a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) viewer: ViewerId,
    pub(super) near: Near,
}

/// Who owns which source address and which STUN user name.
#[derive(Debug, Default)]
pub(super) struct Demux {
    paths: HashMap<Remote, Path>,
    by_ufrag: HashMap<String, ViewerId>,
    owned: BTreeMap<ViewerId, Owned>,
}

#[derive(Debug, Default)]
struct Owned {
    /// Oldest proof first.
    remotes: VecDeque<Remote>,
    /// The present one, and during an ICE restart the one before.
    ufrags: VecDeque<String>,
}

impl Demux {
    /// A viewer answers to this STUN user name from here on; its last but one is forgotten.
    pub(super) fn add_ufrag(&mut self, viewer: ViewerId, ufrag: String) {
        let owned = self.owned.entry(viewer).or_default();
        if owned.ufrags.contains(&ufrag) {
            return;
        }
        if owned.ufrags.len() == 2
            && let Some(oldest) = owned.ufrags.pop_front()
        {
            self.by_ufrag.remove(&oldest);
        }
        owned.ufrags.push_back(ufrag.clone());
        self.by_ufrag.insert(ufrag, viewer);
    }

    /// Who answers to a STUN user name.
    pub(super) fn by_ufrag(&self, ufrag: &str) -> Option<ViewerId> {
        self.by_ufrag.get(ufrag).copied()
    }

    /// The path that a source address has proven.
    pub(super) fn path(&self, remote: Remote) -> Option<Path> {
        self.paths.get(&remote).copied()
    }

    /// A source address has proven, by a message's integrity, that it is this viewer's.
    pub(super) fn learn(&mut self, remote: Remote, path: Path) {
        if self.path(remote) == Some(path) {
            return;
        }
        self.forget_path(remote);
        let owned = self.owned.entry(path.viewer).or_default();
        if owned.remotes.len() == PATHS_PER_VIEWER_MAX
            && let Some(oldest) = owned.remotes.pop_front()
        {
            self.paths.remove(&oldest);
        }
        owned.remotes.push_back(remote);
        self.paths.insert(remote, path);
    }

    /// A path is gone (its TCP connection closed).
    pub(super) fn forget_path(&mut self, remote: Remote) {
        if let Some(path) = self.paths.remove(&remote)
            && let Some(owned) = self.owned.get_mut(&path.viewer)
        {
            owned.remotes.retain(|it| *it != remote);
        }
    }

    /// A viewer has left.
    pub(super) fn forget_viewer(&mut self, viewer: ViewerId) {
        let Some(owned) = self.owned.remove(&viewer) else {
            return;
        };
        for remote in owned.remotes {
            self.paths.remove(&remote);
        }
        for ufrag in owned.ufrags {
            self.by_ufrag.remove(&ufrag);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ViewerId = ViewerId(1);
    const B: ViewerId = ViewerId(2);

    fn remote(port: u16) -> Remote {
        Remote {
            carrier: Carrier::Udp,
            address: SocketAddr::from(([192, 0, 2, 1], port)),
        }
    }

    fn path(viewer: ViewerId) -> Path {
        let near = Near {
            socket: 0,
            ip: None,
        };
        Path { viewer, near }
    }

    #[test]
    fn the_first_byte_tells_protocols_apart_as_the_rfc_draws_them() {
        let expected = |byte| match byte {
            0..=3 => Kind::Stun,
            4..=19 => Kind::Unknown,
            20..=63 => Kind::Dtls,
            128..=191 => Kind::Rtp,
            64..=127 | 192..=255 => Kind::Quic,
        };
        for byte in 0..=u8::MAX {
            assert_eq!(classify(&[byte, 0]), expected(byte), "{byte}");
        }
        assert_eq!(classify(&[]), Kind::Unknown);
    }

    #[test]
    fn an_address_changes_hands_only_by_proof() {
        let mut demux = Demux::default();
        demux.learn(remote(1), path(A));
        demux.learn(remote(1), path(B));
        assert_eq!(demux.path(remote(1)), Some(path(B)));
        demux.forget_viewer(A);
        assert_eq!(demux.path(remote(1)), Some(path(B)));
        demux.forget_viewer(B);
        assert_eq!(demux.path(remote(1)), None);
    }

    #[test]
    fn a_viewer_that_checks_from_everywhere_keeps_only_its_newest_paths() {
        let mut demux = Demux::default();
        for port in 1..=100 {
            demux.learn(remote(port), path(A));
        }
        assert_eq!(demux.paths.len(), PATHS_PER_VIEWER_MAX);
        assert_eq!(demux.path(remote(100)), Some(path(A)));
        assert_eq!(demux.path(remote(1)), None);
    }

    #[test]
    fn a_restart_keeps_the_user_name_before_it_and_no_older_one() {
        let mut demux = Demux::default();
        for ufrag in ["one", "two", "two", "three"] {
            demux.add_ufrag(A, ufrag.to_owned());
        }
        assert_eq!(demux.by_ufrag("one"), None);
        assert_eq!(demux.by_ufrag("two"), Some(A));
        assert_eq!(demux.by_ufrag("three"), Some(A));
        demux.forget_viewer(A);
        assert!(demux.by_ufrag.is_empty() && demux.owned.is_empty());
    }
}
