//! The `rollout` of a `role.yml`.
//!
//! In: a node. Out: a [`RolloutRecipe`], or everything that is wrong with it. Never: a value of a host.

use std::time::Duration;

use super::{HookRecipe, Otherwise, RolloutRecipe};
use crate::diag::{Diagnostic, Diagnostics};
use crate::role::{HealthCheck, parse_duration};
use crate::rollout::{Amount, Batch, Canary, OnFailure};
use crate::template::Recipe;
use crate::yaml::{Node, Table, Yaml};

const KEYS: &[&str] = &["batch", "budget", "keep_healthy", "order", "canary", "on_failure", "drain", "undrain"];
const ORDER: &[&str] = &["by", "first", "last", "zone"];
const CANARY: &[&str] = &["hosts", "stable_for", "approve"];
const HOOK: &[&str] = &["run", "http", "until", "user", "within", "otherwise"];
const REQUEST: &[&str] = &["url", "method"];

/// Reads a rollout.
pub(in crate::role) fn read(node: &Node, problems: &mut Diagnostics) -> RolloutRecipe {
    let Some(table) = Table::open("a rollout", node, KEYS, problems) else { return RolloutRecipe::default() };
    let mut rollout = RolloutRecipe::default();
    rollout.policy.batch = table.get("batch").map(|node| batches(node, problems)).unwrap_or_default();
    rollout.policy.budget = table.get("budget").and_then(|node| amount("budget", node, problems));
    rollout.policy.keep_healthy = table.get("keep_healthy").and_then(|node| amount("keep_healthy", node, problems));
    rollout.policy.canary = table.get("canary").and_then(|node| canary(node, problems));
    rollout.policy.on_failure = table.get("on_failure").map(|node| on_failure(node, problems)).unwrap_or_default();
    if let Some(node) = table.get("order") {
        order(node, &mut rollout, problems);
    }
    rollout.drain = table.items("drain").iter().filter_map(|node| hook(node, problems)).collect();
    rollout.undrain = table.items("undrain").iter().filter_map(|node| hook(node, problems)).collect();
    rollout
}

fn batches(node: &Node, problems: &mut Diagnostics) -> Vec<Batch> {
    let one = |node: &Node| match &node.value {
        Yaml::Int(n) => usize::try_from(*n).ok().filter(|n| *n > 0).map(Batch::Hosts),
        Yaml::Text(text) if text == "all" => Some(Batch::All),
        Yaml::Text(text) => percent(text).filter(|n| *n > 0).map(Batch::Percent),
        _ => None,
    };
    let nodes = node.list().unwrap_or(std::slice::from_ref(node));
    let batches: Option<Vec<Batch>> = nodes.iter().map(one).collect();
    batches.filter(|batches| !batches.is_empty()).unwrap_or_else(|| {
        let what = "`batch` must be a number of hosts, a percentage, `all`, or a list of these";
        let problem = Diagnostic::error(what).at(&node.origin);
        problems.push(problem.hint("for example `batch: 1`, `batch: 25%` or `batch: [1, 25%, all]`"));
        Vec::new()
    })
}

fn percent(text: &str) -> Option<usize> {
    text.strip_suffix('%').and_then(|n| n.trim().parse().ok()).filter(|n| *n <= 100)
}

fn amount(key: &str, node: &Node, problems: &mut Diagnostics) -> Option<Amount> {
    let amount = match &node.value {
        Yaml::Int(n) => usize::try_from(*n).ok().map(Amount::Hosts),
        Yaml::Text(text) if text == "majority" && key == "keep_healthy" => Some(Amount::Majority),
        Yaml::Text(text) => percent(text).map(Amount::Percent),
        _ => None,
    };
    if amount.is_none() {
        let majority = if key == "keep_healthy" { ", or `majority`" } else { "" };
        let what = format!("`{key}` must be a number of hosts or a percentage{majority}");
        problems.push(Diagnostic::error(what).at(&node.origin).hint(format!("for example `{key}: 2` or `{key}: 50%`")));
    }
    amount
}

fn canary(node: &Node, problems: &mut Diagnostics) -> Option<Canary> {
    if let Yaml::Int(hosts) = node.value
        && let Some(hosts) = usize::try_from(hosts).ok().filter(|hosts| *hosts > 0)
    {
        return Some(Canary { hosts, stable_for: Duration::ZERO, approve: false });
    }
    let table = Table::open("a canary", node, CANARY, problems)?;
    let hosts = match table.get("hosts").map(|node| &node.value) {
        None => Some(1),
        Some(Yaml::Int(hosts)) => usize::try_from(*hosts).ok().filter(|hosts| *hosts > 0),
        Some(_) => None,
    };
    let stable_for = match table.get("stable_for") {
        None => Some(0.0),
        Some(node) => parse_duration(&node.to_json()),
    };
    let approve = table.flag("approve", problems).unwrap_or(false);
    let (Some(hosts), Some(seconds)) = (hosts, stable_for) else {
        let problem =
            Diagnostic::error("a canary needs a number of hosts, and how long they must be healthy").at(&node.origin);
        problems.push(problem.hint("for example `canary: { hosts: 1, stable_for: 5m, approve: true }`"));
        return None;
    };
    Some(Canary { hosts, stable_for: Duration::from_secs_f64(seconds), approve })
}

fn on_failure(node: &Node, problems: &mut Diagnostics) -> OnFailure {
    match node.text() {
        Some("stop") => OnFailure::Stop,
        Some("continue") => OnFailure::Continue,
        Some("rollback") => OnFailure::Rollback,
        _ => {
            let problem = Diagnostic::error("`on_failure` must be `stop`, `continue` or `rollback`").at(&node.origin);
            problems.push(problem.hint("the default is `stop`: no other host starts after a failure"));
            OnFailure::Stop
        }
    }
}

fn order(node: &Node, rollout: &mut RolloutRecipe, problems: &mut Diagnostics) {
    let Some(table) = Table::open("an order", node, ORDER, problems) else { return };
    rollout.by = table.get("by").and_then(|node| problems.keep(Recipe::parse(node)));
    rollout.zone = table.get("zone").and_then(|node| problems.keep(Recipe::parse(node)));
    rollout.policy.first = pattern(&table, "first", problems);
    rollout.policy.last = pattern(&table, "last", problems);
    let sorted = rollout.policy.first.is_some() || rollout.policy.last.is_some();
    if sorted != rollout.by.is_some() {
        let problem = Diagnostic::error("an order needs a program, and the answers that come first or last");
        problems.push(problem.at(&node.origin).hint("for example `order: { by: [zookeeper-mode], last: leader }`"));
    }
}

fn pattern(table: &Table<'_>, key: &'static str, problems: &mut Diagnostics) -> Option<String> {
    let text = table.text(key, problems)?;
    if let Err(error) = regex::Regex::new(text) {
        let at = table.get(key).map_or(&table.node.origin, |node| &node.origin);
        let told = error.to_string();
        let why = told.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        problems.push(Diagnostic::error(format!("invalid regular expression in `{key}`: {why}")).at(at));
        return None;
    }
    Some(text.to_owned())
}

fn hook(node: &Node, problems: &mut Diagnostics) -> Option<HookRecipe> {
    let table = Table::open("a hook", node, HOOK, problems)?;
    let otherwise = match table.text("otherwise", problems) {
        None | Some("stop") => Otherwise::Stop,
        Some("continue") => Otherwise::Continue,
        Some(_) => {
            let at = table.get("otherwise").map_or(&node.origin, |node| &node.origin);
            problems.push(Diagnostic::error("`otherwise` must be `stop` or `continue`").at(at));
            Otherwise::Stop
        }
    };
    let does = ["run", "http", "until"].into_iter().filter(|key| table.get(key).is_some()).count();
    if does != 1 {
        let problem = Diagnostic::error("a hook needs exactly one of `run`, `http` and `until`").at(&node.origin);
        problems.push(problem.hint("for example `- run: [nodectl, drain]`; start each hook with its own dash"));
        return None;
    }
    if let Some(until) = table.get("until") {
        return Some(HookRecipe::Until(problems.keep(HealthCheck::read(until))?, otherwise));
    }
    if let Some(http) = table.get("http") {
        Table::open("a request", http, REQUEST, problems)?;
    }
    problems.keep(Recipe::parse(node)).map(HookRecipe::Act)
}
