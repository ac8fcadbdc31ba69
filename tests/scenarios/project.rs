//! Projects of stories, and armilla run on them. In come files and arguments, out go exit codes and texts.

use std::cell::Cell;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::house::{ARMILLA, House};

/// All stories are one project, so that what one leaves on a host is in no other's way.
const IDENTITY: &str = "project: lab-2222222222\n";

/// No run takes longer, not even one that waits for what never comes and puts everything back.
const LONG: Duration = Duration::from_secs(600);

/// A project folder below `target/tmp`; it stays there for a look after a failure.
pub(crate) struct Project<'a> {
    house: &'a House,
    folder: PathBuf,
    runs: Cell<usize>,
}

impl<'a> Project<'a> {
    /// An empty one.
    pub(crate) fn new(house: &'a House, name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("lab-{}", house.number())).join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).expect("the folder of an earlier run goes");
        }
        fs::create_dir_all(folder.join("runs")).expect("a folder for the project");
        fs::write(folder.join("armilla.yml"), IDENTITY).expect("a file of the project");
        Self { house, folder, runs: Cell::new(0) }
    }

    /// Where it is.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.folder.join(below)
    }

    /// Writes a file of it.
    pub(crate) fn file(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.folder.join(path);
        fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("its folder");
        fs::write(path, content).expect("a file of the project");
        self
    }

    /// The same, after something was done with it.
    pub(crate) fn tap(self, with: &dyn Fn(&Self)) -> Self {
        with(&self);
        self
    }

    /// The environment `lab` with these hosts in the group `all_hosts`.
    pub(crate) fn hosts(&self, hosts: &[&str]) -> &Self {
        self.file("inventories/lab/hosts.yml", format!("groups:\n  all_hosts: {{ hosts: [{}] }}\n", hosts.join(", ")))
    }

    /// One role on these hosts, and nothing else.
    pub(crate) fn only(&self, hosts: &[&str], role: &str) -> &Self {
        self.hosts(hosts)
            .file("site.yml", "services:\n  only: { hosts: all_hosts }\n")
            .file("roles/only/role.yml", role)
    }

    /// Starts armilla with these arguments, in a process group of its own.
    pub(crate) fn start(&self, arguments: &[&str]) -> Started {
        self.start_as(&[ARMILLA], arguments)
    }

    /// Starts armilla by another program. The project and the lab come from the environment.
    pub(crate) fn start_as(&self, program: &[&str], arguments: &[&str]) -> Started {
        let number = self.runs.get() + 1;
        self.runs.set(number);
        let (out, err) = (self.path(&format!("runs/{number}.out")), self.path(&format!("runs/{number}.err")));
        #[expect(clippy::disallowed_methods, reason = "stories run the program as a user does")]
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).args(arguments).envs(self.house.environment());
        command.env("ARMILLA_PROJECT", &self.folder).env("NO_COLOR", "1").env_remove("RUST_BACKTRACE");
        command.env("ARMILLA_STATE_DIR", self.path("state"));
        command.stdin(Stdio::piped()).stdout(File::create(&out).expect("a file for its output"));
        command.stderr(File::create(&err).expect("a file for its talk")).current_dir("/").process_group(0);
        let child = command.spawn().expect("armilla starts");
        Started { child, typed: arguments.join(" "), out, err }
    }

    /// Runs armilla with these arguments.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        let mut started = self.start(arguments);
        drop(started.child.stdin.take());
        started.wait()
    }

    /// Plans for the lab hosts.
    pub(crate) fn plan(&self, more: &[&str]) -> Run {
        self.run(&[&["plan", "lab", "--lab"], more].concat())
    }

    /// Applies to the lab hosts without asking.
    pub(crate) fn apply(&self, more: &[&str]) -> Run {
        self.run(&[&["apply", "lab", "--lab", "-y"], more].concat())
    }

    /// Types what a run suggests after these words, without being asked.
    pub(crate) fn suggested(&self, run: &Run, after: &str) -> Run {
        let said = run.said();
        let (_, rest) = said.split_once(after).unwrap_or_else(|| panic!("it does not say `{after}`\n{run}"));
        let line = rest.trim_start().lines().next().unwrap_or_default();
        let words = line.strip_prefix("armilla ").unwrap_or_else(|| panic!("`{line}` is no command of armilla\n{run}"));
        let mut words: Vec<&str> = words.split_whitespace().map(|word| word.trim_matches('\'')).collect();
        words.extend((words.first() == Some(&"apply") && !words.contains(&"-y")).then_some("-y"));
        self.run(&words)
    }

    /// Applies, and finds nothing left to do.
    pub(crate) fn converges(&self) -> Run {
        let run = self.apply(&[]).ends(0);
        self.is_empty();
        run
    }

    /// A plan finds nothing to do.
    pub(crate) fn is_empty(&self) {
        self.plan(&["--detailed-exitcode"]).ends(0);
    }
}

/// An armilla that runs.
pub(crate) struct Started {
    pub(crate) child: Child,
    typed: String,
    out: PathBuf,
    err: PathBuf,
}

impl Started {
    /// All it said so far, in both streams.
    pub(crate) fn said(&self) -> String {
        text(&self.out) + &text(&self.err)
    }

    /// Whether it runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().expect("its state").is_none()
    }

    /// What Ctrl-C in a terminal does: a signal to it and all it started.
    pub(crate) fn ctrl_c(&self) {
        self.signal(Signal::SIGINT);
    }

    /// A signal to it and all it started.
    pub(crate) fn signal(&self, signal: Signal) {
        killpg(self.group(), signal).expect("it hears the signal");
    }

    fn group(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"))
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Run {
        let end = Instant::now() + LONG;
        while self.runs() {
            assert!(Instant::now() < end, "`armilla {}` did not end. It said:\n{}", self.typed, self.said());
            sleep(Duration::from_millis(20));
        }
        let status = self.child.wait().expect("its status");
        Run { code: status.code(), typed: self.typed.clone(), out: text(&self.out), err: text(&self.err) }
    }
}

/// What a story that failed left running must not work on the hosts of the next.
impl Drop for Started {
    fn drop(&mut self) {
        if self.runs() {
            let _ = killpg(self.group(), Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).expect("what it said")).into_owned()
}

/// How an armilla ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    typed: String,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    /// It must have ended with this code.
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "\n{self}");
        self
    }

    /// It must have said this, with any white space and line breaks between words.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words(&self.said()).contains(&words(text)), "it does not say `{text}`\n{self}");
        self
    }

    /// It must not have said this anywhere.
    #[track_caller]
    pub(crate) fn keeps(self, text: &str) -> Self {
        assert!(!self.said().contains(text), "it says `{}`\n{self}", text.escape_debug());
        self
    }

    /// All it said, in both streams.
    pub(crate) fn said(&self) -> String {
        format!("{}\n{}", self.out, self.err)
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { code, typed, out, err } = self;
        write!(f, "$ armilla {typed}    ended with {code:?}\n--- stdout\n{out}--- stderr\n{err}---")
    }
}
