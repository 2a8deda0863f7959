//! `user …`: accounts, by whoever administers this host.

use std::io::{self, Write as _};
use std::path::PathBuf;

use super::Failure;
use super::accounts::{Handout, add_fresh_code, find, find_enabled, open};
use super::prompt::{Password, PasswordSource};
use crate::auth::password;
use crate::changes;
use crate::clock;
use crate::redacted::Redacted;
use crate::state::sign_ins::Purpose;
use crate::state::users::{self, Role};

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

fn name(arguments: &Arguments) -> &str {
    arguments.name.as_deref().unwrap_or_default()
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
    let user = find(&connection, name(arguments))?;
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
    let user = find(&connection, name(arguments))?;
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
    let user = find(&connection, name(&arguments))?;
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
    let handout = Handout::prepare(&arguments.flags, &format!("link-{}", name(arguments)))?;
    let (config, mut connection) = open(&arguments.flags)?;
    let user = find_enabled(&connection, name(arguments))?;
    let code = add_fresh_code(&mut connection, Purpose::SignIn, user.index)?;
    let origin = &config.daemon.public_url;
    let url = format!("{origin}/#once={code}&user={}", user.name);
    handout.give(&config, &url)
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
