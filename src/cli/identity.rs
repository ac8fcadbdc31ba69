//! Who types, and where this machine keeps what armilla remembers.

use std::path::PathBuf;

use crate::diag::{Diagnostic, shown};
use crate::history::History;
use crate::operation::{Identity, Typed};

/// Whoever typed this command.
pub(super) fn this() -> Identity {
    let words = std::iter::once("armilla".to_owned()).chain(std::env::args().skip(1));
    Identity { typed: Typed::new(words), ..Identity::of_this_process(command_line()) }
}

/// What was typed, for others to read. Values of variables are left out: they may be secret.
fn command_line() -> String {
    let mut words = vec!["armilla".to_owned()];
    let mut hide = false;
    for word in std::env::args().skip(1) {
        let setting = ["--var=", "--extra-vars="].iter().find(|flag| word.starts_with(**flag));
        words.push(match setting {
            _ if hide => without_value(&word),
            Some(flag) => format!("{flag}{}", without_value(&word[flag.len()..])),
            None if word.starts_with("-e") && word.len() > 2 => format!("-e{}", without_value(&word[2..])),
            None => word.clone(),
        });
        hide = matches!(word.as_str(), "-e" | "--var" | "--extra-vars");
    }
    shown(&words.join(" "))
}

/// The folder that was typed for `--project`.
pub(super) fn project() -> Option<String> {
    let words: Vec<String> = std::env::args().skip(1).take_while(|word| word != "--").collect();
    let after = words.iter().position(|word| word == "--project").and_then(|at| words.get(at + 1));
    after
        .map(String::as_str)
        .or_else(|| words.iter().find_map(|word| word.strip_prefix("--project=")))
        .map(str::to_owned)
}

fn without_value(setting: &str) -> String {
    setting.split_once('=').map_or_else(|| setting.to_owned(), |(name, _)| format!("{name}=..."))
}

/// Where this machine keeps what armilla remembers: `ARMILLA_STATE_DIR`, or `armilla` below `XDG_STATE_HOME`, or below
/// `~/.local/state`.
///
/// # Errors
/// When there is no home.
pub(super) fn state_folder() -> Result<PathBuf, Diagnostic> {
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let below = || given("XDG_STATE_HOME").or_else(|| given("HOME").map(|home| home.join(".local/state")));
    given("ARMILLA_STATE_DIR").or_else(|| below().map(|state| state.join("armilla"))).ok_or_else(|| {
        Diagnostic::error("no folder for the run history: HOME is not set")
            .hint("set ARMILLA_STATE_DIR to a folder of yours")
    })
}

/// The runs of this machine.
///
/// # Errors
/// When there is no place for them.
pub(super) fn history() -> Result<History, Diagnostic> {
    Ok(History::new(&state_folder()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_of_a_variable_is_not_told() {
        assert_eq!(without_value("token=hunter2"), "token=...");
        assert_eq!(without_value("@file.yml"), "@file.yml");
    }
}
