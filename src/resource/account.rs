//! Accounts of the system that leave while directories of theirs stay: the next account would get their number, and with it
//! the files.

use std::time::Duration;

use super::{Action, Change, Others, Staying, Verdict, generated};
use crate::step::{Command, Step};

/// The first number of users and groups of people, as distributions set it in `login.defs(5)`. Those below are of the system:
/// they own what services keep. The files of a person are no reason for the person to stay.
const PEOPLE: u32 = 1000;

/// Ends well if the account $2 of the database $1 need not go: there is none, or one of the other directories is there.
const NEEDED: &str = r#"# whether an account stays
getent "$1" "$2" >/dev/null || exit 0
shift 2
for path; do [ ! -d "$path" ] || exit 0; done
exit 1"#;

/// An account that is to go.
pub(super) struct Account<'a> {
    /// Its database and its name, as `getent(1)` has them.
    pub(super) entry: [&'a str; 2],
    pub(super) number: u32,
    /// To whom directories may belong that keep it: `user` or `group`, with a name.
    pub(super) owners: Vec<(&'a str, &'a str)>,
}

impl Account<'_> {
    /// Its removal by these steps, or why it stays. Where that is known only when the directories have had their turn, the
    /// first step asks for it then.
    pub(super) fn removal(&self, steps: Vec<Step>, others: &Others) -> Verdict {
        let mut paths: Vec<(&String, Staying)> =
            self.owners.iter().flat_map(|(kind, name)| others.belongings(kind, name)).collect();
        paths.retain(|_| self.number < PEOPLE);
        paths.sort_unstable();
        paths.dedup();
        if let Some((path, _)) = paths.iter().find(|(_, staying)| *staying == Staying::Surely) {
            return Verdict::Refuse(format!("{path}, which stays, belongs to it"));
        }
        let paths: Vec<&str> = paths.into_iter().map(|(path, _)| path.as_str()).collect();
        let [first, rest @ ..] = paths.as_slice() else {
            return Verdict::change(Action::Remove, Vec::new(), steps);
        };
        let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        let why = format!("it is removed only if nothing stays in {first}{more}, which belongs to it");
        let steps = steps.into_iter().enumerate().map(|(index, step)| match step {
            Step::Run(command) | Step::RunUnless(command, _) if index == 0 => self.unless_needed(command, &paths),
            step => step,
        });
        Verdict::MayChange(Change { action: Action::Remove, fields: Vec::new(), steps: steps.collect() }, why)
    }

    fn unless_needed(&self, command: Command, paths: &[&str]) -> Step {
        let guard = generated::shell("account-stays", NEEDED, &[&self.entry, paths].concat());
        Step::RunUnless(command, Box::new(guard.within(Duration::from_secs(30))))
    }
}
