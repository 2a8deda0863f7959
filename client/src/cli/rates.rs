//! What networks have carried, from one run of the program to the next.

use sandbox_client::clock;
use sandbox_client::net::{Ended, LinkRates};
use sandbox_client::store::Store;

use super::{chain, warn};

/// What is known of a server's networks. Without it a connection is only slower to begin with.
pub(super) fn known(store: &Store, name: &str) -> LinkRates {
    store.link_rates(name).unwrap_or_else(|error| {
        warn(&chain(&error));
        LinkRates::new()
    })
}

pub(super) fn keep(store: &Store, name: &str, ended: &Ended) {
    if ended.link_rates.is_empty() {
        return;
    }
    let now = clock::unix_seconds();
    if let Err(error) = store.remember_link_rates(name, &ended.link_rates, now) {
        warn(&chain(&error));
    }
}
