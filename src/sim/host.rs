//! One simulated host: its paths, packages, users, groups and units.
//!
//! In: probes and steps. Out: what a Debian host would answer and become. Never: another host, or a clock of its own.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::kept::{Kept, Key};
use super::tree::{Node, Tree, What};
use super::{Activity, Trouble, Units};
use crate::edit::Edit;
use crate::name::Owner;
use crate::secret::LargeFile;
use crate::step::{
    Attributes, Digest, FETCH_LIMIT, Fetch, Holding, Manager, MembershipReading, Mode, Ownership, PackageReading,
    PathReading, Removable, UnitReading, UserReading, home_of,
};

/// A host in memory.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// Its paths.
    pub paths: Tree,
    /// Its users, by name.
    pub users: BTreeMap<String, User>,
    /// The numbers of its groups, by name.
    pub groups: BTreeMap<String, u32>,
    /// The versions of its packages, by name.
    pub packages: BTreeMap<String, String>,
    /// The packages that were installed because another needs them.
    pub automatic: BTreeSet<String>,
    /// The packages that upgrades leave alone.
    pub held: BTreeSet<String>,
    /// When the package lists were fetched.
    pub lists: Option<i64>,
    /// What systemd knows.
    pub units: Units,
    /// Devices with a file system.
    pub formatted: BTreeSet<String>,
    /// What programs keep that are not looked into: by program and thing.
    pub things: BTreeMap<String, String>,
    /// What armilla kept of files it took away, by path.
    pub copies: BTreeMap<String, Vec<u8>>,
    /// What was there before changes, by whose they are and the name it was kept under.
    pub(super) kept: BTreeMap<Key, Kept>,
    /// Whether its disk is full.
    pub full: bool,
    /// Its clock, in seconds; set by the fleet before anything is done.
    pub now: i64,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub uid: u32,
    /// The number of its primary group.
    pub gid: u32,
    /// Its supplementary groups.
    pub groups: BTreeSet<String>,
    /// Its home directory.
    pub home: String,
    /// Its shell.
    pub shell: String,
    /// Who it is.
    pub comment: String,
}

impl Host {
    /// Keeps the content of a file that is taken away.
    pub(super) fn keep_copy(&mut self, path: &str) {
        if let Some(content) = self.paths.file(path).map(<[u8]>::to_vec) {
            self.copies.insert(path.to_owned(), content);
        }
    }

    /// Forgets what was kept for an owner, but for what may still be rolled back.
    pub(super) fn drop_copies(&mut self, owner: &Owner) {
        self.copies.clear();
        self.kept.retain(|(of, _), kept| of != owner || kept.is_open());
    }

    /// Gives an owner what was kept before changes of the same environment of no project.
    pub(super) fn adopt(&mut self, owner: &Owner) {
        let unnamed = owner.without_project();
        let all = std::mem::take(&mut self.kept).into_iter();
        self.kept =
            all.map(|((of, name), kept)| ((if of == unnamed { owner.clone() } else { of }, name), kept)).collect();
    }

    /// A freshly installed host.
    pub fn new() -> Self {
        let group = |(name, gid): (&str, u32)| (name.to_owned(), gid);
        let groups = [("root", 0), ("adm", 4), ("nogroup", 65_534)].into_iter().map(group).collect();
        let mut host = Self { paths: furnished(Tree::base()), groups, ..Self::default() };
        host.users.insert("root".to_owned(), User::new(0, 0, "/root", "/bin/bash"));
        host.users.insert("nobody".to_owned(), User::new(65_534, 65_534, "/nonexistent", "/usr/sbin/nologin"));
        host
    }

    /// What is at a path.
    pub fn path(&self, path: &str, fetch: &Fetch) -> PathReading {
        let Some(node) = self.resolve(path).ok().and_then(|path| self.paths.get(&path)) else {
            return PathReading::Absent;
        };
        match &node.what {
            What::Directory => PathReading::Directory(self.attributes(node)),
            What::Link(target) => PathReading::Link { target: target.clone(), modified: node.modified },
            What::File(content) => self.file(node, content, fetch),
            What::Large(file) => PathReading::File {
                attributes: self.attributes(node),
                size: file.size,
                digest: Digest(file.sha256.clone()),
                modified: node.modified,
                content: None,
            },
        }
    }

    fn file(&self, node: &Node, content: &[u8], fetch: &Fetch) -> PathReading {
        let digest = Digest::of(content);
        let wanted = match fetch {
            Fetch::Digest => false,
            Fetch::Unless(known) => *known != digest,
            Fetch::Always => true,
        };
        let size = content.len() as u64;
        let content = (wanted && size <= FETCH_LIMIT).then(|| content.to_vec());
        PathReading::File { attributes: self.attributes(node), size, digest, modified: node.modified, content }
    }

    fn attributes(&self, node: &Node) -> Attributes {
        let owner = self.users.iter().find(|(_, user)| user.uid == node.uid).map(|(name, _)| name.clone());
        Attributes {
            mode: node.mode,
            owner: owner.unwrap_or_else(|| node.uid.to_string()),
            group: self.group_name(node.gid),
        }
    }

    fn group_name(&self, gid: u32) -> String {
        let name = self.groups.iter().find(|(_, number)| **number == gid).map(|(name, _)| name.clone());
        name.unwrap_or_else(|| gid.to_string())
    }

    /// A package.
    pub fn package(&self, name: &str) -> PackageReading {
        PackageReading {
            manager: Manager::Apt,
            holding: Holding::Able,
            installed: self.packages.get(name).cloned(),
            held: self.held.contains(name),
            lists_age: self.lists.map(|at| u64::try_from(self.now - at).unwrap_or_default()),
            interrupted: false,
        }
    }

    /// An account.
    pub fn user(&self, name: &str) -> Option<UserReading> {
        let user = self.users.get(name)?;
        Some(UserReading {
            uid: user.uid,
            gid: user.gid,
            home: user.home.clone(),
            shell: user.shell.clone(),
            comment: user.comment.clone(),
        })
    }

    /// The groups a user is in.
    pub fn membership(&self, name: &str) -> Option<MembershipReading> {
        let user = self.users.get(name)?;
        let groups = user.groups.iter().cloned().collect();
        Some(MembershipReading { group: self.group_name(user.gid), groups })
    }

    /// A unit.
    pub fn unit(&self, name: &str) -> UnitReading {
        self.units.reading(name, &self.paths, self.now)
    }

    /// A path with the home it begins in, if it does; see [`home_of`].
    pub(super) fn resolve<'a>(&self, path: &'a str) -> Result<Cow<'a, str>, Trouble> {
        let Some((user, below)) = home_of(path) else { return Ok(Cow::Borrowed(path)) };
        let home = self.users.get(user).map(|user| user.home.as_str()).filter(|home| *home != "/nonexistent");
        let home = home.ok_or_else(|| Trouble::new(1, format!("there is no user {user} with a home directory")))?;
        Ok(Cow::Owned(format!("{home}/{below}")))
    }

    /// Fails unless a file is as [`crate::step::Step::Unchanged`] says.
    pub fn unchanged(&self, path: &str, digest: Option<&Digest>) -> Result<(), Trouble> {
        let found = match self.path(path, &Fetch::Digest) {
            PathReading::Absent => None,
            PathReading::File { digest, .. } => Some(digest),
            _ => Some(Digest(String::new())),
        };
        let changed = || Trouble::new(1, format!("{path} was changed since the plan was made: plan again"));
        if found.as_ref() == digest { Ok(()) } else { Err(changed()) }
    }

    /// Writes a file as [`crate::step::Step::WriteFile`] says.
    pub fn write(&mut self, path: &str, content: &[u8], ownership: &Ownership) -> Result<(), Trouble> {
        self.put(path, What::File(content.to_vec()), ownership)
    }

    /// Writes a file as [`crate::step::Step::SendFile`] says.
    pub(super) fn send(&mut self, path: &str, file: &LargeFile, ownership: &Ownership) -> Result<(), Trouble> {
        self.put(path, What::Large(file.clone()), ownership)
    }

    fn put(&mut self, path: &str, what: What, ownership: &Ownership) -> Result<(), Trouble> {
        let path = &self.resolve(path)?;
        self.has_space(path)?;
        let owner = self.new_owner(path, ownership)?;
        self.paths.put(path, what, self.now)?;
        self.own(path, ownership.mode, owner);
        Ok(())
    }

    /// Changes a part of a file, as [`crate::step::Step::EditFile`] says. Gives whether there was anything to change.
    pub fn edit(&mut self, path: &str, edit: &Edit, create: Option<&Ownership>) -> Result<bool, Trouble> {
        let failed = |why: String| Trouble::new(1, format!("{path}: {why}"));
        let resolved = self.resolve(path)?;
        let before = self.paths.file(&resolved).map(<[u8]>::to_vec);
        match (&before, self.paths.get(&resolved), create) {
            (Some(_), ..) | (None, None, Some(_)) => {}
            (None, None, None) if edit.is_wanted() => {
                return Err(failed("the file still does not exist: no earlier step created it".to_owned()));
            }
            (None, None, None) => return Ok(false),
            (None, Some(_), _) => {
                let why = "it is not a regular file, and armilla does not write through links";
                return Err(failed(why.to_owned()));
            }
        }
        let after = edit.apply(before.as_deref()).map_err(|why| failed(why.to_string()))?;
        let Some(after) = after.filter(|after| before.as_ref() != Some(after)) else { return Ok(false) };
        let kept = Ownership::default();
        self.write(path, &after, create.filter(|_| before.is_none()).unwrap_or(&kept))?;
        Ok(true)
    }

    /// Makes a directory as [`crate::step::Step::MakeDirectory`] says.
    pub fn make_directory(&mut self, path: &str, ownership: &Ownership) -> Result<(), Trouble> {
        let path = &self.resolve(path)?;
        self.has_space(path)?;
        let owner = self.new_owner(path, ownership)?;
        self.paths.make_directory(path, self.now)?;
        self.own(path, ownership.mode, owner);
        Ok(())
    }

    /// Makes a link.
    pub fn link(&mut self, path: &str, target: &str) -> Result<(), Trouble> {
        self.has_space(path)?;
        self.paths.link(path, target, self.now)
    }

    /// Changes mode, owner or group.
    pub fn set_ownership(&mut self, path: &str, ownership: &Ownership) -> Result<(), Trouble> {
        let path = &self.resolve(path)?;
        let owner = self.numbers(ownership)?;
        if self.paths.get(path).is_none() {
            return Err(Trouble::new(1, format!("chown: cannot access '{path}': No such file or directory")));
        }
        self.own(path, ownership.mode, owner);
        Ok(())
    }

    /// Removes one thing.
    pub fn remove(&mut self, path: &str, what: Removable) -> Result<(), Trouble> {
        let path = self.resolve(path)?;
        self.paths.remove(&path, what)
    }

    /// Starts a unit, if it does not run.
    pub(super) fn start(&mut self, unit: &str) -> Result<(), Trouble> {
        let users = &self.users;
        self.units.start(unit, &self.paths, |name| users.contains_key(name), self.now)
    }

    /// Stops and starts a unit.
    pub(super) fn restart(&mut self, unit: &str) -> Result<(), Trouble> {
        self.units.stop(unit, &self.paths)?;
        self.start(unit)
    }

    /// Fails if nothing can be written.
    pub fn has_space(&self, path: &str) -> Result<(), Trouble> {
        if self.full { Err(Trouble::new(1, format!("cannot write '{path}': No space left on device"))) } else { Ok(()) }
    }

    /// Whether an active unit runs as this user, so that the user cannot be changed.
    pub fn is_busy(&self, user: &str) -> bool {
        self.units.active().any(|unit| unit.definition.user.as_deref() == Some(user))
    }

    /// The same for a path that may be new: then it has the group of its owner, if no other is given.
    fn new_owner(&self, path: &str, ownership: &Ownership) -> Result<(Option<u32>, Option<u32>), Trouble> {
        let (uid, gid) = self.numbers(ownership)?;
        let new = self.paths.get(path).is_none();
        let own = ownership.owner.as_ref().and_then(|name| self.users.get(name)).map(|user| user.gid);
        Ok((uid, gid.or(own.filter(|_| new))))
    }

    fn numbers(&self, ownership: &Ownership) -> Result<(Option<u32>, Option<u32>), Trouble> {
        let uid = ownership.owner.as_ref().map(|name| {
            let found = self.users.get(name).map(|user| user.uid);
            found.ok_or_else(|| Trouble::new(1, format!("chown: invalid user: '{name}'")))
        });
        let gid = ownership.group.as_ref().map(|name| {
            let found = self.groups.get(name).copied();
            found.ok_or_else(|| Trouble::new(1, format!("chown: invalid group: '{name}'")))
        });
        Ok((uid.transpose()?, gid.transpose()?))
    }

    fn own(&mut self, path: &str, mode: Option<Mode>, (uid, gid): (Option<u32>, Option<u32>)) {
        if let Some(node) = self.paths.get_mut(path) {
            node.mode = mode.unwrap_or(node.mode);
            node.uid = uid.unwrap_or(node.uid);
            node.gid = gid.unwrap_or(node.gid);
        }
    }
}

impl User {
    /// An account without a comment or supplementary groups.
    pub fn new(uid: u32, gid: u32, home: &str, shell: &str) -> Self {
        Self {
            uid,
            gid,
            groups: BTreeSet::new(),
            home: home.to_owned(),
            shell: shell.to_owned(),
            comment: String::new(),
        }
    }
}

impl Host {
    /// Everything that lasts, in words, without times and numbers: two hosts that came here in different ways have the
    /// same shape if nobody could tell them apart by their work.
    pub fn shape(&self) -> BTreeMap<String, String> {
        let mut shape = BTreeMap::new();
        for (path, node) in self.paths.iter() {
            let attributes = self.attributes(node);
            let what = match &node.what {
                What::Directory => "directory".to_owned(),
                What::Link(target) => format!("link to {target}"),
                What::File(content) => String::from_utf8_lossy(content).into_owned(),
                What::Large(file) => file.sha256.clone(),
            };
            let text = format!("{} {} {} {what}", attributes.mode, attributes.owner, attributes.group);
            shape.insert(format!("path {path}"), text);
        }
        for name in self.users.keys() {
            let user = self.user(name).map(|user| UserReading { uid: 0, gid: 0, ..user });
            shape.insert(format!("user {name}"), format!("{user:?} {:?}", self.membership(name)));
        }
        let group = |name: &String| (format!("group {name}"), String::new());
        shape.extend(self.groups.keys().map(group));
        let package = |(name, version): (&String, &String)| {
            (format!("package {name}"), format!("{version} held {}", self.held.contains(name)))
        };
        shape.extend(self.packages.iter().map(package));
        for (name, unit) in self.units.iter().filter(|(_, unit)| unit.activity != Activity::Inactive) {
            let current = self.units.is_current(name, &self.paths);
            shape
                .insert(format!("unit {name}"), format!("{:?}, with its last configuration: {current}", unit.activity));
        }
        let thing = |(name, what): (&String, &String)| (format!("thing {name}"), what.clone());
        shape.extend(self.things.iter().map(thing));
        shape.extend(self.formatted.iter().map(|device| (format!("device {device}"), String::new())));
        shape
    }
}

/// What every host has beside directories: a name, and a zone.
fn furnished(mut paths: Tree) -> Tree {
    let _ = paths.make_directory("/etc/default", 0);
    let files = [("/proc/sys/kernel/hostname", "(none)\n"), ("/usr/share/zoneinfo/Etc/UTC", "TZif2")];
    for (path, text) in files {
        let folder = path.rsplit_once('/').map_or("/", |(folder, _)| folder);
        // Nothing is in the way on a host that has only directories.
        let _ = paths.make_directory(folder, 0).and_then(|()| paths.write(path, text.as_bytes(), 0));
    }
    paths
}
