//! Composes the updates of viewers that hold the picture themselves: tiles where the screen rests,
//! video where it moves, or where tiles would take too long.

use std::time::{Duration, Instant};

use rustix::rand::{GetRandomFlags, getrandom};
use sandbox_core::region_owner::RegionOwner;
use sandbox_protocol::limits::VIDEO_RECTS_MAX;
use sandbox_protocol::local::frame::Content;
use sandbox_protocol::screen::{Composer, Frame};
use sandbox_protocol::wire::update::{Draft, Header};
use sandbox_protocol::{Bitrate, Rect, Size};

use super::allowance::Allowance;
use super::screen::Screen;

/// What the tiles of one update may be.
#[derive(Clone, Copy, Debug)]
struct Budget {
    /// How long the link may take.
    time: Duration,
    /// What it has to carry however slow it is.
    bytes_min: usize,
}

/// That is how late the answer to a key can be. What needs longer is shown as video, which is
/// hardly legible with fewer bytes; a page of text in two colours fits.
const CHANGE: Budget = Budget {
    time: Duration::from_millis(40),
    bytes_min: 16 << 10,
};

/// Of what rests: the next change waits behind it. A few tiles, so that it ends.
const PORTION: Budget = Budget {
    time: Duration::from_millis(40),
    bytes_min: 4 << 10,
};

/// A whole picture may take longer: it is looked at before anything is typed. Two terminals fit.
const WHOLE: Budget = Budget {
    time: Duration::from_millis(200),
    bytes_min: 32 << 10,
};

impl Budget {
    fn bytes(self, link: Bitrate) -> usize {
        let bits = u128::from(link.bps()) * self.time.as_millis() / 1_000;
        let bytes = usize::try_from(bits / 8).unwrap_or(usize::MAX);
        bytes.max(self.bytes_min)
    }
}

/// Shown of an access unit that has nothing to show, but that the decoders must have.
const CORNER: Rect = Rect::between(0, 0, 2, 2);

/// What all viewers of updates show, and the update in the making.
pub(super) struct Updates {
    composer: Composer,
    owner: RegionOwner,
    allowance: Allowance,
    draft: Draft,
    /// What the owner gives to video, with even edges: video has one colour for two pixels.
    moving: Vec<Rect>,
    /// What the access unit of this update shows.
    shown: Vec<Rect>,
    size: Size,
    slots: u16,
    is_whole: bool,
}

/// What the next update is made for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Purpose {
    /// An access unit of the whole screen is made for others, and these viewers get it too.
    pub is_encoded: bool,
    /// Viewers wait for video that recovers.
    pub recovers: bool,
    pub bitrate: Bitrate,
}

/// When there is something to do without a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rest {
    /// Viewers do not show all that rests exactly.
    pub is_behind: bool,
    /// When something that moves may have come to rest.
    pub handover: Option<Instant>,
}

impl Updates {
    /// For viewers with so many places in their cache. The first update is a whole one.
    pub(super) fn new(size: Size, slots: u16) -> Self {
        Self {
            composer: Composer::new(size, slots, seed()),
            owner: RegionOwner::new(size),
            allowance: Allowance::new(),
            draft: Draft::default(),
            moving: Vec::new(),
            shown: Vec::new(),
            size,
            slots,
            is_whole: true,
        }
    }

    pub(super) const fn slots(&self) -> u16 {
        self.slots
    }

    /// The next update is a whole one, of this size.
    pub(super) fn begin(&mut self, size: Size) {
        self.composer.reset(size);
        self.owner.handle_reset(size);
        self.size = size;
        self.is_whole = true;
    }

    /// Composes what has changed, and decides what video shows.
    pub(super) fn compose(&mut self, screen: &Screen, purpose: Purpose, now: Instant) {
        self.owner.handle_timeout(now);
        self.list_moving();
        self.shown.clear();
        let changed = screen.changed();
        if self.is_whole {
            self.compose_whole(screen, purpose.bitrate, now);
        } else if !changed.is_empty() && purpose.is_encoded {
            self.compose_around_video(screen, now);
        } else if !changed.is_empty() {
            self.compose_tiles(screen, purpose.bitrate, now);
        }
        let is_due = purpose.recovers || self.is_whole || purpose.is_encoded;
        if self.shown.is_empty() && is_due {
            self.shown.extend_from_slice(&self.moving);
        }
    }

    fn compose_whole(&mut self, screen: &Screen, bitrate: Bitrate, now: Instant) {
        let frame = Frame {
            picture: screen.view(),
            damage: &[Rect::whole(self.size)],
            video: &[],
        };
        let budget = WHOLE.bytes(bitrate);
        let composed = self.composer.compose(&frame, budget, &mut self.draft);
        self.owner.handle_left(composed.left, now);
        self.list_moving();
    }

    fn compose_tiles(&mut self, screen: &Screen, bitrate: Bitrate, now: Instant) {
        let frame = Frame {
            picture: screen.view(),
            damage: screen.changed(),
            video: &self.moving,
        };
        let composed = self
            .composer
            .compose(&frame, CHANGE.bytes(bitrate), &mut self.draft);
        self.owner.handle_left(composed.left, now);
        self.list_moving();
        let mut changed = screen.changed().iter();
        if changed.any(|it| self.moving.iter().any(|video| video.touches(*it))) {
            self.shown.extend_from_slice(&self.moving);
        } else if self.allowance.covers(self.draft.len(), bitrate, now) {
            return;
        }
        self.owner
            .handle_change(screen.changed(), composed.moved, now);
    }

    /// Leaves every change to the access unit that shows it anyway.
    fn compose_around_video(&mut self, screen: &Screen, now: Instant) {
        join(screen.changed(), self.size, &mut self.shown);
        let frame = Frame {
            picture: screen.view(),
            damage: screen.changed(),
            video: &self.shown,
        };
        self.composer.compose(&frame, 0, &mut self.draft);
        for rect in &self.shown {
            self.owner.handle_left(*rect, now);
        }
        self.owner.handle_change(screen.changed(), None, now);
        self.list_moving();
    }

    /// What an access unit must be encoded for; nothing where none is needed.
    pub(super) fn shown(&self) -> &[Rect] {
        &self.shown
    }

    /// Adds the access unit to the update.
    pub(super) fn show(&mut self, access_unit: &[u8]) {
        if self.shown.is_empty() {
            self.shown.push(CORNER);
        }
        self.composer
            .video(&self.shown, access_unit, &mut self.draft);
    }

    /// Adds a portion of what viewers do not show exactly.
    pub(super) fn repaint(&mut self, bitrate: Bitrate) {
        self.composer
            .repaint(&self.moving, PORTION.bytes(bitrate), &mut self.draft);
    }

    /// Ends the update; `None` where there is nothing to say. The header's `whole` is for this
    /// function to fill in.
    pub(super) fn finish(
        &mut self,
        header: Header,
        recovers: bool,
        into: &mut Vec<u8>,
    ) -> Option<Content> {
        let is_whole = std::mem::take(&mut self.is_whole);
        if self.draft.is_empty() && !is_whole && !recovers {
            return None;
        }
        let content = Content::Update {
            is_whole,
            is_video_only: !is_whole && self.draft.is_video_alone(),
            recovers: recovers || is_whole,
        };
        let header = Header {
            whole: is_whole.then_some(self.size),
            is_refinement: header.is_refinement && !is_whole,
            ..header
        };
        into.clear();
        into.extend_from_slice(self.draft.finish(&header));
        self.draft.clear();
        Some(content)
    }

    pub(super) fn rest(&self) -> Rest {
        Rest {
            is_behind: self.composer.is_behind(&self.moving),
            handover: self.owner.poll_timeout().map(|it| it.at),
        }
    }

    fn list_moving(&mut self) {
        self.moving.clear();
        let size = self.size;
        let moving = self.owner.video().iter().map(|it| even(*it, size));
        self.moving.extend(moving);
    }
}

/// The smallest rectangle with even edges around `rect`.
fn even(rect: Rect, size: Size) -> Rect {
    let up = |edge: u16, end: u16| edge.saturating_add(edge % 2).min(end);
    Rect::between(
        rect.x & !1,
        rect.y & !1,
        up(rect.right(), size.width),
        up(rect.bottom(), size.height),
    )
}

/// Lists changes as few rectangles with even edges.
fn join(changed: &[Rect], size: Size, into: &mut Vec<Rect>) {
    for rect in changed.iter().map(|it| even(*it, size)) {
        match into.last_mut() {
            Some(last) if (last.x, last.width, last.bottom()) == (rect.x, rect.width, rect.y) => {
                *last = last.union(rect);
            }
            Some(_) | None => into.push(rect),
        }
    }
    if into.len() > VIDEO_RECTS_MAX {
        let around = into.drain(..).reduce(Rect::union);
        into.extend(around);
    }
}

/// Names of tiles must not be foreseen by what draws them.
fn seed() -> u64 {
    let mut bytes = [0; 8];
    // So few come at once, or not at all (getrandom(2)).
    let read = getrandom(&mut bytes, GetRandomFlags::empty());
    assert_eq!(read, Ok(bytes.len()), "the kernel gives random bytes");
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size {
        width: 100,
        height: 100,
    };

    #[test]
    fn edges_become_even_outwards_and_stay_on_the_desktop() {
        let odd = Rect::between(3, 5, 7, 9);
        assert_eq!(even(odd, SIZE), Rect::between(2, 4, 8, 10));
        let at_the_end = Rect::between(99, 98, 100, 99);
        assert_eq!(even(at_the_end, SIZE), Rect::between(98, 98, 100, 100));
    }

    #[test]
    fn bands_become_one_rectangle_and_too_many_become_one_too() {
        let bands = [
            Rect::between(0, 0, 64, 16),
            Rect::between(0, 16, 64, 32),
            Rect::between(64, 32, 100, 41),
        ];
        let mut joined = Vec::new();
        join(&bands, SIZE, &mut joined);
        let both = [Rect::between(0, 0, 64, 32), Rect::between(64, 32, 100, 42)];
        assert_eq!(joined, both);
        let many: Vec<Rect> = (0..50)
            .flat_map(|it| [0, 50].map(|x| Rect::between(x, it * 2, x + 2, it * 2 + 1)))
            .collect();
        joined.clear();
        join(&many, SIZE, &mut joined);
        assert_eq!(joined, [Rect::between(0, 0, 52, 100)]);
    }

    #[test]
    fn a_budget_is_a_moment_of_the_link_and_never_nothing() {
        let budget = |it: Budget, kbps| it.bytes(Bitrate::kbps(kbps));
        assert_eq!(budget(CHANGE, 20_000), 100_000);
        assert_eq!(budget(CHANGE, 300), 16 << 10);
        assert_eq!(budget(PORTION, 300), 4 << 10);
        assert_eq!(budget(WHOLE, 20_000), 500_000);
    }
}
