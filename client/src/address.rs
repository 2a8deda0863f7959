//! Which server, as whom: `[USER@]HOST[:PORT][#pin=sha256:…]`.

use std::fmt;
use std::str::FromStr;

use sandbox_quic::{BadFingerprint, Fingerprint};

/// The port of everything real-time.
pub const PORT_DEFAULT: u16 = 3478;

const PIN: &str = "pin=";

/// Longest host name (RFC 1035 §2.3.4).
const HOST_LEN_MAX: usize = 253;

/// What the user asked to be connected with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Account name, where one was given.
    pub user: Option<String>,
    /// Host name or IP address, without brackets.
    pub host: String,
    /// UDP port.
    pub port: u16,
    /// The server's key, where it is known from elsewhere.
    pub pin: Option<Fingerprint>,
}

/// A text was no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadAddress {
    /// There is no host in it.
    #[error("{0:?} names no host; an address is [USER@]HOST[:PORT][#pin=sha256:…]")]
    Host(String),
    /// The port is no number from 1 to 65535.
    #[error("{0:?} is no port; it is a number from 1 to 65535")]
    Port(String),
    /// An IPv6 address stands without brackets, so that its last part could be a port.
    #[error("write the IPv6 address in brackets: [{0}]")]
    Brackets(String),
    /// What follows `#` is no pin.
    #[error("{0:?} is no pin; it is written #pin=sha256: and 64 hexadecimal digits")]
    Fragment(String),
    /// The fingerprint of the pin cannot be read.
    #[error(transparent)]
    Pin(#[from] BadFingerprint),
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let (rest, fragment) = match text.split_once('#') {
            Some((rest, fragment)) => (rest, Some(fragment)),
            None => (text, None),
        };
        let pin = fragment.map(pin_of).transpose()?;
        // The last one: names of accounts elsewhere hold an @ themselves.
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) if !user.is_empty() => (Some(user.to_owned()), place),
            Some((_, place)) => (None, place),
            None => (None, rest),
        };
        let (host, port) = place_of(place)?;
        if !is_name(host) {
            return Err(BadAddress::Host(text.to_owned()));
        }
        Ok(Self {
            user,
            host: host.to_owned(),
            port: port.unwrap_or(PORT_DEFAULT),
            pin,
        })
    }
}

fn pin_of(fragment: &str) -> Result<Fingerprint, BadAddress> {
    let fingerprint = fragment
        .strip_prefix(PIN)
        .ok_or_else(|| BadAddress::Fragment(fragment.to_owned()))?;
    Ok(fingerprint.parse()?)
}

/// Whether a host can have this name.
pub(crate) fn is_name(host: &str) -> bool {
    let is_foreign =
        |it: char| it.is_whitespace() || it.is_control() || matches!(it, '/' | '[' | ']');
    !host.is_empty() && host.len() <= HOST_LEN_MAX && !host.chars().any(is_foreign)
}

/// `HOST[:PORT]`, brackets around IPv6.
pub(crate) fn place_of(place: &str) -> Result<(&str, Option<u16>), BadAddress> {
    if let Some(inner) = place.strip_prefix('[') {
        let (host, after) = inner
            .split_once(']')
            .ok_or_else(|| BadAddress::Host(place.to_owned()))?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port_of(port)?))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(BadAddress::Port(after.to_owned())),
        };
    }
    match place.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Err(BadAddress::Brackets(place.to_owned())),
        Some((host, port)) => Ok((host, Some(port_of(port)?))),
        None => Ok((place, None)),
    }
}

fn port_of(text: &str) -> Result<u16, BadAddress> {
    let bad = || BadAddress::Port(text.to_owned());
    let port = text.parse().map_err(|_| bad())?;
    // A sign would be taken as well.
    if port == 0 || !text.bytes().all(|it| it.is_ascii_digit()) {
        return Err(bad());
    }
    Ok(port)
}

/// Host and port, as they are remembered and shown.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, user: Option<&str>, shown: &str) {
        let address: Address = text.parse().unwrap();
        assert_eq!(address.user.as_deref(), user);
        assert_eq!(address.to_string(), shown);
        assert_eq!(address.pin.is_some(), text.contains('#'));
    }

    #[test]
    fn every_form_of_an_address_is_read() {
        check("example.org", None, "example.org:3478");
        check("alice@example.org", Some("alice"), "example.org:3478");
        check(
            "alice@corp@example.org:1",
            Some("alice@corp"),
            "example.org:1",
        );
        check("@192.0.2.1:65535", None, "192.0.2.1:65535");
        check("[::1]", None, "[::1]:3478");
        check("bob@[2001:db8::1]:99", Some("bob"), "[2001:db8::1]:99");
        let pin = "a5".repeat(32);
        check(&format!("box#pin=sha256:{pin}"), None, "box:3478");
        check(&format!("a@[::1]:5#pin=sha256:{pin}"), Some("a"), "[::1]:5");
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_way_out() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        check("", "names no host");
        check("alice@", "names no host");
        check("two words", "names no host");
        check("https://box", "is no port");
        check("a/b", "names no host");
        check("[::1", "names no host");
        check("[[1]", "names no host");
        check("box]", "names no host");
        check("::1", "in brackets: [::1]");
        check("box:0", "1 to 65535");
        check("box:65536", "1 to 65535");
        check("box:+5", "1 to 65535");
        check("[::1]x", "is no port");
        check("box#sha256:00", "#pin=sha256:");
        check("box#pin=sha256:00", "64 hexadecimal digits");
        check(&"x".repeat(254), "names no host");
    }
}
