//! Which codecs are offered, and the one that the server chose.

use sandbox_protocol::limits::DESKTOP_SIZE_MAX;
use sandbox_protocol::wire::control::{Chroma, Codec, Profile, StreamConfig, VideoCapability};

/// All that can be decoded here.
pub const CODECS: &[Codec] = if cfg!(feature = "av1") {
    &[Codec::H264, Codec::Av1]
} else {
    WITHOUT_AV1
};

/// What is left where AV1 cannot be decoded.
pub const WITHOUT_AV1: &[Codec] = &[Codec::H264];

/// One is chosen for the whole connection.
#[derive(Debug)]
pub(super) struct Codecs {
    offered: &'static [Codec],
    chosen: Option<Codec>,
}

impl Codecs {
    pub(super) const fn new(offered: &'static [Codec]) -> Self {
        Self {
            offered,
            chosen: None,
        }
    }

    /// What is offered.
    pub(super) fn capabilities(&self) -> Vec<VideoCapability> {
        self.offered.iter().map(|it| capability(*it)).collect()
    }

    /// The server chooses. Words where it may not.
    pub(super) fn handle_choice(&mut self, codec: Codec) -> Result<(), String> {
        if !self.offered.contains(&codec) {
            let name = codec.name();
            return Err(format!("it chose {name}, which was not offered"));
        }
        self.chosen = Some(codec);
        Ok(())
    }

    /// The stream's settings come. Words where they are not for the chosen codec.
    pub(super) fn check(&self, config: &StreamConfig) -> Result<(), String> {
        if self.chosen == Some(config.codec) {
            return Ok(());
        }
        let name = config.codec.name();
        Err(format!("a stream of {name}, which was not chosen"))
    }
}

const fn capability(codec: Codec) -> VideoCapability {
    let (profile, decode_us) = match codec {
        Codec::H264 => (Profile::High, 25_000),
        Codec::Av1 => (Profile::Main, 60_000),
    };
    VideoCapability {
        codec,
        profile,
        chroma: Chroma::Yuv420,
        size: DESKTOP_SIZE_MAX,
        // In one thread, 3840×2160, on a core of 2020: OpenH264, rav1d.
        decode_us,
    }
}
