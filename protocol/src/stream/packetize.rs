//! Cuts updates into fragments, and keeps them for as long as they may be asked for again.

use std::time::Instant;

use super::parity::write_parity;
use crate::limits::{DATAGRAM_UPDATE_BYTES_MAX, NACK_UPDATES_MAX, PARITY_MAX};
use crate::wire::datagram::{ALL_FRAGMENTS, FRAGMENT_HEADER_LEN, FragmentFlags, Wanted};

/// Buffers that wait to be used again.
const SPARE_MAX: usize = NACK_UPDATES_MAX;

/// Spare buffers above this are freed: one large picture must not stay for ever.
const SPARE_BYTES_MAX: usize = 2 * DATAGRAM_UPDATE_BYTES_MAX;

/// What is to be known of an update before it is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpdateKind {
    /// It covers every pixel, needs nothing before it, and begins an epoch.
    pub is_whole: bool,
    /// It holds video and nothing else, so that it may be given up.
    pub is_video_only: bool,
    /// Its video needs nothing of what was given up.
    pub recovers: bool,
    /// The picture only gets sharper by it.
    pub is_refinement: bool,
}

/// How an update travels.
#[derive(Debug)]
pub(crate) enum Carriage {
    Datagrams(Fragments),
    /// So many bytes are written to its stream, since when; unknown where the path has changed
    /// meanwhile.
    Stream {
        written: usize,
        since: Option<Instant>,
    },
    /// Its stream has brought it to the viewer.
    Arrived,
    /// Given up: the viewer is told not to wait for it.
    Void,
}

/// An update that was handed over for sending.
#[derive(Debug)]
pub(crate) struct SentUpdate {
    pub(crate) number: u32,
    pub(crate) kind: UpdateKind,
    /// Updates before it that are given up: bit 0 is the one just before.
    pub(crate) void: u32,
    pub(crate) length: usize,
    pub(crate) carriage: Carriage,
    /// Its bytes; in datagrams padded to whole fragments.
    bytes: Vec<u8>,
}

/// How an update is cut, and what of it has left.
#[derive(Debug)]
pub(crate) struct Fragments {
    shard_len: usize,
    /// Fragments that hold the update.
    data: usize,
    /// Parity that follows unasked.
    unasked: usize,
    /// Fragments that have left in the first flight; data first.
    pub(crate) left: usize,
    /// Next fragment for a repair: unsent parity first, then from the beginning.
    next_repair: usize,
    /// Repairs that are queued.
    pub(crate) queued: usize,
    /// Last request that was answered.
    round: Option<u8>,
}

/// Cuts updates; keeps buffers.
#[derive(Debug, Default)]
pub(crate) struct Packetizer {
    spare: Vec<Vec<u8>>,
}

impl Packetizer {
    /// Takes an update for sending. `parity` tells how many parity fragments follow so many of
    /// data.
    pub(crate) fn cut(
        &mut self,
        update: SentUpdate,
        datagram_max: usize,
        parity: impl FnOnce(usize) -> usize,
    ) -> SentUpdate {
        let shard_max = (datagram_max - FRAGMENT_HEADER_LEN) & !1;
        let fragments = update.length.div_ceil(shard_max);
        if update.length > DATAGRAM_UPDATE_BYTES_MAX {
            return update;
        }
        // Fragments of one length: none is a small one that costs a packet.
        let shard_len = update.length.div_ceil(fragments).next_multiple_of(2);
        let data = update.length.div_ceil(shard_len);
        let mut update = update;
        update.bytes.resize(data * shard_len, 0);
        let unasked = parity(data).min(PARITY_MAX);
        update.carriage = Carriage::Datagrams(Fragments {
            shard_len,
            data,
            unasked,
            left: 0,
            next_repair: data + unasked,
            queued: 0,
            round: None,
        });
        update
    }

    /// Copies an update into a buffer of the pool.
    pub(crate) fn take(
        &mut self,
        number: u32,
        bytes: &[u8],
        kind: UpdateKind,
        void: u32,
    ) -> SentUpdate {
        let mut buffer = self.buffer();
        buffer.extend(bytes);
        SentUpdate {
            number,
            kind,
            void,
            length: bytes.len(),
            carriage: Carriage::Stream {
                written: 0,
                since: None,
            },
            bytes: buffer,
        }
    }

    /// An update is no longer needed.
    pub(crate) fn recycle(&mut self, update: SentUpdate) {
        let mut buffer = update.bytes;
        let is_useful = (1..=SPARE_BYTES_MAX).contains(&buffer.capacity());
        if is_useful && self.spare.len() < SPARE_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }
}

impl SentUpdate {
    /// Bytes of memory.
    pub(crate) const fn memory(&self) -> usize {
        self.bytes.len()
    }

    /// Writes a fragment's bytes after what `out` holds.
    pub(crate) fn write_shard(&self, index: usize, out: &mut Vec<u8>) {
        let Carriage::Datagrams(fragments) = &self.carriage else {
            return;
        };
        let len = fragments.shard_len;
        match index.checked_sub(fragments.data) {
            Some(parity) => write_parity(&self.bytes, len, parity, out),
            None => out.extend(self.bytes.chunks_exact(len).nth(index).unwrap_or_default()),
        }
    }

    pub(crate) fn flags(&self) -> FragmentFlags {
        FragmentFlags {
            is_repair: false,
            is_video_only: self.kind.is_video_only,
            recovers: self.kind.recovers,
        }
    }

    /// Whether its stream has begun.
    pub(crate) const fn has_stream(&self) -> bool {
        matches!(self.carriage, Carriage::Stream { written: 1.., .. })
    }

    /// Whether the update itself, parity aside, has left.
    pub(crate) fn is_out(&self) -> bool {
        match &self.carriage {
            Carriage::Datagrams(fragments) => fragments.left >= fragments.data,
            Carriage::Stream { written, .. } => *written >= self.length,
            Carriage::Arrived | Carriage::Void => true,
        }
    }

    /// Whether its data have left and parity has not.
    pub(crate) fn waits_for_parity(&self) -> bool {
        match &self.carriage {
            Carriage::Datagrams(it) => (it.data..it.flight()).contains(&it.left),
            Carriage::Stream { .. } | Carriage::Arrived | Carriage::Void => false,
        }
    }

    /// The next bytes for its stream, at most `max`; none where it goes by datagrams.
    pub(crate) fn write(&mut self, now: Instant, max: usize) -> &[u8] {
        let Carriage::Stream { written, since } = &mut self.carriage else {
            return &[];
        };
        let from = *written;
        if from == 0 {
            *since = Some(now);
        }
        *written = (from + max).min(self.length);
        self.bytes.get(from..*written).unwrap_or_default()
    }

    /// What was written to a stream is QUIC's; what is void is nobody's.
    pub(crate) fn give_up(&mut self) {
        self.carriage = Carriage::Void;
        self.bytes = Vec::new();
    }

    /// Its bytes are no longer needed: they are all on their stream.
    pub(crate) fn forget_bytes(&mut self) {
        self.bytes = Vec::new();
    }

    /// Goes by a stream from now on, whole: the path takes only smaller datagrams.
    pub(crate) fn turn_to_stream(&mut self) {
        self.carriage = Carriage::Stream {
            written: 0,
            since: None,
        };
        self.bytes.truncate(self.length);
    }

    /// Bytes of one of its datagrams.
    pub(crate) fn datagram_len(&self) -> usize {
        match &self.carriage {
            Carriage::Datagrams(it) => it.shard_len + FRAGMENT_HEADER_LEN,
            Carriage::Stream { .. } | Carriage::Arrived | Carriage::Void => 0,
        }
    }
}

impl Fragments {
    /// Fragments that leave unasked.
    pub(crate) const fn flight(&self) -> usize {
        self.data + self.unasked
    }

    pub(crate) const fn unasked(&self) -> usize {
        self.unasked
    }

    /// How many fragments answer a request: half as many again, and as many as are lost together
    /// (`run`), for a repair that is lost too costs another round trip. Which ones tells
    /// [`next_repair`](Self::next_repair).
    pub(crate) fn answer(&mut self, wanted: Wanted, run: usize) -> usize {
        let is_under_way = self.left < self.data || self.queued > 0;
        if is_under_way || self.round == Some(wanted.round) || wanted.count == 0 {
            return 0;
        }
        self.round = Some(wanted.round);
        let all = self.data + PARITY_MAX;
        if wanted.count == ALL_FRAGMENTS {
            self.next_repair = 0;
            return self.flight();
        }
        let count = usize::from(wanted.count);
        (count + count.div_ceil(2).max(run)).min(all)
    }

    /// The next fragment that is worth sending again.
    pub(crate) fn next_repair(&mut self) -> usize {
        let all = self.data + PARITY_MAX;
        let index = self.next_repair % all;
        self.next_repair = index + 1;
        index
    }
}
