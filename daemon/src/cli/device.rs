//! `device …`: keys with which native viewers sign in, by whoever administers this host.

use std::io::{self, Write as _};

use super::Failure;
use super::accounts::{Handout, add_fresh_code, find, find_enabled, open};
use crate::auth::hex;
use crate::changes;
use crate::state::devices::{self, Device};
use crate::state::sign_ins::Purpose;
use crate::state::users;

/// Shortest part of a key that names a device on the command line.
const ID_LEN_MIN: usize = 8;

/// What stands after `device`.
#[derive(Debug, PartialEq, Eq)]
enum Command {
    Enrol { name: String },
    List { name: Option<String>, is_json: bool },
    Revoke { id: String },
}

pub(super) fn run(arguments: &[String]) -> Result<(), Failure> {
    let (command, flags) = parse(arguments)?;
    match command {
        Command::Enrol { name } => enrol(&name, &flags),
        Command::List { name, is_json } => list(name.as_deref(), is_json, &flags),
        Command::Revoke { id } => revoke(&id, &flags),
    }
}

/// What is to be done, and the flags of the configuration.
fn parse(arguments: &[String]) -> Result<(Command, Vec<String>), Failure> {
    let wanted = || Failure::usage("device wants enrol, list or revoke");
    let (verb, rest) = arguments.split_first().ok_or_else(wanted)?;
    let (mut words, mut flags, mut is_json) = (Vec::new(), Vec::new(), false);
    let mut rest = rest.iter();
    while let Some(argument) = rest.next() {
        if argument == "--json" && verb == "list" {
            is_json = true;
        } else if argument.starts_with('-') {
            flags.push(argument.clone());
            if !argument.contains('=') {
                flags.extend(rest.next().cloned());
            }
        } else {
            words.push(argument.clone());
        }
    }
    let command = match (verb.as_str(), words.as_slice()) {
        ("enrol", [name]) => Command::Enrol {
            name: account(name)?,
        },
        ("list", []) => Command::List {
            name: None,
            is_json,
        },
        ("list", [name]) => Command::List {
            name: Some(account(name)?),
            is_json,
        },
        ("revoke", [id]) => Command::Revoke { id: key_part(id)? },
        ("enrol", _) => return Err(Failure::usage("device enrol wants one account's name")),
        ("list", _) => {
            return Err(Failure::usage(
                "device list wants one account's name, or none",
            ));
        }
        ("revoke", _) => {
            return Err(Failure::usage(
                "device revoke wants one ID; sandbox-server device list shows them all",
            ));
        }
        (other, _) if other.starts_with('-') => return Err(wanted()),
        (other, _) => {
            return Err(Failure::usage(format!(
                "there is no subcommand device {other}; sandbox-server --help lists them"
            )));
        }
    };
    Ok((command, flags))
}

fn account(name: &str) -> Result<String, Failure> {
    if users::is_name(name) {
        return Ok(name.to_owned());
    }
    Err(Failure::usage(format!(
        "{name} can be nobody's name; sandbox-server user list shows them all"
    )))
}

fn key_part(id: &str) -> Result<String, Failure> {
    if id.len() >= ID_LEN_MIN && id.bytes().all(|it| it.is_ascii_hexdigit()) {
        return Ok(id.to_ascii_lowercase());
    }
    Err(Failure::usage(format!(
        "{id} is no device's ID: it has {ID_LEN_MIN} hexadecimal digits or more; sandbox-server \
         device list shows them all"
    )))
}

fn enrol(name: &str, flags: &[String]) -> Result<(), Failure> {
    let handout = Handout::prepare(flags, &format!("enrol-{name}"))?;
    let (config, mut connection) = open(flags)?;
    let user = find_enabled(&connection, name)?;
    let code = add_fresh_code(&mut connection, Purpose::Enrol, user.index)?;
    handout.give(&config, &code)
}

fn list(name: Option<&str>, is_json: bool, flags: &[String]) -> Result<(), Failure> {
    let (_, connection) = open(flags)?;
    let user = match name {
        Some(name) => Some(find(&connection, name)?.index),
        None => None,
    };
    let all = devices::all(&connection, user)?;
    let mut out = io::stdout().lock();
    if is_json {
        let text = serde_json::to_string_pretty(&all)
            .map_err(|error| Failure::simple(error.to_string()))?;
        return Ok(writeln!(out, "{text}")?);
    }
    writeln!(out, "{:<16} {:<32} DEVICE", "ID", "NAME")?;
    for Device { id, user, name, .. } in all {
        writeln!(out, "{id:<16} {user:<32} {name}")?;
    }
    Ok(())
}

fn revoke(id: &str, flags: &[String]) -> Result<(), Failure> {
    let (config, connection) = open(flags)?;
    let all = devices::all(&connection, None)?;
    let named: Vec<&Device> = all
        .iter()
        .filter(|it| hex(&it.key.0).starts_with(id))
        .collect();
    let device = match named.as_slice() {
        [device] => *device,
        [] => {
            return Err(Failure::simple(format!(
                "there is no device {id}; sandbox-server device list shows them all"
            )));
        }
        several => {
            return Err(Failure::simple(format!(
                "{} devices have an ID that begins with {id}: write more of it",
                several.len()
            )));
        }
    };
    devices::revoke(&connection, device.key)?;
    changes::touch(&config.daemon.dir)?;
    let Device { id, user, name, .. } = device;
    Ok(writeln!(
        io::stdout(),
        "revoked {id} ({name}) of {user}; its sign-ins end"
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_with_the_flags_of_the_configuration() {
        #[track_caller]
        fn check(text: &str, command: Command, flags: &[&str]) {
            let arguments: Vec<String> = text.split(' ').map(str::to_owned).collect();
            let parsed = parse(&arguments).unwrap_or_else(|failure| panic!("{}", failure.words));
            assert_eq!(parsed.0, command, "{text}");
            assert_eq!(parsed.1, flags, "{text}");
        }
        let enrol = || Command::Enrol { name: "ada".into() };
        check("enrol ada", enrol(), &[]);
        check("enrol --port=1 ada", enrol(), &["--port=1"]);
        check("enrol ada --port 1", enrol(), &["--port", "1"]);
        let list = Command::List {
            name: None,
            is_json: true,
        };
        check("list --json", list, &[]);
        let list = Command::List {
            name: Some("ada".into()),
            is_json: false,
        };
        check("list ada", list, &[]);
        let id = "ab".repeat(8);
        check(
            &format!("revoke {}", id.to_uppercase()),
            Command::Revoke { id },
            &[],
        );
    }
}
