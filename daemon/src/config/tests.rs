//! Holds the whole table against what is accepted and how it is refused.

use super::table::{Kind, VARIABLES, Variable};
use super::*;

fn host() -> Host {
    Host {
        is_root: true,
        user_state_dir: None,
        name: "node1".into(),
        memory_mb: 16_384,
        is_terminal: false,
    }
}

fn load(environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(&[], environment, &host())
}

#[test]
fn every_default_is_accepted_when_it_is_written_out() {
    let plain = load(&[]).unwrap();
    for it in VARIABLES {
        let written =
            load(&[(it.name, it.default)]).unwrap_or_else(|error| panic!("{}: {error}", it.name));
        assert_eq!(written.daemon, plain.daemon, "{}", it.name);
    }
}

/// Values outside the range of a variable.
fn outside(variable: &Variable) -> Vec<String> {
    match &variable.kind {
        Kind::Number { min, max } => {
            let below = min.checked_sub(1).map(|it| it.to_string());
            let mut values: Vec<String> = below.into_iter().collect();
            values.extend([(max + 1).to_string(), u128::MAX.to_string()]);
            values.extend(["-1", "+1", "1.5", "many", " 1"].map(str::to_owned));
            values
        }
        Kind::Bool => ["yes", "TRUE", "1"].map(str::to_owned).into(),
        Kind::Words(_) => vec!["nonsense".into()],
        Kind::Path => vec!["relative/path".into()],
        Kind::Text { is_valid, .. } => ["not a value, surely/!", "a\0b", "target=louder"]
            .into_iter()
            .filter(|it| !is_valid(it))
            .map(str::to_owned)
            .collect(),
    }
}

#[test]
fn every_value_out_of_range_is_refused_with_name_value_and_range() {
    for variable in VARIABLES {
        let values = outside(variable);
        assert!(!values.is_empty(), "{}", variable.name);
        for value in values {
            let error = load(&[(variable.name, &value)]).expect_err(variable.name);
            let words = error.to_string();
            assert!(
                matches!(error, ConfigError::OutOfRange { .. }),
                "{}={value}: {words}",
                variable.name
            );
            assert!(words.contains(variable.name), "{words}");
            assert!(words.contains(&variable.kind.allowed()), "{words}");
            assert_eq!(words.contains(&value), !variable.is_secret, "{words}");
        }
    }
}

#[test]
fn the_ends_of_every_range_are_accepted_or_said_to_come_later() {
    for variable in VARIABLES {
        let Kind::Number { min, max } = variable.kind else {
            continue;
        };
        for value in [min, max].map(|it| it.to_string()) {
            match load(&[(variable.name, &value)]) {
                Ok(_) | Err(ConfigError::Later { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn what_this_version_cannot_do_is_refused_in_plain_words() {
    for (name, value) in [
        ("DATABASE_URL", "postgres://u:topsecret@db/x"),
        ("FILE_ENCRYPTION_ENABLED", "true"),
        ("FILE_QUOTA_MB", "10"),
        ("VIDEO_CODEC", "av1_nvenc"),
        ("VIDEO_PRESET", "fast"),
        ("SANDBOX_NETWORK", "egress"),
        ("SANDBOX_WARM_POOL", "1"),
        ("SANDBOX_PROFILES", "/etc/profiles"),
        ("STUN_SERVER", "stun:stun.example:3478"),
    ] {
        let error = load(&[(name, value)]).expect_err(name);
        assert!(matches!(error, ConfigError::Later { .. }), "{error}");
        let words = error.to_string();
        assert!(
            words.contains(name) && words.contains("this version")
                || words.contains("homes of")
                || words.contains("desktops of"),
            "{words}"
        );
        assert!(!words.contains("topsecret"), "{words}");
    }
}

#[test]
fn unknown_names_of_ours_are_refused_and_those_of_others_are_not() {
    for name in [
        "SANDBOX_X",
        "VIDEO_CODECS",
        "FILE_X",
        "MEDIA_PROT",
        "JWT_SECERT",
    ] {
        let error = load(&[(name, "1")]).expect_err(name);
        assert!(matches!(error, ConfigError::Unknown { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    load(&[
        ("SANDBOX_PASSWORD", "x"),
        ("PATH", "/bin"),
        ("DATABASE_X", ""),
    ])
    .unwrap();
}

#[test]
fn a_placeholder_is_refused_even_where_any_text_would_do() {
    for name in ["JWT_SECRET", "PUBLIC_URL", "RUST_LOG"] {
        let error = load(&[(name, "CHANGE_ME_PLEASE")]).expect_err(name);
        assert!(matches!(error, ConfigError::Placeholder { .. }), "{error}");
    }
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let path = std::env::temp_dir().join(format!("sandbox-config-{}", std::process::id()));
    std::fs::write(
        &path,
        "PORT=1001\nMEDIA_PORT=1002\nMETRICS_ADDR='127.0.0.1:1003'\n",
    )
    .unwrap();
    let file = path.display().to_string();
    let environment = [("PORT", "2001"), ("MEDIA_PORT", "2002")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let flags = ["--config", &file, "--port=3001"].map(str::to_owned);
    let config = Config::load(&flags, environment, &host()).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(config.http.port(), 3001);
    assert_eq!(config.media.port(), 2002);
    assert_eq!(config.metrics.port(), 1003);
    assert_eq!(
        config.daemon.public_url.to_string(),
        "http://localhost:3001"
    );
}

#[test]
fn bad_flags_and_files_name_what_is_wrong() {
    for (flags, expected) in [
        (&["serve"][..], "serve"),
        (&["--nonsense", "1"], "--nonsense"),
        (&["--port"], "--port"),
        (&["--config", "/nonexistent/file"], "/nonexistent/file"),
    ] {
        let flags: Vec<String> = flags.iter().map(|it| (*it).to_owned()).collect();
        let words = Config::load(&flags, [], &host()).unwrap_err().to_string();
        assert!(words.contains(expected), "{words}");
    }
}

#[test]
fn a_readable_file_with_a_secret_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::temp_dir().join(format!("sandbox-secret-{}", std::process::id()));
    let secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    std::fs::write(&path, format!("JWT_SECRET={secret}\n")).unwrap();
    let flags = ["--config".to_owned(), path.display().to_string()];
    let warnings = |mode| {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        Config::load(&flags, [], &host()).unwrap().warnings
    };
    let warned = warnings(0o644);
    assert!(
        warned.len() == 1 && !warned[0].contains(secret),
        "{warned:?}"
    );
    assert!(warnings(0o640).is_empty());
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn media_listens_where_http_does_unless_it_is_told_otherwise() {
    let media = |environment: &[(&str, &str)]| load(environment).unwrap().media.to_string();
    assert_eq!(media(&[]), "127.0.0.1:3478");
    assert_eq!(media(&[("HOST", "0.0.0.0")]), "0.0.0.0:3478");
    assert_eq!(
        media(&[("HOST", "0.0.0.0"), ("MEDIA_HOST", "::")]),
        "[::]:3478"
    );
}

#[test]
fn tls_takes_both_files_or_a_certificate_of_its_own_and_makes_the_page_https() {
    let files = [("TLS_CERT", "/etc/cert.pem"), ("TLS_KEY", "/etc/key.pem")];
    let config = load(&files).unwrap().daemon;
    assert!(matches!(config.tls, Some(Certificate::Files { .. })));
    assert_eq!(config.public_url.to_string(), "https://localhost:8080");
    let config = load(&[("TLS_SELF_SIGNED", "true")]).unwrap().daemon;
    assert_eq!(config.tls, Some(Certificate::SelfSigned));
    let own = ("TLS_SELF_SIGNED", "true");
    let plain = ("PUBLIC_URL", "http://desk.example");
    let plain_node = ("NODE_URL", "http://node7.example");
    for (environment, name) in [
        (&files[..1], "TLS_KEY"),
        (&files[1..], "TLS_CERT"),
        (&[files[0], own], "TLS_KEY"),
        (&[files[0], files[1], own], "TLS_SELF_SIGNED"),
        (&[own, plain], "PUBLIC_URL=http://desk.example"),
        (&[own, plain_node], "NODE_URL=http://node7.example"),
    ] {
        let error = load(environment).expect_err(name);
        assert!(matches!(error, ConfigError::Conflict(_)), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_short_secret_is_refused_without_being_shown() {
    let error = load(&[("JWT_SECRET", "c2hvcnQ=")]).unwrap_err().to_string();
    assert!(
        error.contains("JWT_SECRET") && error.contains("256 bits"),
        "{error}"
    );
    assert!(!error.contains("c2hvcnQ"), "{error}");
}

#[test]
fn the_daemon_gets_its_part_whole() {
    let config = load(&[
        ("JWT_SECRET", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"),
        ("TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
        ("HOST_ALIASES", "desk.example,other:8443"),
        ("MEDIA_ADVERTISE", "192.0.2.1:5000"),
    ])
    .unwrap();
    let json = serde_json::to_vec(&config.daemon).unwrap();
    let back: DaemonConfig = serde_json::from_slice(&json).unwrap();
    assert_eq!(back, config.daemon);
    assert_eq!(back.jwt_secret.unwrap().reveal().len(), 32);
}

#[test]
fn as_many_sessions_as_memory_allows_but_always_one() {
    assert_eq!(sessions_by_memory(16_384, 512), 18);
    assert_eq!(sessions_by_memory(100, 512), 1);
}

#[test]
fn base64_is_read_in_both_alphabets() {
    assert_eq!(base64("aGVsbG8="), Some(b"hello".to_vec()));
    assert_eq!(base64("-_8"), base64("+/8="));
    assert_eq!(base64("a"), None);
    assert_eq!(base64("a b"), None);
}
