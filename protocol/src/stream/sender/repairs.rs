//! Fragments that are to be sent again, in the order in which they were asked for.

use std::collections::VecDeque;

use super::sent::SentUpdates;
use crate::stream::packetize::Carriage;
use crate::wire::datagram::Wanted;

/// Repairs that wait to be sent; what is beyond will be asked for again.
const REPAIRS_MAX: usize = 1_024;

/// One fragment of one update.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repair {
    pub(super) update: u32,
    pub(super) index: usize,
}

/// The repairs that wait.
#[derive(Debug, Default)]
pub(super) struct Repairs(VecDeque<Repair>);

impl Repairs {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn pop(&mut self) -> Option<Repair> {
        self.0.pop_front()
    }

    /// Answers a request. `run` packets are lost together on this path.
    pub(super) fn answer(&mut self, sent: &mut SentUpdates, wanted: Wanted, run: usize) {
        let number = wanted.update;
        if let Some(naming) = sent.naming_void(number) {
            // The viewer waits for what was given up: it has not seen who says so.
            self.touch(sent, naming);
            return;
        }
        let room = REPAIRS_MAX - self.0.len();
        sent.change(number, |update| {
            let Carriage::Datagrams(fragments) = &mut update.carriage else {
                return;
            };
            for _ in 0..fragments.answer(wanted, run).min(room) {
                let index = fragments.next_repair();
                self.0.push_back(Repair {
                    update: number,
                    index,
                });
                fragments.queued += 1;
            }
        });
    }

    /// Sends one fragment of an update, unless some are on their way already.
    pub(super) fn touch(&mut self, sent: &mut SentUpdates, number: u32) {
        sent.change(number, |update| {
            if let Carriage::Datagrams(fragments) = &mut update.carriage
                && fragments.queued == 0
            {
                let index = fragments.next_repair();
                self.0.push_back(Repair {
                    update: number,
                    index,
                });
                fragments.queued += 1;
            }
        });
    }
}
