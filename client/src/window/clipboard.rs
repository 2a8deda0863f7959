//! Texts between the window system's clipboard and the desktop's, on a thread of their own: the
//! program that owns a clipboard may let whoever asks wait for seconds.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use arboard::Error;

/// How long the program's end waits for the thread: a clipboard manager is given what was copied.
const END_MAX: Duration = Duration::from_millis(500);

/// What the thread has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// What was asked for by [`Clipboard::take`] with this number: the text that the user pastes,
    /// where it is another than the desktop has by itself.
    Taken(u64, Result<Option<String>, String>),
    /// Words for the user.
    Failed(String),
}

/// The clipboard, as the window has it.
pub(super) struct Clipboard {
    orders: Arc<Orders>,
    /// Disconnected when the thread has ended.
    end: Receiver<()>,
}

#[derive(Debug, PartialEq, Eq)]
enum Order {
    Put(String),
    Take(u64),
    Forget,
    End,
}

#[derive(Default)]
struct Orders {
    /// One of a kind, the newest.
    queue: Mutex<VecDeque<Order>>,
    more: Condvar,
}

impl Clipboard {
    /// Starts the thread, which tells by `tell`.
    ///
    /// # Errors
    ///
    /// Returns the system's error where there can be no thread.
    pub(super) fn start(tell: impl Fn(Told) + Send + 'static) -> io::Result<Self> {
        let orders = Arc::<Orders>::default();
        let (ended, end) = channel();
        let theirs = Arc::clone(&orders);
        Builder::new().name("clipboard".to_owned()).spawn(move || {
            serve(&theirs, tell);
            drop(ended);
        })?;
        Ok(Self { orders, end })
    }

    /// A program on the desktop copied a text, which is put here.
    pub(super) fn put(&self, text: String) {
        self.orders.push(Order::Put(text));
    }

    /// The user pastes. A text that was pasted is given again: the desktop forgets it with the
    /// first program.
    pub(super) fn take(&self, number: u64) {
        self.orders.push(Order::Take(number));
    }

    /// The desktop may be another one.
    pub(super) fn forget(&self) {
        self.orders.push(Order::Forget);
    }
}

impl Drop for Clipboard {
    fn drop(&mut self) {
        self.orders.push(Order::End);
        // Nothing is sent: it ends with the thread, or is given up.
        let _ended = self.end.recv_timeout(END_MAX);
    }
}

impl Orders {
    fn queue(&self) -> MutexGuard<'_, VecDeque<Order>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, order: Order) {
        let mut queue = self.queue();
        let kind = std::mem::discriminant(&order);
        queue.retain(|it| std::mem::discriminant(it) != kind);
        queue.push_back(order);
        self.more.notify_one();
    }

    fn pop(&self) -> Order {
        let mut queue = self.queue();
        loop {
            if let Some(order) = queue.pop_front() {
                return order;
            }
            queue = self
                .more
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn serve(orders: &Orders, tell: impl Fn(Told)) {
    let mut texts = Texts::default();
    loop {
        match orders.pop() {
            Order::Put(text) => {
                if let Err(words) = texts.put(text) {
                    tell(Told::Failed(words));
                }
            }
            Order::Take(number) => tell(Told::Taken(number, texts.take())),
            Order::Forget => texts.desktops = None,
            Order::End => return,
        }
    }
}

/// The clipboard, once it was used.
#[derive(Default)]
struct Texts {
    system: Option<arboard::Clipboard>,
    /// What the desktop's clipboard holds by itself, as far as we know.
    desktops: Option<String>,
}

impl Texts {
    fn put(&mut self, text: String) -> Result<(), String> {
        self.desktops = Some(text.clone());
        self.with(|it| it.set_text(text)).map_err(|error| {
            format!("What was copied on the desktop cannot be put into the clipboard: {error}")
        })
    }

    fn take(&mut self) -> Result<Option<String>, String> {
        let text = match self.with(arboard::Clipboard::get_text) {
            Ok(text) => text,
            // A picture, or nothing at all.
            Err(Error::ContentNotAvailable) => return Ok(None),
            Err(error) => return Err(format!("The clipboard cannot be read: {error}")),
        };
        if text.is_empty() || self.desktops.as_ref() == Some(&text) {
            return Ok(None);
        }
        self.desktops = None;
        Ok(Some(text))
    }

    fn with<T>(
        &mut self,
        act: impl FnOnce(&mut arboard::Clipboard) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let system = match self.system.take() {
            Some(system) => system,
            None => arboard::Clipboard::new()?,
        };
        let system = self.system.insert(system);
        let outcome = act(system);
        if !matches!(outcome, Ok(_) | Err(Error::ContentNotAvailable)) {
            self.system = None;
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_wait_one_of_a_kind_in_their_order() {
        let orders = Orders::default();
        orders.push(Order::Put("old".to_owned()));
        orders.push(Order::Take(1));
        orders.push(Order::Put("new".to_owned()));
        orders.push(Order::Take(2));
        assert_eq!(orders.pop(), Order::Put("new".to_owned()));
        assert_eq!(orders.pop(), Order::Take(2));
        assert!(orders.queue().is_empty());
    }
}
