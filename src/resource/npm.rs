//! `npm`: a directory with the packages of a locked list, from an npm registry.
//!
//! In: the place of a package as `npm install` would choose it, its name and version. Out: where its archive is. Never: npm on
//! the host, or a script of a package.
//!
//! What packages are called: <https://docs.npmjs.com/cli/v10/configuring-npm/package-json#name>; the address of their archives
//! is that of `dist.tarball` in <https://github.com/npm/registry/blob/main/docs/responses/package-metadata.md>.

use super::listed::{Entry, Listed, Repository, is_word};

pub(super) type Npm = Listed<Registry>;

/// The registry of npm, or a mirror of it.
#[derive(Debug, Clone)]
pub(super) enum Registry {}

impl Repository for Registry {
    const NAME: &'static str = "npm";
    const SUMMARY: &'static str = "A directory with the packages of a locked list, from an npm registry";
    const EXAMPLE: &'static str = "npm: { path: /opt/proxy-5.1.0, src: proxy.lock, link: /opt/proxy, keep: 1 }";
    const THINGS: &'static str = "packages";
    const PUBLIC: &'static str = "https://registry.npmjs.org";
    const LINE: &'static str = "node_modules/NAME NAME@VERSION";
    // What npm packs lies in one folder, whatever that is called.
    const STRIP: Option<u32> = Some(1);

    fn parse(line: &str) -> Option<Entry> {
        let (place, named) = line.split_once(' ')?;
        let (name, version) = named.rsplit_once('@')?;
        let (scope, base) = match name.strip_prefix('@') {
            Some(scoped) => scoped.split_once('/').map(|(scope, base)| (Some(scope), base))?,
            None => (None, name),
        };
        let words = [base, version].into_iter().chain(scope).all(is_word);
        let inside = place.strip_prefix("node_modules/")?;
        let placed = inside.split('/').all(|part| is_word(part.strip_prefix('@').unwrap_or(part)));
        let address = format!("{name}/-/{base}-{version}.tgz");
        (words && placed).then(|| Entry { place: place.to_owned(), address })
    }
}
