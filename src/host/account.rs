//! Users and groups, as the host's own name service knows them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Failure, Result};
use crate::step::{Command, CommandReading, MembershipReading};

/// Runs a program and tells how it ended: 127 where there is no such program. An error says why that is not known.
pub(super) type Run = Arc<dyn Fn(&Command) -> std::result::Result<CommandReading, String> + Send + Sync>;

/// How long the name service may take: a directory server that does not answer must not hold a host up.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many names one program is given: far from the limits of arguments and of output.
const AT_ONCE: usize = 200;

/// A user account, as in `passwd(5)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    /// Its name.
    pub(super) name: String,
    /// Its number.
    pub(super) uid: u32,
    /// The number of its primary group.
    pub(super) gid: u32,
    /// The comment field.
    pub(super) comment: String,
    /// Its home directory.
    pub(super) home: String,
    /// Its login shell.
    pub(super) shell: String,
}

/// A group of users, as in `group(5)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// Its name.
    pub(super) name: String,
    /// Its number.
    pub(super) gid: u32,
    /// The users whose supplementary group it is, by name.
    members: Vec<String>,
}

/// The groups of a user, each by number and, if it has one, name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Groups {
    primary: (u32, Option<String>),
    /// Without the primary one.
    others: Vec<(u32, Option<String>)>,
}

impl Groups {
    /// All numbers, the primary group's first: what `setgroups(2)` is given.
    pub(super) fn numbers(&self) -> Vec<u32> {
        std::iter::once(&self.primary).chain(&self.others).map(|(gid, _)| *gid).collect()
    }

    /// By name, or the number where a group has none.
    pub(super) fn names(&self) -> MembershipReading {
        let named = |(gid, name): &(u32, Option<String>)| name.clone().unwrap_or_else(|| gid.to_string());
        let mut groups: Vec<String> = self.others.iter().map(named).collect();
        groups.sort();
        MembershipReading { group: named(&self.primary), groups }
    }
}

/// Whether a text can be the name of a user or group: what `passwd(5)` cannot hold, and options, cannot.
pub(super) fn is_account(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('-') && !name.contains([':', '/', '\0', '\n', ' ', ','])
}

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

/// By what an account is looked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Name(String),
    Number(u32),
}

impl Key {
    fn word(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::Number(number) => number.to_string(),
        }
    }
}

/// Where the name service looks for accounts of one sort.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Order {
    /// Only in the files of this host.
    Files,
    /// There first, then elsewhere: who is found there is found.
    FilesFirst,
    /// Elsewhere first, or by rules of its own.
    #[default]
    Elsewhere,
}

/// A line of a database of accounts.
trait Entry: Clone {
    const DATABASE: &'static str;
    const WHAT: &'static str;
    fn parse(line: &str) -> Option<Self>;
    fn name(&self) -> &str;
    fn number(&self) -> u32;
}

impl Entry for Account {
    const DATABASE: &'static str = "passwd";
    const WHAT: &'static str = "user";

    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, comment, home, shell] = fields.as_slice() else { return None };
        let text = |field: &str| field.to_owned();
        let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
        Some(Self { name: text(name), uid, gid, comment: text(comment), home: text(home), shell: text(shell) })
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn number(&self) -> u32 {
        self.uid
    }
}

impl Entry for Group {
    const DATABASE: &'static str = "group";
    const WHAT: &'static str = "group";

    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(':');
        let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
        let members = fields.next().unwrap_or_default().split(',').map(str::trim).filter(|member| !member.is_empty());
        Some(Self { name: name.to_owned(), gid: gid.parse().ok()?, members: members.map(str::to_owned).collect() })
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn number(&self) -> u32 {
        self.gid
    }
}

/// What is known of the accounts of one sort.
struct Table<E> {
    order: Order,
    /// The entries of the file, in its order.
    file: Vec<E>,
    /// Where they are; of two with one name or number the first counts.
    places: BTreeMap<Key, usize>,
    /// The names in lines that cannot be read.
    broken: BTreeSet<String>,
    /// What the name service answered.
    answers: BTreeMap<Key, Option<E>>,
}

impl<E> Default for Table<E> {
    fn default() -> Self {
        Self {
            order: Order::default(),
            file: Vec::new(),
            places: BTreeMap::new(),
            broken: BTreeSet::new(),
            answers: BTreeMap::new(),
        }
    }
}

impl<E: Entry> Table<E> {
    fn load(etc: &Path, order: Order) -> Self {
        let mut table = Self { order, ..Self::default() };
        let text = fs::read(etc.join(E::DATABASE)).unwrap_or_default();
        for line in String::from_utf8_lossy(&text).lines() {
            // Lines of NIS, comments.
            if line.starts_with(['+', '-', '#']) || line.trim().is_empty() {
                continue;
            }
            let Some(entry) = E::parse(line) else {
                table.broken.extend(line.split(':').next().map(str::to_owned));
                continue;
            };
            let place = table.file.len();
            table.places.entry(Key::Name(entry.name().to_owned())).or_insert(place);
            table.places.entry(Key::Number(entry.number())).or_insert(place);
            table.file.push(entry);
        }
        table
    }

    fn in_file(&self, key: &Key) -> Option<&E> {
        self.places.get(key).and_then(|place| self.file.get(*place))
    }

    /// Asks the name service about those that the files do not answer.
    fn prepare(&mut self, keys: &[Key], run: &Run) -> Result {
        let answered = |key: &&Key| {
            self.answers.contains_key(*key) || self.order == Order::FilesFirst && self.in_file(key).is_some()
        };
        let open: BTreeSet<&Key> = keys.iter().filter(|key| !answered(key)).collect();
        if self.order == Order::Files || open.is_empty() {
            return Ok(());
        }
        let open: Vec<&Key> = open.into_iter().collect();
        let mut answers = BTreeMap::new();
        for some in open.chunks(AT_ONCE) {
            let Some(entries) = getent::<E>(some, run)? else {
                // Without a name service the files are all there is.
                self.order = Order::Files;
                return Ok(());
            };
            for key in some {
                let is_it = |entry: &&E| match key {
                    Key::Name(name) => entry.name() == name,
                    Key::Number(number) => entry.number() == *number,
                };
                answers.insert((*key).clone(), entries.iter().find(is_it).cloned());
            }
        }
        self.answers.extend(answers);
        Ok(())
    }

    fn find(&mut self, key: Key, run: &Run) -> Result<Option<E>> {
        self.prepare(std::slice::from_ref(&key), run)?;
        let found = match self.answers.get(&key) {
            Some(answer) => answer.clone(),
            None => self.in_file(&key).cloned(),
        };
        match key {
            Key::Name(name) if found.is_none() && self.broken.contains(&name) => {
                Err(Failure::new(format!("the entry of {} {name} in /etc/{} is invalid", E::WHAT, E::DATABASE)))
            }
            _ => Ok(found),
        }
    }
}

/// What the name service knows of these; none if this host has no `getent`.
fn getent<E: Entry>(keys: &[&Key], run: &Run) -> Result<Option<Vec<E>>> {
    let words = ["getent", E::DATABASE, "--"].map(str::to_owned).into_iter();
    let command = Command::new(words.chain(keys.iter().map(|key| key.word()))).within(PATIENCE);
    let ended = run(&command).map_err(Failure::new)?;
    match ended.exit {
        127 => Ok(None),
        // 2 says that it does not know one of the names.
        0 | 2 => {
            let text = String::from_utf8_lossy(&ended.stdout);
            Ok(Some(text.lines().filter_map(E::parse).collect()))
        }
        exit => Err(Failure { exit, why: complaint(&ended, &format!("getent {}", E::DATABASE)) }),
    }
}

/// What a program said about its failure.
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

    /// What is known; anew if one of the files changed.
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

    /// Asks about many users and groups at once, by name: what is asked later is known then. What cannot be asked is asked
    /// again, and told, when it is needed.
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

fn has_line(orders: &str, database: &str) -> bool {
    lines(orders, database).next().is_some()
}

/// What `nsswitch.conf(5)` says of one database.
fn lines<'a>(orders: &'a str, database: &'a str) -> impl Iterator<Item = &'a str> {
    let line =
        move |line: &'a str| line.split('#').next()?.trim().strip_prefix(database)?.trim_start().strip_prefix(':');
    orders.lines().filter_map(line)
}

/// Where the name service looks: without a line about it, in the files first. Rules in brackets can say anything.
fn order(orders: &str, database: &str) -> Order {
    let Some(line) = lines(orders, database).next() else { return Order::FilesFirst };
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    match words.as_slice() {
        _ if line.contains('[') => Order::Elsewhere,
        ["files"] => Order::Files,
        ["files", ..] => Order::FilesFirst,
        _ => Order::Elsewhere,
    }
}

/// The user and the groups of `uid=1000(ada) gid=1000(ada) groups=1000(ada),27(sudo)`. A name may have spaces and commas.
fn parse_id(line: &str) -> Option<(String, Groups)> {
    let (user, rest) = numbered(line.strip_prefix("uid=")?)?;
    let (primary, rest) = numbered(rest.strip_prefix(" gid=")?)?;
    // An effective identity, of programs that run with the rights of another.
    let mut rest = rest.split_once(" groups=").map_or("", |(_, groups)| groups);
    let mut others = Vec::new();
    while let Some((group, more)) = numbered(rest) {
        if group.0 != primary.0 {
            others.push(group);
        }
        rest = more.strip_prefix(',').unwrap_or_default();
    }
    Some((user.1.unwrap_or_else(|| user.0.to_string()), Groups { primary, others }))
}

/// The number and name at the beginning of `27(sudo),...`, and what follows.
fn numbered(text: &str) -> Option<((u32, Option<String>), &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let number = number.parse().ok()?;
    match rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        Some((name, rest)) => Some(((number, Some(name.to_owned())), rest)),
        None => Some(((number, None), rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nada:x:1000:1000:Ada, L:/home/ada:/bin/sh\n\
                          twin:x:1000:27::/:/bin/false\n# bob:x:7:7::/:/\n+nis:x:8:8::/:/\nbad:x:many:1::/:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nada:x:1000:\nsudo:x:27:ada,root\nadm:x:4:root, ada\nada2:x:1000:ada\n";

    /// A name service that knows `bob` (2000) and his groups, and notes what it was asked.
    fn service(log: &Arc<Mutex<Vec<String>>>) -> Run {
        let log = Arc::clone(log);
        Arc::new(move |command: &Command| {
            log.lock().expect("a log").push(command.argv.join(" "));
            let words: Vec<&str> = command.argv.iter().map(String::as_str).collect();
            let (exit, stdout) = match words.as_slice() {
                ["getent", "passwd", "--", names @ ..] => (
                    if names.iter().all(|name| ["bob", "2000"].contains(name)) { 0 } else { 2 },
                    names
                        .iter()
                        .filter(|n| ["bob", "2000"].contains(n))
                        .map(|_| "bob:*:2000:2000:Bob:/home/bob:/bin/sh\n")
                        .collect(),
                ),
                ["getent", "group", "--", names @ ..] => {
                    (2, names.iter().filter(|n| ["bob", "2000"].contains(n)).map(|_| "bob:*:2000:\n").collect())
                }
                ["id", "--", names @ ..] => (
                    0,
                    names
                        .iter()
                        .map(|name| {
                            format!("uid=1({name}) gid=1000(ada) groups=1000(ada),27(sudo),3(domain users, all),77\n")
                        })
                        .collect(),
                ),
                _ => (127, String::new()),
            };
            Ok(CommandReading { exit, stdout: stdout.into_bytes(), stderr: Vec::new() })
        })
    }

    struct Etc {
        directory: tempfile::TempDir,
        log: Arc<Mutex<Vec<String>>>,
        accounts: Accounts,
    }

    impl Etc {
        fn new(nsswitch: &str) -> Self {
            let directory = tempfile::tempdir().expect("a directory");
            let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).expect("a file");
            write("passwd", PASSWD);
            write("group", GROUP);
            write("nsswitch.conf", nsswitch);
            let log = Arc::default();
            let accounts = Accounts::of(directory.path(), service(&log));
            Self { directory, log, accounts }
        }

        fn asked(&self) -> Vec<String> {
            std::mem::take(&mut self.log.lock().expect("a log"))
        }

        fn uid(&self, name: &str) -> Option<u32> {
            self.accounts.user(name).expect("an answer").map(|user| user.uid)
        }
    }

    #[test]
    fn files_that_answer_cost_no_program() {
        for nsswitch in
            ["passwd: files\ngroup:\tfiles # ours\n", "passwd: files systemd\ngroup: files sss\n", "hosts: dns\n"]
        {
            let etc = Etc::new(nsswitch);
            assert_eq!([etc.uid("root"), etc.uid("ada"), etc.uid("twin")], [Some(0), Some(1000), Some(1000)]);
            let ada = etc.accounts.user_numbered(1000).expect("an answer").expect("she is there");
            assert_eq!((ada.name.as_str(), ada.comment.as_str(), ada.shell.as_str()), ("ada", "Ada, L", "/bin/sh"));
            assert_eq!(etc.accounts.group("sudo").expect("an answer").map(|group| group.gid), Some(27));
            assert_eq!(
                etc.accounts.group_numbered(1000).expect("an answer").map(|group| group.name).as_deref(),
                Some("ada")
            );
            assert_eq!(etc.asked(), Vec::<String>::new(), "{nsswitch:?}");
        }
    }

    #[test]
    fn who_is_not_in_the_files_is_asked_for_once_and_together() {
        let etc = Etc::new("passwd: files sss\ngroup: files sss\n");
        etc.accounts.prepare_names(["bob", "none", "ada"], ["bob"]);
        assert_eq!(etc.asked(), ["getent passwd -- bob none", "getent group -- bob"]);
        assert_eq!([etc.uid("bob"), etc.uid("none"), etc.uid("ada")], [Some(2000), None, Some(1000)]);
        etc.accounts.prepare_numbers([0, 1000, 2000, 3000], [2000]);
        assert_eq!(etc.asked(), ["getent passwd -- 2000 3000", "getent group -- 2000"]);
        assert_eq!(etc.accounts.user_numbered(2000).expect("an answer").map(|user| user.name).as_deref(), Some("bob"));
        assert_eq!(etc.uid("2000"), None, "a number is no name");
        etc.accounts.forget();
        etc.asked();
        assert_eq!(etc.uid("none"), None);
        assert_eq!(etc.asked().len(), 1);
    }

    #[test]
    fn a_name_service_before_the_files_is_asked_about_everybody() {
        for nsswitch in ["passwd: sss files\n", "passwd: files [SUCCESS=merge] sss\n", "passwd: compat\n"] {
            let etc = Etc::new(nsswitch);
            assert_eq!((etc.uid("bob"), etc.uid("ada")), (Some(2000), None), "{nsswitch:?}");
        }
        // Without a name service the files are all there is.
        let etc = Etc::new("passwd: sss files\n");
        let none = Accounts::of(
            etc.directory.path(),
            Arc::new(|_| Ok(CommandReading { exit: 127, ..CommandReading::default() })),
        );
        assert_eq!(none.user("ada").expect("an answer").map(|user| user.uid), Some(1000));
    }

    #[test]
    fn what_the_name_service_cannot_say_is_not_known() {
        let etc = Etc::new("passwd: files sss\n");
        let late = CommandReading { exit: 124, ..CommandReading::default() };
        let accounts = Accounts::of(etc.directory.path(), Arc::new(move |_| Ok(late.clone())));
        assert_eq!(accounts.user("ada").expect("an answer").map(|user| user.uid), Some(1000));
        assert_eq!(accounts.user("bob").expect_err("it is late").why, "getent passwd did not answer in time");
        let files = Etc::new("passwd: files\n");
        assert!(files.accounts.user("bad").expect_err("a number is wrong").why.contains("the entry of user bad"));
        assert_eq!(files.uid("bob"), None, "a comment");
        assert_eq!(files.uid("nis"), None);
    }

    #[test]
    fn a_change_of_the_files_is_seen() {
        let etc = Etc::new("passwd: files\n");
        assert_eq!(etc.uid("eve"), None);
        fs::write(etc.directory.path().join("passwd"), format!("{PASSWD}eve:x:5:5::/home/eve:/bin/sh\n"))
            .expect("a file");
        assert_eq!(etc.uid("eve"), Some(5));
    }

    #[test]
    fn a_home_is_a_directory_of_the_users_own() {
        let etc = Etc::new("passwd: files\n");
        let homes = "a:x:1:1::/home/a:/\nb:x:2:2::/nonexistent:/\nc:x:3:3::/:/\nd:x:4:4:::/\n";
        fs::write(etc.directory.path().join("passwd"), homes).expect("a file");
        let home = |name| etc.accounts.home(name).expect("an answer");
        assert_eq!([home("a").as_deref(), home("b").as_deref(), home("c").as_deref()], [Some("/home/a"), None, None]);
        assert_eq!([home("d"), home("none")], [None, None]);
    }

    #[test]
    fn the_groups_of_a_user_are_told_by_the_files_or_by_one_program() {
        let files = Etc::new("passwd: files\ngroup: files\n");
        let groups = files.accounts.groups("ada").expect("an answer").expect("she is there");
        assert_eq!(groups.numbers(), [1000, 27, 4]);
        assert_eq!(
            groups.names(),
            MembershipReading { group: "ada".into(), groups: vec!["adm".into(), "sudo".into()] }
        );
        assert_eq!(files.accounts.groups("twin").expect("an answer").expect("there").numbers(), [27]);
        assert_eq!(files.accounts.groups("none"), Ok(None));
        assert_eq!(files.asked(), Vec::<String>::new());

        for nsswitch in ["passwd: files\ngroup: files systemd\n", "passwd: files\ngroup: files\ninitgroups: sss\n"] {
            let etc = Etc::new(nsswitch);
            etc.accounts.prepare_groups(["ada", "none", "root"]);
            let groups = etc.accounts.groups("ada").expect("an answer").expect("she is there");
            assert_eq!(groups.numbers(), [1000, 27, 3, 77]);
            assert_eq!(groups.names().groups, ["77", "domain users, all", "sudo"]);
            assert_eq!(etc.accounts.groups("none"), Ok(None));
            assert_eq!(etc.asked(), ["id -- ada root"], "{nsswitch:?}");
        }
    }

    #[test]
    fn an_id_that_takes_one_name_is_asked_about_each() {
        let etc = Etc::new("passwd: files\ngroup: files systemd\n");
        let one = |command: &Command| {
            let [_, _, name] = command.argv.as_slice() else {
                return Ok(CommandReading { exit: 1, ..CommandReading::default() });
            };
            let stdout = format!("uid=9({name}) gid=1000 groups=1000,27(sudo)\n").into_bytes();
            Ok(CommandReading { exit: 0, stdout, stderr: Vec::new() })
        };
        let accounts = Accounts::of(etc.directory.path(), Arc::new(one));
        accounts.prepare_groups(["ada", "root"]);
        let groups = accounts.groups("ada").expect("an answer").expect("she is there");
        assert_eq!(groups.names(), MembershipReading { group: "1000".into(), groups: vec!["sudo".into()] });
    }
}
