//! Remembers servers, and asks about new ones.

use sandbox_client::clock;
use sandbox_client::device::DeviceKey;
use sandbox_client::net::{Arrival, Client, Command, Ended, News};
use sandbox_client::store::Store;
use sandbox_quic::Fingerprint;

use super::{ask, chain, warn};

/// Remembers servers, and asks about new ones.
pub(super) struct Keeper<'a> {
    pub(super) store: &'a Store,
    pub(super) name: String,
    pub(super) trusts: bool,
    pub(super) is_pinned: bool,
    /// The key that the server learns, and for whom.
    pub(super) enrolled: Option<(String, DeviceKey)>,
}

impl Keeper<'_> {
    fn answer(&self, shown: Fingerprint) -> Command {
        if self.trusts || ask::trust(&self.name, shown) {
            Command::Trust
        } else {
            Command::Distrust
        }
    }

    /// Waits for the key of a server that is not known. Returns whether it is trusted.
    pub(super) fn settle(&self, client: &Client) -> bool {
        while let Ok(news) = client.news.recv() {
            if let News::FirstUse(shown) = news {
                let answer = self.answer(shown);
                let is_trusted = answer == Command::Trust;
                client.command(answer);
                return is_trusted;
            }
        }
        false
    }

    /// The server has taken the proof: it is the one that was meant.
    pub(super) fn remember(&self, arrival: &Arrival) {
        if let Some((user, key)) = &self.enrolled
            && let Err(error) = self
                .store
                .remember_device_key(&self.name, user, key.pkcs8())
        {
            warn(&chain(&error));
        }
        let now = clock::unix_seconds();
        if let Err(error) = self.store.remember_way(&self.name, arrival, now) {
            warn(&chain(&error));
        }
        if self.is_pinned {
            return;
        }
        if let Err(error) = self.store.remember(&self.name, arrival.key, now) {
            warn(&chain(&error));
        }
    }
}

/// Without a window: news are for standard error.
pub(super) fn watch(client: Client, keeper: &Keeper<'_>) -> Ended {
    while let Ok(news) = client.news.recv() {
        match news {
            News::FirstUse(shown) => client.command(keeper.answer(shown)),
            News::Live {
                arrival, notices, ..
            } => {
                keeper.remember(&arrival);
                notices.iter().for_each(|it| warn(it));
            }
            News::Lost { words, wait } => warn(&format!(
                "{words}; connecting again in {} ms",
                wait.as_millis()
            )),
            News::Notice(words) => warn(&words),
            News::Copied(_) | News::Control(_) => (),
        }
    }
    client.join()
}
