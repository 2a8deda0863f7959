//! What is done beside a connection by UDP that is not answered: it stays, and goes on where it is
//! answered first.

use std::net::SocketAddr;
use std::time::Instant;

use futures_lite::future;

use super::Driver;
use super::join::{Came, Join, Joined};
use crate::carrier::Carrier;
use crate::connection::Connection;
use crate::net::Transport;
use crate::net::rescue::Rescue;

pub(super) struct Search {
    rescue: Rescue,
    join: Option<Box<Join>>,
}

impl Search {
    pub(super) fn new(transport: Transport) -> Self {
        Self {
            rescue: Rescue::new(transport == Transport::Auto),
            join: None,
        }
    }

    /// Whether the connection should speak from another socket.
    pub(super) fn poll_rebind(
        &mut self,
        now: Instant,
        (carrier, connection): (&Carrier, &Connection),
    ) -> bool {
        // A WebSocket tells of its end, and who is not signed in loses nothing by waiting.
        let since = match carrier {
            Carrier::Udp(_) if connection.is_live() => connection.unanswered_since(),
            Carrier::Udp(_) | Carrier::WebSocket(_) => None,
        };
        self.rescue
            .handle_silence(now, since, connection.round_trip());
        self.rescue.poll_rebind(now)
    }

    /// Does what is due. Returns the connection that takes the place of the silent one.
    pub(super) async fn turn(
        &mut self,
        driver: &mut Driver,
        now: Instant,
        server: SocketAddr,
    ) -> Option<Joined> {
        match (self.rescue.wants_search(now), &mut self.join) {
            (true, None) => self.join = Some(Box::new(Join::beside(driver, now, server))),
            (false, Some(join)) => {
                join.abandon(now).await;
                self.join = None;
            }
            (true, Some(_)) | (false, None) => (),
        }
        match self.join.as_mut()?.turn(driver, now).await? {
            Ok(joined) => Some(joined),
            Err(_) => {
                self.join = None;
                self.rescue.handle_failed(now);
                None
            }
        }
    }

    /// When to call [`turn`](Self::turn).
    pub(super) fn poll_timeout(&mut self) -> Option<Instant> {
        match &mut self.join {
            Some(join) => join.poll_timeout(),
            None => self.rescue.poll_timeout(),
        }
    }

    /// Waits for what comes by the ways that are tried.
    pub(super) async fn receive(&mut self) -> Came {
        match &mut self.join {
            Some(join) => join.receive().await,
            None => future::pending().await,
        }
    }

    /// Something came.
    pub(super) fn handle(&mut self, driver: &Driver, came: Came) {
        if let Some(join) = &mut self.join {
            join.handle(driver, came);
        }
    }

    /// Lets time pass.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Some(join) = &mut self.join {
            join.handle_timeout(now);
        }
    }

    /// The connection is over.
    pub(super) async fn abandon(&mut self, now: Instant) {
        if let Some(join) = &mut self.join {
            join.abandon(now).await;
        }
    }
}
