//! Whether everything is there: a line for what is well, and what mends the rest.
//!
//! In: settings with where they come from, and what was found on each host. Out: a table. Never: a host left out.

use serde::Serialize;

use super::layout::{NAME, QUIET, RUN, WELL, WRONG, pad, paint, wrap};
use super::words::{count, one_line, size};
use crate::doctor::{Finding, Patient, Weight};

/// A setting, and where it comes from.
#[derive(Debug, Clone, Serialize)]
pub struct Setting {
    /// What.
    pub name: &'static str,
    /// What it is.
    pub value: String,
    /// Who says so.
    pub from: String,
}

/// Everything that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Examination {
    /// Of which environment.
    pub environment: String,
    /// How this machine works.
    pub settings: Vec<Setting>,
    /// What is wrong with this machine.
    pub here: Vec<Finding>,
    /// The hosts, in the order of the inventory.
    pub hosts: Vec<Patient>,
}

/// All of it.
pub fn examination(all: &Examination, width: usize) -> String {
    let mut lines = vec![paint(NAME, "this machine")];
    let names = all.settings.iter().map(|setting| setting.name.chars().count()).max().unwrap_or(0);
    let values = all.settings.iter().map(|setting| setting.value.chars().count()).max().unwrap_or(0).min(44);
    for setting in &all.settings {
        let value = pad(&one_line(&setting.value), values);
        let line = format!("  {}  {value}  {}", pad(setting.name, names), paint(QUIET, &one_line(&setting.from)));
        lines.push(line.trim_end().to_owned());
    }
    all.here.iter().for_each(|finding| lines.extend(told(finding, 2, width)));
    lines.push(String::new());
    let column = all.hosts.iter().map(|host| host.host.chars().count()).max().unwrap_or(0).max(4);
    let head = format!("{}  STATE        AS        CLOCK     FREE ON /  FREE ON /var/tmp", pad("HOST", column));
    lines.push(paint(QUIET, &head));
    for host in &all.hosts {
        lines.push(row(host, column));
        host.findings.iter().for_each(|finding| lines.extend(told(finding, column + 2, width)));
    }
    lines.extend([String::new(), sum(all)]);
    lines.join("\n")
}

fn row(host: &Patient, column: usize) -> String {
    let (style, state) = match host.worst() {
        None => (WELL, "ok"),
        Some(Weight::Note) => (WELL, "ok, but"),
        Some(Weight::Fault) => (WRONG, "lacks"),
        Some(Weight::Unreachable) => (WRONG, "unreachable"),
    };
    let name = pad(&host.host, column);
    let state = paint(style, &pad(state, 11));
    let Some(vitals) = &host.vitals else { return format!("{}  {state}", paint(NAME, &name)).trim_end().to_owned() };
    let user = vitals.user.as_deref().map(one_line).unwrap_or_default();
    let clock = vitals.clock_ahead.map(|ahead| format!("{ahead:+} s")).unwrap_or_default();
    let free = |place: &str| vitals.free.get(place).map(|bytes| gigabytes(*bytes)).unwrap_or_default();
    let cells = [pad(&user, 8), pad(&clock, 8), pad(&free("/"), 9), free("/var/tmp")];
    format!("{}  {state}  {}", paint(NAME, &name), cells.join("  ").trim_end())
}

fn gigabytes(bytes: u64) -> String {
    if bytes >= 1_000_000_000 { format!("{} GB", bytes / 1_000_000_000) } else { size(bytes) }
}

fn told(finding: &Finding, indent: usize, width: usize) -> Vec<String> {
    let blanks = " ".repeat(indent);
    let room = width.saturating_sub(indent + 2);
    let sign = match finding.weight {
        Weight::Note => paint(RUN, "-"),
        _ => paint(WRONG, "!"),
    };
    let mut lines: Vec<String> = wrap(&one_line(&finding.what), room);
    let mends = finding.mend.iter().flat_map(|mend| wrap(&format!("-> {}", one_line(mend)), room));
    lines.extend(mends.map(|line| paint(QUIET, &line)));
    let signs = std::iter::once(sign).chain(std::iter::repeat(" ".to_owned()));
    signs.zip(lines).map(|(sign, line)| format!("{blanks}{sign} {line}")).collect()
}

fn sum(all: &Examination) -> String {
    let of =
        |wanted: &[Weight]| all.hosts.iter().filter(|host| host.worst().is_some_and(|w| wanted.contains(&w))).count();
    let (lacking, away) = (of(&[Weight::Fault]), of(&[Weight::Unreachable]));
    let well = all.hosts.len() - lacking - away;
    let mut texts = vec![paint(WELL, &format!("{} ok", count(well, "host")))];
    texts.extend((lacking > 0).then(|| paint(WRONG, &format!("{} with missing requirements", count(lacking, "host")))));
    texts.extend((away > 0).then(|| paint(WRONG, &format!("{} unreachable", count(away, "host")))));
    let here = all.here.iter().filter(|finding| finding.weight != Weight::Note).count();
    texts.extend((here > 0).then(|| paint(WRONG, &format!("{} on this machine", count(here, "fault")))));
    texts.join("   ")
}
