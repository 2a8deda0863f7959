//! Lets viewers act, does what they want, and ends them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use super::{Hub, Seat, Way};
use crate::clock;
use crate::media::member::Member;
use crate::media::viewer::Viewer;
use crate::media::{LeftReason, ViewerEvent};

impl Hub {
    /// Lets a viewer act, then does what it wants. A viewer that fails, or breaks, ends alone.
    pub(super) fn serve(
        &self,
        seat: &Rc<Seat>,
        act: impl FnOnce(&mut Member) -> Result<(), LeftReason>,
    ) {
        let entered = seat.span.enter();
        let acted = self
            .guard(seat, act)
            .and_then(|()| self.pump(seat))
            .and_then(|()| self.carry_out(seat));
        drop(entered);
        self.conclude(seat, acted);
    }

    pub(super) fn conclude(&self, seat: &Rc<Seat>, acted: Result<(), LeftReason>) {
        match acted {
            Ok(()) => {
                let next = seat.member.borrow_mut().poll_timeout();
                if let Some(at) = next {
                    self.alarm.set(at);
                }
            }
            // The others have the same worker.
            Err(reason @ LeftReason::WorkerGone) => self.end_audience(&seat.audience, &reason),
            Err(reason) => self.end(seat, Some(reason)),
        }
    }

    /// The same for what only a page is told.
    pub(super) fn serve_page(
        &self,
        seat: &Rc<Seat>,
        act: impl FnOnce(&mut Viewer) -> Result<(), LeftReason>,
    ) {
        self.serve(seat, |member| match member {
            Member::Page(viewer) => act(viewer),
            Member::Native(_) => Ok(()),
        });
    }

    pub(super) fn guard<R>(
        &self,
        seat: &Seat,
        act: impl FnOnce(&mut Member) -> Result<R, LeftReason>,
    ) -> Result<R, LeftReason> {
        // What a panic leaves half done in the viewer goes with the viewer.
        catch_unwind(AssertUnwindSafe(|| act(&mut seat.member.borrow_mut()))).unwrap_or_else(|_| {
            tracing::error!("viewer broke; it is ended");
            Err(LeftReason::Malformed("internal error".to_owned()))
        })
    }

    pub(super) fn carry_out(&self, seat: &Seat) -> Result<(), LeftReason> {
        self.carry_out_once(seat)?;
        if seat.member.borrow().has_stamps() {
            self.guard(seat, |member| member.handle_left(clock::now()))?;
            self.note_left(seat);
            self.carry_out_once(seat)?;
        }
        Ok(())
    }

    fn carry_out_once(&self, seat: &Seat) -> Result<(), LeftReason> {
        let outputs = std::mem::take(seat.member.borrow_mut().outputs());
        self.transmit(seat, &outputs.transmits);
        for event in outputs.events {
            tell(seat, event);
        }
        if let (Some(ack), Way::Page(acks)) = (outputs.ack, &seat.way) {
            // The socket may have gone first.
            let _unheard = acks.force_send(ack);
        }
        let asked = seat
            .audience
            .handle_wishes(seat, outputs.to_worker, outputs.wishes);
        if let Some(at) = seat.audience.shared.borrow().poll_timeout() {
            self.alarm.set(at);
        }
        asked
    }

    /// A viewer leaves; with a reason it is told.
    pub(super) fn end(&self, seat: &Rc<Seat>, reason: Option<LeftReason>) {
        if self.seats.borrow_mut().remove(&seat.id).is_none() {
            return;
        }
        let _entered = seat.span.clone().entered();
        tracing::info!(?reason, "viewer left");
        self.close(seat, reason.as_ref());
        if let Some(reason) = reason {
            tell(seat, ViewerEvent::Left(reason));
        }
        seat.events.close();
        self.leave_audience(seat);
    }

    /// Takes leave of the far end, as far as the connection allows.
    fn close(&self, seat: &Rc<Seat>, reason: Option<&LeftReason>) {
        if let Way::Native(handle) = seat.way {
            return self.unseat(seat, handle, reason);
        }
        let closed = self.guard(seat, |member| {
            if let Member::Page(viewer) = member {
                viewer.close(clock::now());
            }
            Ok(())
        });
        if closed.is_ok() {
            let transmits = std::mem::take(&mut seat.member.borrow_mut().outputs().transmits);
            self.transmit(seat, &transmits);
        }
        self.demux.borrow_mut().forget_viewer(seat.id);
    }
}

pub(super) fn tell(seat: &Seat, event: ViewerEvent) {
    // The listener may have gone first; a full channel is closed a moment later anyway.
    if let Err(error) = seat.events.try_send(event) {
        tracing::debug!(%error, "nobody hears of it");
    }
}
