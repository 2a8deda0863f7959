//! Targets: the hand-laid and bincode layouts of both ends, and of the wires inside a node.

use sandbox_protocol::codec;
use sandbox_protocol::limits::{CONTROL_BYTES_MAX, LOCAL_MESSAGE_BYTES_MAX};
use sandbox_protocol::local::frame::{FrameHeader, HEADER_LEN, PREFIX_LEN};
use sandbox_protocol::local::{warden, worker};
use sandbox_protocol::wire::control::{self, Frames, Message, Trust};
use sandbox_protocol::wire::datagram::{FromServer, FromViewer, Nack};
use sandbox_protocol::wire::input::{Packet, encode_ack};
use sandbox_protocol::wire::update_stream::{STREAM_HEADER_LEN, StreamHeader};

use crate::{Target, valid, way};

/// What the checks themselves take: texts of errors, encodings to compare with.
const CHECKS: usize = 64 << 10;

pub(crate) const INPUT: Target = Target {
    name: "input",
    valid: valid::input,
    read: read_input,
    memory_max: CHECKS,
    mutations: 20_000,
};

pub(crate) const FROM_VIEWER: Target = Target {
    name: "from-viewer",
    valid: valid::from_viewer,
    read: read_from_viewer,
    memory_max: CHECKS,
    mutations: 20_000,
};

pub(crate) const FROM_SERVER: Target = Target {
    name: "from-server",
    valid: valid::from_server,
    read: read_from_server,
    memory_max: CHECKS,
    mutations: 20_000,
};

pub(crate) const CONTROL_FROM_VIEWER: Target = Target {
    name: "control-from-viewer",
    valid: valid::control_from_viewer,
    read: read_control::<control::FromViewer>,
    memory_max: CHECKS + 4 * CONTROL_BYTES_MAX,
    mutations: 5_000,
};

pub(crate) const CONTROL_FROM_SERVER: Target = Target {
    name: "control-from-server",
    valid: valid::control_from_server,
    read: read_control::<control::FromServer>,
    memory_max: CHECKS + 4 * CONTROL_BYTES_MAX,
    mutations: 5_000,
};

pub(crate) const UPDATE_STREAM: Target = Target {
    name: "update-stream",
    valid: valid::update_stream,
    read: read_update_stream,
    memory_max: CHECKS,
    mutations: 20_000,
};

pub(crate) const LOCAL: Target = Target {
    name: "local",
    valid: valid::local,
    read: read_local,
    memory_max: CHECKS + 2 * LOCAL_MESSAGE_BYTES_MAX,
    mutations: 20_000,
};

pub(crate) const FRAME: Target = Target {
    name: "frame",
    valid: valid::frame,
    read: read_frame,
    memory_max: CHECKS,
    mutations: 20_000,
};

fn read_input(bytes: &[u8]) -> String {
    match Packet::decode(bytes) {
        Ok(packet) => {
            assert_eq!(packet.encode(), bytes);
            let parts = (packet.pointer.is_some(), packet.held.is_some());
            way(&(parts, packet.events))
        }
        Err(error) => way(&error),
    }
}

fn read_from_viewer(bytes: &[u8]) -> String {
    let message = match FromViewer::decode(bytes) {
        Ok(message) => message,
        Err(error) => return way(&error),
    };
    let mut again = Vec::new();
    match &message {
        FromViewer::Input(packet) => again = packet.encode(),
        FromViewer::Feedback(it) => {
            let arrivals: Vec<_> = it.arrivals.iter().collect();
            it.header.encode_into(arrivals.into_iter(), &mut again);
        }
        FromViewer::Nack(it) => {
            let wanted: Vec<_> = it.iter().collect();
            Nack::encode_into(it.epoch, &wanted, &mut again);
        }
        FromViewer::ReferenceLost(it) => it.encode_into(&mut again),
        FromViewer::Ping(it) => it.encode_into(&mut again),
    }
    assert_eq!(again, bytes);
    way(&message)
}

fn read_from_server(bytes: &[u8]) -> String {
    let message = match FromServer::decode(bytes) {
        Ok(message) => message,
        Err(error) => return way(&error),
    };
    let mut again = Vec::new();
    match &message {
        FromServer::InputAck { stream, seq } => again.extend(encode_ack(*stream, *seq)),
        FromServer::Fragment(it) => {
            again.extend(it.header.encode());
            again.extend(it.shard);
        }
        FromServer::Sound(header, sound) => header.encode_into(sound, &mut again),
        FromServer::Cursor(it) => it.encode_into(&mut again),
        FromServer::Pong(it) => it.encode_into(&mut again),
    }
    assert_eq!(again, bytes);
    way(&message)
}

/// The bytes of a whole stream: what comes of them is the same in whatever pieces they come, and
/// a message encodes to the bytes before its extensions.
fn read_control<M: Message + std::fmt::Debug>(bytes: &[u8]) -> String {
    let mut ways = [1, 7, usize::MAX].map(|piece| read_pieces::<M>(bytes, piece));
    assert_eq!(ways[0], ways[1]);
    assert_eq!(ways[1], ways[2]);
    std::mem::take(&mut ways[0])
}

fn read_pieces<M: Message + std::fmt::Debug>(bytes: &[u8], piece: usize) -> String {
    let mut frames = Frames::default();
    let mut trust = Trust::Stranger;
    let (mut left, mut came) = (bytes, String::new());
    while !left.is_empty() {
        let room = frames.room(trust);
        assert!(room > 0, "a stream that is stuck");
        let (next, rest) = left.split_at(room.min(piece).min(left.len()));
        frames.handle_bytes(next);
        left = rest;
        loop {
            let frame = match frames.poll_frame(trust) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => return came + &way(&error),
            };
            match control::decode::<M>(frame) {
                Ok(Some(message)) => {
                    assert!(frame.starts_with(&codec::encode(&message).unwrap()));
                    came += &way(&message);
                }
                Ok(None) => came += "skipped",
                Err(error) => return came + &way(&error),
            }
            trust = Trust::SignedIn;
        }
    }
    came
}

fn read_update_stream(bytes: &[u8]) -> String {
    let Some((header, _)) = bytes.split_first_chunk::<STREAM_HEADER_LEN>() else {
        return "short".to_owned();
    };
    let decoded = StreamHeader::decode(*header);
    if let Ok(it) = &decoded {
        assert_eq!(it.encode(), *header);
    }
    way(&decoded)
}

/// The first byte says which wire, the rest is one message.
fn read_local(bytes: &[u8]) -> String {
    fn read<T: bincode::Encode + bincode::Decode<()> + std::fmt::Debug>(bytes: &[u8]) -> String {
        let decoded = codec::decode::<T>(bytes);
        if let Ok(it) = &decoded {
            assert_eq!(codec::encode(it).unwrap(), bytes);
        }
        way(&decoded)
    }
    let Some((wire, bytes)) = bytes.split_first() else {
        return "empty".to_owned();
    };
    match wire {
        0 => read::<warden::Request>(bytes),
        1 => read::<warden::Event>(bytes),
        2 => read::<worker::FromWarden>(bytes),
        3 => read::<worker::ToWarden>(bytes),
        4 => read::<worker::ToWorker>(bytes),
        _ => read::<worker::FromWorker>(bytes),
    }
}

fn read_frame(bytes: &[u8]) -> String {
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX_LEN>() else {
        return "short".to_owned();
    };
    let length = match FrameHeader::decode_prefix(*prefix) {
        Ok(length) => length,
        Err(error) => return way(&error),
    };
    let decoded = FrameHeader::decode(rest.get(..length).unwrap_or(rest));
    if let Ok((header, payload)) = &decoded
        && HEADER_LEN + payload.len() == length
    {
        let mut again = header.encode(payload.len()).to_vec();
        again.extend(*payload);
        // Two bytes are reserved: anything may stand there.
        again[PREFIX_LEN + 2..PREFIX_LEN + 4].copy_from_slice(&rest[2..4]);
        assert_eq!(again, bytes[..PREFIX_LEN + length]);
    }
    way(&decoded)
}
