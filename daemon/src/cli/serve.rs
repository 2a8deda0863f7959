//! `serve`: reads the configuration and becomes the warden.

use sandbox_jail::warden::{self, TlsFiles, WardenConfig};

use super::{Failure, chain};
use crate::config::{Certificate, Config};
use crate::tls;

/// The account that the daemon runs under, where the host has it.
pub(super) const DAEMON_USER: &str = "sandbox-server";

pub(super) fn run(flags: &[String]) -> Result<(), Failure> {
    let config = super::config(flags)?;
    check_certificate(config.daemon.tls.as_ref())?;
    // The warden is not to go on with half a thought: its jails end with it.
    let default_hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        default_hook(panic);
        std::process::abort();
    }));
    crate::logs::start(&config.daemon.log_filter, config.daemon.log_json);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let daemon_config = serde_json::to_vec(&config.daemon)
        .map_err(|error| Failure::simple(format!("cannot hand the configuration on: {error}")))?;
    warden::run(warden_config(config, daemon_config)).map_err(|error| Failure {
        words: chain(&error),
        code: error.exit_code(),
    })
}

/// A certificate that does not work is said before anything starts.
fn check_certificate(source: Option<&Certificate>) -> Result<(), Failure> {
    let Some(Certificate::Files { certificate, key }) = source else {
        return Ok(());
    };
    let refused = |words: String| Failure::usage(words);
    let chain = tls::read("TLS_CERT", certificate).map_err(|it| refused(it.to_string()))?;
    let secret = tls::read("TLS_KEY", key).map_err(|it| refused(it.to_string()))?;
    let usable = tls::server_config(&chain, &secret).map(drop);
    usable.map_err(|error| {
        let (certificate, key) = (certificate.display(), key.display());
        refused(format!(
            "TLS_CERT={certificate} with TLS_KEY={key}: {error}"
        ))
    })
}

fn warden_config(config: Config, daemon_config: Vec<u8>) -> WardenConfig {
    let tls = match &config.daemon.tls {
        Some(Certificate::Files { certificate, key }) => Some(TlsFiles {
            certificate: certificate.clone(),
            key: key.clone(),
        }),
        Some(Certificate::SelfSigned) | None => None,
    };
    WardenConfig {
        tls,
        state_dir: config.state_dir,
        runtime_dir: config.runtime_dir,
        homes: config.homes,
        uid_base: config.uid_base,
        sessions_max: Some(config.daemon.sessions_max),
        memory_limit_mb: config.memory_limit_mb,
        cpu_percent: config.cpu_percent,
        pid_limit: config.pid_limit.into(),
        session_timeout: config.daemon.session_timeout,
        allow_unlimited: config.allow_unlimited,
        http: config.http,
        media: config.media,
        metrics: config.metrics,
        daemon_user: DAEMON_USER.to_owned(),
        daemon_config,
        codec: config.codec,
        fps_max: config.daemon.fps_max,
        log_filter: config.daemon.log_filter,
    }
}
