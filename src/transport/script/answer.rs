//! The answer to a reading script.
//!
//! In: the probes that were asked and the bytes that came back. Out: a reading for every probe.
//! Never: a guess; what is missing or not understood is [`Reading::Failed`].

use std::collections::{BTreeMap, BTreeSet};

use super::ask;
use super::command;
use super::frame::{Frame, Frames};
use super::web;
use crate::name::{HostName, Owner};
use crate::step::{
    Attributes, CommandReading, Digest, FETCH_LIMIT, Holding, Manager, MembershipReading, Mode, PackageReading,
    PathReading, PortReading, Probe, Reading, Readings, Record, StateReading, UnitReading, UserReading,
};

/// Reads the whole answer to [`super::read_script`].
///
/// # Errors
/// When it is not whole: the text says what is missing.
pub fn parse_readings(probes: &[Probe], nonce: &str, bytes: &[u8]) -> Result<Readings, String> {
    let mut frames = Frames::new(nonce);
    let all = frames.push(bytes);
    if all.iter().all(|frame| frame.word != "end") {
        return Err("the answer ends early".to_owned());
    }
    let mut answer = SortedFrames::from(all);
    let units = ask::askable(probes).filter(|(_, probe)| matches!(probe, Probe::Unit(_)));
    answer.places = units.enumerate().map(|(place, (index, _))| (index, place)).collect();
    Ok(probes.iter().enumerate().map(|(index, probe)| (probe.clone(), answer.reading(index, probe))).collect())
}

/// What one program said for many probes, complaints among it, and how it ended.
#[derive(Debug, Default)]
struct Told {
    exit: i32,
    said: String,
}

/// Frames, sorted.
#[derive(Debug, Default)]
struct SortedFrames {
    /// By word and index, for frames of one probe.
    single: BTreeMap<(String, usize), Frame>,
    /// What is kept for whom, by the name of its directory: ledgers and journals.
    kept: Vec<(String, Frame)>,
    /// By word, for frames of one program.
    tools: BTreeMap<String, Told>,
    /// By index: a line of `stat`.
    status: BTreeMap<usize, String>,
    /// By index: a line of `sha256sum`.
    digests: BTreeMap<usize, String>,
    /// The host's clock when it looked at the package lists.
    now: Option<i64>,
    /// When those were fetched last.
    fetched: Option<i64>,
    /// Whether dpkg was stopped in the middle.
    interrupted: bool,
    /// What manages the packages, if it is not apt.
    manager: Manager,
    /// The list of packages that are held, where it is not part of the answer about them.
    locks: Option<String>,
    /// Of scripts of System V: what `systemctl is-enabled` says.
    generated: BTreeMap<String, String>,
    /// The host's monotonic clock after it looked at the units, in hundredths of a second.
    uptime: Option<u64>,
    /// Of each probe of a unit, by index: which block of systemctl's answer is its own.
    places: BTreeMap<usize, usize>,
}

impl Told {
    fn rows(&self) -> Vec<Vec<&str>> {
        self.said.lines().map(|line| line.split('\t').collect()).collect()
    }
}

/// The lines of what one program said, each with the word that stands in the same place, and says what it is about. Where
/// it said two about each, the first of both.
fn lines(frame: &Frame) -> Vec<(String, String)> {
    let text = frame.text();
    let lines = text.lines().count();
    let each = if lines == 2 * frame.arguments.len() { 2 } else { 1 };
    if lines != each * frame.arguments.len() {
        return Vec::new();
    }
    frame.arguments.iter().cloned().zip(text.lines().step_by(each).map(str::to_owned)).collect()
}

/// The same where each is about the probe of an index.
fn indexed(frame: &Frame) -> impl Iterator<Item = (usize, String)> {
    lines(frame).into_iter().filter_map(|(index, line)| Some((index.parse().ok()?, line)))
}

impl From<Vec<Frame>> for SortedFrames {
    fn from(frames: Vec<Frame>) -> Self {
        let mut answer = Self::default();
        for frame in frames {
            answer.sort(frame);
        }
        answer
    }
}

impl SortedFrames {
    fn sort(&mut self, frame: Frame) {
        match frame.word.as_str() {
            "status" => lines(&frame).into_iter().for_each(|(about, line)| self.sort_status(&about, line)),
            "digests" => self.digests.extend(indexed(&frame)),
            "ids" => self.sort_ids(&frame),
            "packages" | "units" | "passwd" | "group" | "id" => self.sort_tool(&frame),
            "ledger" | "journal" => {
                let folder = frame.arguments.get(1).cloned();
                self.kept.extend(folder.map(|folder| (folder, frame)));
            }
            "interrupted" => self.interrupted = true,
            "locks" => self.locks = Some(frame.text()),
            "uptime" => self.uptime = frame.arguments.first().and_then(|now| now.parse().ok()),
            "generated" => {
                let text = frame.text();
                let mut words = text.split_ascii_whitespace().map(str::to_owned);
                self.generated.extend(words.next().zip(words.next()));
            }
            "manager" => {
                let named = frame.arguments.first().and_then(|name| Manager::named(name));
                self.manager = named.unwrap_or_default();
            }
            _ => {
                if let Some(index) = frame.number(0) {
                    self.single.insert((frame.word.clone(), index), frame);
                }
            }
        }
    }

    fn sort_status(&mut self, about: &str, line: String) {
        let modified = || Status::parse(&line).map(|status| status.modified);
        match about {
            "now" => self.now = modified(),
            "lists" => self.fetched = self.fetched.max(modified()),
            index => self.status.extend(index.parse().ok().map(|index: usize| (index, line))),
        }
    }

    /// `id` says of each user who it is, or that there is none.
    fn sort_ids(&mut self, frame: &Frame) {
        for (index, said) in indexed(frame) {
            let exit = i32::from(!said.starts_with("uid="));
            self.tools.insert(format!("id {index}"), Told { exit, said });
        }
    }

    /// The last two words say how it ended, those before what it was asked.
    fn sort_tool(&mut self, frame: &Frame) {
        let [asked @ .., _, code] = frame.arguments.as_slice() else { return };
        let key = asked.iter().fold(frame.word.clone(), |key, word| format!("{key} {word}"));
        self.tools.insert(key, Told { exit: code.parse().unwrap_or(1), said: frame.text() });
    }

    fn one(&self, word: &str, index: usize) -> Option<&Frame> {
        self.single.get(&(word.to_owned(), index))
    }

    fn reading(&self, index: usize, probe: &Probe) -> Reading {
        if let Some(why) = ask::fault(probe) {
            return Reading::Failed(why);
        }
        if let Some(failed) = self.one("failed", index) {
            return Reading::Failed(failed.text().trim().to_owned());
        }
        let answer = match probe {
            Probe::Path { .. } => self.path(index).map(Reading::Path),
            Probe::Package(name) => self.package(name).map(Reading::Package),
            Probe::User(name) => self.user(name).map(Reading::User),
            Probe::Membership(name) => self.membership(index, name).map(Reading::Membership),
            Probe::Group(name) => self.group(name).map(Reading::Group),
            Probe::Unit(_) => self.unit(index, probe).map(Reading::Unit),
            Probe::Command(_) => self.command(index).map(Reading::Command),
            Probe::Port { .. } => self.port(index).map(Reading::Port),
            Probe::Http(_) => self.command(index).and_then(|answer| Ok(Reading::Http(web::answer(&answer)?))),
            Probe::AccountUse(_) | Probe::Removal(_) | Probe::Fitness(_) => Err(silent("it")),
            Probe::State => self.state(index).map(|state| Reading::State(Box::new(state))),
        };
        answer.unwrap_or_else(Reading::Failed)
    }
}

fn silent(what: &str) -> String {
    format!("the host did not report {what}")
}

// What armilla keeps.

impl SortedFrames {
    fn state(&self, index: usize) -> Result<StateReading, String> {
        let id = |word: &str| self.one(word, index).map(|frame| frame.text().trim().to_owned());
        let mut records: BTreeMap<(Owner, HostName), Record> = BTreeMap::new();
        for (folder, frame) in &self.kept {
            // What has another sort of name is not of ours.
            let Some(key) = command::unfold(folder) else { continue };
            if frame.data.len() > ask::STATE_LIMIT {
                return Err(format!("the {} in {folder} is larger than {} MiB", frame.word, ask::STATE_LIMIT >> 20));
            }
            let text = Some(frame.data.clone()).filter(|text| frame.word == "ledger" || !text.is_empty());
            let record = records.entry(key).or_default();
            *(if frame.word == "ledger" { &mut record.ledger } else { &mut record.journal }) = text;
        }
        records.retain(|_, record| *record != Record::default());
        Ok(StateReading {
            machine: id("machine").unwrap_or_default(),
            boot: id("boot").filter(|boot| !boot.is_empty()).ok_or_else(|| silent("its boot id"))?,
            records,
        })
    }
}

// Paths.

/// A line of `stat -c %f:%s:%Y:%u:%g:%U:%G`.
struct Status {
    kind: u32,
    size: u64,
    modified: i64,
    attributes: Attributes,
}

impl Status {
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split(':').collect();
        let [mode, size, modified, uid, gid, user, group] = fields.as_slice() else { return None };
        let mode = u32::from_str_radix(mode, 16).ok()?;
        let name = |name: &str, number: &str| if name == "UNKNOWN" { number.to_owned() } else { name.to_owned() };
        Some(Self {
            kind: mode & 0o170_000,
            size: size.parse().ok()?,
            modified: modified.parse().ok()?,
            attributes: Attributes { mode: Mode(mode & 0o7777), owner: name(user, uid), group: name(group, gid) },
        })
    }
}

impl SortedFrames {
    fn path(&self, index: usize) -> Result<PathReading, String> {
        if self.one("absent", index).is_some() {
            return Ok(PathReading::Absent);
        }
        let line = self.status.get(&index).ok_or_else(|| silent("the type of a file"))?;
        let status =
            Status::parse(line).ok_or_else(|| format!("unexpected output of stat: `{}`", line.escape_debug()))?;
        match status.kind {
            0o100_000 => self.file(index, status),
            0o040_000 => Ok(PathReading::Directory(status.attributes)),
            0o120_000 => {
                let target = self.one("link", index).ok_or_else(|| silent("the target of the link"))?.text();
                Ok(PathReading::Link { target, modified: status.modified })
            }
            kind => Ok(PathReading::Other(other(kind).to_owned())),
        }
    }

    fn file(&self, index: usize, status: Status) -> Result<PathReading, String> {
        // The backslash says that the name behind the digest is written otherwise.
        let line = self.digests.get(&index).map(|line| line.trim_start_matches('\\'));
        let told = line.and_then(|line| line.split_ascii_whitespace().next());
        let told = told.filter(|digest| is_sha256(digest)).ok_or_else(|| silent("the digest"))?.to_owned();
        let mut file = PathReading::File {
            attributes: status.attributes,
            size: status.size,
            digest: Digest(told),
            modified: status.modified,
            content: None,
        };
        // What came along is the truth, should the file have changed between the two looks.
        if let (Some(frame), PathReading::File { size, digest, content, .. }) = (self.one("content", index), &mut file)
            && frame.data.len() as u64 <= FETCH_LIMIT
        {
            *size = frame.data.len() as u64;
            *digest = Digest::of(&frame.data);
            *content = Some(frame.data.clone());
        }
        Ok(file)
    }
}

fn is_sha256(digest: &str) -> bool {
    digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The words of `stat` for what is neither file, directory nor link.
fn other(kind: u32) -> &'static str {
    match kind {
        0o010_000 => "fifo",
        0o020_000 => "character special file",
        0o060_000 => "block special file",
        0o140_000 => "socket",
        _ => "weird file",
    }
}

// Packages, users, groups, units.

impl SortedFrames {
    /// What a program said, if its exit code is one of `fine`.
    fn told(&self, key: &str, fine: &[i32]) -> Result<&Told, String> {
        let told = self.tools.get(key).ok_or_else(|| silent(key))?;
        if fine.contains(&told.exit) {
            return Ok(told);
        }
        let complaint = told.said.trim();
        Err(if complaint.is_empty() { format!("{key}: exit code {}", told.exit) } else { complaint.to_owned() })
    }

    fn package(&self, name: &str) -> Result<PackageReading, String> {
        let (installed, held) = match self.manager {
            Manager::Apt => self.of_dpkg(name)?,
            Manager::Dnf | Manager::Yum | Manager::Zypper => (self.of_rpm(name)?, self.is_locked(name)),
            Manager::Apk => (self.of_apk(name)?, false),
            Manager::Pacman => (self.of_pacman(name)?, false),
        };
        let able = self.manager == Manager::Apt || self.locks.is_some();
        Ok(PackageReading {
            manager: self.manager,
            holding: if able { Holding::Able } else { Holding::Unable },
            installed,
            held,
            lists_age: self.now.zip(self.fetched).map(|(now, fetched)| u64::try_from(now - fetched).unwrap_or(0)),
            interrupted: self.interrupted,
        })
    }

    /// dpkg-query ends with 1 when it does not know one of the names.
    fn of_dpkg(&self, name: &str) -> Result<(Option<String>, bool), String> {
        let rows = self.told("packages", &[0, 1])?.rows();
        let mine = rows.iter().filter_map(|row| match row.as_slice() {
            [package, arch, status, version] if name == *package || name == format!("{package}:{arch}") => {
                Some((*status, *version))
            }
            _ => None,
        });
        let row = mine.max_by_key(|(status, _)| status.get(1..) == Some("i "));
        let (status, version) = row.unwrap_or_default();
        Ok(((status.get(1..) == Some("i ")).then(|| version.to_owned()), status.starts_with('h')))
    }

    /// rpm ends with the number of names it does not know, and says of each that it does not. Of several versions of one
    /// package, such as of the kernel, the last it names counts.
    fn of_rpm(&self, name: &str) -> Result<Option<String>, String> {
        let told = self.tools.get("packages").ok_or_else(|| silent("packages"))?;
        let mine = told.rows().into_iter().filter(|row| row.first() == Some(&name));
        if let Some(version) = mine.filter_map(|row| row.get(3).map(|version| (*version).to_owned())).next_back() {
            return Ok(Some(version));
        }
        let absent = format!("package {name} is not installed");
        if told.said.lines().any(|line| line == absent) {
            return Ok(None);
        }
        Err(if told.said.trim().is_empty() { silent("packages") } else { told.said.trim().to_owned() })
    }

    /// Lines of apk's database: `P:name`, then `V:version`.
    fn of_apk(&self, name: &str) -> Result<Option<String>, String> {
        let told = self.told("packages", &[0])?;
        let mut lines = told.said.lines().skip_while(|line| line.strip_prefix("P:") != Some(name));
        Ok(lines.nth(1).and_then(|line| line.strip_prefix("V:")).map(str::to_owned))
    }

    /// `name version`; pacman ends with 1 when it does not know one of the names.
    fn of_pacman(&self, name: &str) -> Result<Option<String>, String> {
        let told = self.told("packages", &[0, 1])?;
        Ok(told.said.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(' ')?.to_owned())))
    }

    fn is_locked(&self, name: &str) -> bool {
        let lines = self.locks.iter().flat_map(|text| text.lines());
        lines.filter_map(|line| locked(self.manager, line)).any(|locked| locked == name)
    }

    /// The fields of a line of `passwd(5)` or `group(5)`. getent ends with 2 when it does not know one of the names.
    fn entry(&self, kind: &str, name: &str) -> Result<Option<Vec<&str>>, String> {
        let told = self.told(kind, &[0, 2])?;
        Ok(told.said.lines().map(|line| line.split(':').collect()).find(|f: &Vec<&str>| f.first() == Some(&name)))
    }

    fn group(&self, name: &str) -> Result<Option<u32>, String> {
        let Some(fields) = self.entry("group", name)? else { return Ok(None) };
        let number = fields.get(2).and_then(|number| number.parse().ok());
        number.map(Some).ok_or_else(|| format!("the entry of group {name} has no number"))
    }

    fn user(&self, name: &str) -> Result<Option<UserReading>, String> {
        let Some(fields) = self.entry("passwd", name)? else { return Ok(None) };
        let [_, _, uid, gid, comment, home, shell] = fields.as_slice() else {
            return Err(format!("the entry of user {name} has {} fields", fields.len()));
        };
        let number = |text: &str| text.parse().map_err(|_| format!("the entry of user {name} has no number"));
        Ok(Some(UserReading {
            uid: number(uid)?,
            gid: number(gid)?,
            home: (*home).to_owned(),
            shell: (*shell).to_owned(),
            comment: (*comment).to_owned(),
        }))
    }

    fn membership(&self, index: usize, name: &str) -> Result<Option<MembershipReading>, String> {
        if self.entry("passwd", name)?.is_none() {
            return Ok(None);
        }
        let told = self.told(&format!("id {index}"), &[0])?;
        let (group, groups) =
            groups(&told.said).ok_or_else(|| format!("unexpected output of id: `{}`", told.said.escape_debug()))?;
        Ok(Some(MembershipReading { group, groups }))
    }

    fn unit(&self, index: usize, probe: &Probe) -> Result<UnitReading, String> {
        let told = self.told("units", &[0])?;
        let Probe::Unit(name) = probe else { return Err(silent("units")) };
        let blocks: Vec<BTreeMap<&str, &str>> = told.said.trim().split("\n\n").map(properties).collect();
        // Aliases answer under another name, so the order counts; a name that is there is better.
        let named = blocks.iter().find(|block| block.get("Id") == Some(&name.as_str()));
        let place = self.places.get(&index).copied();
        let block = named.or_else(|| blocks.get(place?)).ok_or_else(|| silent("about the unit"))?;
        let word = |key: &str| block.get(key).map(|value| (*value).to_owned());
        let enabled = word("UnitFileState").unwrap_or_default();
        let of_script = || block.get("Id").and_then(|id| self.generated.get(*id)).cloned();
        Ok(UnitReading {
            load: word("LoadState").ok_or_else(|| silent("whether the unit is loaded"))?,
            active: word("ActiveState").ok_or_else(|| silent("whether the unit is active"))?,
            sub: word("SubState").unwrap_or_default(),
            enabled: if enabled == "generated" { of_script().unwrap_or(enabled) } else { enabled },
            needs_reload: block.get("NeedDaemonReload") == Some(&"yes"),
            since: block.get("ActiveEnterTimestamp").and_then(|text| timestamp(text)),
            restarts: block.get("NRestarts").and_then(|text| text.parse().ok()).unwrap_or_default(),
            age: block.get("ActiveEnterTimestampMonotonic").and_then(|text| self.age(text)),
            required_by: required_by(block),
        })
    }

    /// Seconds since a moment of the monotonic clock, which systemd writes in microseconds; 0 means never.
    fn age(&self, at: &str) -> Option<u64> {
        let at: u64 = at.parse().ok().filter(|at| *at > 0)?;
        Some(self.uptime?.saturating_sub(at / 10_000) / 100)
    }
}

/// The units that stop with it, each once.
fn required_by(block: &BTreeMap<&str, &str>) -> Vec<String> {
    let named = ["RequiredBy", "BoundBy", "ConsistsOf"].iter().filter_map(|key| block.get(key));
    let units: BTreeSet<&str> = named.flat_map(|names| names.split_whitespace()).collect();
    units.into_iter().map(str::to_owned).collect()
}

/// The package that a line holds: `bash-0:5.1.8-6.el9.*` of dnf 4, `name = "bash"` of dnf 5, `0:bash-4.2.46-34.el7.*` of
/// yum, `solvable_name: bash` of zypper (`locks(5)`).
fn locked(manager: Manager, line: &str) -> Option<&str> {
    let line = line.trim();
    if manager == Manager::Zypper {
        return line.strip_prefix("solvable_name:").map(str::trim);
    }
    if let Some(name) = line.strip_prefix("name = \"") {
        return name.strip_suffix('"');
    }
    // An exclusion keeps one version away; it holds nothing.
    if line.starts_with(['!', '#']) {
        return None;
    }
    let mut parts = line.rsplitn(3, '-');
    let name = parts.nth(2)?;
    Some(name.split_once(':').map_or(name, |(_, name)| name))
}

fn properties(block: &str) -> BTreeMap<&str, &str> {
    block.lines().filter_map(|line| line.split_once('=')).collect()
}

/// Primary group and the others, sorted, of `uid=1000(ada) gid=1000(ada) groups=1000(ada),27(sudo)`.
fn groups(id: &str) -> Option<(String, Vec<String>)> {
    let mut fields = id.split_ascii_whitespace();
    let primary = fields.clone().find_map(|field| field.strip_prefix("gid="))?;
    let all = fields.find_map(|field| field.strip_prefix("groups=")).unwrap_or(primary);
    let mut others: Vec<String> = all.split(',').filter(|group| *group != primary).map(group_name).collect();
    others.sort();
    Some((group_name(primary), others))
}

fn group_name(group: &str) -> String {
    let name = group.split_once('(').and_then(|(_, name)| name.strip_suffix(')'));
    name.unwrap_or(group).to_owned()
}

/// Seconds since 1970 of `Sat 2026-11-21 05:01:11 UTC`; none of an empty text.
fn timestamp(text: &str) -> Option<i64> {
    let mut words = text.split_ascii_whitespace().skip(1);
    let date: jiff::civil::Date = words.next()?.parse().ok()?;
    let time: jiff::civil::Time = words.next()?.parse().ok()?;
    let zoned = date.to_datetime(time).to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(zoned.timestamp().as_second())
}

// Programs and ports.

impl SortedFrames {
    fn command(&self, index: usize) -> Result<CommandReading, String> {
        let exit = self.one("exit", index).and_then(|frame| frame.number(1)).ok_or_else(|| silent("how it ended"))?;
        let data = |word: &str| self.one(word, index).map(|frame| frame.data.clone()).unwrap_or_default();
        Ok(CommandReading { exit, stdout: data("stdout"), stderr: data("stderr") })
    }

    fn port(&self, index: usize) -> Result<PortReading, String> {
        match self.one("port", index).and_then(|frame| frame.arguments.get(1)).map(String::as_str) {
            Some("open") => Ok(PortReading::Open),
            Some("closed") => Ok(PortReading::Closed),
            _ => Err(silent("about the port")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(word: &str, output: &str, exit: i32, complaint: &str) -> String {
        format!("\nN {word} code {exit}\n{output}{complaint}")
    }

    fn answer(probes: &[Probe], text: &str) -> Readings {
        parse_readings(probes, "N", format!("{text}\nN end\n\nN .\n").as_bytes()).expect("a whole answer")
    }

    #[test]
    fn an_answer_without_its_end_is_no_answer() {
        assert!(parse_readings(&[], "N", b"\nN absent 0\n").is_err());
        let probe = Probe::Path { path: "/x".to_owned(), content: crate::step::Fetch::Digest };
        let probes = [probe];
        assert!(
            matches!(answer(&probes, "").get(&probes[0]), Some(Reading::Failed(why)) if why.contains("did not report"))
        );
        let forged = answer(&probes, "\nN status 0\n81a4:x:1:0:0:root:root");
        assert!(forged.path(&probes[0]).is_err());
    }

    #[test]
    fn units_are_told_apart_by_name_and_by_order() {
        let probes = ["alias.service", "ssh.service", "none.service"].map(|name| Probe::Unit(name.to_owned()));
        let output = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=yes\n\
                      ActiveEnterTimestamp=Sat 2026-11-21 05:01:11 UTC\nId=real.service\n\n\
                      LoadState=loaded\nActiveState=failed\nUnitFileState=disabled\nNeedDaemonReload=no\n\
                      ActiveEnterTimestamp=\nId=ssh.service\n\n\
                      LoadState=not-found\nActiveState=inactive\nUnitFileState=\nNeedDaemonReload=no\nId=none.service\n";
        let readings = answer(&probes, &told("units", output, 0, ""));
        let unit = |at: usize| readings.unit(&probes[at]).expect("an answer");
        assert_eq!((unit(0).active.as_str(), unit(0).needs_reload), ("active", true));
        assert_eq!(unit(0).since, Some(1_795_237_271));
        assert_eq!((unit(1).active.as_str(), unit(1).enabled.as_str(), unit(1).since), ("failed", "disabled", None));
        assert_eq!(unit(2).load, "not-found");
        let down = answer(&probes, &told("units", "", 1, "System has not been booted with systemd as init system"));
        assert!(down.unit(&probes[0]).expect_err("no systemd").0.contains("not been booted"));
    }

    #[test]
    fn the_age_of_a_unit_is_told_by_the_monotonic_clock() {
        let probes = ["loop", "never", "old"].map(|name| Probe::Unit(format!("{name}.service")));
        let block =
            |name: &str, more: &str| format!("LoadState=loaded\nActiveState=active\nId={name}.service\n{more}\n");
        let output = block("loop", "SubState=running\nNRestarts=7\nActiveEnterTimestampMonotonic=98000000\n")
            + &block("never", "SubState=dead\nNRestarts=0\nActiveEnterTimestampMonotonic=0\n")
            // Before systemd 235 nobody counts restarts.
            + &block("old", "SubState=running\nActiveEnterTimestampMonotonic=5000000\n");
        let readings = answer(&probes, &(told("units", &output, 0, "") + "\nN uptime 10000\n"));
        let unit = |at: usize| readings.unit(&probes[at]).expect("an answer");
        assert_eq!((unit(0).restarts, unit(0).age, unit(0).is_restarting()), (7, Some(2), true));
        assert_eq!((unit(1).sub.as_str(), unit(1).age), ("dead", None));
        assert_eq!((unit(2).restarts, unit(2).age), (0, Some(95)));
    }

    #[test]
    fn a_script_of_system_v_is_enabled_when_its_links_say_so() {
        let probes = ["on.service", "off.service", "new.service"].map(|name| Probe::Unit(name.to_owned()));
        let block = |name: &str, state: &str| {
            format!("LoadState=loaded\nActiveState=active\nUnitFileState={state}\nId={name}.service\n\n")
        };
        let output = block("on", "generated") + &block("off", "generated") + &block("new", "enabled");
        let links = "\nN generated\non.service enabled\n\nN generated\noff.service disabled\n";
        let readings = answer(&probes, &(links.to_owned() + &told("units", &output, 0, "")));
        let enabled = |at: usize| readings.unit(&probes[at]).expect("an answer").enabled.clone();
        assert_eq!([0, 1, 2].map(enabled), ["enabled", "disabled", "enabled"]);
    }

    #[test]
    fn a_package_is_installed_only_when_it_wholly_is() {
        let probes =
            ["held", "half", "removed", "both", "both:i386", "none"].map(|name| Probe::Package(name.to_owned()));
        let output = "held\tamd64\thi \t1.0\nhalf\tamd64\tiF \t2.0\nremoved\tall\trc \t3.0\nboth\ti386\trc \t4.0\n\
                      both\tamd64\tii \t4.1\n";
        let times = [1000, 400, 940].map(|time| format!("\n41ed:0:{time}:0:0:root:root")).concat();
        let text = told("packages", output, 1, "dpkg-query: no packages found matching none")
            + &format!("\nN status now lists lists{times}");
        let readings = answer(&probes, &text);
        let package = |at: usize| readings.package(&probes[at]).expect("an answer").clone();
        assert_eq!(
            (package(0).installed.as_deref(), package(0).held, package(0).lists_age),
            (Some("1.0"), true, Some(60))
        );
        assert!(!package(0).interrupted);
        assert!(
            answer(&probes, &(text + "\nN interrupted\n")).package(&probes[0]).is_ok_and(|found| found.interrupted)
        );
        assert_eq!([1, 2, 4, 5].map(|at| package(at).installed), [None, None, None, None]);
        assert_eq!(package(3).installed.as_deref(), Some("4.1"));
        let broken = answer(&probes, &told("packages", "", 2, "dpkg-query: error: status database is broken"));
        assert!(broken.package(&probes[0]).is_err());
    }

    #[test]
    fn packages_of_every_manager_are_read() {
        let read = |manager: &str, name: &str, text: String| {
            let probe = Probe::Package(name.to_owned());
            let text = format!("\nN manager {manager}\n{text}");
            answer(std::slice::from_ref(&probe), &text).package(&probe).cloned()
        };
        let rpm =
            "bash\tx86_64\tii \t5.1.8-6.el9_1\nopenssl\tx86_64\tii \t1:3.0.7-6.el9_2\npackage nano is not installed\n";
        let told_by_rpm = || told("packages", rpm, 1, "");
        let installed = |manager: &str, name: &str| read(manager, name, told_by_rpm()).map(|found| found.installed);
        assert_eq!(installed("dnf", "bash"), Ok(Some("5.1.8-6.el9_1".to_owned())));
        assert_eq!(installed("yum", "openssl"), Ok(Some("1:3.0.7-6.el9_2".to_owned())));
        assert_eq!(installed("zypper", "nano"), Ok(None));
        assert!(installed("dnf", "vim").is_err(), "no message about it");
        let broken = "error: cannot open Packages database in /var/lib/rpm";
        let broken = read("dnf", "bash", told("packages", "", 1, broken)).expect_err("no answer");
        assert!(broken.0.contains("cannot open Packages database"));

        let held = |manager: &str, locks: &str| {
            let found = read(manager, "bash", format!("{}\nN locks\n{locks}", told_by_rpm())).expect("an answer");
            assert_eq!(found.holding, Holding::Able);
            found.held
        };
        assert!(held("dnf", "# Added lock on Tue Nov 21\nbash-0:5.1.8-6.el9_1.*\n"));
        assert!(held("dnf", "version = \"1.0\"\n[[packages]]\nname = \"bash\"\n"));
        assert!(held("yum", "0:bash-4.2.46-34.el7.*\n"));
        assert!(held("zypper", "\ntype: package\nmatch_type: glob\ncase_sensitive: on\nsolvable_name: bash\n"));
        assert!(!held("dnf", "bash-completion-0:2.11-4.el9.*\n!bash-0:5.1.8-6.el9_1.*\n"));
        assert_eq!(read("dnf", "bash", told_by_rpm()).expect("an answer").holding, Holding::Unable);

        let apk = || told("packages", "P:musl\nV:1.2.4_git20230717-r4\nP:busybox\nV:1.36.1-r19\n", 0, "");
        let of_apk = |name: &str| read("apk", name, apk()).expect("an answer").installed;
        assert_eq!(of_apk("busybox").as_deref(), Some("1.36.1-r19"));
        assert_eq!((of_apk("musl").as_deref(), of_apk("mus")), (Some("1.2.4_git20230717-r4"), None));

        let pacman = || told("packages", "bash 5.2.026-2\n", 1, "error: package 'nano' was not found");
        let of_pacman = |name: &str| read("pacman", name, pacman()).expect("an answer").installed;
        assert_eq!((of_pacman("bash").as_deref(), of_pacman("nano")), (Some("5.2.026-2"), None));
    }

    #[test]
    fn a_user_has_a_primary_group_and_others() {
        let probes = ["ada", "bob"].map(|name| Probe::Membership(name.to_owned()));
        let passwd = told("passwd", "ada:x:1000:1000:Ada L:/home/ada:/bin/sh\n", 2, "");
        let id = "\nN id 0 code 0\nuid=1000(ada) gid=1000(ada) groups=1000(ada),27(sudo),4(adm),77\n";
        let readings = answer(&probes, &(passwd + id));
        let ada = readings.membership(&probes[0]).expect("an answer").clone().expect("she is there");
        assert_eq!(
            (ada.group.as_str(), ada.groups),
            ("ada", vec!["77".to_owned(), "adm".to_owned(), "sudo".to_owned()])
        );
        assert_eq!(readings.membership(&probes[1]), Ok(&None));
    }
}
