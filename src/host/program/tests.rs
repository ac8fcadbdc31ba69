//! Real programs of this machine, started by this test's own program as the host program starts them.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Instant;

use nix::unistd::{close, dup2_stderr, dup2_stdout};
use tempfile::TempDir;

use super::*;
use crate::secret::Content;
use crate::step::{Alternative, Outcome, Retry};

/// More than anything here takes on a machine that is busy, and less than what would be too long.
pub(in crate::host) const NOT_HELD_UP: Duration = Duration::from_secs(120);

/// Names that have broken tools before.
const HOSTILE: [&str; 10] = [
    "two words",
    "it's",
    "say \"hi\"",
    "new\nline",
    "$(touch pwned)",
    "`x`",
    "--",
    "-rf",
    "back\\slash",
    "zażółć *?[a]~#!&|<>{}",
];

/// Programs as they are started here.
pub(in crate::host) struct Stage {
    folder: TempDir,
    starter: PathBuf,
    pub(in crate::host) environment: BTreeMap<OsString, OsString>,
}

/// The streams and the words for the test `starter`, out of the way of what the test runner says and reads.
const WRAPPER: &str = r#"#!/bin/sh
printf '%s\0' "$@" >"$0.$$"
exec 3>&1 4>&2 5<"$0.$$" >/dev/null 2>&1
rm -f "$0.$$"
exec 'PROGRAM' --exact host::program::tests::starter --ignored --nocapture --test-threads=1
"#;

// What the test `starter` finds.
const OUT: RawFd = 3;
const ERR: RawFd = 4;
const WORDS: RawFd = 5;

impl Stage {
    pub(in crate::host) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("armilla-programs-").tempdir().expect("a directory");
        // Other users have to come by.
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
        let starter = folder.path().join("starter");
        // They may not come by where it lies.
        let (own, program) = (std::env::current_exe().expect("this program"), folder.path().join("program"));
        fs::hard_link(&own, &program).or_else(|_| fs::copy(&own, &program).map(drop)).expect("a name for it");
        let text = WRAPPER.replace("PROGRAM", program.to_str().expect("a name in UTF-8"));
        // Written by another process: a file that a child of a test beside us holds open for writing cannot be run.
        let mut writer = std::process::Command::new("sh");
        writer.args(["-c", "cat >\"$0\" && chmod 755 \"$0\""]).arg(&starter).stdin(Stdio::piped());
        let mut writer = writer.spawn().expect("sh");
        writer.stdin.take().expect("its input").write_all(text.as_bytes()).expect("it reads");
        assert!(writer.wait().expect("it ends").success());
        let ours = [("HOME", "/root"), ("http_proxy", ""), ("SECRET", "x"), ("LD_PRELOAD", "x"), ("PATH", "/nowhere")];
        Self { folder, starter, environment: environment(ours.map(|(name, value)| (name.into(), value.into()))) }
    }

    pub(in crate::host) fn programs(&self) -> Programs<'_> {
        Programs { starter: &self.starter, environment: &self.environment, person: &person, running: &unwatched }
    }

    pub(in crate::host) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("a name in UTF-8").to_owned()
    }

    /// A directory of its own in which these programs are, and no other.
    pub(in crate::host) fn only(&mut self, programs: &[&str]) {
        let folder = self.folder.path().join("only");
        fs::create_dir(&folder).expect("a directory");
        for program in programs {
            let real = self.programs().find(program).expect("this machine has it");
            std::os::unix::fs::symlink(real, folder.join(program)).expect("a link");
        }
        self.environment.insert("PATH".into(), folder.into());
    }

    fn run(&self, command: &Command) -> Ended {
        self.programs().run(command, &Limits::step(command), &mut undisturbed).expect("it starts")
    }

    fn said(&self, script: &str) -> String {
        let ended = self.run(&sh(script));
        assert_eq!((ended.exit, ended.complaint()), (0, ended.output()), "{script}");
        ended.output()
    }

    pub(in crate::host) fn perform(&self, command: &Command) -> Result {
        perform(&self.programs(), command, &mut |_| true)
    }
}

fn person(name: &str) -> Result<Person> {
    let user = nix::unistd::User::from_name(name).ok().flatten();
    let user = user.ok_or_else(|| Failure::new(format!("there is no user {name}")))?;
    let groups = nix::unistd::getgrouplist(&std::ffi::CString::new(name).expect("a name"), user.gid).expect("groups");
    let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
    let identity = Identity { uid, gid, groups: groups.into_iter().map(nix::unistd::Gid::as_raw).collect() };
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    Ok(Person { identity, home: text(user.dir), shell: text(user.shell) })
}

pub(in crate::host) fn sh(script: &str) -> Command {
    Command::new(["sh", "-c", script])
}

fn within(command: Command, seconds: u64) -> Command {
    command.within(Duration::from_secs(seconds))
}

/// Not a test: what [`Stage`] starts in the place of the host program.
#[test]
#[ignore = "becomes another program for the tests beside it"]
fn starter() {
    let stream = |number: RawFd| PathBuf::from(format!("/proc/self/fd/{number}"));
    let is_ours = fs::read_link(stream(WORDS)).is_ok_and(|file| file.to_string_lossy().contains("/armilla-programs-"));
    if !is_ours {
        return;
    }
    let words = fs::read(stream(WORDS)).expect("its words");
    let words = words.strip_suffix(b"\0").unwrap_or_default().split(|byte| *byte == 0).skip(1);
    let words: Vec<OsString> = words.map(|word| OsStr::from_bytes(word).to_owned()).collect();
    let open = |number: RawFd| File::options().write(true).open(stream(number)).expect("a stream");
    dup2_stdout(open(OUT)).expect("its output");
    dup2_stderr(open(ERR)).expect("its complaints");
    for number in [OUT, ERR, WORDS] {
        close(number).expect("it is open");
    }
    let failure = become_and_exec(words);
    let _ = writeln!(std::io::stderr(), "{failure}");
    #[expect(clippy::exit, reason = "as the main of the host program ends")]
    std::process::exit(failure.exit);
}

#[test]
fn arguments_input_directory_and_umask_are_exact() {
    let stage = Stage::new();
    let mut exact = Command::new(["printf", "[%s]"]);
    exact.argv.extend(HOSTILE.map(str::to_owned));
    assert_eq!(stage.run(&exact).output(), format!("[{}]", HOSTILE.join("][")));
    let mut cat = Command::new(["cat"]);
    cat.stdin = Content::Plain(b"a\0b\n\n%s\\".to_vec());
    assert_eq!(stage.run(&cat).stdout.bytes(), b"a\0b\n\n%s\\");
    let mut place = sh("pwd; echo \"$WORD\"; umask").with("WORD", "it's\n$HOME");
    assert_eq!(stage.run(&place).output(), "/\nit's\n$HOME\n0022");
    place.directory = Some("/usr".to_owned());
    assert_eq!(stage.run(&place).output(), "/usr\nit's\n$HOME\n0022");
    let ended = stage.run(&sh("echo out; echo err >&2; exit 7"));
    assert_eq!((ended.exit, ended.output(), ended.complaint()), (7, "out".to_owned(), "err".to_owned()));
    assert_eq!(ended.cause, Cause::Itself);
    assert_eq!(stage.run(&sh("kill -KILL $$")).exit, 137);
}

#[test]
fn a_program_is_given_a_file_that_has_no_name_and_is_left_nowhere() {
    let stage = Stage::new();
    let script = "cat\nprintf '%s|' \"$0\" \"$@\"\n[ -t 0 ] || echo \"$(ls /proc/self/fd | wc -l)\"\n";
    let mut command = Command::new(["sh", Command::FILE, "read", "it's"]);
    command.file = Some(Content::from(script));
    command.stdin = Content::from("values\n");
    let told = stage.run(&command);
    let (values, rest) = told.output().split_once('\n').map(|(a, b)| (a.to_owned(), b.to_owned())).expect("two lines");
    assert_eq!(values, "values", "{told:?}");
    assert!(rest.starts_with("/proc/self/fd/3|read|it's|"), "{rest}");
    // Larger than any pipe, to be read again and again, and only to be read.
    let large = Content::Plain((0..=255).cycle().take(3 << 20).collect());
    let twice = format!("cat {0} {0} | cksum; : 2>/dev/null >>/proc/self/fd/3 || exit 3", Command::FILE);
    let mut reading = Command { file: Some(large.clone()), ..sh(&twice) };
    let mut two = sh("cksum");
    two.stdin = Content::Plain([large.bytes(), large.bytes()].concat());
    assert_eq!(stage.run(&reading).output(), stage.run(&two).output());
    // Nobody else has it, and a program without a file finds none.
    reading.file = None;
    assert!(stage.run(&reading).complaint().contains("No such file"));
    assert_eq!(stage.said("ls /proc/self/fd | tr '\\n' ' '"), "0 1 2 3", "the last one is the list itself");
}

#[test]
fn several_programs_have_files_of_their_own() {
    let stage = Stage::new();
    let said = |number: usize| {
        let text = format!("file {number}");
        let cat = Command { file: Some(Content::from(text.as_str())), ..Command::new(["cat", Command::FILE]) };
        (stage.run(&cat).output(), text)
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|number| scope.spawn(move || said(number))).collect();
        for one in all {
            let (said, text) = one.join().expect("an answer");
            assert_eq!(said, text);
        }
    });
}

#[test]
#[ignore = "becomes another user; run as root with --ignored"]
fn another_user_reads_her_file() {
    let stage = Stage::new();
    let file = Some(Content::Secret(crate::secret::Secret::new(b"id -un\ncat /proc/self/fd/3 | wc -l".to_vec())));
    let nobody = Some("nobody".to_owned());
    let read = Command { file, user: nobody, ..Command::new(["sh", Command::FILE]) };
    assert_eq!(stage.run(&read).output(), "nobody\n1");
}

#[test]
fn what_cannot_be_started_says_so() {
    let stage = Stage::new();
    let missing = stage.run(&Command::new(["no-such-program"]));
    let why = "cannot run `no-such-program`: No such file or directory";
    assert_eq!((missing.exit, missing.complaint().as_str()), (127, why));
    fs::write(stage.path("data"), "text").expect("a file");
    let unable = stage.run(&Command::new([stage.path("data")]));
    assert_eq!(unable.exit, 126);
    assert!(unable.complaint().ends_with("Permission denied"), "{unable:?}");
    let nowhere = stage.run(&Command { directory: Some("/no/such".to_owned()), ..sh("touch pwned") });
    assert_eq!((nowhere.exit, nowhere.complaint().as_str()), (126, "cannot enter /no/such: No such file or directory"));
    let refused = [
        Command::new(Vec::<String>::new()),
        Command::new([""]),
        Command::new(["-c"]),
        Command::new(["echo", "a\0b"]),
        sh(":").with("1", "x"),
        sh(":").with("A=B", "x"),
        sh(":").with("A", "\0"),
        Command { directory: Some("tmp".to_owned()), ..sh(":") },
        Command { user: Some("-x".to_owned()), ..sh(":") },
        Command { user: Some("no-such-user".to_owned()), ..sh(":") },
    ];
    for command in refused {
        let failed = stage.perform(&command).expect_err("it is refused");
        assert_eq!(failed.exit, 1, "{command:?}: {failed}");
    }
}

#[test]
fn the_environment_is_clean() {
    let stage = Stage::new();
    let environment = |command: Command| {
        let output = stage.run(&command).output();
        // The shell before our starter adds where it is.
        let mut lines: Vec<&str> = output.lines().filter(|line| !line.starts_with("PWD=")).collect();
        lines.sort_unstable();
        lines.join(" ")
    };
    let given = environment(Command::new(["env"]).with("GIVEN", "a=b c"));
    assert_eq!(given, format!("GIVEN=a=b c HOME=/root LC_ALL=C PATH={PATH} http_proxy="));
    let given = environment(Command::new(["env"]).with("PATH", "/usr/bin").with("HOME", "/x"));
    assert_eq!(given, "HOME=/x LC_ALL=C PATH=/usr/bin http_proxy=");
    let lost = stage.run(&Command::new(["env"]).with("PATH", "/nowhere"));
    assert_eq!(lost.exit, 127, "it is found by the variable it is given");
}

#[test]
fn it_holds_nothing_but_its_three_streams_and_ignores_no_signal() {
    let stage = Stage::new();
    let _held = File::open("/etc/passwd").expect("a file");
    // The fourth is what `ls` reads the directory by.
    assert_eq!(stage.run(&Command::new(["ls", "/proc/self/fd"])).output(), "0\n1\n2\n3");
    let status = stage.said("grep -E '^Sig(Ign|Blk):' /proc/self/status");
    let masks: Vec<&str> =
        status.split_whitespace().filter(|word| word.chars().all(|c| c.is_ascii_hexdigit())).collect();
    assert_eq!(masks.len(), 2, "{status}");
    let of_pipe = 1_u64 << 12;
    let ignored = u64::from_str_radix(masks[1], 16).expect("a mask");
    assert_eq!((masks[0], ignored & of_pipe), ("0000000000000000", 0), "{status}");
}

#[test]
fn there_is_no_terminal() {
    let stage = Stage::new();
    // Number of the session, of the group, and the terminal.
    let place = stage.said("read -r me _ _ _ group session terminal _ </proc/self/stat; echo $(($$ == group)) $(($$ == session)) $terminal");
    assert_eq!(place, "1 1 0");
    let reads = "exec 3</dev/tty && echo terminal";
    let ended = stage.run(&sh(reads));
    assert_ne!(ended.exit, 0);
    assert!(ended.complaint().contains("No such device or address"), "{}", ended.complaint());
    // Where whoever starts it has one.
    let starter = stage.programs().starter.to_str().expect("a name in UTF-8").to_owned();
    let with = |line: &str| {
        let output =
            std::process::Command::new("script").args(["-qec", line, "/dev/null"]).stdin(Stdio::null()).output();
        String::from_utf8_lossy(&output.expect("script").stdout).into_owned()
    };
    assert!(with(&format!("sh -c '{reads}'; :")).contains("terminal\r\n"), "there is one to lose");
    let without = with(&format!("{starter} exec / - - sh -c '{reads}'; :"));
    assert!(without.contains("No such device or address") && !without.contains("terminal\r"), "{without}");
}

#[test]
fn endless_output_is_bounded_and_its_head_and_tail_are_kept() {
    let stage = Stage::new();
    let ended = stage.run(&within(Command::new(["yes"]), 3));
    assert_eq!((ended.exit, ended.cause), (OVERDUE, Cause::Overdue));
    assert!(ended.stdout.total() > 4 << 20, "only {} bytes", ended.stdout.total());
    assert!(ended.stdout.bytes().len() < (1 << 20) + 100);
    let numbers = stage.run(&sh("seq 1 300000; seq 300001 600000 >&2; exit 3"));
    let (out, err) = (numbers.output(), numbers.complaint());
    assert!(out.starts_with("1\n2\n") && out.ends_with("\n300000"), "{} bytes", out.len());
    assert!(out.contains("bytes left out") && numbers.stdout.left_out() > 0);
    assert!(err.ends_with("\n600000") && err.len() <= COMPLAINT && err.len() > COMPLAINT - 16);
    let question = stage.programs().ask(&sh("head -c 1000000 /dev/zero; exit 3"), NOT_HELD_UP);
    let Reading::Command(answer) = question else { panic!("{question:?}") };
    assert_eq!((answer.exit, answer.stdout.len()), (3, 262_144), "it meets no broken pipe");
}

#[test]
fn input_and_output_of_any_size_pass_at_once() {
    let stage = Stage::new();
    let much = Content::Plain(vec![b'x'; 8 << 20]);
    let mut cat = Command { stdin: much.clone(), ..Command::new(["cat"]) };
    assert_eq!(stage.run(&cat).stdout.total(), 8 << 20);
    cat = Command { stdin: much, ..sh("head -c 3; exit 5") };
    let ended = stage.run(&cat);
    assert_eq!((ended.exit, ended.output().as_str()), (5, "xxx"), "it need not read all");
}

#[test]
fn a_program_that_takes_too_long_is_ended_with_all_it_started() {
    let stage = Stage::new();
    let began = Instant::now();
    let command = within(sh("sleep 600 & echo $! >\"$FILE\"; echo so far; sleep 600"), 3);
    let ended = stage.run(&command.with("FILE", &stage.path("pid")));
    assert_eq!((ended.exit, ended.output().as_str()), (OVERDUE, "so far"));
    assert!(!ended.is_held && began.elapsed() < NOT_HELD_UP);
    let pid = fs::read_to_string(stage.path("pid")).expect("its number");
    assert!(!is_running(pid.trim()), "{pid}");
    let failure = stage.perform(&within(sh("echo why >&2; sleep 600"), 3)).expect_err("it is too slow");
    assert_eq!(failure, Failure { exit: 124, why: "why\nit took longer than 3 s and was ended".to_owned() });
}

fn is_running(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}

#[test]
fn who_does_not_end_when_asked_to_is_killed_and_who_does_has_time() {
    let stage = Stage::new();
    let began = Instant::now();
    let stubborn = "trap '' TERM; (while :; do sleep 1; done) & echo $! >\"$FILE\"; while :; do sleep 1; done";
    let ended = stage.run(&within(sh(stubborn), 3).with("FILE", &stage.path("pid")));
    assert_eq!(ended.exit, OVERDUE);
    assert!(began.elapsed() >= Duration::from_secs(8) && began.elapsed() < NOT_HELD_UP, "{:?}", began.elapsed());
    assert!(!is_running(fs::read_to_string(stage.path("pid")).expect("its number").trim()));
    // The first ends at once; what it started tidies up.
    let tidies = "sh -c 'trap \"sleep 1; touch \\\"$FILE\\\"; exit\" TERM; while :; do sleep 0.1; done' & wait";
    stage.run(&within(sh(tidies), 3).with("FILE", &stage.path("tidied")));
    assert!(Path::new(&stage.path("tidied")).exists());
}

#[test]
fn a_daemon_holds_nothing_and_meets_no_broken_pipe() {
    let stage = Stage::new();
    let began = Instant::now();
    let daemon = "(trap '' HUP; sleep 1; echo out && echo err >&2 && touch \"$FILE\"; sleep 30; touch \"$FILE.over\") & echo started";
    stage.perform(&sh(daemon).with("FILE", &stage.path("alive"))).expect("it starts a daemon");
    assert!(!Path::new(&stage.path("alive.over")).exists(), "it waits for nothing");
    while !Path::new(&stage.path("alive")).exists() {
        assert!(began.elapsed() < NOT_HELD_UP, "the daemon was ended by a broken pipe");
        std::thread::sleep(Duration::from_millis(50));
    }
    let ended = stage.run(&sh("setsid sleep 20 & echo all of it"));
    assert_eq!((ended.output().as_str(), ended.is_held), ("all of it", true));
    // Not before the daemon has let go of the outputs.
    let quiet = "setsid sh -c 'exec >/dev/null 2>&1; touch \"$FILE\"; sleep 20' & until [ -e \"$FILE\" ]; do sleep 0.1; done; echo all of it";
    let ended = stage.run(&sh(quiet).with("FILE", &stage.path("quiet")));
    assert_eq!((ended.output().as_str(), ended.is_held), ("all of it", false));
}

#[test]
fn a_question_waits_for_what_may_still_be_said_and_does_not_guess() {
    let stage = Stage::new();
    let ask = |command: Command| stage.programs().ask(&command, NOT_HELD_UP);
    let Reading::Command(late) = ask(within(sh("(sleep 1; echo late) & echo now"), 30)) else { panic!("it answers") };
    assert_eq!(late.stdout, b"now\nlate\n");
    let held = ask(within(sh("setsid sleep 20 & echo started"), 4));
    assert!(matches!(&held, Reading::Failed(why) if why.contains("holds its output")), "{held:?}");
    let none = stage.programs().ask(&sh("touch pwned"), Duration::ZERO);
    assert_eq!(none, Reading::Failed("no time was left for it".to_owned()));
    let Reading::Command(slow) = stage.programs().ask(&Command::new(["sleep", "600"]), Duration::from_secs(1)) else {
        panic!("it answers")
    };
    assert_eq!(slow.exit, OVERDUE, "no longer than there is time");
}

#[test]
fn whoever_listens_hears_everything_at_once_and_may_break_off() {
    let stage = Stage::new();
    let (heard, began) = (RefCell::new(Vec::new()), Instant::now());
    let command = sh("echo one; sleep 2; echo two >&2; sleep 600");
    let mut watch = |word: Heard<'_>| {
        let mut heard = heard.borrow_mut();
        match word {
            Heard::Stdout(bytes) => heard.push(format!("out {}", String::from_utf8_lossy(bytes))),
            Heard::Stderr(bytes) => heard.push(format!("err {}", String::from_utf8_lossy(bytes))),
            Heard::Beat => heard.push("beat".to_owned()),
        }
        if word == Heard::Stderr(b"two\n") { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let ended = stage.programs().run(&command, &Limits::step(&command), &mut watch).expect("it starts");
    assert_eq!((ended.cause, ended.exit), (Cause::Stopped, 143));
    assert!(began.elapsed() < NOT_HELD_UP);
    let heard = heard.into_inner();
    assert!(heard.first().is_some_and(|first| first == "out one\n") && heard.contains(&"beat".to_owned()), "{heard:?}");
}

#[test]
fn a_program_is_tried_again_and_each_failed_try_is_told() {
    let stage = Stage::new();
    let count = stage.path("tries");
    let again = |times, delay| Some(Retry { times, delay: Duration::from_millis(delay) });
    let third = sh(&format!("echo x >>'{count}'; n=$(wc -l <'{count}'); echo; echo \"no $n\" >&2; [ $n -ge 3 ]"));
    let tried = |command: &Command| {
        let mut told = Vec::new();
        let ended = perform(&stage.programs(), command, &mut |words| {
            told.extend(Some(words.to_owned()).filter(|words| !words.is_empty()));
            true
        });
        (ended, told)
    };
    let (ended, told) = tried(&Command { retry: again(4, 10), ..third.clone() });
    assert_eq!(ended, Ok(()));
    assert_eq!(told, ["try 1 of 5 failed with exit code 1: no 1", "try 2 of 5 failed with exit code 1: no 2"]);
    fs::remove_file(&count).expect("it was made");
    let began = Instant::now();
    let (ended, told) = tried(&Command { retry: again(1, 600), ..third.clone() });
    assert_eq!(ended.expect_err("twice is not enough").why, "no 2\nit was tried 2 times");
    assert!(told.len() == 1 && began.elapsed() >= Duration::from_millis(600), "{told:?}");
    let once = sh("exit 3");
    assert_eq!(tried(&once), (Err(Failure { exit: 3, why: String::new() }), Vec::new()));
    // The guard is asked once, before the first try.
    fs::remove_file(&count).expect("it was made");
    let (command, guard) = (Command { retry: again(4, 10), ..third }, sh(&format!("[ -e '{count}' ]")));
    assert_eq!(perform_unless(&stage.programs(), (&command, &guard), &mut |_| true), Ok(Outcome::Done));
}

#[test]
fn what_nobody_waits_for_is_not_tried_again() {
    let stage = Stage::new();
    let retry = Some(Retry { times: 9, delay: Duration::from_secs(600) });
    let (mut asked, began) = (0, Instant::now());
    let ended = perform(&stage.programs(), &Command { retry, ..sh("exit 1") }, &mut |_| {
        asked += 1;
        asked < 3
    });
    assert!(ended.is_err_and(|failure| failure.why.contains("nobody")) && asked == 3);
    assert!(began.elapsed() < NOT_HELD_UP);
}

#[test]
fn a_guarded_step_runs_only_when_it_is_needed() {
    let stage = Stage::new();
    let made = Command::new(["touch", &stage.path("made")]);
    let guarded = |guard: &str| perform_unless(&stage.programs(), (&made, &within(sh(guard), 4)), &mut |_| true);
    assert_eq!(guarded("echo text; exit 0"), Ok(Outcome::NotNeeded));
    let why = guarded("echo hm; sleep 600").expect_err("it does not answer").why;
    assert_eq!(why, "the guard did not answer within 4 s: hm");
    assert!(!Path::new(&stage.path("made")).exists());
    assert_eq!(guarded("exit 124"), Ok(Outcome::Done), "an answer like any other");
    assert!(Path::new(&stage.path("made")).exists());
}

#[test]
fn what_a_program_cannot_do_another_does_as_its_exit_code_says() {
    let stage = Stage::new();
    let either = |first: &str, second: &str| {
        let last = Command::new(["touch", &stage.path("last")]);
        let second = Alternative { after: 9, command: sh(second) };
        let alternatives = [second, Alternative { after: 6, command: last }];
        perform_or(&stage.programs(), &within(sh(first), 4), &alternatives)
            .map_err(|failure| (failure.exit, failure.why))
    };
    assert_eq!(either("echo text", "exit 6"), Ok(()));
    assert_eq!(either("exit 6", "exit 6").expect_err("it fails").0, 6);
    assert_eq!(either("exit 9", "echo why; exit 9"), Err((9, "why".to_owned())));
    assert_eq!(either("sleep 600", "exit 6").expect_err("it is too slow").0, 124);
    assert_eq!(either("echo no; exit 9", "exit 0"), Ok(()));
    assert!(!Path::new(&stage.path("last")).exists());
    assert_eq!(either("echo no; exit 9", "echo nor here; exit 6"), Ok(()));
    assert!(Path::new(&stage.path("last")).exists());
}

#[test]
#[ignore = "needs root: becomes another user"]
fn a_program_can_run_as_another_user() {
    let stage = Stage::new();
    let nobody = |command: Command| Command { user: Some("nobody".to_owned()), ..command };
    let who = stage.run(&nobody(sh("id -un; id -Gn; echo $HOME $USER $LOGNAME; umask")));
    assert_eq!(who.output(), "nobody\nnogroup\n/nonexistent nobody nobody\n0022", "{who:?}");
    // All four numbers: nothing is left to go back to.
    let numbers = stage.run(&nobody(sh("grep -E '^([UG]id|Groups|CapEff)' /proc/self/status | tr -d '\\t '")));
    let expected = "Uid:65534655346553465534\nGid:65534655346553465534\nGroups:65534\nCapEff:0000000000000000";
    assert_eq!(numbers.output(), expected);
    let streams = stage.run(&nobody(sh("cat /dev/stdin >/dev/stdout; echo err >/dev/stderr")));
    assert_eq!((streams.exit, streams.complaint().as_str()), (0, "err"), "the pipes are its own");
    let mut inside = nobody(sh("pwd"));
    inside.directory = Some("/root".to_owned());
    assert_eq!(stage.run(&inside).output(), "/root", "where its user could not go by itself");
    let exact = stage.run(&nobody(Command::new(["printf", "%s|", "it's", "-x"])));
    assert_eq!(exact.output(), "it's|-x|");
    let slow = stage.run(&within(nobody(Command::new(["sleep", "600"])), 1));
    assert_eq!(slow.exit, OVERDUE);
}

#[test]
#[ignore = "needs root: becomes another user, who may not become a third"]
fn who_is_not_root_becomes_nobody_else() {
    let stage = Stage::new();
    let starter = stage.programs().starter.to_str().expect("a name in UTF-8").to_owned();
    fs::set_permissions(stage.folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("a mode");
    // Who leads a group cannot begin a session; `sh` has it as a child.
    let mut third = sh(&format!("{starter} exec / 1:1:1 - id; exit $?"));
    third.user = Some("nobody".to_owned());
    let ended = stage.run(&third);
    let why = "cannot take the groups of another user: Operation not permitted";
    assert_eq!((ended.exit, ended.complaint().as_str()), (126, why));
}
