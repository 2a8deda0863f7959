//! What each network has carried: a connection begins with that instead of a guess.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::memory::Network;

/// Kilobits a second from one server, by network.
pub type LinkRates = BTreeMap<Network, u32>;

/// A rate is worth writing down where it is another one by a quarter, and so often at most.
const SHARE: u32 = 4;
const INTERVAL: Duration = Duration::from_secs(60);

/// What is known while the program runs.
#[derive(Debug)]
pub(super) struct Rates {
    /// Where the socket is.
    network: Option<Network>,
    /// What is written down.
    kept: LinkRates,
    kept_at: Option<Instant>,
    measured: LinkRates,
}

impl Rates {
    pub(super) const fn new(kept: LinkRates) -> Self {
        Self {
            network: None,
            kept,
            kept_at: None,
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
        let kept = self.kept.get(network);
        self.measured.get(network).or(kept).copied()
    }

    /// What is to be written down.
    pub(super) fn poll_due(&mut self, now: Instant) -> Option<LinkRates> {
        let is_soon = |it: Instant| now < it + INTERVAL;
        if self.kept_at.is_some_and(is_soon) || !self.is_news(is_another) {
            return None;
        }
        self.kept_at = Some(now);
        self.keep()
    }

    /// When to call [`poll_due`](Self::poll_due) even where nothing was measured.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let due = self.kept_at? + INTERVAL;
        self.is_news(is_another).then_some(due)
    }

    /// What is to be written down at the end.
    pub(super) fn poll_last(&mut self) -> Option<LinkRates> {
        let is_news = self.is_news(|kept, measured| kept != measured);
        is_news.then(|| self.keep()).flatten()
    }

    fn keep(&mut self) -> Option<LinkRates> {
        self.kept.extend(self.measured.clone());
        Some(self.measured.clone())
    }

    fn is_news(&self, is_another: impl Fn(u32, u32) -> bool) -> bool {
        self.measured.iter().any(|(network, measured)| {
            let kept = self.kept.get(network);
            kept.is_none_or(|it| is_another(*it, *measured))
        })
    }
}

const fn is_another(kept: u32, measured: u32) -> bool {
    kept.abs_diff(measured) >= kept.div_ceil(SHARE)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "simulated time starts somewhere")]
mod tests {
    use super::*;

    fn network(name: &str) -> Network {
        Network(name.to_owned())
    }

    #[test]
    fn what_was_measured_counts_for_the_network_that_it_was_measured_in() {
        let mut rates = Rates::new(LinkRates::from([(network("home"), 9_000)]));
        rates.handle_measured(1);
        assert_eq!(rates.hint(), None);
        rates.handle_network(Some(network("home")));
        assert_eq!(rates.hint(), Some(9_000));
        rates.handle_measured(7_000);
        assert_eq!(rates.hint(), Some(7_000));
        rates.handle_network(Some(network("train")));
        assert_eq!(rates.hint(), None);
        let measured = LinkRates::from([(network("home"), 7_000)]);
        assert_eq!(rates.poll_last(), Some(measured));
        assert_eq!(rates.poll_last(), None);
    }

    #[test]
    fn what_is_another_rate_is_written_down_once_a_minute() {
        let now = Instant::now();
        let mut rates = Rates::new(LinkRates::new());
        rates.handle_network(Some(network("home")));
        let kept = |kbps| Some(LinkRates::from([(network("home"), kbps)]));
        assert_eq!((rates.poll_due(now), rates.poll_timeout()), (None, None));
        rates.handle_measured(8_000);
        assert_eq!(rates.poll_due(now), kept(8_000));
        rates.handle_measured(6_001);
        assert_eq!(rates.poll_timeout(), None, "less than a quarter");
        rates.handle_measured(6_000);
        assert_eq!(rates.poll_due(now), None, "too soon");
        let due = now + INTERVAL;
        assert_eq!(rates.poll_timeout(), Some(due));
        assert_eq!(rates.poll_due(due), kept(6_000));
        assert_eq!(rates.poll_timeout(), None);
        rates.handle_measured(5_999);
        assert_eq!(rates.poll_due(due + INTERVAL), None);
        assert_eq!(rates.poll_last(), kept(5_999), "the end tells all");
    }
}
