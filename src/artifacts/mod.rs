//! What hosts fetch from elsewhere, and the lists that lock it.
//!
//! In: what a role wants, by name and version. Out: the list of everything that takes, each with its digest. Never: a host, a
//! project's file written, or a digest that a server only announced: everything is fetched, and read.

mod maven;
mod npm;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::diag::Diagnostic;
use crate::step::Digest;

/// What a list is made from. The list itself repeats it in its head, so that it can be made again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// What it shall have, with all that it needs at run time: `GROUP:ARTIFACT:VERSION` of Maven, or `NAME@VERSION` of npm.
    pub roots: Vec<String>,
    /// What is left out, with what only that needs: `GROUP:ARTIFACT`; `*` stands for all.
    pub without: Vec<String>,
}

/// Who resolves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resolver {
    Maven,
    Npm,
}

const ROOT: &str = "# wants ";
const WITHOUT: &str = "# without ";

impl Wanted {
    /// What the head of a list says.
    pub fn of(list: &str) -> Self {
        let lines = |head: &str| {
            list.lines().filter_map(|line| line.strip_prefix(head)).map(|text| text.trim().to_owned()).collect()
        };
        Self { roots: lines(ROOT), without: lines(WITHOUT) }
    }

    /// Whether it can be meant.
    ///
    /// # Errors
    /// What is wrong, and how that is written.
    pub fn check(&self) -> Result<(), Diagnostic> {
        self.resolver().map(|_| ())
    }

    fn resolver(&self) -> Result<Resolver, Diagnostic> {
        if self.roots.is_empty() {
            return Err(Diagnostic::error("the lock file does not say which artifacts it was made from")
                .hint("name the artifacts: GROUP:ARTIFACT:VERSION of Maven, or NAME@VERSION of npm"));
        }
        let resolver = if self.roots.iter().any(|root| root.contains('@')) { Resolver::Npm } else { Resolver::Maven };
        let (fits, form): (fn(&str) -> bool, _) = match resolver {
            Resolver::Maven => (maven::is_artifact, "GROUP:ARTIFACT:VERSION"),
            Resolver::Npm => (npm::is_package, "NAME@VERSION"),
        };
        if let Some(wrong) = self.roots.iter().find(|root| !fits(root)) {
            return Err(Diagnostic::error(format!("`{}` is not {form}", wrong.escape_debug()))
                .hint("for example org.apache.kafka:kafka_2.13:4.4.0, or configurable-http-proxy@5.1.0"));
        }
        if resolver == Resolver::Npm && !self.without.is_empty() {
            return Err(Diagnostic::error("`--without` is for artifacts of Maven only"));
        }
        match self.without.iter().find(|text| !maven::is_excludable(text)) {
            Some(wrong) => Err(Diagnostic::error(format!("`{}` is not GROUP:ARTIFACT", wrong.escape_debug()))
                .hint("for example org.slf4j:slf4j-reload4j; `*` stands for all")),
            None => Ok(resolver),
        }
    }

    fn head(&self) -> String {
        let lines = |head: &str, all: &[String]| all.iter().map(|text| format!("{head}{text}\n")).collect::<Vec<_>>();
        let made = "# Made by `armilla artifacts lock`. To change it, run that again.\n";
        made.to_owned() + &lines(ROOT, &self.roots).concat() + &lines(WITHOUT, &self.without).concat()
    }
}

/// Resolves what is wanted, and gives the text of its list. It takes as long as all the downloads.
///
/// # Errors
/// When there is no Maven or npm, or it does not find everything.
pub fn lock(wanted: &Wanted) -> Result<String, Diagnostic> {
    let resolver = wanted.resolver()?;
    let failed = |error| Diagnostic::error(format!("cannot create a temporary directory: {error}"));
    let folder = tempfile::Builder::new().prefix("armilla-").tempdir().map_err(failed)?;
    let mut lines = match resolver {
        Resolver::Maven => maven::lines(wanted, folder.path()),
        Resolver::Npm => npm::lines(wanted, folder.path()),
    }?;
    lines.sort();
    Ok(wanted.head() + &lines.concat())
}

/// Runs a program in a folder, and gives its output.
fn run(program: &str, arguments: &[&str], folder: &Path) -> Result<String, Diagnostic> {
    #[expect(clippy::disallowed_methods, reason = "Maven and npm alone know what an artifact needs")]
    let output = Command::new(program).args(arguments).current_dir(folder).stdin(Stdio::null()).output();
    let output = output.map_err(|error| {
        let package = if program == "mvn" { "maven" } else { program };
        Diagnostic::error(format!("{program} cannot be started: {error}"))
            .hint(format!("install it on this machine (Debian: `apt install {package}`); hosts do not need it"))
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let lines = said.lines().map(|line| line.trim_start_matches("npm error").trim_start_matches("[ERROR]").trim());
    let first = lines.filter(|line| !line.is_empty()).nth(usize::from(program == "npm")).unwrap_or("it says nothing");
    Err(Diagnostic::error(format!("{program} could not resolve all artifacts: {first}"))
        .hint("check that the name and version exist: https://central.sonatype.com, https://www.npmjs.com"))
}

/// Of what is in a file.
fn digest(path: &Path) -> std::io::Result<String> {
    Ok(Digest::of(&fs::read(path)?).0)
}

/// What has no meaning in XML, JSON or a path.
fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('.') && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-+".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(roots: &[&str], without: &[&str]) -> Wanted {
        let owned = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect();
        Wanted { roots: owned(roots), without: owned(without) }
    }

    #[test]
    fn a_list_says_what_it_was_made_from() {
        let made = wanted(&["a.b:c:1", "d:e:2.0-rc"], &["*:*"]);
        assert_eq!(Wanted::of(&(made.head() + "a.b:c:1 sha256:00\n")), made);
        assert_eq!(made.resolver().expect("of Maven"), Resolver::Maven);
        assert_eq!(wanted(&["@a/b@1.0.0"], &[]).resolver().expect("of npm"), Resolver::Npm);
        assert!(Wanted::of("a:b:1 sha256:00\n").check().is_err());
    }

    #[test]
    fn what_is_no_artifact_is_refused_before_any_program_reads_it() {
        for wrong in
            ["", "a:b", "a:b:c:d", "a:b:</version>", "a::1", "a:b:1 ", "a@", "@a@1", "a@1;b", "../a@1", "a@latest b"]
        {
            assert!(wanted(&[wrong], &[]).check().is_err(), "{wrong}");
        }
        assert!(wanted(&["a:b:1"], &["a"]).check().is_err());
        assert!(wanted(&["a@1"], &["a:b"]).check().is_err());
        assert!(wanted(&["a@1", "a:b:1"], &[]).check().is_err(), "two resolvers");
    }
}
