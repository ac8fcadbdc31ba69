//! Stories: scripts of a few lines that are played on a simulated fleet, with what is seen written below each command.
//!
//! In: the text of a story. Out: the same text with what is seen now. Never: a comparison; that is the test's.
//!
//! A story holds comments (`#`), texts (`role NAME`, `site` or `template NAME`, then indented lines), commands, and
//! below a command, after `|`, what was seen. The commands:
//!
//! | command | what it does |
//! |---|---|
//! | `host NAME...` | adds empty hosts |
//! | `plan` | makes a plan and shows it |
//! | `apply` | does the last plan; `apply, stopped at TEXT`: the user stops it when a line with TEXT is shown |
//! | `drift HOST WHAT TARGET` | `edit`, `delete`, `mode`, `owner`, `directory`, `relink`, `stop`, `start`, `disable`, `remove`, `leave` |
//! | `fail HOST N`, `kill HOST N`, `cut HOST N` | the host's Nth step from now fails, loses the power, loses the connection |
//! | `boot HOST`, `unreachable HOST`, `heal` | power again, no way to it, no more faults |
//! | `fill HOST`, `slow HOST N` | no space on its disk; others come first N times at each step |
//! | `wait N` | N seconds pass |
//! | `show HOST PATH` | a file of the host |

use std::fmt::Write as _;

use super::{Drift, Fault, World, show_plan, show_run};
use crate::plan::Plan;

/// Why a story cannot be played.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct StoryError {
    /// Where, from 1.
    pub line: usize,
    /// Why.
    pub why: String,
}

/// Plays a story: its own text, with what is seen now below each command.
///
/// # Errors
/// The first line that is not understood, or whose texts are wrong.
pub fn play(text: &str) -> Result<String, StoryError> {
    let mut story = Story::default();
    let mut out = String::new();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('|')).collect();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        let body: Vec<&str> = lines[at + 1..].iter().copied().take_while(|line| line.starts_with("  ")).collect();
        let seen = story.line(line, &body).map_err(|why| StoryError { line: at + 1, why })?;
        for line in &lines[at..=at + body.len()] {
            let _ = writeln!(out, "{line}");
        }
        for line in seen.lines() {
            let _ = writeln!(out, "{}", format!("| {line}").trim_end());
        }
        at += 1 + body.len();
    }
    Ok(out)
}

#[derive(Default)]
struct Story {
    world: World,
    plan: Option<Plan>,
}

impl Story {
    fn line(&mut self, line: &str, body: &[&str]) -> Result<String, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => Ok(String::new()),
            [comment, ..] if comment.starts_with('#') => Ok(String::new()),
            [what @ ("role" | "site" | "template"), name @ ..] => self.text(what, name, body),
            ["host", names @ ..] => self.hosts(names),
            ["plan"] => self.planned(),
            ["apply"] => self.applied(None),
            ["apply,", "stopped", "at", ..] => self.applied(line.split_once(" at ").map(|(_, text)| text)),
            ["show", host, path] => self.shown(host, path),
            words => self.event(words).map(|()| String::new()),
        }
    }

    fn text(&mut self, what: &str, name: &[&str], body: &[&str]) -> Result<String, String> {
        let lines: Vec<&str> = body.iter().map(|line| line.strip_prefix("  ").unwrap_or(line)).collect();
        let text = lines.join("\n") + "\n";
        match (what, name) {
            ("role", [name]) => self.world.role(name, &text).map_err(|problems| problems.to_string())?,
            ("site", []) => self.world.site(&text),
            ("template", [name]) => self.world.template(name, &text),
            _ => return Err(format!("`{what}` with another name than it can have")),
        }
        Ok(String::new())
    }

    fn hosts(&mut self, names: &[&str]) -> Result<String, String> {
        names.iter().try_for_each(|name| self.world.host(name)).map_err(|problems| problems.to_string())?;
        Ok(String::new())
    }

    fn planned(&mut self) -> Result<String, String> {
        let plan = self.world.plan().map_err(|problems| problems.to_string())?;
        let shown = show_plan(&plan);
        self.plan = Some(plan);
        Ok(shown)
    }

    fn applied(&mut self, stop: Option<&str>) -> Result<String, String> {
        let plan = self.plan.take().ok_or("there is no plan to apply")?;
        let run = match stop {
            None => self.world.apply(&plan),
            Some(text) => {
                let (text, known) = (text.to_owned(), plan.clone());
                self.world.apply_until(&plan, move |event| super::show::mentions(&known, event, &text))
            }
        };
        Ok(show_run(&plan, &run))
    }

    fn shown(&self, host: &str, path: &str) -> Result<String, String> {
        let content = self.world.fleet.on(host, |host| host.paths.file(path).map(<[u8]>::to_vec)).flatten();
        content
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .ok_or_else(|| format!("no file {path} on {host}"))
    }

    fn event(&mut self, words: &[&str]) -> Result<(), String> {
        let fleet = &self.world.fleet;
        let number = |text: &str| text.parse::<usize>().map_err(|_| format!("invalid number `{text}`"));
        match words {
            ["drift", host, what, target] => fleet.drift(host, &drift(what, target)?),
            ["fail", host, step] => fleet.fault(host, number(step)?, Fault::Fails),
            ["kill", host, step] => fleet.fault(host, number(step)?, Fault::PowerLossAfter),
            ["cut", host, step] => fleet.fault(host, number(step)?, Fault::CutAfter),
            ["boot", host] => fleet.boot(host),
            ["unreachable", host] => fleet.unreachable(host, true),
            ["heal"] => fleet.heal(),
            ["fill", host] => drop(fleet.on(host, |host| host.full = true)),
            ["slow", host, turns] => fleet.slow(host, number(turns)?),
            ["wait", seconds] => fleet.wait(i64::try_from(number(seconds)?).unwrap_or_default()),
            _ => return Err(format!("unknown command `{}` of a story", words.join(" "))),
        }
        Ok(())
    }
}

fn drift(what: &str, target: &str) -> Result<Drift, String> {
    let target = target.to_owned();
    Ok(match what {
        "edit" => Drift::Edit(target),
        "delete" => Drift::Delete(target),
        "mode" => Drift::Mode(target),
        "owner" => Drift::Owner(target),
        "directory" => Drift::Directory(target),
        "relink" => Drift::Relink(target),
        "stop" => Drift::Stop(target),
        "start" => Drift::Start(target),
        "disable" => Drift::Disable(target),
        "remove" => Drift::Remove(target),
        "leave" => Drift::Leave(target),
        _ => return Err(format!("unknown drift `{what}`")),
    })
}
