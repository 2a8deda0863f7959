//! The executor of HTTP, sessions and signalling: one thread, on which a task that panics ends
//! alone.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_lite::FutureExt as _;
use smol::Executor;

/// Starts tasks; clones share the executor.
#[derive(Clone, Debug, Default)]
pub struct Tasks(Arc<Executor<'static>>);

impl Tasks {
    /// Starts a task that runs until it is done; its panic is logged under `name`.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let task = async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                tracing::error!(task = name, "a task panicked");
            }
        };
        self.0.spawn(task).detach();
    }

    /// Runs all tasks on this thread until `main` is done.
    pub fn run_until<T>(&self, main: impl Future<Output = T>) -> T {
        smol::block_on(self.0.run(main))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_panics_takes_nobody_with_it() {
        let tasks = Tasks::default();
        let (sender, receiver) = async_channel::bounded(1);
        tasks.spawn("mistaken", async { panic!("a mistake") });
        tasks.spawn("sound", async move {
            // The receiver waits below.
            sender.send(7).await.unwrap();
        });
        assert_eq!(tasks.run_until(async { receiver.recv().await }), Ok(7));
    }
}
