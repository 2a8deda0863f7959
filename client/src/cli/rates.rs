//! What networks have carried, from one run of the program to the next.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::{io, thread};

use sandbox_client::clock;
use sandbox_client::net::LinkRates;
use sandbox_client::store::{Store, StoreError};

use super::{chain, warn};

/// What is known of a server's networks. Without it a connection is only slower to begin with.
pub(super) fn known(store: &Store, name: &str) -> LinkRates {
    store.link_rates(name).unwrap_or_else(|error| {
        warn(&chain(&error));
        LinkRates::new()
    })
}

/// Writes down what is sent to it: a disk may be slow, and neither window nor network waits for
/// one. It ends when nobody can send any more.
pub(super) fn writer(
    path: PathBuf,
    name: String,
) -> io::Result<(SyncSender<LinkRates>, JoinHandle<()>)> {
    let (sender, rates) = sync_channel(1);
    let write = move || {
        if let Err(error) = write_all(&path, &name, &rates) {
            warn(&chain(&error));
        }
    };
    let thread = thread::Builder::new().name("rates".to_owned());
    Ok((sender, thread.spawn(write)?))
}

fn write_all(path: &Path, name: &str, rates: &Receiver<LinkRates>) -> Result<(), StoreError> {
    while let Ok(rates) = rates.recv() {
        Store::open(path)?.remember_link_rates(name, &rates, clock::unix_seconds())?;
    }
    Ok(())
}
