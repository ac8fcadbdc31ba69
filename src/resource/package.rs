//! `package`: a package of the host's own package manager: apt, dnf, yum, zypper, apk or pacman.
//!
//! In: name, version and whether it is held. Out: literal calls of the manager that the host says it has, which never
//! ask anything. Never: the purge of a package's configuration or data unless that is said, a change of a package that
//! somebody else holds, or a removal that takes along what something else needs.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{self, Presence};
use super::version;
use super::{Action, Change, Field, Kind, Made, Others, Tool, Verdict, Wish, systemd, trace};
use crate::step::{
    Command, Holding, Leftovers, Manager, PackageReading, PackageRemoval, Probe, Readings, RemovalReading, Step,
    Touched, Unreadable, WaitsFor,
};

/// Package lists older than this many seconds are fetched again before something is installed: a day.
const LISTS_EXPIRE: u64 = 86_400;
/// A large package over a slow line, and up to five minutes for another `apt` to finish.
const PATIENCE: Duration = Duration::from_secs(30 * 60);
/// How long `apt-get` waits for another one, such as unattended-upgrades.
const WAIT_FOR_LOCK: &str = "DPkg::Lock::Timeout=300";

/// A package of the host's own manager: apt, dnf, yum, zypper, apk or pacman.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Package {
    /// Its name as the host's manager knows it; for apt with its architecture if that is not the host's own: `libc6:i386`.
    name: String,
    /// Exactly this version, or with `*` at the end any that begins so: `3.8.*`. Any version by default; a newer one
    /// in the archive is then no reason to upgrade.
    #[serde(default)]
    version: Option<String>,
    /// Whether upgrades leave it alone (`apt-mark hold`, `dnf versionlock`, `zypper addlock`). Left as it is by default.
    /// apk and pacman cannot.
    #[serde(default)]
    hold: Option<bool>,
    /// Whether it is installed. `absent` keeps its configuration and the packages that came with it. What depends on it keeps
    /// it back, unless that is to be absent, too.
    #[serde(default)]
    state: Presence,
    /// Whether its configuration goes with it: when it is to be absent, or when it is removed from the roles. With apt, the
    /// package's own scripts may then delete its data, too.
    #[serde(default)]
    purge: bool,
    /// With `state: absent`: whether every package goes, too, that came only because it needs it (apt, apk, pacman).
    /// `purge` includes it, and so does the removal of what no role wants any more.
    #[serde(default)]
    autoremove: bool,
    /// Whether installing it may start its services. With `false` they wait for the `service` that starts them.
    #[serde(default = "fields::yes")]
    start: bool,
}

/// What was found.
#[derive(Debug, PartialEq)]
pub(super) struct State {
    package: PackageReading,
    /// What its removal would take along; empty if it should be there.
    removal: RemovalReading,
}

impl Kind for Package {
    const NAME: &'static str = "package";
    const SUMMARY: &'static str = "A package of the host's package manager, in any version or a given one";
    const EXAMPLE: &'static str = "package: { name: zookeeperd, version: \"3.8.*\", hold: true }";
    const SHORT: &'static str = "name";
    const TOOLS: &'static [Tool] =
        &[Tool::of(&["apt-get"], ""), Tool::of(&["dpkg-query"], ""), Tool::of(&["apt-mark"], "")];
    const BRINGS: bool = true;
    type State = State;

    fn target(&self) -> String {
        self.name.clone()
    }

    fn check(&self) -> Result<(), String> {
        check_name(&self.name)?;
        self.version.iter().try_for_each(|version| check_version(version))?;
        match (self.state, &self.version, self.hold) {
            (Presence::Absent, Some(_), _) => Err("a package with `state: absent` takes no `version`".to_owned()),
            (Presence::Absent, _, Some(true)) => Err("a package with `state: absent` cannot be held".to_owned()),
            (Presence::Present, ..) if self.autoremove => Err("`autoremove` needs `state: absent`".to_owned()),
            _ => Ok(()),
        }
    }

    fn probes(&self) -> Vec<Probe> {
        let rehearsal = (self.state == Presence::Absent).then(|| self.rehearsal());
        std::iter::once(Probe::Package(self.name.clone())).chain(rehearsal).collect()
    }

    fn observe(&self, readings: &Readings) -> Result<State, Unreadable> {
        let package = readings.package(&Probe::Package(self.name.clone()))?.clone();
        let removal = match self.state {
            Presence::Absent => readings.removal(&self.rehearsal()).cloned().map_err(|Unreadable(why)| {
                Unreadable(format!("the packages that its removal would remove are unknown: {why}"))
            })?,
            Presence::Present => RemovalReading::default(),
        };
        Ok(State { package, removal })
    }

    fn change(&self, state: &State) -> Verdict {
        if let Some(why) = self.impossible(&state.package) {
            return Verdict::Refuse(why);
        }
        match self.state {
            Presence::Absent => self.removal(state, &Others::default()),
            Presence::Present => self.presence(&state.package),
        }
    }

    fn among(&self, state: &State, _wish: Wish, others: &Others) -> Verdict {
        match (self.impossible(&state.package), self.state) {
            (Some(why), _) => Verdict::Refuse(why),
            (None, Presence::Absent) => self.removal(state, others),
            (None, Presence::Present) => self.presence(&state.package),
        }
    }

    /// What came only for it, where that goes, too.
    fn takes_along(&self, state: &State) -> Vec<String> {
        let goes = self.state == Presence::Absent && (self.autoremove || self.purge);
        if goes { state.removal.along.clone() } else { Vec::new() }
    }

    /// A ledger from before packages were asked what becomes of their configuration has all of them purged, which nobody
    /// asked for.
    fn renewed(mut keys: serde_json::Value) -> serde_json::Value {
        if let Some(keys) = keys.as_object_mut().filter(|keys| !keys.contains_key("autoremove")) {
            keys.remove("purge");
            keys.insert("autoremove".to_owned(), true.into());
        }
        keys
    }

    /// With what came only for it: nobody else wanted that. A hold was ours.
    fn absent(&self) -> Option<serde_json::Value> {
        let (hold, purge) = ((self.hold == Some(true)).then_some(false), self.purge.then_some(true));
        let keys = serde_json::json!({ "name": self.name, "autoremove": true, "purge": purge, "hold": hold });
        trace::away(self.state, keys)
    }

    fn exists(&self, state: &State) -> bool {
        state.package.installed.is_some() || self.purge && state.removal.left
    }

    fn made(&self) -> Made {
        Made::As(true.to_string())
    }

    fn fingerprint(&self, state: &State) -> String {
        let PackageReading { manager, holding, installed, held, interrupted, .. } = &state.package;
        format!("{manager} {holding:?} {installed:?} {held} {interrupted} {:?}", state.removal)
    }

    /// Upgrades are others' business.
    fn imprint(&self, state: &State) -> String {
        state.package.installed.is_some().to_string()
    }
}

impl Package {
    /// What the host's manager cannot do.
    fn impossible(&self, found: &PackageReading) -> Option<String> {
        let manager = found.manager;
        if manager == Manager::Apt && self.name.contains(|c: char| c.is_ascii_uppercase() || c == '_') {
            return Some(format!("invalid apt package name `{}`: it must be lower-case", self.name));
        }
        if manager != Manager::Apt && self.name.contains(':') {
            return Some(format!("`{}` is an apt package name, and this host has {manager}", self.name));
        }
        if self.hold == Some(true) && found.holding == Holding::Unable {
            return Some(match manager {
                Manager::Dnf => {
                    "dnf needs a plugin to hold packages: add the package python3-dnf-plugin-versionlock".to_owned()
                }
                Manager::Yum => {
                    "yum needs a plugin to hold packages: add the package yum-plugin-versionlock".to_owned()
                }
                _ => format!("{manager} cannot hold a package: remove `hold`, or set its version"),
            });
        }
        let install = self.state == Presence::Present && !self.is_wanted(found);
        let version = self.version.as_deref().filter(|_| install)?;
        match manager {
            Manager::Pacman => Some("pacman installs the newest version only: remove `version`".to_owned()),
            Manager::Zypper if version.ends_with('*') => {
                Some("zypper needs the complete version: write it without `*`".to_owned())
            }
            Manager::Apk if version.ends_with('*') && !version.ends_with(".*") => {
                Some("apk matches a version prefix at dots only: write it like 3.8.*".to_owned())
            }
            _ => None,
        }
    }

    fn presence(&self, found: &PackageReading) -> Verdict {
        let install = !self.is_wanted(found);
        if install && found.held && self.hold.is_none() {
            return Verdict::Refuse(held("hold: true"));
        }
        let mut steps = Vec::new();
        // Only apt can change what it holds.
        let locked = install && self.hold == Some(true) && found.manager != Manager::Apt;
        if found.held && (self.hold == Some(false) || locked) {
            steps.push(self.mark(found.manager, Mark::Unhold));
        }
        if install {
            steps.extend(self.finishing(found));
            steps.extend(self.installing(found));
        }
        // Also after an installation, which may end a hold.
        if self.hold == Some(true) && (install || !found.held) {
            steps.push(self.mark(found.manager, Mark::Hold));
        }
        if found.installed.is_none() {
            return Verdict::change(Action::Add, self.shown(found), steps);
        }
        Verdict::differing(self.shown(found), steps)
    }

    fn is_wanted(&self, found: &PackageReading) -> bool {
        match (found.installed.as_deref(), self.version.as_deref()) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(installed), Some(wanted)) => spellings(found.manager, installed).iter().any(|installed| {
                wanted.strip_suffix('*').map_or(*installed == wanted, |stem| installed.starts_with(stem))
            }),
        }
    }

    fn shown(&self, found: &PackageReading) -> Vec<Field> {
        let version = self.version.as_ref().filter(|_| !self.is_wanted(found));
        let version = version.map(|to| match &found.installed {
            Some(from) => fields::text("version", from, to),
            None => fields::new("version", to),
        });
        let hold = self.hold.filter(|hold| *hold != found.held).map(|to| fields::text("hold", &found.held, &to));
        let finished = self.finishing(found).map(|_| fields::text("dpkg", "interrupted", "finished"));
        version.into_iter().chain(hold).chain(finished).collect()
    }

    /// Lets dpkg finish what a power loss interrupted, as apt refuses to work before. What it cannot finish, because
    /// other packages are missing, `apt-get --fix-broken` does.
    fn finishing(&self, found: &PackageReading) -> Option<Step> {
        let wanted = self.state == Presence::Present && self.is_wanted(found);
        if wanted || !found.interrupted {
            return None;
        }
        let script = "dpkg --configure -a --force-confdef --force-confold || :";
        let command = self.by_apt(Command::new(["sh", "-c", script]));
        Some(Step::Run(if self.start { command } else { command.with("SYSTEMD_OFFLINE", "1") }))
    }

    fn installing(&self, found: &PackageReading) -> Vec<Step> {
        match found.manager {
            Manager::Apt => self.installing_by_apt(found),
            // A list that is newer than the system would make half an upgrade of it.
            Manager::Pacman => {
                let unknown = found.lists_age.is_none().then_some(Step::RefreshPackages);
                let argv = ["pacman", "-S", "--needed", "--noconfirm", "--noprogressbar", "--", &self.name];
                unknown.into_iter().chain(self.quietly(Command::new(argv).within(PATIENCE))).collect()
            }
            Manager::Apk => {
                let argv =
                    ["apk", "add", "--wait", "300", "--update-cache", "--no-progress", &self.chosen(found.manager)];
                vec![Step::Run(Command::new(argv).within(PATIENCE))]
            }
            manager => self.quietly(self.installing_by_rpm(manager, found)),
        }
    }

    /// Their managers fetch lists that are too old by themselves.
    fn installing_by_rpm(&self, manager: Manager, found: &PackageReading) -> Command {
        let (down, wish) = (self.is_downgrade(found), self.chosen(manager));
        if manager == Manager::Zypper {
            let older = down.then_some("--oldpackage");
            let argv = ["zypper", "--non-interactive", "--quiet", "install", "--no-recommends"].into_iter();
            return patient(Command::new(argv.chain(older).chain([wish.as_str()])));
        }
        let verb = if down { "downgrade" } else { "install" };
        let program = manager.to_string();
        // yum is from before there were recommendations.
        let few = (manager == Manager::Dnf).then_some("--setopt=install_weak_deps=False");
        patient(Command::new([program.as_str(), "-q", "-y"].into_iter().chain(few).chain([verb, wish.as_str()])))
    }

    /// The name with the version, as the manager takes it.
    fn chosen(&self, manager: Manager) -> String {
        let Some(version) = &self.version else { return self.name.clone() };
        match (manager, version.strip_suffix(".*")) {
            (Manager::Apk, Some(stem)) => format!("{}~{stem}", self.name),
            (Manager::Apt | Manager::Apk | Manager::Zypper, _) => format!("{}={version}", self.name),
            _ => format!("{}-{version}", self.name),
        }
    }

    fn installing_by_apt(&self, found: &PackageReading) -> Vec<Step> {
        let stale = found.lists_age.is_none_or(|age| age > LISTS_EXPIRE);
        let mut argv = vec!["apt-get", "install", "-y", "-q", "--no-install-recommends", "-o", WAIT_FOR_LOCK];
        // A configuration file that was changed on the host stays: what armilla wants in it, it writes itself.
        argv.extend(["-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"]);
        argv.extend(found.interrupted.then_some("--fix-broken"));
        argv.extend(self.is_downgrade(found).then_some("--allow-downgrades"));
        argv.extend((found.held && self.hold == Some(true)).then_some("--allow-change-held-packages"));
        let wanted = self.chosen(Manager::Apt);
        argv.extend(["--", &wanted]);
        let install = self.quietly(self.by_apt(Command::new(argv)).waiting_for(WaitsFor::Dpkg));
        stale.then_some(Step::RefreshPackages).into_iter().chain(install).collect()
    }

    /// The one place that keeps services from starting: `systemctl` only makes and removes links while
    /// `SYSTEMD_OFFLINE` is set, and afterwards systemd has to be told what it missed.
    fn quietly(&self, install: Command) -> Vec<Step> {
        if self.start {
            return vec![Step::Run(install)];
        }
        let reload = systemd::daemon_reload(None);
        vec![Step::Run(install.with("SYSTEMD_OFFLINE", "1")), Step::Run(reload)]
    }

    /// What apt and dpkg do to it can be rolled back; what other managers do cannot.
    fn by_apt(&self, command: Command) -> Command {
        silent(command).touching([Touched::Package(self.name.clone())])
    }

    fn is_downgrade(&self, found: &PackageReading) -> bool {
        let wanted = self.version.as_deref().map(|version| version.trim_end_matches('*'));
        let compare = if found.manager.is_rpm() { version::compare_rpm } else { version::compare };
        found.installed.as_deref().zip(wanted).is_some_and(|(from, to)| compare(to, from).is_lt())
    }

    fn mark(&self, manager: Manager, mark: Mark) -> Step {
        let name = self.name.as_str();
        Step::Run(match (manager, mark) {
            (Manager::Zypper, Mark::Hold) => patient(Command::new(["zypper", "--non-interactive", "addlock", name])),
            (Manager::Zypper, Mark::Unhold) => {
                patient(Command::new(["zypper", "--non-interactive", "removelock", name]))
            }
            (Manager::Dnf | Manager::Yum, mark) => {
                let verb = if mark == Mark::Hold { "add" } else { "delete" };
                patient(Command::new([manager.to_string().as_str(), "-q", "-y", "versionlock", verb, name]))
            }
            (_, mark) => {
                let verb = if mark == Mark::Hold { "hold" } else { "unhold" };
                self.by_apt(Command::new(["apt-mark", verb, "--", name]))
            }
        })
    }

    fn removal(&self, found: &State, others: &Others) -> Verdict {
        let State { package, removal } = found;
        if package.installed.is_none() {
            if !(self.purge && removal.left) {
                return Verdict::InSync;
            }
            let shown = vec![fields::text("configuration", "left of it", "none")];
            return Verdict::change(Action::Remove, shown, vec![self.removing(package.manager, Vec::new(), others)]);
        }
        if package.held && self.hold.is_none() {
            return Verdict::Refuse(held("hold: false"));
        }
        let along = match self.along(found, others) {
            Ok(along) => along,
            Err(why) => return Verdict::Refuse(why),
        };
        let shown = self.taken(removal, &along);
        let mut steps: Vec<Step> = package.held.then(|| self.mark(package.manager, Mark::Unhold)).into_iter().collect();
        steps.extend(self.finishing(package));
        steps.push(self.removing(package.manager, along, others));
        let change = Change { action: Action::Remove, fields: shown, steps };
        match others.installs(Self::NAME).as_slice() {
            [] => Verdict::Change(change),
            new => Verdict::MayChange(
                change,
                format!("only if the packages installed before it ({}) do not need it", new.join(", ")),
            ),
        }
    }

    /// What goes with it.
    ///
    /// # Errors
    /// What depends on it and stays.
    fn along(&self, found: &State, others: &Others) -> Result<Vec<String>, String> {
        let RemovalReading { needs, serves, along, .. } = &found.removal;
        let stays = |name: &&String| !others.removes(Self::NAME, name);
        let wanted = |name: &&String| others.wants(Self::NAME, name);
        let needed = needs.iter().filter(stays).chain(serves.iter().filter(wanted)).collect::<Vec<_>>();
        if !needed.is_empty() {
            let named: Vec<String> = needed.iter().map(|name| others.described(Self::NAME, name)).collect();
            let depend = if needed.len() == 1 { "depends" } else { "depend" };
            return Err(format!("{} {depend} on it", named.join(" and ")));
        }
        let unneeded = match along.iter().find(wanted) {
            // It always takes them along.
            Some(name) if found.package.manager == Manager::Apk => {
                let named = others.described(Self::NAME, name);
                return Err(format!("{named} would be removed with it: `apk add {name}` keeps it"));
            }
            // What those that are wanted need is among the others.
            None if self.autoremove || self.purge || found.package.manager == Manager::Apk => along.clone(),
            Some(_) | None => Vec::new(),
        };
        Ok([needs.clone(), serves.clone(), unneeded].concat())
    }

    /// What goes beside the package itself, for a person.
    fn taken(&self, removal: &RemovalReading, along: &[String]) -> Vec<Field> {
        let purged =
            self.purge.then(|| "deleted, with everything that its own scripts delete, such as data".to_owned());
        let sorts = [
            ("also removed", (!along.is_empty()).then(|| along.join(", "))),
            ("also installed", (!removal.instead.is_empty()).then(|| removal.instead.join(", "))),
            ("configuration", purged),
        ];
        sorts.into_iter().filter_map(|(name, text)| Some(fields::new(name, &text?))).collect()
    }

    fn removing(&self, manager: Manager, along: Vec<String>, others: &Others) -> Step {
        let names = std::iter::once(self.name.clone()).chain(along).collect();
        let leftovers = if self.purge { Leftovers::Purged } else { Leftovers::Kept };
        Step::RemovePackages(PackageRemoval {
            manager,
            names,
            leftovers,
            unless_needed_by: others.installs(Self::NAME),
        })
    }

    fn rehearsal(&self) -> Probe {
        Probe::Removal(self.name.clone())
    }
}

/// The same, asking nobody anything and restarting nothing that it was not told to.
fn silent(command: Command) -> Command {
    let quiet = command.with("DEBIAN_FRONTEND", "noninteractive").with("APT_LISTCHANGES_FRONTEND", "none");
    quiet.with("NEEDRESTART_MODE", "l").within(PATIENCE)
}

/// The same with time for a large package and for others to finish.
fn patient(command: Command) -> Command {
    let zypper = command.argv.first().is_some_and(|program| program == "zypper");
    let command = if zypper { command.with("ZYPP_LOCK_TIMEOUT", "300") } else { command };
    command.within(PATIENCE)
}

/// What becomes of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Hold,
    Unhold,
}

/// How an installed version may be written: that of an RPM also without its epoch and without its release.
fn spellings(manager: Manager, installed: &str) -> Vec<&str> {
    if !manager.is_rpm() {
        return vec![installed];
    }
    let bare = installed.split_once(':').map_or(installed, |(_, rest)| rest);
    let release = |text: &'_ str| text.rfind('-').unwrap_or(text.len());
    vec![installed, bare, &installed[..release(installed)], &bare[..release(bare)]]
}

fn held(key: &str) -> String {
    format!("it is held on the host: write `{key}` to change it anyway")
}

/// Names by Debian's policy (section 5.6.1) and those of RPM, apk and Arch, which have capitals and underscores, too.
/// What `apt-get` reads as more than a name is refused: `name-` removes, `name/suite`, `name^` and patterns choose others.
fn check_name(name: &str) -> Result<(), String> {
    let (package, architecture) = name.split_once(':').unwrap_or((name, "all"));
    let plain = |c: char| c.is_ascii_alphanumeric();
    let named = package.len() > 1 && package.starts_with(plain) && !package.ends_with('-');
    let spelled = package.chars().all(|c| plain(c) || matches!(c, '+' | '-' | '.' | '_'));
    let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if named && spelled && !architecture.is_empty() && architecture.chars().all(lower) {
        return Ok(());
    }
    Err(format!("invalid package name `{}`", name.escape_debug()))
}

fn check_version(version: &str) -> Result<(), String> {
    let stem = version.strip_suffix('*').unwrap_or(version);
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-' | '~' | ':' | '^' | '_');
    if stem.starts_with(|c: char| c.is_ascii_alphanumeric()) && stem.chars().all(fine) {
        return Ok(());
    }
    Err(format!(
        "invalid package version `{}`: write it as `apt-cache policy` does, or like 3.8.*",
        version.escape_debug()
    ))
}
