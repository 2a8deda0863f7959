//! A server and a viewer that talk to each other, for tests.

use super::sample::{Page, Random};
use super::{ApplyError, Composed, Composer, Frame, Picture, Shadow, VideoSource, View};
use crate::wire::update::{Draft, Header, Lapse, Update};
use crate::{Rect, Size};

/// Shows colours that an access unit decides: as wrong as video can be.
#[derive(Debug)]
pub(crate) struct FalseColours;

impl VideoSource for FalseColours {
    fn show(&mut self, access_unit: &[u8], rects: &[Rect], picture: &mut Picture) -> bool {
        let Ok(number) = access_unit.try_into() else {
            return false;
        };
        let seed = u64::from(u32::from_le_bytes(number)) << 16;
        for rect in rects {
            for (y, row) in (rect.y..).zip(picture.rows_mut(*rect)) {
                let mut random = Random::new(seed | u64::from(y));
                row.fill_with(|| random.next_u32() & 0x00FF_FFFF);
            }
        }
        true
    }
}

pub(crate) const HEADER: Header = Header {
    whole: None,
    is_refinement: false,
    qp: 0,
    input_seq: 0,
    captured: 0,
    lag: Lapse::from_steps(0),
    encode: Lapse::from_steps(0),
};

/// Both ends.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) composer: Composer,
    pub(crate) shadow: Shadow,
    draft: Draft,
    frames: u32,
    /// Bytes of the newest update.
    pub(crate) bytes: usize,
    /// What an update may have.
    pub(crate) budget: usize,
    whole: Option<Size>,
}

impl Pair {
    pub(crate) fn new(size: Size, slots: u16) -> Self {
        Self {
            composer: Composer::new(size, slots, 1),
            shadow: Shadow::new(slots),
            draft: Draft::default(),
            frames: 0,
            bytes: 0,
            budget: usize::MAX,
            whole: Some(size),
        }
    }

    /// The next update is a whole one.
    pub(crate) fn reset(&mut self, size: Size) {
        self.composer.reset(size);
        self.whole = Some(size);
    }

    /// Sends what changed in `damage`; the first time, and after a reset, all there is.
    #[track_caller]
    pub(crate) fn show(&mut self, page: &Page, damage: &[Rect], video: &[Rect]) -> Composed {
        let bytes = page.bytes();
        let size = page.picture.size();
        let whole = [Rect::whole(size)];
        let frame = Frame {
            picture: View::new(&bytes, usize::from(size.width) * 4, size),
            damage: if self.whole.is_some() { &whole } else { damage },
            video,
        };
        let composed = self.composer.compose(&frame, self.budget, &mut self.draft);
        if !video.is_empty() {
            self.frames += 1;
            let access_unit = self.frames.to_le_bytes();
            self.composer.video(video, &access_unit, &mut self.draft);
        }
        self.send();
        assert!(
            *self.composer.picture() == page.picture,
            "the server's picture"
        );
        self.check();
        composed
    }

    /// Sends a portion of what is not exact.
    #[track_caller]
    pub(crate) fn repaint(&mut self, video: &[Rect], budget: usize) {
        self.composer.repaint(video, budget, &mut self.draft);
        self.send();
        self.check();
    }

    #[track_caller]
    fn send(&mut self) {
        if self.draft.is_empty() && self.whole.is_none() {
            self.bytes = 0;
            return;
        }
        let whole = self.whole.take();
        let bytes = self.draft.finish(&Header { whole, ..HEADER });
        let update = Update::decode(bytes).unwrap();
        let applied: Result<(), ApplyError> = self.shadow.apply(&update, &mut FalseColours);
        assert_eq!(applied, Ok(()));
        self.bytes = bytes.len();
        self.draft.clear();
    }

    /// What is said to be exact is exact.
    #[track_caller]
    fn check(&self) {
        let (ours, theirs) = (self.composer.picture(), self.shadow.picture());
        if self.composer.is_exact() {
            assert_eq!(ours.hash(), theirs.hash(), "the viewer's picture");
            return;
        }
        let whole = Rect::whole(ours.size());
        for (y, (ours, theirs)) in (0..).zip(ours.rows(whole).zip(theirs.rows(whole))) {
            for (x, _) in (0..)
                .zip(ours.iter().zip(theirs))
                .filter(|(_, (a, b))| a != b)
            {
                let pixel = Rect::between(x, y, x + 1, y + 1);
                assert!(
                    self.composer.is_stale(pixel),
                    "the viewer's pixel {x},{y} is wrong and not known as stale"
                );
            }
        }
    }
}
