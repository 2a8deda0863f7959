//! An encoder that does not do its work.

use std::sync::mpsc::{Receiver, Sender, channel};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use sandbox_hw::{AccessUnit, Capabilities, I420, Invalidation, Request};
use sandbox_protocol::local::VERSION;
use sandbox_protocol::local::worker::{Begin, WorkerPlan};

use super::*;

const SIZE: Size = Size {
    width: 64,
    height: 64,
};

/// Says when it has a frame, and keeps it until the test lets go.
#[derive(Debug)]
struct Stuck {
    begun: Sender<()>,
    released: Receiver<()>,
}

impl Encoder for Stuck {
    fn name(&self) -> &'static str {
        "stuck"
    }

    fn capabilities(&self) -> Capabilities {
        unreachable!("nobody asks")
    }

    fn size(&self) -> Size {
        SIZE
    }

    fn encode(&mut self, _: &I420, _: Request) -> Result<AccessUnit<'_>, EncodeError> {
        self.begun.send(()).unwrap();
        let _end_of_test = self.released.recv();
        Err(EncodeError::Size { size: SIZE })
    }

    fn set_bitrate(&mut self, _: Bitrate) -> Result<(), EncodeError> {
        Ok(())
    }

    fn resize(&mut self, _: Size) -> Result<(), EncodeError> {
        Ok(())
    }

    fn invalidate(&mut self, _: u64) -> Invalidation {
        unreachable!("nothing is lost")
    }
}

fn framebuffer() -> Framebuffer {
    let memfd = memfd_create("framebuffer", MemfdFlags::ALLOW_SEALING).unwrap();
    let stride = u32::from(SIZE.width) * 4;
    ftruncate(&memfd, u64::from(stride) * u64::from(SIZE.height)).unwrap();
    fcntl_add_seals(&memfd, SealFlags::SHRINK).unwrap();
    let plan = WorkerPlan {
        version: VERSION,
        begin: Begin::First,
        screen_size: SIZE,
        size: SIZE,
        pixels_offset: 0,
        stride,
        cookie: [0; 16],
        fps_max: 60,
        encoder_threads: 1,
        codec: String::new(),
        log_filter: String::new(),
    };
    Framebuffer::map(&memfd, &plan).unwrap()
}

#[test]
fn an_encoder_that_hangs_is_noticed_and_not_waited_for() {
    let (begun, begins) = channel();
    let (release, released) = channel();
    let encoder = Box::new(Stuck { begun, released });
    let bitrate = Bitrate::kbps(1_000);
    let mut encoding = Encoding::start(framebuffer(), encoder, bitrate).unwrap();
    assert_eq!(encoding.poll_timeout(), None);
    let job = Job {
        attach: 1,
        size: SIZE,
        pictures: Pictures::ACCESS_UNITS,
        rects: vec![Rect::whole(SIZE)],
        wants: Wants {
            reference: Reference::Nothing,
            ..Wants::default()
        },
        bitrate,
        moment: Moment::default(),
        access_unit: Vec::new(),
        update: Vec::new(),
    };
    let now = clock::now();
    encoding.submit(Box::new(job), now);
    begins.recv().unwrap();
    let due = encoding.poll_timeout().unwrap().at;
    assert_eq!(encoding.handle_timeout(now), Ok(()));
    assert_eq!(encoding.handle_timeout(due), Err(Hanging));
    // Comes back although the frame does not.
    drop(encoding);
    drop(release);
}
