//! Packages are removed together, and no other with them.

use std::collections::BTreeSet;
use std::time::Duration;

use super::others::unlocked_dpkg;
use crate::host::program::{Cause, Ended, Limits, Programs, undisturbed};
use crate::host::waiting::Tell;
use crate::host::{Failure, Result};
use crate::step::{Command, Leftovers, Manager, Outcome, PackageRemoval};

/// How long a package manager may take to say something.
const LOOK: Duration = Duration::from_secs(120);

/// How long it may take to remove packages: some are large, and another program may have to finish first.
const REMOVE: Duration = Duration::from_secs(30 * 60);

/// [`crate::step::Step::RemovePackages`]: not needed where all are gone, or one that the plan installs would go along.
pub(in crate::host) fn remove(
    programs: &Programs<'_>,
    removal: &PackageRemoval,
    tell: &mut Tell<'_>,
) -> Result<Outcome> {
    let invalid = |name: &&String| name.is_empty() || name.starts_with('-') || name.contains(char::is_whitespace);
    if let Some(name) = removal.names.iter().chain(&removal.unless_needed_by).find(invalid) {
        return Err(Failure::new(format!("invalid package name `{}`", name.escape_debug())));
    }
    unlocked_dpkg(tell)?;
    let work = Work { programs, manager: removal.manager, leftovers: removal.leftovers };
    let mut names = Vec::new();
    for name in &removal.names {
        if work.is_there(name)? {
            names.push(name.as_str());
        }
    }
    if names.is_empty() {
        return Ok(Outcome::NotNeeded);
    }
    let goes = work.goes(&names)?;
    if goes.iter().any(|name| removal.unless_needed_by.contains(name)) {
        return Ok(Outcome::NotNeeded);
    }
    let more = work.unplanned(&goes, &names)?;
    if !more.is_empty() {
        let more = more.join(" ");
        return Err(Failure::new(format!(
            "nothing was removed: it is needed by or would take along {more}, which the plan does not remove; plan again"
        )));
    }
    work.remove(&names).map(|()| Outcome::Done)
}

/// One removal.
struct Work<'a> {
    programs: &'a Programs<'a>,
    manager: Manager,
    leftovers: Leftovers,
}

impl Work<'_> {
    fn run(&self, argv: &[&str], names: &[&str], time: Duration) -> Result<Ended> {
        let quiet = [
            ("DEBIAN_FRONTEND", "noninteractive"),
            ("APT_LISTCHANGES_FRONTEND", "none"),
            ("NEEDRESTART_MODE", "l"),
            ("ZYPP_LOCK_TIMEOUT", "300"),
        ];
        let command = Command::new(argv.iter().chain(names).copied()).within(time);
        let command = quiet.into_iter().fold(command, |command, (name, value)| command.with(name, value));
        let ended = self.programs.run(&command, &Limits::step(&command), &mut undisturbed)?;
        if ended.cause == Cause::Overdue {
            let (why, limit) = (ended.complaint(), time.as_secs());
            return Err(Failure {
                exit: ended.exit,
                why: format!("{why}\nit took longer than {limit} s and was ended"),
            });
        }
        Ok(ended)
    }

    fn is_purge(&self) -> bool {
        self.leftovers == Leftovers::Purged
    }

    /// Whether there is anything of a package to remove.
    fn is_there(&self, name: &str) -> Result<bool> {
        let knows = |argv: &[&str]| Ok(self.run(argv, &[name], LOOK)?.exit == 0);
        match self.manager {
            Manager::Apt => {
                let ended = self.run(&["dpkg-query", "-W", "-f=${db:Status-Status}\\n", "--"], &[name], LOOK)?;
                Ok(match ended.output().lines().next().unwrap_or_default() {
                    "" | "not-installed" => false,
                    "config-files" => self.is_purge(),
                    _ => true,
                })
            }
            Manager::Apk => knows(&["apk", "info", "-e"]),
            Manager::Pacman => knows(&["pacman", "-Qq", "--"]),
            Manager::Dnf | Manager::Yum | Manager::Zypper => knows(&["rpm", "-q"]),
        }
    }

    /// What their removal would take, and each that it would break.
    fn goes(&self, names: &[&str]) -> Result<BTreeSet<String>> {
        let apt = if self.is_purge() { "purge" } else { "remove" };
        let (argv, takes, breaks): (&[&str], Names, Names) = match self.manager {
            Manager::Apt => (&["apt-get", "-s", "-q", apt, "--"], taken_by_apt, none),
            Manager::Apk => (&["apk", "del", "-s"], taken_by_apk, none),
            Manager::Pacman => {
                (&["pacman", "-R", "--print", "--print-format", "%n", "--"], every_line, broken_by_pacman)
            }
            Manager::Dnf | Manager::Yum | Manager::Zypper => (&["rpm", "--erase", "--test"], none, broken_by_rpm),
        };
        let ended = self.run(argv, names, LOOK)?;
        let found = |of: Names, text: &str| text.lines().filter_map(of).map(str::to_owned).collect::<BTreeSet<_>>();
        if ended.exit == 0 {
            return Ok(found(takes, &ended.output()));
        }
        let said = format!("{}\n{}", ended.output(), String::from_utf8_lossy(&ended.stderr.bytes()));
        let broken = found(breaks, &said);
        if broken.is_empty() { Err(Failure::new(ended.complaint())) } else { Ok(broken) }
    }

    /// Those of them that the plan does not remove.
    fn unplanned<'a>(&self, goes: &'a BTreeSet<String>, names: &[&str]) -> Result<Vec<&'a str>> {
        let mut others: Vec<&str> = goes.iter().map(String::as_str).filter(|name| !names.contains(name)).collect();
        if !others.is_empty() && self.manager == Manager::Apt {
            // apt calls a package of the host's own architecture by its name alone.
            let architecture = self.run(&["dpkg", "--print-architecture"], &[], LOOK)?.output();
            others.retain(|name| !names.contains(&format!("{name}:{architecture}").as_str()));
        }
        Ok(others)
    }

    fn remove(&self, names: &[&str]) -> Result {
        let verb = if self.is_purge() { "purge" } else { "remove" };
        let argv: &[&str] = match self.manager {
            Manager::Apt => &["apt-get", verb, "-y", "-q", "-o", "DPkg::Lock::Timeout=300", "--"],
            Manager::Apk if self.is_purge() => &["apk", "del", "--purge", "--wait", "300", "--no-progress"],
            Manager::Apk => &["apk", "del", "--wait", "300", "--no-progress"],
            Manager::Pacman if self.is_purge() => &["pacman", "-Rn", "--noconfirm", "--noprogressbar", "--"],
            Manager::Pacman => &["pacman", "-R", "--noconfirm", "--noprogressbar", "--"],
            Manager::Zypper => &["zypper", "--non-interactive", "remove", "--no-clean-deps"],
            Manager::Dnf => &["dnf", "-q", "-y", "--setopt=clean_requirements_on_remove=False", "remove"],
            Manager::Yum => &["yum", "-q", "-y", "--setopt=clean_requirements_on_remove=False", "remove"],
        };
        let ended = self.run(argv, names, REMOVE)?;
        if ended.exit == 0 { Ok(()) } else { Err(Failure { exit: ended.exit, why: ended.complaint() }) }
    }
}

/// The package that a line names, if it names one.
type Names = fn(&str) -> Option<&str>;

fn none(_: &str) -> Option<&str> {
    None
}

fn every_line(line: &str) -> Option<&str> {
    Some(line.trim()).filter(|line| !line.is_empty())
}

/// `Remv name [1.0]` or `Purg name [1.0]`.
fn taken_by_apt(line: &str) -> Option<&str> {
    line.strip_prefix("Remv ").or_else(|| line.strip_prefix("Purg "))?.split(' ').next()
}

/// `(1/2) Purging name (1.0-r0)`.
pub(in crate::host) fn taken_by_apk(line: &str) -> Option<&str> {
    let (count, rest) = line.strip_prefix('(')?.split_once(") Purging ")?;
    let is_count = !count.is_empty() && count.chars().all(|c| c.is_ascii_digit() || c == '/');
    rest.split_once(" (").map(|(name, _)| name).filter(|_| is_count)
}

/// `:: removing a breaks dependency 'x' required by name`; before pacman 6 `:: name: removing a breaks dependency 'x'`.
pub(in crate::host) fn broken_by_pacman(line: &str) -> Option<&str> {
    let rest = line.strip_prefix(":: ")?;
    if rest.starts_with("removing ") {
        return rest.rsplit_once(" required by ").map(|(_, name)| name);
    }
    rest.split_once(": removing ").map(|(name, _)| name)
}

/// `x is needed by (installed) name-1.0-1.x86_64`.
pub(in crate::host) fn broken_by_rpm(line: &str) -> Option<&str> {
    let (_, package) = line.split_once(" is needed by (installed) ")?;
    package.rsplitn(3, '-').nth(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::program::tests::Stage;

    #[test]
    fn what_apt_really_says_is_understood() {
        let stage = Stage::new();
        let programs = stage.programs();
        let work = Work { programs: &programs, manager: Manager::Apt, leftovers: Leftovers::Kept };
        assert_eq!((work.is_there("dpkg"), work.is_there("no-such-package")), (Ok(true), Ok(false)));
        // Only looked at. Much needs it, on every machine with dpkg.
        let goes = work.goes(&["libc-bin"]);
        assert!(goes.as_ref().is_ok_and(|names| names.contains("libc-bin")), "{goes:?}");
        assert!(work.goes(&["no-such-package"]).is_err_and(|failure| failure.why.contains("no-such-package")));
    }

    #[test]
    fn what_a_removal_takes_is_read_from_every_manager() {
        let read = |of: Names, text: &'static str| text.lines().filter_map(of).collect::<Vec<_>>();
        let apt = "Reading package lists...\nRemv a [1.0]\nRemv b:i386 [2] [c ]\nPurg d* [1]\nInst e (1)\n Remv f\n";
        assert_eq!(read(taken_by_apt, apt), ["a", "b:i386", "d*"]);
        let apk = "(1/2) Purging a-b (1.0-r0)\n(2/2) Purging c (2-r1)\nExecuting busybox-1.36.1-r2.trigger\n() Purging x (1)\nOK: 7 MiB in 14 packages\n";
        assert_eq!(read(taken_by_apk, apk), ["a-b", "c"]);
        let pacman = "error: failed to prepare transaction (could not satisfy dependencies)\n:: removing a breaks dependency 'a' required by b\n:: c: removing a breaks dependency 'a'\n";
        assert_eq!(read(broken_by_pacman, pacman), ["b", "c"]);
        let rpm = "error: Failed dependencies:\n\ta is needed by (installed) b-c-1.0-1.el9.x86_64\n\ta >= 1 is needed by (installed) d-2-3.noarch\n";
        assert_eq!(read(broken_by_rpm, rpm), ["b-c", "d"]);
        assert_eq!(read(every_line, "a\n\nb\n"), ["a", "b"]);
    }
}
