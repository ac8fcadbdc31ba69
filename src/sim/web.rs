//! What simulated hosts fetch from web servers, and the archives they unpack.
//!
//! In: addresses and archives. Out: files and directories on a host. Never: a request of this machine.
//!
//! An archive is a text here, with the name of one file in each line: what it is packed in matters on real hosts only.

use super::Trouble;
use super::host::Host;
use crate::secret::Content;
use crate::step::{Digest, HttpReading, MARKER, Occupied, Ownership, Packed, PackedFile, Remote, Unpacking};

/// What is on all web servers there are.
pub const PAGES: &[(&str, &str)] = &[
    ("https://downloads.example.org/reader-1.2", "#!/bin/sh\necho \"reads 1.2\"\n"),
    ("https://downloads.example.org/spark-3.5.1.tgz", "bin/spark-submit\nconf/spark-env.sh\nRELEASE\n"),
    ("https://downloads.example.org/spark-3.5.2.tgz", "bin/spark-submit\nconf/spark-env.sh\nRELEASE\nNEWS\n"),
    ("https://repo.maven.apache.org/maven2/com/blazegraph/blazegraph-jar/2.1.5/blazegraph-jar-2.1.5.jar", "a jar\n"),
    ("https://registry.npmjs.org/proxy/-/proxy-5.1.0.tgz", "lib/cli.js\n"),
];

/// What every web server of the fleet says.
pub(super) fn answer(url: &str) -> HttpReading {
    const DAYS: i64 = 90;
    let headers = vec![("Content-Type".to_owned(), "text/plain".to_owned())];
    let certificate = url.starts_with("https://").then_some(DAYS * 86_400);
    HttpReading { status: 200, headers, body: b"ok\n".to_vec(), certificate }
}

fn fetch(remote: &Remote) -> Result<&'static [u8], Trouble> {
    let page = PAGES.iter().find(|(url, _)| *url == remote.url).map(|(_, text)| text.as_bytes());
    let bytes = page.ok_or_else(|| Trouble::new(1, format!("{} could not be fetched: 404", remote.url)))?;
    if bytes.len() as u64 > remote.limit {
        return Err(Trouble::new(1, format!("{} is larger than {} bytes", remote.url, remote.limit)));
    }
    if Digest::of(bytes) != remote.digest {
        return Err(Trouble::new(1, format!("what came has the SHA-256 {}", Digest::of(bytes).0)));
    }
    Ok(bytes)
}

/// What [`crate::step::Step::Download`] does.
pub(super) fn download(host: &mut Host, path: &str, remote: &Remote, ownership: &Ownership) -> Result<(), Trouble> {
    host.write(path, fetch(remote)?, ownership)
}

/// What [`crate::step::Step::Unpack`] does.
pub(super) fn unpack(host: &mut Host, unpacking: &Unpacking) -> Result<(), Trouble> {
    let Unpacking { path, source, owner, group, occupied, marker, .. } = unpacking;
    let archive = match source {
        Packed::Remote(remote) => fetch(remote)?.to_vec(),
        Packed::Content(content) => Content::bytes(content).to_vec(),
        Packed::Large(file) => file.sha256.clone().into_bytes(),
        Packed::Files(files) => {
            let name = |file: &PackedFile| fetch(&file.remote).map(|_| format!("{}\n", file.name));
            files.iter().map(name).collect::<Result<String, _>>()?.into_bytes()
        }
    };
    if host.paths.get(path).is_some() {
        if *occupied == Occupied::Refuse || !is_unpacked(host, path) {
            return Err(Trouble::new(1, format!("{path} already exists")));
        }
        host.paths.clear(path);
    }
    let own = Ownership { mode: None, owner: Some(owner.clone()), group: Some(group.clone()) };
    host.make_directory(path, &own)?;
    for name in String::from_utf8_lossy(&archive).lines() {
        let file = format!("{path}/{name}");
        let folder = file.rsplit_once('/').map_or(path.as_str(), |(folder, _)| folder);
        host.make_directory(folder, &own)?;
        host.write(&file, name.as_bytes(), &own)?;
    }
    host.write(&format!("{path}/{MARKER}"), marker.as_bytes(), &Ownership::default())
}

/// What [`crate::step::Step::RemoveUnpacked`] does.
pub(super) fn remove(host: &mut Host, path: &str) -> Result<(), Trouble> {
    if host.paths.get(path).is_some() && !is_unpacked(host, path) {
        return Err(Trouble::new(1, format!("{path} was not unpacked by armilla: it is not removed")));
    }
    host.paths.clear(path);
    Ok(())
}

fn is_unpacked(host: &Host, path: &str) -> bool {
    host.paths.file(&format!("{path}/{MARKER}")).is_some()
}

/// What the question for earlier versions prints: when each was unpacked, and its marker.
pub(super) fn versions(host: &Host, parent: &str, link: &str) -> String {
    let wanted = format!("link {link}");
    let beside = |path: &str| {
        let name = path.strip_prefix(parent)?.strip_prefix('/')?.strip_suffix(MARKER)?.strip_suffix('/')?;
        (!name.contains('/')).then_some(())
    };
    let marked = host.paths.iter().filter(|(path, _)| beside(path).is_some());
    let ours = marked.filter(|(path, _)| {
        host.paths.file(path).is_some_and(|text| String::from_utf8_lossy(text).lines().any(|line| line == wanted))
    });
    let lines: Vec<String> = ours.map(|(path, node)| format!("{} {path}\n", node.modified)).collect();
    lines.concat()
}
