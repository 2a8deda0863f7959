//! A search for another way beside a connection by UDP that is not answered: the connection stays,
//! and goes on where it is answered first.

use std::time::Instant;

use futures_lite::future;

use super::Driver;
use super::join::{Came, Join, Joined};
use crate::carrier::Carrier;
use crate::connection::Connection;
use crate::net::Transport;
use crate::net::rescue::Rescue;

#[derive(Default)]
pub(super) struct Search {
    rescue: Rescue,
    join: Option<Box<Join>>,
}

impl Search {
    /// Does what is due. Returns the connection that takes the place of the silent one.
    pub(super) async fn turn(
        &mut self,
        driver: &mut Driver,
        now: Instant,
        (carrier, connection): (&Carrier, &Connection),
    ) -> Option<Joined> {
        // Without it there are no two ways; and who is not signed in loses nothing by waiting.
        let is_wanted = driver.task.transport == Transport::Auto
            && matches!(carrier, Carrier::Udp(_))
            && connection.is_live();
        if !is_wanted {
            return None;
        }
        let since = connection.unanswered_since();
        self.rescue
            .handle_silence(now, since, connection.round_trip());
        match (self.rescue.is_due(now), &mut self.join) {
            (true, None) => self.join = Some(Box::new(Join::beside(driver, now, carrier.server()))),
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
