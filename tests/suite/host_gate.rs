//! Gates as the host program waits for them, on this machine.
//!
//! In: checks. Out: whether the gate opened, when, and why not. Never: another host.

use std::fs;
use std::process::{Child, Command as Process, Stdio};
use std::time::Duration;

use armilla::host::wire::Answer;
use armilla::step::{
    Check, Expect, Gate, Health, HttpRequest, JsonQuery, Method, Outcome, Probe, Step, Trust, WebAnswer, health,
};

use crate::host::{Room, failure, order, outcomes, perform, program, read, serve, sh};

/// A check with its times in milliseconds.
fn timed(check: Check, stable: u64, within: u64, at_most: u64) -> Check {
    let [stable_for, within, at_most] = [stable, within, at_most].map(Duration::from_millis);
    Check { stable_for, within, at_most, ..check }
}

fn wait(check: Check) -> Step {
    Step::Await(Gate { of: "test".to_owned(), checks: vec![check] })
}

#[test]
fn a_gate_opens_waits_and_gives_up() {
    let output = |script: &str, within| {
        wait(timed(
            Check::new(Probe::Command(sh(script)), Expect::Output(Some("leader|follower".to_owned()))),
            0,
            within,
            10 * within,
        ))
    };
    let room = Room::new("gate");
    let count = room.path("count");
    let later = format!("echo x >>'{count}'; [ $(wc -l <'{count}') -ge 7 ] && echo ' leader ' || echo broken");
    let answers = order(program(), &[output(&later, 20_000)]);
    assert_eq!(outcomes(&answers).expect("it is carried out"), [Outcome::Done]);
    let waits: Vec<&str> = answers
        .iter()
        .filter_map(|answer| if let Answer::Waiting(0, why) = answer { Some(why.as_str()) } else { None })
        .collect();
    assert!((1..=2).contains(&waits.len()), "{waits:?}");
    assert!(waits[0].contains("broken") && waits[0].ends_with(" s left)"), "{waits:?}");
    let outcomes =
        perform(&[output("echo no >&2; exit 3", 1000), Step::Run(sh(&format!("touch {}", room.path("after"))))]);
    assert_eq!(outcomes.len(), 1, "nothing goes on");
    assert!(failure(&outcomes[0]).1.contains("not within 1 s: exit code 3: no"), "{outcomes:?}");
    assert_eq!(room.names(), ["count"]);
}

/// Whether a check holds, once as a gate and once as a question: both must find the same. What a gate says.
fn both(check: &Check) -> Option<String> {
    let outcomes = perform(&[wait(timed(check.clone(), 0, 300, 300))]);
    let readings = read(std::slice::from_ref(&check.probe));
    let asked = health(std::slice::from_ref(check), &readings);
    let holds = outcomes == [Outcome::Done];
    assert_eq!(holds, asked == Health::Healthy, "{check:?}: {outcomes:?} and {asked:?}");
    (!holds).then(|| failure(&outcomes[0]).1.to_owned())
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
        (WebAnswer::status(200), "/ answered 206"),
        (WebAnswer { contains: text("Server"), ..any() }, ": `Server` is not in its answer"),
        (WebAnswer { matches: text("^ready"), ..any() }, ": nothing in its answer matches `^ready`"),
        (header("Server", "^nginx"), "answers with Server: app/2.1"),
        (header("Age", "."), ": its answer has no header Age"),
    ];
    let check = |answer: &WebAnswer| both(&Check::new(get.clone(), Expect::Answer(Box::new(answer.clone()))));
    for answer in &right {
        assert_eq!(check(answer), None, "{answer:?}");
    }
    let json = |is: &str| WebAnswer {
        json: vec![JsonQuery { query: "$.members[?@.up == true].name".to_owned(), is: vec![is.to_owned()] }],
        ..WebAnswer::status(200)
    };
    let server = serve("HTTP/1.1 200 OK\r\n\r\n{\"members\": [{\"name\": \"a\", \"up\": true}, {\"name\": \"b\"}]}");
    let get = Probe::Http(HttpRequest::get(format!("http://127.0.0.1:{server}/")));
    let found = |answer: WebAnswer| both(&Check::new(get.clone(), Expect::Answer(Box::new(answer))));
    assert_eq!(found(json("a")), None);
    assert!(found(json("b")).is_some_and(|said| said.contains("`$.members[?@.up == true].name` is a, not b")));
    for (answer, why) in &wrong {
        assert!(check(answer).is_some_and(|said| said.contains(why)), "{:?}", check(answer));
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
    // The server needs a moment before it listens.
    let patient = timed(check(Trust::Anybody, None), 0, 9000, 9000);
    assert_eq!(perform(&[wait(patient)]), [Outcome::Done]);
    assert_eq!(both(&check(ours(), Some(14))), None);
    assert_eq!(both(&check(Trust::Anybody, Some(29))), None);
    let soon = both(&check(ours(), Some(31)));
    assert!(soon.as_ref().is_some_and(|why| why.ends_with("/: its certificate expires in 29 days")), "{soon:?}");
    let strange = both(&check(Trust::System, None));
    assert!(strange.as_ref().is_some_and(|why| why.contains("certificate")), "{strange:?}");
    let Probe::Http(request) = check(ours(), None).probe else { panic!("a request") };
    let head = Probe::Http(HttpRequest { method: Method::Head, ..request });
    // The server of openssl knows no HEAD; what matters is that the answer to one is read.
    let readings = read(std::slice::from_ref(&head));
    assert!(readings.http(&head).is_ok());
}
