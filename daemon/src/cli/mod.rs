//! The command line: which subcommand, and how its end is told.

mod accounts;
mod device;
mod doctor;
mod encoders;
mod prompt;
mod serve;
mod user;

use std::error::Error;
use std::io::{self, Write as _};
use std::path::PathBuf;

use crate::config::{Config, ConfigError, Host};
use crate::state::StateError;

const HELP: &str = "\
Usage: sandbox-server [serve] [FLAGS]
       sandbox-server user add NAME [--role admin|user|viewer] [PASSWORD]
       sandbox-server user list [--json]
       sandbox-server user disable NAME
       sandbox-server user enable NAME
       sandbox-server user passwd NAME [PASSWORD]
       sandbox-server user link NAME
       sandbox-server device enrol NAME
       sandbox-server device list [NAME] [--json]
       sandbox-server device revoke ID
       sandbox-server doctor [--json]
       sandbox-server encoders [--json]
       sandbox-server version

serve    starts the server; as root, or as an ordinary user by user namespaces
user     accounts; link makes a sign-in link for one use within ten minutes
device   keys of native viewers that sign in without a password; enrol makes a code with which the
         account NAME adds one within ten minutes, revoke ends it and its sign-ins
doctor   says what this host lacks for desktops, what follows, and what mends it
encoders which encoders this machine has, and which is used and why
version  prints the version

PASSWORD is --password-stdin, --password-file FILE or --password P (which `ps` shows). Without
one the command asks on a terminal, and else makes a password and prints it once.

Every command takes FLAGS: --config FILE names a file in the syntax of systemd's EnvironmentFile,
and every variable of the configuration is a flag, such as --media-port for MEDIA_PORT. Flags
outweigh the environment, the environment outweighs the file. The variables:
";

/// A command did not do what it should, with its exit code.
#[derive(Debug)]
pub struct Failure {
    words: String,
    code: u8,
}

impl Failure {
    /// Failed at run time: 1.
    pub fn run_time(error: &dyn Error) -> Self {
        Self {
            words: chain(error),
            code: 1,
        }
    }

    fn usage(words: impl Into<String>) -> Self {
        Self {
            words: words.into(),
            code: 2,
        }
    }

    fn simple(words: impl Into<String>) -> Self {
        Self {
            words: words.into(),
            code: 1,
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(chain(&error))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::run_time(&error)
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        // The library's words name the file and the cause; its own causes repeat both.
        let mut failure = Self::simple(error.to_string());
        if let StateError::Open { source, .. } = &error
            && let Some(rusqlite::ErrorCode::CannotOpen | rusqlite::ErrorCode::PermissionDenied) =
                source.sqlite_error_code()
        {
            failure.words += "; run this command as root, or as the user that the server runs as";
            failure.code = 3;
        }
        failure
    }
}

/// Runs what the arguments (without the program's name) say; gives the exit code.
pub fn run(arguments: &[String]) -> u8 {
    report(dispatch(arguments))
}

/// Tells a failure on standard error, once; gives the exit code.
pub fn report(outcome: Result<(), Failure>) -> u8 {
    match outcome {
        Ok(()) => 0,
        Err(failure) => {
            // With nobody to read standard error the exit code has to do.
            let _unread = writeln!(io::stderr(), "sandbox-server: {}", failure.words);
            failure.code
        }
    }
}

/// An error with its causes, each once.
pub fn chain(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(it) = cause {
        let more = it.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = it.source();
    }
    words
}

fn dispatch(arguments: &[String]) -> Result<(), Failure> {
    if arguments.iter().any(|it| it == "--help" || it == "-h") {
        return help();
    }
    let (first, rest) = match arguments.split_first() {
        Some((first, rest)) if !first.starts_with('-') => (first.as_str(), rest),
        // Flags alone belong to the default subcommand.
        _ => ("serve", arguments),
    };
    match (first, arguments.first().map(String::as_str)) {
        (_, Some("-V" | "--version")) => version(),
        ("serve", _) => serve::run(rest),
        ("user", _) => user::run(rest),
        ("device", _) => device::run(rest),
        ("doctor", _) => doctor::run(rest),
        ("encoders", _) => encoders::run(rest),
        ("version", _) => version(),
        ("help", _) => help(),
        (other, _) => Err(Failure::usage(format!(
            "there is no subcommand {other}; sandbox-server --help lists them"
        ))),
    }
}

fn version() -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    Ok(writeln!(io::stdout(), "sandbox-server {version}")?)
}

fn help() -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(HELP.as_bytes())?;
    for (name, default, allowed) in crate::config::variables() {
        let default = if default.is_empty() { "-" } else { default };
        writeln!(out, "  {name:<29} {default:<16} {allowed}")?;
    }
    Ok(())
}

/// Reads the configuration from flags, environment and file.
fn config(flags: &[String]) -> Result<Config, Failure> {
    let environment = std::env::vars_os().filter_map(|(name, value)| {
        // What is no UTF-8 is none of our variables, and none of their values.
        Some((name.into_string().ok()?, value.into_string().ok()?))
    });
    Ok(Config::load(flags, environment, &host())?)
}

fn host() -> Host {
    let memory = rustix::system::sysinfo();
    let bytes = u64::from(memory.mem_unit).saturating_mul(memory.totalram);
    let name = rustix::system::uname();
    let directory = |name| std::env::var_os(name).map(PathBuf::from);
    Host {
        is_root: is_root(),
        user_state_dir: directory("XDG_STATE_HOME")
            .or_else(|| directory("HOME").map(|it| it.join(".local/state"))),
        name: name.nodename().to_string_lossy().into_owned(),
        memory_mb: bytes >> 20,
        is_terminal: io::IsTerminal::is_terminal(&io::stderr()),
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open {0}")]
    struct Outer(&'static str, #[source] io::Error);

    #[test]
    fn causes_are_told_once_each() {
        let error = Outer("x", io::Error::other("disk is gone"));
        assert_eq!(chain(&error), "cannot open x: disk is gone");
        let failure = Failure::run_time(&error);
        assert_eq!(
            (failure.code, &*failure.words),
            (1, "cannot open x: disk is gone")
        );
    }

    #[test]
    fn what_does_not_exist_is_a_usage_error_that_names_it() {
        for arguments in [
            &["dance"][..],
            &["encoders", "more"],
            &["user"],
            &["user", "dance"],
            &["user", "add"],
            &["user", "add", "a", "b"],
            &["user", "add", "a", "--role", "king"],
            &["user", "add", "a", "--nonsense", "1"],
            &["user", "add", "Not A Name"],
            &["user", "list", "more"],
            &["device"],
            &["device", "dance"],
            &["device", "enrol"],
            &["device", "enrol", "Not A Name"],
            &["device", "enrol", "a", "b"],
            &["device", "revoke"],
            &["device", "revoke", "xyz"],
            &["device", "revoke", "ab"],
            &["device", "list", "a", "b"],
            &["device", "list", "--nonsense", "1"],
            &["doctor", "--nonsense", "1"],
            &["--nonsense"],
        ] {
            let arguments: Vec<String> = arguments.iter().map(|it| (*it).to_owned()).collect();
            let failure = dispatch(&arguments).unwrap_err();
            assert_eq!(failure.code, 2, "{arguments:?}: {}", failure.words);
        }
    }
}
