//! Which addresses viewers are told, and which of them a datagram came to.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::demux::Carrier;
use super::socket::MediaSocket;
use super::{Advertised, MediaConfig};

/// Addresses told to a viewer; more would only make its checks slower.
const CANDIDATES_MAX: usize = 16;

/// What is told to viewers.
#[derive(Clone, Debug)]
pub(super) struct Candidates {
    pub(super) udp: Vec<SocketAddr>,
    pub(super) tcp: Vec<SocketAddr>,
}

impl Candidates {
    /// The candidate that a datagram was sent to. Behind address translation it arrives at an
    /// address nobody was told; then it counts for the first of its family.
    pub(super) fn told(&self, carrier: Carrier, local: SocketAddr) -> Option<SocketAddr> {
        let candidates = match carrier {
            Carrier::Udp => &self.udp,
            Carrier::Tcp => &self.tcp,
        };
        let is_local = |it: &&SocketAddr| **it == local;
        let is_family = |it: &&SocketAddr| it.is_ipv4() == local.is_ipv4();
        candidates
            .iter()
            .find(is_local)
            .or_else(|| candidates.iter().find(is_family))
            .or_else(|| candidates.first())
            .copied()
    }
}

/// The candidates of sockets, as configured or as the interfaces have them.
pub(super) fn candidates(sockets: &[MediaSocket], config: &MediaConfig) -> io::Result<Candidates> {
    let interfaces = if config.advertise.is_empty() {
        interface_addresses()?
    } else {
        Vec::new()
    };
    let bound: Vec<_> = sockets.iter().map(MediaSocket::local).collect();
    Ok(Candidates {
        udp: told(&bound, &config.advertise, &interfaces),
        tcp: told(&config.tcp_candidates, &config.advertise, &interfaces),
    })
}

fn told(bound: &[SocketAddr], advertise: &[Advertised], interfaces: &[IpAddr]) -> Vec<SocketAddr> {
    let mut told = Vec::new();
    for local in bound {
        if advertise.is_empty() {
            told.extend(reachable_at(*local, interfaces));
        }
        for entry in advertise {
            match entry {
                Advertised::Ip(ip) => told.push(SocketAddr::new(*ip, local.port())),
                Advertised::Socket(address) => told.push(*address),
            }
        }
    }
    let mut unique = Vec::new();
    for address in told {
        if !unique.contains(&address) && unique.len() < CANDIDATES_MAX {
            unique.push(address);
        }
    }
    unique
}

fn reachable_at(local: SocketAddr, interfaces: &[IpAddr]) -> Vec<SocketAddr> {
    if !local.ip().is_unspecified() {
        return vec![local];
    }
    // A wildcard IPv6 socket takes IPv4 as well.
    interfaces
        .iter()
        .filter(|it| local.is_ipv6() || it.is_ipv4())
        .map(|ip| SocketAddr::new(*ip, local.port()))
        .collect()
}

/// The addresses of this host's interfaces, loopback last: it is for pages on this host.
fn interface_addresses() -> io::Result<Vec<IpAddr>> {
    let v4 = std::fs::read_to_string("/proc/net/fib_trie")?;
    // Without IPv6 in the kernel the file does not exist.
    let v6 = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let mut addresses: Vec<IpAddr> = local_v4(&v4).map(Into::into).collect();
    addresses.extend(global_v6(&v6).map(IpAddr::from));
    addresses.sort_by_key(IpAddr::is_loopback);
    addresses.dedup();
    Ok(addresses)
}

/// `fib_trie` lists each address and, below it, what it is: `/32 host LOCAL` is one of ours.
fn local_v4(fib_trie: &str) -> impl Iterator<Item = Ipv4Addr> {
    let lines = fib_trie.lines().zip(fib_trie.lines().skip(1));
    let mut seen = Vec::new();
    lines.filter_map(move |(line, below)| {
        let address: Ipv4Addr = line.trim_start().strip_prefix("|-- ")?.parse().ok()?;
        let is_local = below.trim() == "/32 host LOCAL";
        if !is_local || seen.contains(&address) {
            return None;
        }
        seen.push(address);
        Some(address)
    })
}

/// `if_inet6`: address, interface number, prefix length, scope (00 = global), flags, name.
fn global_v6(if_inet6: &str) -> impl Iterator<Item = Ipv6Addr> {
    if_inet6.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = u128::from_str_radix(words.next()?, 16).ok()?;
        let scope = words.nth(2)?;
        let is_loopback = address == 1;
        (scope == "00" || is_loopback).then(|| Ipv6Addr::from_bits(address))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIB_TRIE: &str = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.1.0.0/16 2 0 2
        |-- 10.1.0.0
           /16 link UNICAST
        |-- 10.1.2.3
           /32 host LOCAL
        |-- 10.1.255.255
           /32 link BROADCAST
     +-- 127.0.0.0/8 2 0 2
           |-- 127.0.0.0
              /8 host LOCAL
           |-- 127.0.0.1
              /32 host LOCAL
Local:
        |-- 10.1.2.3
           /32 host LOCAL
";

    #[test]
    fn the_kernels_tables_give_our_addresses_and_no_others() {
        let v4: Vec<_> = local_v4(FIB_TRIE).collect();
        assert_eq!(v4, [Ipv4Addr::new(10, 1, 2, 3), Ipv4Addr::LOCALHOST]);
        let table = "\
20010db8000000000000000000000001 02 40 00 80     eth0
fe80000000000000021122fffe334455 02 40 20 80     eth0
00000000000000000000000000000001 01 80 10 80       lo
";
        let v6: Vec<_> = global_v6(table).map(|it| it.to_string()).collect();
        assert_eq!(v6, ["2001:db8::1", "::1"]);
    }

    #[test]
    fn a_wildcard_socket_is_told_by_its_interfaces_and_a_bound_one_by_itself() {
        let interfaces = ["10.1.2.3", "2001:db8::1", "127.0.0.1"].map(|it| it.parse().unwrap());
        let check = |bound: &str, expected: &[&str]| {
            let told = told(&[bound.parse().unwrap()], &[], &interfaces);
            let told: Vec<_> = told.iter().map(ToString::to_string).collect();
            assert_eq!(told, expected);
        };
        check("0.0.0.0:3478", &["10.1.2.3:3478", "127.0.0.1:3478"]);
        check(
            "[::]:3478",
            &["10.1.2.3:3478", "[2001:db8::1]:3478", "127.0.0.1:3478"],
        );
        check("127.0.0.1:9", &["127.0.0.1:9"]);
    }

    #[test]
    fn an_advertised_port_is_kept_and_a_missing_one_is_the_sockets() {
        let advertise = [
            Advertised::Ip("198.51.100.7".parse().unwrap()),
            Advertised::Socket("198.51.100.8:99".parse().unwrap()),
        ];
        let told = told(&["0.0.0.0:3478".parse().unwrap()], &advertise, &[]);
        let expected = ["198.51.100.7:3478", "198.51.100.8:99"].map(|it| it.parse().unwrap());
        assert_eq!(told, expected);
    }

    #[test]
    fn a_datagram_to_a_translated_address_counts_for_one_that_was_told() {
        let candidates = Candidates {
            udp: vec![
                "198.51.100.7:3478".parse().unwrap(),
                "10.0.0.1:3478".parse().unwrap(),
            ],
            tcp: Vec::new(),
        };
        let told = |local: &str| candidates.told(Carrier::Udp, local.parse().unwrap());
        assert_eq!(told("10.0.0.1:3478"), Some(candidates.udp[1]));
        assert_eq!(told("172.16.0.9:3478"), Some(candidates.udp[0]));
        assert_eq!(candidates.told(Carrier::Tcp, candidates.udp[0]), None);
    }
}
