//! What each network has carried: a connection begins with that instead of a guess.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

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

/// Kilobits a second from one server, by network.
pub type LinkRates = BTreeMap<Network, u32>;

/// What is known while the program runs.
#[derive(Debug)]
pub(super) struct Rates {
    /// Where the socket is.
    network: Option<Network>,
    known: LinkRates,
    measured: LinkRates,
}

impl Rates {
    pub(super) const fn new(known: LinkRates) -> Self {
        Self {
            network: None,
            known,
            measured: LinkRates::new(),
        }
    }

    /// There is another socket.
    pub(super) fn handle_network(&mut self, network: Option<Network>) {
        self.network = network;
    }

    /// The server has measured the way here.
    pub(super) fn handle_measured(&mut self, kbps: u32) {
        if let Some(network) = &self.network {
            self.measured.insert(network.clone(), kbps);
        }
    }

    /// What the network has carried before.
    pub(super) fn hint(&self) -> Option<u32> {
        let network = self.network.as_ref()?;
        let known = self.known.get(network);
        self.measured.get(network).or(known).copied()
    }

    pub(super) fn take_measured(&mut self) -> LinkRates {
        std::mem::take(&mut self.measured)
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
    fn what_was_measured_counts_for_the_network_that_it_was_measured_in() {
        let network = |it: &str| Some(Network(it.to_owned()));
        let mut rates = Rates::new(LinkRates::from([(network("home").unwrap(), 9_000)]));
        rates.handle_measured(1);
        assert_eq!(rates.hint(), None);
        rates.handle_network(network("home"));
        assert_eq!(rates.hint(), Some(9_000));
        rates.handle_measured(7_000);
        assert_eq!(rates.hint(), Some(7_000));
        rates.handle_network(network("train"));
        assert_eq!(rates.hint(), None);
        let measured = LinkRates::from([(network("home").unwrap(), 7_000)]);
        assert_eq!(rates.take_measured(), measured);
    }

    #[test]
    fn a_network_is_what_neighbours_share() {
        check("192.0.2.77", "192.0.2.0/24");
        check("::ffff:192.0.2.77", "192.0.2.0/24");
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64");
    }
}
