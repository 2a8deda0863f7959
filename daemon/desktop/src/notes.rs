//! What a worker leaves for the one after it: how far each input stream has come.
//!
//! One small file in memory that the warden made and keeps. It is written in one piece, so that a
//! worker that is killed leaves the notes of before or after, never half of them.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use sandbox_protocol::codec::{self, CodecError};
use sandbox_protocol::stream::input::Progress;

/// The notes are one page.
const BYTES_MAX: usize = 4096;

/// Bytes of the length before the notes; a length of 0 is that of a page never written.
const PREFIX_LEN: usize = 2;

/// The notes cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotesError {
    #[error("cannot {step} the notes")]
    File {
        step: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("the notes of the worker before are no notes")]
    Malformed(#[from] CodecError),
    #[error("the notes have {0} bytes, more than a page")]
    TooLong(usize),
}

/// The page, and what stands in it.
#[derive(Debug)]
pub(crate) struct Notes {
    file: File,
    written: Vec<Progress>,
}

impl Notes {
    /// Reads what the worker before left; nothing where there was none.
    pub(crate) fn open(memory: OwnedFd) -> Result<Self, NotesError> {
        let file = File::from(memory);
        let mut page = [0; BYTES_MAX];
        file.read_exact_at(&mut page, 0)
            .map_err(|source| NotesError::File {
                step: "read",
                source,
            })?;
        let (length, notes) = page.split_at(PREFIX_LEN);
        let length = length
            .iter()
            .rev()
            .fold(0, |sum, it| sum << 8 | usize::from(*it));
        let written = match notes.get(..length) {
            Some([]) => Vec::new(),
            Some(notes) => codec::decode(notes)?,
            None => return Err(NotesError::TooLong(length)),
        };
        Ok(Self { file, written })
    }

    /// What stands in them.
    pub(crate) fn streams(&self) -> &[Progress] {
        &self.written
    }

    /// Writes how far the streams are, where that has changed. To be called before what was
    /// received is done: a key that is lost with its worker is better than one that comes twice.
    pub(crate) fn keep(&mut self, streams: &[Progress]) -> Result<(), NotesError> {
        if self.written == streams {
            return Ok(());
        }
        self.written.clear();
        self.written.extend_from_slice(streams);
        let notes = codec::encode(&self.written)?;
        let length = u16::try_from(notes.len())
            .ok()
            .filter(|it| usize::from(*it) + PREFIX_LEN <= BYTES_MAX)
            .ok_or(NotesError::TooLong(notes.len()))?;
        let page = [length.to_le_bytes().as_slice(), &notes].concat();
        self.file
            .write_all_at(&page, 0)
            .map_err(|source| NotesError::File {
                step: "write",
                source,
            })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
    use sandbox_protocol::stream::input::{Input, Receiver};
    use sandbox_protocol::wire::input::Event;

    use super::*;

    fn page() -> OwnedFd {
        let memory = memfd_create("notes", MemfdFlags::empty()).unwrap();
        ftruncate(&memory, BYTES_MAX as u64).unwrap();
        memory
    }

    fn type_into(receiver: &mut Receiver, stream: u64, now: Instant) {
        let input = Input {
            stream,
            first_seq: 1,
            events: &[Event::Wheel {
                dx: 0,
                dy: 120,
                x: 1,
                y: 1,
            }],
            pointer: None,
            held: None,
        };
        receiver.handle_input(&input, now);
    }

    #[test]
    fn the_next_worker_finds_what_the_last_one_kept() {
        let memory = page();
        let mut notes = Notes::open(memory.try_clone().unwrap()).unwrap();
        assert_eq!(notes.streams(), []);
        let mut receiver = Receiver::default();
        let now = crate::clock::now();
        for stream in 1..20 {
            type_into(&mut receiver, stream, now);
            notes.keep(receiver.progress()).unwrap();
        }
        let next = Notes::open(memory).unwrap();
        assert_eq!(next.streams(), receiver.progress());
        let mut resumed = Receiver::resume(next.streams().to_vec());
        type_into(&mut resumed, 19, now);
        assert_eq!(resumed.poll_step(), None, "the wheel turned twice");
    }

    #[test]
    fn notes_that_nobody_wrote_like_this_are_refused() {
        for bytes in [[255, 255, 0, 0], [3, 0, 9, 9]] {
            let file = File::from(page());
            file.write_all_at(&bytes, 0).unwrap();
            assert!(Notes::open(file.into()).is_err(), "{bytes:?}");
        }
    }
}
