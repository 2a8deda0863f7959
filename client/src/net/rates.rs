//! What each network has carried: a connection begins with that instead of a guess.

use std::collections::BTreeMap;

use super::memory::Network;

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
}
