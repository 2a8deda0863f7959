//! The sockets of a viewer's worker: those it begins with, their end, and the next worker's.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use sandbox_protocol::ViewerId;
use smol::Timer;

use super::tasks::{keep_reading_control, keep_reading_media, keep_writing_control};
use super::{Hub, Seat, tell};
use crate::clock;
use crate::media::worker_link::WorkerLink;
use crate::media::{AttachError, LeftReason, ViewerEvent};

/// How long a viewer waits for the next worker: longer than the warden gives it to be ready.
const WORKER_WAIT_MAX: Duration = Duration::from_secs(15);

impl Hub {
    pub(super) fn wire(self: &Rc<Self>, seat: &Rc<Seat>, link: WorkerLink) {
        let link = Rc::new(link);
        seat.worker.replace(Some(link.clone()));
        let (hub, executor) = (self, &self.executor);
        let tasks = vec![
            executor.spawn(keep_reading_control(
                hub.clone(),
                seat.clone(),
                link.clone(),
            )),
            executor.spawn(keep_reading_media(hub.clone(), seat.clone(), link.clone())),
            executor.spawn(keep_writing_control(hub.clone(), seat.clone(), link)),
        ];
        drop(seat.tasks.replace(tasks));
    }

    /// The sockets have ended: the worker did, or is about to.
    pub(super) fn lose_worker(self: &Rc<Self>, seat: &Rc<Seat>) {
        if seat.worker.take().is_none() {
            return;
        }
        seat.span
            .in_scope(|| tracing::warn!("the worker's sockets ended"));
        seat.counting.take();
        let (hub, waiting) = (self.clone(), seat.clone());
        let giving_up = self.executor.spawn(async move {
            Timer::after(WORKER_WAIT_MAX).await;
            hub.end(&waiting, Some(LeftReason::WorkerGone));
        });
        // The caller is one of those that end here: at its next wait.
        drop(seat.tasks.replace(vec![giving_up]));
        tell(seat, ViewerEvent::WorkerLost);
    }

    pub(super) fn rewire(
        self: &Rc<Self>,
        viewer: ViewerId,
        control: OwnedFd,
        media: OwnedFd,
    ) -> Result<(), AttachError> {
        let seat = self.seat(viewer).ok_or(AttachError::Unknown(viewer))?;
        let link = WorkerLink::new(control, media).map_err(AttachError::Worker)?;
        self.wire(&seat, link);
        self.serve(&seat, |viewer| viewer.handle_rewired(clock::now()));
        Ok(())
    }
}
