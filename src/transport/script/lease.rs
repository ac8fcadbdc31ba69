//! Leases as scripts.
//!
//! In: what a controller asks for, and the bytes a host answered. Out: shell text that follows the rule of
//! [`crate::lease::grant`], and its answer as a value. Never: a word of a host believed further than its form.

use std::time::Duration;

use super::frame::{Frame, Frames};
use super::library::{Source, sources};
use super::quote::quote;
use crate::lease::{Held, Lease, LeaseAnswer, LeaseId, Request, VERSION};

static SOURCES: [Source; 5] = sources!["pin.sh", "place.sh", "keep.sh", "left.sh", "lease.sh"];

/// The longest description of a holder, in bytes.
const LONGEST: usize = 32 * 1024;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// The host cannot keep what it must; its own words.
    Unable(String),
    /// It is none of ours.
    Strange(String),
}

/// The script that asks for it.
///
/// # Errors
/// Why it cannot be asked.
pub fn lease_script(request: &Request, nonce: &str) -> Result<String, String> {
    let body = match request {
        Request::Look => "look\n".to_owned(),
        Request::Renew { id } => format!("renew {}\n", word(id)?),
        Request::Release { id } | Request::Break { id } => format!("release {}\n", word(id)?),
        Request::Acquire { id, holder, seconds, instead_of } => {
            let holder = serde_json::to_string(holder).map_err(|error| error.to_string())?;
            if holder.len() > LONGEST {
                return Err(format!("the holder of the lease is longer than {} KiB", LONGEST >> 10));
            }
            let other = instead_of.as_ref().map_or(Ok(quote("")), word)?;
            let before = format!("{{\"version\":{VERSION},\"id\":\"{}\",\"fence\":", id.0);
            let after = format!(",\"seconds\":{seconds},\"holder\":{holder}}}");
            format!("acquire {} {other} {} {}\n", word(id)?, quote(&before), quote(&after))
        }
    };
    Ok(super::wrap(nonce, Duration::ZERO, &[&SOURCES], &body))
}

/// The name of a lease as a word. It is compared as text in JSON, so there is nothing in it that would be escaped there.
pub(super) fn word(id: &LeaseId) -> Result<String, String> {
    let plain = (1..=64).contains(&id.0.len()) && id.0.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if plain { Ok(quote(&id.0)) } else { Err(format!("invalid lease name `{}`", id.0.escape_debug())) }
}

/// Reads the whole answer to [`lease_script`].
///
/// # Errors
/// When there is none.
pub fn parse_lease(nonce: &str, bytes: &[u8]) -> Result<LeaseAnswer, NoAnswer> {
    let frames = Frames::new(nonce).push(bytes);
    if frames.iter().all(|frame| frame.word != "end") {
        return Err(NoAnswer::Strange("the answer ends early".to_owned()));
    }
    let told = frames.iter().find_map(answer);
    told.unwrap_or_else(|| Err(NoAnswer::Strange("it does not report the lease".to_owned())))
}

fn answer(frame: &Frame) -> Option<Result<LeaseAnswer, NoAnswer>> {
    let strange = |what: &str| NoAnswer::Strange(format!("{what} of the lease cannot be parsed"));
    Some(match frame.word.as_str() {
        "granted" => frame.number(0).map(LeaseAnswer::Granted).ok_or_else(|| strange("the number")),
        "free" => Ok(LeaseAnswer::Free),
        "taken" => held(frame).map(|held| LeaseAnswer::Taken(Box::new(held))).ok_or_else(|| strange("the holder")),
        "lost" if frame.arguments.is_empty() => Ok(LeaseAnswer::Lost(None)),
        "lost" => held(frame).map(|held| LeaseAnswer::Lost(Some(Box::new(held)))).ok_or_else(|| strange("the holder")),
        "unable" => Err(NoAnswer::Unable(frame.text().trim().to_owned())),
        _ => return None,
    })
}

fn held(frame: &Frame) -> Option<Held> {
    let busy = frame.arguments.get(1)? == "yes";
    Some(Held { lease: lease(&frame.data)?, silent: frame.number(0)?, busy })
}

/// A lease as a host has it written down.
pub(super) fn lease(line: &[u8]) -> Option<Lease> {
    (line.len() <= 2 * LONGEST).then(|| serde_json::from_slice(line).ok()).flatten()
}
