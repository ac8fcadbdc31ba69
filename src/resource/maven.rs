//! `maven`: a directory with the jars of a locked list, from a Maven repository.
//!
//! In: `GROUP:ARTIFACT:VERSION`, perhaps with a classifier. Out: where that lies, and what it is called. Never: anything else
//! than jars, or a snapshot, whose name has a time in it.
//!
//! The layout of a repository: <https://maven.apache.org/repository/layout.html>.

use super::listed::{Entry, Listed, Repository, is_word};

pub(super) type Maven = Listed<Central>;

/// Maven Central, or a mirror of it.
#[derive(Debug, Clone)]
pub(super) enum Central {}

impl Repository for Central {
    const NAME: &'static str = "maven";
    const SUMMARY: &'static str = "A directory with the jars of a locked list, from a Maven repository";
    const EXAMPLE: &'static str =
        "maven: { path: /opt/blazegraph-2.1.5, src: blazegraph.lock, link: /opt/blazegraph, keep: 1 }";
    const THINGS: &'static str = "jars";
    const PUBLIC: &'static str = "https://repo.maven.apache.org/maven2";
    const LINE: &'static str = "GROUP:ARTIFACT:VERSION";
    const STRIP: Option<u32> = None;

    fn parse(line: &str) -> Option<Entry> {
        let parts: Vec<&str> = line.split(':').collect();
        let (group, artifact, version, classifier) = match parts[..] {
            [group, artifact, version] => (group, artifact, version, String::new()),
            [group, artifact, version, classifier] => (group, artifact, version, format!("-{classifier}")),
            _ => return None,
        };
        let place = format!("{artifact}-{version}{classifier}.jar");
        let address = format!("{}/{artifact}/{version}/{place}", group.replace('.', "/"));
        let fine = parts.iter().all(|part| is_word(part)) && group.split('.').all(|part| !part.is_empty());
        fine.then_some(Entry { place, address })
    }
}
