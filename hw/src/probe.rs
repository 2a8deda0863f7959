//! Which encoders this machine has, and which one is taken.

use crate::{Config, EncodeError, Encoder, openh264, x264};

/// Names that `VIDEO_CODEC` may hold.
const KNOWN: &str = "auto, libx264, openh264";

/// One encoder that this build knows, and whether this machine has it.
#[derive(Debug)]
pub struct Found {
    /// The encoder's name, as in `VIDEO_CODEC`.
    pub name: &'static str,
    /// The library's version in words, or why it cannot be used.
    pub version: Result<String, EncodeError>,
}

/// The encoder that is taken on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The encoder's name.
    pub name: &'static str,
    /// Why this one, in words.
    pub why: String,
}

/// An encoder that is ready.
#[derive(Debug)]
pub struct Opened {
    /// The encoder.
    pub encoder: Box<dyn Encoder>,
    /// Why it is not the one that was wanted, if it is not.
    pub missed: Option<EncodeError>,
}

/// Looks for every known encoder, best first. Loads libraries: call it before the seal.
pub fn probe() -> Vec<Found> {
    vec![
        Found {
            name: x264::NAME,
            version: x264::version(),
        },
        Found {
            name: openh264::NAME,
            version: Ok(openh264::version()),
        },
    ]
}

/// What [`open`] takes for `codec` where `found` is what this machine has.
///
/// # Errors
///
/// [`EncodeError::Unknown`] for a name that is not known.
pub fn choose(codec: &str, found: &[Found]) -> Result<Choice, EncodeError> {
    let wanted = match codec {
        "auto" => None,
        name => Some(known(name)?),
    };
    let usable = |it: &&Found| it.version.is_ok();
    let named = found.iter().find(|it| Some(it.name) == wanted);
    if let Some(named) = named.filter(usable) {
        return Ok(Choice {
            name: named.name,
            why: "VIDEO_CODEC names it".to_owned(),
        });
    }
    let better = found.iter().find_map(|it| it.version.as_ref().err());
    Ok(Choice {
        name: found
            .iter()
            .find(usable)
            .map_or(openh264::NAME, |it| it.name),
        why: match better {
            Some(EncodeError::Missing { layer, .. }) => format!("{layer} is missing"),
            Some(other) => other.to_string(),
            None => "the best one found".to_owned(),
        },
    })
}

/// Opens the encoder that `codec` names, or the best one for `auto`; OpenH264, which is built in,
/// where the host lacks that. Loads its library and reads what it needs: call it before the seal.
///
/// # Errors
///
/// [`EncodeError::Unknown`] for a name that is not known, [`EncodeError::Size`] or
/// [`EncodeError::Configure`] when the library refuses `config`.
pub fn open(codec: &str, config: Config) -> Result<Opened, EncodeError> {
    open_with(codec, config, &x264::BUILDS)
}

fn open_with(codec: &str, config: Config, builds: &[u16]) -> Result<Opened, EncodeError> {
    let name = match codec {
        "auto" => x264::NAME,
        name => known(name)?,
    };
    let missed = if name == x264::NAME {
        match x264::X264::open(config, builds) {
            Ok(encoder) => {
                return Ok(Opened {
                    encoder: Box::new(encoder),
                    missed: None,
                });
            }
            Err(missing @ EncodeError::Missing { .. }) => Some(missing),
            Err(error) => return Err(error),
        }
    } else {
        None
    };
    Ok(Opened {
        encoder: Box::new(openh264::OpenH264::open(config)?),
        missed,
    })
}

fn known(name: &str) -> Result<&'static str, EncodeError> {
    let names = [x264::NAME, openh264::NAME];
    let known = names.into_iter().find(|it| *it == name);
    known.ok_or_else(|| EncodeError::Unknown {
        name: name.to_owned(),
        known: KNOWN,
    })
}

#[cfg(test)]
mod tests {
    use sandbox_protocol::{Bitrate, Size};

    use super::*;

    const CONFIG: Config = Config {
        size: Size {
            width: 320,
            height: 200,
        },
        fps_max: 60,
        bitrate: Bitrate::kbps(8_000),
        threads: 1,
    };

    #[test]
    fn without_an_x264_that_is_known_openh264_takes_over_and_the_reason_is_told() {
        for codec in ["auto", "libx264"] {
            let opened = open_with(codec, CONFIG, &[1, 2]).unwrap();
            assert_eq!(opened.encoder.name(), "openh264");
            let missed = opened.missed.unwrap().to_string();
            assert!(missed.contains("libx264.so.1"), "{missed}");
        }
    }

    #[test]
    fn an_encoder_asked_for_by_name_is_no_fallback() {
        let opened = open_with("openh264", CONFIG, &[1, 2]).unwrap();
        assert_eq!(opened.encoder.name(), "openh264");
        assert!(opened.missed.is_none());
    }

    #[test]
    fn the_choice_is_the_one_that_is_opened_and_says_why() {
        let found = |has_x264: bool| {
            let missing = || EncodeError::Missing {
                layer: "libx264",
                detail: "no such file".to_owned(),
            };
            [
                Found {
                    name: x264::NAME,
                    version: has_x264.then(|| "x264".to_owned()).ok_or_else(missing),
                },
                Found {
                    name: openh264::NAME,
                    version: Ok("OpenH264".to_owned()),
                },
            ]
        };
        let missed = "libx264 is missing";
        let named = "VIDEO_CODEC names it";
        for (codec, has_x264, name, why) in [
            ("auto", true, "libx264", "the best one found"),
            ("auto", false, "openh264", missed),
            ("libx264", true, "libx264", named),
            ("libx264", false, "openh264", missed),
            ("openh264", true, "openh264", named),
            ("openh264", false, "openh264", named),
        ] {
            let choice = choose(codec, &found(has_x264)).unwrap();
            assert_eq!((choice.name, choice.why.as_str()), (name, why), "{codec}");
        }
        let error = choose("theora", &found(true)).unwrap_err();
        assert!(matches!(error, EncodeError::Unknown { .. }));
    }
}
