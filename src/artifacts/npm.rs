//! Packages, resolved by npm.
//!
//! In: names with versions. Out: the lines of a list for the kind `npm`. Never: a script of a package run, or a decision about
//! versions: they are npm's.
//!
//! The file that npm writes: <https://docs.npmjs.com/cli/v10/configuring-npm/package-lock-json> (`lockfileVersion` 3).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::{Wanted, digest, is_word, run};
use crate::diag::Diagnostic;

/// `NAME@VERSION`, with a scope or without.
pub(super) fn is_package(text: &str) -> bool {
    let Some((name, version)) = text.rsplit_once('@') else { return false };
    let named = match name.strip_prefix('@') {
        Some(scoped) => scoped.split_once('/').is_some_and(|(scope, name)| is_word(scope) && is_word(name)),
        None => is_word(name),
    };
    named && is_word(version)
}

#[derive(Deserialize)]
struct PackageLock {
    packages: BTreeMap<String, Locked>,
}

/// A package, by its place.
#[derive(Deserialize)]
struct Locked {
    version: Option<String>,
    /// Set where the place has another name than the package.
    name: Option<String>,
    /// For other systems than this one, perhaps.
    #[serde(default)]
    optional: bool,
}

#[derive(Deserialize)]
struct Archive {
    filename: String,
}

/// The lines of the list, in any order.
pub(super) fn lines(wanted: &Wanted, folder: &Path) -> Result<Vec<String>, Diagnostic> {
    let failed = |error: std::io::Error| Diagnostic::error(format!("the packages cannot be read: {error}"));
    let unread = |error| Diagnostic::error(format!("what npm writes cannot be read: {error}"));
    let split = |root: &String| root.rsplit_once('@').map(|(name, version)| (name.to_owned(), version.to_owned()));
    let roots: BTreeMap<String, String> = wanted.roots.iter().filter_map(split).collect();
    let project = serde_json::json!({ "name": "lock", "version": "1.0.0", "private": true, "dependencies": roots });
    fs::write(folder.join("package.json"), project.to_string()).map_err(failed)?;
    let quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    run("npm", &[&["install", "--package-lock-only", "--omit=optional"], &quiet[..]].concat(), folder)?;
    let lock = fs::read(folder.join("package-lock.json")).map_err(failed)?;
    let lock: PackageLock = serde_json::from_slice(&lock).map_err(unread)?;
    let mut lines = Vec::new();
    for (place, name) in packages(lock) {
        let said = run("npm", &[&["pack", "--json", &name], &quiet[..]].concat(), folder)?;
        let archives: Vec<Archive> = serde_json::from_str(&said).map_err(unread)?;
        for archive in archives {
            let sha256 = digest(&folder.join(archive.filename)).map_err(failed)?;
            lines.push(format!("{place} {name} sha256:{sha256}\n"));
        }
    }
    Ok(lines)
}

/// The place and `NAME@VERSION` of each. The project itself has none.
fn packages(lock: PackageLock) -> Vec<(String, String)> {
    let one = |(place, locked): (String, Locked)| {
        let name = locked.name.or_else(|| place.rsplit_once("node_modules/").map(|(_, name)| name.to_owned()))?;
        let version = locked.version.filter(|_| !locked.optional)?;
        Some((place, format!("{name}@{version}")))
    };
    lock.packages.into_iter().filter(|(place, _)| !place.is_empty()).filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_package_of_a_lock_file_has_its_place() {
        let text = r#"{ "lockfileVersion": 3, "packages": {
            "": { "name": "lock", "version": "1.0.0" },
            "node_modules/@a/b": { "version": "1.2.0" },
            "node_modules/c": { "version": "2.0.0", "name": "other" },
            "node_modules/c/node_modules/d": { "version": "3.0.0-rc.1" },
            "node_modules/fsevents": { "version": "1.0.0", "optional": true } } }"#;
        let found = packages(serde_json::from_str(text).expect("a lock file"));
        let found: Vec<(&str, &str)> = found.iter().map(|(place, name)| (place.as_str(), name.as_str())).collect();
        assert_eq!(
            found,
            [
                ("node_modules/@a/b", "@a/b@1.2.0"),
                ("node_modules/c", "other@2.0.0"),
                ("node_modules/c/node_modules/d", "d@3.0.0-rc.1"),
            ]
        );
    }
}
