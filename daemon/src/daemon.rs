//! The daemon's role: takes what the warden gives it and serves until the warden is gone.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use async_signal::{Signal, Signals};
use futures_lite::{StreamExt as _, future};
use sandbox_core::sessions::{Limits, Reason};
use sandbox_protocol::Bitrate;
use sandbox_protocol::local::Version;
use sandbox_protocol::local::warden::Request;
use sandbox_quic::ServerSetup;

use crate::auth::password::Checker;
use crate::auth::token::{KeyError, Tokens};
use crate::changes::{Changes, Watch};
use crate::clock;
use crate::config::{Advertised, DaemonConfig};
use crate::http::{self, App, Parts};
use crate::identity::{self, IdentityError, NativeAddress};
use crate::media::{self, Media, MediaConfig};
use crate::native;
use crate::sessions::{self, Sessions};
use crate::state::{self, StateError, Store};
use crate::tasks::Tasks;
use crate::tls::{SelfSignedError, Tls};
use crate::warden::{Started, WardenLink, WardenLinkError};

/// How long the warden may take to start a session; its own steps take 10 s at most.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of the configuration.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// The daemon cannot serve, or not any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// The warden is gone or lies.
    #[error(transparent)]
    Warden(#[from] WardenLinkError),
    /// The configuration in the descriptor is not ours.
    #[error("cannot read the configuration from the warden: {0}")]
    Config(String),
    /// The database cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The signing key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// There is no certificate of our own.
    #[error(transparent)]
    SelfSigned(#[from] SelfSignedError),
    /// There is no key that native viewers know this node by.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A socket, file or thread cannot be used.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was to be done.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

fn io_error(what: &'static str) -> impl FnOnce(io::Error) -> DaemonError {
    move |source| DaemonError::Io { what, source }
}

/// Serves on the warden's socket, which is the role's standard input.
///
/// # Errors
///
/// Returns [`DaemonError`]; the warden then starts another daemon.
pub fn run() -> Result<(), DaemonError> {
    let socket = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(io_error("take the warden's socket"))?;
    run_on(socket)
}

/// [`run`] on any socket.
///
/// # Errors
///
/// As [`run`].
pub fn run_on(socket: OwnedFd) -> Result<(), DaemonError> {
    let tasks = Tasks::default();
    tasks.run_until(serve(socket, &tasks))
}

async fn serve(socket: OwnedFd, tasks: &Tasks) -> Result<(), DaemonError> {
    let (link, started) = WardenLink::open(socket).await?;
    let Started {
        version,
        config,
        tcp,
        udp,
        metrics,
        weaker,
        sessions: surviving,
    } = started;
    let config = read_config(config)?;
    crate::logs::start(&config.log_filter, config.log_json);
    let store = Store::start(&config.dir.join("state.db"))?;
    shorten_tickets(&store);
    let recorded = store.run(|it| state::sessions::unended(it)).await?;
    let (sessions, commands) = Sessions::new();
    let changes = Changes::default();
    let watch = Watch::open(&config.dir).map_err(io_error("watch STATE_DIR/daemon"))?;
    let setup = sessions::Setup {
        commands,
        link: link.clone(),
        store: store.clone(),
        limits: Limits {
            sessions_max: config.sessions_max,
            per_user_max: config.sessions_per_user,
            detached_timeout: config.session_timeout,
            start_timeout: START_TIMEOUT,
        },
        recorded,
        surviving,
    };
    let node = identity::read_or_make(&config.dir)?;
    let sockets: Vec<UdpSocket> = udp.into_iter().map(UdpSocket::from).collect();
    let port = media_port(&sockets)?;
    let app = App::new(Parts {
        tokens: tokens(&config)?,
        tls: Tls::start(&config, &link, tasks)?,
        checker: Checker::start().map_err(io_error("start the password threads"))?,
        media: start_media(&config, sockets, node.setup, version)?,
        native: NativeAddress::new(&config, port, node.fingerprint),
        notices: notices(weaker),
        config,
        store,
        sessions,
        changes,
        tasks: tasks.clone(),
    });
    listen(&app, tcp, metrics);
    tasks.spawn("native viewers", native::serve(Arc::clone(&app)));
    let followed = Arc::clone(&app);
    tasks.spawn("changes", async move { follow(&followed, watch).await });
    link.send(&Request::Ready).await?;
    tracing::info!(url = %app.config.public_url, "serving");
    tracing::info!("native clients: {}", app.native);
    let run = async { Ok(sessions::run(setup, tasks).await?) };
    let ended = future::or(run, terminated()).await;
    app.media.end().await;
    ended
}

/// Waits for the end that the warden asks for.
async fn terminated() -> Result<(), DaemonError> {
    let mut signals =
        Signals::new([Signal::Term]).map_err(io_error("listen to the warden's signal"))?;
    signals.next().await;
    Ok(())
}

fn read_config(descriptor: OwnedFd) -> Result<DaemonConfig, DaemonError> {
    let mut file = File::from(descriptor);
    let mut bytes = Vec::new();
    // The warden and an earlier daemon share this descriptor's position.
    file.rewind()
        .and_then(|()| file.take(CONFIG_BYTES_MAX).read_to_end(&mut bytes))
        .map_err(io_error("read the configuration"))?;
    serde_json::from_slice(&bytes).map_err(|error| {
        // Line and column only: the text holds secrets.
        let (line, column) = (error.line(), error.column());
        DaemonError::Config(format!("malformed at line {line}, column {column}"))
    })
}

/// The connections of native viewers ended with the daemon before. A start waits for no write: the
/// disk may be full, or another program hold the file.
fn shorten_tickets(store: &Store) {
    let now = clock::unix_seconds();
    let is_posted = store.post(move |connection| {
        if let Err(error) = state::tickets::connections_ended(connection, now) {
            tracing::warn!(%error, "tickets of an earlier life last as long as their sign-ins");
        }
    });
    assert!(is_posted, "the first job finds room");
}

fn tokens(config: &DaemonConfig) -> Result<Tokens, KeyError> {
    match &config.jwt_secret {
        Some(secret) => Ok(Tokens::with_secret(secret.reveal(), config.access_expiry)),
        None => Tokens::with_node_key(&config.dir.join("token.key"), config.access_expiry),
    }
}

/// The warden binds one socket at least, all of them at one port.
fn media_port(sockets: &[UdpSocket]) -> Result<u16, DaemonError> {
    let first = sockets.first().map(UdpSocket::local_addr);
    let address = first.unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()));
    Ok(address.map_err(io_error("use the socket of media"))?.port())
}

fn start_media(
    config: &DaemonConfig,
    sockets: Vec<UdpSocket>,
    native: ServerSetup,
    workers: Version,
) -> Result<Media, DaemonError> {
    let advertise = |it: &Advertised| match it.port {
        Some(port) => media::Advertised::Socket((it.address, port).into()),
        None => media::Advertised::Ip(it.address),
    };
    let media_config = MediaConfig {
        advertise: config.media_advertise.iter().map(advertise).collect(),
        tcp_candidates: vec![config.http],
        bitrate_max: Bitrate::kbps(config.bitrate_kbps_max),
        fps_max: config.fps_max,
        native,
        workers,
    };
    Media::start(sockets, media_config).map_err(io_error("start media"))
}

fn notices(weaker: Vec<String>) -> Vec<String> {
    let mut notices = vec![
        "Files in the desktop's home are kept on this server and are not encrypted.".to_owned(),
    ];
    for sentence in weaker {
        tracing::warn!(notice = sentence, "this host is weaker than designed");
        notices.push(sentence);
    }
    notices
}

fn listen(app: &Arc<App>, tcp: Vec<OwnedFd>, metrics: Vec<OwnedFd>) {
    for listener in tcp.into_iter().map(TcpListener::from) {
        let app = Arc::clone(app);
        app.clone().tasks.spawn("http", async move {
            if let Err(error) = http::serve(app, listener).await {
                tracing::error!(%error, "cannot serve HTTP");
            }
        });
    }
    for listener in metrics.into_iter().map(TcpListener::from) {
        let app = Arc::clone(app);
        app.clone().tasks.spawn("metrics", async move {
            if let Err(error) = http::metrics::serve(app, listener).await {
                tracing::error!(%error, "cannot serve metrics");
            }
        });
    }
}

/// Follows what `sandbox-server user …` does: open sockets check their sign-in, and desktops of
/// accounts that were disabled end.
async fn follow(app: &App, watch: Watch) {
    loop {
        // First for what was done while no daemon ran.
        if let Err(error) = end_disabled(app).await {
            tracing::error!(%error, "cannot look up accounts");
        }
        app.changes.announce();
        if let Err(error) = watch.changed().await {
            tracing::error!(%error, "cannot follow changes by other programs");
            return;
        }
    }
}

async fn end_disabled(app: &App) -> Result<(), StateError> {
    let users = app.store.run(|it| state::users::all(it)).await?;
    for view in app.sessions.live().await {
        let owner = users.iter().find(|it| it.index == view.plan.user);
        if owner.is_none_or(|it| it.is_disabled) {
            let session = view.plan.session;
            app.sessions.end(session, Reason::UserDisabled).await;
        }
    }
    Ok(())
}
