//! What a host answers to probes.
//!
//! In: probes, and the time for all of them. Out: a reading for every probe. Never: a guess; what is not known is
//! [`Reading::Failed`]. Never a link followed that others could have planted, nor a wait for what has no end.

mod fault;
mod fitness;
mod look;
mod packages;
mod paths;
mod ports;
mod removal;
mod state;
mod tools;
mod units;
mod watched;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{ScopedJoinHandle, scope};
use std::time::{Duration, Instant};

use super::Place;
use super::account::{Accounts, Run, usage};
use crate::step::{
    AccountUse, Command, CommandReading, FETCH_LIMIT, HttpRequest, Probe, Reading, Readings, UserReading,
};
use state::Identity;
use tools::Tools;
use watched::{Limits, Work, each};

/// Makes a request of a web server, within its own limit: [`Reading::Http`] or [`Reading::Failed`].
pub(super) type Ask = Arc<dyn Fn(&HttpRequest) -> Reading + Send + Sync>;

/// How much of the standard error of a program is kept, in bytes: its end.
const COMPLAINT_LIMIT: usize = 16 << 10;

/// How many web servers and ports are asked at once.
const AT_ONCE: usize = 8;

/// What a host is read with, besides its files.
#[derive(Clone)]
pub(super) struct Means {
    /// Runs the program of a probe and returns at least the first [`FETCH_LIMIT`] bytes of its output and the last 16 KiB of
    /// its standard error; an error if a process that it left running holds them open.
    pub(super) run: Run,
    /// Runs a program of the host, such as `getent`, and returns its whole output; an error if that is too large.
    pub(super) tool: Run,
    /// Asks a web server.
    pub(super) ask: Ask,
}

/// Answers every probe. `budget` is the time for all of them together; what comes later is answered as failed. Without a
/// place armilla keeps nothing on this host.
pub(super) fn read(probes: &[Probe], budget: Duration, place: Option<&Place>, means: &Means) -> Readings {
    let (faulty, askable): (Vec<&Probe>, Vec<&Probe>) = probes.iter().partition(|probe| fault::fault(probe).is_some());
    let reader = Reader::new(Instant::now() + budget, place, means);
    let mut readings = reader.all(&askable);
    let why = |probe: &Probe| fault::fault(probe).unwrap_or_else(|| "the host did not answer it".to_owned());
    let missing: Vec<&Probe> = askable.into_iter().filter(|probe| readings.get(probe).is_none()).collect();
    for probe in faulty.into_iter().chain(missing) {
        readings.insert(probe.clone(), Reading::Failed(why(probe)));
    }
    readings
}

type Answers = Vec<(Probe, Reading)>;

struct Reader<'a> {
    place: Option<&'a Place>,
    tools: Tools,
    means: &'a Means,
    accounts: Accounts,
}

impl<'a> Reader<'a> {
    fn new(deadline: Instant, place: Option<&'a Place>, means: &'a Means) -> Self {
        let tools = Tools { tool: Arc::clone(&means.tool), root: PathBuf::from("/"), deadline };
        // The programs that list accounts share the time of all probes.
        let within = tools.clone();
        let accounts = Accounts::new(Arc::new(move |command: &Command| within.run(command)));
        Self { place, tools, means, accounts }
    }

    /// What takes longest has a thread of its own: systemd, asked about a few units, takes as long as all the rest. The
    /// programs of probes run one after the other.
    fn all(&self, probes: &[&Probe]) -> Readings {
        scope(|scope| {
            let spawn = |work: fn(&Self, &[&Probe]) -> Answers, wanted: fn(&Probe) -> bool| {
                probes.iter().any(|probe| wanted(probe)).then(|| scope.spawn(move || work(self, probes)))
            };
            let beside = [
                spawn(Self::units, |probe| matches!(probe, Probe::Unit(_))),
                spawn(Self::packages, |probe| matches!(probe, Probe::Package(_))),
                spawn(Self::removals, |probe| matches!(probe, Probe::Removal(_))),
                spawn(Self::network, |probe| matches!(probe, Probe::Port { .. } | Probe::Http(_))),
            ];
            let paths = paths::paths(probes.iter().copied(), &self.accounts, self.tools.deadline);
            let here = [paths, self.people(probes), self.state(probes), self.host(probes), self.commands(probes)];
            let beside = beside.into_iter().flatten().map(ScopedJoinHandle::join).filter_map(Result::ok);
            here.into_iter().chain(beside).flatten().collect()
        })
    }

    fn units(&self, probes: &[&Probe]) -> Answers {
        let (asked, names) = named(probes, |probe| match probe {
            Probe::Unit(name) => Some(name),
            _ => None,
        });
        answers(asked, units::units(&names, &self.tools), Reading::Unit)
    }

    fn packages(&self, probes: &[&Probe]) -> Answers {
        let (asked, names) = named(probes, |probe| match probe {
            Probe::Package(name) => Some(name),
            _ => None,
        });
        answers(asked, packages::packages(&names, &self.tools), Reading::Package)
    }

    fn removals(&self, probes: &[&Probe]) -> Answers {
        let (asked, names) = named(probes, |probe| match probe {
            Probe::Removal(name) => Some(name),
            _ => None,
        });
        answers(asked, removal::removals(&names, &self.tools), Reading::Removal)
    }

    /// What uses accounts, and the host itself.
    fn host(&self, probes: &[&Probe]) -> Answers {
        let told = |probe: &Probe| match probe {
            Probe::AccountUse(name) => Some(self.usage(name).map_or_else(Reading::Failed, Reading::AccountUse)),
            Probe::Fitness(programs) => Some(Reading::Fitness(fitness::fitness(programs, &self.tools, &self.accounts))),
            _ => None,
        };
        probes.iter().filter_map(|probe| Some(((*probe).clone(), told(probe)?))).collect()
    }

    fn usage(&self, name: &str) -> Result<Vec<AccountUse>, String> {
        self.tools.left(tools::PATIENCE)?;
        let user = self.accounts.user(name).map_err(|failure| failure.why)?;
        user.map_or_else(|| Ok(Vec::new()), |user| usage(name, user.uid, Path::new("/")))
    }

    /// Users, groups and memberships.
    fn people(&self, probes: &[&Probe]) -> Answers {
        let (_, users) = named(probes, |probe| match probe {
            Probe::User(name) | Probe::Membership(name) | Probe::AccountUse(name) => Some(name),
            _ => None,
        });
        let (_, groups) = named(probes, |probe| match probe {
            Probe::Group(name) => Some(name),
            _ => None,
        });
        let (_, members) = named(probes, |probe| match probe {
            Probe::Membership(name) => Some(name),
            _ => None,
        });
        self.accounts.prepare_names(users, groups);
        self.accounts.prepare_groups(members);
        probes.iter().filter_map(|probe| Some(((*probe).clone(), self.person(probe)?))).collect()
    }

    fn person(&self, probe: &Probe) -> Option<Reading> {
        let told = match probe {
            Probe::User(name) => self.accounts.user(name).map(|user| {
                Reading::User(user.map(|user| UserReading {
                    uid: user.uid,
                    gid: user.gid,
                    home: user.home,
                    shell: user.shell,
                    comment: user.comment,
                }))
            }),
            Probe::Membership(name) => {
                self.accounts.groups(name).map(|groups| Reading::Membership(groups.map(|groups| groups.names())))
            }
            Probe::Group(name) => self.accounts.group(name).map(|group| Reading::Group(group.map(|group| group.gid))),
            _ => return None,
        };
        Some(told.unwrap_or_else(|failure| Reading::Failed(failure.why)))
    }

    /// A home may lie on a file system that does not answer, too.
    fn state(&self, probes: &[&Probe]) -> Answers {
        if !probes.contains(&&Probe::State) {
            return Vec::new();
        }
        let limits = Limits { patience: paths::PATIENCE, deadline: self.tools.deadline };
        let work: Work<Option<Place>, _> =
            Arc::new(|place: &Option<Place>, _: &_| state::state(place.as_ref(), &Identity::default()));
        let hung = |place: &Option<Place>| {
            let at = place.as_ref().map(|place| place.directory().display().to_string()).unwrap_or_default();
            Err(format!("the file system at {at} does not answer; its server may be away"))
        };
        let told = each(vec![self.place.cloned()], limits, &work, &hung);
        answers(vec![&Probe::State], told, |state| Reading::State(Box::new(state)))
    }

    fn commands(&self, probes: &[&Probe]) -> Answers {
        let command = |probe: &&Probe| match probe {
            Probe::Command(command) => Some(((*probe).clone(), self.tools.within(&self.means.run, command))),
            _ => None,
        };
        let told = probes.iter().filter_map(command);
        told.map(|(probe, ended)| (probe, ended.map_or_else(Reading::Failed, |ended| Reading::Command(bounded(ended)))))
            .collect()
    }

    /// Ports and web servers, several at once: most of their time is waiting.
    fn network(&self, probes: &[&Probe]) -> Answers {
        let asked: Vec<&Probe> =
            probes.iter().copied().filter(|probe| matches!(probe, Probe::Port { .. } | Probe::Http(_))).collect();
        let next = AtomicUsize::new(0);
        let some = || -> Answers {
            let next = || asked.get(next.fetch_add(1, Ordering::Relaxed)).copied();
            std::iter::from_fn(next).map(|probe| (probe.clone(), self.connected(probe))).collect()
        };
        scope(|scope| {
            let workers: Vec<_> = asked.iter().take(AT_ONCE).map(|_| scope.spawn(some)).collect();
            workers.into_iter().filter_map(|worker| worker.join().ok()).flatten().collect()
        })
    }

    fn connected(&self, probe: &Probe) -> Reading {
        match probe {
            Probe::Port { address, port, timeout } => {
                ports::port(address, *port, *timeout, &self.tools).map_or_else(Reading::Failed, Reading::Port)
            }
            Probe::Http(request) => match self.tools.left(request.timeout) {
                Ok(timeout) => (self.means.ask)(&HttpRequest { timeout, ..request.clone() }),
                Err(why) => Reading::Failed(why),
            },
            _ => Reading::Failed("it is not asked over the network".to_owned()),
        }
    }
}

/// The probes of one sort, and the name in each.
fn named<'a>(probes: &[&'a Probe], name: fn(&'a Probe) -> Option<&'a String>) -> (Vec<&'a Probe>, Vec<&'a str>) {
    probes.iter().filter_map(|probe| Some((*probe, name(probe)?.as_str()))).unzip()
}

fn answers<T>(asked: Vec<&Probe>, told: Vec<Result<T, String>>, reading: fn(T) -> Reading) -> Answers {
    let told = told.into_iter().map(|told| told.map_or_else(Reading::Failed, reading));
    asked.into_iter().cloned().zip(told).collect()
}

/// Truncates the output of a program: the beginning of its standard output and the end of its standard error are kept.
fn bounded(mut ended: CommandReading) -> CommandReading {
    ended.stdout.truncate(usize::try_from(FETCH_LIMIT).unwrap_or(usize::MAX));
    let more = ended.stderr.len().saturating_sub(COMPLAINT_LIMIT);
    ended.stderr.drain(..more);
    ended
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::{Digest, Fetch, HttpReading, PathReading, PortReading};
    use std::io::Write as _;
    use std::process::Stdio;
    use std::sync::Mutex;

    /// Runs programs as they are, and notes which.
    fn means(log: &Arc<Mutex<Vec<String>>>) -> Means {
        let log = Arc::clone(log);
        let run = move |command: &Command| {
            log.lock().expect("a log").push(command.argv[0].clone());
            let mut process = std::process::Command::new(&command.argv[0]);
            process.args(&command.argv[1..]).envs(&command.environment).env("LC_ALL", "C");
            process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let Ok(mut child) = process.spawn() else {
                return Ok(CommandReading { exit: 127, ..CommandReading::default() });
            };
            child
                .stdin
                .take()
                .expect("its input")
                .write_all(command.stdin.bytes())
                .map_err(|error| error.to_string())?;
            let ended = child.wait_with_output().map_err(|error| error.to_string())?;
            Ok(CommandReading { exit: ended.status.code().unwrap_or(1), stdout: ended.stdout, stderr: ended.stderr })
        };
        let ask = |request: &HttpRequest| {
            Reading::Http(Ok(HttpReading { body: request.url.clone().into_bytes(), ..HttpReading::default() }))
        };
        let run: Run = Arc::new(run);
        Means { tool: Arc::clone(&run), run, ask: Arc::new(ask) }
    }

    fn told(probes: &[Probe]) -> (Readings, Vec<String>) {
        let log = Arc::default();
        let readings = read(probes, Duration::from_secs(50), None, &means(&log));
        let log = std::mem::take(&mut *log.lock().expect("a log"));
        (readings, log)
    }

    #[test]
    fn accounts_and_packages_of_this_machine_are_read() {
        let user = |name: &str| Probe::User(name.to_owned());
        let member = |name: &str| Probe::Membership(name.to_owned());
        let group = |name: &str| Probe::Group(name.to_owned());
        let package = |name: &str| Probe::Package(name.to_owned());
        let probes = [
            user("root"),
            user("no-such"),
            user("daemon"),
            user("-x"),
            group("root"),
            group("no-such"),
            package("dpkg"),
            package("no-such-package"),
            package("*"),
            member("root"),
            member("no-such"),
            member("-x"),
        ];
        let (readings, _) = told(&probes);
        let root = readings.user(&probes[0]).expect("an answer").clone().expect("root is there");
        assert_eq!((root.uid, root.gid, root.home.as_str()), (0, 0, "/root"));
        assert_eq!(readings.user(&probes[1]), Ok(&None));
        assert_eq!(readings.user(&probes[2]).expect("an answer").as_ref().map(|user| user.uid), Some(1));
        assert!(readings.user(&probes[3]).is_err());
        assert_eq!(readings.group(&probes[4]), Ok(&Some(0)));
        assert_eq!(readings.group(&probes[5]), Ok(&None));
        assert!(readings.package(&probes[6]).expect("an answer").installed.is_some());
        assert_eq!(readings.package(&probes[7]).expect("an answer").installed, None);
        assert!(readings.package(&probes[8]).is_err());
        let root = readings.membership(&probes[9]).expect("an answer").clone().expect("root is there");
        assert_eq!(root.group, "root");
        assert_eq!(readings.membership(&probes[10]), Ok(&None));
        assert!(readings.membership(&probes[11]).is_err());
    }

    #[test]
    fn this_host_says_how_it_is_and_what_is_in_use() {
        let programs = ["sh", "no-such-program", "../bin/sh", ""].map(str::to_owned).into();
        let probes = [
            Probe::Fitness(programs),
            Probe::AccountUse("root".to_owned()),
            Probe::AccountUse("no-such".to_owned()),
            Probe::Removal("no-such-package".to_owned()),
            Probe::Removal("libc-bin".to_owned()),
        ];
        let (readings, _) = told(&probes);
        let fitness = readings.fitness(&probes[0]).expect("an answer");
        let uid = rustix::process::geteuid();
        assert_eq!(
            (fitness.user == "root", fitness.sudo == crate::step::Sudo::NotNeeded),
            (uid.is_root(), uid.is_root())
        );
        assert_eq!(fitness.programs.iter().map(String::as_str).collect::<Vec<_>>(), ["sh"]);
        assert!(fitness.free.get("/").is_some_and(|free| *free > 0) && fitness.clock > 1_700_000_000, "{fitness:?}");
        assert!(!readings.account_use(&probes[1]).expect("an answer").is_empty());
        assert_eq!(readings.account_use(&probes[2]), Ok(&Vec::new()));
        assert_eq!(readings.removal(&probes[3]), Ok(&crate::step::RemovalReading::default()));
        // Much needs it, on every machine with dpkg.
        assert!(!readings.removal(&probes[4]).expect("an answer").needs.is_empty());
    }

    #[test]
    fn fifty_paths_start_as_many_programs_as_ten() {
        let room = tempfile::tempdir().expect("a directory");
        let started = |number: usize| {
            let mut probes: Vec<Probe> = (0..number)
                .map(|at| {
                    let (file, content) = (room.path().join(format!("file {at}")), vec![b'x'; 1000 + at]);
                    std::fs::write(&file, &content).expect("a file");
                    Probe::Path { path: file.display().to_string(), content: Fetch::Unless(Digest::of(&content)) }
                })
                .collect();
            probes.extend(["dpkg", "bash", "coreutils"].map(|name| Probe::Package(name.to_owned())));
            probes.extend(["ssh.service", "cron.service"].map(|name| Probe::Unit(name.to_owned())));
            let (readings, mut log) = told(&probes);
            assert!(matches!(readings.path(&probes[number - 1]), Ok(PathReading::File { content: None, .. })));
            log.sort();
            log
        };
        let (ten, fifty) = (started(10), started(50));
        assert_eq!(ten, fifty);
        assert!(ten.len() <= 1, "{ten:?}");
    }

    #[test]
    fn programs_ports_and_web_servers_are_asked_and_bounded() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let open = listener.local_addr().expect("its address").port();
        let sh = |script: &str| Probe::Command(Command::new(["sh", "-c", script]));
        let probes = [
            sh("echo out; echo err >&2; exit 7"),
            sh("head -c 300000 /dev/zero; head -c 20000 /dev/zero >&2; echo end >&2"),
            Probe::Command(Command::new(["/no/such/program"])),
            Probe::port("127.0.0.1", open),
            Probe::Http(HttpRequest::get("http://127.0.0.1/")),
            Probe::Http(HttpRequest::get("file:///etc/passwd")),
            Probe::State,
        ];
        let (readings, _) = told(&probes);
        let command = |at: usize| readings.command(&probes[at]).expect("an answer");
        assert_eq!(
            (command(0).exit, command(0).stdout.as_slice(), command(0).stderr.as_slice()),
            (7, b"out\n".as_slice(), b"err\n".as_slice())
        );
        assert_eq!((command(1).stdout.len(), command(1).stderr.len()), (262_144, 16_384));
        assert!(command(1).stderr.ends_with(b"end\n"));
        assert_eq!(command(2).exit, 127);
        assert_eq!(readings.port(&probes[3]), Ok(&PortReading::Open));
        assert!(readings.http(&probes[4]).expect("asked").is_ok());
        assert!(readings.http(&probes[5]).is_err());
        assert!(!readings.state(&probes[6]).expect("an answer").boot.is_empty());
    }

    #[test]
    fn what_comes_when_the_time_is_over_is_not_known() {
        let path = Probe::Path { path: "/etc/passwd".to_owned(), content: Fetch::Digest };
        let probes = [
            path,
            Probe::Command(Command::new(["true"])),
            Probe::port("127.0.0.1", 1),
            Probe::Package("dpkg".to_owned()),
            Probe::Http(HttpRequest::get("http://127.0.0.1/")),
        ];
        let log = Arc::default();
        let readings = read(&probes, Duration::ZERO, None, &means(&log));
        for probe in &probes {
            assert!(
                matches!(readings.get(probe), Some(Reading::Failed(why)) if why == "no time was left for it"),
                "{probe:?}"
            );
        }
        assert!(log.lock().expect("a log").is_empty());
    }
}
