//! Every variable of the configuration: name, default, range, and what this version can do of it.

use super::net::{Advertised, Cidr, Origin, parse_host, parse_list, split_authority};

/// One variable.
#[derive(Debug)]
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    /// Empty: left out, or worked out from the host or from other variables.
    pub(crate) default: &'static str,
    pub(crate) kind: Kind,
    pub(crate) is_secret: bool,
    pub(crate) later: Option<Later>,
}

/// What a value may be. An empty value always means "not set".
#[derive(Debug)]
pub(crate) enum Kind {
    Number {
        min: u64,
        max: u64,
    },
    Bool,
    Words(&'static [&'static str]),
    Path,
    Text {
        is_valid: fn(&str) -> bool,
        allowed: &'static str,
    },
}

/// A value within the range that belongs to a part which this version does not have.
#[derive(Debug)]
pub(crate) struct Later {
    /// Values that this version can honour.
    pub(crate) works: &'static [&'static str],
    pub(crate) why: &'static str,
}

impl Kind {
    /// Whether a value that is set is within the range.
    pub(crate) fn admits(&self, value: &str) -> bool {
        match self {
            Self::Number { min, max } => {
                let is_plain = value.bytes().all(|it| it.is_ascii_digit());
                is_plain && value.parse().is_ok_and(|it| (*min..=*max).contains(&it))
            }
            Self::Bool => matches!(value, "true" | "false"),
            Self::Words(words) => words.contains(&value),
            Self::Path => value.starts_with('/') && !value.contains('\0'),
            Self::Text { is_valid, .. } => is_valid(value),
        }
    }

    /// The range in words.
    pub(crate) fn allowed(&self) -> String {
        match self {
            Self::Number { min, max } => format!("a whole number from {min} to {max}"),
            Self::Bool => "true or false".into(),
            Self::Words(words) => format!("one of {}", words.join(", ")),
            Self::Path => "an absolute path".into(),
            Self::Text { allowed, .. } => (*allowed).into(),
        }
    }
}

const fn variable(name: &'static str, default: &'static str, kind: Kind) -> Variable {
    Variable {
        name,
        default,
        kind,
        is_secret: false,
        later: None,
    }
}

impl Variable {
    const fn secret(mut self) -> Self {
        self.is_secret = true;
        self
    }

    const fn later(mut self, works: &'static [&'static str], why: &'static str) -> Self {
        self.later = Some(Later { works, why });
        self
    }
}

const fn number(min: u64, max: u64) -> Kind {
    Kind::Number { min, max }
}

const fn text(is_valid: fn(&str) -> bool, allowed: &'static str) -> Kind {
    Kind::Text { is_valid, allowed }
}

const HOST: Kind = text(
    |it| parse_host(it).is_some(),
    "an IPv4 or IPv6 address of this machine, or localhost",
);
const SOCKET: Kind = text(
    |it| {
        it.parse::<std::net::SocketAddr>()
            .is_ok_and(|it| it.port() != 0)
    },
    "address:port, like 127.0.0.1:9090",
);
const URL: Kind = text(
    |it| Origin::parse(it).is_some(),
    "http:// or https://, a host and a port, without a path",
);
const PROXIES: Kind = text(
    |it| parse_list(it, Cidr::parse).is_some(),
    "addresses or CIDR ranges, separated by commas",
);
const NAMES: Kind = text(
    |it| parse_list(it, split_authority).is_some(),
    "host names with or without a port, separated by commas",
);
const ADVERTISED: Kind = text(
    |it| parse_list(it, Advertised::parse).is_some(),
    "IP addresses with or without a port, separated by commas",
);
const NODE: Kind = text(
    |it| it.len() <= 64 && split_authority(it).is_some_and(|(_, port)| port.is_none()),
    "a name of at most 64 letters, digits, dots and dashes",
);
const SECRET: Kind = text(
    |it| super::base64(it).is_some_and(|it| it.len() >= 32),
    "at least 256 bits in base64, as `openssl rand -base64 32` prints",
);
const LOG_FILTER: Kind = text(
    |it| tracing_subscriber::EnvFilter::builder().parse(it).is_ok(),
    "a filter such as info or sandbox_daemon=debug",
);
const ANY: Kind = text(|it| !it.contains('\0'), "any text");

const FLEET: &str = "this version keeps everything in its embedded SQLite file; leave it unset";

/// Codecs that some version names; those that this one can use come first.
const CODECS: Kind = Kind::Words(&[
    "auto",
    "libx264",
    "openh264",
    "libaom",
    "rav1e",
    "h264_nvenc",
    "hevc_nvenc",
    "av1_nvenc",
]);

/// The whole configuration, in the order of docs/OPERATIONS.
pub(crate) static VARIABLES: &[Variable] = &[
    variable("DATABASE_URL", "", ANY).secret().later(&[], FLEET),
    variable("DATABASE_CA_FILE", "", Kind::Path).later(&[], FLEET),
    variable("DATABASE_POOL_MAX", "4", number(1, 64)).later(&["4"], FLEET),
    variable("STATE_DIR", "", Kind::Path),
    variable("RUNTIME_DIR", "", Kind::Path),
    variable("HOST", "127.0.0.1", HOST),
    variable("PORT", "8080", number(1, 65_535)),
    variable("PUBLIC_URL", "", URL),
    variable("TLS_CERT", "", Kind::Path),
    variable("TLS_KEY", "", Kind::Path),
    variable("TLS_SELF_SIGNED", "false", Kind::Bool),
    variable("TRUSTED_PROXIES", "", PROXIES),
    variable("HOST_ALIASES", "", NAMES),
    variable("NODE_NAME", "", NODE),
    variable("NODE_URL", "", URL),
    variable("MEDIA_HOST", "", HOST),
    variable("MEDIA_PORT", "3478", number(1, 65_535)),
    variable("MEDIA_ADVERTISE", "", ADVERTISED),
    variable("METRICS_ADDR", "127.0.0.1:9090", SOCKET),
    variable("STUN_SERVER", "", ANY).later(
        &[],
        "this version hands no STUN server to browsers; name the outside address in \
         MEDIA_ADVERTISE instead and leave it unset",
    ),
    variable("JWT_SECRET", "", SECRET).secret(),
    variable("JWT_ACCESS_EXPIRY", "900", number(5, 86_400)),
    variable("JWT_REFRESH_EXPIRY", "604800", number(60, 31_536_000)),
    variable("SANDBOX_MEMORY_LIMIT_MB", "512", number(64, 1_048_576)),
    variable("SANDBOX_CPU_PERCENT", "50", number(5, 100_000)),
    variable("SANDBOX_PID_LIMIT", "100", number(16, 1_000_000)),
    variable(
        "SANDBOX_SESSION_TIMEOUT_SECS",
        "1800",
        number(1, 31_536_000),
    ),
    variable("SANDBOX_WARM_POOL", "0", number(0, 64)).later(
        &["0"],
        "this version keeps no desktops started in advance; use 0",
    ),
    variable("SANDBOX_NETWORK", "none", Kind::Words(&["none", "egress"])).later(
        &["none"],
        "desktops of this version have no network; use none",
    ),
    variable("SANDBOX_PROFILES", "", Kind::Path).later(
        &[],
        "this version has its built-in profile alone; leave it unset",
    ),
    variable("SANDBOX_SESSIONS_MAX", "", number(1, 10_000)),
    variable("SANDBOX_SESSIONS_PER_USER", "1", number(1, 16)),
    variable("SANDBOX_ALLOW_UNLIMITED", "false", Kind::Bool),
    // Below: system accounts and 16-bit ids. Above: 100,000 users with 16 ids each must fit.
    variable(
        "SANDBOX_UID_BASE",
        "1900000000",
        number(100_000, 4_200_000_000),
    ),
    variable("RATE_LIMIT_LOGIN", "5", number(0, 100_000)),
    variable("RATE_LIMIT_API", "100", number(0, 1_000_000)),
    variable("MAX_CONNECTIONS_PER_ADDRESS", "64", number(0, 65_535)),
    variable("FILE_STORAGE_PATH", "", Kind::Path),
    variable("FILE_ENCRYPTION_ENABLED", "false", Kind::Bool).later(
        &["false"],
        "homes of this version are not encrypted; use false and an encrypted disk",
    ),
    variable("FILE_QUOTA_MB", "1024", number(1, 1_073_741_824)).later(
        &["1024"],
        "this version does not limit homes; leave it unset and use a file system of its own",
    ),
    variable("VIDEO_CODEC", "auto", CODECS).later(
        &["auto", "libx264", "openh264"],
        "this version encodes with libx264 or openh264; use auto or one of these",
    ),
    variable("VIDEO_FRAMERATE", "", number(1, 240)),
    variable("VIDEO_BITRATE_KBPS", "", number(100, 1_000_000)),
    variable("VIDEO_PRESET", "", ANY).later(
        &[],
        "this version chooses the encoder's settings itself; leave it unset",
    ),
    variable("VIDEO_TUNE", "", ANY).later(
        &[],
        "this version chooses the encoder's settings itself; leave it unset",
    ),
    variable("RUST_LOG", "info", LOG_FILTER),
    variable("LOG_FORMAT", "", Kind::Words(&["json", "text"])),
];

/// Names with these beginnings are ours: an unknown one is a mistyped one.
pub(crate) const PREFIXES: &[&str] = &["SANDBOX_", "VIDEO_", "FILE_", "MEDIA_", "JWT_"];

/// Ours by its beginning, but another program's.
pub(crate) const FOREIGN: &[&str] = &["SANDBOX_PASSWORD"];
