//! The files: each valid message, mutations that took a way of their own, and what once failed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Target;
use crate::chance::Chance;
use crate::mutate::mutated;

/// Mutations that are tried for ways of their own when the corpus is written.
const TRIES: u64 = 20_000;

/// Ways beyond those of the valid messages that get a file.
const WAYS_MAX: usize = 12;

fn folder(target: &Target) -> PathBuf {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    corpus.join(target.name)
}

/// Names and bytes of the target's files.
pub(crate) fn files(target: &Target) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder(target)).unwrap().map(Result::unwrap);
    let mut files: Vec<_> = entries
        .map(|it| (it.file_name().into_string().unwrap(), it.path()))
        .map(|(name, path)| (name, fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

/// The part of the corpus that is made of valid messages: the same whenever it is made.
fn generated(target: &Target) -> BTreeMap<String, Vec<u8>> {
    let valid = (target.valid)();
    let mut ways: Vec<String> = valid.iter().map(|it| (target.read)(it)).collect();
    let numbered = valid.iter().enumerate();
    let mut files: BTreeMap<_, _> = numbered
        .map(|(n, bytes)| (format!("valid-{n:02}"), bytes.clone()))
        .collect();
    let mut chance = Chance::new(0);
    let mut near = 0;
    for _ in 0..TRIES {
        let [bytes, other] = [(); 2].map(|()| &valid[chance.below(valid.len() as u64) as usize]);
        let bytes = mutated(bytes, other, &mut chance);
        let way = (target.read)(&bytes);
        if near < WAYS_MAX && !ways.contains(&way) {
            files.insert(format!("near-{near:02}"), bytes);
            near += 1;
            ways.push(way);
        }
    }
    files
}

/// Writes the generated files, and takes away those that are generated no more.
pub(crate) fn write(target: &Target) {
    let folder = folder(target);
    fs::create_dir_all(&folder).unwrap();
    for (name, _) in files(target) {
        if name.starts_with("valid-") || name.starts_with("near-") {
            fs::remove_file(folder.join(name)).unwrap();
        }
    }
    for (name, bytes) in generated(target) {
        fs::write(folder.join(name), bytes).unwrap();
    }
}
