//! The host program, for each architecture that there is one for.
//!
//! In: the places where it may lie. Out: its bytes and digest. Never: a program for another architecture.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::step::Digest;

/// The name of the program for the architecture of this machine, beside armilla itself.
const NAME: &str = "armilla-host";

/// The host programs that can be brought to hosts. Each is read when it is first needed.
#[derive(Debug, Clone, Default)]
pub struct Programs {
    found: Arc<OnceLock<Result<Vec<Program>, String>>>,
    given: Vec<PathBuf>,
}

/// A host program.
#[derive(Debug, Clone)]
pub(super) struct Program {
    /// As `uname -m` names it.
    architecture: String,
    pub(super) digest: Digest,
    pub(super) bytes: Arc<[u8]>,
}

impl Programs {
    /// Those in these files, and those that are installed.
    pub fn new(given: Vec<PathBuf>) -> Self {
        Self { found: Arc::default(), given }
    }

    fn all(&self) -> Result<&[Program], String> {
        let found = self.found.get_or_init(|| {
            let own = std::env::current_exe().map_err(|error| format!("the path of armilla is unknown: {error}"))?;
            let files = [self.given.clone(), installed(&own)].concat();
            if files.is_empty() {
                return Err(format!(
                    "the host program {NAME} is neither beside {} nor in ../lib/armilla",
                    own.display()
                ));
            }
            files.iter().map(|file| read(file)).collect()
        });
        found.as_deref().map_err(Clone::clone)
    }

    /// The digests, with blanks between.
    ///
    /// # Errors
    /// When there is no program at all.
    pub(super) fn digests(&self) -> Result<String, String> {
        let digests: Vec<&str> = self.all()?.iter().map(|program| program.digest.0.as_str()).collect();
        Ok(digests.join(" "))
    }

    /// The one for an architecture, as `uname -m` names it.
    ///
    /// # Errors
    /// When there is none; with how to make it.
    pub(super) fn of(&self, architecture: &str) -> Result<&Program, String> {
        let known = self.all()?.iter().find(|program| program.architecture == architecture);
        known.ok_or_else(|| {
            let plain = architecture.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let architecture = if plain && !architecture.is_empty() { architecture } else { "unknown" };
            format!(
                "there is no host program for the architecture {architecture}: build it \
                 (cargo build --release --bin {NAME} --target {architecture}-unknown-linux-musl) and give it with \
                 --host-program, or put it into lib/armilla/ beside the directory of armilla"
            )
        })
    }
}

/// Those beside armilla itself and in `../lib/armilla`.
fn installed(own: &Path) -> Vec<PathBuf> {
    let directory = own.parent().unwrap_or(Path::new("/"));
    // The tests of Cargo lie one directory below the programs.
    let beside = [directory.join(NAME), directory.join("..").join(NAME)].into_iter().find(|file| file.is_file());
    let more = fs::read_dir(directory.join("../lib/armilla")).into_iter().flatten().flatten().map(|entry| entry.path());
    beside.into_iter().chain(more).collect()
}

fn read(file: &Path) -> Result<Program, String> {
    let bytes = fs::read(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    let architecture = architecture(&bytes).ok_or_else(|| format!("{} is no Linux program", file.display()))?;
    Ok(Program { architecture: architecture.to_owned(), digest: Digest::of(&bytes), bytes: bytes.into() })
}

/// The machine of an ELF file, as `uname -m` names it (elf(5), `e_machine`).
fn architecture(bytes: &[u8]) -> Option<&'static str> {
    if !bytes.starts_with(b"\x7fELF") {
        return None;
    }
    let (class, order) = (*bytes.get(4)?, *bytes.get(5)?);
    let machine = bytes.get(18..20)?.first_chunk::<2>()?;
    let machine = if order == 2 { u16::from_be_bytes(*machine) } else { u16::from_le_bytes(*machine) };
    match (machine, class, order) {
        (3, ..) => Some("i686"),
        (22, ..) => Some("s390x"),
        (21, _, 1) => Some("ppc64le"),
        (40, ..) => Some("armv7l"),
        (62, ..) => Some("x86_64"),
        (183, ..) => Some("aarch64"),
        (243, 2, _) => Some("riscv64"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_says_for_which_machine_it_is() {
        let own = fs::read("/proc/self/exe").expect("this test");
        assert_eq!(architecture(&own), Some(std::env::consts::ARCH));
        assert_eq!(architecture(b"#!/bin/sh\n"), None);
        assert_eq!(architecture(b"\x7fELF\x02\x01"), None);
    }

    #[test]
    fn a_machine_without_a_program_is_named_with_the_way_to_make_it() {
        let programs = Programs::new(vec!["/proc/self/exe".into()]);
        assert!(programs.of(std::env::consts::ARCH).is_ok());
        let why = programs.of("riscv64").expect_err("none");
        assert!(why.contains("riscv64") && why.contains("cargo build") && why.contains("--host-program"), "{why}");
        assert!(Programs::new(vec!["/no/such".into()]).digests().expect_err("none").contains("/no/such"));
    }
}
