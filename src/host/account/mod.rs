//! Users and groups, as the host's own name service knows them.
//!
//! In: names and numbers. Out: accounts, the groups of a user, where she is at home. Never: an account that is not there
//! because nobody answered; that is a failure.

mod entry;
mod groups;
mod table;
#[cfg(test)]
mod tests;
mod usage;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(super) use entry::{Account, Group};
pub(super) use groups::Groups;
pub(super) use usage::usage;

use super::{Failure, Result};
use crate::step::{Command, CommandReading};
use groups::parse_id;
use table::{Key, Order, Table, has_line, order};

/// Runs a program and returns its output and exit code; 127 if there is no such program. The error says why the result is not
/// known.
pub(super) type Run = Arc<dyn Fn(&Command) -> std::result::Result<CommandReading, String> + Send + Sync>;

/// How long the name service may take: a directory server that does not answer must not hold a host up.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many names one program is given: far from the limits of arguments and of output.
const AT_ONCE: usize = 200;

/// The accounts of this host. What `/etc/passwd` and `/etc/group` answer costs no program; `getent` is asked about the
/// rest, once about each name, until one of these files changes or [`Accounts::forget`] is called.
pub(super) struct Accounts {
    run: Run,
    etc: PathBuf,
    known: Mutex<Known>,
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accounts").field("etc", &self.etc).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Known {
    stamp: Option<Stamp>,
    users: Table<Account>,
    groups: Table<Group>,
    /// Where the name service looks for the groups of a user.
    initgroups: Order,
    /// By user.
    memberships: BTreeMap<String, Groups>,
}

/// What changes when one of the files changes: number, size and times of each.
type Stamp = [Option<(u64, u64, i64, i64, i64, i64)>; 3];

/// The error message of a program.
fn complaint(ended: &CommandReading, program: &str) -> String {
    let said = String::from_utf8_lossy(&ended.stderr);
    match (said.trim(), ended.exit) {
        ("", 124) => format!("{program} did not answer in time"),
        ("", exit) => format!("{program}: exit code {exit}"),
        (said, _) => said.to_owned(),
    }
}

impl Accounts {
    /// The accounts of this host; `run` starts the programs that tell about them, and gives all that they say.
    pub(super) fn new(run: Run) -> Self {
        Self::of(Path::new("/etc"), run)
    }

    /// The same, of the files in another directory than `/etc`.
    pub(super) fn of(etc: &Path, run: Run) -> Self {
        Self { run, etc: etc.to_owned(), known: Mutex::default() }
    }

    /// Forgets what the name service answered. To be called after a program ran that may have changed accounts elsewhere than
    /// in the files of this host.
    pub(super) fn forget(&self) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Known::default();
    }

    /// The cache, loaded again if one of the files changed.
    fn known(&self) -> MutexGuard<'_, Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = Some(["nsswitch.conf", "passwd", "group"].map(|name| stamp(&self.etc.join(name))));
        if known.stamp != stamp {
            let orders = fs::read_to_string(self.etc.join("nsswitch.conf")).unwrap_or_default();
            let of = |database| order(&orders, database);
            // Without a line of its own it is that of the groups.
            let initgroups = if has_line(&orders, "initgroups") { of("initgroups") } else { of("group") };
            let (users, groups) = (Table::load(&self.etc, of("passwd")), Table::load(&self.etc, of("group")));
            *known = Known { stamp, users, groups, initgroups, memberships: BTreeMap::new() };
        }
        known
    }

    /// Caches many users and groups with one query, by name. If the query fails, the error is reported by the lookup that needs
    /// the account.
    pub(super) fn prepare_names<'a>(
        &self,
        users: impl IntoIterator<Item = &'a str>,
        groups: impl IntoIterator<Item = &'a str>,
    ) {
        let keys = |name: &str| Key::Name(name.to_owned());
        self.prepare(
            &users.into_iter().map(keys).collect::<Vec<_>>(),
            &groups.into_iter().map(keys).collect::<Vec<_>>(),
        );
    }

    /// The same by number.
    pub(super) fn prepare_numbers(&self, users: impl IntoIterator<Item = u32>, groups: impl IntoIterator<Item = u32>) {
        let (users, groups) = (users.into_iter().map(Key::Number), groups.into_iter().map(Key::Number));
        self.prepare(&users.collect::<Vec<_>>(), &groups.collect::<Vec<_>>());
    }

    fn prepare(&self, users: &[Key], groups: &[Key]) {
        let mut known = self.known();
        let _ = known.users.prepare(users, &self.run);
        let _ = known.groups.prepare(groups, &self.run);
    }

    /// The user of that name, if there is one.
    pub(super) fn user(&self, name: &str) -> Result<Option<Account>> {
        self.known().users.find(Key::Name(name.to_owned()), &self.run)
    }

    /// The user of that number, if there is one.
    pub(super) fn user_numbered(&self, uid: u32) -> Result<Option<Account>> {
        self.known().users.find(Key::Number(uid), &self.run)
    }

    /// The group of that name, if there is one.
    pub(super) fn group(&self, name: &str) -> Result<Option<Group>> {
        self.known().groups.find(Key::Name(name.to_owned()), &self.run)
    }

    /// The group of that number, if there is one.
    pub(super) fn group_numbered(&self, gid: u32) -> Result<Option<Group>> {
        self.known().groups.find(Key::Number(gid), &self.run)
    }

    /// Where a user is at home; none if there is no such user, or she has no home. `/nonexistent` is Debian's word for none.
    pub(super) fn home(&self, name: &str) -> Result<Option<String>> {
        let home = self.user(name)?.map(|user| user.home);
        Ok(home.filter(|home| home.starts_with('/') && home != "/" && home != "/nonexistent"))
    }

    /// The groups of a user; none if there is no such user.
    pub(super) fn groups(&self, name: &str) -> Result<Option<Groups>> {
        self.prepare_groups([name]);
        let Some(user) = self.user(name)? else { return Ok(None) };
        if let Some(groups) = self.known().memberships.get(name) {
            return Ok(Some(groups.clone()));
        }
        let known = self.known();
        if known.groups.order == Order::Files && known.initgroups == Order::Files {
            return Ok(Some(known.in_files(&user)));
        }
        drop(known);
        let command = Command::new(["id", "--", name]).within(PATIENCE);
        let ended = (self.run)(&command).map_err(Failure::new)?;
        if ended.exit != 0 {
            return Err(Failure { exit: ended.exit, why: complaint(&ended, "id") });
        }
        let text = String::from_utf8_lossy(&ended.stdout).into_owned();
        let groups = text.lines().next().and_then(parse_id).map(|(_, groups)| groups);
        groups.map(Some).ok_or_else(|| Failure::new(format!("unexpected output of id: `{}`", text.escape_debug())))
    }

    /// Asks about the groups of many users at once. Not every `id` takes more than one name: then each is asked for on its own,
    /// later.
    pub(super) fn prepare_groups<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let mut open: Vec<&str> = names.into_iter().collect();
        self.prepare_names(open.iter().copied(), []);
        let mut known = self.known();
        if known.groups.order == Order::Files && known.initgroups == Order::Files {
            return;
        }
        open.retain(|name| !known.memberships.contains_key(*name));
        open.retain(|name| matches!(known.users.find(Key::Name((*name).to_owned()), &self.run), Ok(Some(_))));
        for some in open.chunks(AT_ONCE).filter(|some| some.len() > 1) {
            let command = Command::new(["id", "--"].iter().chain(some).copied()).within(PATIENCE);
            let Ok(ended) = (self.run)(&command) else { return };
            let text = String::from_utf8_lossy(&ended.stdout).into_owned();
            known
                .memberships
                .extend(text.lines().filter_map(parse_id).filter(|(name, _)| some.contains(&name.as_str())));
        }
    }
}

impl super::files::Numbers for Accounts {
    fn user(&self, name: &str) -> Result<Option<(u32, u32)>> {
        Ok(self.user(name)?.map(|user| (user.uid, user.gid)))
    }

    fn group(&self, name: &str) -> Result<Option<u32>> {
        Ok(self.group(name)?.map(|group| group.gid))
    }

    fn home(&self, name: &str) -> Result<Option<String>> {
        self.home(name)
    }
}

impl Known {
    /// The groups of a user, of the files alone.
    fn in_files(&self, user: &Account) -> Groups {
        let named = |group: &Group| (group.gid, Some(group.name.clone()));
        let primary = self.groups.in_file(&Key::Number(user.gid)).map_or((user.gid, None), named);
        let mut seen = BTreeSet::from([user.gid]);
        let is_member = |group: &&Group| group.members.contains(&user.name) && seen.insert(group.gid);
        Groups { primary, others: self.groups.file.iter().filter(is_member).map(named).collect() }
    }
}

fn stamp(path: &Path) -> Option<(u64, u64, i64, i64, i64, i64)> {
    let of = fs::metadata(path).ok()?;
    Some((of.ino(), of.size(), of.mtime(), of.mtime_nsec(), of.ctime(), of.ctime_nsec()))
}
