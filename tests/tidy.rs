//! House rules that no compiler checks, as tests.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "integration test: a panic is its way to fail"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const LINES_MAX: usize = 500;
const COLUMNS_MAX: usize = 100;

/// What the pure crates may depend on: no clock, socket, file or runtime among it.
const PURE_DEPENDENCIES: &[&str] = &[
    "bincode",
    "lz4_flex",
    "miniz_oxide",
    "sandbox-protocol",
    "serde",
    "serde_json",
    "thiserror",
    "xxhash-rust",
];
const PURE_CRATES: [&str; 2] = ["protocol", "daemon/core"];

/// What pure code may not name. Addresses (`IpAddr`, `SocketAddr`) are plain values and may.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::io",
    "std::thread",
    "std::process",
    "std::env",
    "std::os",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixDatagram",
    "Instant::now",
    "SystemTime",
    "async fn",
    ".await",
];

/// Where the design lists `unsafe`.
const UNSAFE_PLACES: &[&str] = &["daemon/jail/src/sys", "daemon/desktop/src/framebuffer"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// Every file of the project by its path from the root, build outputs left out.
fn files() -> BTreeMap<String, PathBuf> {
    fn walk(dir: &Path, root: &Path, out: &mut BTreeMap<String, PathBuf>) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = entry.file_name().into_string().unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() && !matches!(name.as_str(), "target" | ".git" | "node_modules") {
                walk(&path, root, out);
            } else if kind.is_file() && name != ".git" {
                let shown = path
                    .strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                out.insert(shown, path);
            }
        }
    }
    let mut out = BTreeMap::new();
    walk(&root(), &root(), &mut out);
    out
}

/// The project's texts whose names end in one of `endings`.
fn texts(endings: &[&str]) -> Vec<(String, String)> {
    files()
        .into_iter()
        .filter(|(shown, _)| endings.iter().any(|it| shown.ends_with(it)))
        .map(|(shown, path)| (shown, fs::read_to_string(path).unwrap()))
        .collect()
}

#[track_caller]
fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// The line without what follows `//`, and without what stands in quotes.
fn code(line: &str) -> String {
    let line = line.split("//").next().unwrap_or_default();
    line.split('"').step_by(2).collect::<Vec<_>>().join("\"\"")
}

#[test]
fn pure_crates_depend_on_nothing_that_reads_a_clock_or_a_socket() {
    let mut faults = Vec::new();
    for name in PURE_CRATES {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        let mut section = "";
        for line in manifest.lines().map(str::trim) {
            if line.starts_with('[') {
                section = line;
                let is_build = line.contains("build-dependencies") || line.contains("target.");
                if is_build {
                    faults.push(format!("{name}/Cargo.toml: {line} in a pure crate"));
                }
            } else if section == "[dependencies]" && line.contains('=') {
                let dependency = line.split(['.', '=', ' ']).next().unwrap();
                if !PURE_DEPENDENCIES.contains(&dependency) {
                    faults.push(format!(
                        "{name}/Cargo.toml: {dependency} is not known as pure"
                    ));
                }
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn pure_crates_name_no_clock_socket_file_or_runtime() {
    let mut faults = Vec::new();
    let is_pure = |shown: &str| {
        let folders = PURE_CRATES.map(|it| format!("{it}/src/"));
        folders.iter().any(|it| shown.starts_with(it)) && !shown.ends_with("tests.rs")
    };
    for (shown, text) in texts(&[".rs"]) {
        if !is_pure(&shown) {
            continue;
        }
        // Tests need a first instant from somewhere.
        let lines = text
            .lines()
            .take_while(|it| !it.starts_with("#[cfg(test)]"));
        for (n, line) in lines.enumerate() {
            let line = code(line);
            for word in IMPURE.iter().filter(|it| line.contains(**it)) {
                faults.push(format!("{shown}:{}: {word} in a pure crate", n + 1));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn no_tokio_runtime_is_linked() {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--workspace",
            "--locked",
            "-e",
            "normal",
            "-i",
            "tokio",
            "-f",
            "{p} {f}",
        ])
        .args(["--prefix", "none"])
        .current_dir(root())
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    if !output.status.success() {
        assert!(
            err.contains("did not match any packages"),
            "cargo tree: {err}"
        );
        return;
    }
    let mut lines = out
        .lines()
        .filter(|it| it.starts_with("tokio v"))
        .peekable();
    assert!(
        lines.peek().is_some() || err.contains("nothing to print"),
        "{out}{err}"
    );
    for line in lines {
        let features: BTreeSet<&str> = line.rsplit(' ').next().unwrap().split(',').collect();
        for runtime in [
            "rt",
            "rt-multi-thread",
            "net",
            "time",
            "mio",
            "process",
            "signal",
        ] {
            assert!(
                !features.contains(runtime),
                "tokio is linked with {runtime}: {line}"
            );
        }
    }
}

fn may_be_unsafe(shown: &str) -> bool {
    let in_hw_sys = shown.strip_prefix("hw/src/").is_some_and(|rest| {
        rest.split_once('/')
            .is_some_and(|(_, name)| name.starts_with("sys"))
    });
    in_hw_sys || UNSAFE_PLACES.iter().any(|it| shown.starts_with(it))
}

#[test]
fn unsafe_stands_only_where_the_design_lists_it_and_says_why() {
    let mut faults = Vec::new();
    for (shown, text) in texts(&[".rs"]) {
        let lines: Vec<&str> = text.lines().collect();
        for (n, line) in lines.iter().enumerate() {
            let line = code(line);
            let is_unsafe = line
                .split(|it: char| !it.is_alphanumeric() && it != '_')
                .any(|it| it == "unsafe");
            if !is_unsafe {
                continue;
            }
            if !may_be_unsafe(&shown) {
                faults.push(format!(
                    "{shown}:{}: unsafe outside the listed files",
                    n + 1
                ));
            } else if line.contains("unsafe {") && !is_explained(&lines, n) {
                faults.push(format!("{shown}:{}: unsafe without `// SAFETY:`", n + 1));
            }
        }
    }
    assert_none(&faults);
}

/// A `SAFETY` comment stands close above; clippy holds it to the block.
fn is_explained(lines: &[&str], at: usize) -> bool {
    lines[at.saturating_sub(12)..at]
        .iter()
        .any(|it| it.contains("// SAFETY:"))
}

#[test]
fn files_are_short_or_listed_and_the_list_only_shrinks() {
    let list = fs::read_to_string(root().join("tests/long-files.txt")).unwrap();
    let mut listed: BTreeMap<&str, usize> = list
        .lines()
        .filter(|it| !it.starts_with('#') && !it.is_empty())
        .map(|it| it.split_once(' ').unwrap())
        .map(|(shown, lines)| (shown, lines.trim().parse().unwrap()))
        .collect();
    let mut faults = Vec::new();
    let sources = texts(&[".rs", ".js", ".mjs", ".css", ".sh"]);
    for (shown, text) in &sources {
        let lines = text.lines().count();
        let allowed = listed.remove(shown.as_str());
        match allowed {
            Some(allowed) if lines > allowed => {
                faults.push(format!("{shown}: grew from {allowed} to {lines} lines"));
            }
            Some(allowed) if lines < allowed || lines <= LINES_MAX => {
                faults.push(format!(
                    "{shown}: has {lines} lines, tests/long-files.txt says {allowed}"
                ));
            }
            None if lines > LINES_MAX => {
                faults.push(format!("{shown}: {lines} lines, more than {LINES_MAX}"));
            }
            Some(_) | None => (),
        }
    }
    faults.extend(
        listed
            .keys()
            .map(|it| format!("tests/long-files.txt: {it} is not there")),
    );
    assert_none(&faults);
}

#[test]
fn every_source_says_on_its_first_line_what_it_is_for() {
    let mut faults = Vec::new();
    for (shown, text) in texts(&[".rs"]) {
        if !text.starts_with("//! ") {
            faults.push(format!("{shown}: no `//! what it is for` on line 1"));
        }
    }
    for (shown, text) in texts(&[".js", ".mjs", ".css"]) {
        if !text.starts_with("//") && !text.starts_with("/*") {
            faults.push(format!("{shown}: no comment on line 1"));
        }
    }
    for (shown, text) in scripts() {
        let is_commented = text.lines().nth(1).is_some_and(|it| it.starts_with("# "));
        if !text.contains("uo pipefail\n") || !is_commented {
            faults.push(format!(
                "{shown}: no comment on line 2, or no `set -…uo pipefail`"
            ));
        }
    }
    assert_none(&faults);
}

/// The shell programs, which have no ending to know them by.
fn scripts() -> Vec<(String, String)> {
    files()
        .into_iter()
        .filter_map(|(shown, path)| Some((shown, fs::read_to_string(path).ok()?)))
        .filter(|(_, text)| text.starts_with("#!/usr/bin/env bash"))
        .collect()
}

#[test]
fn lines_fit_a_screen() {
    let mut faults = Vec::new();
    let sources = texts(&[".rs", ".js", ".mjs", ".css"]).into_iter();
    for (shown, text) in sources.chain(scripts()) {
        for (n, line) in text.lines().enumerate() {
            // rustfmt breaks code; what it leaves long are texts in quotes, which stay whole.
            let is_formatted = shown.ends_with(".rs") && !line.trim_start().starts_with("//");
            if !is_formatted && line.chars().count() > COLUMNS_MAX {
                faults.push(format!(
                    "{shown}:{}: wider than {COLUMNS_MAX} columns",
                    n + 1
                ));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn files_speak_of_the_project_alone_and_promise_nothing() {
    // In pieces, so that this file does not hold them.
    let words = [
        concat!("/wo", "rk/"),
        concat!("../sha", "red"),
        concat!("issues", " show"),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
    ];
    let mut faults = Vec::new();
    for (shown, path) in files() {
        let Ok(text) = fs::read_to_string(path) else {
            continue;
        };
        for (n, line) in text.lines().enumerate() {
            for word in words.iter().filter(|it| line.contains(**it)) {
                faults.push(format!("{shown}:{}: {word}", n + 1));
            }
        }
    }
    assert_none(&faults);
}

/// The targets of the Makefile, and those that `make help` shows.
fn targets() -> (BTreeSet<String>, BTreeSet<String>) {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let rules = makefile.lines().filter(|it| {
        it.starts_with(|it: char| it.is_ascii_lowercase()) && it.contains(':') && !it.contains(":=")
    });
    let mut all = BTreeSet::new();
    let mut shown = BTreeSet::new();
    for rule in rules {
        let name = rule.split(':').next().unwrap().to_owned();
        if rule.contains("## ") {
            shown.insert(name.clone());
        }
        all.insert(name);
    }
    (all, shown)
}

#[test]
fn make_help_shows_every_target_and_only_those() {
    let (all, shown) = targets();
    assert_eq!(all, shown);
    let output = Command::new("make")
        .arg("help")
        .current_dir(root())
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let printed: BTreeSet<String> = help
        .lines()
        .filter_map(|it| it.strip_prefix("  make "))
        .map(|it| it.split_whitespace().next().unwrap().to_owned())
        .collect();
    assert_eq!(printed, all);
}

#[test]
fn documents_name_only_targets_that_exist() {
    let (all, _) = targets();
    let mut faults = Vec::new();
    for (shown, text) in texts(&[".md"]) {
        let fenced = text.split("```").skip(1).step_by(2).flat_map(str::lines);
        let quoted = text.split('`').skip(1).step_by(2);
        for command in fenced.chain(quoted) {
            let Some(rest) = command.trim().strip_prefix("make ") else {
                continue;
            };
            let name = rest.split_whitespace().next().unwrap_or_default();
            let is_name = name.chars().all(|it| it.is_ascii_lowercase() || it == '-');
            if is_name && !all.contains(name) {
                faults.push(format!("{shown}: `make {name}` does not exist"));
            }
        }
    }
    assert_none(&faults);
}
