//! Which names this server answers to, and which pages may use it.

use std::net::IpAddr;

use crate::config::{DaemonConfig, Origin, split_authority};

/// Names of the machine itself; only at our own port, since others may run servers here too.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// The names of one listener.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    port: u16,
    /// This listener speaks TLS itself.
    is_https: bool,
    origins: Vec<Origin>,
    aliases: Vec<(String, Option<u16>)>,
}

impl Names {
    pub(crate) fn of_http(config: &DaemonConfig) -> Self {
        Self::new(config, config.http.port(), config.tls.is_some())
    }

    pub(crate) fn of_metrics(config: &DaemonConfig) -> Self {
        Self::new(config, config.metrics.port(), false)
    }

    fn new(config: &DaemonConfig, port: u16, is_https: bool) -> Self {
        Self {
            port,
            is_https,
            origins: vec![config.public_url.clone(), config.node_url.clone()],
            aliases: config.host_aliases.clone(),
        }
    }

    /// Whether a `Host` field names us (else: DNS rebinding, or a wrong address).
    pub(crate) fn is_host(&self, host: &str) -> bool {
        let Some((name, port)) = split_authority(host) else {
            return false;
        };
        if LOOPBACK.contains(&&*name) {
            let own_port = if self.is_https { 443 } else { 80 };
            return port.unwrap_or(own_port) == self.port;
        }
        let is_ours = self.origins.iter().any(|it| {
            let own_port = if it.is_https { 443 } else { 80 };
            it.host == name && it.port == port.unwrap_or(own_port)
        });
        is_ours || self.is_alias(&name, port)
    }

    /// Reads an `Origin` field that is a page of ours.
    pub(crate) fn own_origin(&self, origin: &str) -> Option<Origin> {
        let origin = Origin::parse(origin).filter(|_| !origin.ends_with('/'))?;
        if LOOPBACK.contains(&&*origin.host) && origin.is_https == self.is_https {
            return (origin.port == self.port).then_some(origin);
        }
        let own_port = if origin.is_https { 443 } else { 80 };
        let port = Some(origin.port).filter(|it| *it != own_port);
        let is_ours = self.origins.contains(&origin) || self.is_alias(&origin.host, port);
        is_ours.then_some(origin)
    }

    /// An alias without a port is meant at every port: a proxy's is not ours to know.
    fn is_alias(&self, name: &str, port: Option<u16>) -> bool {
        self.aliases.iter().any(|(alias, alias_port)| {
            alias == name && (alias_port.is_none() || *alias_port == port)
        })
    }
}

/// Whether a `Host` field names the machine itself, at any port.
pub(super) fn is_loopback(host: &str) -> bool {
    split_authority(host).is_some_and(|(name, _)| LOOPBACK.contains(&&*name))
}

/// The key under which an address is counted: IPv6 by its /64, of which anybody has one.
pub(crate) fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(it) => IpAddr::V4(it),
        IpAddr::V6(it) => IpAddr::V6((it.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let origin = |text| Origin::parse(text).unwrap();
        Names {
            port: 8080,
            is_https: false,
            origins: vec![
                origin("https://desk.example"),
                origin("http://node.example:8080"),
            ],
            aliases: vec![
                ("any.example".into(), None),
                ("one.example".into(), Some(81)),
            ],
        }
    }

    #[test]
    fn our_names_are_hosts_and_nobody_elses() {
        for host in [
            "localhost:8080",
            "LOCALHOST:8080",
            "127.0.0.1:8080",
            "[::1]:8080",
            "desk.example",
            "desk.example:443",
            "node.example:8080",
            "any.example",
            "any.example:9999",
            "one.example:81",
        ] {
            assert!(names().is_host(host), "{host}");
        }
        for host in [
            "",
            "localhost",
            "localhost:3000",
            "evil.example",
            "desk.example:80",
            "node.example",
            "one.example",
            "192.0.2.1:8080",
            "desk.example.",
            "a b",
        ] {
            assert!(!names().is_host(host), "{host}");
        }
    }

    #[test]
    fn only_our_own_pages_are_origins() {
        for origin in [
            "http://localhost:8080",
            "http://127.0.0.1:8080",
            "http://[::1]:8080",
            "https://desk.example",
            "https://any.example",
            "http://one.example:81",
        ] {
            assert!(names().own_origin(origin).is_some(), "{origin}");
        }
        for origin in [
            "",
            "null",
            "http://localhost:3000",
            "https://localhost:8080",
            "http://desk.example",
            "https://desk.example:8443",
            "https://desk.example/",
            "https://desk.example.evil.example",
            "https://evil.example",
        ] {
            assert!(names().own_origin(origin).is_none(), "{origin}");
        }
    }

    #[test]
    fn with_tls_of_its_own_the_loopback_names_are_https() {
        let names = Names {
            is_https: true,
            ..names()
        };
        assert!(names.own_origin("https://localhost:8080").is_some());
        assert!(names.own_origin("http://localhost:8080").is_none());
        let at_443 = Names { port: 443, ..names };
        assert!(at_443.is_host("localhost"));
    }

    #[test]
    fn neighbours_in_one_slash_64_are_counted_as_one() {
        let key = |text: &str| counted(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }
}
