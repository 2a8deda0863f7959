//! Bytes that no server of ours would send. What finds no room is not sent.

use sandbox_quic::{Bytes, Dir};

use super::Server;

impl Server {
    pub fn send_datagram(&mut self, bytes: &[u8]) {
        if let Some(peer) = &self.peer {
            let bytes = Bytes::copy_from_slice(bytes);
            let _full = self.endpoint.send_datagram(peer.handle, bytes);
        }
    }

    pub fn send_stream(&mut self, bytes: &[u8]) {
        let Some(handle) = self.peer.as_ref().map(|it| it.handle) else {
            return;
        };
        if let Some(stream) = self.endpoint.open_stream(handle, Dir::Uni, 0) {
            self.endpoint.write(handle, stream, bytes);
            self.endpoint.finish(handle, stream);
        }
    }

    pub fn send_control(&mut self, bytes: &[u8]) {
        if let Some(peer) = &mut self.peer {
            peer.unsent.extend(bytes);
            self.flush();
        }
    }
}
