//! Questions on the terminal: the password, and whether a server is trusted.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use sandbox_client::address::Address;
use sandbox_quic::Fingerprint;

use super::{Failure, warn};

/// Longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 4_096;

/// The password, without echo.
pub(super) fn password(user: &str, address: &Address) -> Result<String, Failure> {
    let terminal = terminal().map_err(|_| {
        Failure::usage("there is no terminal to ask for a password: set SANDBOX_PASSWORD")
    })?;
    let question = format!("Password of {user} at {address}: ");
    Ok(silently(&terminal, || ask(&terminal, &question))?)
}

/// The code that enrols this device.
pub(super) fn code(user: &str, address: &Address) -> Result<String, Failure> {
    let terminal = terminal()
        .map_err(|_| Failure::usage("there is no terminal to ask for a code: set SANDBOX_CODE"))?;
    let question = format!("Code of `sandbox-server device enrol {user}` at {address}: ");
    Ok(ask(&terminal, &question)?)
}

/// Whether the user trusts a server that is not known.
pub(super) fn trust(name: &str, shown: Fingerprint) -> bool {
    let Ok(terminal) = terminal() else {
        warn(&format!(
            "{name} shows the key {shown}, which is not known, and there is no terminal to ask: \
             add #pin={shown} to the address, or --trust-on-first-use"
        ));
        return false;
    };
    let question = format!(
        "{name} is not known yet. Its key is\n  {shown}\nCompare it with what `sandbox-server` \
         shows there. Trust it from now on? [y/N] "
    );
    let answer = ask(&terminal, &question).unwrap_or_default();
    matches!(answer.trim(), "y" | "Y" | "yes")
}

/// Which server.
pub(super) fn server() -> io::Result<String> {
    let server = ask(&terminal()?, "Which server, as [USER@]HOST[:PORT]? ")?;
    Ok(server.trim().to_owned())
}

/// Whether what stands there has been read.
pub(super) fn enter() {
    if let Ok(terminal) = terminal() {
        let _gone = ask(&terminal, "Press Enter to close. ");
    }
}

fn terminal() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/tty")
}

fn silently(terminal: &File, ask: impl FnOnce() -> io::Result<String>) -> io::Result<String> {
    let before = tcgetattr(terminal)?;
    let mut silent = before.clone();
    silent.local_modes -= LocalModes::ECHO;
    tcsetattr(terminal, OptionalActions::Flush, &silent)?;
    let answer = ask();
    tcsetattr(terminal, OptionalActions::Flush, &before)?;
    let mut out = terminal;
    writeln!(out)?;
    answer
}

fn ask(terminal: &File, question: &str) -> io::Result<String> {
    let mut out = terminal;
    out.write_all(question.as_bytes())?;
    out.flush()?;
    let mut line = String::new();
    let mut input = BufReader::new(terminal.take(ANSWER_BYTES_MAX));
    input.read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
