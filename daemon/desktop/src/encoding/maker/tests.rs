//! Any history of pictures, losses and wishes leaves every viewer with the desktop's pixels.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::pwrite;
use sandbox_hw::{Config, H264Decoder, Target};
use sandbox_protocol::local::VERSION;
use sandbox_protocol::local::worker::{Begin, Pictures, WorkerPlan};
use sandbox_protocol::screen::{Picture, Shadow, VideoSource, View};
use sandbox_protocol::wire::update::{Op, Update};
use sandbox_protocol::{Pixel, Point, Size};

use super::*;
use crate::encoding::{Moment, Wants};

const SCREEN: Size = Size {
    width: 400,
    height: 300,
};
const SMALL: Size = Size {
    width: 330,
    height: 222,
};

/// Even noise is sharp.
const FAST: Bitrate = Bitrate::kbps(100_000);

/// A quantiser that leaves most of the noise.
const SHARP: u8 = 30;

/// Decodes and keeps the newest frame.
struct Film {
    decoder: H264Decoder,
    size: Size,
    pixels: Vec<u8>,
}

impl Film {
    fn new(size: Size) -> Self {
        Self {
            decoder: H264Decoder::new().unwrap(),
            size,
            pixels: vec![0; usize::from(size.width) * usize::from(size.height) * 4],
        }
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
        let decoded = self.decoder.decode(access_unit, &whole, &mut target);
        decoded.inspect_err(|error| println!("{error}")).is_ok()
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

/// Decodes nothing.
struct Blind<'a>(&'a Film);

impl VideoSource for Blind<'_> {
    fn show(&mut self, _: &[u8], rects: &[Rect], picture: &mut Picture) -> bool {
        self.0.paint(rects, picture);
        true
    }
}

/// A desktop, what makes frames of it, a viewer of updates and a page.
struct World {
    memfd: OwnedFd,
    drawn: Picture,
    maker: Maker,
    job: Job,
    now: Instant,
    random: u64,
    shadow: Shadow,
    film: Film,
    /// Of a viewer that loses nothing.
    complete: Film,
    page: Option<Film>,
    access_units: u32,
    /// When the access unit before was made.
    rate_before: Bitrate,
    /// The first access unit that the viewer of updates has lost.
    lost: Option<u32>,
    videos: u32,
    losses: u32,
}

impl World {
    fn new(codec: &str, seed: u64) -> Self {
        println!("{codec}, seed {seed}");
        let memfd = memfd_create("framebuffer", MemfdFlags::ALLOW_SEALING).unwrap();
        let stride = u32::from(SCREEN.width) * 4;
        ftruncate(&memfd, u64::from(stride) * u64::from(SCREEN.height)).unwrap();
        fcntl_add_seals(&memfd, SealFlags::SHRINK).unwrap();
        let framebuffer = Framebuffer::map(&memfd, &plan(stride)).unwrap();
        let bitrate = Bitrate::kbps(1_000);
        let config = Config {
            size: SCREEN,
            fps_max: 60,
            bitrate,
            threads: 1,
        };
        let encoder = sandbox_hw::open(codec, config).unwrap().encoder;
        Self {
            memfd,
            drawn: Picture::new(SCREEN),
            maker: Maker::new(framebuffer, encoder, bitrate),
            job: job(bitrate),
            now: clock::now(),
            random: seed,
            shadow: Shadow::new(0),
            film: Film::new(SCREEN),
            complete: Film::new(SCREEN),
            page: None,
            access_units: 0,
            rate_before: bitrate,
            lost: None,
            videos: 0,
            losses: 0,
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % bound
    }

    fn short(&mut self, bound: u16) -> u16 {
        u16::try_from(self.below(bound.into())).unwrap()
    }

    fn rect(&mut self) -> Rect {
        let (x, y) = (self.short(SCREEN.width), self.short(SCREEN.height));
        let (width, height) = (1 + self.short(300), 1 + self.short(200));
        let rect = Rect {
            x,
            y,
            width,
            height,
        };
        rect.intersection(Rect::whole(SCREEN)).unwrap()
    }

    /// Changes the desktop in some way, or not at all; returns where.
    fn draw(&mut self) -> Rect {
        let rect = self.rect();
        match self.below(6) {
            0 => {
                let colour = u32::try_from(self.below(1 << 24)).unwrap();
                self.drawn.fill(rect, colour);
            }
            1 => {
                let to = Point {
                    x: self.short(SCREEN.width - rect.width + 1),
                    y: self.short(SCREEN.height - rect.height + 1),
                };
                self.drawn.copy(rect, to);
                self.write();
                return Rect {
                    x: to.x,
                    y: to.y,
                    ..rect
                };
            }
            2 => return rect,
            kind => {
                // Grey: video has a fourth of the pixels' colours.
                let shades = if kind == 3 { 2 } else { 256 };
                let pixels: Vec<Pixel> = (0..rect.area())
                    .map(|_| u32::try_from(self.below(shades)).unwrap() * 0x01_0101)
                    .collect();
                self.drawn.write(rect, &pixels);
            }
        }
        self.write();
        rect
    }

    fn write(&self) {
        let pixels = self.drawn.pixels().iter();
        let bytes: Vec<u8> = pixels.flat_map(|it| it.to_le_bytes()).collect();
        assert_eq!(pwrite(&self.memfd, &bytes, 0), Ok(bytes.len()));
    }

    fn wish(&mut self) {
        if self.below(12) == 0 {
            let updates = [None, Some(0), Some(40), Some(40), Some(40)][self.below(5) as usize];
            let access_units = updates.is_none() || self.below(2) == 0;
            self.want(Pictures {
                access_units,
                updates,
            });
        }
        if self.below(30) == 0 {
            let is_small = self.job.size == SMALL;
            self.job.size = if is_small { SCREEN } else { SMALL };
            self.page = None;
            self.begin_video();
            self.job.rects = vec![Rect::whole(self.job.size)];
        }
        if self.below(8) == 0 {
            let rates = [Bitrate::kbps(300), Bitrate::kbps(2_000), FAST];
            self.job.bitrate = rates[self.below(3) as usize];
        }
        let wants = &mut self.job.wants;
        wants.reference = match self.lost {
            Some(first) => Reference::Lost(self.access_units.saturating_sub(first)),
            None => Reference::All,
        };
        if self.below(20) == 0 {
            self.job.wants.reference = Reference::Nothing;
        }
        self.job.wants.is_whole |= self.below(25) == 0;
        self.job.wants.repaints = self.below(3) == 0;
        let refines = self.job.pictures.access_units && self.below(4) == 0;
        self.job.wants.refines = refines.then_some(20);
    }

    /// As the worker does when the viewers take something else.
    fn want(&mut self, pictures: Pictures) {
        let before = std::mem::replace(&mut self.job.pictures, pictures);
        if pictures.updates != before.updates {
            self.job.wants.is_whole = pictures.updates.is_some();
            self.shadow = Shadow::new(pictures.updates.unwrap_or_default());
            self.begin_video();
            self.lost = None;
        }
        if pictures.access_units && !before.access_units {
            self.page = None;
        }
    }

    fn begin_video(&mut self) {
        self.film = Film::new(self.job.size);
        self.complete = Film::new(self.job.size);
    }

    fn frame(&mut self) -> Rest {
        if self.job.pictures.access_units && self.page.is_none() {
            self.page = Some(Film::new(self.job.size));
            self.job.wants.reference = Reference::Nothing;
        }
        let made = self.maker.make(&mut self.job, self.now).unwrap();
        self.access_units += u32::from(made.access_unit.is_some());
        self.videos += u32::from(made.access_unit.is_some());
        if self.job.pictures.access_units && made.access_unit.is_some() {
            let page = self.page.as_mut().unwrap();
            assert!(page.decode(&self.job.access_unit), "a page");
        }
        if self.job.pictures.updates.is_some() && made.access_unit.is_some() {
            assert!(self.complete.decode(&self.job.access_unit));
        }
        if let Some(content) = made.update {
            self.show(content, made.access_unit.is_some());
        }
        if made.access_unit.is_some() {
            self.rate_before = self.job.bitrate;
        }
        self.job.rects.clear();
        self.job.wants = Wants::default();
        made.rest
    }

    fn show(&mut self, content: Content, has_video: bool) {
        let Content::Update {
            is_video_only,
            recovers,
            is_whole,
        } = content
        else {
            panic!("{content:?}");
        };
        if is_whole || recovers {
            self.lost = None;
        }
        if is_video_only && self.below(4) == 0 {
            self.lost = self.lost.or(Some(self.access_units));
            self.losses += 1;
            return;
        }
        let update = Update::decode(&self.job.update).unwrap();
        let applied = if self.lost.is_some() {
            self.shadow.apply(&update, &mut Blind(&self.film))
        } else {
            self.shadow.apply(&update, &mut self.film)
        };
        assert_eq!(applied, Ok(()), "{content:?}");
        if has_video && self.lost.is_none() {
            let is_same = self.film.pixels == self.complete.pixels;
            assert!(is_same, "video refers to what was lost: {content:?}");
            self.check_video();
        }
    }

    /// Where the link carries much, video shows what the desktop shows, row by row.
    fn check_video(&self) {
        let update = Update::decode(&self.job.update).unwrap();
        // A jump of the rate needs a frame to take effect.
        let is_fast = self.rate_before == FAST && self.job.bitrate == FAST;
        if !is_fast || update.header.qp > SHARP {
            return;
        }
        let mut rects = Vec::new();
        for op in update.ops() {
            if let Op::Video { rects: shown, .. } = op {
                rects.extend(shown.iter());
            }
        }
        for rect in rects {
            let rows = self.shadow.picture().rows(rect).zip(self.drawn.rows(rect));
            for (theirs, ours) in rows {
                let differences = theirs.iter().zip(ours).map(|(a, b)| difference(*a, *b));
                let mean = differences.sum::<u32>() / u32::from(rect.width);
                assert!(mean < 64, "{mean} levels in {rect:?}");
            }
        }
    }

    fn run(&mut self) {
        for _ in 0..60 {
            self.wish();
            for _ in 0..self.below(3) {
                let damage = self.draw();
                let damage = damage.intersection(Rect::whole(self.job.size));
                self.job.rects.extend(damage);
            }
            let pause = self.below(150);
            self.now += Duration::from_millis(pause);
            self.frame();
        }
    }

    /// Lets time pass until there is nothing more to do.
    fn rest(&mut self) {
        for _ in 0..500 {
            self.now += Duration::from_millis(100);
            self.job.wants.repaints = true;
            if let Some(first) = self.lost {
                self.job.wants.reference = Reference::Lost(self.access_units.saturating_sub(first));
            }
            if self.frame() == Rest::default() && self.lost.is_none() {
                return;
            }
        }
        panic!("it never rests");
    }

    fn drawn(&self) -> Picture {
        let mut cut = Picture::new(self.job.size);
        let whole = Rect::whole(self.job.size);
        for (to, from) in cut.rows_mut(whole).zip(self.drawn.rows(whole)) {
            to.copy_from_slice(from);
        }
        cut
    }
}

/// Of the green, which luma follows most.
fn difference(a: Pixel, b: Pixel) -> u32 {
    let green = |it: Pixel| it >> 8 & 0xff;
    green(a).abs_diff(green(b))
}

fn plan(stride: u32) -> WorkerPlan {
    WorkerPlan {
        version: VERSION,
        begin: Begin::First,
        screen_size: SCREEN,
        size: SCREEN,
        pixels_offset: 0,
        stride,
        cookie: [0; 16],
        fps_max: 60,
        encoder_threads: 1,
        codec: String::new(),
        log_filter: String::new(),
    }
}

fn job(bitrate: Bitrate) -> Job {
    Job {
        attach: 1,
        size: SCREEN,
        pictures: Pictures {
            access_units: false,
            updates: Some(0),
        },
        rects: vec![Rect::whole(SCREEN)],
        wants: Wants::default(),
        bitrate,
        moment: Moment::default(),
        access_unit: Vec::new(),
        update: Vec::new(),
    }
}

fn every_history(codec: &str, seeds: std::ops::Range<u64>) {
    let (mut videos, mut losses) = (0, 0);
    for seed in seeds {
        let mut world = World::new(codec, seed);
        for _ in 0..3 {
            world.run();
            world.rest();
            if world.job.pictures.updates.is_some() {
                let (ours, theirs) = (world.drawn(), world.shadow.picture());
                assert_eq!(ours.hash(), theirs.hash(), "seed {seed}");
            }
        }
        (videos, losses) = (videos + world.videos, losses + world.losses);
    }
    assert!(videos > 100 && losses > 10, "{videos} {losses}");
}

#[test]
fn after_any_history_viewers_show_the_desktop_with_x264() {
    every_history("libx264", 0..5);
}

#[test]
fn after_any_history_viewers_show_the_desktop_with_openh264() {
    every_history("openh264", 100..103);
}
