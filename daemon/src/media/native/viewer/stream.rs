//! A native viewer's updates: from the worker's frames to its stream, demands, rate and flow.

use std::time::{Duration, Instant};

use sandbox_protocol::Wakeup;
use sandbox_protocol::limits::REPAIR_UPDATES_MAX;
use sandbox_protocol::local::frame::{Content, FrameHeader};
use sandbox_protocol::local::worker::ToWorker;
use sandbox_protocol::stream::packetize::UpdateKind;
use sandbox_protocol::stream::recovery::Demand;
use sandbox_protocol::stream::sender::{Readiness, SendError, Transmit};
use sandbox_protocol::wire::control::FromServer;
use sandbox_protocol::wire::datagram::Epoch;

use super::{LINK_RATE_INTERVAL, NativeViewer, Phase};
use crate::media::LeftReason;
use crate::media::flow::Link;
use crate::media::viewer::{LeftFrame, is_step};

impl NativeViewer {
    /// A frame of the worker; those with access units are for pages.
    pub(in crate::media) fn handle_frame(
        &mut self,
        now: Instant,
        header: FrameHeader,
        payload: &[u8],
    ) -> Result<(), LeftReason> {
        let Content::Update {
            is_whole,
            is_video_only,
            recovers,
        } = header.content
        else {
            return Ok(());
        };
        let is_behind = self.control.is_none() && !self.flow.is_open();
        if self.phase != Phase::Started || is_behind || (self.is_cut && !is_whole) {
            self.is_cut |= self.phase != Phase::Waiting;
            self.counters.frames_dropped += 1;
            return Ok(());
        }
        let kind = UpdateKind {
            is_whole,
            is_video_only,
            recovers,
            is_refinement: header.is_refinement,
        };
        match self.sender.handle_update(now, payload, kind) {
            Ok(sent) => self.handle_taken(&header, is_whole, sent),
            // It has been asked for.
            Err(SendError::NeedsWhole) => {
                self.counters.frames_dropped += 1;
                self.collect_demands();
                return Ok(());
            }
            Err(error) => {
                tracing::error!(%error, "the worker sent an update that is none");
                return Err(LeftReason::WorkerGone);
            }
        }
        self.leaving = Some((header, payload.len()));
        self.collect_demands();
        Ok(())
    }

    fn handle_taken(
        &mut self,
        header: &FrameHeader,
        is_whole: bool,
        (epoch, number): (Epoch, u32),
    ) {
        self.counters.frames += 1;
        if is_whole {
            self.is_cut = false;
            self.counters.keyframes += 1;
            self.videos.clear();
        }
        if header.frame != 0 {
            if self.videos.len() == REPAIR_UPDATES_MAX {
                self.videos.pop_front();
            }
            self.videos.push_back((number, header.frame));
        }
        if is_whole && header.size != self.config.size {
            self.config.epoch = epoch.0;
            self.config.size = header.size;
            self.said.push(FromServer::Config(self.config.clone()));
        }
    }

    /// The viewer speaks from another address.
    pub(in crate::media) fn handle_path_change(&mut self, now: Instant) {
        self.sender.handle_path_change(now);
    }

    /// All of an update's stream has arrived.
    pub(in crate::media) fn handle_stream_arrived(&mut self, now: Instant, update: (Epoch, u32)) {
        self.sender.handle_stream_arrived(now, update);
    }

    /// The viewer does not want an update's stream.
    pub(in crate::media) fn handle_stream_stopped(&mut self, update: (Epoch, u32)) {
        self.sender.handle_stream_stopped(update);
    }

    /// What QUIC knows of the path.
    pub(in crate::media) fn handle_path(
        &mut self,
        now: Instant,
        datagram_max: Option<usize>,
        round_trip: Option<Duration>,
    ) {
        // The handshake's. Later ones have the queue in them.
        if let (None, Some(sample)) = (self.round_trip, round_trip) {
            self.sender.handle_round_trip(now, sample);
        }
        if let Some(bytes) = datagram_max.filter(|it| *it != self.datagram_max) {
            self.datagram_max = bytes;
            self.sender.handle_datagram_max(bytes);
        }
        self.round_trip = round_trip;
    }

    /// Lets time pass.
    pub(in crate::media) fn handle_timeout(&mut self, now: Instant) {
        self.sender.handle_timeout(now);
        self.collect_demands();
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(in crate::media) fn poll_timeout(&mut self) -> Option<Instant> {
        let next = self.sender.poll_timeout();
        // Until QUIC has room the pace means nothing, and QUIC has deadlines of its own.
        let next = next.filter(|it| it.why != Wakeup::Pacer || !self.is_held);
        next.map(|it| it.at)
    }

    /// QUIC has no room for what could leave, or has again.
    pub(in crate::media) const fn set_held(&mut self, is_held: bool) {
        self.is_held = is_held;
    }

    /// Hands out what leaves next, written into `out`.
    pub(in crate::media) fn poll_transmit(
        &mut self,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let transmit = self.sender.poll_transmit(now, out)?;
        self.counters.rtp_packets += 1;
        self.counters.rtp_bytes += out.len() as u64;
        Some(transmit)
    }

    /// A stream that is to be reset.
    pub(in crate::media) fn poll_reset(&mut self) -> Option<(Epoch, u32)> {
        self.sender.poll_reset()
    }

    /// What could leave has left: the worker is told what the link has become.
    pub(in crate::media) fn follow_link(&mut self) {
        let target = self.sender.target();
        if is_step(self.told_target, target) {
            self.told_target = target;
            if self.control.is_some() {
                self.outputs.to_worker.push(ToWorker::Target(target));
            }
        }
        let is_open = self.is_open();
        if self.control.is_some() && is_open != self.told_flow {
            self.told_flow = is_open;
            self.outputs.to_worker.push(ToWorker::Flow(is_open));
        }
        let link = Link {
            outstanding_bytes: self.sender.memory(),
            target,
            round_trip: self.round_trip.unwrap_or_default(),
        };
        if self.flow.handle_link(link) == Some(true) {
            self.resume();
        }
    }

    /// Says what was learnt of the link, for the next time; seldom, and only while media flows.
    pub(in crate::media) fn tell_link(&mut self, now: Instant) {
        let Some(learnt) = self.sender.learnt() else {
            return;
        };
        let is_news = self.told_link.is_none_or(|(told, at)| {
            is_step(told, learnt) && now.saturating_duration_since(at) >= LINK_RATE_INTERVAL
        });
        if is_news {
            self.told_link = Some((learnt, now));
            let kbps = u32::try_from(learnt.as_kbps()).unwrap_or(u32::MAX);
            self.said.push(FromServer::LinkRate { kbps });
        }
    }

    /// What was handed over has left the machine.
    pub(in crate::media) fn handle_left(&mut self, now: Instant) {
        if let Some((header, bytes)) = self.leaving.take() {
            self.outputs.left = Some(LeftFrame {
                header,
                bytes,
                sent: self.timeline.micros(now),
            });
        }
    }

    /// Whether [`handle_left`](Self::handle_left) has something to say.
    pub(in crate::media) const fn has_stamps(&self) -> bool {
        self.leaving.is_some()
    }

    /// Whether the worker may make the next update.
    pub(super) fn is_open(&mut self) -> bool {
        let is_ready = match self.sender.readiness() {
            Readiness::Ready | Readiness::NeedsWhole => true,
            Readiness::Busy => false,
        };
        match self.phase {
            Phase::Suspended => self.has_company,
            Phase::Waiting | Phase::Started => is_ready,
        }
    }

    /// Updates may come again; where some were left out, with a whole one.
    pub(super) fn resume(&mut self) {
        if self.phase == Phase::Started && self.is_cut {
            self.outputs.wishes.whole = true;
        }
    }

    pub(super) fn collect_demands(&mut self) {
        if self.phase == Phase::Waiting {
            return;
        }
        while let Some(demand) = self.sender.poll_demand() {
            let wishes = &mut self.outputs.wishes;
            match demand {
                Demand::Whole => wishes.whole = true,
                Demand::KeyFrame => wishes.keyframe = true,
                Demand::Invalidate { first, .. } => {
                    let lost = self.videos.iter().find(|(number, _)| *number >= first);
                    match lost {
                        Some((_, access_unit)) => wishes.lost = Some(*access_unit),
                        None => wishes.keyframe = true,
                    }
                }
            }
        }
    }
}
