//! What is worth remembering of a server beside its key: where its HTTP port is, and from which
//! networks UDP does not get there.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use sandbox_quic::Fingerprint;

use super::race::{Hint, Way};
use crate::origin::Origin;

/// Names a network by the address that this machine has in it: its first 24 bits, 64 of IPv6.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network(pub String);

impl Network {
    /// The network of an address of this machine.
    pub fn of(local: IpAddr) -> Self {
        Self(match local.to_canonical() {
            IpAddr::V4(it) => {
                let [a, b, c, _] = it.octets();
                format!("{a}.{b}.{c}.0/24")
            }
            IpAddr::V6(it) => {
                let prefix = Ipv6Addr::from_bits(it.to_bits() & !u128::from(u64::MAX));
                format!("{prefix}/64")
            }
        })
    }
}

/// What is remembered of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Where it says that its HTTP port is.
    pub origin: Option<Origin>,
    /// Networks from which it was reached by WebSocket alone.
    pub without_udp: BTreeSet<Network>,
}

/// A session is attached: what there is to remember.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The server's key.
    pub key: Fingerprint,
    /// How it was reached.
    pub way: Way,
    /// From where; `None` where that is unknown, or the way was not chosen freely.
    pub network: Option<Network>,
    /// Where it says that its HTTP port is.
    pub origin: Option<Origin>,
}

impl Memory {
    pub(super) fn hint(&self, network: Option<&Network>) -> Hint {
        if network.is_some_and(|it| self.without_udp.contains(it)) {
            Hint::WithoutUdp
        } else {
            Hint::None
        }
    }

    pub(super) fn handle_arrival(&mut self, arrival: &Arrival) {
        if let Some(network) = &arrival.network {
            match arrival.way {
                Way::Udp => self.without_udp.remove(network),
                Way::WebSocket => self.without_udp.insert(network.clone()),
            };
        }
        if arrival.origin.is_some() {
            self.origin.clone_from(&arrival.origin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(local: &str, expected: &str) {
        assert_eq!(Network::of(local.parse().unwrap()).0, expected);
    }

    #[test]
    fn a_network_is_what_neighbours_share() {
        check("192.0.2.77", "192.0.2.0/24");
        check("::ffff:192.0.2.77", "192.0.2.0/24");
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64");
    }

    #[test]
    fn a_network_where_udp_works_again_is_as_good_as_any() {
        let home = Network::of("192.0.2.77".parse().unwrap());
        let mut memory = Memory::default();
        let mut arrive = |way| {
            memory.handle_arrival(&Arrival {
                key: Fingerprint([1; 32]),
                way,
                network: Some(home.clone()),
                origin: None,
            });
            (memory.hint(Some(&home)), memory.hint(None))
        };
        assert_eq!(arrive(Way::WebSocket), (Hint::WithoutUdp, Hint::None));
        assert_eq!(arrive(Way::Udp), (Hint::None, Hint::None));
    }
}
