//! Two who want to change the same hosts: copies of one project, each with a memory of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use armilla::apply::{Terms, acquire};
use armilla::inventory::Endpoint;
use armilla::lease::{Holder, LeaseId};
use armilla::name::{EnvName, HostName, RunId};
use armilla::transport::{Connections, SshOptions};
use nix::sys::signal::Signal;

use crate::house::{ARMILLA, House, until};
use crate::project::{Project, Run, Started};

const HOSTS: [&str; 3] = ["h1", "h2", "h3"];

/// Begins and ends of a run on a host, in nanoseconds: all hosts have the clock of this machine.
const MARKED: &str = r#"summary: x
inputs:
  label: { type: string, default: none }
resources:
  - file: { path: /srv/label, content: "{{ label }}\n" }
  - command: { run: [sh, -c, 'echo "begin $0 $(date +%s%N)" >>/srv/log; sleep 0.05; echo "end $0 $(date +%s%N)" >>/srv/log', "{{ label }}"] }
"#;

fn emptied(house: &House, hosts: &[&str]) {
    house.up(hosts);
    for host in hosts {
        house.sh(host, "rm -rf /srv/* /var/lib/armilla");
    }
}

/// Chance enough to be in each other's way.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// How starts ended.
#[derive(Debug, Default)]
struct Tally {
    starts: usize,
    waited: usize,
    refused: usize,
}

/// One controller: so many starts of `apply`, and how many of a hundred wait for the lock.
fn starts(project: &Project<'_>, name: &str, environment: &str, count: usize, patient: u64) -> Tally {
    let mut chance = Chance(name.bytes().map(u64::from).sum::<u64>());
    let mut tally = Tally::default();
    for number in 0..count {
        std::thread::sleep(Duration::from_millis(chance.below(500)));
        let label = format!("label={name}{number}");
        let mut words = vec!["apply", environment, "--lab", "-y", "-e", &label];
        let waits = chance.below(100) < patient;
        if waits {
            words.extend(["--lock-timeout", "60s"]);
        }
        let run = project.run(&words);
        tally.starts += 1;
        tally.waited += usize::from(run.err.contains("waiting for"));
        match run.code {
            Some(0) => {}
            Some(75) if !waits => {
                tally.refused += 1;
                refused(run);
            }
            _ => panic!("{run}"),
        }
    }
    tally
}

/// It names who is in the way, since when, and what was typed.
fn refused(run: Run) {
    let said = run.err.clone();
    let run = run.says("is locked by root@").says(" since 20").says("(`armilla apply ").says("nothing was changed");
    assert!(said.contains("-y -e label=...") && said.contains("lock status"), "{run}");
}

/// When each run began and ended on the hosts, from their logs.
fn spans(house: &House, hosts: &[&str]) -> BTreeMap<String, (u64, u64, usize)> {
    let mut spans: BTreeMap<String, (u64, u64, usize)> = BTreeMap::new();
    for host in hosts {
        for line in house.sh(host, "cat /srv/log").lines() {
            let [word, label, at] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{host}: {line}") };
            let at: u64 = at.parse().expect("a time");
            let span = spans.entry(label.to_owned()).or_insert((at, at, 0));
            *span = (span.0.min(at), span.1.max(at), span.2 + usize::from(word == "end"));
        }
    }
    spans
}

/// No two of them at one time. How many there are.
fn apart(spans: &BTreeMap<String, (u64, u64, usize)>, hosts: usize) -> usize {
    let mut ordered: Vec<_> = spans.iter().map(|(label, (begun, ended, ends))| (begun, ended, ends, label)).collect();
    ordered.sort();
    for pair in ordered.windows(2) {
        assert!(pair[0].1 < pair[1].0, "{} and {} were at work at one time: {pair:?}", pair[0].3, pair[1].3);
    }
    assert!(ordered.iter().all(|span| *span.2 == hosts), "a run did not reach all its hosts: {spans:?}");
    ordered.len()
}

fn is_free(project: &Project<'_>, environment: &str, hosts: &[&str]) {
    let status = project.run(&["lock", "status", environment, "--lab"]).ends(0);
    for host in hosts {
        assert!(status.out.contains(&format!("{host} is not locked\n")), "{status}");
    }
}

#[expect(clippy::print_stdout, reason = "how much was tried is part of the answer")]
fn tell(text: &str) {
    println!("{text}");
}

/// Many starts on the same hosts, from two controllers: sixty, or `ARMILLA_STARTS=200`.
pub(crate) fn f22_many_starts(house: &House) {
    emptied(house, &HOSTS);
    let typed = std::env::var("ARMILLA_STARTS").ok().and_then(|typed| typed.parse().ok());
    let each = typed.unwrap_or(60) / 2;
    let begun = Instant::now();
    let files = |project: &Project<'_>| {
        project.only(&HOSTS, MARKED);
    };
    let of = |name: &str| house.project(&format!("controllers-{name}")).tap(&files);
    let tallies: Vec<Tally> = std::thread::scope(|scope| {
        let both = ["a", "b"].map(|name| scope.spawn(move || starts(&of(name), name, "lab", each, 50)));
        both.into_iter().map(|controller| controller.join().expect("a controller ends")).collect()
    });
    let done = apart(&spans(house, &HOSTS), HOSTS.len());
    let sum = |of: fn(&Tally) -> usize| tallies.iter().map(of).sum::<usize>();
    let (all, waited, refused) = (sum(|t| t.starts), sum(|t| t.waited), sum(|t| t.refused));
    assert_eq!((all, done + refused), (2 * each, 2 * each));
    assert!(waited > each / 20 && refused > each / 20, "they were not in each other's way: {tallies:?}");
    is_free(&of("look"), "lab", &HOSTS);
    tell(&format!(
        "{all} starts: {done} done, of which {waited} waited; {refused} refused; {} s",
        begun.elapsed().as_secs()
    ));
}

/// Two environments that share a host take turns there.
pub(crate) fn f22_environments_that_share_a_host(house: &House) {
    emptied(house, &HOSTS);
    let files = |project: &Project<'_>| {
        for (environment, hosts, settings) in [
            ("left", "h1, h2", "production: false\nshares_hosts_with: [right]\n"),
            ("right", "h2, h3", "production: true\nshares_hosts_with: [left]\n"),
        ] {
            let groups = format!("groups:\n  all_hosts: {{ hosts: [{hosts}] }}\n");
            project.file(&format!("inventories/{environment}/hosts.yml"), groups);
            project.file(&format!("inventories/{environment}/environment.yml"), settings);
        }
        // What both want of the host that they share would be refused.
        let role = MARKED.replace("/srv/label,", "\"/srv/label-{{ environment.name }}\",");
        project.file("site.yml", "services:\n  only: { hosts: all_hosts }\n").file("roles/only/role.yml", role);
    };
    let of = |name: &str| house.project(&format!("controllers-{name}")).tap(&files);
    let tallies = std::thread::scope(|scope| {
        let both = ["left", "right"].map(|name| scope.spawn(move || starts(&of(name), name, name, 5, 100)));
        both.map(|controller| controller.join().expect("a controller ends"))
    });
    assert_eq!(apart(&spans(house, &["h2"]), 1), 10, "{tallies:?}");
    let project = house.project("controllers-look");
    files(&project);
    is_free(&project, "left", &["h1", "h2"]);
    is_free(&project, "right", &["h3"]);
}

/// A service that waits for the file `go` on its host, and another after it that writes.
fn slow<'a>(house: &'a House, name: &str, content: &str) -> Project<'a> {
    slow_until(house, name, content, "go")
}

fn slow_until<'a>(house: &'a House, name: &str, content: &str, gate: &str) -> Project<'a> {
    let project = house.project(&format!("controllers-{name}"));
    project.hosts(&HOSTS).file("site.yml", "services:\n  slow: { hosts: all_hosts }\n  then: { hosts: all_hosts }\n");
    let wait = format!("touch /srv/{gate}-begun; until [ -e /srv/{gate} ]; do sleep 0.1; done; touch /srv/{gate}-slow");
    let slow =
        format!("summary: x\nresources:\n  - command: {{ run: [sh, -c, '{wait}'], creates: /srv/{gate}-slow }}\n");
    project.file("roles/slow/role.yml", slow);
    let then =
        format!("summary: x\nneeds: [slow]\nresources:\n  - file: {{ path: /srv/content, content: {content} }}\n");
    project.file("roles/then/role.yml", then);
    project
}

const APPLY: [&str; 4] = ["apply", "lab", "--lab", "-y"];

/// Starts it with leases of so many seconds, and waits until it is in the middle.
fn in_the_middle(house: &House, project: &Project<'_>, seconds: u32) -> Started {
    let lease = format!("ARMILLA_LEASE_SECONDS={seconds}");
    let started = project.start_as(&["env", &lease, ARMILLA], &APPLY);
    for host in HOSTS {
        until("its step runs", || house.holds(host, "test -e /srv/go-begun"));
    }
    started
}

fn go(house: &House) {
    for host in HOSTS {
        house.sh(host, "touch /srv/go");
    }
}

fn content(house: &House) -> BTreeSet<String> {
    HOSTS.iter().map(|host| house.sh(host, "cat /srv/content 2>/dev/null || echo none")).collect()
}

fn is(content: &str) -> BTreeSet<String> {
    BTreeSet::from([content.to_owned()])
}

/// A controller that sleeps past its lease is refused when it wakes, by whoever has it then.
pub(crate) fn f04_asleep(house: &House) {
    emptied(house, &HOSTS);
    let (first, second) = (slow(house, "a", "first"), slow_until(house, "b", "second", "later"));
    let asleep = in_the_middle(house, &first, 3);
    asleep.signal(Signal::SIGSTOP);
    let mut waiting = second.start(&[&APPLY[..], &["--lock-timeout", "60s"]].concat());
    std::thread::sleep(Duration::from_secs(5));
    assert!(waiting.runs(), "it came between the steps of the other: {}", waiting.said());
    assert!(!house.holds("h1", "test -e /srv/later-begun"), "two are at work");
    go(house);
    for host in HOSTS {
        until("the second begins", || house.holds(host, "test -e /srv/later-begun"));
    }
    asleep.signal(Signal::SIGCONT);
    until("it is told", || {
        HOSTS.iter().all(|host| asleep.said().contains(&format!("the lock of {host} was lost: root@")))
    });
    for host in HOSTS {
        house.sh(host, "touch /srv/later");
    }
    waiting.wait().ends(0).says("one of its steps is running");
    let woken = asleep.wait().ends(3).says("its lock has ended");
    assert_eq!(content(house), is("second"), "{woken}");
    second.is_empty();
    is_free(&first, "lab", &HOSTS);
}

/// A controller that is killed leaves nothing that needs a person.
pub(crate) fn f23_killed(house: &House) {
    emptied(house, &HOSTS);
    let (first, second) = (slow(house, "a", "first"), slow(house, "b", "second"));
    // From the same machine it is known to be dead, and what it left running is waited for.
    let killed = in_the_middle(house, &first, 120);
    killed.signal(Signal::SIGKILL);
    killed.wait();
    let begun = Instant::now();
    let next = second.start(&APPLY);
    until("it waits for the step", || next.said().contains("one of its steps is running"));
    go(house);
    next.wait().ends(0);
    assert!(begun.elapsed() < Duration::from_secs(60), "it waited for the lease: {:?}", begun.elapsed());
    assert_eq!(content(house), is("second"));

    // From another container, or machine, nothing is known of it: its lock ends by itself.
    emptied(house, &HOSTS);
    let killed = in_the_middle(house, &first, 8);
    go(house);
    killed.signal(Signal::SIGKILL);
    killed.wait();
    second.file("machine-id", "0123456789abcdef0123456789abcdef\n");
    let id = second.path("machine-id").display().to_string();
    let elsewhere = [
        "unshare",
        "-m",
        "-p",
        "-f",
        "--mount-proc",
        "sh",
        "-ec",
        "mount --bind \"$0\" /etc/machine-id; exec \"$@\"",
        &id,
        ARMILLA,
    ];
    second.start_as(&elsewhere, &APPLY).wait().ends(75).says("the lock expires in").says("nothing was changed");
    let patient = [&APPLY[..], &["--lock-timeout", "60s"]].concat();
    second.start_as(&elsewhere, &patient).wait().ends(0).says("waiting for");
    assert_eq!(content(house), is("second"));
    is_free(&second, "lab", &HOSTS);
}

/// A lock that is broken while its owner lives: what runs is finished, and then it stops.
pub(crate) fn f23_broken(house: &House) {
    emptied(house, &HOSTS);
    let (first, second) = (slow(house, "a", "first"), slow(house, "b", "second"));
    let owner = in_the_middle(house, &first, 120);
    let status = second.run(&["lock", "status", "lab", "--lab", "--json"]).ends(0);
    let status: serde_json::Value = serde_json::from_str(&status.out).expect("JSON");
    let id = status["hosts"]["h1"]["lease"]["id"].as_str().expect("a lease").to_owned();
    second.run(&["lock", "break", "lab", "0123", "--lab"]).ends(1).says("no reachable host has a lock `0123`");
    second.run(&["lock", "break", "lab", &id, "--lab"]).ends(0).says("broken on h1, h2, h3");
    second.apply(&[]).ends(75).says("one of its steps is still running");
    go(house);
    let stopped = owner.wait().ends(3);
    assert!(stopped.said().contains("broken"), "{stopped}");
    assert_eq!(content(house), is("none"), "{stopped}");
    second.apply(&[]).ends(0);
    assert_eq!(content(house), is("second"));
    is_free(&first, "lab", &HOSTS);
}

/// A majority of the hosts that keep the lock must answer; those that do not are told of, and hold nobody up.
pub(crate) fn f23_witnesses(house: &House) {
    emptied(house, &HOSTS);
    let project = house.project("controllers-a");
    project.only(&HOSTS, MARKED);
    let apply = |label: &str| {
        let begun = Instant::now();
        let run = project.apply(&["-e", &format!("label={label}"), "--connect-timeout", "3"]);
        (run, begun.elapsed())
    };
    house.lab().cut("h1").expect("the wire is cut");
    let (run, took) = apply("one");
    let run = run.ends(4).says("h1");
    assert!(took < Duration::from_secs(25), "{took:?}\n{run}");
    house.lab().cut("h2").expect("the wire is cut");
    let (run, took) = apply("two");
    let run = run
        .ends(4)
        .says("lab cannot be locked: 2 of the 3 hosts that hold its lock are unreachable: h1")
        .says("armilla changes nothing without a lock");
    assert!(took < Duration::from_secs(25), "{took:?}\n{run}");
    for host in ["h1", "h2"] {
        house.lab().heal(host).expect("the wire is mended");
    }
    house.up(&HOSTS);
    let labels = HOSTS.map(|host| house.sh(host, "cat /srv/label 2>/dev/null || echo none"));
    assert_eq!(labels, ["none", "one", "one"]);
    is_free(&project, "lab", &HOSTS);
}

/// A plan that others have overtaken, or that was done already, is refused.
pub(crate) fn f24_old_plans(house: &House) {
    emptied(house, &HOSTS);
    let project = |name: &str, content: &str| {
        let role = format!("summary: x\nresources:\n  - file: {{ path: /srv/content, content: {content} }}\n");
        house.project(name).tap(&|project| {
            project.only(&HOSTS, &role);
        })
    };
    let (first, second) = (project("controllers-a", "first"), project("controllers-b", "second"));
    let [plan, other] = ["one.plan", "two.plan"].map(|name| first.path(name).display().to_string());
    let save = |file: &str| drop(first.plan(&["-o", file]).ends(0));
    let apply = |file: &str| first.run(&["apply", file, "-y", "--lab"]);
    save(&plan);
    let done = second.apply(&["--json"]).ends(0);
    let runs = second.run(&["runs", "list"]).ends(0);
    let run =
        runs.out.split_whitespace().find(|word| word.starts_with("20") && word.len() == 20).expect("a run").to_owned();
    apply(&plan)
        .ends(1)
        .says("another plan was applied after this one was made")
        .says(&run)
        .says("/srv/content changed since the plan was made");
    assert_eq!(content(house), is("second"), "{done}");
    save(&plan);
    apply(&plan).ends(0);
    assert_eq!(content(house), is("first"));
    apply(&plan).ends(1).says("this plan was already applied").says("nothing was changed");
    // A host that was installed anew is another machine: nothing of the plan is done there.
    for host in HOSTS {
        house.sh(host, "echo other >/srv/content");
    }
    save(&other);
    let was = house.sh("h2", "cat /etc/machine-id");
    house.sh("h2", "echo 0123456789abcdef0123456789abcdef >/etc/machine-id");
    let run = apply(&other).ends(3).says("another machine has its name");
    house.sh("h2", &format!("echo {was} >/etc/machine-id"));
    let contents = HOSTS.map(|host| house.sh(host, "cat /srv/content"));
    assert_eq!(contents, ["first", "other", "first"], "{run}");
    first.converges();
}

/// A daemon that works on the hosts holds the same lock.
pub(crate) fn f25_autoscaler(house: &House) {
    emptied(house, &HOSTS);
    let project = house.project("controllers-a");
    project.only(&HOSTS, MARKED);
    let config = Some(house.ssh_config().into());
    let transport = Arc::new(Connections::new(SshOptions { config, ..SshOptions::default() }));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let (_stop, stop) = tokio::sync::watch::channel(false);
    let terms = Terms {
        id: LeaseId("autoscaler".to_owned()),
        holder: Holder {
            environment: EnvName::new("lab").expect("a name"),
            project: None,
            run: RunId::new("autoscaler-1").expect("a name"),
            who: "armilla@h9".to_owned(),
            command: "armilla autoscaler run lab".to_owned(),
            machine: String::new(),
            boot: String::new(),
            pid: 1,
            ticks: 1,
            namespace: String::new(),
            since: "2026-01-01T00:00:00Z".to_owned(),
        },
        seconds: 4,
        patience: Duration::ZERO,
        forks: 10,
        is_dead: |_| false,
        stop,
    };
    // It works on one host only; the witnesses of the environment are locked with it.
    let hosts: Vec<Endpoint> = HOSTS.map(|host| Endpoint::new(HostName::new(host).expect("a name"))).to_vec();
    let witnesses = armilla::apply::witnesses(hosts.iter().map(|host| host.name.clone()));
    let leases = runtime.block_on(acquire(&transport, &hosts, &witnesses, &terms, &|_, _| {})).expect("leases");
    // Longer than its lease, of which it gives signs of life.
    std::thread::sleep(Duration::from_secs(6));
    let apply = |more: &[&str]| project.apply(&[&["-e", "label=x"], more].concat());
    apply(&[]).ends(75).says("armilla@h9").says("(`armilla autoscaler run lab`, run autoscaler-1");
    apply(&["-l", "h3"]).ends(75);
    assert!(HOSTS.iter().all(|host| !house.holds(host, "test -e /srv/label")));
    runtime.block_on(leases.release());
    apply(&[]).ends(0);
}

/// Whoever is interrupted before the first step leaves nothing behind.
pub(crate) fn f22_interrupted_before_it_began(house: &House) {
    emptied(house, &HOSTS);
    let (first, second) = (slow(house, "a", "first"), slow(house, "b", "second"));
    let owner = in_the_middle(house, &first, 120);
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let waiting = second.start(&[&APPLY[..], &["--lock-timeout", "10m"]].concat());
        until("it waits", || waiting.said().contains("waiting for"));
        let begun = Instant::now();
        waiting.signal(signal);
        waiting.wait().ends(code).says("nothing was changed");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
    go(house);
    owner.wait().ends(0);
    is_free(&first, "lab", &HOSTS);
    // At the question, where the terminal turns a key into a signal.
    let line = format!("{ARMILLA} apply lab --lab");
    let mut asked = second.start_as(&["script", "-qec", &line, "/dev/null"], &[]);
    until("it asks", || asked.said().contains("is accepted:") || asked.said().contains("to confirm:"));
    let begun = Instant::now();
    asked.child.stdin.as_mut().expect("a keyboard").write_all(b"\x03").expect("it is typed");
    asked.wait().ends(130).says("interrupted; nothing was changed");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    is_free(&first, "lab", &HOSTS);
    assert_eq!(content(house), is("first"));
}

/// A host that has no role any more is changed under a lease like any other.
pub(crate) fn f22_a_host_that_lost_its_role(house: &House) {
    const FOUR: [&str; 4] = ["h1", "h2", "h3", "h4"];
    emptied(house, &FOUR);
    let project = house.project("controllers-a");
    project.only(&FOUR, "summary: x\nresources:\n  - file: { path: /srv/content, content: x }\n");
    project.apply(&[]).ends(0);
    project
        .file("inventories/lab/hosts.yml", "groups:\n  all_hosts: { hosts: [h1, h2, h3] }\n  spare: { hosts: [h4] }\n");
    project.apply(&[]).ends(0);
    assert!(!house.holds("h4", "test -e /srv/content"), "it was not taken away");
    is_free(&project, "lab", &FOUR);
}
