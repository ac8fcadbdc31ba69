//! What `timer`, `mount` and `swap` share: systemd units that a kind writes whole, one of which is enabled and active.
//!
//! In: the units as they should be, and what was found. Out: files, a `daemon-reload`, and calls of `systemctl`.
//! Never: a unit that somebody else made.

use std::time::Duration;

use super::generated::{Generated, Parts, newest};
use super::{Action, Field, FieldValue, Others, Verdict, trace};
use crate::step::{Command, PathReading, Probe, Readings, Step, Touched, UnitReading, Unreadable};

/// Where the administrator's units are (systemd.unit(5)).
const FOLDER: &str = "/etc/systemd/system";

/// Where the file of an administrator's unit is.
pub(super) fn path(unit: &str) -> String {
    format!("{FOLDER}/{unit}")
}

/// Why a unit has to stay: what requires it and stays itself. systemd stops that, too, and does not start it again.
pub(super) fn needed(unit: &UnitReading, others: &Others) -> Option<String> {
    let goes = |name: &&String| {
        let stem = name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem);
        let service = name.strip_suffix(".service").unwrap_or(name);
        others.removes("unit", name) || others.removes("service", service) || others.removes("timer", stem)
    };
    // A target that requires it was made to by its own links.
    let stays = |name: &&String| !name.ends_with(".target") && !goes(name);
    let name = unit.required_by.iter().find(stays)?;
    let service = name.strip_suffix(".service").unwrap_or(name);
    let wanted = others.wants("unit", name) || others.wants("service", service);
    let wanted = if wanted { " (which is in a role)" } else { "" };
    Some(format!("the unit {name}{wanted} requires it"))
}

/// Units that a kind writes.
#[derive(Debug)]
pub(super) struct Units {
    /// The one that is enabled and active.
    main: String,
    files: Vec<(Generated, Probe)>,
}

/// What was found.
#[derive(Debug, PartialEq)]
pub(super) struct State {
    /// In the order of the units.
    pub(super) files: Vec<PathReading>,
    /// In the same order.
    units: Vec<UnitReading>,
}

impl State {
    /// Whether none of the files is there.
    pub(super) fn is_new(&self) -> bool {
        self.files.iter().all(|found| *found == PathReading::Absent)
    }

    /// Whether the main unit became active before its files were last written: it goes by older ones.
    pub(super) fn is_stale(&self) -> bool {
        self.needs_reload() || self.main().since.is_some_and(|since| newest(&self.files) > Some(since))
    }

    /// Whether there is anything of it, from us or from somebody else.
    pub(super) fn exists(&self) -> bool {
        !self.is_new() || self.units.iter().any(|unit| unit.load != "not-found")
    }

    /// See [`super::Kind::fingerprint`]. What the main one starts runs now and then.
    pub(super) fn fingerprint(&self) -> String {
        let parts: Vec<String> = self.units.iter().map(trace::part).collect();
        format!("{}\n{}\n{}", self.imprint(), parts.join("\n"), trace::unit(self.main()))
    }

    /// See [`super::Kind::imprint`].
    pub(super) fn imprint(&self) -> String {
        trace::paths(&self.files)
    }

    fn main(&self) -> &UnitReading {
        &self.units[self.units.len() - 1]
    }

    fn needs_reload(&self) -> bool {
        self.units.iter().any(|unit| unit.needs_reload)
    }
}

impl Units {
    /// Units with their texts, the main one last. A text's name is what plans call it.
    pub(super) fn new(main: String, texts: Vec<(&'static str, String, String)>) -> Self {
        let file = |(name, unit, text): (&'static str, String, String)| {
            (Generated::new(name, path(&unit), &text), Probe::Unit(unit))
        };
        Self { main, files: texts.into_iter().map(file).collect() }
    }

    /// What to ask a host.
    pub(super) fn probes(&self) -> Vec<Probe> {
        self.files.iter().flat_map(|(file, unit)| [file.probe(), unit.clone()]).collect()
    }

    /// What was found.
    ///
    /// # Errors
    /// When the host did not say.
    pub(super) fn observe(&self, readings: &Readings) -> Result<State, Unreadable> {
        let files = self.files.iter().map(|(file, _)| file.found(readings)).collect::<Result<_, _>>()?;
        let units = self.files.iter().map(|(_, unit)| readings.unit(unit).cloned()).collect::<Result<_, _>>()?;
        Ok(State { files, units })
    }

    /// The files that differ, and systemd told of them.
    ///
    /// # Errors
    /// The reason why it must not be done.
    pub(super) fn files(&self, state: &State) -> Result<Parts, String> {
        let mut parts = Parts::default();
        self.files.iter().zip(&state.files).try_for_each(|((file, _), found)| parts.take(file.written(found)))?;
        self.reload(&mut parts, state);
        Ok(parts)
    }

    /// Enabled and active; an active one gets this call, if there is one.
    pub(super) fn running(&self, parts: &mut Parts, state: &State, call: Option<&str>) {
        let unit = state.main();
        if unit.enabled != "enabled" {
            parts.add(from_to("enabled", unit, "false", "true"), self.run("enable"));
        }
        match (unit.active.as_str(), call) {
            ("active", Some(call)) => parts.steps.push(self.run(call)),
            ("active", None) => {}
            (other, _) => {
                parts.steps.extend((other == "failed").then(|| self.run("reset-failed")));
                parts.add(from_to("state", unit, other, "active"), self.run("start"));
            }
        }
    }

    /// [`Self::absent`], unless units that stay require one of these.
    pub(super) fn absent_among(&self, state: &State, others: &Others) -> Verdict {
        match (self.absent(state), state.units.iter().find_map(|unit| needed(unit, others))) {
            (Verdict::Change(_), Some(why)) => Verdict::Refuse(why),
            (verdict, _) => verdict,
        }
    }

    /// All of it gone. What runs under its name is stopped first, and guarded, as some of it may be gone already.
    pub(super) fn absent(&self, state: &State) -> Verdict {
        if state.is_new() {
            return Verdict::InSync;
        }
        let mut parts = Parts::default();
        parts.steps.extend([self.only_if("is-enabled", "disable"), self.stopped()]);
        for ((file, _), found) in self.files.iter().zip(&state.files) {
            if let Err(why) = parts.take(file.removed(found)) {
                return Verdict::Refuse(why);
            }
        }
        self.reload(&mut parts, state);
        match parts.verdict() {
            Verdict::Change(change) => Verdict::Change(super::Change { action: Action::Remove, ..change }),
            verdict => verdict,
        }
    }

    /// A unit that is there and not from a file of ours.
    pub(super) fn foreign(&self, state: &State) -> Option<&str> {
        let found = state.files.iter().zip(&state.units);
        let foreign =
            |(file, unit): (&PathReading, &UnitReading)| *file == PathReading::Absent && unit.load != "not-found";
        let place = found.into_iter().position(foreign)?;
        if let Probe::Unit(name) = &self.files[place].1 { Some(name) } else { None }
    }

    /// The main unit stopped, if it is active.
    pub(super) fn stopped(&self) -> Step {
        self.only_if("is-active", "stop")
    }

    fn run(&self, verb: &str) -> Step {
        Step::Run(call(verb, &self.main))
    }

    /// After files were written, or when an earlier run was interrupted before it came to this.
    fn reload(&self, parts: &mut Parts, state: &State) {
        if !parts.is_empty() || state.needs_reload() {
            parts.steps.push(Step::Run(daemon_reload(Some(&self.main))));
        }
    }

    fn only_if(&self, question: &str, verb: &str) -> Step {
        let guard = Command::new(["sh", "-c", "! systemctl \"$1\" --quiet -- \"$2\"", "sh", question, &self.main]);
        Step::RunUnless(call(verb, &self.main), Box::new(guard.within(Duration::from_secs(30))))
    }
}

/// A call of systemd about a unit. Of a template, only its instances have a state, and which these are is not known.
pub(super) fn call(verb: &str, unit: &str) -> Command {
    let command = Command::new(["systemctl", verb, "--", unit]);
    let known = !unit.contains("@.") && !unit.contains('*');
    if known { command.touching([Touched::Unit(unit.to_owned())]) } else { command }
}

/// Lets systemd read its files again, for the sake of a unit if there is one. A template has no state of its own.
pub(super) fn daemon_reload(unit: Option<&str>) -> Command {
    let unit = unit.filter(|unit| !unit.contains("@.")).map(|unit| Touched::Unit(unit.to_owned()));
    Command::new(["systemctl", "daemon-reload"]).touching(unit)
}

/// Something that differs, or is new with the unit.
fn from_to(name: &'static str, unit: &UnitReading, from: &str, to: &str) -> Field {
    let there = unit.load != "not-found";
    Field { name, value: FieldValue::Text { from: there.then(|| from.to_owned()), to: Some(to.to_owned()) } }
}

/// A text as one word of a unit's setting, in quotes (systemd.syntax(7)); `%` begins a specifier there.
pub(super) fn quoted(text: &str) -> String {
    let mut word = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => word.extend(['\\', c]),
            '%' => word.push_str("%%"),
            '\n' => word.push_str("\\n"),
            '\t' => word.push_str("\\t"),
            c => word.push(c),
        }
    }
    word.push('"');
    word
}

/// A path as the name of a unit without its ending, as `systemd-escape --path` makes it (systemd.unit(5)).
pub(super) fn escaped(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return "-".to_owned();
    }
    let mut name = String::new();
    for (index, byte) in parts.join("/").bytes().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if index == 0 => name.push_str("\\x2e"),
            byte if byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'.') => name.push(char::from(byte)),
            byte => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
                name.extend(['\\', 'x', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `systemd-escape --path` of systemd 252 says; the first is the example of its manual.
    #[test]
    fn paths_are_escaped_as_systemd_does() {
        let said = [
            ("/tmp//waldi/foobar/", "tmp-waldi-foobar"),
            ("/", "-"),
            ("/srv/data-1", r"srv-data\x2d1"),
            ("/.hidden/.x", r"\x2ehidden-.x"),
            ("/mnt/my disk", r"mnt-my\x20disk"),
            ("/Hallöchen, Meister", r"Hall\xc3\xb6chen\x2c\x20Meister"),
            ("/a:b_c.d@e", r"a:b_c.d\x40e"),
        ];
        for (path, name) in said {
            assert_eq!(escaped(path), name, "{path}");
        }
    }

    #[test]
    fn a_word_is_a_word_whatever_is_in_it() {
        assert_eq!(quoted("100% \"of\" \\ it\n"), r#""100%% \"of\" \\ it\n""#);
    }
}
