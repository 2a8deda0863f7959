//! Decides which parts of a desktop are shown as video, because they move, and when they are
//! handed back to the lossless tiles, because they rest.

mod history;

use std::time::{Duration, Instant};

use history::{GAP_MAX, History};
use sandbox_protocol::limits::VIDEO_RECTS_MAX;
use sandbox_protocol::{Deadline, Rect, Size, Wakeup};

/// Less than this is cheap as tiles, however often it changes: a spinner, a clock, a meter. Nor
/// does a region grow for less.
const AREA_MIN: usize = 160 * 120;

/// A region still moves while this share of it changes at a time. Less than what makes it video,
/// so that a quiet scene does not send it to and fro.
const REGION_SHARE: usize = 16;

/// A region rests after so many halves of its usual gap,
const REST_HALF_GAPS: u32 = 5;
/// but not for one late frame at 30 a second,
const REST_MIN: Duration = Duration::from_millis(80);
/// and surely by then.
const REST_MAX: Duration = Duration::from_millis(250);

/// Bands of a change that lie beside each other are joined in so many rounds: four make a tile.
const JOIN_ROUNDS: usize = 4;

/// Regions at once; beyond them motion is shown as tiles.
const REGIONS_MAX: usize = 8;

const _: () = assert!(REGIONS_MAX <= VIDEO_RECTS_MAX);

/// Who shows what of one desktop. All that video does not show is shown by tiles.
#[derive(Debug)]
pub struct RegionOwner {
    history: History,
    regions: Vec<Region>,
    rects: Vec<Rect>,
    candidates: Vec<Rect>,
    handovers: u64,
}

/// A part of the desktop that moves.
#[derive(Clone, Copy, Debug)]
struct Region {
    rect: Rect,
    last: Instant,
    /// Usual time between two changes.
    gap: Duration,
}

impl RegionOwner {
    /// All of the desktop is shown by tiles.
    pub fn new(size: Size) -> Self {
        Self {
            history: History::new(size),
            regions: Vec::with_capacity(REGIONS_MAX),
            rects: Vec::with_capacity(REGIONS_MAX),
            candidates: Vec::with_capacity(REGIONS_MAX),
            handovers: 0,
        }
    }

    /// What video shows.
    pub fn video(&self) -> &[Rect] {
        &self.rects
    }

    /// How often a region was taken, has grown, or was given back.
    pub const fn handovers(&self) -> u64 {
        self.handovers
    }

    /// Pixels have changed within these rectangles, which do not overlap. What lies in `moved`
    /// does not count: around where pixels were that are elsewhere now, and where they are. It
    /// was shown by moving them, and what that exposed is new but once.
    pub fn handle_change(&mut self, changed: &[Rect], moved: Option<Rect>, now: Instant) {
        let parts = || {
            let parts = changed.iter().flat_map(move |it| match moved {
                Some(moved) => it.without(moved),
                None => it.without(Rect::default()),
            });
            parts.filter(|it| !it.is_empty())
        };
        self.history.count(parts, now);
        self.find_candidates(parts);
        self.take_candidates(now);
        self.keep_alive(parts, now);
        self.list();
    }

    /// A change was too much for tiles: it becomes video at once, coarse but whole, and is made
    /// exact as soon as it rests. A little is left to the tiles.
    pub fn handle_left(&mut self, left: Rect, now: Instant) {
        self.take(left, Duration::ZERO, now);
        self.join_regions();
        self.list();
    }

    /// The desktop shows another picture altogether, or nobody watches.
    pub fn handle_reset(&mut self, size: Size) {
        self.history = History::new(size);
        self.regions.clear();
        self.list();
    }

    /// Lets time pass: what rests goes back to the tiles, and is to be repainted exactly.
    pub fn handle_timeout(&mut self, now: Instant) {
        let before = self.regions.len();
        self.regions.retain(|it| it.rests_at() > now);
        self.handovers += (before - self.regions.len()) as u64;
        self.list();
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let at = self.regions.iter().map(Region::rests_at).min()?;
        Some(Deadline {
            at,
            why: Wakeup::Handover,
        })
    }

    /// Finds what moves: changes that reach a moving tile, and those beside them that are about
    /// as wide. At its edges video has a little of a tile only.
    fn find_candidates<I: Iterator<Item = Rect>>(&mut self, parts: impl Fn() -> I) {
        self.candidates.clear();
        for part in parts().filter(|it| self.history.moves(*it)) {
            join(&mut self.candidates, self.history.frequent_part(part));
        }
        for _ in 0..JOIN_ROUNDS {
            for part in parts() {
                let part = self.history.frequent_part(part);
                let mut candidates = self.candidates.iter_mut();
                let beside = candidates.find(|it| {
                    !part.is_empty() && part.width * 2 >= it.width && is_beside(**it, part)
                });
                if let Some(candidate) = beside {
                    *candidate = candidate.union(part);
                }
            }
        }
    }

    fn take_candidates(&mut self, now: Instant) {
        let candidates = std::mem::take(&mut self.candidates);
        for candidate in &candidates {
            self.take(*candidate, GAP_MAX, now);
        }
        self.candidates = candidates;
        self.join_regions();
    }

    /// Makes a rectangle part of a region, or a region of its own that changes so often.
    fn take(&mut self, rect: Rect, gap: Duration, now: Instant) {
        if rect.area() < AREA_MIN {
            return;
        }
        let is_full = self.regions.len() == REGIONS_MAX;
        match self.regions.iter_mut().find(|it| it.rect.touches(rect)) {
            Some(region) => {
                let both = region.rect.union(rect);
                if both.area() - region.rect.area() >= AREA_MIN {
                    region.rect = both;
                    self.handovers += 1;
                }
            }
            None if !is_full => {
                let last = now;
                self.regions.push(Region { rect, last, gap });
                self.handovers += 1;
            }
            None => (),
        }
    }

    /// Regions that have grown into each other are one.
    fn join_regions(&mut self) {
        let mut at = 0;
        while let Some(region) = self.regions.get(at).copied() {
            let other = self
                .regions
                .iter()
                .skip(at + 1)
                .position(|it| it.rect.touches(region.rect));
            let Some(other) = other else {
                at += 1;
                continue;
            };
            let other = self.regions.swap_remove(at + 1 + other);
            if let Some(region) = self.regions.get_mut(at) {
                region.rect = region.rect.union(other.rect);
                region.last = region.last.max(other.last);
            }
            self.handovers += 1;
            at = 0;
        }
    }

    fn keep_alive<I: Iterator<Item = Rect>>(&mut self, parts: impl Fn() -> I, now: Instant) {
        for region in &mut self.regions {
            let within = parts().filter_map(|it| it.intersection(region.rect));
            let pixels: usize = within.map(Rect::area).sum();
            if pixels * REGION_SHARE >= region.rect.area() {
                let gap = now.saturating_duration_since(region.last).min(GAP_MAX);
                region.gap = (region.gap * 3 + gap) / 4;
                region.last = now;
            }
        }
    }

    fn list(&mut self) {
        self.rects.clear();
        self.rects.extend(self.regions.iter().map(|it| it.rect));
    }
}

impl Region {
    fn rests_at(&self) -> Instant {
        let rest = (self.gap / 2 * REST_HALF_GAPS).clamp(REST_MIN, REST_MAX);
        self.last + rest
    }
}

/// Adds a rectangle to one that touches it or lies beside it; where there are too many, to any.
fn join(rects: &mut Vec<Rect>, rect: Rect) {
    let is_full = rects.len() == REGIONS_MAX;
    let beside = rects
        .iter_mut()
        .rev()
        .find(|it| is_full || is_beside(**it, rect));
    match beside {
        Some(beside) => *beside = beside.union(rect),
        None => rects.push(rect),
    }
}

/// They touch, or no pixel is between them.
fn is_beside(a: Rect, b: Rect) -> bool {
    let around = Rect::between(
        a.x.saturating_sub(1),
        a.y.saturating_sub(1),
        a.right().saturating_add(1),
        a.bottom().saturating_add(1),
    );
    around.touches(b)
}

#[cfg(test)]
mod screen_tests;
#[cfg(test)]
mod tests;
