//! The listening sockets: opened here once, read by the daemon alone.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::net::sockopt::{socket_recv_buffer_size, socket_send_buffer_size};

use super::config::WardenConfig;
use super::error::WardenError;
use super::wire;
use crate::limits::MEDIA_BUFFER_BYTES;

/// Sockets that outlive every daemon.
#[derive(Debug)]
pub(crate) struct Listeners {
    http: TcpListener,
    media: UdpSocket,
    metrics: Option<TcpListener>,
    /// What could not be had.
    pub(crate) weaker: Vec<String>,
}

impl Listeners {
    pub(crate) fn open(config: &WardenConfig) -> Result<Self, WardenError> {
        let mut weaker = Vec::new();
        let http = TcpListener::bind(config.http)
            .map_err(|error| refused("TCP", config.http, "PORT", &error))?;
        let media = UdpSocket::bind(config.media)
            .map_err(|error| refused("UDP", config.media, "MEDIA_PORT", &error))?;
        let metrics = match TcpListener::bind(config.metrics) {
            Ok(listener) => Some(listener),
            Err(error) => {
                weaker.push(refused("TCP", config.metrics, "METRICS_ADDR", &error).to_string());
                None
            }
        };
        let ready = || -> io::Result<()> {
            http.set_nonblocking(true)?;
            media.set_nonblocking(true)?;
            metrics
                .as_ref()
                .map_or(Ok(()), |it| it.set_nonblocking(true))?;
            wire::widen_receiving(&media, MEDIA_BUFFER_BYTES)?;
            wire::widen_sending(&media, MEDIA_BUFFER_BYTES)
        };
        ready().map_err(WardenError::io("prepare the listening sockets"))?;
        weaker.extend(narrow(&media).map_err(WardenError::io("look at the media socket"))?);
        Ok(Self {
            http,
            media,
            metrics,
            weaker,
        })
    }

    /// Whether there is a metrics listener.
    pub(crate) fn metrics(&self) -> u8 {
        u8::from(self.metrics.is_some())
    }

    /// In the order of the daemon's greeting.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        [self.http.as_fd(), self.media.as_fd()]
            .into_iter()
            .chain(self.metrics.as_ref().map(AsFd::as_fd))
            .collect()
    }
}

/// What follows from buffers that the host keeps small.
fn narrow(media: &UdpSocket) -> io::Result<Option<String>> {
    let held = socket_recv_buffer_size(media)?.min(socket_send_buffer_size(media)?);
    // The kernel counts its own needs too, and so answers twice what it was asked for.
    let bytes = held / 2;
    Ok((bytes < MEDIA_BUFFER_BYTES).then(|| {
        format!(
            "the media socket holds {} KiB, not {}: pictures may be lost under load; as root: \
             sysctl -w net.core.rmem_max={MEDIA_BUFFER_BYTES} \
             net.core.wmem_max={MEDIA_BUFFER_BYTES}",
            bytes >> 10,
            MEDIA_BUFFER_BYTES >> 10
        )
    }))
}

/// Why TCP cannot listen on `address`, if it cannot.
pub(crate) fn tcp_refusal(address: SocketAddr) -> Option<String> {
    let error = TcpListener::bind(address).err()?;
    Some(why("TCP", address, &error))
}

/// Why UDP cannot be received on `address`, if it cannot.
pub(crate) fn udp_refusal(address: SocketAddr) -> Option<String> {
    let error = UdpSocket::bind(address).err()?;
    Some(why("UDP", address, &error))
}

fn refused(
    protocol: &str,
    address: SocketAddr,
    variable: &'static str,
    error: &io::Error,
) -> WardenError {
    WardenError::Port {
        address: format!("{protocol} {address}"),
        why: why(protocol, address, error),
        variable,
    }
}

fn why(protocol: &str, address: SocketAddr, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::AddrInUse {
        format!("held by {}", holder(protocol, address.port()))
    } else {
        error.to_string()
    }
}

/// Who holds a port, as `name (process 12)`.
fn holder(protocol: &str, port: u16) -> String {
    let family = protocol.to_lowercase();
    ["", "6"]
        .iter()
        .filter_map(|version| std::fs::read_to_string(format!("/proc/net/{family}{version}")).ok())
        .find_map(|table| inode_of(&table, port))
        .and_then(process_of)
        .unwrap_or_else(|| "a process that /proc does not show".to_owned())
}

/// The socket that listens on `port` in a table of `/proc/net`.
fn inode_of(table: &str, port: u16) -> Option<u64> {
    const LISTENING: [&str; 2] = ["0A", "07"];
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1)?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?.parse().ok()?;
        let (_, hex) = local.rsplit_once(':')?;
        let is_it = u16::from_str_radix(hex, 16) == Ok(port) && LISTENING.contains(&state);
        is_it.then_some(inode)
    })
}

fn process_of(inode: u64) -> Option<String> {
    let wanted = format!("socket:[{inode}]");
    std::fs::read_dir("/proc")
        .ok()?
        .flatten()
        .find_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let descriptors = std::fs::read_dir(entry.path().join("fd")).ok()?;
            let holds = descriptors
                .flatten()
                .filter_map(|it| std::fs::read_link(it.path()).ok())
                .any(|it| it.as_os_str() == wanted.as_str());
            let name = std::fs::read_to_string(entry.path().join("comm")).ok()?;
            holds.then(|| format!("{} (process {pid})", name.trim()))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listening_socket_of_a_port_is_found() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:1F90 0100007F:A1B2 01 00000000:00000000 00:00000000 00000000     0        0 11 1 0 20\n   \
            1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 22 1 0 20\n";
        assert_eq!(inode_of(table, 8080), Some(22));
        assert_eq!(inode_of(table, 8081), None);
        assert_eq!(inode_of("junk\n:: x\n", 1), None);
    }

    #[test]
    fn a_taken_port_names_its_holder() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        let error = TcpListener::bind(address).unwrap_err();
        let text = refused("TCP", address, "PORT", &error).to_string();
        assert!(text.contains(&std::process::id().to_string()), "{text}");
        assert!(text.contains("change PORT"), "{text}");
    }
}
