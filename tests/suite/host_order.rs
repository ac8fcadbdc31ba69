//! Orders as the host program carries them out: what it says meanwhile, and what it does when the connection ends.
//!
//! In: orders, whole and cut off. Out: what is done of them. Never: anything outside a temporary directory.

use std::time::{Duration, Instant};

use armilla::host::wire::{Answer, Request};
use armilla::secret::Content;
use armilla::step::{Command, Fetch, Outcome, PathReading, Probe, Step};
use proptest::prelude::*;

use crate::host::{Room, call, failure, order, outcomes, path, perform, program, read, sh, start, write};
use crate::waiting::NOT_HELD_UP;

#[test]
fn f07_a_script_that_does_not_arrive_whole_does_nothing() {
    let room = Room::new("cut");
    let made = room.path("made");
    let steps = vec![Step::Run(Command::new(["touch", &made])), write(&made, b"x")];
    let order = call(Request::Perform { steps, ticket: None, crash_at: None });
    let probes = vec![Probe::Command(Command::new(["touch", &made]))];
    let reading = call(Request::Read { probes, budget: Duration::from_secs(9) });
    for whole in [&order, &reading] {
        let cuts = (1..64).map(|part| whole.len() * part / 64).chain([1, 2, 3, whole.len() - 2, whole.len() - 1]);
        for cut in cuts {
            let ended = start(program(), whole[..cut].to_vec()).wait_with_output().expect("it ends");
            assert!(room.names().is_empty(), "cut at {cut} of {}", whole.len());
            assert!(!ended.status.success() && ended.stdout.is_empty(), "cut at {cut}: {ended:?}");
        }
    }
    assert!(start(program(), Vec::new()).wait().expect("it ends").success(), "nobody wants anything");
}

#[test]
fn a_whole_call_before_one_that_is_cut_off_is_answered() {
    let room = Room::new("second");
    let touch = |name: &str| {
        let steps = vec![Step::Run(Command::new(["touch", &room.path(name)]))];
        call(Request::Perform { steps, ticket: None, crash_at: None })
    };
    let mut both = [touch("one"), touch("two")].concat();
    both.pop();
    start(program(), both).wait_with_output().expect("it ends");
    assert_eq!(room.names(), ["one"]);
}

#[test]
fn steps_stop_at_the_first_failure_and_say_why() {
    let room = Room::new("stop");
    let steps = [
        write(&room.path("one"), b"1"),
        Step::Run(sh("echo ignored; echo reason >&2; exit 42")),
        write(&room.path("two"), b"2"),
    ];
    let answers = order(program(), &steps);
    let expected = [Outcome::Done, Outcome::Failed { exit: 42, stderr: "reason".to_owned() }];
    assert_eq!(outcomes(&answers).expect("it is carried out"), expected);
    assert!(
        matches!(
            answers.as_slice(),
            [Answer::Started(0), Answer::Ended { index: 0, .. }, Answer::Started(1), Answer::Ended { index: 1, .. }]
        ),
        "{answers:?}"
    );
    assert_eq!(room.names(), ["one"]);
    let fails = |command: Command| perform(&[Step::Run(command)]).remove(0);
    assert_eq!(failure(&fails(sh("echo only output; exit 1"))), (1, "only output"));
    let long = fails(sh("yes reason | head -c 100000 >&2; exit 1"));
    assert!((16_000..=16_384).contains(&failure(&long).1.len()), "{}", failure(&long).1.len());
    assert_eq!(failure(&fails(Command::new(["sleep", "30"]).within(Duration::from_secs(1)))).0, 124);
    let began = Instant::now();
    let daemon = format!("setsid sh -c 'while [ -e {} ]; do sleep 1; done' & echo daemon", room.path("one"));
    assert_eq!(perform(&[Step::Run(sh(&daemon))]), [Outcome::Done], "a daemon holds nothing");
    assert!(began.elapsed() < NOT_HELD_UP);
}

#[test]
fn f08_when_nobody_listens_any_more_the_running_step_ends_and_no_other_begins() {
    let room = Room::new("deaf");
    let one = format!("sleep 1; touch '{}'", room.path("one"));
    let steps = vec![Step::Run(sh(&one)), write(&room.path("two"), b"2"), write(&room.path("three"), b"3")];
    let mut child = start(program(), call(Request::Perform { steps, ticket: None, crash_at: None }));
    std::thread::sleep(Duration::from_millis(500));
    drop(child.stdout.take());
    let _ = child.wait();
    assert_eq!(room.names(), ["one"]);
}

#[test]
#[ignore = "needs root: becomes another user"]
fn a_program_can_run_as_a_user_of_this_machine() {
    let nobody = |command: Command| Command { user: Some("nobody".to_owned()), ..command };
    let probes = [["printf", "%s|", "it's", "-x"].as_slice(), &["id", "-un"]]
        .map(|argv| Probe::Command(nobody(Command::new(argv.iter().copied()))));
    let readings = read(&probes);
    assert_eq!(readings.command(&probes[0]).expect("an answer").stdout, b"it's|-x|");
    assert_eq!(readings.command(&probes[1]).expect("an answer").stdout, b"nobody\n");
    let step = Step::Run(nobody(sh("[ \"$(id -un)\" = nobody ] && exit 7")));
    assert_eq!(failure(&perform(&[step])[0]).0, 7);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn f37_any_words_and_bytes_survive_a_real_shell(words in proptest::collection::vec("[^\0]{0,40}", 1..8), bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let room = Room::new("any");
        let mut printed = Command::new(["printf", "%s\\0"]);
        printed.argv.extend(words.iter().cloned());
        let mut copied = Command::new(["cat"]);
        copied.stdin = Content::Plain(bytes.clone());
        let given = sh("printf %s \"$WORD\"").with("WORD", &words[0]);
        let file = room.path(&format!("_{}", words[0].replace('/', "_")));
        prop_assert_eq!(perform(&[write(&file, &bytes)]), [Outcome::Done]);
        let probes = [printed, copied, given].map(Probe::Command).into_iter().chain([path(&file, Fetch::Always)]);
        let probes: Vec<Probe> = probes.collect();
        let readings = read(&probes);
        let said = |at: usize| readings.command(&probes[at]).expect("an answer").stdout.clone();
        let wanted: Vec<u8> = words.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
        prop_assert_eq!((said(0), said(1), said(2)), (wanted, bytes.clone(), words[0].clone().into_bytes()));
        let Ok(PathReading::File { content: Some(content), .. }) = readings.path(&probes[3]) else {
            panic!("{readings:?}");
        };
        prop_assert_eq!(content, &bytes);
    }
}
