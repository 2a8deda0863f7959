//! Addresses and origins as they stand in the configuration.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

/// Scheme, host and port of a URL: what a browser calls an origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// `https` rather than `http`.
    pub is_https: bool,
    /// Name or address, lower case, brackets around IPv6.
    pub host: String,
    /// Port, the scheme's own where none is written.
    pub port: u16,
}

impl Origin {
    /// Reads `http://host[:port]` or `https://host[:port]`, a slash at the end allowed.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('/').unwrap_or(text);
        let (is_https, authority) = match text.split_once("://")? {
            ("http", it) => (false, it),
            ("https", it) => (true, it),
            _ => return None,
        };
        let (host, port) = split_authority(authority)?;
        Some(Self {
            is_https,
            host,
            port: port.unwrap_or(if is_https { 443 } else { 80 }),
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, own_port) = if self.is_https {
            ("https", 443)
        } else {
            ("http", 80)
        };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == own_port {
            return Ok(());
        }
        write!(f, ":{}", self.port)
    }
}

/// Splits `host[:port]` as in a URL or a `Host` field; the host in lower case.
pub(crate) fn split_authority(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port = match port {
        None => None,
        Some(digits) => Some(digits.parse().ok().filter(|it| *it != 0)?),
    };
    let is_address = host
        .strip_prefix('[')
        .and_then(|it| it.strip_suffix(']'))
        .is_some_and(|it| it.parse::<std::net::Ipv6Addr>().is_ok());
    let is_name = !host.is_empty()
        && host.len() <= 253
        && host
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || matches!(it, b'.' | b'-' | b'_'));
    (is_address || is_name).then(|| (host.to_ascii_lowercase(), port))
}

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Reads `address/prefix` or one address.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(it) => it.parse().ok().filter(|it| *it <= bits)?,
        };
        Some(Self { address, prefix })
    }

    /// Whether the range holds this address.
    pub fn contains(self, address: IpAddr) -> bool {
        let (a, b, bits) = match (self.address, address.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                (u128::from(a.to_bits()), u128::from(b.to_bits()), 32)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        let shift = bits - u32::from(self.prefix);
        a.checked_shr(shift).unwrap_or(0) == b.checked_shr(shift).unwrap_or(0)
    }
}

/// An address told to viewers; without a port the media port holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advertised {
    /// The address.
    pub address: IpAddr,
    /// Its port, where it differs from ours.
    pub port: Option<u16>,
}

impl Advertised {
    /// Reads `IP[:port]`, brackets around IPv6 with a port.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse() {
            return Some(Self {
                address,
                port: None,
            });
        }
        let socket: SocketAddr = text.parse().ok()?;
        (socket.port() != 0).then_some(Self {
            address: socket.ip(),
            port: Some(socket.port()),
        })
    }
}

/// Reads an address to listen on; `localhost` is 127.0.0.1.
pub(super) fn parse_host(text: &str) -> Option<IpAddr> {
    if text == "localhost" {
        return Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    text.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()
}

/// Reads a comma-separated list; empty pieces are skipped.
pub(super) fn parse_list<T>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    text.split(',')
        .map(str::trim)
        .filter(|it| !it.is_empty())
        .map(parse)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port_and_nothing_else() {
        for (text, expected) in [
            ("http://localhost:8080", Some("http://localhost:8080")),
            ("https://Desk.Example/", Some("https://desk.example")),
            ("https://desk.example:443", Some("https://desk.example")),
            ("http://[::1]:8080", Some("http://[::1]:8080")),
            ("http://a/b", None),
            ("http://user@a", None),
            ("ftp://a", None),
            ("http://", None),
            ("http://a:0", None),
            ("http://a:65536", None),
            ("http://[zz]:1", None),
        ] {
            let origin = Origin::parse(text).map(|it| it.to_string());
            assert_eq!(origin.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_range_holds_its_own_addresses_only() {
        let holds = |range: &str, address: &str| {
            Cidr::parse(range)
                .unwrap()
                .contains(address.parse().unwrap())
        };
        assert!(holds("10.0.0.0/8", "10.255.0.1"));
        assert!(holds("10.0.0.0/8", "::ffff:10.1.1.1"));
        assert!(!holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("0.0.0.0/0", "1.2.3.4"));
        assert!(!holds("0.0.0.0/0", "::1"));
        assert!(holds("2001:db8::/32", "2001:db8:1::1"));
        assert!(holds("127.0.0.1", "127.0.0.1"));
        assert!(!holds("127.0.0.1", "127.0.0.2"));
        for bad in ["", "x", "10.0.0.0/33", "::/129", "10.0.0.0/"] {
            assert_eq!(Cidr::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_advertised_address_may_name_its_port() {
        let port = |text: &str| Advertised::parse(text).map(|it| it.port);
        assert_eq!(port("192.0.2.1"), Some(None));
        assert_eq!(port("192.0.2.1:5000"), Some(Some(5000)));
        assert_eq!(port("[2001:db8::1]:5000"), Some(Some(5000)));
        assert_eq!(port("2001:db8::1"), Some(None));
        assert_eq!(port("desk.example:5000"), None);
        assert_eq!(port("192.0.2.1:0"), None);
    }
}
