//! From a draft to an inventory: who is in which group, how each host is reached.
//!
//! In: everything that was written, each name already checked. Out: an [`Inventory`] in which every question has its
//! answer precomputed. Never: a child that does not exist, a cycle, or a loop over all hosts for each host.

use std::collections::{HashMap, HashSet};

use super::form::{Declared, Draft, DraftGroup};
use super::hint::Hints;
use super::settings::Settings;
use super::{ALL, Group, Host, Inventory, Rules, UNGROUPED};
use crate::diag::{Diagnostic, Diagnostics, Origin};
use crate::name::{EnvName, GroupName};

/// The edges of the groups: for each its children, by index.
type Children = Vec<Vec<usize>>;

/// Puts it together. The problems found before and here decide whether there is an inventory.
pub(super) fn build(env: EnvName, draft: Draft, mut problems: Diagnostics) -> Result<Inventory, Diagnostics> {
    check_names(&draft, &mut problems);
    if draft.rules == Rules::Own {
        check_settings(&draft, &mut problems);
    }
    let children = children(&draft, &mut problems);
    let order = parents_first(&children);
    if order.len() < draft.groups.len() {
        for cycle in cycles(&draft, &children, &order) {
            problems.push(cycle);
        }
    }
    let members = problems.keep(members(&draft, &children, &order).map_err(Into::into));
    match members {
        Some(members) if !problems.has_errors() => {
            let groups = Groups { depths: depths(&children, &order), children, members };
            let inventory = assemble(env, draft, groups, problems);
            inventory.warnings.clone().result(inventory)
        }
        _ => Err(problems),
    }
}

/// What is known of the groups, each by its index in the draft.
struct Groups {
    children: Children,
    depths: Vec<usize>,
    members: Vec<Vec<usize>>,
}

/// A pattern or a folder of variables could mean either.
fn check_names(draft: &Draft, problems: &mut Diagnostics) {
    for group in draft.groups.iter().filter(|group| draft.find_host(group.name.as_str()).is_some()) {
        let name = group.name.as_str();
        problems.push(
            Diagnostic::warning(format!("`{name}` is both a group and a host"))
                .at(&group.origin)
                .wide(name.chars().count())
                .hint("rename one of them: in `-l` and in logs the name would be ambiguous"),
        );
    }
}

/// One level, one value: where a variable is set twice for the same group or host, the reader should know.
fn check_settings(draft: &Draft, problems: &mut Diagnostics) {
    let implied = [(ALL, &draft.all), (UNGROUPED, &draft.ungrouped)];
    let groups = draft.groups.iter().map(|group| (group.name.as_str(), &group.said));
    let hosts = draft.hosts.iter().map(|host| (host.name.as_str(), &host.said));
    let all = implied.into_iter().chain(groups).chain(hosts);
    all.filter(|(_, said)| said.settings.len() + said.files.len() > 1)
        .for_each(|(name, said)| warn_twice(name, said, problems));
}

fn warn_twice(name: &str, said: &Declared, problems: &mut Diagnostics) {
    let mut before: HashMap<&str, &Origin> = HashMap::new();
    for (variable, node) in said.settings.iter().chain(&said.files).flat_map(Settings::iter) {
        if let Some(first) = before.insert(variable, &node.origin) {
            let what = format!("`{variable}` is set twice for `{name}`");
            let hint = format!("this one overrides {first}: keep one of them");
            problems.push(Diagnostic::warning(what).at(&node.origin).hint(hint));
        }
    }
}

fn children(draft: &Draft, problems: &mut Diagnostics) -> Children {
    let mut hints = Hints::default();
    let mut child = |(name, origin): &(GroupName, _)| {
        let found = draft.find_group(name.as_str());
        if found.is_none() {
            let what = format!("unknown group `{name}`");
            let problem = Diagnostic::error(what).at(origin).wide(name.as_str().chars().count());
            problems.push(match name.as_str() {
                ALL | UNGROUPED => problem.hint("`all` and `ungrouped` cannot be children"),
                host if draft.find_host(host).is_some() => problem.hint("it is a host: write it under `hosts`"),
                other => problem.maybe_hint(hints.near(other, draft.group_names())),
            });
        }
        found
    };
    draft.groups.iter().map(|group| group.children.iter().filter_map(&mut child).collect()).collect()
}

/// The groups, each after its parents; those in a cycle and below one are missing.
fn parents_first(children: &Children) -> Vec<usize> {
    let mut waiting = vec![0_usize; children.len()];
    children.iter().flatten().for_each(|child| waiting[*child] += 1);
    let mut order: Vec<usize> = (0..children.len()).filter(|group| waiting[*group] == 0).collect();
    let mut next = 0;
    while let Some(group) = order.get(next).copied() {
        for child in &children[group] {
            waiting[*child] -= 1;
            if waiting[*child] == 0 {
                order.push(*child);
            }
        }
        next += 1;
    }
    order
}

/// Every group that is not in the order has a parent that is not; going up, one must come back.
fn cycles(draft: &Draft, children: &Children, order: &[usize]) -> Vec<Diagnostic> {
    const SEEN: usize = usize::MAX;
    let mut parent: HashMap<usize, usize> = HashMap::new();
    let ordered: HashSet<usize> = order.iter().copied().collect();
    for (group, below) in children.iter().enumerate().filter(|(group, _)| !ordered.contains(group)) {
        parent.extend(below.iter().map(|child| (*child, group)));
    }
    let mut walk = vec![0_usize; children.len()];
    let mut cycles = Vec::new();
    for start in (0..children.len()).filter(|group| !ordered.contains(group)) {
        let mut path = Vec::new();
        let mut at = start;
        while walk[at] == 0 {
            path.push(at);
            walk[at] = path.len();
            at = parent[&at];
        }
        if walk[at] != SEEN {
            cycles.push(cycle(draft, &path[walk[at] - 1..]));
        }
        for group in path {
            walk[group] = SEEN;
        }
    }
    cycles
}

/// `upward` holds each group before its parent.
fn cycle(draft: &Draft, upward: &[usize]) -> Diagnostic {
    let mut downward: Vec<&DraftGroup> = upward.iter().rev().map(|index| &draft.groups[*index]).collect();
    let first = (0..downward.len()).min_by_key(|index| downward[*index].origin.line).unwrap_or(0);
    downward.rotate_left(first);
    let path: Vec<&str> = downward.iter().chain(downward.first()).map(|group| group.name.as_str()).collect();
    let problem = Diagnostic::error(format!("a group is a child of itself: {}", path.join(" -> ")));
    match downward.first() {
        Some(group) => problem.at(&group.origin).wide(group.name.as_str().chars().count()),
        None => problem,
    }
    .hint("remove one of them from the `children` of the one before it")
}

fn assemble(env: EnvName, draft: Draft, known: Groups, warnings: Diagnostics) -> Inventory {
    let alone = alone(&draft, &known.members);
    let top = top(&draft, &known.children);
    let names: Vec<GroupName> = draft.groups.iter().map(|group| group.name.clone()).collect();
    let called = |children: &[usize]| children.iter().map(|child| names[*child].clone()).collect::<Vec<_>>();
    let all = Group { members: (0..draft.hosts.len()).collect(), ..group(name(ALL), 0, draft.all) };
    let ungrouped = Group { own: alone.clone(), members: alone, ..group(name(UNGROUPED), 1, draft.ungrouped) };
    let all = Group { children: std::iter::once(name(UNGROUPED)).chain(called(&top)).collect(), ..all };
    let written = draft.groups.into_iter().zip(known.members).enumerate().map(|(index, (written, members))| Group {
        children: called(&known.children[index]),
        own: written.hosts,
        members,
        ..group(written.name, known.depths[index], written.said)
    });
    let groups = [all, ungrouped].into_iter().chain(written).collect();
    let hosts = draft.hosts.into_iter().map(|host| Host::new(host.name, host.said)).collect();
    Inventory::link(env, draft.rules, hosts, groups, warnings)
}

/// The hosts of no group, those first that are named as such.
fn alone(draft: &Draft, members: &[Vec<usize>]) -> Vec<usize> {
    let mut taken = vec![false; draft.hosts.len()];
    members.iter().flatten().for_each(|host| taken[*host] = true);
    let all = draft.alone.iter().copied().chain(0..draft.hosts.len());
    all.filter(|host| !std::mem::replace(&mut taken[*host], true)).collect()
}

/// The groups directly below `all`: those that are named as its children, then those that are nobody's.
fn top(draft: &Draft, children: &Children) -> Vec<usize> {
    let mut taken = vec![false; children.len()];
    draft.top.iter().chain(children.iter().flatten()).for_each(|group| taken[*group] = true);
    draft.top.iter().copied().chain((0..children.len()).filter(|group| !taken[*group])).collect()
}

fn name(name: &'static str) -> GroupName {
    GroupName::new(name).unwrap_or_else(|_| unreachable!("`all` and `ungrouped` are names"))
}

/// A group without hosts and children.
fn group(name: GroupName, depth: usize, said: Declared) -> Group {
    Group {
        name,
        children: Vec::new(),
        settings: said.settings,
        files: said.files,
        priority: said.priority.unwrap_or(1),
        connection: said.connection,
        file_connection: said.file_connection,
        depth,
        own: Vec::new(),
        members: Vec::new(),
    }
}

/// More is a mistake of groups in groups in groups, and would fill the memory.
const MOST_MEMBERS: usize = 10_000_000;

/// The hosts of every group: its own, then those of each child, none twice.
fn members(draft: &Draft, children: &Children, order: &[usize]) -> Result<Vec<Vec<usize>>, Diagnostic> {
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); children.len()];
    let mut last_group = vec![usize::MAX; draft.hosts.len()];
    let mut total = 0;
    for group in order.iter().rev() {
        let below = children[*group].iter().flat_map(|child| &members[*child]);
        let mut found = Vec::new();
        for host in draft.groups[*group].hosts.iter().chain(below) {
            if last_group[*host] != *group {
                last_group[*host] = *group;
                found.push(*host);
            }
        }
        total += found.len();
        if total > MOST_MEMBERS {
            return Err(Diagnostic::error("the groups have too many members in too many groups above them")
                .at(&draft.groups[*group].origin)
                .hint(format!("all groups together have {MOST_MEMBERS} members at most")));
        }
        members[*group] = found;
    }
    Ok(members)
}

/// How far below `all` a group is, by the longest way.
fn depths(children: &Children, order: &[usize]) -> Vec<usize> {
    let mut depths = vec![1_usize; children.len()];
    for group in order {
        for child in &children[*group] {
            depths[*child] = depths[*child].max(depths[*group] + 1);
        }
    }
    depths
}
