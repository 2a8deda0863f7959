//! A viewer of updates: applies them, and compares what it shows with what the X server drew.

use sandbox_hw::{H264Decoder, Target};
use sandbox_protocol::local::frame::{Content, FrameHeader, HEADER_LEN, PREFIX_LEN};
use sandbox_protocol::screen::{Picture, Shadow, VideoSource, View};
use sandbox_protocol::wire::update::{Op, Update};
use sandbox_protocol::{Rect, Size};

use crate::harness::{Desktop, SIZE, STRIDE, Viewer};

/// A viewer with its picture.
pub(crate) struct Native {
    pub(crate) viewer: Viewer,
    shadow: Shadow,
    film: Film,
    /// The last picture that an update held was lost, and none has recovered since.
    is_blind: bool,
    last_frame: u32,
    /// What came over the media socket.
    pub(crate) bytes: usize,
    pub(crate) seen: Seen,
}

/// What updates held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) updates: u32,
    pub(crate) whole: u32,
    pub(crate) videos: u32,
    pub(crate) keyframes: u32,
    pub(crate) video_only: u32,
    pub(crate) copies: u32,
    pub(crate) cached: u32,
    pub(crate) access_units: u32,
}

/// The newest decoded frame.
struct Film {
    decoder: H264Decoder,
    size: Size,
    pixels: Vec<u8>,
}

impl Film {
    fn new() -> Self {
        Self {
            decoder: H264Decoder::new().unwrap(),
            size: Size {
                width: 0,
                height: 0,
            },
            pixels: Vec::new(),
        }
    }

    fn resize(&mut self, size: Size) {
        self.size = size;
        self.pixels = vec![0; usize::from(size.width) * usize::from(size.height) * 4];
    }
}

impl Film {
    fn decode(&mut self, access_unit: &[u8]) -> bool {
        let mut target = Target {
            pixels: &mut self.pixels,
            stride: usize::from(self.size.width) * 4,
            size: self.size,
        };
        let whole = [Rect::whole(self.size)];
        self.decoder
            .decode(access_unit, &whole, &mut target)
            .is_ok()
    }

    fn paint(&self, rects: &[Rect], picture: &mut Picture) {
        let stride = usize::from(self.size.width) * 4;
        let decoded = View::new(&self.pixels, stride, self.size);
        rects.iter().for_each(|it| decoded.write(*it, picture));
    }
}

impl VideoSource for Film {
    fn show(&mut self, access_unit: &[u8], rects: &[Rect], picture: &mut Picture) -> bool {
        let is_decoded = self.decode(access_unit);
        self.paint(rects, picture);
        is_decoded
    }
}

impl Native {
    pub(crate) fn new(viewer: Viewer, slots: u16) -> Self {
        Self {
            viewer,
            shadow: Shadow::new(slots),
            film: Film::new(),
            is_blind: false,
            last_frame: 0,
            bytes: 0,
            seen: Seen::default(),
        }
    }

    /// Comes anew, to the same worker: shows nothing, and has decoded nothing.
    pub(crate) fn restart(&mut self, slots: u16) {
        self.shadow = Shadow::new(slots);
        self.film = Film::new();
    }

    /// Video is left out until an update recovers.
    pub(crate) const fn is_blind(&self) -> bool {
        self.is_blind
    }

    /// The number of the newest access unit.
    pub(crate) const fn last_frame(&self) -> u32 {
        self.last_frame
    }

    /// Waits for the next frame and applies what it is.
    pub(crate) fn step(&mut self) -> FrameHeader {
        let (header, payload) = self.receive();
        match header.content {
            Content::AccessUnit => {
                self.seen.access_units += 1;
                self.viewer.eye.see(&payload);
            }
            Content::Update { .. } => self.apply(&header, &payload),
        }
        header
    }

    /// Loses the video of the next update that has some, and applies what else comes. Returns the
    /// number of its access unit.
    pub(crate) fn lose_video(&mut self, mut draw: impl FnMut()) -> u32 {
        for _ in 0..1_000 {
            draw();
            let (header, payload) = self.receive();
            if header.frame != 0 {
                self.is_blind = true;
            }
            self.apply(&header, &payload);
            if self.is_blind {
                return header.frame;
            }
        }
        panic!("nothing becomes video");
    }

    fn receive(&mut self) -> (FrameHeader, Vec<u8>) {
        let (header, payload) = self.viewer.frame();
        self.bytes += PREFIX_LEN + HEADER_LEN + payload.len();
        self.last_frame = self.last_frame.max(header.frame);
        (header, payload)
    }

    fn apply(&mut self, header: &FrameHeader, payload: &[u8]) {
        let Content::Update {
            is_whole,
            is_video_only,
            recovers,
        } = header.content
        else {
            panic!("{header:?}");
        };
        let update = Update::decode(payload).unwrap();
        assert_eq!(update.header.whole.is_some(), is_whole);
        assert_eq!(update.header.whole.unwrap_or(header.size), header.size);
        assert_eq!(update.header.is_refinement, header.is_refinement);
        let is_video = |it: &Op<'_>| matches!(it, Op::Video { .. });
        let has_video = update.ops().any(|it| is_video(&it));
        assert_eq!(has_video, header.frame != 0);
        let is_alone = has_video && update.ops().all(|it| is_video(&it));
        assert_eq!(is_video_only, is_alone && !is_whole);
        self.count(&update, header);
        if is_whole {
            self.film.resize(header.size);
        }
        self.is_blind &= !recovers;
        if self.is_blind {
            self.shadow.apply(&update, &mut Blind(&self.film)).unwrap();
        } else {
            self.shadow.apply(&update, &mut self.film).unwrap();
        }
    }

    fn count(&mut self, update: &Update<'_>, header: &FrameHeader) {
        let seen = &mut self.seen;
        seen.updates += 1;
        seen.whole += u32::from(update.header.whole.is_some());
        seen.keyframes += u32::from(header.is_keyframe);
        let is_video_only = matches!(
            header.content,
            Content::Update {
                is_video_only: true,
                ..
            }
        );
        seen.video_only += u32::from(is_video_only);
        for op in update.ops() {
            match op {
                Op::Video { .. } => seen.videos += 1,
                Op::Copy { .. } => seen.copies += 1,
                Op::Cached(run) => seen.cached += u32::from(run.count),
                Op::Fill { .. } | Op::Tile { .. } | Op::Text { .. } | Op::Keep(_) => (),
            }
        }
    }

    pub(crate) fn is_exact(&self, desktop: &Desktop) -> bool {
        let size = self.shadow.picture().size();
        let mut drawn = Picture::new(size);
        let pixels = desktop.pixels(size);
        let whole = Rect::whole(size);
        for (row, bytes) in drawn.rows_mut(whole).zip(pixels.chunks(STRIDE as usize)) {
            for (pixel, bytes) in row.iter_mut().zip(bytes.chunks(4)) {
                *pixel = u32::from_le_bytes(bytes.try_into().unwrap()) & 0x00ff_ffff;
            }
        }
        drawn.hash() == self.shadow.picture().hash()
    }

    /// Applies updates until the picture is the X server's, bit by bit. Returns what came.
    pub(crate) fn wait_until_exact(&mut self, desktop: &Desktop) -> (usize, Seen) {
        self.bytes = 0;
        self.seen = Seen::default();
        loop {
            // What has arrived is part of what this costs.
            while self.viewer.has_frame_soon() {
                self.step();
            }
            if self.is_exact(desktop) {
                return (self.bytes, self.seen);
            }
            self.step();
        }
    }
}

impl Native {
    /// The same where a page watches too, whose picture becomes sharp.
    pub(crate) fn wait_until_both_rest(&mut self, desktop: &Desktop) -> (usize, Seen) {
        let (mut bytes, mut seen) = self.wait_until_exact(desktop);
        while self.viewer.eye.psnr(&desktop.screen(SIZE)) < 40.0 {
            self.step();
            while self.viewer.has_frame_soon() {
                self.step();
            }
            (bytes, seen) = (self.bytes, self.seen);
        }
        assert!(self.is_exact(desktop), "sharper for one, and still exact");
        (bytes, seen)
    }
}

/// Shows what was decoded last, whatever comes.
struct Blind<'a>(&'a Film);

impl VideoSource for Blind<'_> {
    fn show(&mut self, _: &[u8], rects: &[Rect], picture: &mut Picture) -> bool {
        self.0.paint(rects, picture);
        true
    }
}
