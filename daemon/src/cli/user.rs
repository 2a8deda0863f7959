//! `user …`: accounts, by whoever administers this host.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use sandbox_jail::warden::become_daemon;

use super::prompt::{Password, PasswordSource};
use super::serve::DAEMON_USER;
use super::{Failure, chain};
use crate::auth::{LINK_SECONDS, code_hash, new_code, password};
use crate::changes;
use crate::clock;
use crate::config::Config;
use crate::redacted::Redacted;
use crate::state::sign_ins::{Purpose, add_code};
use crate::state::users::{self, Role, User};
use crate::state::{self};

/// What stands after `user`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Arguments {
    verb: String,
    name: Option<String>,
    role: Option<Role>,
    password: PasswordSource,
    is_json: bool,
    /// For the configuration.
    flags: Vec<String>,
}

pub(super) fn run(arguments: &[String]) -> Result<(), Failure> {
    let arguments = parse(arguments)?;
    match arguments.verb.as_str() {
        "add" => add(arguments),
        "list" => list(&arguments),
        "disable" => set_disabled(&arguments),
        "enable" => set_enabled(&arguments),
        "passwd" => set_password(arguments),
        "link" => link(&arguments),
        other => Err(Failure::usage(format!(
            "there is no subcommand user {other}; sandbox-server --help lists them"
        ))),
    }
}

fn parse(arguments: &[String]) -> Result<Arguments, Failure> {
    let mut parsed = Arguments::default();
    let mut rest = arguments.iter();
    parsed.verb = rest
        .next()
        .filter(|it| !it.starts_with('-'))
        .cloned()
        .ok_or_else(|| Failure::usage("user wants add, list, disable, enable, passwd or link"))?;
    while let Some(argument) = rest.next() {
        let (flag, inline) = match argument.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (flag, Some(value.to_owned())),
            _ => (argument.as_str(), None),
        };
        let mut value = || {
            let value = inline.clone().or_else(|| rest.next().cloned());
            value.ok_or_else(|| Failure::usage(format!("{flag} wants a value")))
        };
        match flag {
            "--username" => set_name(&mut parsed, value()?)?,
            "--role" => {
                let role = value()?;
                parsed.role = Some(Role::parse(&role).ok_or_else(|| {
                    Failure::usage(format!("--role {role}: it may be admin, user or viewer"))
                })?);
            }
            "--password" => parsed.password = PasswordSource::Argument(Redacted::new(value()?)),
            "--password-stdin" => parsed.password = PasswordSource::Stdin,
            "--password-file" => parsed.password = PasswordSource::File(PathBuf::from(value()?)),
            "--json" => parsed.is_json = true,
            _ if flag.starts_with('-') => {
                parsed.flags.push(argument.clone());
                if inline.is_none() {
                    parsed.flags.extend(rest.next().cloned());
                }
            }
            _ => set_name(&mut parsed, argument.clone())?,
        }
    }
    let wants_name = parsed.verb != "list";
    match (&parsed.name, wants_name) {
        (None, true) => {
            let verb = &parsed.verb;
            Err(Failure::usage(format!("user {verb} wants a name")))
        }
        (Some(name), false) => Err(Failure::usage(format!("user list wants no name: {name}"))),
        (Some(_), true) | (None, false) => Ok(parsed),
    }
}

fn set_name(parsed: &mut Arguments, name: String) -> Result<(), Failure> {
    if !users::is_name(&name) {
        return Err(Failure::usage(format!(
            "{name} can be nobody's name: it begins with a to z or _, and goes on with these, \
             digits and -, 32 in all"
        )));
    }
    if let Some(earlier) = parsed.name.replace(name) {
        return Err(Failure::usage(format!(
            "one name is wanted; {earlier} is the first of two"
        )));
    }
    Ok(())
}

/// Takes on the daemon's user and opens its database.
fn open(flags: &[String]) -> Result<(Config, Connection), Failure> {
    let config = super::config(flags)?;
    become_daemon(&config.state_dir, config.uid_base, DAEMON_USER).map_err(|error| Failure {
        words: chain(&error),
        code: error.exit_code(),
    })?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let connection = state::open(&config.daemon.dir.join("state.db"))?;
    Ok((config, connection))
}

fn find(connection: &Connection, arguments: &Arguments) -> Result<User, Failure> {
    let name = arguments.name.as_deref().unwrap_or_default();
    users::by_name(connection, name)?.ok_or_else(|| {
        Failure::simple(format!(
            "there is no account {name}; sandbox-server user list shows them all"
        ))
    })
}

/// Reads and hashes the password before rights are dropped: its file may be root's.
fn hash(source: PasswordSource) -> Result<(Password, String), Failure> {
    let password = source.read()?;
    let hash = password::hash(password.text.reveal()).map_err(|error| Failure::run_time(&error))?;
    Ok((password, hash))
}

/// Tells a password that nobody else knows, once.
fn tell(name: &str, password: &Password) -> Result<(), Failure> {
    if password.is_made {
        let text = password.text.reveal();
        writeln!(io::stdout(), "password of {name}: {text}")?;
    }
    Ok(())
}

fn add(arguments: Arguments) -> Result<(), Failure> {
    // A wrong configuration is said before anybody types a password.
    super::config(&arguments.flags)?;
    let (password, hash) = hash(arguments.password)?;
    let (_, connection) = open(&arguments.flags)?;
    let name = arguments.name.unwrap_or_default();
    let role = arguments.role.unwrap_or(Role::User);
    let made = users::create(&connection, &name, role, &hash, clock::unix_seconds())?;
    if made.is_none() {
        return Err(Failure::simple(format!(
            "the account {name} exists already; sandbox-server user passwd {name} changes its \
             password"
        )));
    }
    writeln!(io::stdout(), "added {name} ({})", role.code())?;
    tell(&name, &password)
}

fn list(arguments: &Arguments) -> Result<(), Failure> {
    let (_, connection) = open(&arguments.flags)?;
    let all = users::all(&connection)?;
    let mut out = io::stdout().lock();
    if arguments.is_json {
        let text = serde_json::to_string_pretty(&all)
            .map_err(|error| Failure::simple(error.to_string()))?;
        return Ok(writeln!(out, "{text}")?);
    }
    writeln!(out, "{:<32} {:<7} STATE", "NAME", "ROLE")?;
    for user in all {
        let state = if user.is_disabled {
            "disabled"
        } else {
            "enabled"
        };
        writeln!(out, "{:<32} {:<7} {state}", user.name, user.role.code())?;
    }
    Ok(())
}

fn set_disabled(arguments: &Arguments) -> Result<(), Failure> {
    let (config, mut connection) = open(&arguments.flags)?;
    let user = find(&connection, arguments)?;
    users::disable(&mut connection, user.index, clock::unix_seconds())?;
    changes::touch(&config.daemon.dir)?;
    Ok(writeln!(
        io::stdout(),
        "disabled {}; its sign-ins and desktops end",
        user.name
    )?)
}

fn set_enabled(arguments: &Arguments) -> Result<(), Failure> {
    let (_, connection) = open(&arguments.flags)?;
    let user = find(&connection, arguments)?;
    users::enable(&connection, user.index)?;
    Ok(writeln!(io::stdout(), "enabled {}", user.name)?)
}

fn set_password(arguments: Arguments) -> Result<(), Failure> {
    super::config(&arguments.flags)?;
    let source = PasswordSource::default();
    let mut arguments = arguments;
    let source = std::mem::replace(&mut arguments.password, source);
    let (password, hash) = hash(source)?;
    let (config, mut connection) = open(&arguments.flags)?;
    let user = find(&connection, &arguments)?;
    users::set_password(&mut connection, user.index, &hash, clock::unix_seconds())?;
    changes::touch(&config.daemon.dir)?;
    writeln!(
        io::stdout(),
        "changed the password of {}; its sign-ins end",
        user.name
    )?;
    tell(&user.name, &password)
}

fn link(arguments: &Arguments) -> Result<(), Failure> {
    let is_shown = io::stdout().is_terminal();
    let early = if is_shown || super::is_root() {
        None
    } else {
        early_link_file(arguments)?
    };
    let (config, mut connection) = open(&arguments.flags)?;
    let user = find(&connection, arguments)?;
    if user.is_disabled {
        let name = user.name;
        return Err(Failure::simple(format!(
            "{name} is disabled; sandbox-server user enable {name} lets it in again"
        )));
    }
    let code = new_code();
    let now = clock::unix_seconds();
    let hash = code_hash(&code);
    let ends = now + LINK_SECONDS;
    add_code(
        &mut connection,
        &hash,
        Purpose::SignIn,
        user.index,
        now,
        ends,
    )?;
    let origin = &config.daemon.public_url;
    let url = format!("{origin}/#once={code}&user={}", user.name);
    if is_shown {
        return Ok(writeln!(io::stdout(), "{url}")?);
    }
    let (path, mut file) = match early {
        Some(opened) => opened,
        None => link_file(&config.daemon.dir, &user.name)?,
    };
    writeln!(file, "{url}")?;
    Ok(writeln!(io::stdout(), "{}", path.display())?)
}

/// An ordinary user's server has another uid than the user, who is to read the file. `None`
/// where `STATE_DIR` is not this user's, who then is the daemon's.
fn early_link_file(arguments: &Arguments) -> Result<Option<(PathBuf, File)>, Failure> {
    let config = super::config(&arguments.flags)?;
    let name = arguments.name.as_deref().unwrap_or_default();
    Ok(link_file(&config.state_dir, name).ok())
}

/// A pipe may lead into a log or another process's arguments: only its owner reads this file.
fn link_file(directory: &Path, name: &str) -> io::Result<(PathBuf, File)> {
    let path = directory.join(format!("link-{name}"));
    let _absent = std::fs::remove_file(&path);
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    Ok((path, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Arguments {
        let arguments: Vec<String> = text.split(' ').map(str::to_owned).collect();
        parse(&arguments).unwrap_or_else(|failure| panic!("{}", failure.words))
    }

    #[test]
    fn a_name_stands_alone_or_behind_its_flag() {
        let expected = Arguments {
            verb: "add".into(),
            name: Some("demo".into()),
            role: Some(Role::Admin),
            password: PasswordSource::Stdin,
            ..Arguments::default()
        };
        for text in [
            "add demo --role admin --password-stdin",
            "add --username demo --role=admin --password-stdin",
            "add --password-stdin --username=demo --role admin",
        ] {
            assert_eq!(parsed(text), expected, "{text}");
        }
    }

    #[test]
    fn flags_of_the_configuration_are_handed_on() {
        let arguments = parsed("link demo --config /etc/x.env --port=1");
        assert_eq!(arguments.name.as_deref(), Some("demo"));
        assert_eq!(arguments.flags, ["--config", "/etc/x.env", "--port=1"]);
    }
}
