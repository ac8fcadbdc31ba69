//! Locked lists of jars, resolved by Maven.
//!
//! In: coordinates. Out: the text of a list for the kind `maven`. Never: a digest that a server only announced: every jar is
//! fetched, and read.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest as _, Sha256};

use crate::diag::Diagnostic;

/// What a list is made from. The list itself repeats it in its head, so that it can be made again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Artifacts with all that they need at run time: `GROUP:ARTIFACT:VERSION`.
    pub roots: Vec<String>,
    /// Artifacts that are left out, with what only they need: `GROUP:ARTIFACT`; `*` stands for all.
    pub without: Vec<String>,
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
    /// Which coordinates are wrong, and how they are written.
    pub fn check(&self) -> Result<(), Diagnostic> {
        if self.roots.is_empty() {
            return Err(Diagnostic::error("the list has no head that says what it was made from")
                .hint("name what it shall have, as GROUP:ARTIFACT:VERSION"));
        }
        let parts = |text: &str, count: usize| text.split(':').count() == count && text.split(':').all(is_word);
        if let Some(wrong) = self.roots.iter().find(|text| !parts(text, 3)) {
            return Err(Diagnostic::error(format!("`{}` is not GROUP:ARTIFACT:VERSION", wrong.escape_debug()))
                .hint("for example org.apache.kafka:kafka_2.13:4.4.0"));
        }
        match self.without.iter().find(|text| !parts(text, 2)) {
            Some(wrong) => Err(Diagnostic::error(format!("`{}` is not GROUP:ARTIFACT", wrong.escape_debug()))
                .hint("for example org.slf4j:slf4j-reload4j; `*` stands for all")),
            None => Ok(()),
        }
    }

    fn head(&self) -> String {
        let lines = |head: &str, all: &[String]| all.iter().map(|text| format!("{head}{text}\n")).collect::<String>();
        let made = "# Made by `armilla artifacts lock`. To change it, run that again.\n";
        format!("{made}{}{}", lines(ROOT, &self.roots), lines(WITHOUT, &self.without))
    }

    /// A project that needs nothing but this: <https://maven.apache.org/pom.html>.
    fn project(&self) -> String {
        let tag = |name: &str, text: &str| format!("<{name}>{text}</{name}>");
        let exclusion = |text: &String| {
            let (group, artifact) = text.split_once(':').unwrap_or_default();
            tag("exclusion", &(tag("groupId", group) + &tag("artifactId", artifact)))
        };
        let without = tag("exclusions", &self.without.iter().map(exclusion).collect::<String>());
        let dependency = |text: &String| {
            let mut parts = text.split(':');
            let mut next = |name: &str| tag(name, parts.next().unwrap_or_default());
            tag("dependency", &(next("groupId") + &next("artifactId") + &next("version") + &without))
        };
        let itself = "<modelVersion>4.0.0</modelVersion><groupId>armilla</groupId><artifactId>lock</artifactId><version>1</version>";
        let all = tag("dependencies", &self.roots.iter().map(dependency).collect::<String>());
        tag("project", &(itself.to_owned() + &all))
    }
}

/// Resolves what is wanted, and gives the text of its list. It takes as long as all the downloads.
///
/// # Errors
/// When there is no Maven, or it does not find an artifact.
pub fn lock(wanted: &Wanted) -> Result<String, Diagnostic> {
    wanted.check()?;
    let failed = |error: std::io::Error| Diagnostic::error(format!("the jars cannot be read: {error}"));
    let folder = tempfile::Builder::new().prefix("armilla-").tempdir().map_err(failed)?;
    fs::write(folder.path().join("pom.xml"), wanted.project()).map_err(failed)?;
    resolve(folder.path())?;
    let repository = folder.path().join("jars");
    let mut lines = Vec::new();
    for jar in jars(&repository).map_err(failed)? {
        let place = jar.strip_prefix(&repository).unwrap_or(&jar);
        let coordinates = coordinates(place).ok_or_else(|| {
            Diagnostic::error(format!("Maven brought a file with an unknown name: {}", place.display()))
        })?;
        lines.push(format!("{coordinates} sha256:{}\n", digest(&jar).map_err(failed)?));
    }
    lines.sort();
    Ok(wanted.head() + &lines.concat())
}

/// Has Maven fetch everything into `jars`, laid out as in a repository.
fn resolve(folder: &Path) -> Result<(), Diagnostic> {
    #[expect(clippy::disallowed_methods, reason = "Maven alone knows what an artifact needs")]
    let mut command = Command::new("mvn");
    let goal =
        ["--batch-mode", "--quiet", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=jars"];
    let command = command.args(goal).arg("-Dmdep.useRepositoryLayout=true").current_dir(folder).stdin(Stdio::null());
    let output = command.output().map_err(|error| {
        Diagnostic::error(format!("Maven cannot be started: {error}"))
            .hint("install it on this machine (Debian: `apt install maven`); hosts do not need it")
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let first = said
        .lines()
        .filter_map(|line| line.strip_prefix("[ERROR] "))
        .find(|line| !line.trim().is_empty())
        .unwrap_or("it says nothing")
        .to_owned();
    Err(Diagnostic::error(format!("Maven does not find everything: {first}"))
        .hint("search for the artifact and its versions: https://central.sonatype.com"))
}

/// Every jar below a folder.
fn jars(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "jar") {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// `GROUP:ARTIFACT:VERSION`, and the classifier if there is one, of a place in a repository:
/// <https://maven.apache.org/repository/layout.html>.
fn coordinates(place: &Path) -> Option<String> {
    let parts: Vec<&str> = place.to_str()?.split('/').collect();
    let [group @ .., artifact, version, file] = parts.as_slice() else { return None };
    let rest = file.strip_suffix(".jar")?.strip_prefix(artifact)?.strip_prefix('-')?.strip_prefix(version)?;
    let classifier = match rest.strip_prefix('-') {
        Some(classifier) => format!(":{classifier}"),
        None if rest.is_empty() => String::new(),
        None => return None,
    };
    (!group.is_empty()).then(|| format!("{}:{artifact}:{version}{classifier}", group.join(".")))
}

fn digest(path: &Path) -> std::io::Result<String> {
    let mut file = fs::File::open(path)?;
    let (mut all, mut piece) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(all.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            count => all.update(&piece[..count]),
        }
    }
}

/// What has no meaning in XML, nor in a path.
fn is_word(text: &str) -> bool {
    text == "*" || !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-+".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_repository_says_what_lies_there() {
        let of = |place: &str| coordinates(Path::new(place));
        assert_eq!(
            of("org/apache/kafka/kafka-clients/4.4.0/kafka-clients-4.4.0.jar").as_deref(),
            Some("org.apache.kafka:kafka-clients:4.4.0")
        );
        assert_eq!(of("a/b/1.0/b-1.0-linux-x86_64.jar").as_deref(), Some("a:b:1.0:linux-x86_64"));
        // A snapshot has a time in its name.
        assert_eq!(of("a/b/1-SNAPSHOT/b-1-20260101.1-1.jar"), None);
        assert_eq!(of("b/1.0/b-1.0.jar"), None);
    }

    #[test]
    fn a_list_says_what_it_was_made_from() {
        let wanted =
            Wanted { roots: vec!["a.b:c:1".to_owned(), "d:e:2.0-rc".to_owned()], without: vec!["*:*".to_owned()] };
        assert_eq!(Wanted::of(&(wanted.head() + "a.b:c:1 sha256:00\n")), wanted);
        assert!(wanted.check().is_ok());
        assert_eq!(
            wanted.project().matches("<exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion>").count(),
            2
        );
    }

    #[test]
    fn what_is_no_artifact_is_refused_before_maven_reads_it() {
        let check = |root: &str, without: &[&str]| {
            let without = without.iter().map(|text| (*text).to_owned()).collect();
            Wanted { roots: vec![root.to_owned()], without }.check()
        };
        for wrong in ["", "a:b", "a:b:c:d", "a:b:</version>", "a::1", "a:b:1 "] {
            assert!(check(wrong, &[]).is_err(), "{wrong}");
        }
        assert!(check("a:b:1", &["a"]).is_err());
        assert!(Wanted::of("a:b:1 sha256:00\n").check().is_err());
    }
}
