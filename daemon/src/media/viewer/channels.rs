//! A viewer's data channels: input to the worker, `ctl` messages both ways.

use std::time::Instant;

use sandbox_protocol::Size;
use sandbox_protocol::limits::{CTL_BYTES_MAX, DESKTOP_SIZE_MAX, DESKTOP_SIZE_MIN};
use sandbox_protocol::wire::ctl::{ToPage, ToServer};
use sandbox_protocol::wire::input::{Packet, encode_ack};
use str0m::channel::{ChannelData, ChannelId};

use super::{Viewer, broken};
use crate::media::LeftReason;
use crate::media::ctl_outbox::CtlOutbox;
use crate::media::flood::{FloodMeter, Flooded};
use crate::media::paste::PasteGate;
use crate::media::wishes::{input, paste, resize};

const INPUT_LABEL: &str = "in";
const CTL_LABEL: &str = "ctl";

/// Buffered bytes below which a channel that was full takes the next message.
const LOW_WATER_BYTES: usize = 32 << 10;

/// The state of the channels.
#[derive(Debug, Default)]
pub(super) struct Channels {
    input: Option<ChannelId>,
    ctl: Option<ChannelId>,
    pub(super) outbox: CtlOutbox,
    pub(super) is_overlay_open: bool,
    /// The page sends copies of its input another way.
    has_copies: bool,
    input_flood: FloodMeter,
    ctl_flood: FloodMeter,
    pub(super) paste: PasteGate,
    /// Whose acknowledgements are for this page.
    pub(super) input_stream: Option<u64>,
}

impl Channels {
    pub(super) fn handle_close(&mut self, id: ChannelId) {
        for channel in [&mut self.input, &mut self.ctl] {
            channel.take_if(|it| *it == id);
        }
    }
}

impl Viewer {
    pub(super) fn handle_channel_open(
        &mut self,
        now: Instant,
        id: ChannelId,
        label: &str,
    ) -> Result<(), LeftReason> {
        match label {
            INPUT_LABEL => self.channels.input = Some(id),
            CTL_LABEL => {
                self.channels.ctl = Some(id);
                if let Some(mut channel) = self.rtc.channel(id) {
                    channel.set_buffered_amount_low_threshold(LOW_WATER_BYTES);
                }
                self.write_ctl_outbox(now)?;
            }
            _ => return Err(LeftReason::Malformed(format!("unknown channel {label:?}"))),
        }
        Ok(())
    }

    pub(super) fn handle_channel_data(
        &mut self,
        now: Instant,
        data: ChannelData,
    ) -> Result<(), LeftReason> {
        if Some(data.id) == self.channels.input {
            self.handle_input_packet(now, &data.data)
        } else if Some(data.id) == self.channels.ctl {
            self.handle_ctl(now, &data.data)
        } else {
            Ok(())
        }
    }

    /// Acknowledges input. A lost acknowledgement is repeated when the page sends again.
    pub(super) fn write_ack(
        &mut self,
        now: Instant,
        stream: u64,
        seq: u32,
    ) -> Result<(), LeftReason> {
        let ack = encode_ack(stream, seq);
        if self.channels.has_copies {
            self.outputs.ack = Some(ack);
        }
        self.write(now, self.channels.input, Message::Binary(&ack))
            .map(drop)
    }

    /// Tells the page what waits for it, as far as the channel takes it.
    pub(super) fn write_ctl_outbox(&mut self, now: Instant) -> Result<(), LeftReason> {
        while let Some(message) = self.channels.outbox.front().cloned() {
            if !self.write_ctl(now, &message)? {
                break;
            }
            self.channels.outbox.pop();
        }
        Ok(())
    }

    /// Sends one message; says whether the channel took it.
    pub(super) fn write_ctl(&mut self, now: Instant, message: &ToPage) -> Result<bool, LeftReason> {
        let text = serde_json::to_string(message).expect("our messages have a JSON form");
        self.write(now, self.channels.ctl, Message::Text(&text))
    }

    fn write(
        &mut self,
        now: Instant,
        channel: Option<ChannelId>,
        message: Message<'_>,
    ) -> Result<bool, LeftReason> {
        let Some(mut channel) = channel.and_then(|id| self.rtc.channel(id)) else {
            return Ok(false);
        };
        let is_taken = match message {
            Message::Text(text) => channel.write(false, text.as_bytes()),
            Message::Binary(bytes) => channel.write(true, bytes),
        };
        let is_taken = is_taken.map_err(broken)?;
        self.pump(now).map_err(broken)?;
        Ok(is_taken)
    }

    fn handle_input_packet(&mut self, now: Instant, bytes: &[u8]) -> Result<(), LeftReason> {
        self.counters.input_messages += 1;
        self.channels
            .input_flood
            .handle_message(now)
            .map_err(|Flooded| LeftReason::Flood)?;
        let packet = Packet::decode(bytes).map_err(malformed)?;
        self.take(packet);
        Ok(())
    }

    /// An input packet that did not come by the channel.
    pub(in crate::media) fn handle_copy(
        &mut self,
        now: Instant,
        packet: Packet,
    ) -> Result<(), LeftReason> {
        self.channels.has_copies = true;
        self.channels
            .input_flood
            .handle_message(now)
            .map_err(|Flooded| LeftReason::Flood)?;
        self.take(packet);
        Ok(())
    }

    /// What an observer presses is not meant for the desktop.
    fn take(&mut self, packet: Packet) {
        if let Some(permit) = &self.control {
            self.channels.input_stream = Some(packet.stream);
            let input = input(permit, packet);
            self.outputs.to_worker.push(input);
        }
    }

    fn handle_ctl(&mut self, now: Instant, bytes: &[u8]) -> Result<(), LeftReason> {
        self.channels
            .ctl_flood
            .handle_message(now)
            .map_err(|Flooded| LeftReason::Flood)?;
        if bytes.len() > CTL_BYTES_MAX {
            let words = format!("ctl message of {} bytes", bytes.len());
            return Err(LeftReason::Malformed(words));
        }
        match serde_json::from_slice(bytes).map_err(malformed)? {
            ToServer::Presented { rtp } => self.handle_presented(rtp),
            ToServer::Ping { at } => {
                let server_us = self.timeline.micros(now).0;
                self.write_ctl(now, &ToPage::Pong { at, server_us })?;
            }
            ToServer::Overlay { on } => self.channels.is_overlay_open = on,
            ToServer::Resize { width, height } => {
                let size = Size { width, height }.fit(DESKTOP_SIZE_MIN, DESKTOP_SIZE_MAX);
                self.size = size;
                if let Some(permit) = &self.control {
                    self.outputs.to_worker.push(resize(permit, size));
                }
            }
            ToServer::Paste { text, last } => self.handle_paste(text, last)?,
        }
        Ok(())
    }

    fn handle_paste(&mut self, text: String, last: bool) -> Result<(), LeftReason> {
        let passes = self.channels.paste.handle_piece(&text, last);
        if let (Some(permit), true) = (&self.control, passes.map_err(malformed)?) {
            self.outputs.to_worker.push(paste(permit, text, last));
        }
        Ok(())
    }
}

enum Message<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
}

fn malformed(error: impl std::error::Error) -> LeftReason {
    LeftReason::Malformed(error.to_string())
}
