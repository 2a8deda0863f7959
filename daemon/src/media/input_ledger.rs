//! Knows how far the worker is with the input of the viewer in control, and after a worker's end
//! which of it may be lost.
//!
//! A worker notes an event before it applies it, so one that was noted and never acknowledged may
//! or may not have reached the desktop, and is not applied again. The next worker tells what was
//! noted when it is sent an event that counts as applied: it acknowledges all that it takes for so.

use std::ops::RangeInclusive;

use sandbox_protocol::local::worker::ToWorker;
use sandbox_protocol::wire::input::Event;

/// One input stream: the newest.
#[derive(Debug, Default)]
pub(super) struct InputLedger {
    known: Option<Known>,
    /// The next worker has been asked; input waits for the answer, the newest alone.
    asked: Option<Asked>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    stream: u64,
    /// Newest event that was sent to the worker.
    sent: u32,
    /// Newest event that a worker has acknowledged.
    applied: u32,
}

#[derive(Debug, Default)]
struct Asked {
    answer: Option<u32>,
    waiting: Option<ToWorker>,
}

/// What the answer of the next worker comes to.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Answered {
    /// Events that may not have reached the desktop.
    pub(super) in_doubt: Option<RangeInclusive<u32>>,
    /// Input that waited for the answer.
    pub(super) waiting: Option<ToWorker>,
}

impl InputLedger {
    /// Input is to be sent; gives it back where it may go now.
    pub(super) fn handle_input(&mut self, message: ToWorker) -> Option<ToWorker> {
        let mut has_events = false;
        if let ToWorker::Input {
            stream,
            first_seq,
            events,
            ..
        } = &message
            && !events.is_empty()
        {
            has_events = true;
            self.note(*stream, *first_seq, events.len());
        }
        let Some(asked) = &mut self.asked else {
            return Some(message);
        };
        // A page sends all events until they are acknowledged: the newest packet has the most.
        if has_events || asked.waiting.is_none() {
            asked.waiting = Some(message);
        }
        None
    }

    fn note(&mut self, stream: u64, first_seq: u32, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let last = first_seq.saturating_add(count).saturating_sub(1);
        // A page sends from the oldest event on that nobody has acknowledged.
        let applied = first_seq.saturating_sub(1);
        let known = self.known.filter(|it| it.stream == stream);
        self.known = Some(Known {
            stream,
            sent: known.map_or(last, |it| it.sent.max(last)),
            applied: known.map_or(applied, |it| it.applied.max(applied)),
        });
    }

    /// A worker has applied all up to this.
    pub(super) fn handle_applied(&mut self, stream: u64, seq: u32) {
        let Some(known) = self.known.as_mut().filter(|it| it.stream == stream) else {
            return;
        };
        match &mut self.asked {
            Some(asked) => asked.answer = Some(seq),
            None => known.applied = known.applied.max(seq),
        }
    }

    /// What to ask the next worker first, where anything was sent to the one before: an event that
    /// counts as applied, and what it has counted. The answer to that ends the question, because
    /// a worker that knows nothing of the stream does not answer to the event.
    pub(super) fn handle_rewired(&mut self) -> Option<[ToWorker; 2]> {
        let known = self.known.filter(|it| it.sent > it.applied);
        self.asked = known.map(|_| Asked::default());
        known.map(|it| {
            let repeated = ToWorker::Input {
                stream: it.stream,
                first_seq: it.applied,
                events: vec![Event::ReleaseAll],
                pointer: None,
                held: None,
            };
            [repeated, ToWorker::Count]
        })
    }

    /// The worker has told what it counted.
    pub(super) fn handle_counted(&mut self) -> Answered {
        let (Some(asked), Some(known)) = (self.asked.take(), &mut self.known) else {
            return Answered::default();
        };
        let noted = asked.answer.unwrap_or(0).min(known.sent);
        let in_doubt = (noted > known.applied).then(|| known.applied + 1..=noted);
        known.applied = known.applied.max(noted);
        Answered {
            in_doubt,
            waiting: asked.waiting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(first_seq: u32, count: usize) -> ToWorker {
        ToWorker::Input {
            stream: 7,
            first_seq,
            events: vec![Event::ReleaseAll; count],
            pointer: None,
            held: None,
        }
    }

    /// Three events were sent and one acknowledged when the worker ended.
    fn ended() -> InputLedger {
        let mut ledger = InputLedger::default();
        assert_eq!(ledger.handle_rewired(), None);
        assert!(ledger.handle_input(keys(1, 1)).is_some());
        ledger.handle_applied(7, 1);
        assert!(ledger.handle_input(keys(2, 2)).is_some());
        ledger
    }

    #[test]
    fn what_was_noted_and_not_acknowledged_is_in_doubt() {
        let mut ledger = ended();
        let [repeated, counted] = ledger.handle_rewired().unwrap();
        assert_eq!(repeated, keys(1, 1), "an event that counts as applied");
        assert_eq!(counted, ToWorker::Count);
        ledger.handle_applied(7, 2);
        let answered = ledger.handle_counted();
        assert_eq!(answered.in_doubt, Some(2..=2));
        // Known from here on: another end brings no doubt about it.
        assert!(ledger.handle_rewired().is_some());
        ledger.handle_applied(7, 2);
        assert_eq!(ledger.handle_counted(), Answered::default());
    }

    #[test]
    fn what_was_not_noted_comes_again_and_is_not_in_doubt() {
        for answer in [Some(1), None] {
            let mut ledger = ended();
            ledger.handle_rewired();
            if let Some(seq) = answer {
                ledger.handle_applied(7, seq);
            }
            assert_eq!(ledger.handle_counted(), Answered::default());
        }
    }

    #[test]
    fn input_waits_for_the_answer_and_only_the_newest_of_it() {
        let mut ledger = ended();
        ledger.handle_rewired();
        assert_eq!(ledger.handle_input(keys(2, 2)), None);
        assert_eq!(ledger.handle_input(keys(2, 3)), None);
        ledger.handle_applied(7, 1);
        assert_eq!(ledger.handle_counted().waiting, Some(keys(2, 3)));
        assert!(ledger.handle_input(keys(2, 3)).is_some());
    }

    #[test]
    fn with_everything_acknowledged_nothing_is_asked() {
        let mut ledger = ended();
        ledger.handle_applied(7, 3);
        assert_eq!(ledger.handle_rewired(), None);
        assert_eq!(ledger.handle_counted(), Answered::default());
        // The acknowledgement was lost, and the page shows that it got one.
        let mut ledger = ended();
        assert!(ledger.handle_input(keys(4, 1)).is_some());
        ledger.handle_applied(7, 4);
        assert_eq!(ledger.handle_rewired(), None);
    }
}
