//! What the viewers of one session share: what their worker was told, and what it has told.

use std::time::{Duration, Instant};

use sandbox_core::permit::{Control, Permit};
use sandbox_core::pulse::{Due, Pulse};
use sandbox_protocol::local::Version;
use sandbox_protocol::local::frame::{Content, FrameHeader};
use sandbox_protocol::local::worker::{Cursor, FromWorker, Pictures, ToWorker};
use sandbox_protocol::wire::input::Event;
use sandbox_protocol::{Bitrate, Micros, Size};

use super::figures::{Figures, Recent};
use super::input_ledger::InputLedger;
use super::keyframe_gate::{KeyframeGate, Rank};
use super::wishes::Wishes;

/// How long a worker may be silent after input. Answers take a millisecond; a machine that starts
/// ten desktops at once makes them wait for two seconds.
const WORKER_SILENCE_MAX: Duration = Duration::from_secs(4);

/// The state beside the viewers themselves.
#[derive(Debug)]
pub(super) struct Shared {
    /// What the workers speak.
    version: Version,
    told: Option<Told>,
    /// The desktop, for viewers that come later: greeting and pointer.
    hello: Option<FromWorker>,
    cursor: Option<FromWorker>,
    /// The newest permit that control was taken with.
    turn: u64,
    /// What the worker was last told that viewers take.
    pictures: Pictures,
    /// Our own input stream, by which what is held goes up when control passes.
    releases: Releases,
    /// The worker has the beginning of a paste and not its end.
    is_pasting: bool,
    keyframes: KeyframeGate,
    wholes: KeyframeGate,
    ledger: InputLedger,
    pulse: Pulse,
    figures: Figures,
    inputs_in_doubt: u64,
}

/// What the worker goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) bitrate: Bitrate,
    pub(super) size: Size,
    pub(super) is_open: bool,
}

#[derive(Clone, Copy, Debug)]
struct Releases {
    stream: u64,
    count: u32,
    /// Input of a viewer has come since the last one.
    is_due: bool,
}

impl Shared {
    /// `stream` is a random number: the name of our own input stream.
    pub(super) fn new(version: Version, stream: u64) -> Self {
        Self {
            version,
            told: None,
            hello: None,
            cursor: None,
            turn: 0,
            pictures: Pictures::ACCESS_UNITS,
            releases: Releases {
                stream,
                count: 0,
                is_due: false,
            },
            is_pasting: false,
            keyframes: KeyframeGate::default(),
            wholes: KeyframeGate::default(),
            ledger: InputLedger::default(),
            pulse: Pulse::new(WORKER_SILENCE_MAX),
            figures: Figures::default(),
            inputs_in_doubt: 0,
        }
    }

    /// A worker is there that knows nothing yet: what it is told first.
    pub(super) fn handle_wired(
        &mut self,
        told: Told,
        pictures: Pictures,
    ) -> impl Iterator<Item = ToWorker> + use<> {
        self.told = Some(Told {
            is_open: true,
            ..told
        });
        self.is_pasting = false;
        self.pictures = pictures;
        let hello = ToWorker::Hello {
            version: self.version.number(),
            bitrate: told.bitrate,
            size: told.size,
            pictures,
        };
        self.pulse = Pulse::new(WORKER_SILENCE_MAX);
        let question = self.ledger.handle_rewired();
        std::iter::once(hello).chain(question.into_iter().flatten())
    }

    /// Control passes: what ends what the viewer before has begun.
    ///
    /// # Errors
    ///
    /// Returns [`Outdated`] when a newer permit is in use.
    pub(super) fn handle_control(
        &mut self,
        permit: &Permit<Control>,
    ) -> Result<Vec<ToWorker>, Outdated> {
        if permit.turn() <= self.turn {
            return Err(Outdated);
        }
        self.turn = permit.turn();
        let mut endings = Vec::new();
        if std::mem::take(&mut self.is_pasting) {
            // Without its end the next paste would be the rest of it, and nobody is to paste half
            // a text: an empty one takes its place.
            let nothing = || ToWorker::Paste {
                text: String::new(),
                last: true,
            };
            endings.extend([nothing(), nothing()]);
        }
        if std::mem::take(&mut self.releases.is_due) {
            endings.push(self.releases.next());
        }
        Ok(endings)
    }

    /// A viewer has a message for the worker; gives back what is to be sent of it now.
    pub(super) fn handle_message(&mut self, message: ToWorker) -> Option<ToWorker> {
        let is_news = match &message {
            ToWorker::Input { .. } => {
                self.releases.is_due = true;
                return self.ledger.handle_input(message);
            }
            ToWorker::Target(bitrate) => self.is_news(|it| &mut it.bitrate, *bitrate),
            ToWorker::Resize(size) => self.is_news(|it| &mut it.size, *size),
            ToWorker::Flow(is_open) => self.is_news(|it| &mut it.is_open, *is_open),
            ToWorker::Paste { last, .. } => {
                self.is_pasting = !last;
                true
            }
            ToWorker::Hello { .. }
            | ToWorker::Pictures(_)
            | ToWorker::Keyframe
            | ToWorker::Invalidate(_)
            | ToWorker::Whole
            | ToWorker::Touch
            | ToWorker::Count => true,
        };
        is_news.then_some(message)
    }

    /// Viewers take other pictures than the worker was told, or the same.
    pub(super) fn handle_pictures(&mut self, pictures: Pictures) -> Option<ToWorker> {
        if std::mem::replace(&mut self.pictures, pictures) == pictures {
            return None;
        }
        Some(ToWorker::Pictures(pictures))
    }

    /// Input goes to the worker; says whether a question goes along, so that a worker that hangs
    /// is noticed.
    pub(super) fn handle_input_passed(&mut self, now: Instant) -> bool {
        self.pulse.handle_input(now)
    }

    /// A viewer cannot go on without some picture; says what the worker is asked for at once.
    pub(super) fn handle_wishes(
        &mut self,
        now: Instant,
        rank: Rank,
        wishes: Wishes,
    ) -> impl Iterator<Item = ToWorker> + use<> {
        // Another encoder may have to make a key frame of it: for observers it costs like one.
        let (lost, is_lost) = match rank {
            Rank::Control => (wishes.lost, false),
            Rank::Observer => (None, wishes.lost.is_some()),
        };
        let keyframe = (wishes.keyframe || is_lost) && self.keyframes.handle_wish(now, rank);
        let whole = wishes.whole && self.wholes.handle_wish(now, rank);
        let asked = [
            lost.map(ToWorker::Invalidate),
            keyframe.then_some(ToWorker::Keyframe),
            whole.then_some(ToWorker::Whole),
        ];
        asked.into_iter().flatten()
    }

    /// Keeps what viewers that come later must know.
    pub(super) fn handle_worker(&mut self, now: Instant, message: &FromWorker) {
        self.pulse.handle_word(now);
        match message {
            FromWorker::Hello { .. } => self.hello = Some(message.clone()),
            FromWorker::Cursor(_) => self.cursor = Some(message.clone()),
            FromWorker::Resized(resized) => {
                if let Some(FromWorker::Hello { size, .. }) = &mut self.hello {
                    *size = *resized;
                }
            }
            FromWorker::Applied { stream, seq } => self.ledger.handle_applied(*stream, *seq),
            FromWorker::Counters(_) | FromWorker::Copied(_) => {}
        }
    }

    /// The worker has told what it counted: which input is in doubt, and what waited to be sent.
    pub(super) fn handle_counted(&mut self) -> super::input_ledger::Answered {
        let answered = self.ledger.handle_counted();
        if let Some(in_doubt) = &answered.in_doubt {
            self.inputs_in_doubt += u64::from(in_doubt.end() - in_doubt.start() + 1);
        }
        answered
    }

    /// What a viewer that has just come must know.
    pub(super) fn greeting(&self) -> [Option<FromWorker>; 2] {
        [self.hello.clone(), self.cursor.clone()]
    }

    /// A frame has come for everybody who takes its kind.
    pub(super) fn handle_frame(&mut self, header: &FrameHeader, bytes: usize) {
        let Some(told) = self.told else { return };
        let (recovers, is_whole) = match header.content {
            Content::AccessUnit => (header.is_keyframe, false),
            Content::Update {
                is_whole, recovers, ..
            } => (recovers, is_whole),
        };
        if recovers {
            self.keyframes.handle_keyframe(bytes, told.bitrate);
        }
        if is_whole {
            self.wholes.handle_keyframe(bytes, told.bitrate);
        }
    }

    /// Size of the desktop, once a worker has told it.
    pub(super) const fn size(&self) -> Option<Size> {
        match &self.hello {
            Some(FromWorker::Hello { size, .. }) => Some(*size),
            Some(_) | None => None,
        }
    }

    /// A frame has left for the viewer in control.
    pub(super) fn handle_sent(
        &mut self,
        now: Instant,
        header: &FrameHeader,
        bytes: usize,
        sent: Micros,
    ) {
        self.figures.handle_sent(now, header, bytes, sent);
    }

    pub(super) fn recent(&self, now: Instant) -> Recent {
        self.figures.recent(now)
    }

    /// Events that may have been lost with a worker.
    pub(super) const fn inputs_in_doubt(&self) -> u64 {
        self.inputs_in_doubt
    }

    /// Lets time pass; says what the worker is asked for.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
    ) -> impl Iterator<Item = ToWorker> + use<> {
        let keyframe = self.keyframes.handle_timeout(now);
        let whole = self.wholes.handle_timeout(now);
        let asked = [
            keyframe.then_some(ToWorker::Keyframe),
            whole.then_some(ToWorker::Whole),
        ];
        asked.into_iter().flatten()
    }

    /// Lets time pass; says what is due about the worker's silence.
    pub(super) fn handle_silence(&mut self, now: Instant) -> Option<Due> {
        self.pulse.handle_timeout(now)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) and
    /// [`handle_silence`](Self::handle_silence).
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let pulse = self.pulse.poll_timeout().map(|it| it.at);
        let gates = [&self.keyframes, &self.wholes].map(KeyframeGate::poll_timeout);
        gates.into_iter().chain([pulse]).flatten().min()
    }

    /// Takes over a value that the worker goes by; says whether it is another one.
    fn is_news<T: PartialEq>(&mut self, field: impl Fn(&mut Told) -> &mut T, value: T) -> bool {
        self.told.as_mut().is_some_and(|told| {
            let known = field(told);
            let is_news = *known != value;
            *known = value;
            is_news
        })
    }
}

impl Releases {
    /// A stream that takes the desktop makes everything go up that another one holds down.
    fn next(&mut self) -> ToWorker {
        self.count += 1;
        ToWorker::Input {
            stream: self.stream,
            first_seq: self.count,
            events: vec![Event::ReleaseAll],
            pointer: None,
            held: None,
        }
    }
}

/// The permit was given before one that is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outdated;

/// Whether a cursor holds the pixels that it says, or none, and is not too large for the page.
pub(super) fn is_picture(cursor: &Cursor) -> bool {
    let Size { width, height } = cursor.size;
    let pixels = usize::from(width) * usize::from(height);
    let is_whole = cursor.rgba.is_empty() || cursor.rgba.len() == pixels * 4;
    is_whole && width.max(height) <= sandbox_protocol::limits::CURSOR_SIDE_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(shared: &mut Shared, now: Instant, rank: Rank, wishes: Wishes) -> Vec<ToWorker> {
        shared.handle_wishes(now, rank, wishes).collect()
    }

    #[test]
    fn wishes_of_the_viewer_in_control_pass_as_they_are() {
        let now = crate::clock::now();
        let mut shared = Shared::new(Version::OWN, 1);
        let wishes = Wishes {
            keyframe: true,
            whole: true,
            lost: Some(7),
        };
        let expected = [ToWorker::Invalidate(7), ToWorker::Keyframe, ToWorker::Whole];
        for _ in 0..3 {
            assert_eq!(asked(&mut shared, now, Rank::Control, wishes), expected);
        }
    }

    #[test]
    fn those_of_observers_wait_and_lost_video_costs_them_a_key_frame() {
        let now = crate::clock::now();
        let mut shared = Shared::new(Version::OWN, 1);
        let lost = Wishes {
            lost: Some(7),
            ..Wishes::default()
        };
        let whole = Wishes {
            whole: true,
            ..Wishes::default()
        };
        let observer = Rank::Observer;
        assert_eq!(
            asked(&mut shared, now, observer, lost),
            [ToWorker::Keyframe]
        );
        assert_eq!(asked(&mut shared, now, observer, whole), [ToWorker::Whole]);
        assert_eq!(asked(&mut shared, now, observer, lost), []);
        assert_eq!(asked(&mut shared, now, observer, whole), []);
        let later = now + Duration::from_secs(2);
        assert_eq!(shared.poll_timeout(), Some(later));
        let due: Vec<_> = shared.handle_timeout(later).collect();
        assert_eq!(due, [ToWorker::Keyframe, ToWorker::Whole]);
        assert_eq!(shared.poll_timeout(), None);
    }

    #[test]
    fn pictures_are_told_where_they_are_others() {
        let mut shared = Shared::new(Version::OWN, 1);
        let both = Pictures {
            access_units: true,
            updates: Some(64),
        };
        assert_eq!(shared.handle_pictures(Pictures::ACCESS_UNITS), None);
        assert_eq!(shared.handle_pictures(both), Some(ToWorker::Pictures(both)));
        assert_eq!(shared.handle_pictures(both), None);
    }
}
