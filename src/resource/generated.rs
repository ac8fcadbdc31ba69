//! What kinds share that write files of their own making: each whole, root's, and readable by all.
//!
//! In: a path, what to put there, and what was found. Out: the difference and its steps. Never: a file that a kind owns
//! only in part, or a secret.

use super::fields::{self, Wanted};
use super::regular::{self, OtherContent, Regular};
use super::{Action, Field, Verdict};
use crate::secret::Content;
use crate::step::{Command, Ownership, PathReading, Probe, Readings, Step, Unreadable};

/// Above every file: who comes by reads where it is from.
pub(super) const HEAD: &str = "# Written by armilla: changes by hand are undone.\n";

/// A file whose whole content a kind makes.
#[derive(Debug, Clone)]
pub(super) struct Generated {
    /// What plans call its content.
    pub(super) name: &'static str,
    /// Where it is on the host.
    pub(super) path: String,
    /// All of it.
    content: Content,
}

impl Generated {
    /// A file with these lines below [`HEAD`].
    pub(super) fn new(name: &'static str, path: String, lines: &str) -> Self {
        Self { name, path, content: Content::from(format!("{HEAD}{lines}").as_str()) }
    }

    /// A file with nothing but this.
    pub(super) fn bare(name: &'static str, path: String, text: &str) -> Self {
        Self { name, path, content: Content::from(text) }
    }

    /// What to ask a host.
    pub(super) fn probe(&self) -> Probe {
        self.regular(true).probe()
    }

    /// What was found.
    ///
    /// # Errors
    /// When the host did not say.
    pub(super) fn found(&self, readings: &Readings) -> Result<PathReading, Unreadable> {
        readings.path(&self.probe()).cloned()
    }

    /// How to get there.
    pub(super) fn written(&self, found: &PathReading) -> Verdict {
        self.named(self.regular(true).verdict(found))
    }

    /// How it goes away.
    pub(super) fn removed(&self, found: &PathReading) -> Verdict {
        self.regular(false).verdict(found)
    }

    fn named(&self, verdict: Verdict) -> Verdict {
        let Verdict::Change(mut change) = verdict else { return verdict };
        change.fields.iter_mut().filter(|field| field.name == "content").for_each(|field| field.name = self.name);
        Verdict::Change(change)
    }

    fn regular(&self, wanted: bool) -> Regular<'_> {
        let ownership = fields::ownership("root", "root", fields::mode_644());
        Regular {
            path: &self.path,
            content: wanted.then_some(Wanted::Content(&self.content)),
            ownership,
            other: OtherContent::Replaced,
        }
    }
}

/// A change that is put together from parts: files, and what follows from them.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// What is different.
    pub(super) fields: Vec<Field>,
    /// What ends it, in order.
    pub(super) steps: Vec<Step>,
    action: Option<Action>,
}

impl Parts {
    /// Takes over what is said of one file. The first says what sort of change the whole is.
    ///
    /// # Errors
    /// The reason why it must not be done.
    pub(super) fn take(&mut self, verdict: Verdict) -> Result<(), String> {
        match verdict {
            Verdict::Refuse(why) => return Err(why),
            Verdict::Change(change) | Verdict::MayChange(change, _) => {
                self.action.get_or_insert(change.action);
                self.fields.extend(change.fields);
                self.steps.extend(change.steps);
            }
            Verdict::InSync => {}
        }
        Ok(())
    }

    /// Whether nothing is different yet.
    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// One more difference, with what ends it.
    pub(super) fn add(&mut self, field: Field, step: Step) {
        self.fields.push(field);
        self.steps.push(step);
    }

    /// What comes after it.
    pub(super) fn append(&mut self, later: Self) {
        self.action = self.action.or(later.action);
        self.fields.extend(later.fields);
        self.steps.extend(later.steps);
    }

    /// The whole.
    pub(super) fn verdict(self) -> Verdict {
        if self.steps.is_empty() {
            return Verdict::InSync;
        }
        Verdict::change(self.action.unwrap_or(Action::Change), self.fields, self.steps)
    }
}

/// Makes a directory where there is none; one that is there stays as it is.
pub(super) fn folder(path: &str) -> Step {
    Step::MakeDirectory { path: path.to_owned(), ownership: Ownership::default() }
}

/// A fixed shell text. What differs comes to it as arguments; its name is in what the shell complains.
pub(super) fn shell<'a>(name: &'a str, text: &'a str, arguments: &[&'a str]) -> Command {
    Command::new([&["sh", "-c", text, name], arguments].concat())
}

/// When the newest of some files was written, if there is any.
pub(super) fn newest<'a>(found: impl IntoIterator<Item = &'a PathReading>) -> Option<i64> {
    found.into_iter().filter_map(regular::modified).max()
}
