//! Jars, resolved by Maven.
//!
//! In: coordinates. Out: the lines of a list for the kind `maven`. Never: a decision about versions: they are Maven's.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Wanted, digest, is_word, run};
use crate::diag::Diagnostic;

/// `GROUP:ARTIFACT:VERSION`.
pub(super) fn is_artifact(text: &str) -> bool {
    text.split(':').count() == 3 && text.split(':').all(is_word)
}

/// `GROUP:ARTIFACT`, either of which may be `*`.
pub(super) fn is_excludable(text: &str) -> bool {
    text.split(':').count() == 2 && text.split(':').all(|part| part == "*" || is_word(part))
}

/// The lines of the list, in any order.
pub(super) fn lines(wanted: &Wanted, folder: &Path) -> Result<Vec<String>, Diagnostic> {
    let failed = |error: std::io::Error| Diagnostic::error(format!("the jars cannot be read: {error}"));
    fs::write(folder.join("pom.xml"), project(wanted)).map_err(failed)?;
    let goal =
        ["--batch-mode", "--quiet", "-Dstyle.color=never", "dependency:copy-dependencies", "-DincludeScope=runtime"];
    let into = ["-DoutputDirectory=jars", "-Dmdep.useRepositoryLayout=true"];
    run("mvn", &[&goal[..], &into].concat(), folder)?;
    let repository = folder.join("jars");
    let line = |jar: PathBuf| {
        let place = jar.strip_prefix(&repository).unwrap_or(&jar);
        let unknown = || Diagnostic::error(format!("Maven brought a file with an unknown name: {}", place.display()));
        Ok(format!("{} sha256:{}\n", coordinates(place).ok_or_else(unknown)?, digest(&jar).map_err(failed)?))
    };
    jars(&repository).map_err(failed)?.into_iter().map(line).collect()
}

/// A project that needs nothing but this: <https://maven.apache.org/pom.html>.
fn project(wanted: &Wanted) -> String {
    let tag = |name: &str, text: &str| format!("<{name}>{text}</{name}>");
    let exclusion = |text: &String| {
        let (group, artifact) = text.split_once(':').unwrap_or_default();
        tag("exclusion", &(tag("groupId", group) + &tag("artifactId", artifact)))
    };
    let without = tag("exclusions", &wanted.without.iter().map(exclusion).collect::<String>());
    let dependency = |text: &String| {
        let mut parts = text.split(':');
        let mut next = |name: &str| tag(name, parts.next().unwrap_or_default());
        tag("dependency", &(next("groupId") + &next("artifactId") + &next("version") + &without))
    };
    let itself =
        "<modelVersion>4.0.0</modelVersion><groupId>armilla</groupId><artifactId>lock</artifactId><version>1</version>";
    let all = tag("dependencies", &wanted.roots.iter().map(dependency).collect::<String>());
    tag("project", &(itself.to_owned() + &all))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_repository_says_what_lies_there() {
        let of = |place: &str| coordinates(Path::new(place));
        let clients = of("org/apache/kafka/kafka-clients/4.4.0/kafka-clients-4.4.0.jar");
        assert_eq!(clients.as_deref(), Some("org.apache.kafka:kafka-clients:4.4.0"));
        assert_eq!(of("a/b/1.0/b-1.0-linux-x86_64.jar").as_deref(), Some("a:b:1.0:linux-x86_64"));
        // A snapshot has a time in its name.
        assert_eq!(of("a/b/1-SNAPSHOT/b-1-20260101.1-1.jar"), None);
        assert_eq!(of("b/1.0/b-1.0.jar"), None);
    }

    #[test]
    fn what_is_left_out_is_left_out_of_every_artifact() {
        let all = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let text = project(&Wanted { roots: all(&["a.b:c:1", "d:e:2"]), without: all(&["*:*"]) });
        let exclusion = "<exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion>";
        assert_eq!(text.matches(exclusion).count(), 2);
        assert!(text.contains("<groupId>d</groupId><artifactId>e</artifactId><version>2</version>"));
    }
}
