//! Gathers the variables from flags, environment and file, and holds each against its range.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use super::env_file;
use super::table::{FOREIGN, PREFIXES, VARIABLES, Variable};

/// The configuration cannot be used. Secrets are not in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A value outside its range.
    #[error("{name}={value} ({from}) is out of range: it may be {allowed}")]
    OutOfRange {
        /// The variable.
        name: &'static str,
        /// Its value, or `[secret]`.
        value: String,
        /// Where it stands.
        from: Source,
        /// What it may be.
        allowed: String,
    },
    /// A value that this version cannot honour.
    #[error("{name}={value} ({from}) is not possible: {why}")]
    Later {
        /// The variable.
        name: &'static str,
        /// Its value, or `[secret]`.
        value: String,
        /// Where it stands.
        from: Source,
        /// What is missing and what to do.
        why: &'static str,
    },
    /// A value that was to be replaced.
    #[error("{name} ({from}) still holds CHANGE_ME: set it to {allowed}, or leave it out")]
    Placeholder {
        /// The variable.
        name: &'static str,
        /// Where it stands.
        from: Source,
        /// What it may be.
        allowed: String,
    },
    /// A mistyped name.
    #[error("{name} ({from}) is no variable of this server; docs/OPERATIONS.md lists them all")]
    Unknown {
        /// The name.
        name: String,
        /// Where it stands.
        from: Source,
    },
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not in systemd's syntax.
    #[error("{path}, line {line}: expected NAME=value")]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
    /// A flag that does not exist, or one without its value.
    #[error("{0}; sandbox-server --help lists the flags")]
    Flag(String),
    /// Two values that exclude each other.
    #[error("{0}")]
    Conflict(String),
}

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// On the command line.
    Flag,
    /// In the environment.
    Environment,
    /// In the file.
    File(PathBuf),
    /// Nowhere: it is the default.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("from the command line"),
            Self::Environment => f.write_str("from the environment"),
            Self::File(path) => write!(f, "from {}", path.display()),
            Self::Default => f.write_str("the default"),
        }
    }
}

/// Every variable with a value that is in range; empty where it is left out.
#[derive(Debug)]
pub(crate) struct Values {
    values: BTreeMap<&'static str, (String, Source)>,
    pub(super) warnings: Vec<String>,
}

impl Values {
    /// Reads `flags` (without subcommand), then what the environment holds, then the file that
    /// `--config` names.
    pub(crate) fn gather(
        flags: &[String],
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let (config_file, flags) = split_flags(flags)?;
        let mut all = Self {
            values: BTreeMap::new(),
            warnings: Vec::new(),
        };
        if let Some(path) = config_file {
            all.read_file(&path)?;
        }
        for (name, value) in environment {
            all.set(&name, value, Source::Environment)?;
        }
        for (name, value) in flags {
            all.set(&name, value, Source::Flag)?;
        }
        for variable in VARIABLES {
            let entry = all.values.entry(variable.name);
            let (value, from) =
                entry.or_insert_with(|| (variable.default.to_owned(), Source::Default));
            if value.is_empty() {
                (*value, *from) = (variable.default.to_owned(), Source::Default);
            }
            check(variable, value, from)?;
        }
        Ok(all)
    }

    fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::File {
            path: path.into(),
            source,
        })?;
        let assignments = env_file::parse(&text).map_err(|bad| ConfigError::Line {
            path: path.into(),
            line: bad.0,
        })?;
        let mut holds_secret = false;
        for (name, value) in assignments {
            holds_secret |=
                !value.is_empty() && VARIABLES.iter().any(|it| it.name == name && it.is_secret);
            self.set(&name, value, Source::File(path.into()))?;
        }
        if holds_secret && is_readable_by_others(path) {
            self.warnings.push(format!(
                "{0} holds a secret and others can read it: chmod o-rwx {0}",
                path.display()
            ));
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: String, from: Source) -> Result<(), ConfigError> {
        if let Some(variable) = VARIABLES.iter().find(|it| it.name == name) {
            self.values.insert(variable.name, (value, from));
            return Ok(());
        }
        let is_ours = PREFIXES.iter().any(|it| name.starts_with(it)) && !FOREIGN.contains(&name);
        if is_ours {
            let name = name.to_owned();
            return Err(ConfigError::Unknown { name, from });
        }
        Ok(())
    }

    /// The value, or `None` where it is left out.
    ///
    /// # Panics
    ///
    /// When the table has no such variable.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let (value, _) = self
            .values
            .get(name)
            .expect("the table names every variable that is read");
        (!value.is_empty()).then_some(value)
    }

    /// The value as a number.
    pub(super) fn number<T: TryFrom<u64>>(&self, name: &str) -> Option<T> {
        let value: u64 = self.text(name)?.parse().ok()?;
        T::try_from(value).ok()
    }

    /// The value of a number that has a default.
    pub(super) fn number_or_default<T: TryFrom<u64>>(&self, name: &str) -> T {
        self.number(name)
            .expect("the table's default and range fit the type")
    }

    /// Whether the value is `true`.
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }
}

fn check(variable: &'static Variable, value: &str, from: &Source) -> Result<(), ConfigError> {
    if value.is_empty() {
        return Ok(());
    }
    let name = variable.name;
    let from = from.clone();
    if value.contains("CHANGE_ME") {
        let allowed = variable.kind.allowed();
        return Err(ConfigError::Placeholder {
            name,
            from,
            allowed,
        });
    }
    let shown = if variable.is_secret {
        "[secret]".to_owned()
    } else {
        value.to_owned()
    };
    if !variable.kind.admits(value) {
        return Err(ConfigError::OutOfRange {
            name,
            value: shown,
            from,
            allowed: variable.kind.allowed(),
        });
    }
    match &variable.later {
        Some(later) if !later.works.contains(&value) => Err(ConfigError::Later {
            name,
            value: shown,
            from,
            why: later.why,
        }),
        Some(_) | None => Ok(()),
    }
}

type Flags = (Option<PathBuf>, Vec<(String, String)>);

/// Turns `--media-port 1` and `--media-port=1` into `MEDIA_PORT`, and takes `--config` out.
fn split_flags(flags: &[String]) -> Result<Flags, ConfigError> {
    let mut config_file = None;
    let mut named = Vec::new();
    let mut rest = flags.iter();
    while let Some(flag) = rest.next() {
        let Some(body) = flag.strip_prefix("--") else {
            return Err(ConfigError::Flag(format!("{flag} is no flag")));
        };
        let (name, inline) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        let variable = name.to_ascii_uppercase().replace('-', "_");
        let is_known = name == "config" || VARIABLES.iter().any(|it| it.name == variable);
        if !is_known {
            return Err(ConfigError::Flag(format!("there is no flag --{name}")));
        }
        let Some(value) = inline.or_else(|| rest.next().cloned()) else {
            return Err(ConfigError::Flag(format!("--{name} wants a value")));
        };
        if name == "config" {
            config_file = Some(PathBuf::from(value));
        } else {
            named.push((variable, value));
        }
    }
    Ok((config_file, named))
}

fn is_readable_by_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|it| it.permissions().mode() & 0o004 != 0)
}
