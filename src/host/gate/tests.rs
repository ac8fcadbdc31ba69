use std::net::TcpListener;
use std::path::Path;

use super::*;
use crate::host::program::tests::{NOT_HELD_UP, Stage, sh};
use crate::step::{Command, PortReading, UnitReading, WebAnswer};

/// A check with its times in milliseconds.
fn timed(check: Check, stable: u64, within: u64, at_most: u64) -> Check {
    let [stable_for, within, at_most] = [stable, within, at_most].map(Duration::from_millis);
    Check { stable_for, within, at_most, ..check }
}

fn output(script: &str, expect: &str, stable: u64, within: u64) -> Check {
    let check = Check::new(Probe::Command(sh(script)), Expect::Output(Some(expect.to_owned())));
    timed(check, stable, within, 10 * within)
}

fn succeeds(script: &str) -> Check {
    Check::new(Probe::Command(sh(script)), Expect::Output(None))
}

/// Asks as the room does; a unit keeps being restarted.
fn asked(programs: &Programs<'_>, probe: &Probe, left: Duration) -> Reading {
    match probe {
        Probe::Command(command) => programs.ask(command, left),
        Probe::Http(request) => http::ask(programs, request, left),
        Probe::Port { address, port, .. } => {
            let open = std::net::TcpStream::connect((address.as_str(), *port)).is_ok();
            Reading::Port(if open { PortReading::Open } else { PortReading::Closed })
        }
        Probe::Unit(_) => {
            let (active, sub) = ("activating".to_owned(), "auto-restart".to_owned());
            Reading::Unit(UnitReading { active, sub, restarts: 3, ..UnitReading::default() })
        }
        _ => Reading::Failed("not asked here".to_owned()),
    }
}

/// How it went, and what was told meanwhile.
fn wait(stage: &Stage, checks: &[Check]) -> (std::result::Result<(), String>, Vec<String>) {
    let (programs, mut told) = (stage.programs(), Vec::new());
    let gate = Gate { of: "test".to_owned(), checks: checks.to_vec() };
    let passed = pass(&programs, &gate, &mut |probe, left| asked(&programs, probe, left), &mut |text| {
        told.extend(Some(text.to_owned()).filter(|text| !text.is_empty()));
        true
    });
    (passed.map_err(|failure| failure.why), told)
}

fn why(stage: &Stage, check: Check) -> String {
    wait(stage, &[check]).0.expect_err("it does not hold")
}

#[test]
fn what_nobody_waits_for_any_more_is_not_waited_for() {
    let (stage, mut asked) = (Stage::new(), 0);
    let check = Check { within: Duration::from_secs(600), ..Check::new(Probe::port("127.0.0.1", 1), Expect::Open) };
    let gate = Gate { of: "test".to_owned(), checks: vec![check] };
    let mut ask = |_: &Probe, _| Reading::Failed("no answer".to_owned());
    let mut leaves = |_: &str| {
        asked += 1;
        asked < 2
    };
    let ended = pass(&stage.programs(), &gate, &mut ask, &mut leaves);
    assert!(ended.is_err_and(|failure| failure.why.contains("nobody")) && asked == 2);
}

#[test]
fn a_gate_opens_waits_and_gives_up() {
    let stage = Stage::new();
    let count = stage.path("count");
    let later = format!("echo x >>'{count}'; [ $(wc -l <'{count}') -ge 7 ] && echo ' leader ' || echo broken");
    let (passed, told) = wait(&stage, &[output(&later, "leader|follower", 0, 20_000)]);
    assert_eq!(passed, Ok(()));
    assert!((1..=2).contains(&told.len()), "{told:?}");
    assert!(told[0].contains("the answer is: broken (") && told[0].ends_with(" s left)"), "{told:?}");
    let began = Instant::now();
    assert_eq!(wait(&stage, &[output("echo yes", "yes", 1500, 1500)]).0, Ok(()));
    assert!(began.elapsed() >= Duration::from_millis(1400), "it held for long enough");
    assert_eq!(why(&stage, output("echo no >&2; exit 3", "yes", 0, 1000)), "not within 1 s: exit code 3: no");
    assert!(why(&stage, output("echo yes; echo more", "yes", 0, 500)).contains("the answer is: yes\nmore"));
    let both = why(&stage, output("echo one; echo two >&2; exit 3", "yes", 0, 1000));
    assert_eq!(both, "not within 1 s: exit code 3: one\nstandard error: two");
    let both = why(&stage, output("echo no; seq 12 >&2", "yes", 0, 500));
    assert!(
        both.starts_with("not within 1 s: the answer is: no\nstandard error: 3\n4\n") && both.ends_with("\n12"),
        "{both}"
    );
    assert!(why(&stage, output("echo yes", "(", 0, 60_000)).contains("not an extended regular expression: ("));
}

#[test]
fn a_question_that_is_cut_short_is_no_news() {
    let stage = Stage::new();
    assert!(why(&stage, output("sleep 1.6; echo no; exit 1", "yes", 0, 4000)).contains("not within 4 s: "));
}

#[test]
fn f27_what_is_healthy_and_then_unhealthy_does_not_pass() {
    let stage = Stage::new();
    let start = stage.path("start");
    let dies = format!("[ -e '{start}' ] || date +%s >'{start}'; [ $(($(date +%s) - $(cat '{start}'))) -lt 3 ]");
    let why = why(&stage, timed(succeeds(&dies), 5000, 5000, 20_000));
    assert!(why.contains("not within 5 s of the last news: exit code 1"), "{why}");
}

#[test]
fn f27_a_gate_that_flaps_does_not_open() {
    let stage = Stage::new();
    let count = stage.path("count");
    let flap = format!("echo x >>'{count}'; [ $(($(wc -l <'{count}') % 3)) -ne 0 ]");
    let why = why(&stage, timed(succeeds(&flap), 2000, 4000, 60_000));
    assert!(why.contains("not within 4 s of the last news"), "flapping is no progress: {why}");
}

#[test]
fn f27_a_slow_first_start_is_waited_for_while_it_gets_on() {
    let stage = Stage::new();
    let slow = stage.path("slow");
    let loading = format!("echo x >>'{slow}'; n=$(wc -l <'{slow}'); echo \"$((n / 2)) of 4 loaded\"; [ $n -ge 8 ]");
    let began = Instant::now();
    assert_eq!(wait(&stage, &[timed(succeeds(&loading), 0, 2000, 60_000)]).0, Ok(()));
    assert!(began.elapsed() > Duration::from_secs(3), "longer than `within`, as it got on");
    let endless = format!("echo x >>'{0}'; wc -l <'{0}'; exit 1", stage.path("more"));
    let why = why(&stage, timed(succeeds(&endless), 0, 1000, 3000));
    assert!(why.contains("not within 3 s in all: exit code 1"), "{why}");
}

#[test]
fn f27_a_check_that_hangs_is_unhealthy_and_never_a_hang() {
    let stage = Stage::new();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", silent.local_addr().expect("its address"));
    let (second, began) = (Duration::from_secs(1), Instant::now());
    let hangs = Check::new(Probe::Command(Command::new(["sleep", "600"])), Expect::Output(None));
    why(&stage, timed(hangs, 0, 1000, 10_000));
    let sleeps = Check::new(Probe::Command(Command::new(["sleep", "600"]).within(second)), Expect::Output(None));
    let request = HttpRequest { timeout: second, ..HttpRequest::get(&url) };
    let answers = Check::new(Probe::Http(request), Expect::Answer(Box::new(WebAnswer::status(200))));
    for check in [sleeps, answers] {
        let why = why(&stage, timed(check, 0, 2000, 60_000));
        assert!(why.contains("not within 2 s: ") && why.contains("no answer within 1 s"), "{why}");
    }
    assert!(began.elapsed() < NOT_HELD_UP, "{:?}", began.elapsed());
}

#[test]
fn ports_may_have_to_be_open_or_closed() {
    let stage = Stage::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let check = |expect| timed(Check::new(Probe::port("127.0.0.1", port), expect), 0, 300, 300);
    assert_eq!(wait(&stage, &[check(Expect::Open)]).0, Ok(()));
    assert!(why(&stage, check(Expect::Closed)).contains(&format!("127.0.0.1 port {port} accepts connections")));
    drop(listener);
    assert_eq!(wait(&stage, &[check(Expect::Closed)]).0, Ok(()));
    assert!(why(&stage, check(Expect::Open)).contains("does not accept connections"));
}

#[test]
fn what_never_will_hold_is_not_waited_for_and_what_holds_is_asked_in_turn() {
    let mut stage = Stage::new();
    let touched = stage.path("touched");
    let first = succeeds(&format!("touch '{touched}'"));
    let wrong = Check::new(Probe::port("127.0.0.1", 1), Expect::Active);
    let began = Instant::now();
    let (passed, _) = wait(&stage, &[first.clone(), wrong]);
    assert!(passed.is_err_and(|why| why.contains("never answers")) && !Path::new(&touched).exists());
    let gone = timed(succeeds("exit 1"), 0, 100, 100);
    assert!(wait(&stage, &[first, gone]).0.is_err() && Path::new(&touched).exists());
    stage.only(&["sh"]);
    let web = Check::new(Probe::Http(HttpRequest::get("http://h/")), Expect::Answer(Box::new(WebAnswer::status(200))));
    assert_eq!(why(&stage, web), "asking http://h/ needs curl or wget on the host");
    let unit = Check::new(Probe::Unit("a.service".to_owned()), Expect::Active);
    assert_eq!(why(&stage, unit), "this host has no systemctl");
    assert!(began.elapsed() < NOT_HELD_UP);
}

#[test]
fn a_unit_that_has_failed_for_good_is_not_waited_for() {
    let (stage, began) = (Stage::new(), Instant::now());
    let check = Check { units: vec!["web.service".to_owned()], ..succeeds("echo no; echo why >&2; exit 1") };
    let gate = Gate { of: "test".to_owned(), checks: vec![timed(check, 0, 600_000, 600_000)] };
    let (programs, failed) = (stage.programs(), UnitReading { active: "failed".to_owned(), ..UnitReading::default() });
    let mut ask = |probe: &Probe, left| match probe {
        Probe::Unit(_) => Reading::Unit(failed.clone()),
        probe => asked(&programs, probe, left),
    };
    let why = pass(&programs, &gate, &mut ask, &mut |_| true).expect_err("it failed").why;
    let wanted =
        "web.service has failed for good, so it is not waited for any longer: exit code 1: no\nstandard error: why";
    assert!(why.starts_with(wanted), "{why}");
    assert!(began.elapsed() >= Duration::from_secs(2) && began.elapsed() < NOT_HELD_UP, "{:?}", began.elapsed());
}

#[test]
fn a_unit_is_named_in_what_is_said_of_it() {
    let stage = Stage::new();
    if !stage.programs().has("systemctl") {
        let unit = Check::new(Probe::Unit("fickle.service".to_owned()), Expect::Active);
        assert_eq!(why(&stage, unit), "this host has no systemctl");
        return;
    }
    let unit = timed(Check::new(Probe::Unit("fickle.service".to_owned()), Expect::Active), 0, 600, 600);
    let why = why(&stage, unit);
    let first = why.lines().next().unwrap_or_default();
    assert!(first.ends_with("fickle.service fails, and systemd keeps restarting it"), "{why}");
}
