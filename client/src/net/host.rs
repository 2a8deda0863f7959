//! What the thread asks of its machine: chance, signals, names.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};

use async_signal::Signals;
use futures_lite::{StreamExt as _, future};
use sandbox_protocol::stream::input_sender::InputSender;

/// Input whose stream has a name by chance.
pub(super) fn fresh_input() -> io::Result<InputSender> {
    let mut stream = [0; 8];
    getrandom::fill(&mut stream)?;
    Ok(InputSender::new(u64::from_le_bytes(stream)))
}

/// Waits until the program is told to end.
pub(super) async fn signalled(signals: Option<&Signals>) {
    match signals {
        Some(mut signals) => drop(signals.next().await),
        None => future::pending().await,
    }
}

/// Looks a name up in a thread of its own: the system's resolver waits, and cannot be told not to.
pub(crate) async fn resolve(host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    let (told, found) = async_channel::bounded(1);
    std::thread::Builder::new()
        .name("resolver".to_owned())
        .spawn(move || {
            let addresses = (host.as_str(), port).to_socket_addrs();
            // Nobody waits any more where the user has left.
            let _left = told.send_blocking(addresses.map(Iterator::collect));
        })?;
    found.recv().await.map_err(io::Error::other)?
}
