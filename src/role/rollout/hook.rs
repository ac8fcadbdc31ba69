//! What is done on a host around its change.
//!
//! In: a hook as it was written, and the values of a host. Out: a literal step. Never: a secret in a command line.

use std::time::Duration;

use serde_json::Value as Json;

use super::HookRecipe;
use crate::diag::{Diagnostic, Diagnostics, Origin};
use crate::role::parse_duration;
use crate::secret::Datum;
use crate::step::{Command, Gate, Step};
use crate::template::{Recipe, Scope};

/// What holds for a hook unless it says otherwise.
const WITHIN: Duration = Duration::from_secs(60);

/// Something done on a host before it changes, or after.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// What is done.
    pub step: Step,
    /// What happens if it fails or takes too long.
    pub otherwise: Otherwise,
}

/// What happens when a hook fails or its time is over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Otherwise {
    /// The host failed.
    #[default]
    Stop,
    /// It goes on.
    Continue,
}

/// The hook of one host.
///
/// # Errors
/// What cannot be computed or does not fit.
pub(super) fn hook(recipe: &HookRecipe, scope: &Scope) -> Result<Hook, Diagnostics> {
    let recipe = match recipe {
        HookRecipe::Until(check, otherwise) => {
            let gate = Gate { of: "the hosts' rollout".to_owned(), checks: vec![check.check(scope)?] };
            return Ok(Hook { step: Step::Await(gate), otherwise: *otherwise });
        }
        HookRecipe::Act(recipe) => recipe,
    };
    let rendered = recipe.render(scope)?;
    let origin = recipe.origin();
    if rendered.secrecy.is_secret() {
        return Err(no_secret(origin).into());
    }
    let data = &rendered.data.exposed();
    let within = match data.get("within") {
        None => WITHIN,
        Some(written) => {
            parse_duration(written).map(Duration::from_secs_f64).ok_or_else(|| wrong(origin, "within", "30s"))?
        }
    };
    let otherwise = if data.get("otherwise").is_some_and(|word| word == "continue") {
        Otherwise::Continue
    } else {
        Otherwise::Stop
    };
    let argv = match (data.get("run"), data.get("http")) {
        (Some(run), _) => words(run).ok_or_else(|| wrong(origin, "run", "[nodectl, drain]"))?,
        (None, Some(http)) => request(http, within)
            .ok_or_else(|| wrong(origin, "http", "{ url: \"http://127.0.0.1:8080/drain\", method: post }"))?,
        (None, None) => return Err(wrong(origin, "run", "[nodectl, drain]").into()),
    };
    let user = data.get("user").and_then(Json::as_str).map(str::to_owned);
    Ok(Hook { step: Step::Run(Command { user, ..Command::new(argv).within(within) }), otherwise })
}

/// A program that is asked something.
///
/// # Errors
/// What cannot be computed, or is no list of words.
pub(super) fn command(recipe: &Recipe, key: &str, scope: &Scope) -> Result<Command, Diagnostics> {
    let rendered = recipe.render(scope)?;
    if rendered.secrecy.is_secret() {
        return Err(no_secret(recipe.origin()).into());
    }
    let argv = words(&rendered.data.exposed()).ok_or_else(|| wrong(recipe.origin(), key, "[zookeeper-mode]"))?;
    Ok(Command::new(argv).within(Duration::from_secs(10)))
}

/// The zone of a host.
///
/// # Errors
/// What cannot be computed, or is neither a text nor a number.
pub(super) fn zone(recipe: &Recipe, scope: &Scope) -> Result<String, Diagnostics> {
    match recipe.render(scope)?.data {
        Datum::Text(text) if !text.is_empty() => Ok(text),
        Datum::Number(number) => Ok(number.to_string()),
        Datum::Secret(_) => Err(no_secret(recipe.origin()).into()),
        _ => Err(wrong(recipe.origin(), "zone", "\"{{ rack }}\"").into()),
    }
}

fn words(data: &Json) -> Option<Vec<String>> {
    let word = |item: &Json| match item {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let argv = match data {
        Json::String(program) => vec![program.clone()],
        Json::Array(items) => items.iter().map(word).collect::<Option<Vec<_>>>()?,
        _ => return None,
    };
    (!argv.first()?.is_empty()).then_some(argv)
}

/// A request by curl, as the host sees the server. An answer of 400 and more is a failure.
fn request(http: &Json, within: Duration) -> Option<Vec<String>> {
    let url = http.get("url")?.as_str().filter(|url| url.starts_with("http://") || url.starts_with("https://"))?;
    let method = http.get("method").map_or(Some("post"), Json::as_str)?.to_ascii_uppercase();
    if !["GET", "POST", "PUT", "DELETE", "PATCH"].contains(&method.as_str()) {
        return None;
    }
    let seconds = within.as_secs().max(1).to_string();
    let argv = ["curl", "-sSf", "-o", "/dev/null", "--max-time", &seconds, "-X", &method, "--", url];
    Some(argv.map(str::to_owned).to_vec())
}

fn wrong(origin: &Origin, key: &str, example: &str) -> Diagnostic {
    Diagnostic::error(format!("`{key}` of a rollout does not fit"))
        .at(origin)
        .hint(format!("for example `{key}: {example}`"))
}

fn no_secret(origin: &Origin) -> Diagnostic {
    Diagnostic::error("a rollout must not contain a secret: other users on the host can read its command lines")
        .at(origin)
        .hint("use a program on the host that reads it from a file: `run: [/usr/local/bin/drain]`")
}
