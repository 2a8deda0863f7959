//! Where a server's HTTP port is: what its `PUBLIC_URL` says, or what can be guessed.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::address::{Address, is_name, place_of};

/// Longest URL that is read: a host name has 253 letters at most.
const URL_LEN_MAX: usize = 300;

/// The port that a server has without a proxy in front of it.
const PORT_OF_ITS_OWN: u16 = 8_080;

/// Scheme, host and port of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `https` rather than `http`.
    pub is_https: bool,
    /// Name or address, without brackets.
    pub host: String,
    /// Port, the scheme's own where none is written.
    pub port: u16,
}

/// A text was no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address of a server: it is written https://HOST[:PORT]")]
pub struct BadOrigin(String);

impl Origin {
    /// Where to look for a server: where it said that it is, else at the ports that servers have.
    pub fn of(address: &Address, told: Option<&Self>) -> Vec<Self> {
        let at = |is_https, port| Self {
            is_https,
            host: address.host.clone(),
            port,
        };
        // What a server calls the machine itself is another one from here.
        let told = told.filter(|it| !is_loopback(&it.host) || is_loopback(&address.host));
        match told {
            Some(told) => vec![told.clone()],
            None => vec![
                at(true, 443),
                at(false, PORT_OF_ITS_OWN),
                at(true, PORT_OF_ITS_OWN),
            ],
        }
    }
}

impl FromStr for Origin {
    type Err = BadOrigin;

    fn from_str(text: &str) -> Result<Self, BadOrigin> {
        let bad = || BadOrigin(text.chars().take(80).collect());
        let text = Some(text)
            .filter(|it| it.len() <= URL_LEN_MAX)
            .ok_or_else(bad)?;
        let (scheme, place) = text.split_once("://").ok_or_else(bad)?;
        let is_https = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(bad()),
        };
        let place = place.strip_suffix('/').unwrap_or(place);
        let (host, port) = place_of(place).map_err(|_| bad())?;
        if !is_name(host) || host.contains('@') {
            return Err(bad());
        }
        Ok(Self {
            is_https,
            host: host.to_owned(),
            port: port.unwrap_or(own_port(is_https)),
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_https { "https://" } else { "http://" })?;
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        if self.port == own_port(self.is_https) {
            return Ok(());
        }
        write!(f, ":{}", self.port)
    }
}

const fn own_port(is_https: bool) -> u16 {
    if is_https { 443 } else { 80 }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|it| it.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(host: &str, told: Option<&str>) -> Vec<String> {
        let address = host.parse().unwrap();
        let told = told.map(|it| it.parse().unwrap());
        let found = Origin::of(&address, told.as_ref());
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_a_server_said_makes_guesses_needless() {
        let guesses = ["https://box", "http://box:8080", "https://box:8080"];
        assert_eq!(origins("ada@box:3478", None), guesses);
        let told = "https://desk.example:8443";
        assert_eq!(origins("box", Some(told)), [told]);
        assert_eq!(origins("[::1]", None)[1], "http://[::1]:8080");
    }

    #[test]
    fn the_servers_localhost_is_another_one_from_elsewhere() {
        let told = Some("http://localhost:9000");
        assert_eq!(origins("127.0.0.1", told), ["http://localhost:9000"]);
        assert_eq!(origins("192.0.2.1", told)[0], "https://192.0.2.1");
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "",
            "box",
            "ftp://box",
            "https://",
            "https://a b",
            "https://box/path",
            "https://ada@box",
            "https://box:0",
            "https://::1",
        ] {
            let error = text.parse::<Origin>().unwrap_err().to_string();
            assert!(error.contains("https://HOST"), "{error}");
        }
        assert!(
            format!("https://{}", "x".repeat(300))
                .parse::<Origin>()
                .is_err()
        );
    }
}
