//! The stories of `tests/script`: what is seen below each command is what is seen now.
//!
//! `ARMILLA_BLESS=1 cargo test --test suite stories` writes it anew.

use std::fs;
use std::path::{Path, PathBuf};

use armilla::sim::play;

fn stories() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/script");
    let entries = fs::read_dir(folder).expect("tests/script").flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|ending| ending == "txt")).collect();
    files.sort();
    files
}

#[test]
fn what_is_seen_is_what_is_written() {
    let bless = std::env::var_os("ARMILLA_BLESS").is_some();
    let mut different = Vec::new();
    for path in stories() {
        let written = fs::read_to_string(&path).expect("a story");
        let seen = play(&written).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if bless && seen != written {
            fs::write(&path, &seen).expect("a story can be written");
        } else if seen != written {
            let difference = similar::TextDiff::from_lines(&written, &seen).unified_diff().to_string();
            different.push(format!("{}\n{difference}", path.display()));
        }
    }
    assert!(different.is_empty(), "{}\nARMILLA_BLESS=1 writes them anew", different.join("\n"));
}

#[test]
fn there_are_stories() {
    assert!(stories().len() >= 5);
}
