//! The host program, run for real on this machine, in a directory of its own.
//!
//! In: probes and steps. Out: what the program answers; tests look at what really happened on the disk. Never: anything
//! outside a temporary directory.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command as Process, Stdio};
use std::time::Duration;

use armilla::host::wire::{Answer, Call, Refusal, Request, frame, receive};
use armilla::name::HostName;
use armilla::secret::Content;
use armilla::step::{Command, Fetch, Mode, Outcome, Ownership, Probe, Readings, Step};

/// Names that have broken tools before.
pub(crate) const HOSTILE: [&str; 14] = [
    "plain",
    "two words",
    "it's",
    "say \"hi\"",
    "new\nline",
    "a;b",
    "$(touch pwned)",
    "`touch pwned`",
    "-rf",
    "--",
    "\u{1b}]0;x\u{7}\u{1b}[2J",
    "back\\slash",
    "zażółć ā\u{81}",
    "*?[a]~#!&|<>{}",
];

/// A directory that is gone afterwards.
pub(crate) struct Room(pub(crate) PathBuf);

impl Room {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("armilla-host-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a directory for the test");
        Self(path.canonicalize().expect("its real name"))
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a name in UTF-8").to_owned()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("a readable directory");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The program as armilla starts it on a host. Its environment may be changed.
pub(crate) fn program() -> Process {
    let mut program = Process::new(env!("CARGO_BIN_EXE_armilla-host"));
    program.arg("serve");
    program
}

/// The program, which keeps what it must know about a host in this directory, and temporary files beside it.
pub(crate) fn program_in(room: &Room) -> Process {
    let mut program = program();
    program.env("ARMILLA_HOST_DIR", room.path("kept")).env("TMPDIR", &room.0);
    program
}

/// The program, where `before` is done first by a shell that then becomes it: `ulimit -f 8`.
pub(crate) fn program_after(before: &str) -> Process {
    let mut shell = Process::new("sh");
    shell.args(["-c", &format!("{before}; exec \"$0\" serve"), env!("CARGO_BIN_EXE_armilla-host")]);
    shell
}

/// A request as it travels, to the host `web1`.
pub(crate) fn call(request: Request) -> Vec<u8> {
    let call = Call { host: HostName::new("web1").expect("a name"), requests: vec![request] };
    let frame = frame(&call).expect("a frame");
    [format!("{}\n", frame.len()).into_bytes(), frame].concat()
}

/// Starts a program with these bytes on its standard input.
pub(crate) fn start(mut program: Process, input: Vec<u8>) -> Child {
    program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = program.spawn().expect("the host program starts");
    let mut stdin = child.stdin.take().expect("its input");
    std::thread::spawn(move || stdin.write_all(&input));
    child
}

/// All answers to a request.
pub(crate) fn ask(program: Process, request: Request) -> Vec<Answer> {
    let output = start(program, call(request)).wait_with_output().expect("it ends");
    let (mut rest, mut answers) = (output.stdout.as_slice(), Vec::new());
    while let Some(answer) = receive(&mut rest).expect("an answer") {
        answers.push(answer);
    }
    assert_eq!(answers.pop(), Some(Answer::Over), "the answer ends early");
    answers
}

pub(crate) fn read_by(program: Process, probes: &[Probe]) -> Readings {
    let request = Request::Read { probes: probes.to_vec(), budget: Duration::from_secs(50) };
    let mut readings = Readings::default();
    for answer in ask(program, request) {
        match answer {
            Answer::Reading(number, reading) => readings.insert(probes[number as usize].clone(), reading),
            other => panic!("{other:?}"),
        }
    }
    readings
}

pub(crate) fn read(probes: &[Probe]) -> Readings {
    read_by(program(), probes)
}

/// All that is answered to an order without a ticket.
pub(crate) fn order(program: Process, steps: &[Step]) -> Vec<Answer> {
    ask(program, Request::Perform { steps: steps.to_vec(), ticket: None, crash_at: None })
}

/// How its steps ended, or why it was refused.
pub(crate) fn outcomes(answers: &[Answer]) -> Result<Vec<Outcome>, Refusal> {
    let mut outcomes = Vec::new();
    for answer in answers {
        match answer {
            Answer::Ended { outcome, .. } => outcomes.push(outcome.clone()),
            Answer::Refused(why) => return Err(why.clone()),
            _ => {}
        }
    }
    Ok(outcomes)
}

pub(crate) fn perform_by(program: Process, steps: &[Step]) -> Vec<Outcome> {
    outcomes(&order(program, steps)).unwrap_or_else(|why| panic!("{why:?}"))
}

pub(crate) fn perform(steps: &[Step]) -> Vec<Outcome> {
    perform_by(program(), steps)
}

pub(crate) fn path(path: &str, content: Fetch) -> Probe {
    Probe::Path { path: path.to_owned(), content }
}

pub(crate) fn write(path: &str, content: &[u8]) -> Step {
    Step::WriteFile {
        path: path.to_owned(),
        content: Content::Plain(content.to_vec()),
        ownership: Ownership { mode: Some(Mode(0o640)), ..Ownership::default() },
    }
}

/// A web server with one answer.
pub(crate) fn serve(answer: &'static str) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    port
}

pub(crate) fn sh(script: &str) -> Command {
    Command::new(["sh", "-c", script])
}

pub(crate) fn failure(outcome: &Outcome) -> (i32, &str) {
    match outcome {
        Outcome::Failed { exit, stderr } => (*exit, stderr),
        other => panic!("{other:?} did not fail"),
    }
}

/// Ends processes at once.
pub(crate) fn kill_all(processes: &[i32]) {
    for process in processes {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(*process), nix::sys::signal::Signal::SIGKILL);
    }
}
