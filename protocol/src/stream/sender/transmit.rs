//! What leaves a stream's sender next, as bytes for QUIC.

use std::time::{Duration, Instant};

use super::Sender;
use super::repairs::Repair;
use crate::stream::packetize::{Carriage, SentUpdate};
use crate::stream::scheduler::{self, Class, OnlyRefinement, Waiting};
use crate::wire::datagram::{Epoch, FragmentFlags, FragmentHeader, Ping, Pong, SoundHeader};
use crate::wire::update_stream::StreamHeader;

/// What goes to a stream at once: so much time of the pace, so that datagrams need not wait behind
/// it, but a packet at least.
const STREAM_TIME: Duration = Duration::from_millis(2);
const STREAM_CHUNK_MIN: usize = 1_100;
const STREAM_CHUNK_MAX: usize = 16 << 10;

/// What to hand to QUIC next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transmit {
    /// The buffer holds a datagram.
    Datagram,
    /// The buffer holds the next bytes of an update's own stream.
    Stream {
        /// Epoch of the update.
        epoch: Epoch,
        /// Its number.
        update: u32,
        /// The stream is to be opened.
        is_first: bool,
        /// The stream ends here.
        is_last: bool,
    },
    /// So many bytes of clipboard or files may be written; tell by
    /// [`Sender::handle_bulk_sent`] how many were.
    Bulk {
        /// At most.
        bytes_max: usize,
    },
}

/// Which fragment of an update leaves.
#[derive(Clone, Copy, Debug)]
enum Which {
    /// The next of the first flight.
    Next,
    /// One that is sent because something is missing.
    Repair(usize),
}

impl Sender {
    /// Hands out what leaves next, written into `out`; `None` until the next deadline or input. Not
    /// to be called while QUIC itself holds more than a burst: what is there cannot be overtaken.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        loop {
            let waiting = self.waiting();
            let is_open = self.pacer.is_open(now);
            let may_bulk = self.bulk.is_open(now);
            let transmit = match scheduler::next(&waiting, is_open, may_bulk)? {
                Class::Sound => self.transmit_sound(now, out),
                Class::Cursor => self.transmit_cursor(out),
                Class::Repair => self.transmit_repair(now, out),
                Class::Update | Class::Refinement => self.transmit_update(now, out),
                Class::Parity => self.transmit_parity(now, out),
                Class::Bulk => {
                    return Some(Transmit::Bulk {
                        bytes_max: self.stream_chunk(),
                    });
                }
            };
            if let Some(transmit) = transmit {
                self.pacer.handle_sent(now, out.len());
                return Some(transmit);
            }
        }
    }

    pub(super) fn waiting(&mut self) -> Waiting {
        let waits = self.sent.waiting().is_some();
        Waiting {
            sound: self.ping.is_some() || !self.sounds.is_empty(),
            cursor: self.cursor.is_some(),
            repair: !self.repairs.is_empty(),
            update: waits.then(|| OnlyRefinement(self.sent.waits_only_for_refinement())),
            parity: self.sent.waiting_parity().is_some(),
            bulk: self.has_bulk,
        }
    }

    fn transmit_sound(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        if let Some(Ping { number }) = self.ping.take() {
            let clock = self.clock(now);
            Pong { number, clock }.encode_into(out);
            return Some(Transmit::Datagram);
        }
        let sound = self.sounds.pop_front()?;
        self.sound_number = self.sound_number.wrapping_add(1);
        let header = SoundHeader {
            epoch: self.epoch,
            packet: self.packet,
            number: self.sound_number,
            taken: sound.taken,
        };
        header.encode_into(&sound.bytes, out);
        self.spare_sounds.push(sound);
        self.count_packet(now, out.len());
        Some(Transmit::Datagram)
    }

    fn transmit_cursor(&mut self, out: &mut Vec<u8>) -> Option<Transmit> {
        self.cursor.take()?.encode_into(out);
        Some(Transmit::Datagram)
    }

    fn transmit_repair(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        let Repair { update, index } = self.repairs.pop()?;
        self.transmit_fragment(now, update, Which::Repair(index), out)
    }

    fn transmit_update(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        let chunk = self.stream_chunk();
        let number = self.sent.waiting()?;
        let update = self.sent.get_mut(number)?;
        match &update.carriage {
            Carriage::Datagrams(_) => self.transmit_fragment(now, number, Which::Next, out),
            Carriage::Stream { written, .. } => {
                let is_first = *written == 0;
                out.clear();
                if is_first {
                    out.extend(stream_header(self.epoch, update).encode());
                }
                out.extend(update.write(now, chunk));
                let is_last = update.is_out();
                if is_last {
                    self.sent.change(number, |it| it.forget_bytes());
                }
                Some(Transmit::Stream {
                    epoch: self.epoch,
                    update: number,
                    is_first,
                    is_last,
                })
            }
            Carriage::Arrived | Carriage::Void => None,
        }
    }

    fn transmit_parity(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        let number = self.sent.waiting_parity()?;
        self.transmit_fragment(now, number, Which::Next, out)
    }

    fn transmit_fragment(
        &mut self,
        now: Instant,
        number: u32,
        which: Which,
        out: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let (epoch, packet, sent) = (self.epoch, self.packet, self.clock(now) as u32);
        self.sent.change(number, |update| {
            let Carriage::Datagrams(fragments) = &mut update.carriage else {
                return None;
            };
            let index = match which {
                Which::Next => {
                    fragments.left += 1;
                    fragments.left - 1
                }
                Which::Repair(index) => {
                    fragments.queued = fragments.queued.saturating_sub(1);
                    index
                }
            };
            let parity = fragments.unasked() as u8;
            let header = FragmentHeader {
                flags: FragmentFlags {
                    is_repair: matches!(which, Which::Repair(_)),
                    ..update.flags()
                },
                epoch,
                packet,
                update: number,
                sent,
                // Updates in datagrams are at most 65,535 bytes, fragments fewer than 256.
                length: update.length as u16,
                index: index as u8,
                parity,
                void: update.void,
            };
            out.clear();
            out.extend(header.encode());
            update.write_shard(index, out);
            Some(())
        })??;
        self.count_packet(now, out.len());
        self.tail.handle_sent(now);
        Some(Transmit::Datagram)
    }

    fn stream_chunk(&self) -> usize {
        let bytes = self.pacer.bytes_in(STREAM_TIME);
        bytes.clamp(STREAM_CHUNK_MIN, STREAM_CHUNK_MAX)
    }

    /// The packet in hand is one that feedback will speak of.
    fn count_packet(&mut self, now: Instant, bytes: usize) {
        self.reports.handle_sent(now, self.packet, bytes);
        self.packet = self.packet.wrapping_add(1);
    }
}

fn stream_header(epoch: Epoch, update: &SentUpdate) -> StreamHeader {
    StreamHeader {
        flags: update.flags(),
        epoch,
        update: update.number,
        void: update.void,
        // At most `UPDATE_BYTES_MAX`.
        length: update.length as u32,
    }
}
