//! What must be kept of a host before a change, so that the change can be put back.
//!
//! In: what is about to change. Out: what of it can be put back, and what cannot. Never: a guess: what is not known to be
//! put back cannot be.

use super::Entry;
use crate::name::Address;
use crate::step::{Manager, Step, Touched, Touches};

/// What these changes touch, each once and in the order in which they do, and the resources with an effect that cannot be
/// put back: programs of the project, accounts, what is sent to a server or set in a running kernel.
pub fn touched(entries: &[Entry]) -> (Vec<Touched>, Vec<Address>) {
    let (mut touched, mut lost) = (Vec::new(), Vec::new());
    for entry in entries {
        for step in entry.steps() {
            match of_step(step) {
                Some(things) => things.into_iter().for_each(|thing| once(&mut touched, thing)),
                None => once(&mut lost, entry.address.clone()),
            }
        }
    }
    (touched, lost)
}

fn once<T: PartialEq>(all: &mut Vec<T>, one: T) {
    if !all.contains(&one) {
        all.push(one);
    }
}

/// What one step touches; none if it has an effect that cannot be put back.
fn of_step(step: &Step) -> Option<Vec<Touched>> {
    let path = |path: &String| Some(vec![Touched::Path(path.clone())]);
    match step {
        Step::WriteFile { path: at, .. }
        | Step::SendFile { path: at, .. }
        | Step::EditFile { path: at, .. }
        | Step::MakeDirectory { path: at, .. }
        | Step::MakeLink { path: at, .. }
        | Step::SetOwnership { path: at, .. }
        | Step::Remove { path: at, .. }
        | Step::Download { path: at, .. }
        | Step::RemoveUnpacked { path: at } => path(at),
        Step::Unpack(unpacking) => path(&unpacking.path),
        Step::Send(_) => None,
        // A package that is not from apt cannot be put back.
        Step::RemovePackages(removal) => {
            (removal.manager == Manager::Apt).then(|| removal.names.iter().cloned().map(Touched::Package).collect())
        }
        Step::Run(command) | Step::RunUnless(command, _) | Step::RunOr(command, _) => match &command.touches {
            Touches::Unknown => None,
            Touches::Only(things) => Some(things.clone()),
        },
        // They look, wait, fetch lists that fit every change, or write down what is armilla's own.
        Step::Unchanged { .. }
        | Step::KeepCopy { .. }
        | Step::DropCopies { .. }
        | Step::RefreshPackages
        | Step::Await(_)
        | Step::SaveLedger { .. }
        | Step::AdoptLedger { .. }
        | Step::Snapshot(_)
        | Step::Commit { .. }
        | Step::Undo { .. }
        | Step::Arm { .. }
        | Step::Extend { .. }
        | Step::Disarm { .. }
        | Step::GiveUp { .. } => Some(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{HostName, RoleName};
    use crate::plan::{Cause, Reason, Verdict};
    use crate::resource::{Action, Change};
    use crate::secret::Content;
    use crate::step::{Command, Leftovers, Ownership, PackageRemoval, Removable};

    fn entry(kind: &'static str, target: &str, steps: Vec<Step>) -> Entry {
        let (host, role) = (HostName::new("h").expect("a name"), RoleName::new("r").expect("a name"));
        let address = Address { host, role, kind, target: target.to_owned() };
        let verdict = Verdict::Change(Change { action: Action::Change, fields: Vec::new(), steps });
        Entry { address, verdict, reason: Reason::Differs, cause: Cause::Project, mark: None, risk: None }
    }

    fn run(things: &[Touched]) -> Step {
        Step::Run(Command::new(["it"]).touching(things.iter().cloned()))
    }

    fn anything() -> Step {
        Step::Run(Command::new(["it"]))
    }

    fn removal(names: &[&str]) -> Step {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let (manager, leftovers, unless_needed_by) = (Manager::Apt, Leftovers::Kept, Vec::new());
        Step::RemovePackages(PackageRemoval { manager, names, leftovers, unless_needed_by })
    }

    fn write(path: &str) -> Step {
        Step::WriteFile { path: path.into(), content: Content::from(""), ownership: Ownership::default() }
    }

    #[test]
    fn files_and_what_programs_say_they_touch_can_be_rolled_back() {
        let path = |path: &str| Touched::Path(path.to_owned());
        let unit = Touched::Unit("zookeeper.service".to_owned());
        let package = |package: &str| Touched::Package(package.to_owned());
        let entries = [
            entry("package", "zookeeper", vec![Step::RefreshPackages, run(&[package("zookeeper")]), run(&[])]),
            entry("file", "/etc/zoo.cfg", vec![write("/etc/zoo.cfg"), write("/etc/zoo.cfg")]),
            entry("link", "/etc/zoo", vec![Step::Remove { path: "/etc/zoo".into(), what: Removable::Link }]),
            entry(
                "service",
                "zookeeper",
                vec![run(&[unit.clone(), path("/etc/zoo")]), run(std::slice::from_ref(&unit))],
            ),
            entry("package", "old", vec![removal(&["old", "only-for-it"])]),
        ];
        let wanted = [path("/etc/zoo.cfg"), path("/etc/zoo"), unit, package("old"), package("only-for-it")];
        let wanted = std::iter::once(package("zookeeper")).chain(wanted).collect();
        assert_eq!(touched(&entries), (wanted, Vec::new()));
    }

    #[test]
    fn a_program_that_does_not_say_what_it_touches_cannot_be_rolled_back() {
        let entries = [
            entry("command", "make", vec![anything()]),
            entry("sysctl", "vm.swappiness", vec![write("/etc/sysctl.d/x.conf"), anything(), anything()]),
            entry("file", "/kept", Vec::new()),
        ];
        let (things, lost) = touched(&entries);
        assert_eq!(things, [Touched::Path("/etc/sysctl.d/x.conf".into())]);
        let lost: Vec<String> = lost.iter().map(|address| format!("{} {}", address.kind, address.target)).collect();
        assert_eq!(lost, ["command make", "sysctl vm.swappiness"]);
    }
}
