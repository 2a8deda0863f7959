//! What a jail writes to its standard error: passed on line by line, within bounds.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use sandbox_protocol::SessionId;

use crate::limits::{LOG_LINE_BYTES, LOG_LINES_PER_SECOND, LOG_TAIL_BYTES};
use crate::plan::JailKind;

/// The reading end of one jail's log.
#[derive(Debug)]
pub(crate) struct JailLog {
    pipe: std::io::PipeReader,
    line: Vec<u8>,
    tail: String,
    window: Option<Instant>,
    lines: u32,
    is_open: bool,
}

impl JailLog {
    pub(crate) fn new(pipe: std::io::PipeReader) -> Self {
        Self {
            pipe,
            line: Vec::new(),
            tail: String::new(),
            window: None,
            lines: 0,
            is_open: true,
        }
    }

    /// The pipe, while somebody may write to it.
    pub(crate) fn pipe(&self) -> Option<BorrowedFd<'_>> {
        self.is_open.then(|| self.pipe.as_fd())
    }

    /// The last lines, to explain an end.
    pub(crate) fn tail(&self) -> &str {
        self.tail.trim()
    }

    /// Reads once; called when the pipe is readable.
    pub(crate) fn drain(&mut self, session: SessionId, kind: JailKind, now: Instant) {
        let mut buffer = [0; 4096];
        let length = match self.pipe.read(&mut buffer) {
            Ok(0) | Err(_) => {
                self.is_open = false;
                return;
            }
            Ok(length) => length,
        };
        for byte in buffer.iter().take(length) {
            match byte {
                b'\n' => self.finish_line(session, kind, now),
                _ if self.line.len() < LOG_LINE_BYTES => self.line.push(*byte),
                _ => {}
            }
        }
    }

    fn finish_line(&mut self, session: SessionId, kind: JailKind, now: Instant) {
        let line = String::from_utf8_lossy(&self.line).replace(char::is_control, " ");
        self.line.clear();
        self.tail.push_str(&line);
        self.tail.push('\n');
        while self.tail.len() > LOG_TAIL_BYTES {
            let rest = self.tail.find('\n').map_or(self.tail.len(), |it| it + 1);
            self.tail.drain(..rest);
        }
        let is_new_window = self
            .window
            .is_none_or(|it| now.duration_since(it) >= Duration::from_secs(1));
        if is_new_window {
            self.window = Some(now);
            self.lines = 0;
        }
        self.lines += 1;
        if self.lines <= LOG_LINES_PER_SECOND {
            match kind {
                JailKind::Worker => tracing::info!(%session, jail = %kind, "{line}"),
                JailKind::Display | JailKind::Programs => {
                    tracing::debug!(%session, jail = %kind, "{line}");
                }
            }
        }
    }
}
