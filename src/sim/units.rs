//! What systemd knows on a simulated host.
//!
//! In: unit files among the paths, and calls of `systemctl`. Out: which units run, since when, and with which
//! configuration. Never: a configuration that a service did not read when it started.

use std::collections::{BTreeMap, BTreeSet};

use super::Trouble;
use super::tree::{Tree, What};
use crate::step::{Digest, Removable, UnitReading};

const ADMIN: &str = "/etc/systemd/system";
const VENDOR: &str = "/usr/lib/systemd/system";
/// The links of the units that start with the host.
pub(super) const WANTS: &str = "/etc/systemd/system/multi-user.target.wants";

/// Every unit that systemd has looked at.
#[derive(Debug, Clone, Default)]
pub struct Units(BTreeMap<String, Unit>);

/// A unit that systemd has looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its file, as it was when systemd read it.
    pub definition: Definition,
    /// How it is.
    pub activity: Activity,
    /// When it became active.
    pub since: Option<i64>,
    /// The configuration it runs with.
    pub configuration: Option<Digest>,
    /// How often it was started.
    pub starts: usize,
}

/// How a unit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// It runs.
    Active,
    /// It does not run.
    Inactive,
    /// It ended badly.
    Failed,
}

/// What a unit's file and drop-ins say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Definition {
    /// All of it.
    pub text: String,
    /// As whom it runs.
    pub user: Option<String>,
    /// Where it listens.
    pub port: Option<u16>,
    /// Whether it works only while most hosts that have it run it.
    pub quorum: bool,
    /// Seconds it needs before it works.
    pub warm: i64,
    /// Seconds after which it fails each time; systemd starts it again a second later. 0 if it does not fail.
    pub fails_after: i64,
    /// The files and folders it reads when it starts.
    pub reads: Vec<String>,
    /// The paths it cannot start without.
    pub needs: Vec<String>,
    /// The units it requires.
    pub requires: Vec<String>,
}

impl Definition {
    /// What the files of a unit say now; none if it has no file.
    pub fn read(name: &str, paths: &Tree) -> Option<Self> {
        let file = [ADMIN, VENDOR].iter().find_map(|folder| paths.file(&format!("{folder}/{name}")))?;
        let folder = format!("{ADMIN}/{name}.d");
        let parts = paths.below(&folder).filter_map(|(_, node)| match &node.what {
            What::File(content) => Some(content.as_slice()),
            _ => None,
        });
        let text: Vec<_> = std::iter::once(file).chain(parts).map(String::from_utf8_lossy).collect();
        Some(Self::parse(text.join("\n")))
    }

    fn parse(text: String) -> Self {
        let mut definition = Self::default();
        for line in text.lines() {
            if let Some(user) = line.strip_prefix("User=") {
                definition.user = Some(user.to_owned());
            }
            if let Some(units) = line.strip_prefix("Requires=") {
                definition.requires.extend(units.split_whitespace().map(str::to_owned));
            }
            if let Some(program) = line.strip_prefix("ExecStart=") {
                definition.options(program);
            }
        }
        Self { text, ..definition }
    }

    fn options(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        for (index, word) in words.iter().enumerate() {
            let value = words.get(index + 1).copied().unwrap_or_default();
            match *word {
                "--port" => self.port = value.parse().ok(),
                "--quorum" => self.quorum = true,
                "--warm" => self.warm = value.parse().unwrap_or_default(),
                "--fails-after" => self.fails_after = value.parse().unwrap_or_default(),
                "--config" => self.reads.push(value.to_owned()),
                "--needs" => self.needs.push(value.to_owned()),
                _ => {}
            }
        }
    }

    /// The configuration a service reads if it starts now.
    fn configuration(&self, paths: &Tree) -> Digest {
        let digests: Vec<String> = self.reads.iter().map(|path| paths.digest(path).0).collect();
        Digest::of(digests.join(" ").as_bytes())
    }

    fn installable(&self) -> bool {
        self.text.contains("[Install]")
    }
}

impl Unit {
    /// How often systemd restarted it until now, and for how many seconds it has run since; none while systemd waits to
    /// restart it, or where it does not run at all.
    pub fn restarts(&self, now: i64) -> (u64, Option<u64>) {
        let Some(since) = self.since.filter(|_| self.activity == Activity::Active) else { return (0, None) };
        let (ran, fails_after) = (now - since, self.definition.fails_after);
        let number = |seconds: i64| u64::try_from(seconds).unwrap_or_default();
        if fails_after == 0 {
            return (0, Some(number(ran)));
        }
        let (restarts, ran) = (ran / (fails_after + 1), ran % (fails_after + 1));
        (number(restarts), (ran < fails_after).then(|| number(ran)))
    }
}

impl Units {
    /// The units that run.
    pub fn active(&self) -> impl Iterator<Item = &Unit> {
        self.0.values().filter(|unit| unit.activity == Activity::Active)
    }

    /// A unit, if systemd has looked at it.
    pub fn get(&self, name: &str) -> Option<&Unit> {
        self.0.get(name)
    }

    /// Every unit that systemd has looked at.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Unit)> {
        self.0.iter()
    }

    /// What `systemctl show` would say.
    pub fn reading(&self, name: &str, paths: &Tree, now: i64) -> UnitReading {
        let on_disk = Definition::read(name, paths);
        let known = self.0.get(name);
        let masked = is_masked(name, paths);
        let load = match (&on_disk, known) {
            _ if masked => "masked",
            (None, None) => "not-found",
            _ => "loaded",
        };
        let (restarts, age) = known.map_or((0, None), |unit| unit.restarts(now));
        let (active, sub) = match known.map(|unit| unit.activity) {
            Some(Activity::Active) if age.is_none() => ("activating", "auto-restart"),
            Some(Activity::Active) => ("active", "running"),
            Some(Activity::Failed) => ("failed", "failed"),
            Some(Activity::Inactive) | None => ("inactive", "dead"),
        };
        UnitReading {
            load: load.to_owned(),
            active: active.to_owned(),
            sub: sub.to_owned(),
            enabled: enabled(name, masked, on_disk.as_ref(), paths).to_owned(),
            needs_reload: known.is_some_and(|unit| Some(&unit.definition) != on_disk.as_ref()),
            since: known.filter(|unit| unit.activity == Activity::Active).and_then(|unit| unit.since),
            restarts,
            age,
            required_by: Self::required_by(name, paths),
        }
    }

    /// The units that require one.
    pub(super) fn required_by(name: &str, paths: &Tree) -> Vec<String> {
        let files = [ADMIN, VENDOR].iter().flat_map(|folder| {
            paths.below(folder).filter_map(move |(path, _)| path.strip_prefix(*folder)?.strip_prefix('/'))
        });
        let units: BTreeSet<&str> = files.filter(|file| !file.contains('/')).collect();
        let requires =
            |unit: &&str| Definition::read(unit, paths).is_some_and(|of| of.requires.iter().any(|of| of == name));
        units.into_iter().filter(requires).map(str::to_owned).collect()
    }

    /// Whether a unit that runs has read its present files, its own included.
    pub fn is_current(&self, name: &str, paths: &Tree) -> bool {
        self.0.get(name).is_some_and(|unit| {
            let definition = Definition::read(name, paths);
            definition.as_ref() == Some(&unit.definition)
                && unit.configuration == definition.map(|d| d.configuration(paths))
        })
    }

    /// `systemctl daemon-reload`.
    pub fn reload_all(&mut self, paths: &Tree) {
        let gone =
            |name: &String, unit: &Unit| unit.activity != Activity::Active && Definition::read(name, paths).is_none();
        self.0.retain(|name, unit| !gone(name, unit));
        for (name, unit) in &mut self.0 {
            if let Some(definition) = Definition::read(name, paths) {
                unit.definition = definition;
            }
        }
    }

    /// `systemctl start`.
    pub fn start(&mut self, name: &str, paths: &Tree, user: impl Fn(&str) -> bool, now: i64) -> Result<(), Trouble> {
        if is_masked(name, paths) {
            return Err(Trouble::new(1, format!("Failed to start {name}: Unit {name} is masked.")));
        }
        let unit = self.load(name, paths)?;
        if unit.activity == Activity::Active {
            return Ok(());
        }
        let missing = unit.definition.needs.iter().find(|path| paths.get(path).is_none());
        let stranger = unit.definition.user.as_ref().filter(|name| !user(name));
        if missing.is_some() || stranger.is_some() {
            unit.activity = Activity::Failed;
            return Err(Trouble::new(
                1,
                format!("Job for {name} failed because the control process exited with error code."),
            ));
        }
        unit.activity = Activity::Active;
        unit.since = Some(now);
        unit.starts += 1;
        unit.configuration = Some(unit.definition.configuration(paths));
        Ok(())
    }

    /// `systemctl stop`.
    pub fn stop(&mut self, name: &str, paths: &Tree) -> Result<(), Trouble> {
        let unit = self.load(name, paths)?;
        unit.activity = Activity::Inactive;
        unit.since = None;
        Ok(())
    }

    /// `systemctl reload` of a unit that runs.
    pub fn reload(&mut self, name: &str, paths: &Tree) -> Result<(), Trouble> {
        let unit = self.load(name, paths)?;
        unit.configuration = Some(unit.definition.configuration(paths));
        Ok(())
    }

    /// `systemctl reset-failed`.
    pub fn reset(&mut self, name: &str, paths: &Tree) -> Result<(), Trouble> {
        let unit = self.load(name, paths)?;
        if unit.activity == Activity::Failed {
            unit.activity = Activity::Inactive;
        }
        Ok(())
    }

    /// Everything stops at once and forgets what it was, as when the power fails.
    pub fn lose_power(&mut self) {
        for unit in self.0.values_mut() {
            unit.activity = Activity::Inactive;
            unit.since = None;
        }
    }

    /// A unit that failed has not.
    pub(super) fn forgive(&mut self, name: &str) {
        if let Some(unit) = self.0.get_mut(name).filter(|unit| unit.activity == Activity::Failed) {
            unit.activity = Activity::Inactive;
        }
    }

    /// Whether a unit runs.
    pub fn is_active(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|unit| unit.activity == Activity::Active)
    }

    fn load(&mut self, name: &str, paths: &Tree) -> Result<&mut Unit, Trouble> {
        if !self.0.contains_key(name) {
            let definition = Definition::read(name, paths)
                .ok_or_else(|| Trouble::new(5, format!("Unit {name} could not be found.")))?;
            let unit = Unit { definition, activity: Activity::Inactive, since: None, configuration: None, starts: 0 };
            self.0.insert(name.to_owned(), unit);
        }
        self.0.get_mut(name).ok_or_else(|| Trouble::new(5, format!("Unit {name} could not be found.")))
    }
}

/// `systemctl enable`.
pub(super) fn enable(name: &str, paths: &mut Tree, now: i64) -> Result<(), Trouble> {
    let definition = Definition::read(name, paths);
    let definition = definition.ok_or_else(|| Trouble::new(1, format!("Unit {name} does not exist.")))?;
    if definition.installable() {
        paths.make_directory(WANTS, now)?;
        paths.link(&format!("{WANTS}/{name}"), &format!("{VENDOR}/{name}"), now)?;
    }
    Ok(())
}

/// `systemctl disable`.
pub(super) fn disable(name: &str, paths: &mut Tree) -> Result<(), Trouble> {
    paths.remove(&format!("{WANTS}/{name}"), Removable::Link)
}

/// The units that start with the host.
pub(super) fn at_boot(paths: &Tree) -> Vec<String> {
    let links = paths.below(WANTS).skip(1);
    links.filter_map(|(path, _)| path.strip_prefix(WANTS)?.strip_prefix('/').map(str::to_owned)).collect()
}

fn enabled(name: &str, masked: bool, definition: Option<&Definition>, paths: &Tree) -> &'static str {
    match definition {
        _ if masked => "masked",
        None => "",
        Some(_) if paths.get(&format!("{WANTS}/{name}")).is_some() => "enabled",
        Some(definition) if definition.installable() => "disabled",
        Some(_) => "static",
    }
}

fn is_masked(name: &str, paths: &Tree) -> bool {
    let node = paths.get(&format!("{ADMIN}/{name}"));
    node.is_some_and(|node| node.what == What::Link("/dev/null".to_owned()))
}
