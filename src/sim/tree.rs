//! The paths of a simulated host.
//!
//! In: reads and writes of single paths. Out: what a real file system would answer, errors included.
//! Never: a link followed; nothing that armilla does follows one.

use std::collections::BTreeMap;

use super::Trouble;
use crate::secret::LargeFile;
use crate::step::{Digest, Mode, Removable};

/// What is at one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// File, directory or link.
    pub what: What,
    /// Permission bits.
    pub mode: Mode,
    /// The number of its user.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
    /// When it was last written, by the host's clock.
    pub modified: i64,
}

/// What a path can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A regular file with its content.
    File(Vec<u8>),
    /// A regular file that is known by its digest.
    Large(LargeFile),
    /// A directory.
    Directory,
    /// A symbolic link with what it says.
    Link(String),
}

/// All paths of a host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree(BTreeMap<String, Node>);

/// What every host has.
const BASE: &[&str] = &[
    "/",
    "/dev",
    "/etc",
    "/etc/cron.d",
    "/etc/security",
    "/etc/security/limits.d",
    "/etc/ssh",
    "/etc/systemd",
    "/etc/systemd/system",
    "/home",
    "/opt",
    "/root",
    "/run",
    "/srv",
    "/tmp",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib/systemd",
    "/usr/lib/systemd/system",
    "/usr/share",
    "/var",
    "/var/lib",
    "/var/log",
];

impl Tree {
    /// The directories that every host has.
    pub fn base() -> Self {
        let mut tree = Self::default();
        for path in BASE {
            tree.0.insert((*path).to_owned(), Node::new(What::Directory, Mode(0o755), 0));
        }
        tree
    }

    /// What is at a path.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.0.get(path)
    }

    /// What is at a path, to be changed by somebody who is allowed everything.
    pub fn get_mut(&mut self, path: &str) -> Option<&mut Node> {
        self.0.get_mut(path)
    }

    /// The content of a regular file.
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        match self.0.get(path) {
            Some(Node { what: What::File(content), .. }) => Some(content),
            _ => None,
        }
    }

    /// Everything, by path.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Node)> {
        self.0.iter()
    }

    /// A path and everything below it.
    pub fn below<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (&'a String, &'a Node)> {
        let inside =
            move |name: &str| name.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.0
            .range(path.to_owned()..)
            .take_while(move |(name, _)| name.starts_with(path))
            .filter(move |(n, _)| inside(n))
    }

    /// Gives a path and everything below it another name.
    pub fn carry(&mut self, from: &str, to: &str) {
        let names: Vec<String> = self.below(from).map(|(name, _)| name.clone()).collect();
        for name in names {
            if let Some(node) = self.0.remove(&name) {
                self.0.insert(format!("{to}{}", &name[from.len()..]), node);
            }
        }
    }

    /// One digest of the contents of all files at and below a path.
    pub fn digest(&self, path: &str) -> Digest {
        let mut all = Vec::new();
        for (name, node) in self.below(path) {
            if let What::File(content) = &node.what {
                all.extend_from_slice(name.as_bytes());
                all.push(0);
                all.extend_from_slice(content);
                all.push(0);
            }
        }
        Digest::of(&all)
    }

    /// Writes a file. One that is there keeps owner and mode; a new one gets those that root's files get.
    pub fn write(&mut self, path: &str, content: &[u8], now: i64) -> Result<(), Trouble> {
        self.put(path, What::File(content.to_vec()), now)
    }

    /// The same with a file that is known by its digest.
    pub(super) fn put(&mut self, path: &str, what: What, now: i64) -> Result<(), Trouble> {
        self.free_for(path, "file")?;
        let old = self.0.get(path).map(|node| (node.mode, node.uid, node.gid));
        let (mode, uid, gid) = old.unwrap_or((Mode(0o644), 0, 0));
        self.0.insert(path.to_owned(), Node { what, mode, uid, gid, modified: now });
        Ok(())
    }

    /// Makes a directory and its parents; one that is there stays.
    pub fn make_directory(&mut self, path: &str, now: i64) -> Result<(), Trouble> {
        for (end, _) in path.match_indices('/').skip(1).chain([(path.len(), "")]) {
            let part = &path[..end];
            match self.0.get(part).map(|node| &node.what) {
                Some(What::Directory) => {}
                Some(_) => {
                    return Err(Trouble::new(1, format!("mkdir: cannot create directory '{part}': File exists")));
                }
                None => {
                    self.0.insert(part.to_owned(), Node::new(What::Directory, Mode(0o755), now));
                }
            }
        }
        Ok(())
    }

    /// Makes a link, in the place of a link that is there.
    pub fn link(&mut self, path: &str, target: &str, now: i64) -> Result<(), Trouble> {
        self.free_for(path, "link")?;
        self.0.insert(path.to_owned(), Node::new(What::Link(target.to_owned()), Mode(0o777), now));
        Ok(())
    }

    /// Removes what is there, if it is what was said.
    pub fn remove(&mut self, path: &str, what: Removable) -> Result<(), Trouble> {
        let Some(node) = self.0.get(path) else { return Ok(()) };
        let fits = match (what, &node.what) {
            (Removable::File, What::File(_) | What::Large(_)) | (Removable::Link, What::Link(_)) => true,
            (Removable::EmptyDirectory, What::Directory) => self.below(path).nth(1).is_none(),
            _ => false,
        };
        if !fits {
            return Err(Trouble::new(1, format!("cannot remove '{path}': it is something else, or not empty")));
        }
        self.0.remove(path);
        Ok(())
    }

    /// Puts something in the place of whatever is there.
    pub(super) fn place(&mut self, path: &str, node: Node) {
        self.0.insert(path.to_owned(), node);
    }

    /// Removes a path with everything below it.
    pub fn clear(&mut self, path: &str) {
        let names: Vec<String> = self.below(path).map(|(name, _)| name.clone()).collect();
        for name in names {
            self.0.remove(&name);
        }
    }

    fn free_for(&self, path: &str, what: &str) -> Result<(), Trouble> {
        let parent = path.rsplit_once('/').map_or("/", |(parent, _)| if parent.is_empty() { "/" } else { parent });
        match self.0.get(parent).map(|node| &node.what) {
            Some(What::Directory) => {}
            Some(_) => return Err(Trouble::new(1, format!("cannot create '{path}': Not a directory"))),
            None => return Err(Trouble::new(1, format!("cannot create '{path}': No such file or directory"))),
        }
        match (self.0.get(path).map(|node| &node.what), what) {
            (None, _) | (Some(What::File(_) | What::Large(_)), "file") | (Some(What::Link(_)), "link") => Ok(()),
            (Some(_), _) => {
                Err(Trouble::new(1, format!("cannot create '{path}': there is something else than a {what}")))
            }
        }
    }
}

impl Node {
    fn new(what: What, mode: Mode, now: i64) -> Self {
        Self { what, mode, uid: 0, gid: 0, modified: now }
    }
}
