//! What the user is told.

use sandbox_protocol::wire::control::Features;

use super::{Driver, Place};
use crate::clock;
use crate::net::{Arrival, News};

impl Driver {
    pub(super) fn handle_attached(
        &mut self,
        (way, network): Place<'_>,
        features: Features,
        notices: Vec<String>,
    ) {
        self.was_live = true;
        if let Some(probe) = &mut self.probe {
            probe.handle_attached(clock::now());
        }
        let Some(key) = self.task.known else { return };
        let arrival = Arrival {
            key,
            way,
            network: network.clone(),
            origin: self.origin.clone(),
        };
        self.task.memory.handle_arrival(&arrival);
        self.tell(News::Live {
            arrival,
            features,
            notices,
        });
    }

    pub(super) fn tell(&self, news: News) {
        // With nobody to read, or too much unread, it does not matter.
        let _unread = self.news.try_send(news);
        self.shared.wake();
    }
}
