//! Who asks: this machine, this process, this moment.
//!
//! In: nothing. Out: names of runs and leases, and what others are told about their holder. Never: a decision.

use std::path::PathBuf;

use crate::diag::{Diagnostic, shown};
use crate::lease::{Holder, LeaseId};
use crate::name::{EnvName, RunId};

/// This moment, in RFC 3339 and UTC.
pub(super) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `user@machine`.
pub(super) fn who() -> String {
    let uid = nix::unistd::Uid::effective();
    let user = nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
    let machine = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
    shown(&format!("{user}@{}", machine.unwrap_or_else(|_| "unknown".to_owned())))
}

/// A name that no run had: when it begins, to a millionth of a second, so that names are in the order of the runs.
///
/// # Errors
/// When the clock shows a year that is no name.
pub(super) fn new_run() -> Result<RunId, Diagnostic> {
    run_at(jiff::Timestamp::now())
}

/// The second, and where in it, in 2²⁰ parts, as four letters that sort as they count.
fn run_at(time: jiff::Timestamp) -> Result<RunId, Diagnostic> {
    const LETTERS: &[u8; 32] = b"23456789abcdefghijkmnpqrstuvwxyz";
    let part = (i64::from(time.subsec_nanosecond()) << 20) / 1_000_000_000;
    let letter = |place: u32| char::from(LETTERS[usize::try_from(part >> (5 * place) & 31).unwrap_or_default()]);
    let letters: String = (0..4).rev().map(letter).collect();
    RunId::new(&format!("{}-{letters}", time.strftime("%Y%m%d-%H%M%S"))).map_err(Diagnostic::from)
}

/// A name that no lease had.
///
/// # Errors
/// When this machine has no random numbers.
pub(super) fn new_lease() -> Result<LeaseId, Diagnostic> {
    Ok(LeaseId(format!("{:016x}", u64::from_be_bytes(random()?))))
}

/// Bytes of chance.
///
/// # Errors
/// When this machine has none.
pub(super) fn random<const N: usize>() -> Result<[u8; N], Diagnostic> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Diagnostic::error(format!("no random numbers on this machine: {error}")))?;
    Ok(bytes)
}

/// What others are told.
pub(super) fn holder(environment: &EnvName, run: &RunId, command: String) -> Holder {
    Holder {
        environment: environment.clone(),
        run: run.clone(),
        who: who(),
        command,
        machine: line("/etc/machine-id"),
        boot: line("/proc/sys/kernel/random/boot_id"),
        pid: std::process::id(),
        ticks: ticks("self").unwrap_or_default(),
        since: now(),
    }
}

/// Whether a holder was a process of this machine that has ended.
pub(super) fn is_dead(holder: &Holder) -> bool {
    let here = !holder.machine.is_empty() && holder.machine == line("/etc/machine-id");
    let booted_since = holder.boot != line("/proc/sys/kernel/random/boot_id");
    here && (booted_since || ticks(&holder.pid.to_string()) != Some(holder.ticks))
}

/// What was typed, for others to read. Values of variables are left out: they may be secret.
pub(super) fn command_line() -> String {
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
        Diagnostic::error("there is no place to write down what is done: HOME is not set")
            .hint("set ARMILLA_STATE_DIR to a folder of your own")
    })
}

fn line(path: &str) -> String {
    std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// When a process began, in ticks since boot: field 22 of `/proc/PID/stat` (`proc_pid_stat(5)`). Its name, in parentheses,
/// may hold anything, so fields are counted after it.
fn ticks(process: &str) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_runs_are_in_their_order() {
        let begins = 1_795_269_723_000_000_000_i128;
        let name = |microseconds: i128| {
            let time = jiff::Timestamp::from_nanosecond(begins + microseconds * 1000).expect("a time");
            run_at(time).expect("a name").to_string()
        };
        let moments = [0, 1, 2, 31, 32, 1023, 1024, 499_999, 500_000, 999_999, 1_000_000, 1_000_001];
        let names = moments.map(name);
        assert!(names.is_sorted_by(|one, other| one < other), "{names:?}");
        assert_eq!((names[0].as_str(), names[8].as_str()), ("20261121-140203-2222", "20261121-140203-i222"));
    }

    #[test]
    fn a_process_that_ended_is_dead_and_we_are_not() {
        let environment = EnvName::new("staging").expect("a name");
        let holder = holder(&environment, &new_run().expect("a name"), command_line());
        assert!(!is_dead(&holder));
        let other = Holder { ticks: holder.ticks + 1, ..holder.clone() };
        assert!(holder.machine.is_empty() || is_dead(&other), "the number is used again");
        let elsewhere = Holder { machine: "other".into(), ..other };
        assert!(!is_dead(&elsewhere), "of another machine nothing is known");
    }

    #[test]
    fn the_value_of_a_variable_is_not_told() {
        assert_eq!(without_value("token=hunter2"), "token=...");
        assert_eq!(without_value("@file.yml"), "@file.yml");
    }
}
