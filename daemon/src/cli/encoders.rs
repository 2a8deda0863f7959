//! `sandbox-server encoders`: what this machine can encode with, and what is chosen.

use std::io::{self, Write as _};

use sandbox_hw::{Choice, Found};
use serde_json::{Value, json};

use super::Failure;

/// What is said of graphics cards, whatever the machine has.
const GPU: &str = "no NVENC support in this version";

pub(super) fn run(arguments: &[String]) -> Result<(), Failure> {
    let (json, flags): (Vec<_>, Vec<_>) = arguments.iter().cloned().partition(|it| it == "--json");
    let codec = super::config(&flags)?.codec;
    let found = sandbox_hw::probe();
    let choice =
        sandbox_hw::choose(&codec, &found).map_err(|error| Failure::usage(error.to_string()))?;
    let words = if json.is_empty() {
        table(&codec, &found, &choice)
    } else {
        format!("{:#}\n", document(&codec, &found, &choice))
    };
    Ok(io::stdout().write_all(words.as_bytes())?)
}

fn table(codec: &str, found: &[Found], choice: &Choice) -> String {
    let mut words = String::new();
    for Found { name, version } in found {
        let version = match version {
            Ok(version) => version.clone(),
            Err(error) => error.to_string(),
        };
        words += &format!("{name:<10} {version}\n");
    }
    words += &format!("{:<10} {GPU}\n", "GPU");
    let Choice { name, why } = choice;
    words + &format!("VIDEO_CODEC={codec}: {name} is used: {why}\n")
}

fn document(codec: &str, found: &[Found], choice: &Choice) -> Value {
    let encoders = found.iter().map(|Found { name, version }| match version {
        Ok(version) => json!({ "name": name, "usable": true, "version": version }),
        Err(error) => json!({ "name": name, "usable": false, "why": error.to_string() }),
    });
    json!({
        "wanted": codec,
        "chosen": choice.name,
        "why": choice.why,
        "encoders": encoders.collect::<Vec<_>>(),
        "gpu": GPU,
    })
}

#[cfg(test)]
mod tests {
    use sandbox_hw::EncodeError;

    use super::*;

    #[test]
    fn a_missing_library_and_its_substitute_are_told_in_both_forms() {
        let found = [
            Found {
                name: "libx264",
                version: Err(EncodeError::Missing {
                    layer: "libx264",
                    detail: "no such file".to_owned(),
                }),
            },
            Found {
                name: "openh264",
                version: Ok("OpenH264 2".to_owned()),
            },
        ];
        let choice = sandbox_hw::choose("auto", &found).unwrap();
        assert_eq!(
            table("auto", &found, &choice),
            "libx264    libx264 is missing: no such file\n\
             openh264   OpenH264 2\n\
             GPU        no NVENC support in this version\n\
             VIDEO_CODEC=auto: openh264 is used: libx264 is missing\n"
        );
        let document = document("auto", &found, &choice);
        assert_eq!(document["chosen"], "openh264");
        assert_eq!(document["encoders"][0]["usable"], false);
        assert_eq!(document["encoders"][1]["version"], "OpenH264 2");
        assert_eq!(document["gpu"], GPU);
    }
}
