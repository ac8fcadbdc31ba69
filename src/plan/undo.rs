//! What must be kept of a host before a change, so that the change can be put back.
//!
//! In: what is about to change. Out: what of it can be put back, and what cannot. Never: a guess: what is not known to be
//! put back cannot be.

use super::Entry;
use crate::name::Address;
use crate::step::{Command, Manager, Step, Touched};

/// What these changes touch, each once and in the order in which they do, and the resources with an effect that cannot be
/// put back: programs of the project, accounts, what is sent to a server or set in a running kernel.
pub fn touched(entries: &[Entry]) -> (Vec<Touched>, Vec<Address>) {
    let (mut touched, mut lost) = (Vec::new(), Vec::new());
    for entry in entries {
        for step in entry.steps() {
            match of_step(&entry.address, step) {
                Some(things) => things.into_iter().for_each(|thing| once(&mut touched, thing)),
                None => once(&mut lost, entry.address.clone()),
            }
        }
        if let Some(unit) = unit(&entry.address).filter(|_| !entry.steps().is_empty()) {
            once(&mut touched, Touched::Unit(unit));
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
fn of_step(address: &Address, step: &Step) -> Option<Vec<Touched>> {
    let path = |path: &String| Some(vec![Touched::Path(path.clone())]);
    match step {
        Step::WriteFile { path: at, .. }
        | Step::EditFile { path: at, .. }
        | Step::MakeDirectory { path: at, .. }
        | Step::MakeLink { path: at, .. }
        | Step::SetOwnership { path: at, .. }
        | Step::Remove { path: at, .. }
        | Step::Download { path: at, .. }
        | Step::RemoveUnpacked { path: at } => path(at),
        Step::Unpack(unpacking) => path(&unpacking.path),
        // A package that is not from apt cannot be put back.
        Step::RemovePackages(removal) => {
            (removal.manager == Manager::Apt).then(|| removal.names.iter().cloned().map(Touched::Package).collect())
        }
        Step::Run(command) | Step::RunUnless(command, _) | Step::RunOr(command, _) => of_program(address, command),
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

/// What a program touches that a kind of resource runs. What a user wrote can do anything.
fn of_program(address: &Address, command: &Command) -> Option<Vec<Touched>> {
    let words: Vec<&str> = command.argv.iter().map(String::as_str).collect();
    match (address.kind, words.as_slice()) {
        ("command" | "script" | "http", _) => None,
        // They only look, fetch lists that fit every change, or tell systemd of files.
        (_, ["systemctl", "daemon-reload"])
        | ("repository", ["sh" | "zypper" | "dnf" | "yum", ..])
        | ("timezone", ["ls", ..])
        | ("locale", ["sh", "-c", _, "locale-known", ..]) => Some(Vec::new()),
        // Of a template, only its instances have a state, and which these are is not known.
        (_, ["systemctl", _, "--", unit]) if unit.contains("@.") || unit.contains('*') => None,
        (_, ["systemctl", _, "--", unit]) => Some(vec![Touched::Unit((*unit).to_owned())]),
        // A package that is not from apt cannot be put back. The shell lets dpkg finish what was interrupted.
        ("package", ["apt-get" | "apt-mark", ..] | ["sh", "-c", _]) => {
            Some(vec![Touched::Package(address.target.clone())])
        }
        ("directory" | "unit", ["rmdir", .., "--", path]) => Some(vec![Touched::Path((*path).to_owned())]),
        _ => None,
    }
}

/// The unit that reads what a resource writes. A template has no state of its own.
fn unit(address: &Address) -> Option<String> {
    let target = address.target.as_str();
    let unit = match address.kind {
        "unit" => target.split_once(".d/").map_or(target, |(unit, _)| unit).to_owned(),
        "timer" => format!("{target}.timer"),
        _ => return None,
    };
    (!unit.contains("@.")).then_some(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{HostName, RoleName};
    use crate::plan::{Cause, Reason, Verdict};
    use crate::resource::{Action, Change};
    use crate::secret::Content;
    use crate::step::{Leftovers, Ownership, PackageRemoval, Removable};

    fn entry(kind: &'static str, target: &str, steps: Vec<Step>) -> Entry {
        let (host, role) = (HostName::new("h").expect("a name"), RoleName::new("r").expect("a name"));
        let address = Address { host, role, kind, target: target.to_owned() };
        let verdict = Verdict::Change(Change { action: Action::Change, fields: Vec::new(), steps });
        Entry { address, verdict, reason: Reason::Differs, cause: Cause::Project, mark: None, risk: None }
    }

    fn run(argv: &[&str]) -> Step {
        Step::Run(Command::new(argv.iter().copied()))
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
    fn files_units_and_packages_can_be_put_back() {
        let package = ["apt-get", "install", "--", "zookeeper=3.9"];
        let folder = "/etc/systemd/system/zookeeper.service.d";
        let entries = [
            entry(
                "package",
                "zookeeper",
                vec![Step::RefreshPackages, run(&package), run(&["systemctl", "daemon-reload"])],
            ),
            entry("file", "/etc/zoo.cfg", vec![write("/etc/zoo.cfg"), write("/etc/zoo.cfg")]),
            entry("link", "/etc/zoo", vec![Step::Remove { path: "/etc/zoo".into(), what: Removable::Link }]),
            entry(
                "unit",
                "zookeeper.service.d/a.conf",
                vec![run(&["rmdir", "--ignore-fail-on-non-empty", "--", folder])],
            ),
            entry("timer", "backup", vec![run(&["systemctl", "enable", "--", "backup.timer"])]),
            entry("service", "zookeeper", vec![run(&["systemctl", "restart", "--", "zookeeper.service"])]),
            entry("package", "old", vec![removal(&["old", "only-for-it"])]),
            entry("unit", "worker@.service", vec![write("/etc/systemd/system/worker@.service")]),
        ];
        let path = |path: &str| Touched::Path(path.to_owned());
        let unit = |unit: &str| Touched::Unit(unit.to_owned());
        let package = |package: &str| Touched::Package(package.to_owned());
        let wanted = vec![
            package("zookeeper"),
            path("/etc/zoo.cfg"),
            path("/etc/zoo"),
            path(folder),
            unit("zookeeper.service"),
            unit("backup.timer"),
            package("old"),
            package("only-for-it"),
            path("/etc/systemd/system/worker@.service"),
        ];
        assert_eq!(touched(&entries), (wanted, Vec::new()));
    }

    #[test]
    fn what_has_other_effects_cannot_be() {
        let entries = [
            entry("command", "make", vec![run(&["systemctl", "stop", "--", "nginx.service"])]),
            entry("user", "ada", vec![run(&["useradd", "--", "ada"]), run(&["usermod", "--", "ada"])]),
            entry("package", "zookeeper", vec![run(&["dnf", "-q", "-y", "install", "zookeeper"])]),
            entry("sysctl", "vm.swappiness", vec![write("/etc/sysctl.d/x.conf"), run(&["sh", "-c", "", "sysctl"])]),
            entry("file", "/kept", Vec::new()),
        ];
        let (things, lost) = touched(&entries);
        assert_eq!(things, [Touched::Path("/etc/sysctl.d/x.conf".into())]);
        let lost: Vec<String> = lost.iter().map(|address| format!("{} {}", address.kind, address.target)).collect();
        assert_eq!(lost, ["command make", "user ada", "package zookeeper", "sysctl vm.swappiness"]);
    }
}
