//! What the thread does while there is no connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::future;
use smol::Timer;

use super::Driver;
use crate::clock;
use crate::connection::End;
use crate::net::host::signalled;
use crate::net::{Command, News};
use crate::probe::Probe;
use crate::script;

impl Driver {
    /// Waits before the next attempt. Returns `false` where the user leaves.
    pub(super) async fn rest(&mut self, pause: Duration) -> bool {
        let until = clock::now() + pause;
        loop {
            let commands = &self.commands;
            let command = async { Some(commands.recv().await.unwrap_or(Command::Leave)) };
            let signal = async {
                signalled(self.signals.as_ref()).await;
                Some(Command::Leave)
            };
            let time = async {
                Timer::at(until).await;
                None
            };
            match future::or(command, future::or(signal, time)).await {
                None => return true,
                Some(command) => {
                    if !self.obey_apart(command) {
                        return false;
                    }
                }
            }
        }
    }

    /// Does what can be done without a connection. Returns `false` where the user leaves.
    pub(super) fn obey_apart(&mut self, command: Command) -> bool {
        match command {
            Command::Leave => return false,
            Command::Size(size) => self.task.size = size,
            Command::Shown(is_shown) => self.is_shown = is_shown,
            Command::Figures(wants) => self.wants_figures = wants,
            // It waits for the next connection, as what was pressed before it was lost.
            Command::Input(event) => {
                if let Some(input) = self.input.as_mut().filter(|it| it.is_interrupted()) {
                    input.handle_event(clock::now(), event);
                }
            }
            Command::Paste(_) => {
                self.tell(News::Notice(
                    "the text was not pasted: no connection".to_owned(),
                ));
            }
            // There is nobody to tell.
            Command::Trust | Command::Distrust | Command::Move { .. } | Command::TakeControl => (),
        }
        true
    }

    /// What script and probe want while there is no connection.
    pub(super) fn act_apart(&mut self) -> Option<End> {
        let now = clock::now();
        let shared = Arc::clone(&self.shared);
        let hash = || shared.view().screen.picture().hash();
        while let Some(action) = self.task.script.poll_action(now, hash) {
            for command in script::commands(action).into_iter().flatten() {
                if !self.obey_apart(command) {
                    return Some(End::Left);
                }
            }
        }
        let outcome = self.probe.as_mut()?.poll_outcome(now)?;
        self.outcome = Some(outcome);
        self.probe = None;
        Some(End::Left)
    }

    /// When to call [`act_apart`](Self::act_apart).
    pub(super) fn due_apart(&self, now: Instant) -> Option<Instant> {
        let script = self.task.script.poll_timeout(now);
        let probe = self.probe.as_ref().and_then(Probe::poll_timeout);
        script.into_iter().chain(probe).min()
    }
}
