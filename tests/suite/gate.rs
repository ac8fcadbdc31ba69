//! Gates: what a host waits for, how long, and what it says meanwhile. Run for real by the shells of this machine.
//!
//! In: checks. Out: whether the gate opened, when, and why not. Never: a host.

use std::fs;
use std::process::{Child, Command as Process, Stdio};
use std::time::{Duration, Instant};

use armilla::step::{
    Check, Command, Expect, Gate, Health, HttpRequest, Method, Outcome, Probe, Step, Trust, WebAnswer, health,
};
use armilla::transport::StepEvent;

use crate::script::{Room, failure, perform, perform_by, read_by, serve, sh, shells};
use crate::waiting::NOT_HELD_UP;

/// A check with its times in milliseconds.
fn timed(check: Check, stable: u64, within: u64, at_most: u64) -> Check {
    let [stable_for, within, at_most] = [stable, within, at_most].map(Duration::from_millis);
    Check { stable_for, within, at_most, ..check }
}

fn wait(check: Check) -> Step {
    Step::Await(Gate { of: "test".to_owned(), checks: vec![check] })
}

fn gate(probe: Probe, expect: Expect, stable: u64, within: u64) -> Step {
    wait(timed(Check::new(probe, expect), stable, within, 10 * within))
}

fn output(script: &str, expect: &str, stable: u64, within: u64) -> Step {
    gate(Probe::Command(sh(script)), Expect::Output(Some(expect.to_owned())), stable, within)
}

fn succeeds(script: &str) -> Check {
    Check::new(Probe::Command(sh(script)), Expect::Output(None))
}

fn waits(events: &[StepEvent]) -> Vec<&str> {
    let why = |event| if let &StepEvent::Waiting { index: 0, ref why } = event { Some(why.as_str()) } else { None };
    events.iter().filter_map(why).collect()
}

/// Near the end a question gets only what is left of the time. That it takes longer says nothing new.
#[test]
fn a_question_that_is_cut_short_is_no_news() {
    for shell in shells() {
        let outcomes = perform(&shell, &[output("sleep 1.6; echo no; exit 1", "yes", 0, 4000)]);
        assert!(failure(&outcomes[0]).1.contains("not within 4 s"), "{outcomes:?}");
    }
}

#[test]
fn a_gate_opens_waits_and_gives_up() {
    for shell in shells() {
        let room = Room::new("gate");
        let count = room.path("count");
        let later = format!("echo x >>'{count}'; [ $(wc -l <'{count}') -ge 7 ] && echo ' leader ' || echo broken");
        let (events, outcomes) = perform_by(&shell, "", &[output(&later, "leader|follower", 0, 20_000)]);
        assert_eq!(outcomes, [Outcome::Done], "{shell:?}");
        let waits = waits(&events);
        assert!((1..=2).contains(&waits.len()), "{waits:?}");
        assert!(waits[0].contains("broken") && waits[0].ends_with(" s left)"), "{waits:?}");
        let began = Instant::now();
        assert_eq!(perform(&shell, &[output("echo yes", "yes", 1500, 1500)]), [Outcome::Done]);
        assert!(began.elapsed() >= Duration::from_millis(1400), "it held for long enough");
        let outcomes = perform(&shell, &[output("echo no >&2; exit 3", "yes", 0, 1000)]);
        assert!(failure(&outcomes[0]).1.contains("exit code 3: no"), "{outcomes:?}");
        let outcomes = perform(&shell, &[output("echo yes; echo more", "yes", 0, 500)]);
        assert!(failure(&outcomes[0]).1.contains("yes"), "the whole output must match: {outcomes:?}");
        let outcomes = perform(&shell, &[output("echo yes", "(", 0, 60_000)]);
        assert!(failure(&outcomes[0]).1.contains("regular expression"), "{outcomes:?}");
    }
}

#[test]
fn f27_what_is_healthy_and_then_unhealthy_does_not_pass() {
    for shell in shells() {
        let room = Room::new("then-unhealthy");
        let begun = format!("[ -e '{0}' ] || date +%s >'{0}'", room.path("begun"));
        let dies = format!("{begun}; [ $(($(date +%s) - $(cat '{}'))) -lt 3 ]", room.path("begun"));
        let outcomes = perform(&shell, &[wait(timed(succeeds(&dies), 5000, 5000, 20_000))]);
        let why = failure(&outcomes[0]).1;
        assert!(why.contains("not within 5 s of the last news: exit code 1"), "{shell:?} {why}");
    }
}

#[test]
fn f27_a_gate_that_flaps_does_not_open() {
    for shell in shells() {
        let room = Room::new("flap");
        let count = room.path("count");
        let flap = format!("echo x >>'{count}'; [ $(($(wc -l <'{count}') % 3)) -ne 0 ]");
        let outcomes = perform(&shell, &[wait(timed(succeeds(&flap), 2000, 4000, 60_000))]);
        let why = failure(&outcomes[0]).1;
        assert!(why.contains("not within 4 s of the last news"), "flapping is no progress: {shell:?} {why}");
    }
}

#[test]
fn f27_a_slow_first_start_is_waited_for_while_it_gets_on() {
    for shell in shells() {
        let room = Room::new("slow");
        let count = room.path("count");
        let loading =
            format!("echo x >>'{count}'; n=$(wc -l <'{count}'); echo \"$((n / 2)) of 4 loaded\"; [ $n -ge 8 ]");
        let began = Instant::now();
        assert_eq!(perform(&shell, &[wait(timed(succeeds(&loading), 0, 2000, 60_000))]), [Outcome::Done], "{shell:?}");
        assert!(began.elapsed() > Duration::from_secs(3), "longer than `within`, as it got on");
        let endless = format!("echo x >>'{0}'; wc -l <'{0}'; exit 1", room.path("more"));
        let outcomes = perform(&shell, &[wait(timed(succeeds(&endless), 0, 1000, 3000))]);
        assert!(failure(&outcomes[0]).1.contains("not within 3 s in all: exit code 1"), "{shell:?} {outcomes:?}");
    }
}

#[test]
fn f27_a_check_that_hangs_is_unhealthy_and_never_a_hang() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", silent.local_addr().expect("its address"));
    let second = Duration::from_secs(1);
    for shell in shells() {
        let began = Instant::now();
        let hung = gate(Probe::Command(Command::new(["sleep", "600"])), Expect::Output(None), 0, 1000);
        failure(&perform(&shell, &[hung])[0]);
        assert!(began.elapsed() < NOT_HELD_UP, "a check that hangs is bounded by the gate");

        let sleeps = Check::new(Probe::Command(Command::new(["sleep", "600"]).within(second)), Expect::Output(None));
        let request = HttpRequest { timeout: second, ..HttpRequest::get(&url) };
        let answers = Check::new(Probe::Http(request), Expect::Answer(Box::new(WebAnswer::status(200))));
        for check in [sleeps, answers] {
            let outcomes = perform(&shell, &[wait(timed(check.clone(), 0, 2000, 60_000))]);
            let why = failure(&outcomes[0]).1;
            assert!(why.contains("not within 2 s: ") && why.contains("no answer within 1 s"), "{shell:?} {why}");
            let readings = read_by(&shell, std::slice::from_ref(&check.probe));
            let found = health(std::slice::from_ref(&check), &readings);
            assert!(
                matches!(&found, Health::Unhealthy(why) if why.contains("no answer in time")),
                "{shell:?} {found:?}"
            );
        }
        assert!(began.elapsed() < NOT_HELD_UP, "{shell:?}: {:?}", began.elapsed());
    }
}

/// Whether a check holds, once as a gate and once as a question: both must find the same. What a gate says.
fn both(shell: &[&str], check: &Check) -> Option<String> {
    let outcomes = perform(shell, &[wait(timed(check.clone(), 0, 300, 300))]);
    let readings = read_by(shell, std::slice::from_ref(&check.probe));
    let asked = health(std::slice::from_ref(check), &readings);
    let holds = outcomes == [Outcome::Done];
    assert_eq!(holds, asked == Health::Healthy, "{shell:?} {check:?}: {outcomes:?} and {asked:?}");
    (!holds).then(|| failure(&outcomes[0]).1.to_owned())
}

#[test]
fn ports_may_have_to_be_open_or_closed() {
    let bind = || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let probe = Probe::port("127.0.0.1", listener.local_addr().expect("its address").port());
        (listener, probe)
    };
    let (_, unbound) = bind();
    let (_listener, bound) = bind();
    for shell in shells() {
        let check = |probe: &Probe, expect| both(&shell, &Check::new(probe.clone(), expect));
        assert_eq!(check(&bound, Expect::Open), None);
        assert_eq!(check(&unbound, Expect::Closed), None, "its listener is gone");
        assert!(check(&bound, Expect::Closed).is_some_and(|why| why.contains("accepts connections")));
        assert!(check(&unbound, Expect::Open).is_some_and(|why| why.contains("does not accept connections")));
    }
}

#[test]
fn every_part_of_a_web_answer_is_looked_at() {
    let server = serve("HTTP/1.1 206 Fine\r\nServer: app/2.1\r\nX-Empty:\r\n\r\nstate\r\n{\"ready\": [yes]}\r\n");
    let get = Probe::Http(HttpRequest::get(format!("http://127.0.0.1:{server}/")));
    let any = || WebAnswer::status(206);
    let text = |text: &str| Some(text.to_owned());
    let header =
        |name: &str, pattern: &str| WebAnswer { headers: [(name.to_owned(), pattern.to_owned())].into(), ..any() };
    let right = [
        any(),
        WebAnswer { contains: text("\"ready\": [y"), ..any() },
        WebAnswer { matches: text("^state$"), ..any() },
        WebAnswer { matches: text(r"\[(yes|no)\]\}$"), ..any() },
        header("server", r"^app/[0-9.]+$"),
        header("X-Empty", "^$"),
    ];
    let wrong = [
        (WebAnswer::status(200), "answers HTTP/1.1 206 Fine"),
        (WebAnswer { contains: text("Server"), ..any() }, "answers without: Server"),
        (WebAnswer { matches: text("^ready"), ..any() }, "matches ^ready"),
        (header("Server", "^nginx"), "answers with Server: app/2.1"),
        (header("Age", "."), "answers without the header Age"),
    ];
    for shell in shells() {
        let check =
            |answer: &WebAnswer| both(&shell, &Check::new(get.clone(), Expect::Answer(Box::new(answer.clone()))));
        for answer in &right {
            assert_eq!(check(answer), None, "{shell:?} {answer:?}");
        }
        for (answer, why) in &wrong {
            assert!(check(answer).is_some_and(|said| said.contains(why)), "{shell:?} {:?}", check(answer));
        }
    }
}

/// A web server with a certificate of its own making for 30 days, while it lives.
struct Tls(Child, u16);

impl Tls {
    fn serve(room: &Room) -> Self {
        let made = Process::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "30",
            ])
            .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
            .args(["-keyout", &room.path("key.pem"), "-out", &room.path("cert.pem")])
            .stderr(Stdio::null())
            .status();
        assert!(made.is_ok_and(|status| status.success()), "openssl is missing: tests/prepare installs it");
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = port.expect("a port").port();
        let server = Process::new("openssl")
            .args(["s_server", "-quiet", "-www", "-accept", &port.to_string()])
            .args(["-key", &room.path("key.pem"), "-cert", &room.path("cert.pem")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl starts");
        Self(server, port)
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_certificate_must_be_trusted_and_not_end_too_soon() {
    let room = Room::new("tls");
    let server = Tls::serve(&room);
    // Those who may not be root read it, too.
    fs::set_permissions(&room.0, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    let url = format!("https://localhost:{}/", server.1);
    let check = |trust: Trust, days: Option<u64>| {
        let valid_for = days.map(|days| Duration::from_secs(days * 86_400));
        let answer = WebAnswer { valid_for, ..WebAnswer::status(200) };
        let request = HttpRequest { trust, ..HttpRequest::get(&url) };
        Check::new(Probe::Http(request), Expect::Answer(Box::new(answer)))
    };
    let ours = || Trust::Authority(room.path("cert.pem"));
    for shell in shells() {
        // The server needs a moment before it listens.
        let patient = timed(check(Trust::Anybody, None), 0, 9000, 9000);
        assert_eq!(perform(&shell, &[wait(patient)]), [Outcome::Done], "{shell:?}");
        assert_eq!(both(&shell, &check(ours(), Some(14))), None, "{shell:?}");
        assert_eq!(both(&shell, &check(Trust::Anybody, Some(29))), None, "{shell:?}");
        let soon = both(&shell, &check(ours(), Some(31)));
        assert!(
            soon.as_ref().is_some_and(|why| why.contains("the certificate of") && why.contains("ends on")),
            "{soon:?}"
        );
        let strange = both(&shell, &check(Trust::System, None));
        assert!(strange.as_ref().is_some_and(|why| why.contains("certificate")), "{shell:?} {strange:?}");
        let Probe::Http(request) = check(ours(), None).probe else { panic!("a request") };
        let head = Probe::Http(HttpRequest { method: Method::Head, ..request });
        // The server of openssl knows no HEAD; what matters is that the answer to one is read.
        let readings = read_by(&shell, std::slice::from_ref(&head));
        assert!(readings.http(&head).is_ok(), "{shell:?}");
    }
}
