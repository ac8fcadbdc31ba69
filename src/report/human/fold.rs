//! The same change on many hosts as one row.
//!
//! In: blocks of one role on several hosts. Out: rows, each with all hosts it is true for, in the order in which a host
//! meets them. Never: two changes in one row that a reader could tell apart, unless the row says so.

use super::diff;
use super::view::Diffs;
use super::words;
use crate::name::{Address, HostName};
use crate::plan::{Cause, Entry, PlannedBlock, Reason, Verdict};
use crate::resource::{Action, Change, Field, FieldValue};

/// One change and the hosts it is planned for.
pub(super) struct Row<'a> {
    /// In the order of the blocks.
    pub(super) hosts: Vec<&'a HostName>,
    /// The first of them.
    pub(super) entry: &'a Entry,
    /// Its differences, line by line.
    pub(super) body: Vec<diff::Line>,
    /// Whether each host gets a content of its own that is not shown.
    own: bool,
    /// How much of it is shown.
    diffs: Diffs,
}

/// So many of a list of packages say what it is about; the rest is a number.
const PACKAGES: usize = 5;

/// The changes of these blocks, each once.
pub(super) fn rows<'a>(blocks: &[&'a PlannedBlock], diffs: Diffs, wanted: fn(&Verdict) -> bool) -> Vec<Row<'a>> {
    let mut rows: Vec<Row<'a>> = Vec::new();
    for block in blocks {
        let mut place = 0;
        for entry in block.entries.iter().filter(|entry| wanted(&entry.verdict)) {
            place = add(&mut rows, &block.host, entry, diffs, place);
        }
    }
    rows
}

/// Adds an entry to its row, or makes one not before `place`; gives the place after it.
fn add<'a>(rows: &mut Vec<Row<'a>>, host: &'a HostName, entry: &'a Entry, diffs: Diffs, place: usize) -> usize {
    let alike = |row: &Row<'_>| row.is_about(entry) && fields(row.entry) == fields(entry);
    if let Some(found) = rows.iter().position(alike) {
        rows[found].hosts.push(host);
        return place.max(found + 1);
    }
    let body = body(entry, diffs);
    if let Some(found) = rows.iter().position(|row| row.is_about(entry) && row.looks_like(entry, &body, diffs)) {
        let row = &mut rows[found];
        row.own |= is_hidden(entry, diffs);
        row.hosts.push(host);
        return place.max(found + 1);
    }
    let others = rows[place..].iter().take_while(|row| is_same_thing(&row.entry.address, &entry.address)).count();
    rows.insert(place + others, Row { hosts: vec![host], entry, body, own: false, diffs });
    place + others + 1
}

impl Row<'_> {
    fn is_about(&self, entry: &Entry) -> bool {
        is_same_thing(&self.entry.address, &entry.address)
            && kind(&self.entry.verdict) == kind(&entry.verdict)
            && is_same_reason(&self.entry.reason, &entry.reason)
            && words::drift(&self.entry.cause) == words::drift(&entry.cause)
    }

    /// Whether all that is shown is the same, although not all that there is.
    fn looks_like(&self, entry: &Entry, body: &[diff::Line], diffs: Diffs) -> bool {
        let hidden = is_hidden(entry, diffs);
        let is_below = |field: &Field| matches!(field.value, FieldValue::Diff { .. });
        let told = |field: &&Field| !(is_below(field) || hidden && field.name == "content");
        self.body == body && fields(self.entry).iter().filter(told).eq(fields(entry).iter().filter(told))
    }

    /// What differs and why, in words.
    pub(super) fn why(&self) -> String {
        let action = change(&self.entry.verdict).map(|change| change.action);
        let shown = fields(self.entry).iter().filter_map(|field| self.field(field, action));
        let mut texts: Vec<String> = shown.collect();
        let obvious = matches!(self.entry.reason, Reason::Missing | Reason::Unwanted | Reason::Differs);
        // The sign `+` says that it is missing, and what differs that it does.
        let told = self.entry.reason == Reason::Missing || obvious && !(texts.is_empty() && self.body.is_empty());
        if !told {
            let mark = if matches!(self.entry.verdict, Verdict::MayChange(_)) { "may change: " } else { "" };
            texts.insert(0, format!("{mark}{}", words::reason(&self.entry.reason)));
        }
        match (&self.entry.cause, &self.entry.verdict) {
            // Its reason says already that somebody changed it.
            (Cause::Host { since }, Verdict::Keep) => texts.push(format!("owned since {}", words::moment(since))),
            (cause, _) => texts.extend(words::drift(cause)),
        }
        texts.join("; ")
    }

    fn field(&self, field: &Field, action: Option<Action>) -> Option<String> {
        let name = words::one_line(field.name);
        match &field.value {
            FieldValue::Diff { to, .. } if action == Some(Action::Add) => Some(self.new_content(to)),
            FieldValue::Diff { .. } => None,
            FieldValue::Text { from: Some(from), to: Some(to) } => {
                Some(format!("{name} {} -> {}", words::one_line(from), words::one_line(to)))
            }
            // `also removed`: a package may take dozens along.
            FieldValue::Text { from: None, to: Some(to) }
                if name.starts_with("also ") && self.diffs == Diffs::Short =>
            {
                Some(format!("{name} {}", words::one_line(&first_of(to))))
            }
            FieldValue::Text { from: None, to: Some(to) } => Some(format!("{name} {}", words::one_line(to))),
            FieldValue::Text { from: Some(from), to: None } => {
                Some(format!("{name} {} -> none", words::one_line(from)))
            }
            FieldValue::Text { from: None, to: None } => Some(name),
            FieldValue::Secret if action == Some(Action::Add) => Some(format!("{name} (secret)")),
            FieldValue::Secret => Some(format!("{name} (secret, differs)")),
            FieldValue::Binary { .. } if self.own => Some("each host gets its own content".to_owned()),
            FieldValue::Binary { from: Some(from), to } => {
                Some(format!("{name} {} -> {}, too long or not text", words::size(*from), words::size(*to)))
            }
            FieldValue::Binary { from: None, to } => Some(format!("{name} {}, not text", words::size(*to))),
        }
    }

    fn new_content(&self, text: &str) -> String {
        if self.own {
            return "each host gets its own content".to_owned();
        }
        let lines = words::count(text.lines().count(), "line");
        if text.is_empty() { "empty".to_owned() } else { format!("{lines}, {}", words::size(text.len() as u64)) }
    }
}

/// The first of a list, and how many more there are.
fn first_of(list: &str) -> String {
    let all: Vec<&str> = list.split(", ").collect();
    match all.get(PACKAGES..).map(<[&str]>::len) {
        // One more takes no more room than its number.
        None | Some(0 | 1) => list.to_owned(),
        Some(more) => format!("{} and {more} more (all with -D)", all[..PACKAGES].join(", ")),
    }
}

fn body(entry: &Entry, diffs: Diffs) -> Vec<diff::Line> {
    if is_hidden(entry, diffs) {
        return Vec::new();
    }
    let texts = fields(entry).iter().filter_map(|field| match &field.value {
        FieldValue::Diff { from, to } => Some(diff::lines(from, to)),
        _ => None,
    });
    texts.flatten().collect()
}

/// Whether the content is told by its size only: new things are not shown line by line unless asked for.
fn is_hidden(entry: &Entry, diffs: Diffs) -> bool {
    let added = change(&entry.verdict).is_some_and(|change| change.action == Action::Add);
    added && diffs == Diffs::Short
}

/// The change of a verdict, if it has one.
pub(super) fn change(verdict: &Verdict) -> Option<&Change> {
    match verdict {
        Verdict::Change(change) | Verdict::MayChange(change) => Some(change),
        Verdict::Refused | Verdict::Unreadable | Verdict::Blocked | Verdict::Keep => None,
    }
}

fn fields(entry: &Entry) -> &[Field] {
    change(&entry.verdict).map(|change| change.fields.as_slice()).unwrap_or_default()
}

fn kind(verdict: &Verdict) -> (std::mem::Discriminant<Verdict>, Option<Action>) {
    (std::mem::discriminant(verdict), change(verdict).map(|change| change.action))
}

fn is_same_thing(a: &Address, b: &Address) -> bool {
    a.kind == b.kind && a.target == b.target && a.role == b.role
}

fn is_same_reason(a: &Reason, b: &Reason) -> bool {
    match (a, b) {
        (Reason::Notified(a), Reason::Notified(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same_thing(a, b))
        }
        (Reason::Stale(a), Reason::Stale(b)) | (Reason::After(a), Reason::After(b)) => is_same_thing(a, b),
        _ => a == b,
    }
}
