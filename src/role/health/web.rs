//! What a check of kind `http` asks, and which answer it wants.
//!
//! In: its keys. Out: a request and an answer. Never: a request made.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value as Json;

use super::fields::{Fields, word};
use crate::diag::Diagnostic;
use crate::step::{HttpRequest, Method, Statuses, Trust, WebAnswer};

/// Reads both.
pub(super) fn question(fields: &Fields<'_>) -> Result<(HttpRequest, WebAnswer), Diagnostic> {
    let url = fields.text("url")?.unwrap_or_default();
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(fields.wrong("url", "a URL that begins with http:// or https://"));
    }
    let (trust, valid_for) = certificate(fields, &url)?;
    let method = fields.one_of("method", &[("get", Method::Get), ("head", Method::Head)])?;
    let answer = WebAnswer {
        status: statuses(fields)?,
        contains: fields.text("contains")?,
        matches: fields.pattern("matches")?,
        headers: headers(fields)?,
        valid_for,
    };
    if method == Method::Head && (answer.contains.is_some() || answer.matches.is_some()) {
        return Err(fields.wrong("method", "`get`, because the check reads the body of the answer"));
    }
    Ok((HttpRequest { url, method, timeout: fields.timeout()?, trust }, answer))
}

fn statuses(fields: &Fields<'_>) -> Result<Vec<Statuses>, Diagnostic> {
    let wrong = || fields.wrong("status", "a status such as 200, a range such as 200-299, or a list of them");
    let items = match fields.get("status") {
        None => return Ok(vec![Statuses(200, 200)]),
        Some(Json::Array(items)) => items.clone(),
        Some(item) => vec![item.clone()],
    };
    let read: Option<Vec<Statuses>> = items.iter().map(|item| range(&word(item)?)).collect();
    read.filter(|statuses| !statuses.is_empty()).ok_or_else(wrong)
}

fn range(text: &str) -> Option<Statuses> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let code = |text: &str| text.trim().parse::<u16>().ok().filter(|code| (100..=999).contains(code));
    let statuses = Statuses(code(first)?, code(last)?);
    (statuses.0 <= statuses.1).then_some(statuses)
}

fn headers(fields: &Fields<'_>) -> Result<BTreeMap<String, String>, Diagnostic> {
    let Some(written) = fields.get("headers") else { return Ok(BTreeMap::new()) };
    let wanted = "a map of headers and the regular expressions that their values match";
    let map = written.as_object().ok_or_else(|| fields.wrong("headers", wanted))?;
    let plain = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    let one = |(name, value): (&String, &Json)| {
        let pattern = word(value).filter(|_| plain(name)).ok_or_else(|| fields.wrong("headers", wanted))?;
        Ok((name.clone(), fields.checked("headers", pattern)?))
    };
    map.iter().map(one).collect()
}

/// Whose certificates are believed, and how long they must be good.
fn certificate(fields: &Fields<'_>, url: &str) -> Result<(Trust, Option<Duration>), Diagnostic> {
    let Some(data) = fields.get("certificate") else { return Ok((Trust::System, None)) };
    if !data.is_object() || !url.starts_with("https://") {
        return Err(fields.wrong("certificate", "a map, for a URL that begins with https://"));
    }
    let inner = Fields { data, check: fields.check, above: "certificate." };
    let trust = match (inner.text("ca")?, inner.get("verify")) {
        (ca, None | Some(Json::Bool(true))) => ca.map_or(Trust::System, Trust::Authority),
        (None, Some(Json::Bool(false))) => Trust::Anybody,
        (Some(_), Some(Json::Bool(false))) => return Err(inner.wrong("verify", "true, or omitted, together with `ca`")),
        (_, Some(_)) => return Err(inner.wrong("verify", "true or false")),
    };
    if matches!(&trust, Trust::Authority(file) if !file.starts_with('/')) {
        return Err(inner.wrong("ca", "the absolute path of a file on the host"));
    }
    let valid_for = inner.get("valid_for").map(|_| inner.duration("valid_for", 0.0)).transpose()?;
    Ok((trust, valid_for))
}
