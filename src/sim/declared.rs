//! What a kind says of a program that it runs, held against what the program does on a simulated host.
//!
//! In: a program with what it waits for and what it touches. Out: what the program prints, or a failure where it changed what
//! its kind does not say: a rollback would not put that back. Never: a guess from its arguments.

use super::host::Host;
use super::units::WANTS;
use super::{Tree, Trouble, Units, program};
use crate::step::{Command, Touched, Touches, WaitsFor};

/// The exit code of a program that did what its kind does not say.
const UNDECLARED: i32 = 70;

/// Runs a program as its kind describes it.
pub(super) fn run(host: &mut Host, command: &Command) -> Result<String, Trouble> {
    // Nothing ends by itself while a step runs on a simulated host, so there is nothing to wait for.
    if let Some(WaitsFor::ProcessesOf(user)) = &command.waits_for
        && host.is_busy(user)
    {
        return Err(Trouble::new(1, format!("user {user} is used by a process: waited 30 s for it to end")));
    }
    let Touches::Only(things) = &command.touches else { return program::run(host, command) };
    let before = host.clone();
    let printed = program::run(host, command)?;
    match undeclared(&before, host, things) {
        None => Ok(printed),
        Some(what) => {
            let program = command.argv.join(" ");
            Err(Trouble::new(UNDECLARED, format!("{program}: changed {what}, and its kind does not say so")))
        }
    }
}

/// Something that differs and is none of these things. A package brings whatever it likes.
fn undeclared(before: &Host, after: &Host, things: &[Touched]) -> Option<String> {
    if things.iter().any(|thing| matches!(thing, Touched::Package(_))) {
        return None;
    }
    if (&before.users, &before.groups) != (&after.users, &after.groups) {
        return Some("users or groups".to_owned());
    }
    if (&before.packages, &before.held) != (&after.packages, &after.held) {
        return Some("packages".to_owned());
    }
    let units = before.units.iter().chain(after.units.iter()).map(|(name, _)| name);
    let activity = |host: &Host, name: &str| host.units.get(name).map(|unit| (unit.activity, unit.starts));
    let mut units = units.filter(|name| activity(before, name) != activity(after, name));
    let mut paths = before.paths.iter().chain(after.paths.iter()).map(|(path, _)| path);
    let unit = units.find(|name| !things.iter().any(|thing| is_of_unit(thing, name, &before.paths)));
    let path = || {
        paths.find(|path| {
            before.paths.get(path) != after.paths.get(path) && !things.iter().any(|thing| is_at(thing, path))
        })
    };
    unit.or_else(path).cloned()
}

/// Whether a unit changes with a thing: it is the unit, or requires it.
fn is_of_unit(thing: &Touched, name: &str, paths: &Tree) -> bool {
    let Touched::Unit(unit) = thing else { return false };
    unit == name || Units::required_by(unit, paths).iter().any(|other| other == name)
}

/// Whether a path changes with a thing: it is the path or below it, or the link that starts the unit with the host.
fn is_at(thing: &Touched, path: &str) -> bool {
    match thing {
        Touched::Path(top) => {
            path.strip_prefix(top.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        Touched::Unit(unit) => path == WANTS || path.strip_prefix(WANTS) == Some(&format!("/{unit}")),
        Touched::Package(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(touches: Touches) -> Result<String, Trouble> {
        let command = Command { touches, ..Command::new(["touch", "--", "/srv/made"]) };
        run(&mut Host::new(), &command)
    }

    #[test]
    fn a_program_that_changes_more_than_its_kind_says_fails() {
        assert_eq!(touch(Touches::Unknown), Ok(String::new()));
        assert_eq!(touch(Touches::Only(vec![Touched::Path("/srv".to_owned())])), Ok(String::new()));
        let other = Touches::Only(vec![Touched::Path("/srv/mad".to_owned()), Touched::Unit("made.service".to_owned())]);
        for touches in [Touches::Only(Vec::new()), other] {
            let trouble = touch(touches).expect_err("it makes a file");
            assert_eq!(trouble.exit, UNDECLARED);
            assert!(trouble.stderr.contains("changed /srv/made"), "{}", trouble.stderr);
        }
    }
}
