//! Who asks: a person at a machine, or a daemon; and the clock they go by.

use std::fmt;
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::Typed;
use crate::diag::{Diagnostic, shown};
use crate::lease::{Holder, LeaseId};
use crate::name::{Owner, RunId};

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> jiff::Timestamp + Send + Sync>;

/// Who asks. Hosts show it to whoever finds them locked, and remember it with what was changed.
#[derive(Clone)]
pub struct Identity {
    /// `user@machine`.
    pub who: String,
    /// What was typed, or which daemon it is. Without secrets.
    pub command: String,
    /// The words that were typed, as hints to whoever typed them repeat them. Nobody else is told.
    pub typed: Typed,
    /// The process that holds the locks.
    pub process: Process,
    /// The clock.
    pub clock: Clock,
}

/// A process of a machine, as it is recognized later.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    /// The machine's `/etc/machine-id`; empty if unknown.
    pub machine: String,
    /// Its boot id; empty if unknown.
    pub boot: String,
    /// The process.
    pub pid: u32,
    /// When the process began, in the kernel's ticks since its boot: a pid that is used again has another beginning.
    pub ticks: u64,
    /// The namespaces in which the pid and the ticks mean what they say; empty if unknown.
    pub namespace: String,
}

impl Process {
    /// This process.
    pub fn this() -> Self {
        Self {
            machine: line("/etc/machine-id"),
            boot: line("/proc/sys/kernel/random/boot_id"),
            pid: std::process::id(),
            ticks: ticks("self").unwrap_or_default(),
            namespace: namespace().unwrap_or_default(),
        }
    }
}

impl Identity {
    /// The time, in seconds since 1970.
    pub(super) fn seconds(&self) -> i64 {
        (self.clock)().as_second()
    }

    /// The user of this process, for a command or daemon of this name.
    #[expect(clippy::disallowed_methods, reason = "the clock of this machine, unless another is given")]
    pub fn of_this_process(command: impl Into<String>) -> Self {
        let (command, typed) = (command.into(), Typed::default());
        Self { who: who(), command, typed, process: Process::this(), clock: Arc::new(jiff::Timestamp::now) }
    }

    /// This moment, in RFC 3339 and UTC.
    pub fn now(&self) -> String {
        (self.clock)().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// A name that no run had: when it begins, to a millionth of a second, so that names are in the order of the runs.
    ///
    /// # Errors
    /// When the clock shows a year that fits no name.
    pub fn new_run(&self) -> Result<RunId, Diagnostic> {
        run_at((self.clock)())
    }

    /// What others are told about the holder of a lock.
    pub(super) fn holder(&self, owner: &Owner, run: &RunId) -> Holder {
        let Process { machine, boot, pid, ticks, namespace } = self.process.clone();
        Holder {
            environment: owner.environment.clone(),
            project: owner.project.clone(),
            run: run.clone(),
            who: self.who.clone(),
            command: self.command.clone(),
            machine,
            boot,
            pid,
            ticks,
            namespace,
            since: self.now(),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("who", &self.who).field("command", &self.command).finish_non_exhaustive()
    }
}

/// `user@machine` of this process.
fn who() -> String {
    let uid = nix::unistd::Uid::effective();
    let user = nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
    let machine = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
    shown(&format!("{user}@{}", machine.unwrap_or_else(|_| "unknown".to_owned())))
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

/// Random bytes.
///
/// # Errors
/// When this machine has none.
pub fn random<const N: usize>() -> Result<[u8; N], Diagnostic> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Diagnostic::error(format!("no random numbers available on this machine: {error}")))?;
    Ok(bytes)
}

/// Whether a holder was a process that has certainly ended. That can be known only of one under the same running kernel and
/// in the same namespace of processes: anywhere else its pid may be another process, or none. A machine id says nothing:
/// containers, and machines made from one image, share theirs.
pub(super) fn is_dead(holder: &Holder) -> bool {
    let boot = line("/proc/sys/kernel/random/boot_id");
    let same_kernel = !boot.is_empty() && holder.boot == boot;
    let same_namespace = namespace().is_some_and(|namespace| namespace == holder.namespace);
    same_kernel && same_namespace && has_ended(holder.pid, holder.ticks)
}

/// Whether the process that had this pid and began at this tick has ended. One that /proc hides from us may live.
fn has_ended(pid: u32, began: u64) -> bool {
    let Ok(number) = i32::try_from(pid) else { return false };
    match kill(Pid::from_raw(number), None) {
        Err(Errno::ESRCH) => true,
        _ => ticks(&pid.to_string()).is_some_and(|ticks| ticks != began),
    }
}

/// The namespaces that give pids and ticks their meaning. None where /proc shows another namespace of processes than ours.
fn namespace() -> Option<String> {
    let link = |path: &str| std::fs::read_link(path).map(|to| to.to_string_lossy().into_owned());
    let is_ours = link("/proc/self").is_ok_and(|pid| pid == std::process::id().to_string());
    let processes = link("/proc/self/ns/pid").ok().filter(|_| is_ours)?;
    // Older kernels have none for the time.
    Some(format!("{processes} {}", link("/proc/self/ns/time").unwrap_or_default()))
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
        let environment = Owner::parse("staging@shop-k3fq8w2n7d").expect("an owner");
        let identity = Identity::of_this_process("armilla apply staging");
        let holder = identity.holder(&environment, &identity.new_run().expect("a name"));
        assert!(!is_dead(&holder));
        let other = Holder { ticks: holder.ticks + 1, ..holder.clone() };
        assert!(is_dead(&other), "the pid is used again");
        let ended = Holder { pid: i32::MAX.cast_unsigned(), ..other.clone() };
        assert!(is_dead(&ended));
        for elsewhere in [
            Holder { boot: "other".into(), ..ended.clone() },
            Holder { namespace: "pid:[1] time:[1]".into(), ..ended.clone() },
            Holder { namespace: String::new(), ..ended.clone() },
        ] {
            assert!(!is_dead(&elsewhere), "nothing is known of a process elsewhere: {elsewhere:?}");
        }
    }

    #[test]
    fn a_lock_of_an_earlier_version_is_read() {
        let text = r#"{"environment":"staging","run":"run-1","who":"ada@desk","command":"armilla apply","machine":"m",
            "boot":"b","pid":7,"ticks":8,"since":"2026-01-01T00:00:00Z"}"#;
        let holder: Holder = serde_json::from_str(text).expect("a holder");
        assert!(holder.namespace.is_empty() && !is_dead(&holder));
    }
}
