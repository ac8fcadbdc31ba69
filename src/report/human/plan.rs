//! A plan as a person reads it before saying yes.
//!
//! In: a plan, and how much of it is wanted. Out: a text with what changes on every host and why, what could not be
//! found out, and what to type next. Never: "no changes" where a host did not answer.

use std::collections::BTreeSet;

use super::layout::{self, paint, parts, wrap};
use super::view::{Read, Subject, View};
use super::{service, words};
use crate::name::HostName;
use crate::plan::{Plan, PlannedBlock, ServicePlan, Summary, Verdict};
use crate::resource::Action;

/// A plan as text.
pub fn plan(plan: &Plan, view: &View) -> String {
    let mut lines = header(plan, view);
    lines.extend(services(plan, view));
    let blocks: Vec<&PlannedBlock> = plan.blocks().collect();
    lines.extend(kept(&blocks, view));
    lines.extend(trouble(&blocks, view));
    lines.extend(unreachable(plan, view));
    lines.push(String::new());
    lines.extend(footer(plan, view));
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

fn header(plan: &Plan, view: &View) -> Vec<String> {
    let name = match view.subject {
        Subject::Services => plan.environment().to_string(),
        Subject::Destruction { .. } => format!("destroy {}", plan.environment()),
    };
    let amount = match view.subject {
        Subject::Services => {
            let (hosts, services) = (all_hosts(plan).len(), plan.services.len());
            format!("{}, {}", words::count(hosts, "host"), words::count(services, "service"))
        }
        Subject::Destruction { hosts } => words::count(hosts, "host"),
    };
    let revision = view.revision.as_ref().map(|text| format!("revision {}", words::one_line(text)));
    let limit = within(view).map(|text| format!("only {text}"));
    let read = match &view.read {
        Read::Now(took) => format!("read in {}", words::span(*took)),
        Read::Saved(how) => words::one_line(how),
    };
    let texts = [name.clone(), amount, limit.unwrap_or_default(), revision.unwrap_or_default(), read];
    let mut lines = parts(&texts, view.width, 2);
    if let Some(first) = lines.first_mut() {
        *first = format!("{}{}", paint(layout::NAME, &name), &first[name.len()..]);
    }
    lines
}

/// What the plan was limited to; none if it is the whole.
fn within(view: &View) -> Option<String> {
    let texts: Vec<String> = view.limit.iter().chain(&view.part).map(|text| words::one_line(text)).collect();
    (!texts.is_empty()).then(|| texts.join(", "))
}

fn all_hosts(plan: &Plan) -> BTreeSet<&HostName> {
    // A host that is to lose what it had is one of them, although no service is on it.
    let loses = plan.blocks().map(|block| &block.host);
    plan.services.iter().flat_map(|service| &service.hosts).chain(loses).collect()
}

fn services(plan: &Plan, view: &View) -> Vec<String> {
    let groups = service::groups(plan);
    let mut lines = Vec::new();
    let mut quiet: Vec<&ServicePlan> = Vec::new();
    for (service, blocks) in plan.services.iter().zip(&groups) {
        if service::is_quiet(plan, service, blocks) {
            quiet.push(service);
        } else {
            lines.push(String::new());
            lines.extend(service::lines(plan, service, blocks, view));
        }
    }
    for (role, blocks) in groups.last().map(|blocks| service::by_role(blocks)).unwrap_or_default() {
        lines.push(String::new());
        lines.push(paint(layout::NAME, &format!("role {role}")));
        lines.extend(service::roles(&blocks, &role, view, service::is_done));
    }
    lines.extend(as_described(&quiet, plan, view));
    lines
}

/// The services that are as described: silence would leave a doubt. Of hosts that were left out nothing is known.
fn as_described(quiet: &[&ServicePlan], plan: &Plan, view: &View) -> Vec<String> {
    if quiet.is_empty() || within(view).is_some() || plan.is_empty() {
        return Vec::new();
    }
    let names: Vec<&str> = quiet.iter().map(|service| service.name.as_str()).collect();
    let text = format!("in sync: {}", words::list(&names));
    let lines = wrap(&text, view.width).into_iter().map(|line| paint(layout::QUIET, &line));
    std::iter::once(String::new()).chain(lines).collect()
}

/// What left the roles and is not taken away.
fn kept(blocks: &[&PlannedBlock], view: &View) -> Vec<String> {
    let mut lines = Vec::new();
    for (role, blocks) in service::by_role(blocks) {
        let rows = service::roles(&blocks, &role, view, |verdict| *verdict == Verdict::Keep);
        if !rows.is_empty() {
            lines.push(format!("  {}", paint(layout::QUIET, &format!("role {role}"))));
            lines.extend(rows);
        }
    }
    if lines.is_empty() {
        return lines;
    }
    let title = paint(layout::NAME, "Kept on the hosts, although no role has it any more");
    [String::new(), title].into_iter().chain(lines).collect()
}

fn trouble(blocks: &[&PlannedBlock], view: &View) -> Vec<String> {
    let stops = |verdict: &Verdict| matches!(verdict, Verdict::Refused | Verdict::Unreadable);
    let waiting =
        blocks.iter().flat_map(|block| &block.entries).filter(|entry| entry.verdict == Verdict::Blocked).count();
    let mut lines = Vec::new();
    for (role, blocks) in service::by_role(blocks) {
        let rows = service::roles(&blocks, &role, view, stops);
        if !rows.is_empty() {
            lines.push(format!("  {}", paint(layout::QUIET, &format!("role {role}"))));
            lines.extend(rows);
        }
    }
    if lines.is_empty() {
        return lines;
    }
    if waiting > 0 {
        let text = format!("and {} after these, not planned because of them", words::count(waiting, "resource"));
        lines.push(format!("  {}", paint(layout::QUIET, &text)));
    }
    let title = paint(layout::WRONG, "Refused or unreadable: fix these before apply can start");
    [String::new(), title].into_iter().chain(lines).collect()
}

fn unreachable(plan: &Plan, view: &View) -> Vec<String> {
    [lost(plan, view), silent(plan, view), unadopted(plan, view)].concat()
}

/// Hosts that remember for whom nobody knows: an earlier armilla did not write it down.
fn unadopted(plan: &Plan, view: &View) -> Vec<String> {
    let unadopted = plan.unadopted();
    if unadopted.is_empty() {
        return Vec::new();
    }
    let hosts = words::hosts(unadopted.into_keys());
    let text = format!("to be adopted: the ledger on {hosts} names no project (apply asks, or takes --adopt)");
    std::iter::once(String::new()).chain(wrap(&text, view.width)).collect()
}

/// Hosts without a role that did not answer: that is no trouble, but it must not be taken for "nothing is there".
fn silent(plan: &Plan, view: &View) -> Vec<String> {
    if plan.silent.is_empty() {
        return Vec::new();
    }
    let hosts = words::hosts(plan.silent.keys());
    let text = format!("unreachable hosts without a role: {hosts} (they may still have resources of armilla)");
    let lines = wrap(&text, view.width).into_iter().map(|line| paint(layout::QUIET, &line));
    std::iter::once(String::new()).chain(lines).collect()
}

fn lost(plan: &Plan, view: &View) -> Vec<String> {
    if plan.unreachable.is_empty() {
        return Vec::new();
    }
    let them = if plan.unreachable.len() == 1 { "it" } else { "them" };
    let title = format!("{} unreachable: the state of {them} is unknown", words::count(plan.unreachable.len(), "host"));
    let widest = plan.unreachable.keys().map(|host| layout::width(host.as_str())).max().unwrap_or(0);
    let mut lines = vec![String::new(), paint(layout::WRONG, &title)];
    for (host, why) in &plan.unreachable {
        let why = wrap(&words::one_line(why.trim()), view.width.saturating_sub(widest + 6));
        let indent = " ".repeat(widest);
        let names = std::iter::once(layout::pad(host.as_str(), widest)).chain(std::iter::repeat(indent));
        lines.extend(names.zip(why).map(|(name, why)| format!("  {name}    {why}")));
    }
    lines
}

fn footer(plan: &Plan, view: &View) -> Vec<String> {
    let summary = plan.summary();
    if plan.is_empty() {
        return std::iter::once(nothing(plan, view)).chain(left_out(plan, view)).collect();
    }
    let blocked = plan.entries().filter(|entry| entry.verdict == Verdict::Blocked).count();
    let mut lines = counts(&summary, blocked, view);
    lines.extend(left_out(plan, view));
    lines.extend(next(&summary, view));
    lines
}

/// That this is not all, and how much is missing: silence about it would be taken for "in sync".
fn left_out(plan: &Plan, view: &View) -> Option<String> {
    within(view)?;
    let resources = (plan.left_out > 0).then(|| words::count(plan.left_out, "resource"));
    let hosts = (view.hosts_left_out > 0).then(|| words::count(view.hosts_left_out, "host"));
    let texts: Vec<String> = [resources, hosts].into_iter().flatten().collect();
    if texts.is_empty() {
        return None;
    }
    let were = if plan.left_out + view.hosts_left_out == 1 { "was" } else { "were" };
    Some(format!("Only a part of the plan: {} {were} left out and may differ.", texts.join(" and ")))
}

fn nothing(plan: &Plan, view: &View) -> String {
    if let Subject::Destruction { hosts } = view.subject {
        let hosts = words::count(hosts, "host");
        let kept = plan.summary().kept;
        if kept > 0 {
            let (what, stay) = (words::count(kept, "resource"), if kept == 1 { "stays" } else { "stay" });
            return format!("Nothing to remove: {what} of armilla {stay} on {hosts}, for the reasons above.");
        }
        return format!("{}: {hosts} without resources of armilla.", paint(layout::WELL, "Nothing to do"));
    }
    let resources = words::count(plan.in_sync, "resource");
    let place = match within(view) {
        Some(limit) => format!("within {limit}"),
        None => format!("on {}", words::count(all_hosts(plan).len(), "host")),
    };
    let are = if plan.in_sync == 1 { "is" } else { "are" };
    format!("{}: {resources} {place} {are} in sync.", paint(layout::WELL, "Nothing to do"))
}

/// What happens how often, and what could not be found out.
fn counts(summary: &Summary, blocked: usize, view: &View) -> Vec<String> {
    let mut texts: Vec<String> = ACTIONS
        .iter()
        .filter(|(action, ..)| summary.count(*action) > 0)
        .map(|(action, one, several)| {
            let number = summary.count(*action);
            format!("{number} {}", if number == 1 { one } else { several })
        })
        .collect();
    let unreadable = summary.unreadable.saturating_sub(blocked);
    let stops = [(summary.refused, "refused"), (unreadable, "unreadable"), (blocked, "after those")];
    let more = std::iter::once((summary.may_change, "may change")).chain(stops);
    texts.extend(more.filter(|(number, _)| *number > 0).map(|(number, word)| format!("{number} {word}")));
    texts.push(format!("{} in sync", summary.in_sync));
    if summary.unhealthy > 0 {
        texts.push(format!("{} unhealthy", words::count(summary.unhealthy, "member")));
    }
    if summary.kept > 0 {
        texts.push(format!("{} kept", summary.kept));
    }
    if summary.left_out > 0 {
        texts.push(format!("{} left out", summary.left_out));
    }
    if summary.unreachable > 0 {
        texts.push(format!("{} unreachable", words::count(summary.unreachable, "host")));
    }
    parts(&texts, view.width, 0)
}

/// What an apply does that has nothing to change.
fn waits(summary: &Summary, view: &View) -> String {
    let doubt = if summary.unreachable > 0 { " on the hosts that answered" } else { "" };
    let text = format!("Nothing to change{doubt}, but not every service is healthy.");
    match &view.command {
        Some(command) => {
            let command = paint(layout::NAME, &words::one_line(command));
            format!("{text} To wait for the health checks:  {command}")
        }
        None => format!("{text} Apply waits for the health checks."),
    }
}

const ACTIONS: &[(Action, &str, &str)] = &[
    (Action::Add, "to add", "to add"),
    (Action::Change, "to change", "to change"),
    (Action::Remove, "to remove", "to remove"),
    (Action::Run, "to run", "to run"),
    (Action::Start, "start", "starts"),
    (Action::Stop, "stop", "stops"),
    (Action::Restart, "restart", "restarts"),
    (Action::Reload, "reload", "reloads"),
];

fn next(summary: &Summary, view: &View) -> Option<String> {
    if summary.refused + summary.unreadable > 0 {
        let text = "Nothing was changed. Apply will not start: fix the refused or unreadable resources above, then plan again.";
        return Some(text.to_owned());
    }
    if summary.changes() == 0 && summary.unhealthy > 0 {
        return Some(waits(summary, view));
    }
    if summary.changes() == 0 {
        let text = "Nothing was changed. Nothing to do on the hosts that answered; the state of the others is unknown.";
        return Some(text.to_owned());
    }
    let doubt = if summary.unreachable > 0 { " (only on the hosts that answered)" } else { "" };
    let command = words::one_line(view.command.as_ref()?);
    Some(format!("Nothing was changed. To apply this plan{doubt}:  {}", paint(layout::NAME, &command)))
}
