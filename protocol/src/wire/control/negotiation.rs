//! What two ends of different ages and abilities agree on.

use super::message::{Codec, VideoCapability};
use crate::Size;
use crate::wire::codes::CloseCode;

/// Lowest minor version that this end speaks.
pub const MINOR_MIN: u16 = 0;

/// Highest.
pub const MINOR_MAX: u16 = 0;

/// Capabilities that count: more than there are codecs and profiles.
const VIDEO_MAX: usize = 8;

/// Mebibytes of the tile cache: a screenful at least, so that it is worth its work, and no more
/// than a server gives to one viewer.
const CACHE_MIB_MIN: u16 = 16;
const CACHE_MIB_MAX: u16 = 256;

/// What an end can do beyond what every one must.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(pub u64);

impl Features {
    /// Text goes both ways between the clipboards.
    pub const CLIPBOARD: Self = Self(1);
    /// Sound.
    pub const SOUND: Self = Self(1 << 1);
    /// The pointer's movements as steps, for programs that hold it.
    pub const RELATIVE_POINTER: Self = Self(1 << 2);

    /// Whether all of `others` are among them.
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Those of either.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// These but `others`.
    #[must_use]
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }
}

/// What this version can do.
pub const FEATURES: Features = Features::CLIPBOARD.and(Features::RELATIVE_POINTER);

/// What one end offers.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// Lowest minor version.
    pub minor_min: u16,
    /// Highest minor version.
    pub minor_max: u16,
    /// What it can do.
    pub features: Features,
    /// A viewer: what it decodes. The server: what it encodes, in the order of its preference.
    pub video: &'a [VideoCapability],
    /// Mebibytes for the tile cache.
    pub cache_mib: u16,
}

/// What both do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// Minor version.
    pub minor: u16,
    /// What both can do.
    pub features: Features,
    /// Codec and its settings.
    pub video: VideoCapability,
    /// Mebibytes of the tile cache.
    pub cache_mib: u16,
}

/// Why two ends cannot speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NegotiationError {
    /// No minor version in common.
    #[error(
        "the viewer speaks sandbox/1 minor {min} to {max}, this server {MINOR_MIN} to {MINOR_MAX}: update the older one"
    )]
    Version {
        /// The viewer's lowest.
        min: u16,
        /// The viewer's highest.
        max: u16,
    },
    /// No codec in common.
    #[error("the viewer decodes nothing that this server encodes for {0}")]
    Codec(Size),
    /// The viewer's cache is too small to work with.
    #[error("a tile cache of {0} MiB, less than {CACHE_MIB_MIN}")]
    Cache(u16),
}

impl NegotiationError {
    /// What the connection is closed with.
    pub const fn code(&self) -> CloseCode {
        match self {
            Self::Version { .. } => CloseCode::Version,
            Self::Codec(_) => CloseCode::UnsupportedCodec,
            Self::Cache(_) => CloseCode::Limit,
        }
    }
}

/// Settles what a server and a viewer do, for a desktop of `size` at most: the highest common
/// version, the features of both, the first of the server's codecs that the viewer decodes at
/// that size.
///
/// # Errors
///
/// Returns [`NegotiationError`] when there is nothing in common.
pub fn negotiate(
    server: &Offer<'_>,
    viewer: &Offer<'_>,
    size: Size,
) -> Result<Agreement, NegotiationError> {
    let minor = server.minor_max.min(viewer.minor_max);
    if minor < server.minor_min.max(viewer.minor_min) {
        return Err(NegotiationError::Version {
            min: viewer.minor_min,
            max: viewer.minor_max,
        });
    }
    if viewer.cache_mib < CACHE_MIB_MIN {
        return Err(NegotiationError::Cache(viewer.cache_mib));
    }
    let decodes = viewer.video.get(..VIDEO_MAX).unwrap_or(viewer.video);
    let common = |ours: &VideoCapability| {
        let theirs = decodes.iter().filter(|it| it.takes(ours, size));
        theirs.map(|it| it.with(ours)).next()
    };
    let video = server.video.iter().find_map(common);
    Ok(Agreement {
        minor,
        features: Features(server.features.0 & viewer.features.0),
        video: video.ok_or(NegotiationError::Codec(size))?,
        cache_mib: viewer.cache_mib.min(server.cache_mib).min(CACHE_MIB_MAX),
    })
}

impl VideoCapability {
    fn takes(&self, other: &Self, size: Size) -> bool {
        let fits = |it: Size| it.width >= size.width && it.height >= size.height;
        self.codec == other.codec && fits(self.size) && fits(other.size)
    }

    /// What both of two can do with one codec.
    fn with(&self, other: &Self) -> Self {
        Self {
            codec: self.codec,
            profile: self.profile.min(other.profile),
            chroma: self.chroma.min(other.chroma),
            size: Size {
                width: self.size.width.min(other.size.width),
                height: self.size.height.min(other.size.height),
            },
            decode_us: self.decode_us,
        }
    }
}

impl Codec {
    /// Its name in logs and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::Av1 => "av1",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{Chroma, Profile};
    use super::*;

    const SIZE: Size = Size {
        width: 1_920,
        height: 1_080,
    };
    const LARGE: Size = Size {
        width: 3_840,
        height: 2_160,
    };
    const H264: VideoCapability = VideoCapability {
        codec: Codec::H264,
        profile: Profile::High,
        chroma: Chroma::Yuv420,
        size: LARGE,
        decode_us: 3_000,
    };
    const AV1: VideoCapability = VideoCapability {
        codec: Codec::Av1,
        profile: Profile::Main,
        ..H264
    };

    const fn offer(video: &[VideoCapability]) -> Offer<'_> {
        Offer {
            minor_min: 0,
            minor_max: 3,
            features: Features(0b101),
            video,
            cache_mib: 64,
        }
    }

    #[test]
    fn the_highest_common_version_and_the_features_of_both_hold() {
        let server = offer(&[H264]);
        let viewer = Offer {
            minor_min: 2,
            minor_max: 9,
            features: Features(0b110),
            cache_mib: 4_000,
            ..server
        };
        let agreed = negotiate(&server, &viewer, SIZE).unwrap();
        assert_eq!(
            (agreed.minor, agreed.features, agreed.cache_mib),
            (3, Features(0b100), 64)
        );
    }

    #[test]
    fn versions_apart_do_not_speak() {
        let server = offer(&[H264]);
        for (min, max) in [(4, 9), (5, 4)] {
            let viewer = Offer {
                minor_min: min,
                minor_max: max,
                ..server
            };
            let error = negotiate(&server, &viewer, SIZE).unwrap_err();
            assert_eq!(error, NegotiationError::Version { min, max });
            assert_eq!(error.code(), CloseCode::Version);
        }
    }

    #[test]
    fn the_servers_preference_decides_among_what_the_viewer_decodes() {
        #[track_caller]
        fn check(server: &[VideoCapability], viewer: &[VideoCapability], codec: Option<Codec>) {
            let agreed = negotiate(&offer(server), &offer(viewer), SIZE);
            assert_eq!(agreed.ok().map(|it| it.video.codec), codec);
        }
        let small = VideoCapability {
            size: Size {
                width: 1_280,
                height: 720,
            },
            ..AV1
        };
        check(&[AV1, H264], &[H264, AV1], Some(Codec::Av1));
        check(&[H264, AV1], &[AV1, H264], Some(Codec::H264));
        check(&[AV1, H264], &[small, H264], Some(Codec::H264));
        check(&[AV1], &[H264], None);
        check(&[AV1], &[], None);
    }

    #[test]
    fn the_poorer_profile_and_sampling_hold() {
        let server = VideoCapability {
            profile: Profile::High444,
            chroma: Chroma::Yuv444,
            ..H264
        };
        let viewer = VideoCapability {
            profile: Profile::Main,
            ..H264
        };
        let agreed = negotiate(&offer(&[server]), &offer(&[viewer]), SIZE).unwrap();
        assert_eq!(
            (agreed.video.profile, agreed.video.chroma),
            (Profile::Main, Chroma::Yuv420)
        );
    }

    #[test]
    fn a_cache_that_holds_nothing_is_refused() {
        let viewer = Offer {
            cache_mib: 15,
            ..offer(&[H264])
        };
        let error = negotiate(&offer(&[H264]), &viewer, SIZE).unwrap_err();
        assert_eq!(error, NegotiationError::Cache(15));
    }
}
