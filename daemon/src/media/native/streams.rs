//! Updates that are too large for datagrams, each on a stream of its own.

use std::collections::BTreeMap;

use sandbox_protocol::wire::codes::ResetCode;
use sandbox_protocol::wire::datagram::Epoch;
use sandbox_quic::{Dir, Endpoint, Handle, StreamId};

/// Behind the control stream, which has 0.
const PRIORITY: i32 = -1;

/// Which update: epoch and number.
type Name = (u16, u32);

/// The streams of one viewer's updates.
#[derive(Debug, Default)]
pub(in crate::media) struct UpdateStreams {
    open: BTreeMap<Name, UpdateStream>,
}

#[derive(Debug, Default)]
struct UpdateStream {
    /// None while the viewer allows no further stream.
    id: Option<StreamId>,
    /// What the stream has not taken; the update is paced, so it is seldom more than a chunk.
    waiting: Vec<u8>,
    /// Nothing follows what waits.
    is_whole: bool,
    is_finished: bool,
}

impl UpdateStreams {
    /// The next bytes of an update.
    pub(in crate::media) fn handle_bytes(
        &mut self,
        connection: (&mut Endpoint, Handle),
        (epoch, update): (Epoch, u32),
        bytes: &[u8],
        part: Part,
    ) {
        let name = (epoch.0, update);
        if part.is_first {
            self.open.insert(name, UpdateStream::default());
        }
        // The viewer may have stopped it.
        if let Some(stream) = self.open.get_mut(&name) {
            stream.waiting.extend(bytes);
            stream.is_whole = part.is_last;
            stream.flush(connection);
        }
    }

    /// Streams may take more.
    pub(in crate::media) fn flush(&mut self, (endpoint, handle): (&mut Endpoint, Handle)) {
        for stream in self.open.values_mut() {
            stream.flush((endpoint, handle));
        }
    }

    /// What an update holds is superseded.
    pub(in crate::media) fn reset(
        &mut self,
        (endpoint, handle): (&mut Endpoint, Handle),
        (epoch, update): (Epoch, u32),
    ) {
        let stream = self.open.remove(&(epoch.0, update));
        if let Some(id) = stream.and_then(|it| it.id) {
            endpoint.reset(handle, id, ResetCode::Superseded.number());
        }
    }

    /// None of what is under way is of use.
    pub(in crate::media) fn reset_all(&mut self, (endpoint, handle): (&mut Endpoint, Handle)) {
        for stream in std::mem::take(&mut self.open).into_values() {
            if let Some(id) = stream.id {
                endpoint.reset(handle, id, ResetCode::Superseded.number());
            }
        }
    }

    /// A stream has arrived, or the viewer does not want it. Returns whose it was.
    pub(in crate::media) fn handle_over(&mut self, id: StreamId) -> Option<(Epoch, u32)> {
        let name = *self.open.iter().find(|(_, it)| it.id == Some(id))?.0;
        self.open.remove(&name);
        Some((Epoch(name.0), name.1))
    }
}

/// Where bytes stand in their update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::media) struct Part {
    pub(in crate::media) is_first: bool,
    pub(in crate::media) is_last: bool,
}

impl UpdateStream {
    fn flush(&mut self, (endpoint, handle): (&mut Endpoint, Handle)) {
        if self.is_finished {
            return;
        }
        if self.id.is_none() {
            self.id = endpoint.open_stream(handle, Dir::Uni, PRIORITY);
        }
        let Some(id) = self.id else { return };
        if !self.waiting.is_empty() {
            let written = endpoint.write(handle, id, &self.waiting);
            self.waiting.drain(..written);
        }
        if self.waiting.is_empty() && self.is_whole {
            self.is_finished = true;
            endpoint.finish(handle, id);
        }
    }
}
