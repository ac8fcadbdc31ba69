//! The machine that this program works on: who it works as, how it starts programs, and where it keeps what it must know.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::account::{Accounts, Run};
use super::large::Arrived;
use super::place::{Place, Surroundings};
use super::program::{Identity, Person, Programs, environment, unwatched};
use super::{Failure, Result, http, read};
use crate::step::{Command, CommandReading, HttpRequest, Probe, Reading, Readings};

/// What does not change while this program works.
#[derive(Debug)]
pub(super) struct Machine {
    /// Where armilla keeps what it must know; none for a user without a home.
    pub(super) place: Option<Place>,
    /// The users and groups of this host.
    pub(super) accounts: Arc<Accounts>,
    /// The large files that came.
    pub(super) arrived: Arrived,
    starter: Arc<Starter>,
}

/// What programs are started with.
#[derive(Debug)]
struct Starter {
    /// This program.
    path: PathBuf,
    environment: BTreeMap<OsString, OsString>,
}

impl Starter {
    /// For programs that run as who this is.
    fn programs(&self) -> Programs<'_> {
        Programs { starter: &self.path, environment: &self.environment, person: &nobody, running: &unwatched }
    }
}

fn nobody(name: &str) -> Result<Person> {
    Err(Failure::new(format!("there is no user {name} on this host")))
}

impl Machine {
    /// This one, where `path` is this program.
    pub(super) fn new(path: PathBuf) -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let [host_dir, state_home, home] =
            ["ARMILLA_HOST_DIR", "XDG_STATE_HOME", "HOME"].map(|name| std::env::var(name).ok());
        let around =
            Surroundings { host_dir: host_dir.as_deref(), state_home: state_home.as_deref(), home: home.as_deref() };
        let starter = Arc::new(Starter { path, environment: environment(std::env::vars_os()) });
        let run = tool(Arc::clone(&starter));
        Self {
            place: Place::of(uid, around),
            accounts: Arc::new(Accounts::new(run)),
            arrived: Arrived::default(),
            starter,
        }
    }

    /// The path of this program.
    pub(super) fn path(&self) -> &std::path::Path {
        &self.starter.path
    }

    /// Who a user is, for programs that run as her.
    pub(super) fn person(&self, name: &str) -> Result<Person> {
        let Some(user) = self.accounts.user(name)? else { return nobody(name) };
        let groups = self.accounts.groups(name)?.map_or_else(Vec::new, |groups| groups.numbers());
        let identity = Identity { uid: user.uid, gid: user.gid, groups };
        Ok(Person { identity, home: user.home, shell: user.shell })
    }

    /// How programs are started; `person` is [`Machine::person`].
    pub(super) fn programs<'a>(&'a self, person: &'a dyn Fn(&str) -> Result<Person>) -> Programs<'a> {
        Programs { person, ..self.starter.programs() }
    }

    /// Where a user is at home; none if there is no such user or home.
    pub(super) fn home(&self, name: &str) -> Option<String> {
        self.accounts.home(name).ok().flatten()
    }

    /// Runs a program to its end, for those who only want to know how it ended.
    pub(super) fn run(&self, command: &Command) -> CommandReading {
        let failed = |why: String| CommandReading { exit: 126, stdout: Vec::new(), stderr: why.into_bytes() };
        tool(Arc::clone(&self.starter))(command).unwrap_or_else(failed)
    }

    /// Answers probes.
    pub(super) fn read(self: &Arc<Self>, probes: &[Probe], budget: Duration) -> Readings {
        let (run, ask) = (Arc::clone(self), Arc::clone(self));
        let means = read::Means {
            run: Arc::new(move |command: &Command| {
                match run.programs(&|name| run.person(name)).ask(command, command.timeout) {
                    Reading::Command(ended) => Ok(ended),
                    Reading::Failed(why) => Err(why),
                    other => Err(format!("unexpected answer to a program: {other:?}")),
                }
            }),
            tool: tool(Arc::clone(&self.starter)),
            ask: Arc::new(move |request: &HttpRequest| {
                http::ask(&ask.programs(&|name| ask.person(name)), request, request.timeout)
            }),
        };
        read::read(probes, budget, self.place.as_ref(), &means)
    }
}

/// Runs one of the host's own tools, with all that it says up to the limits of a step.
fn tool(starter: Arc<Starter>) -> Run {
    Arc::new(move |command: &Command| {
        let limits = super::program::Limits::step(command);
        let ended = starter.programs().run(command, &limits, &mut super::program::undisturbed);
        let ended = ended.map_err(|failure| failure.why)?;
        if ended.stdout.left_out() > 0 {
            return Err(format!("{} says more than 1 MiB", command.argv.first().map_or("", String::as_str)));
        }
        Ok(CommandReading { exit: ended.exit, stdout: ended.stdout.bytes(), stderr: ended.stderr.bytes() })
    })
}
