//! A program as shell text.
//!
//! In: a [`Command`]. Out: a shell function that runs exactly it, or why it cannot be run.
//! Never: its input or a secret among its arguments.

use super::quote::{NUL, quote, write_bytes};
use crate::name::{EnvName, HostName, Owner, ProjectId};
use crate::step::Command;

/// The shell function `name` runs the program.
pub(super) fn function(name: &str, command: &Command) -> Result<String, String> {
    Ok(format!("{name}() ( {}\n)\n", invocation(command)?))
}

/// The words that run it. In the background, `$!` is the number of the program's own `timeout`.
pub(super) fn invocation(command: &Command) -> Result<String, String> {
    check(command)?;
    let mut words = vec!["run".to_owned()];
    words.push(quote(command.user.as_deref().unwrap_or_default()));
    words.push(quote(command.directory.as_deref().unwrap_or("/")));
    if !command.environment.is_empty() {
        words.push("env".to_owned());
        words.extend(command.environment.iter().map(|(name, value)| format!("{name}={}", quote(value))));
    }
    words.extend(command.argv.iter().map(|word| quote(word)));
    let run = words.join(" ");
    Ok(match command.stdin.bytes() {
        [] => run,
        input => format!("{{\n{}\n}} | {run}", write_bytes(input)),
    })
}

/// The limit in whole seconds, which is what every `timeout` understands.
pub(super) fn seconds(limit: std::time::Duration) -> u64 {
    (limit.as_secs() + u64::from(limit.subsec_nanos() > 0)).clamp(1, 7 * 24 * 3600)
}

fn check(command: &Command) -> Result<(), String> {
    let program = command.argv.first().map_or("", String::as_str);
    if program.is_empty() || program.starts_with('-') {
        return Err(format!("invalid program `{program}`"));
    }
    if program.contains('=') && !command.environment.is_empty() {
        return Err(format!("`{program}`: a program with `=` in its name cannot be given an environment"));
    }
    if let Some(name) = command.environment.keys().find(|name| !is_variable(name)) {
        return Err(format!("invalid environment variable name `{name}`"));
    }
    if command.user.as_deref().is_some_and(|user| !is_account(user)) {
        return Err("the user to run it as is no user name".to_owned());
    }
    if command.directory.as_deref().is_some_and(|path| !path.starts_with('/')) {
        return Err("the directory to run it in is not absolute".to_owned());
    }
    let texts = command.argv.iter().chain(command.environment.values()).chain(&command.directory);
    if texts.into_iter().any(|text| text.contains('\0')) { Err(NUL.to_owned()) } else { Ok(()) }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether a text can be the name of a user or group: what `passwd(5)` cannot hold, and options, cannot.
pub(super) fn is_account(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('-') && !name.contains([':', '/', '\0', '\n', ' ', ','])
}

/// The directory of an owner and host beside what is kept for all: `ENVIRONMENT@HOST@PROJECT`, or `ENVIRONMENT@HOST` of a
/// project that is not known. One machine may be many hosts of an environment; the script knows by which name it is spoken
/// to. No name of a file beside it has an `@`, and no part of these names has one.
pub(super) fn folder(owner: &Owner) -> String {
    let project = owner.project.as_ref().map(|project| format!("@{project}")).unwrap_or_default();
    format!("{}\"@$H{project}\"", quote(owner.environment.as_str()))
}

/// Whose directory that is, and for which host.
pub(super) fn unfold(folder: &str) -> Option<(Owner, HostName)> {
    let mut parts = folder.split('@');
    let (environment, host) = (EnvName::new(parts.next()?).ok()?, HostName::new(parts.next()?).ok()?);
    let project = parts.next().map(ProjectId::new).transpose().ok()?;
    parts.next().is_none().then_some((Owner { project, environment }, host))
}
