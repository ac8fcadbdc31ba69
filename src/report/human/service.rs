//! One service of a plan: how it changes, and what changes on its hosts.
//!
//! In: a service and its blocks. Out: lines in columns. Never: a change that belongs to another service.

use std::collections::BTreeSet;

use anstyle::Style;

use super::alike::{self, Alike};
use super::fold::{self, Row};
use super::layout::{self, pad, paint, parts, width, wrap};
use super::view::{Diffs, View};
use super::{diff, rollout, words};
use crate::name::{HostName, RoleName};
use crate::plan::{Entry, Plan, PlannedBlock, ServicePlan, Verdict};
use crate::resource::Action;
use crate::step::Health;

/// A longer list of hosts gets a line of its own.
const HOSTS: usize = 24;
/// A longer target pushes its reason to the right.
const TARGET: usize = 44;
/// A reason with less room than this goes below.
const ROOM: usize = 30;

/// The blocks of each service; last, those of none.
pub(super) fn groups(plan: &Plan) -> Vec<Vec<&PlannedBlock>> {
    let mut groups: Vec<Vec<&PlannedBlock>> = vec![Vec::new(); plan.services.len() + 1];
    let batches = plan.services.iter().enumerate();
    let mut batches = batches.flat_map(|(index, service)| {
        service.batches.iter().map(move |batch| (index, batch.iter().collect::<BTreeSet<_>>()))
    });
    let mut current = batches.next();
    let mut begun = false;
    for stage in &plan.stages {
        // Also what is not shown is a part of its batch.
        begun |= matches!(stage.work, crate::plan::Work::Change(_));
        match &stage.work {
            // What only stays is told elsewhere.
            crate::plan::Work::Change(block) if block.entries.iter().all(Entry::is_kept) => {}
            // What leaves is of its own service, or of none.
            crate::plan::Work::Change(block) if block.entries.iter().all(Entry::is_removal) => {
                let own = plan.services.iter().position(|service| Some(&service.name) == block.service.as_ref());
                groups[own.unwrap_or(plan.services.len())].push(block);
            }
            crate::plan::Work::Change(block) => {
                let here = current.as_ref().filter(|(_, batch)| batch.contains(&block.host)).map(|(index, _)| *index);
                let index = here.or_else(|| owner(plan, block)).unwrap_or(plan.services.len());
                groups[index].push(block);
            }
            // A batch ends with a join of what it changed.
            crate::plan::Work::Join if begun => {
                begun = false;
                current = batches.next();
            }
            _ => {}
        }
    }
    groups
}

fn owner(plan: &Plan, block: &PlannedBlock) -> Option<usize> {
    let own = |service: &ServicePlan| Some(&service.name) == block.service.as_ref();
    let there = |service: &ServicePlan| service.batches.iter().flatten().any(|host| *host == block.host);
    plan.services.iter().position(own).or_else(|| plan.services.iter().position(there))
}

/// Whether there is anything to say about it.
pub(super) fn is_quiet(plan: &Plan, service: &ServicePlan, blocks: &[&PlannedBlock]) -> bool {
    blocks.is_empty() && service.unhealthy.is_empty() && silent(plan, service).is_empty()
}

fn silent<'a>(plan: &Plan, service: &'a ServicePlan) -> Vec<&'a HostName> {
    service.hosts.iter().filter(|host| plan.unreachable.contains_key(*host)).collect()
}

/// A service with its changes.
pub(super) fn lines(plan: &Plan, service: &ServicePlan, blocks: &[&PlannedBlock], view: &View) -> Vec<String> {
    let mut lines = head(plan, service, view);
    lines.extend(roles(blocks, &service.role, view, is_done));
    lines
}

/// The rows of each role, under its name where it is not the only one; all in the same columns.
pub(super) fn roles(
    blocks: &[&PlannedBlock],
    own: &RoleName,
    view: &View,
    wanted: fn(&Verdict) -> bool,
) -> Vec<String> {
    let rows = by_role(blocks)
        .into_iter()
        .map(|(role, blocks)| (role, fold::rows(&blocks, view.diffs, wanted), risk(&blocks, wanted, view)));
    let rows: Vec<(RoleName, Vec<Row<'_>>, Vec<String>)> = rows.filter(|(_, rows, _)| !rows.is_empty()).collect();
    let columns = Columns::of(rows.iter().flat_map(|(_, rows, _)| rows));
    let alone = rows.iter().all(|(role, ..)| role == own);
    let mut lines = Vec::new();
    for (role, rows, risk) in &rows {
        if !alone {
            let text =
                if role == own { format!("role {role}") } else { format!("role {role}, required on the same host") };
            lines.push(format!("  {}", paint(layout::QUIET, &text)));
        }
        lines.extend(table(rows, &columns, view));
        lines.extend(risk.iter().cloned());
    }
    lines
}

/// What a host does by itself about a change that could shut us out.
fn risk(blocks: &[&PlannedBlock], wanted: fn(&Verdict) -> bool, view: &View) -> Vec<String> {
    let shown = |block: &&&PlannedBlock| block.entries.iter().any(|entry| wanted(&entry.verdict));
    let risky = blocks.iter().filter(shown).filter_map(|block| Some((block.risk()?, &block.host)));
    let (waits, hosts): (Vec<_>, Vec<_>) = risky.unzip();
    let Some(wait) = waits.into_iter().max() else { return Vec::new() };
    let (hosts, wait) = (words::hosts(hosts), words::span(wait).replace(".0 s", " s"));
    let text = format!("{hosts}: the host rolls it back unless we can log in again within {wait}");
    let lines = wrap(&text, view.width.saturating_sub(2)).into_iter();
    lines.map(|line| format!("  {}", paint(layout::MAY, &line))).collect()
}

/// Whether a verdict makes something happen.
pub(super) fn is_done(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Change(_) | Verdict::MayChange(_))
}

/// The roles in the order in which they come, each with its blocks.
pub(super) fn by_role<'a>(blocks: &[&'a PlannedBlock]) -> Vec<(RoleName, Vec<&'a PlannedBlock>)> {
    let mut roles: Vec<(RoleName, Vec<&PlannedBlock>)> = Vec::new();
    for block in blocks {
        match roles.iter_mut().find(|(role, _)| *role == block.role) {
            Some((_, found)) => found.push(block),
            None => roles.push((block.role.clone(), vec![block])),
        }
    }
    roles
}

fn head(plan: &Plan, service: &ServicePlan, view: &View) -> Vec<String> {
    let name = service.name.to_string();
    let silent = silent(plan, service);
    let missing = if silent.is_empty() { String::new() } else { format!("{} unreachable", words::hosts(silent)) };
    let texts = [name.clone(), words::hosts(&service.hosts), pace(service), missing];
    let mut lines = parts(&texts, view.width, 4);
    if let Some(first) = lines.first_mut() {
        *first = format!("{}{}", paint(layout::NAME, &name), &first[name.len()..]);
    }
    if let Some(why) = service.rollout.as_ref().and_then(|rollout| rollout.refused.as_ref()) {
        let text = format!("refused: {}", words::one_line(why));
        let lines_of = wrap(&text, view.width.saturating_sub(2));
        lines.extend(lines_of.into_iter().map(|line| format!("  {}", paint(layout::WRONG, &line))));
    }
    for Alike { key: (word, changes), text: why, hosts, .. } in unhealthy(plan, service) {
        let text = format!("{word}: {} ({why})", words::hosts(hosts));
        let shown = |line: String| if changes { line } else { paint(layout::WRONG, &line) };
        let wrapped = wrap(&text, view.width.saturating_sub(2)).into_iter();
        lines.extend(wrapped.map(|line| format!("  {}", shown(line))));
    }
    lines
}

/// The hosts that fail a health check, by the check and the answer: each with a word for it, and whether the plan changes
/// the hosts.
fn unhealthy<'a>(plan: &Plan, service: &'a ServicePlan) -> Vec<Alike<'a, (&'static str, bool)>> {
    let mut found = Vec::new();
    for host in &service.hosts {
        let changes = service.batches.iter().flatten().any(|changing| changing == host);
        let address = plan.endpoints.get(host).map(|endpoint| endpoint.address.as_str());
        for failed in service.unhealthy.get(host).into_iter().flatten() {
            let word = match (&failed.health, changes) {
                (Health::Unknown(_), _) => "health unknown",
                (_, true) => "unhealthy now",
                (_, false) => "unhealthy",
            };
            alike::note(&mut found, (word, changes), words::failed_check(failed), (host, address));
        }
    }
    found
}

/// In which order and how many at a time its hosts change.
fn pace(service: &ServicePlan) -> String {
    let Some(first) = service.batches.first() else { return String::new() };
    let broken = first.iter().all(|host| service.down.contains_key(host));
    let rest = &service.batches[usize::from(broken)..];
    let all = service.hosts.len();
    let together = match (broken, rest) {
        (true, []) => at_once(first, all),
        (true, rest) => format!("first {}, then {}", words::hosts(first), batches(rest, all)),
        (false, rest) => batches(rest, all),
    };
    let needs = words::list(&service.needs);
    let (are, after) = (if service.needs.len() == 1 { "is" } else { "are" }, !service.needs.is_empty());
    let waits = if after { format!("after {needs} {are} healthy") } else { String::new() };
    let promises = service.rollout.as_ref().map(rollout::promises).unwrap_or_default();
    std::iter::once(together)
        .chain(promises)
        .chain([waits])
        .filter(|text| !text.is_empty())
        .collect::<Vec<_>>()
        .join(", ")
}

fn batches(batches: &[Vec<HostName>], all: usize) -> String {
    match batches {
        [one] => at_once(one, all),
        several => match several.iter().map(Vec::len).max() {
            Some(1) | None => "one at a time".to_owned(),
            Some(most) => format!("{most} at a time"),
        },
    }
}

fn at_once(hosts: &[HostName], all: usize) -> String {
    match hosts {
        [_] if all == 1 => String::new(),
        [one] => format!("only {one}"),
        [_, _] if all == 2 => "both at once".to_owned(),
        some if some.len() == all => "all at once".to_owned(),
        some => format!("{} hosts at once", some.len()),
    }
}

/// How wide each column is.
struct Columns {
    hosts: usize,
    word: usize,
    target: usize,
}

impl Columns {
    fn of<'a>(rows: impl Iterator<Item = &'a Row<'a>>) -> Self {
        let mut columns = Self { hosts: 0, word: 0, target: 0 };
        for row in rows {
            let narrow = |width: usize, most: usize| if width <= most { width } else { 0 };
            columns.hosts = columns.hosts.max(narrow(width(&words::hosts(row.hosts.iter().copied())), HOSTS));
            columns.word = columns.word.max(width(sign(row).1));
            columns.target = columns.target.max(narrow(width(&target(row)), TARGET));
        }
        columns
    }
}

/// Rows in columns.
fn table(rows: &[Row<'_>], columns: &Columns, view: &View) -> Vec<String> {
    let mut lines = Vec::new();
    let mut above = String::new();
    for row in rows {
        let hosts = words::hosts(row.hosts.iter().copied());
        let wide = width(&hosts) > HOSTS;
        if wide && hosts != above {
            lines.extend(wrap(&hosts, view.width.saturating_sub(2)).into_iter().map(|line| format!("  {line}")));
        }
        lines.extend(one(row, if wide { "" } else { &hosts }, columns, view));
        above = hosts;
    }
    lines
}

fn one(row: &Row<'_>, hosts: &str, columns: &Columns, view: &View) -> Vec<String> {
    let (mark, word, style) = sign(row);
    let start = 2 + columns.hosts + 2;
    let indent = start + 2 + columns.word + 2;
    let target = target(row);
    let (same, below) = place(&target, &row.why(), indent, columns.target, view.width);
    let signed = paint(style, &format!("{mark} {}", pad(word, columns.word)));
    let mut lines = vec![format!("  {}  {signed}  {same}", pad(hosts, columns.hosts)).trim_end().to_owned()];
    lines.extend(below.into_iter().map(|(column, text)| format!("{}{text}", " ".repeat(column))));
    lines.extend(diff::show(&row.body, view.diffs == Diffs::Full, indent));
    if view.verbose > 0 {
        let steps = row.entry.steps().iter().map(|step| paint(layout::QUIET, &format!(". {}", words::step(step))));
        lines.extend(steps.map(|step| format!("{}{step}", " ".repeat(indent))));
    }
    lines
}

/// Target and reason on one line, and what of the reason goes below, with its column.
fn place(target: &str, why: &str, indent: usize, column: usize, most: usize) -> (String, Vec<(usize, String)>) {
    if why.is_empty() {
        return (target.to_owned(), Vec::new());
    }
    let reason = indent + column.max(width(target)) + 3;
    let fits = reason + width(why) <= most;
    let below = wrap(why, most.saturating_sub(indent + 2));
    // Lines below are read more easily than a narrow column, if that does not take more of them.
    let shorter = !fits && below.len() < wrap(why, most.saturating_sub(reason)).len();
    if most < reason + ROOM || shorter {
        let below = below.into_iter().map(|line| (indent + 2, line));
        return if fits {
            (format!("{}   {why}", pad(target, column)), Vec::new())
        } else {
            (target.to_owned(), below.collect())
        };
    }
    let mut wrapped = wrap(why, most - reason).into_iter();
    let first = wrapped.next().unwrap_or_default();
    (format!("{}   {first}", pad(target, column)), wrapped.map(|line| (reason, line)).collect())
}

fn target(row: &Row<'_>) -> String {
    words::one_line(&row.entry.address.target)
}

/// The sign of a row, the word after it, and their colour.
fn sign<'a>(row: &Row<'a>) -> (char, &'a str, Style) {
    let kind = row.entry.address.kind;
    match &row.entry.verdict {
        Verdict::Change(change) => planned(change.action, kind),
        Verdict::MayChange(change) => ('?', planned(change.action, kind).1, layout::MAY),
        Verdict::Keep => ('=', kind, layout::QUIET),
        Verdict::Refused | Verdict::Unreadable | Verdict::Blocked => ('x', kind, layout::WRONG),
    }
}

fn planned(action: Action, kind: &str) -> (char, &str, Style) {
    match action {
        Action::Add => ('+', kind, layout::ADD),
        Action::Change => ('~', kind, layout::CHANGE),
        Action::Remove => ('-', kind, layout::REMOVE),
        Action::Run => ('>', "run", layout::RUN),
        Action::Start => ('!', "start", layout::ACT),
        Action::Stop => ('!', "stop", layout::ACT),
        Action::Restart => ('!', "restart", layout::ACT),
        Action::Reload => ('!', "reload", layout::ACT),
    }
}
