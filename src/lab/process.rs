//! Processes that outlive the command that started them. In comes a pid, out goes a record by which a later command
//! knows that very process again. It never signals a pid that was given to another process meanwhile.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::error::LabError;
use super::files;

/// One process of this machine, told apart from all others by its start time and the machine's boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pid: i32,
    start: u64,
    boot: String,
}

impl Process {
    /// The process that has this pid now.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let (state, start) = parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
        (state != 'Z').then(|| Self { pid, start, boot: boot_id() })
    }

    /// The process recorded in a file, if it still runs.
    pub(crate) fn recorded(path: &Path) -> Option<Self> {
        let record = parse_record(&fs::read_to_string(path).ok()?)?;
        record.runs().then_some(record)
    }

    /// Records the process for later commands.
    pub(crate) fn record(&self, path: &Path) -> Result<(), LabError> {
        files::replace(path, &format!("{} {} {}\n", self.pid, self.start, self.boot), 0o600)
    }

    /// Whether this very process runs; one that is dead and only not yet reaped does not.
    pub(crate) fn runs(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }

    /// Sends a signal if this very process still runs.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.runs() {
            // It may end between the two lines; then there is nothing left to signal.
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }

    /// Its pid in the machine's namespace.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// State and start time of `/proc/PID/stat`, fields 3 and 22 of proc(5). The name in field 2 may hold anything.
fn parse_stat(text: &str) -> Option<(char, u64)> {
    let rest: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some((rest.first()?.chars().next()?, rest.get(19)?.parse().ok()?))
}

fn parse_record(text: &str) -> Option<Process> {
    let mut words = text.split_whitespace();
    let (pid, start, boot) = (words.next()?, words.next()?, words.next()?);
    Some(Process { pid: pid.parse().ok()?, start: start.parse().ok()?, boot: boot.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_brackets_does_not_confuse() {
        let text = "12 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(parse_stat(text), Some(('S', 4711)));
    }

    #[test]
    fn this_process_runs_and_an_earlier_one_of_the_same_pid_does_not() {
        let me = Process::of(i32::try_from(std::process::id()).expect("a pid")).expect("this process");
        assert!(me.runs());
        assert!(!Process { start: me.start - 1, ..me.clone() }.runs());
        assert!(!Process { boot: "earlier".to_owned(), ..me }.runs());
    }

    #[test]
    fn a_record_is_read_back() {
        let record = parse_record("7 99 abc\n").expect("a record");
        assert_eq!(record, Process { pid: 7, start: 99, boot: "abc".to_owned() });
        assert_eq!(parse_record(""), None);
    }
}
