//! Where a password comes from: standard input, a file, a terminal, or chance.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::path::PathBuf;

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::Failure;
use crate::auth::password::{PASSWORD_LEN_MAX, PASSWORD_LEN_MIN};
use crate::redacted::Redacted;

/// What the arguments say about the password.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum PasswordSource {
    /// Nothing: ask, or make one.
    #[default]
    Ask,
    Argument(Redacted<String>),
    Stdin,
    File(PathBuf),
}

/// A password, and whether its owner has to be told it.
pub(super) struct Password {
    pub(super) text: Redacted<String>,
    pub(super) is_made: bool,
}

impl PasswordSource {
    pub(super) fn read(self) -> Result<Password, Failure> {
        let text = match self {
            Self::Argument(text) => {
                warn("`ps` shows --password to everybody on this host; use --password-stdin")?;
                text.reveal().clone()
            }
            Self::Stdin => first_line(io::stdin().lock())?,
            Self::File(path) => {
                let file = File::open(&path).map_err(|error| {
                    Failure::simple(format!("cannot read {}: {error}", path.display()))
                })?;
                first_line(BufReader::new(file))?
            }
            Self::Ask if io::stdin().is_terminal() => ask()?,
            Self::Ask => {
                return Ok(Password {
                    text: Redacted::new(crate::auth::new_code()),
                    is_made: true,
                });
            }
        };
        let length = text.len();
        if !(PASSWORD_LEN_MIN..=PASSWORD_LEN_MAX).contains(&length) {
            return Err(Failure::usage(format!(
                "the password has {length} bytes: it may have {PASSWORD_LEN_MIN} to \
                 {PASSWORD_LEN_MAX}"
            )));
        }
        Ok(Password {
            text: Redacted::new(text),
            is_made: false,
        })
    }
}

fn first_line(input: impl io::BufRead) -> Result<String, Failure> {
    let mut line = String::new();
    let limit = u64::try_from(PASSWORD_LEN_MAX).unwrap_or(u64::MAX) + 2;
    input
        .take(limit)
        .read_line(&mut line)
        .map_err(|error| Failure::simple(format!("cannot read the password: {error}")))?;
    let line = line.strip_suffix('\n').unwrap_or(&line);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

/// Asks twice on the terminal, without echo.
fn ask() -> Result<String, Failure> {
    let first = ask_once("Password: ")?;
    let second = ask_once("Again: ")?;
    if first != second {
        return Err(Failure::usage("the two passwords differ"));
    }
    Ok(first)
}

fn ask_once(question: &str) -> Result<String, Failure> {
    warn_without_newline(question)?;
    let stdin = io::stdin();
    let before = tcgetattr(&stdin).map_err(io::Error::from)?;
    let mut silent = before.clone();
    silent.local_modes -= LocalModes::ECHO;
    tcsetattr(&stdin, OptionalActions::Flush, &silent).map_err(io::Error::from)?;
    let line = first_line(stdin.lock());
    tcsetattr(&stdin, OptionalActions::Flush, &before).map_err(io::Error::from)?;
    warn("")?;
    line
}

/// What is for people goes to standard error: standard output may be read by a script.
fn warn(words: &str) -> Result<(), Failure> {
    Ok(writeln!(io::stderr(), "{words}")?)
}

fn warn_without_newline(words: &str) -> Result<(), Failure> {
    let mut out = io::stderr();
    out.write_all(words.as_bytes())?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_first_line_without_its_end() {
        for (input, expected) in [
            ("secret word\n", "secret word"),
            ("secret\r\nmore\n", "secret"),
            ("secret", "secret"),
            (" spaces stay \n", " spaces stay "),
            ("", ""),
        ] {
            assert_eq!(first_line(input.as_bytes()).unwrap(), expected);
        }
        let endless = BufReader::new(io::repeat(b'x'));
        assert!(first_line(endless).unwrap().len() > PASSWORD_LEN_MAX);
    }
}
