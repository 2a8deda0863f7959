//! What a jail under construction tells the warden: one packet each.

use crate::layer::LayerError;

/// Bytes of one report; longer words are cut.
pub(crate) const REPORT_BYTES_MAX: usize = 1024;

/// The packet that lets a step go on.
pub(crate) const GO: &[u8] = b"go";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// Everything is in force; a gated program waits.
    Sealed,
    /// A layer that is only reported is weaker than designed.
    Weaker(String),
    /// The jail cannot be built and ends.
    Failed(LayerError),
}

impl Report {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = match self {
            Self::Sealed => "S".to_owned(),
            Self::Weaker(what) => format!("W{what}"),
            Self::Failed(error) => format!("F{}\0{}", error.layer, error.detail),
        }
        .into_bytes();
        bytes.truncate(REPORT_BYTES_MAX);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        match text.split_at_checked(1)? {
            ("S", "") => Some(Self::Sealed),
            ("W", what) => Some(Self::Weaker(what.to_owned())),
            ("F", rest) => {
                let (layer, detail) = rest.split_once('\0')?;
                Some(Self::Failed(LayerError::new(layer, detail)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_report_survives_its_packet() {
        for report in [
            Report::Sealed,
            Report::Weaker("landlock: ABI 2".to_owned()),
            Report::Failed(LayerError::new("seccomp", "not there")),
        ] {
            assert_eq!(Report::decode(&report.encode()), Some(report));
        }
        assert_eq!(Report::decode(b""), None);
        assert_eq!(Report::decode(b"Sx"), None);
    }
}
