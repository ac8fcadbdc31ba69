//! Steps that need a look before they can be done.
//!
//! In: steps, any way to hosts. Out: the same outcomes and events as if the host did all of them by itself.
//! Never: a write of what was not just read, or over what changed since.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use super::api::{Order, StepEvent, Transport};
use super::error::TransportError;
use crate::edit::Edit;
use crate::inventory::Endpoint;
use crate::lease::{OrderPart, Ticket};
use crate::secret::{Content, Secret};
use crate::step::{Digest, FETCH_LIMIT, Fetch, Outcome, Ownership, PathReading, Probe, Step};

type Watch<'a> = &'a (dyn Fn(StepEvent) + Send + Sync);

/// Does steps in order, up to the first that fails: in one round trip but for [`Step::EditFile`], which takes two more.
///
/// # Errors
/// When the connection is lost; what was told until then did happen.
pub async fn perform<T: Transport>(
    transport: &T,
    host: &Endpoint,
    order: Order<'_>,
    watch: Watch<'_>,
) -> Result<Vec<Outcome>, TransportError> {
    let steps = order.steps;
    let mut outcomes: Vec<Outcome> = Vec::new();
    while let Some(step) = steps.get(outcomes.len()) {
        let at = outcomes.len();
        let plain = steps[at..].iter().take_while(|step| !matches!(step, Step::EditFile { .. })).count();
        let part = match (plain, at + plain.max(1) == steps.len()) {
            (0, true) => OrderPart::LastOne,
            (0, false) => OrderPart::One,
            (_, true) => OrderPart::Rest,
            (_, false) => OrderPart::Piece,
        };
        let ticket = order.ticket.map(|ticket| Ticket { first: ticket.first + at, part, ..ticket.clone() });
        let ticket = ticket.as_ref();
        if let Step::EditFile { path, edit, create } = step {
            watch(StepEvent::Started { index: at });
            let writes = |found: &PathReading| writing(found, path, edit, create.as_ref());
            let (outcome, took) = one(transport, host, path, ticket, &writes).await?;
            watch(StepEvent::Ended { index: at, outcome: outcome.clone(), took });
            outcomes.push(outcome);
        } else {
            let shifted = |event: StepEvent| watch(shifted(event, at));
            let done = transport.perform(host, Order { steps: &steps[at..at + plain], ticket }, &shifted).await?;
            let whole = done.len() == plain;
            outcomes.extend(done);
            if !whole {
                break;
            }
        }
        if matches!(outcomes.last(), Some(Outcome::Failed { .. })) {
            break;
        }
    }
    Ok(outcomes)
}

fn shifted(event: StepEvent, by: usize) -> StepEvent {
    match event {
        StepEvent::Started { index } => StepEvent::Started { index: index + by },
        StepEvent::Waiting { index, why } => StepEvent::Waiting { index: index + by, why },
        StepEvent::Ended { index, outcome, took } => StepEvent::Ended { index: index + by, outcome, took },
    }
}

/// Reads, changes, writes.
async fn one<T: Transport>(
    transport: &T,
    host: &Endpoint,
    path: &str,
    ticket: Option<&Ticket>,
    writing: &(dyn Fn(&PathReading) -> Result<Vec<Step>, String> + Sync),
) -> Result<(Outcome, Duration), TransportError> {
    let probe = Probe::Path { path: path.to_owned(), content: Fetch::Always };
    let readings = transport.read(host, std::slice::from_ref(&probe)).await?;
    let found = readings.path(&probe).map_err(|why| why.to_string());
    let before = found.as_ref().ok().and_then(|found| digest(found));
    let steps = match found.and_then(writing) {
        // The journal counts it like any other.
        Ok(steps) if steps.is_empty() && ticket.is_some_and(|ticket| ticket.intent.is_some()) => {
            vec![Step::Unchanged { path: path.to_owned(), digest: before }]
        }
        Ok(steps) if steps.is_empty() => return Ok((Outcome::NotNeeded, Duration::ZERO)),
        Ok(steps) => steps,
        Err(why) => return Ok((failed(format!("{path}: {why}")), Duration::ZERO)),
    };
    let took = Mutex::new(Duration::ZERO);
    let add = |event: StepEvent| {
        if let StepEvent::Ended { took: more, .. } = event {
            *took.lock().unwrap_or_else(PoisonError::into_inner) += more;
        }
    };
    let mut last = transport.perform(host, Order { steps: &steps, ticket }, &add).await?.pop();
    if let ([_], Some(Outcome::Done)) = (steps.as_slice(), &last) {
        last = Some(Outcome::NotNeeded);
    }
    let took = *took.lock().unwrap_or_else(PoisonError::into_inner);
    Ok((last.unwrap_or_else(|| failed(format!("{path}: no answer about writing it"))), took))
}

fn digest(found: &PathReading) -> Option<Digest> {
    match found {
        PathReading::File { digest, .. } => Some(digest.clone()),
        _ => None,
    }
}

fn failed(stderr: String) -> Outcome {
    Outcome::Failed { exit: 1, stderr }
}

/// The steps that write what the edit makes of what was found; none if it is so already.
fn writing(found: &PathReading, path: &str, edit: &Edit, create: Option<&Ownership>) -> Result<Vec<Step>, String> {
    let (before, digest, ownership) = match (found, create) {
        (PathReading::File { content: Some(content), digest, .. }, _) => {
            (Some(content.as_slice()), Some(digest.clone()), Ownership::default())
        }
        (PathReading::File { .. }, _) => return Err(format!("it is larger than {} KiB", FETCH_LIMIT >> 10)),
        (PathReading::Absent, Some(ownership)) => (None, None, ownership.clone()),
        (PathReading::Absent, None) if edit.is_wanted() => {
            return Err("the file still does not exist: no earlier step created it".to_owned());
        }
        (PathReading::Absent, None) => return Ok(Vec::new()),
        _ => return Err("it is not a regular file, and armilla does not write through links".to_owned()),
    };
    let Some(after) = edit.apply(before).map_err(|why| why.to_string())?.filter(|after| before != Some(after)) else {
        return Ok(Vec::new());
    };
    let content = if edit.is_secret() { Content::Secret(Secret::new(after)) } else { Content::Plain(after) };
    let path = path.to_owned();
    Ok(vec![Step::Unchanged { path: path.clone(), digest }, Step::WriteFile { path, content, ownership }])
}
