//! What a check of kind `http` asks, and which answer it wants.
//!
//! In: its keys. Out: a request and an answer. Never: a request made.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value as Json;

use super::fields::{Fields, word};
use crate::diag::Diagnostic;
use crate::step::{HttpRequest, JsonQuery, Method, Statuses, Trust, WebAnswer};

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
        json: queries(fields)?,
    };
    let reads_body = answer.contains.is_some() || answer.matches.is_some() || !answer.json.is_empty();
    if method == Method::Head && reads_body {
        return Err(fields.wrong("method", "`get`, because the check reads the body of the answer"));
    }
    let header_file = fields.text("header_file")?;
    if header_file.as_ref().is_some_and(|file| !file.starts_with('/')) {
        return Err(fields.wrong("header_file", "the absolute path of a file on the host"));
    }
    Ok((HttpRequest { url, method, timeout: fields.timeout()?, trust, header_file }, answer))
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

/// What is looked for in JSON.
fn queries(fields: &Fields<'_>) -> Result<Vec<JsonQuery>, Diagnostic> {
    let wanted = "a list of JSONPath queries with the values that they may find";
    let scalar = |value: &Json| match value {
        Json::Bool(truth) => Some(truth.to_string()),
        value => word(value),
    };
    let one = |item: &Json| {
        let map = item.as_object()?;
        let query = map.get("query")?.as_str()?.to_owned();
        let is = match map.get("is") {
            None => Some(Vec::new()),
            Some(Json::Array(values)) => {
                values.iter().map(scalar).collect::<Option<Vec<_>>>().filter(|is| !is.is_empty())
            }
            Some(value) => scalar(value).map(|value| vec![value]),
        };
        let known = map.keys().all(|key| ["query", "is"].contains(&key.as_str()));
        is.filter(|_| known).map(|is| JsonQuery { query, is })
    };
    let items = match fields.get("json") {
        None => return Ok(Vec::new()),
        Some(Json::Array(items)) => items.as_slice(),
        Some(_) => return Err(fields.wrong("json", wanted)),
    };
    let queries: Option<Vec<JsonQuery>> = items.iter().map(one).collect();
    let queries = queries.filter(|queries| !queries.is_empty()).ok_or_else(|| fields.wrong("json", wanted))?;
    match queries.iter().find_map(JsonQuery::fault) {
        Some(fault) => Err(fields.wrong("json", "a list with valid JSONPath queries (RFC 9535)").hint(fault)),
        None => Ok(queries),
    }
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
