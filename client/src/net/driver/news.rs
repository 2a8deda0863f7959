//! What the user is told.

use sandbox_protocol::wire::control::Features;

use super::Driver;
use crate::clock;
use crate::net::News;

impl Driver {
    pub(super) fn handle_attached(&mut self, features: Features, notices: Vec<String>) {
        self.was_live = true;
        if let Some(probe) = &mut self.probe {
            probe.handle_attached(clock::now());
        }
        if let Some(key) = self.task.known {
            self.tell(News::Live {
                key,
                features,
                notices,
            });
        }
    }

    pub(super) fn tell(&self, news: News) {
        // With nobody to read, or too much unread, it does not matter.
        let _unread = self.news.try_send(news);
        self.shared.wake();
    }
}
