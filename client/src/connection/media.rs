//! What comes in datagrams and on the streams of large updates.

use std::time::Instant;

use sandbox_protocol::stream::reassemble::StreamVerdict;
use sandbox_protocol::wire::codes::ResetCode;
use sandbox_protocol::wire::datagram::FromServer as Datagram;
use sandbox_quic::{Bytes, StreamId};

use super::streams::Read;
use super::{Connection, Told};

impl Connection {
    pub(super) fn handle_media(&mut self, now: Instant, bytes: &Bytes) {
        match Datagram::decode(bytes) {
            Ok(Datagram::InputAck { stream, seq }) => self.input.handle_ack(now, stream, seq),
            Ok(Datagram::Fragment(fragment)) => {
                self.count(fragment.header.packet);
                if let Err(error) = self.receiver.handle_fragment(now, &fragment) {
                    self.violate(now, error.to_string());
                }
            }
            // No sound was asked for; its packets belong to the reports all the same.
            Ok(Datagram::Sound(header, _)) => {
                self.count(header.packet);
                self.receiver.handle_sound(now, &header);
            }
            Ok(Datagram::Cursor(cursor)) => self.told.push_back(Told::Pointer {
                x: cursor.x,
                y: cursor.y,
                is_visible: cursor.is_visible,
            }),
            Ok(Datagram::Pong(pong)) => {
                self.receiver.handle_pong(now, pong);
                if let Some(round_trip) = self.receiver.round_trip() {
                    self.input.handle_round_trip(round_trip);
                }
            }
            Err(error) => self.violate(now, error.to_string()),
        }
    }

    pub(super) fn handle_stream(
        &mut self,
        now: Instant,
        stream: StreamId,
        bytes: &[u8],
        is_end: bool,
    ) {
        let mut bytes = bytes;
        loop {
            match self.streams.handle_read(stream, bytes, is_end) {
                Ok(Read::Unfinished) => return,
                Ok(Read::Begun(header)) => {
                    bytes = &[];
                    match self.receiver.handle_stream(now, &header) {
                        // Memory is bounded where the bytes wait.
                        StreamVerdict::Read | StreamVerdict::Later => (),
                        StreamVerdict::Stop => self.stop(stream),
                    }
                    for older in self.streams.older_than(header.epoch) {
                        self.stop(older);
                    }
                }
                Ok(Read::Whole(header, update)) => {
                    let taken = self.receiver.handle_stream_update(now, &header, update);
                    if let Err(error) = taken {
                        self.violate(now, error.to_string());
                    }
                    return;
                }
                Err(error) => return self.violate(now, error.to_string()),
            }
        }
    }

    fn stop(&mut self, stream: StreamId) {
        self.streams.skip(stream);
        let code = ResetCode::Superseded.number();
        self.endpoint.stop(self.handle, stream, code);
    }

    /// Counts losses by the gaps in the packets' numbers.
    fn count(&mut self, packet: u16) {
        self.counters.packets_came += 1;
        let step = self.packet.map_or(1, |it| packet.wrapping_sub(it));
        if step.cast_signed() > 0 {
            self.packet = Some(packet);
            self.counters.packets_sent += u64::from(step);
        }
    }
}
