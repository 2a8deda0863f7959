//! What the threads of one world share: when it ends, what its screen does, what was pressed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;

/// Time between two updates, and between two looks at what is shared.
pub(crate) const INTERVAL: Duration = Duration::from_nanos(16_666_667);

/// What the screen does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content {
    Still,
    /// A first picture of so many bytes, and then nothing.
    First(usize),
    /// Updates of so many bytes.
    Fixed(usize),
    /// Updates that fill the target.
    Filling,
}

/// Shared by all threads of a world.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) start: Instant,
    content: Mutex<Content>,
    /// When each key was pressed that the server has not done yet.
    presses: Mutex<VecDeque<Instant>>,
    types: AtomicBool,
    is_over: AtomicBool,
    /// How often the viewer was told to take another address.
    moves: AtomicU32,
}

impl Shared {
    pub(crate) fn new(content: Content) -> Self {
        Self {
            start: clock::now(),
            content: Mutex::new(content),
            presses: Mutex::default(),
            types: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            moves: AtomicU32::new(0),
        }
    }

    pub(crate) fn content(&self) -> Content {
        *lock(&self.content)
    }

    pub(crate) fn show(&self, content: Content) {
        *lock(&self.content) = content;
    }

    pub(crate) fn presses(&self) -> MutexGuard<'_, VecDeque<Instant>> {
        lock(&self.presses)
    }

    pub(crate) fn types(&self) -> bool {
        self.types.load(Ordering::Relaxed)
    }

    pub(crate) fn set_typing(&self, types: bool) {
        self.types.store(types, Ordering::Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn moves(&self) -> u32 {
        self.moves.load(Ordering::Relaxed)
    }

    pub(crate) fn move_viewer(&self) {
        self.moves.fetch_add(1, Ordering::Relaxed);
    }
}

/// A thread that has panicked ends the bench when it is joined.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
