//! What the warden is told at its start: plain values, already in range.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The warden's configuration. Nothing of it can be changed by the daemon.
#[derive(Clone)]
pub struct WardenConfig {
    /// `STATE_DIR`.
    pub state_dir: PathBuf,
    /// `RUNTIME_DIR`.
    pub runtime_dir: PathBuf,
    /// `FILE_STORAGE_PATH`: where the homes are.
    pub homes: PathBuf,
    /// `SANDBOX_UID_BASE`.
    pub uid_base: u32,
    /// `SANDBOX_SESSIONS_MAX`; by memory when empty.
    pub sessions_max: Option<u32>,
    /// `SANDBOX_MEMORY_LIMIT_MB`.
    pub memory_limit_mb: u64,
    /// `SANDBOX_CPU_PERCENT`, of one core.
    pub cpu_percent: u32,
    /// `SANDBOX_PID_LIMIT`.
    pub pid_limit: u64,
    /// `SANDBOX_SESSION_TIMEOUT_SECS`: how long sessions outlive the last daemon.
    pub session_timeout: Duration,
    /// `SANDBOX_ALLOW_UNLIMITED`.
    pub allow_unlimited: bool,
    /// `HOST` and `PORT`.
    pub http: SocketAddr,
    /// `MEDIA_HOST` and `MEDIA_PORT`.
    pub media: SocketAddr,
    /// `METRICS_ADDR`.
    pub metrics: SocketAddr,
    /// `TLS_CERT` and `TLS_KEY`.
    pub tls: Option<TlsFiles>,
    /// The account that the daemon runs under, where the host has it.
    pub daemon_user: String,
    /// The daemon's own configuration, unread by the warden.
    pub daemon_config: Vec<u8>,
    /// `VIDEO_CODEC`, for the workers.
    pub codec: String,
    /// `VIDEO_FRAMERATE`, for the workers.
    pub fps_max: u16,
    /// `RUST_LOG`, for the workers.
    pub log_filter: String,
}

/// The operator's certificate, which the warden opens and the daemon reads.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// `TLS_CERT`.
    pub certificate: PathBuf,
    /// `TLS_KEY`.
    pub key: PathBuf,
}

/// Without the daemon's configuration, which holds secrets.
impl fmt::Debug for WardenConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WardenConfig")
            .field("state_dir", &self.state_dir)
            .field("runtime_dir", &self.runtime_dir)
            .field("homes", &self.homes)
            .field("uid_base", &self.uid_base)
            .field("http", &self.http)
            .field("media", &self.media)
            .finish_non_exhaustive()
    }
}
