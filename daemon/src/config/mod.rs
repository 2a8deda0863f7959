//! The configuration: flags, environment and file become what warden and daemon are started with.

mod env_file;
mod net;
mod table;
#[cfg(test)]
mod tests;
mod values;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use net::split_authority;
pub use net::{Advertised, Cidr, Origin};
use values::Values;
pub use values::{ConfigError, Source};

use crate::redacted::Redacted;

/// Frames a second where `VIDEO_FRAMERATE` is left out.
const FPS_MAX_DEFAULT: u16 = 60;

/// Kilobits a second where `VIDEO_BITRATE_KBPS` is left out.
const BITRATE_KBPS_MAX_DEFAULT: u64 = 20_000;

/// Memory that display and worker of one session need beside its programs.
const SESSION_OVERHEAD_MB: u64 = 192;

/// What `serve` needs: the warden's part, and the daemon's part that the warden hands on.
#[derive(Clone, Debug)]
pub struct Config {
    /// Everything of this server; `daemon/` in it is the daemon's.
    pub state_dir: PathBuf,
    /// Sockets and the like.
    pub runtime_dir: PathBuf,
    /// Parent of the users' homes.
    pub homes: PathBuf,
    /// First host uid of the users' ranges.
    pub uid_base: u32,
    /// Memory of one session's programs.
    pub memory_limit_mb: u64,
    /// CPU of one session's programs, percent of one core.
    pub cpu_percent: u32,
    /// Processes and threads of one session's programs.
    pub pid_limit: u32,
    /// Start sessions although memory or pids cannot be limited.
    pub allow_unlimited: bool,
    /// Where HTTP listens.
    pub http: SocketAddr,
    /// Where media listens.
    pub media: SocketAddr,
    /// Where metrics listen.
    pub metrics: SocketAddr,
    /// `auto` or the encoder's name.
    pub codec: String,
    /// The daemon's part.
    pub daemon: DaemonConfig,
    /// What is allowed but unwise, one sentence each.
    pub warnings: Vec<String>,
}

/// What the daemon is started with; travels as JSON in a sealed memfd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonConfig {
    /// `STATE_DIR/daemon`.
    pub dir: PathBuf,
    /// Origin of the page, of links and cookies.
    pub public_url: Origin,
    /// How other nodes name this one.
    pub node_url: Origin,
    /// This node's name.
    pub node_name: String,
    /// Other names this server answers to, with the port where one is meant.
    pub host_aliases: Vec<(String, Option<u16>)>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Cidr>,
    /// Speak TLS with this certificate; `None`: plain HTTP.
    pub tls: Option<Certificate>,
    /// Where HTTP listens: loopback names at its port are this server.
    pub http: SocketAddr,
    /// Where metrics listen.
    pub metrics: SocketAddr,
    /// Addresses told to viewers; empty: those of the interfaces.
    pub media_advertise: Vec<Advertised>,
    /// Shared HMAC key; `None`: a key pair of this node.
    pub jwt_secret: Option<Redacted<Vec<u8>>>,
    /// Life of an access token.
    pub access_expiry: Duration,
    /// Life of a sign-in.
    pub refresh_expiry: Duration,
    /// Life of a desktop without a viewer.
    pub session_timeout: Duration,
    /// Sessions at once on this node.
    pub sessions_max: u32,
    /// Sessions at once of one user.
    pub sessions_per_user: u32,
    /// Sign-ins a minute and address, and a minute and account; 0: unlimited.
    pub rate_limit_login: u32,
    /// API requests a minute and address; 0: unlimited.
    pub rate_limit_api: u32,
    /// Connections at once of one address; 0: unlimited.
    pub connections_per_address: u32,
    /// Highest target bitrate, kbit/s.
    pub bitrate_kbps_max: u64,
    /// Highest frame rate.
    pub fps_max: u16,
    /// `RUST_LOG`.
    pub log_filter: String,
    /// JSON lines rather than text.
    pub log_json: bool,
}

/// Where this server's certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Certificate {
    /// Files of the operator's, read again when they change.
    Files {
        /// PEM, the server's certificate first.
        certificate: PathBuf,
        /// PEM, its private key.
        key: PathBuf,
    },
    /// Made once by this server, and signed by itself.
    SelfSigned,
}

/// What the configuration cannot know by itself.
#[derive(Clone, Debug)]
pub struct Host {
    /// The process runs as root.
    pub is_root: bool,
    /// `$XDG_STATE_HOME`, or `$HOME/.local/state`.
    pub user_state_dir: Option<PathBuf>,
    /// The host's name.
    pub name: String,
    /// The host's memory.
    pub memory_mb: u64,
    /// Standard error is a terminal.
    pub is_terminal: bool,
}

/// Name, default and range of every variable, for people.
pub(crate) fn variables() -> impl Iterator<Item = (&'static str, &'static str, String)> {
    table::VARIABLES
        .iter()
        .map(|it| (it.name, it.default, it.kind.allowed()))
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError`] which names the variable, its value and what it may be.
    pub fn load(
        flags: &[String],
        environment: impl IntoIterator<Item = (String, String)>,
        host: &Host,
    ) -> Result<Self, ConfigError> {
        let mut values = Values::gather(flags, environment)?;
        let warnings = std::mem::take(&mut values.warnings);
        let state_dir = state_dir(&values, host)?;
        let runtime_dir = path(&values, "RUNTIME_DIR").unwrap_or_else(|| {
            if host.is_root {
                "/run/sandbox-server".into()
            } else {
                state_dir.join("run")
            }
        });
        let http_address = address(&values, "HOST").unwrap_or([127, 0, 0, 1].into());
        let media_address = address(&values, "MEDIA_HOST").unwrap_or(http_address);
        let tls = tls(&values)?;
        let http = SocketAddr::new(http_address, values.number_or_default("PORT"));
        let metrics = parsed(&values, "METRICS_ADDR", |it| it.parse().ok())
            .unwrap_or(([127, 0, 0, 1], 9090).into());
        let memory_limit_mb = values.number_or_default("SANDBOX_MEMORY_LIMIT_MB");
        Ok(Self {
            homes: path(&values, "FILE_STORAGE_PATH").unwrap_or_else(|| state_dir.join("users")),
            runtime_dir,
            uid_base: values.number_or_default("SANDBOX_UID_BASE"),
            memory_limit_mb,
            cpu_percent: values.number_or_default("SANDBOX_CPU_PERCENT"),
            pid_limit: values.number_or_default("SANDBOX_PID_LIMIT"),
            allow_unlimited: values.is_true("SANDBOX_ALLOW_UNLIMITED"),
            http,
            media: SocketAddr::new(media_address, values.number_or_default("MEDIA_PORT")),
            metrics,
            codec: values.text("VIDEO_CODEC").unwrap_or("auto").to_owned(),
            daemon: daemon(&values, host, &state_dir, http, metrics, tls)?,
            state_dir,
            warnings,
        })
    }
}

fn daemon(
    values: &Values,
    host: &Host,
    state_dir: &std::path::Path,
    http: SocketAddr,
    metrics: SocketAddr,
    tls: Option<Certificate>,
) -> Result<DaemonConfig, ConfigError> {
    let public_url = parsed(values, "PUBLIC_URL", Origin::parse).unwrap_or_else(|| Origin {
        is_https: tls.is_some(),
        host: "localhost".into(),
        port: http.port(),
    });
    let node_url = parsed(values, "NODE_URL", Origin::parse).unwrap_or_else(|| public_url.clone());
    for (name, url) in [("PUBLIC_URL", &public_url), ("NODE_URL", &node_url)] {
        if tls.is_some() && !url.is_https {
            return Err(ConfigError::Conflict(format!(
                "{name}={url} is plain http, but TLS is on: begin it with https://"
            )));
        }
    }
    let seconds = |name| Duration::from_secs(values.number_or_default(name));
    let sessions_max = values.number("SANDBOX_SESSIONS_MAX").unwrap_or_else(|| {
        sessions_by_memory(
            host.memory_mb,
            values.number_or_default("SANDBOX_MEMORY_LIMIT_MB"),
        )
    });
    Ok(DaemonConfig {
        dir: state_dir.join("daemon"),
        node_url,
        public_url,
        node_name: values.text("NODE_NAME").unwrap_or(&host.name).to_owned(),
        host_aliases: list(values, "HOST_ALIASES", split_authority),
        trusted_proxies: list(values, "TRUSTED_PROXIES", Cidr::parse),
        tls,
        http,
        metrics,
        media_advertise: list(values, "MEDIA_ADVERTISE", Advertised::parse),
        jwt_secret: parsed(values, "JWT_SECRET", base64).map(Redacted::new),
        access_expiry: seconds("JWT_ACCESS_EXPIRY"),
        refresh_expiry: seconds("JWT_REFRESH_EXPIRY"),
        session_timeout: seconds("SANDBOX_SESSION_TIMEOUT_SECS"),
        sessions_max,
        sessions_per_user: values.number_or_default("SANDBOX_SESSIONS_PER_USER"),
        rate_limit_login: values.number_or_default("RATE_LIMIT_LOGIN"),
        rate_limit_api: values.number_or_default("RATE_LIMIT_API"),
        connections_per_address: values.number_or_default("MAX_CONNECTIONS_PER_ADDRESS"),
        bitrate_kbps_max: values
            .number("VIDEO_BITRATE_KBPS")
            .unwrap_or(BITRATE_KBPS_MAX_DEFAULT),
        fps_max: values.number("VIDEO_FRAMERATE").unwrap_or(FPS_MAX_DEFAULT),
        log_filter: values.text("RUST_LOG").unwrap_or("info").to_owned(),
        log_json: values
            .text("LOG_FORMAT")
            .map_or(!host.is_terminal, |it| it == "json"),
    })
}

fn tls(values: &Values) -> Result<Option<Certificate>, ConfigError> {
    let conflict = |words: &str| Err(ConfigError::Conflict(words.into()));
    let files = (path(values, "TLS_CERT"), path(values, "TLS_KEY"));
    match (files, values.is_true("TLS_SELF_SIGNED")) {
        ((None, None), false) => Ok(None),
        ((None, None), true) => Ok(Some(Certificate::SelfSigned)),
        ((Some(certificate), Some(key)), false) => {
            Ok(Some(Certificate::Files { certificate, key }))
        }
        ((Some(_), Some(_)), true) => {
            conflict("TLS_SELF_SIGNED=true and TLS_CERT exclude each other: leave one of them out")
        }
        ((Some(_), None), _) => conflict(
            "TLS_CERT is set, but TLS_KEY is not: set it to the file with the certificate's key",
        ),
        ((None, Some(_)), _) => conflict(
            "TLS_KEY is set, but TLS_CERT is not: set it to the file with the key's certificate",
        ),
    }
}

fn state_dir(values: &Values, host: &Host) -> Result<PathBuf, ConfigError> {
    if let Some(path) = path(values, "STATE_DIR") {
        return Ok(path);
    }
    if host.is_root {
        return Ok("/var/lib/sandbox-server".into());
    }
    match &host.user_state_dir {
        Some(parent) => Ok(parent.join("sandbox-server")),
        None => Err(ConfigError::Conflict(
            "STATE_DIR is not set, and neither is XDG_STATE_HOME nor HOME: set STATE_DIR".into(),
        )),
    }
}

/// Sessions that fit into four fifths of the host's memory; the rest is everybody else's.
fn sessions_by_memory(memory_mb: u64, limit_mb: u64) -> u32 {
    let fitting = (memory_mb * 4 / 5) / (limit_mb + SESSION_OVERHEAD_MB);
    u32::try_from(fitting).unwrap_or(u32::MAX).clamp(1, 10_000)
}

fn path(values: &Values, name: &str) -> Option<PathBuf> {
    values.text(name).map(PathBuf::from)
}

fn address(values: &Values, name: &str) -> Option<IpAddr> {
    parsed(values, name, net::parse_host)
}

fn parsed<T>(values: &Values, name: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
    values.text(name).and_then(parse)
}

fn list<T>(values: &Values, name: &str, parse: impl Fn(&str) -> Option<T>) -> Vec<T> {
    parsed(values, name, |it| net::parse_list(it, &parse)).unwrap_or_default()
}

/// Decodes base64 in the standard or the URL alphabet, padded or not.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    let text = text
        .trim_end_matches('=')
        .replace('-', "+")
        .replace('_', "/");
    STANDARD_NO_PAD.decode(text).ok()
}
