//! From what a script printed to values.
//!
//! In: bytes. Out: readings, or step events as they come. Never: trust in anything outside a frame, or a panic,
//! whatever the host prints.

use std::collections::HashMap;
use std::time::Duration;

use crate::step::{
    Attributes, CommandReading, Digest, FETCH_LIMIT, HttpReading, Mode, Outcome, PackageReading, PathReading, PortReading,
    Probe, Reading, Readings, UnitReading, UserReading,
};
use crate::transport::StepEvent;

/// One frame: its words, and what was printed after it.
struct Frame<'a> {
    words: Vec<&'a str>,
    body: &'a [u8],
}

impl Frame<'_> {
    fn text(&self) -> String {
        String::from_utf8_lossy(self.body).into_owned()
    }

    fn number(&self, word: usize) -> Option<i32> {
        self.words.get(word)?.parse().ok()
    }
}

/// The frames of an output; what is before the first is not ours.
fn frames<'a>(output: &'a [u8], nonce: &str) -> Vec<Frame<'a>> {
    let mark = format!("\n{nonce} ").into_bytes();
    let mut starts = find_all(output, &mark);
    let mut frames = Vec::new();
    starts.push(output.len());
    for pair in starts.windows(2) {
        let whole = &output[pair[0] + mark.len().min(output.len() - pair[0])..pair[1]];
        let end = whole.iter().position(|byte| *byte == b'\n').unwrap_or(whole.len());
        let words = std::str::from_utf8(&whole[..end]).unwrap_or_default().split(' ').collect();
        frames.push(Frame { words, body: whole.get(end + 1..).unwrap_or_default() });
    }
    frames
}

fn find_all(bytes: &[u8], mark: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut from = 0;
    // Marks begin with a line break; looking for those first is fast enough for megabytes.
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == mark[0]) {
        let start = from + at;
        if bytes[start..].starts_with(mark) {
            found.push(start);
        }
        from = start + 1;
    }
    found
}

/// The answers to these probes; none if the script did not come to its end.
pub(crate) fn readings(probes: &[Probe], output: &[u8], nonce: &str) -> Result<Readings, String> {
    let frames = frames(output, nonce);
    match frames.last().map(|frame| frame.words.as_slice()) {
        Some(["done"]) => {}
        Some(["broken"]) => return Err("no private folder could be made: is /tmp full or read-only?".to_owned()),
        _ => return Err("the answer ends too early".to_owned()),
    }
    let heap = Heap::of(&frames);
    Ok(probes.iter().enumerate().map(|(index, probe)| (probe.clone(), heap.reading(index, probe, probes))).collect())
}

/// Frames by what they are about.
struct Heap<'a> {
    named: HashMap<&'a str, &'a Frame<'a>>,
    numbered: HashMap<(&'a str, usize), &'a Frame<'a>>,
    stats: HashMap<String, String>,
    stat_errors: String,
    sums: HashMap<String, Digest>,
    links: HashMap<String, String>,
    units: Vec<HashMap<String, String>>,
}

impl<'a> Heap<'a> {
    fn of(frames: &'a [Frame<'a>]) -> Self {
        let mut heap = Self {
            named: HashMap::new(),
            numbered: HashMap::new(),
            stats: HashMap::new(),
            stat_errors: String::new(),
            sums: HashMap::new(),
            links: HashMap::new(),
            units: Vec::new(),
        };
        for frame in frames {
            let Some(name) = frame.words.first() else { continue };
            match *name {
                "stat" => heap.stats = stats(&frame.text()),
                "stat-errors" => heap.stat_errors = frame.text(),
                "sums" => heap.sums = sums(&frame.text()),
                "link" => drop(heap.links.insert(frame.words[1..].join(" "), frame.text())),
                "units" => heap.units = units(&frame.text()),
                "content" | "user" | "group" | "command" | "port" | "http" | "stderr" => {
                    if let Some(index) = frame.words.get(1).and_then(|word| word.parse().ok()) {
                        heap.numbered.insert((*name, index), frame);
                    }
                }
                _ => drop(heap.named.insert(*name, frame)),
            }
        }
        heap
    }

    fn reading(&self, index: usize, probe: &Probe, probes: &[Probe]) -> Reading {
        match probe {
            Probe::Path { path, .. } => self.path(index, path),
            Probe::Package(name) => self.package(name),
            Probe::Unit(name) => self.unit(index, name, probes),
            Probe::User(name) => self.user(index, name),
            Probe::Group(name) => self.group(index, name),
            Probe::Command(_) => self.command(index),
            Probe::Port { .. } => match self.code("port", index) {
                Some(0) => Reading::Port(PortReading::Open),
                Some(_) => Reading::Port(PortReading::Closed),
                None => unanswered(),
            },
            Probe::Http { .. } => self.http(index),
        }
    }

    fn code(&self, name: &'static str, index: usize) -> Option<i32> {
        self.numbered.get(&(name, index))?.number(2)
    }

    fn bytes(&self, name: &'static str, index: usize) -> Vec<u8> {
        self.numbered.get(&(name, index)).map(|frame| frame.body.to_vec()).unwrap_or_default()
    }

    fn path(&self, index: usize, path: &str) -> Reading {
        let Some(line) = self.stats.get(path) else { return self.no_path(path) };
        let Some(stat) = Stat::read(line) else { return Reading::Failed(format!("stat answered `{line}`")) };
        let what = match stat.what.as_str() {
            "directory" => PathReading::Directory(stat.attributes),
            "symbolic link" => match self.links.get(path) {
                Some(target) => PathReading::Link { target: target.clone(), modified: stat.modified },
                None => return Reading::Failed(format!("the link {path} cannot be read")),
            },
            what if what.starts_with("regular") => match self.sums.get(path) {
                Some(digest) => PathReading::File {
                    attributes: stat.attributes,
                    size: stat.size,
                    digest: digest.clone(),
                    modified: stat.modified,
                    content: self.content(index),
                },
                None => return Reading::Failed(format!("{path} cannot be read: not permitted, or it went away")),
            },
            what => PathReading::Other(format!("a {what}")),
        };
        Reading::Path(what)
    }

    fn no_path(&self, path: &str) -> Reading {
        let complaint = self.stat_errors.lines().find(|line| line.contains(&format!("'{path}'")));
        match complaint {
            Some(line) if line.ends_with("No such file or directory") || line.ends_with("Not a directory") => {
                Reading::Path(PathReading::Absent)
            }
            Some(line) => Reading::Failed(line.to_owned()),
            // busybox and hostile names quote differently; without any other complaint it is not there.
            None if self.named.contains_key("done") && !self.stat_errors.contains("denied") => Reading::Path(PathReading::Absent),
            None => Reading::Failed(format!("{path}: {}", self.stat_errors.trim())),
        }
    }

    fn content(&self, index: usize) -> Option<Vec<u8>> {
        let content = self.numbered.get(&("content", index))?.body;
        (content.len() as u64 <= FETCH_LIMIT).then(|| content.to_vec())
    }

    fn package(&self, name: &str) -> Reading {
        if self.named.contains_key("no-dpkg") {
            return Reading::Failed("there is no dpkg on this host: packages are managed on Debian and its relatives".to_owned());
        }
        let Some(frame) = self.named.get("packages") else { return unanswered() };
        let text = frame.text();
        let of_name = text.lines().filter_map(|line| {
            let mut words = line.split(' ');
            (words.next() == Some(name)).then(|| words.map(str::to_owned).collect::<Vec<_>>())
        });
        let found = of_name.into_iter().find(|words| words.first().is_some_and(|status| status == "installed"));
        Reading::Package(PackageReading {
            installed: found.as_ref().and_then(|words| words.get(2).cloned()),
            held: found.as_ref().is_some_and(|words| words.get(1).is_some_and(|want| want == "hold")),
            lists_age: self.named.get("lists").and_then(|frame| lists_age(&frame.text())),
        })
    }

    fn unit(&self, index: usize, name: &str, probes: &[Probe]) -> Reading {
        let place = probes[..index].iter().filter(|probe| matches!(probe, Probe::Unit(_))).count();
        let Some(found) = self.units.get(place) else {
            let complaint = self.named.get("units-ended").map(|frame| frame.text()).unwrap_or_default();
            let complaint = complaint.lines().next_back().unwrap_or("no answer").to_owned();
            return Reading::Failed(format!("systemd cannot say how {name} is: {complaint}"));
        };
        let value = |key: &str| found.get(key).cloned().unwrap_or_default();
        Reading::Unit(UnitReading {
            load: value("LoadState"),
            active: value("ActiveState"),
            enabled: value("UnitFileState"),
            needs_reload: value("NeedDaemonReload") == "yes",
            since: since(&value("ActiveEnterTimestamp")),
        })
    }

    fn user(&self, index: usize, name: &str) -> Reading {
        let Some(code) = self.code("user", index) else { return unanswered() };
        let text = String::from_utf8_lossy(&self.bytes("user", index)).into_owned();
        let mut lines = text.lines();
        let fields: Vec<&str> = lines.next().unwrap_or_default().split(':').collect();
        match (code, fields.as_slice()) {
            (2, _) => Reading::User(None),
            (0, [_, _, uid, _, comment, home, shell]) => {
                let group = lines.next().unwrap_or_default().to_owned();
                let mut groups: Vec<String> = lines.next().unwrap_or_default().split(' ').map(str::to_owned).collect();
                groups.retain(|other| *other != group && !other.is_empty());
                groups.sort();
                let Ok(uid) = uid.parse() else { return Reading::Failed(format!("the user {name} has the number `{uid}`")) };
                Reading::User(Some(UserReading {
                    uid,
                    group,
                    groups,
                    home: (*home).to_owned(),
                    shell: (*shell).to_owned(),
                    comment: (*comment).to_owned(),
                }))
            }
            _ => Reading::Failed(format!("getent cannot say who {name} is (code {code})")),
        }
    }

    fn group(&self, index: usize, name: &str) -> Reading {
        let Some(code) = self.code("group", index) else { return unanswered() };
        let text = String::from_utf8_lossy(&self.bytes("group", index)).into_owned();
        match (code, text.trim().split(':').nth(2).and_then(|gid| gid.parse().ok())) {
            (2, _) => Reading::Group(None),
            (0, Some(gid)) => Reading::Group(Some(gid)),
            _ => Reading::Failed(format!("getent cannot say what the group {name} is (code {code})")),
        }
    }

    fn command(&self, index: usize) -> Reading {
        match self.code("command", index) {
            Some(exit) => Reading::Command(CommandReading {
                exit,
                stdout: self.bytes("command", index),
                stderr: self.bytes("stderr", index),
            }),
            None => unanswered(),
        }
    }

    fn http(&self, index: usize) -> Reading {
        let Some(frame) = self.numbered.get(&("http", index)) else { return unanswered() };
        let complaint = String::from_utf8_lossy(&self.bytes("stderr", index)).trim().to_owned();
        let status = frame.words.get(3).and_then(|code| code.parse().ok());
        match (frame.number(2), status) {
            (Some(127), _) => Reading::Failed(complaint),
            (Some(0), Some(status)) => Reading::Http(Ok(HttpReading { status, body: frame.body.to_vec() })),
            _ => Reading::Http(Err(if complaint.is_empty() { "no answer".to_owned() } else { complaint })),
        }
    }
}

fn unanswered() -> Reading {
    Reading::Failed("the host did not answer".to_owned())
}

struct Stat {
    attributes: Attributes,
    size: u64,
    modified: i64,
    what: String,
}

impl Stat {
    /// `%a %s %Y %U %u %G %g %F`.
    fn read(line: &str) -> Option<Self> {
        let mut words = line.splitn(8, ' ');
        let mode = Mode(u32::from_str_radix(words.next()?, 8).ok()?);
        let size = words.next()?.parse().ok()?;
        let modified = words.next()?.parse().ok()?;
        let mut name = || {
            let (name, number) = (words.next()?, words.next()?);
            Some(if name == "UNKNOWN" { number } else { name }.to_owned())
        };
        let (owner, group) = (name()?, name()?);
        Some(Self { attributes: Attributes { mode, owner, group }, size, modified, what: words.next()?.to_owned() })
    }
}

/// By path: the line without it. A path may have `|` in it; what is before the first one never has.
fn stats(text: &str) -> HashMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('|'));
    pairs.map(|(stat, path)| (path.to_owned(), stat.to_owned())).collect()
}

/// By path. sha256sum puts a backslash before a line in whose name it escaped one.
fn sums(text: &str) -> HashMap<String, Digest> {
    let one = |line: &str| {
        let (line, escaped) = line.strip_prefix('\\').map_or((line, false), |rest| (rest, true));
        let (digest, path) = line.split_once("  ")?;
        let path = if escaped { path.replace("\\\\", "\\") } else { path.to_owned() };
        (digest.len() == 64).then(|| (path, Digest(digest.to_owned())))
    };
    text.lines().filter_map(one).collect()
}

/// Blocks of `Key=value`, one a unit, in the order asked.
fn units(text: &str) -> Vec<HashMap<String, String>> {
    let blocks = text.split("\n\n").filter(|block| block.contains('='));
    let pairs = |block: &str| block.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    blocks.map(pairs).collect()
}

/// `Sat 2026-11-21 04:24:25 UTC`.
fn since(text: &str) -> Option<i64> {
    let stamp = text.trim().strip_suffix(" UTC")?.split_once(' ')?.1;
    let time = jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", stamp).ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}

/// The first line is the time now, the others are when something was fetched.
fn lists_age(text: &str) -> Option<u64> {
    let mut times = text.lines().filter_map(|line| line.trim().parse::<i64>().ok());
    let now = times.next()?;
    let newest = times.max()?;
    u64::try_from(now.saturating_sub(newest)).ok().or(Some(0))
}

/// The events of a script that does steps, as they come.
pub(crate) struct Doing {
    mark: Vec<u8>,
    buffer: Vec<u8>,
    /// How each step ended, in order.
    pub(crate) outcomes: Vec<Outcome>,
    /// Whether the script came to its end.
    pub(crate) done: bool,
    /// A complaint of the script itself.
    pub(crate) broken: Option<String>,
}

impl Doing {
    pub(crate) fn new(nonce: &str) -> Self {
        let mark = format!("\n{nonce} ").into_bytes();
        Self { mark, buffer: Vec::new(), outcomes: Vec::new(), done: false, broken: None }
    }

    /// Takes what has arrived and tells of every frame that is complete: a frame is, when the next one has begun or
    /// when nothing can follow it.
    pub(crate) fn take(&mut self, bytes: &[u8], watch: &(dyn Fn(StepEvent) + Send + Sync)) {
        self.buffer.extend_from_slice(bytes);
        loop {
            let starts = find_all(&self.buffer, &self.mark);
            let Some(first) = starts.first().copied() else { return };
            let head = first + self.mark.len();
            let Some(line) = self.buffer[head..].iter().position(|byte| *byte == b'\n').map(|at| head + at) else { return };
            let words = String::from_utf8_lossy(&self.buffer[head..line]).into_owned();
            let ends = starts.get(1).copied();
            if ends.is_none() && words.starts_with("end ") {
                return;
            }
            let body = String::from_utf8_lossy(&self.buffer[line..ends.unwrap_or(line)]).trim().to_owned();
            self.frame(&words, body, watch);
            self.buffer.drain(..ends.unwrap_or(line));
        }
    }

    fn frame(&mut self, words: &str, body: String, watch: &(dyn Fn(StepEvent) + Send + Sync)) {
        let parts: Vec<&str> = words.splitn(4, ' ').collect();
        let index = parts.get(1).and_then(|word| word.parse::<usize>().ok()).unwrap_or(self.outcomes.len());
        match parts.first().copied() {
            Some("start") => watch(StepEvent::Started { index }),
            Some("wait") => watch(StepEvent::Waiting { index, why: words.splitn(3, ' ').nth(2).unwrap_or_default().to_owned() }),
            Some("end") => {
                let outcome = match parts.get(2).copied() {
                    Some("0") => Outcome::Done,
                    Some("needless") => Outcome::NotNeeded,
                    code => Outcome::Failed { exit: code.and_then(|c| c.parse().ok()).unwrap_or(1), stderr: body },
                };
                let took = parts.get(3).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
                self.outcomes.push(outcome.clone());
                watch(StepEvent::Ended { index, outcome, took: Duration::from_millis(took * 10) });
            }
            Some("done") => self.done = true,
            Some("broken") => self.broken = Some("no private folder could be made: is /tmp full or read-only?".to_owned()),
            _ => {}
        }
    }
}
