//! Whether a host can be worked with, before anything is planned.
//!
//! In: what is desired of a host, and what it answered or why it did not. Out: what is wrong, and what to type to mend it.
//! Never: a change on a host, or a guess where it said nothing.

mod tools;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

pub use tools::{Tool, needed};

use crate::inventory::Endpoint;
use crate::step::{Command, Probe, Readings};
use crate::transport::TransportError;

/// Something that is wrong, or worth a look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub weight: Weight,
    /// What.
    pub what: String,
    /// What to type, where it is known.
    pub mend: Option<String>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// Worth a look; nothing fails because of it.
    Note,
    /// Something will fail.
    Fault,
    /// The host cannot be worked with at all.
    Unreachable,
}

impl Finding {
    fn new(weight: Weight, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { weight, what: what.into(), mend: Some(mend.into()) }
    }
}

/// What a host said of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Vitals {
    /// As whom the work is done.
    pub user: Option<String>,
    /// How far its clock is ahead, in seconds.
    pub clock_ahead: Option<i64>,
    /// Free bytes, by place.
    pub free: BTreeMap<String, u64>,
}

/// What was found on a host.
#[derive(Debug, Clone, Serialize)]
pub struct Patient {
    /// Its name.
    pub host: String,
    /// What it said of itself, if it could.
    pub vitals: Option<Vitals>,
    /// What is wrong with it, or worth a look.
    pub findings: Vec<Finding>,
}

impl Patient {
    /// The worst that was found.
    pub fn worst(&self) -> Option<Weight> {
        self.findings.iter().map(|finding| finding.weight).max()
    }
}

/// A clock that is off by more than this, in seconds, is told of: the way there and back, rounded up.
const SKEW: i64 = 3;
/// With fewer free bytes than this, nothing can be installed.
const TIGHT: u64 = 200 << 20;
/// With fewer than this, a few packages are all there is room for.
const LOW: u64 = 1 << 30;

/// What is asked: one program that only looks. The tools are its arguments.
pub fn probe(tools: &[Tool]) -> Probe {
    let names: BTreeSet<&str> = tools.iter().flat_map(|tool| tool.any_of).copied().collect();
    let words = ["/bin/sh", "-c", include_str!("look.sh"), "armilla"];
    Probe::Command(Command::new(words.into_iter().chain(names)).within(Duration::from_secs(20)))
}

/// What the answer means. `now` is when it arrived, in seconds since 1970 by our clock.
pub fn examine(tools: &[Tool], readings: &Readings, now: i64) -> (Vitals, Vec<Finding>) {
    let answer = match readings.command(&probe(tools)) {
        Ok(answer) if answer.exit == 0 => String::from_utf8_lossy(&answer.stdout).into_owned(),
        Ok(answer) => {
            let words = String::from_utf8_lossy(&answer.stderr).trim().to_owned();
            let what = format!("a plain shell script fails there with exit code {}: {words}", answer.exit);
            return (Vitals::default(), vec![Finding { weight: Weight::Fault, what, mend: None }]);
        }
        Err(why) => {
            let what = format!("its requirements could not be checked: {why}");
            return (Vitals::default(), vec![Finding { weight: Weight::Fault, what, mend: None }]);
        }
    };
    let said = Output::new(&answer);
    let vitals = said.vitals(now);
    let mut findings = said.missing(tools);
    findings.extend(said.places(&vitals));
    findings.extend(clock(&vitals));
    findings.extend(said.rights());
    (vitals, findings)
}

/// The lines of the answer.
struct Output<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Output<'a> {
    fn new(answer: &'a str) -> Self {
        Self(answer.lines().filter_map(|line| line.split_once(' ')).collect())
    }

    fn all(&self, word: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(first, _)| *first == word).map(|(_, rest)| *rest)
    }

    fn vitals(&self, now: i64) -> Vitals {
        let free = |line: &str| {
            let (place, kibibytes) = line.split_once(' ')?;
            Some((place.to_owned(), kibibytes.parse::<u64>().ok()? * 1024))
        };
        let clock = self.all("clock").next().and_then(|text| text.parse::<i64>().ok());
        Vitals {
            user: self.all("user").next().map(str::to_owned),
            clock_ahead: clock.map(|clock| clock - now),
            free: self.all("free").filter_map(free).collect(),
        }
    }

    /// What is not there: one finding for each package that brings it.
    fn missing(&self, tools: &[Tool]) -> Vec<Finding> {
        let there: BTreeSet<&str> = self.all("has").collect();
        let missing = tools.iter().filter(|tool| !tool.any_of.iter().any(|name| there.contains(name)));
        let mut by_package: BTreeMap<&str, (Vec<String>, BTreeSet<&str>)> = BTreeMap::new();
        for tool in missing {
            let (names, users) = by_package.entry(tool.package).or_default();
            names.push(tool.any_of.join(" or "));
            users.insert(tool.used_by);
        }
        let finding = |(package, (names, users)): (&str, (Vec<String>, BTreeSet<&str>))| {
            let users: Vec<&str> = users.into_iter().collect();
            let what = format!("{} is missing, which {} needs", names.join(", no "), users.join(", "));
            let mend = match package {
                "" => None,
                package if there.contains("apt-get") => Some(format!("apt-get install {package}")),
                package if there.contains("dnf") => Some(format!("dnf install {package}")),
                package => Some(format!("install {package}")),
            };
            Finding { weight: Weight::Fault, what, mend }
        };
        by_package.into_iter().map(finding).collect()
    }

    fn places(&self, vitals: &Vitals) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (place, free) in &vitals.free {
            let mend = format!("find large files: du -xh {place} | sort -h | tail; or: apt-get clean");
            let weight = match free {
                0..TIGHT => Weight::Fault,
                TIGHT..LOW => Weight::Note,
                _ => continue,
            };
            findings.push(Finding::new(weight, format!("only {} MB are free on {place}", free / 1_000_000), mend));
        }
        if self.all("writes").next().is_none() {
            let what = "neither /run nor /var/tmp is writable, so no program can run for a plan";
            findings.push(Finding::new(Weight::Fault, what, "mount | grep -w ro; with -b armilla works as root"));
        }
        findings
    }

    /// Whether it is root, or could be.
    fn rights(&self) -> Option<Finding> {
        let user = self.all("user").next().filter(|user| *user != "root")?;
        let note = |text: &str, mend: &str| Some(Finding::new(Weight::Note, format!("works as {user}, {text}"), mend));
        match self.all("sudo").next() {
            Some("yes") => note("who may use sudo", "become root: -b, or `connection: { become: true }`"),
            Some("none") => note("and there is no sudo", "log in as root, or apt-get install sudo"),
            Some(words) => {
                let words = words.strip_prefix("no ").unwrap_or("no");
                note(&format!("and sudo says: {words}"), "give its password with -K, or let this user work without one")
            }
            None => note("not as root", "become root: -b, or `connection: { become: true }`"),
        }
    }
}

fn clock(vitals: &Vitals) -> Option<Finding> {
    let ahead = vitals.clock_ahead.filter(|ahead| ahead.abs() > SKEW)?;
    let way = if ahead > 0 { "ahead" } else { "behind" };
    let what = format!("its clock is {} s {way} of this machine's", ahead.unsigned_abs());
    Some(Finding::new(Weight::Note, what, "timedatectl set-ntp true (or install chrony), on both"))
}

/// Why a host could not be worked with, and how to mend that.
pub fn unreachable(host: &Endpoint, error: &TransportError) -> Finding {
    let (weight, mend) = match error {
        TransportError::HostKeyUnknown { .. } => (
            Weight::Unreachable,
            "compare the fingerprint with that of the host: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub; then --accept-new"
                .to_owned(),
        ),
        TransportError::HostKeyChanged { .. } => {
            let name = host.port.map_or_else(|| host.address.clone(), |port| format!("'[{}]:{port}'", host.address));
            (Weight::Unreachable, format!("only if the host was reinstalled: ssh-keygen -R {name}"))
        }
        TransportError::Become { why, .. } => (Weight::Fault, sudo(host, why)),
        TransportError::Local { .. } => (Weight::Fault, "the fault is on this machine, not on the host".to_owned()),
        TransportError::Protocol { .. } => {
            (Weight::Unreachable, "its login shell must run /bin/sh -c and must not print without end".to_owned())
        }
        TransportError::Fenced { .. } => {
            (Weight::Fault, "another run works on it: see `armilla lock status`".to_owned())
        }
        TransportError::Program { .. } => {
            (Weight::Fault, "its message says what is missing; `armilla-host` is copied to each host once".to_owned())
        }
        TransportError::Unable { .. } => {
            (Weight::Fault, "follow its message; armilla keeps its data on a host in /var/lib/armilla/host".to_owned())
        }
        TransportError::Unreachable { why, .. } | TransportError::Lost { why, .. } => (Weight::Unreachable, way(host, why)),
    };
    Finding::new(weight, error.to_string(), mend)
}

fn sudo(host: &Endpoint, why: &str) -> String {
    let user = host.user.as_deref().unwrap_or("USER");
    if why.contains("not installed") {
        "log in as root and: apt-get install sudo".to_owned()
    } else {
        format!(
            "give the password with -K, or as root on it: echo '{user} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/{user}"
        )
    }
}

/// In ssh's own words, as OpenSSH 9 says them.
fn way(host: &Endpoint, why: &str) -> String {
    let says = |text: &str| why.contains(text);
    let at = host.user.as_ref().map_or_else(|| host.address.clone(), |user| format!("{user}@{}", host.address));
    if says("resolve hostname") {
        format!("the name cannot be resolved: give {} an `address` in the inventory", host.name)
    } else if says("Permission denied") {
        format!("its sshd accepts none of our keys: ssh-copy-id {at}, or set `user` and `key` in the inventory")
    } else if says("Connection refused") {
        "no sshd listens there: run systemctl enable --now ssh on it, or set `port` in the inventory".to_owned()
    } else {
        format!("check that it is powered on and reachable: ping {}; ssh -v {at}", host.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::HostName;
    use crate::step::{CommandReading, Reading};

    const TOOLS: &[Tool] = &[
        Tool { any_of: &["curl", "wget"], package: "curl", used_by: "health http" },
        Tool { any_of: &["systemctl"], package: "systemd", used_by: "service" },
    ];

    fn examined(answer: &str) -> (Vitals, Vec<Finding>) {
        let reading = CommandReading { exit: 0, stdout: answer.as_bytes().to_vec(), stderr: vec![] };
        let readings = [(probe(TOOLS), Reading::Command(reading))].into_iter().collect();
        examine(TOOLS, &readings, 1000)
    }

    #[test]
    fn a_host_that_has_everything_has_no_findings() {
        let answer =
            "user root\nhas wget\nhas systemctl\nfree / 20000000\nfree /var/tmp 20000000\nwrites /run\nclock 1001\n";
        let (vitals, findings) = examined(answer);
        assert_eq!(findings, []);
        assert_eq!((vitals.user.as_deref(), vitals.clock_ahead), (Some("root"), Some(1)));
        assert_eq!(vitals.free["/"], 20_480_000_000);
    }

    #[test]
    fn every_lack_is_told_with_what_mends_it() {
        let answer = "user ada\nsudo no sudo: a password is required\nhas apt-get\nfree / 100\nclock 900\n";
        let (_, findings) = examined(answer);
        let text: Vec<String> =
            findings.iter().map(|f| format!("{} | {}", f.what, f.mend.as_deref().unwrap_or_default())).collect();
        let text = text.join("\n");
        for part in [
            "curl or wget is missing, which health http needs | apt-get install curl",
            "systemctl is missing, which service needs | apt-get install systemd",
            "only 0 MB are free on /",
            "neither /run nor /var/tmp is writable",
            "its clock is 100 s behind",
            "works as ada, and sudo says: sudo: a password is required | give its password with -K",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn a_host_that_did_not_answer_is_not_taken_for_one_without_tools() {
        let (_, findings) = examine(TOOLS, &Readings::default(), 0);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].what.starts_with("its requirements could not be checked"), "{findings:?}");
    }

    #[test]
    fn each_way_not_to_reach_a_host_has_its_own_mend() {
        let host = Endpoint::new(HostName::new("w1").expect("a name"));
        let mend = |why: &str| {
            let error = TransportError::Unreachable { host: "w1".into(), why: why.into() };
            unreachable(&host, &error).mend.unwrap_or_default()
        };
        assert!(mend("ssh: Could not resolve hostname w1: Name or service not known").contains("`address`"));
        assert!(mend("ada@w1: Permission denied (publickey).").contains("ssh-copy-id"));
        assert!(mend("ssh: connect to host w1 port 22: Connection refused").contains("sshd"));
        assert!(mend("ssh: connect to host w1 port 22: Connection timed out").contains("ping w1"));
    }
}
