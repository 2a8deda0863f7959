//! A viewer whose worker ends and is followed by another.

use sandbox_protocol::Size;
use sandbox_protocol::local::worker::ToWorker;
use sandbox_protocol::wire::ctl::ToServer;

use super::worker::{Worker, within_limit};
use super::{connect, start};
use crate::media::ViewerEvent;

#[test]
fn a_viewer_goes_on_with_the_next_worker_on_the_same_connection() {
    let media = start();
    let mut attached = connect(&media);
    attached.worker.send_frame(true, 2_000);
    attached.page.run_until(|page| page.frames.len() == 1);
    let size = Size {
        width: 800,
        height: 600,
    };
    attached.page.send_ctl(&ToServer::Resize {
        width: size.width,
        height: size.height,
    });
    attached.page.send_ctl(&ToServer::Paste {
        text: "rm -r ".to_owned(),
        last: false,
    });
    attached.synchronize();

    for _ in 0..2 {
        let (next, control, stream) = Worker::new();
        drop(std::mem::replace(&mut attached.worker, next));
        assert_eq!(attached.event(), ViewerEvent::WorkerLost);
        within_limit(media.rewire(attached.viewer, control, stream)).unwrap();
        let hello = attached.worker.receive();
        assert!(
            matches!(hello, ToWorker::Hello { size: it, .. } if it == size),
            "{hello:?}"
        );
        attached.worker.skip_to(&ToWorker::Keyframe);
        let frames = attached.page.frames.len();
        // Not to be decoded without the key frame that follows.
        attached.worker.send_frame(false, 500);
        attached.worker.send_frame(true, 2_000);
        attached
            .page
            .run_until(|page| page.frames.len() == frames + 1);
        assert!(attached.page.frames[frames].is_keyframe);
    }

    // The end of a text whose beginning is lost is not pasted.
    for text in ["/tmp/x", "whole"] {
        attached.page.send_ctl(&ToServer::Paste {
            text: text.to_owned(),
            last: true,
        });
    }
    attached.page.run_until(|_| attached.worker.has_message());
    attached.worker.skip_to(&ToWorker::Paste {
        text: "whole".to_owned(),
        last: true,
    });
}
