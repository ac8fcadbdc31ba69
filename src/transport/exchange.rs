//! Requests over a channel, however it was opened.
//!
//! In: a channel and what to ask or do. Out: readings and outcomes, or the room's error for this host, and the channel if
//! something else may go over it.
//! Never: a connection of its own.

use std::path::Path;
use std::time::Duration;

use super::api::{Order, Performed, StepEvent, Stream, Then};
use super::bootstrap::Password;
use super::dialogue::{Broken, Channel, LARGEST, Received, Speech, converse, random};
use super::error::TransportError;
use super::feed::Feed;
use super::programs::Programs;
use super::words::brief;
use crate::crash;
use crate::host::longest;
use crate::host::wire::{Answer, Call, Frames, Refusal, Request, frame};
use crate::inventory::{Become, Endpoint};
use crate::lease::{self, LeaseAnswer};
use crate::secret::Secret;
use crate::step::{Command, Outcome, Probe, Readings, Step};

/// Why an answer is missing whose shell ended without a word.
pub(super) const CLOSED_EARLY: &str = "it closed early";

/// How long an answer may take, and how many bytes it may have.
#[derive(Clone, Copy)]
struct Limits {
    time: Duration,
    largest: usize,
}

/// What comes after an answer.
enum Next<'a> {
    /// Another one.
    Answer,
    /// This file.
    File(Feed<'a>),
    /// Nothing: no host says this.
    Refused(&'static str),
}

/// One round trip that is about to be made.
pub(super) struct Exchange<'a> {
    pub(super) host: &'a Endpoint,
    password: Option<&'a Secret<String>>,
    programs: &'a Programs,
}

impl<'a> Exchange<'a> {
    /// With the password that sudo may ask for, and what the host program may be.
    pub(super) fn new(
        host: &'a Endpoint,
        password: Option<&'a Secret<String>>,
        programs: &'a Programs,
    ) -> Result<Self, TransportError> {
        let password = password.filter(|_| host.become_user == Become::Root);
        if password.is_some_and(|password| password.expose().contains(['\n', '\0'])) {
            let why = "a password cannot contain a line break".to_owned();
            return Err(TransportError::Become { host: host.name.to_string(), why });
        }
        Ok(Self { host, password, programs })
    }

    /// Whether sudo will be given a password.
    pub(super) fn password(&self) -> Password {
        if self.password.is_some() { Password::Given } else { Password::None }
    }

    /// The digests of the host programs, for a new channel.
    pub(super) fn digests(&self) -> Result<String, TransportError> {
        self.programs.digests().map_err(|why| self.local(why))
    }

    /// A word that nobody can guess, for a new channel.
    pub(super) fn token(&self) -> Result<String, TransportError> {
        random().map_err(|error| no_chance(self.host, &error))
    }

    /// Asks everything.
    pub(super) async fn read(
        &self,
        channel: &mut Option<Channel>,
        probes: &[Probe],
        limit: Duration,
    ) -> Result<Readings, TransportError> {
        let mut readings = Readings::default();
        self.hold(channel, reading(probes, limit), Limits { time: limit, largest: LARGEST }, &mut |answer| {
            if let Answer::Reading(number, reading) = answer
                && let Some(probe) = probes.get(place(number))
            {
                readings.insert(probe.clone(), reading);
            }
        })
        .await?;
        match probes.iter().find(|probe| readings.get(probe).is_none()) {
            Some(probe) => Err(self.protocol(format!("it does not answer {probe:?}"))),
            None => Ok(readings),
        }
    }

    /// Does steps, and what follows them. One reading may take as long as `slack`.
    pub(super) async fn perform(
        &self,
        channel: &mut Option<Channel>,
        (order, then): (Order<'_>, Then<'_>),
        slack: Duration,
        watch: &(dyn Fn(StepEvent) + Send + Sync),
    ) -> Result<Performed, TransportError> {
        /// How long the host waits for an earlier order to end.
        const WAITING: Duration = Duration::from_secs(600);
        let Order { steps, ticket, .. } = order;
        let waiting = ticket.map_or(Duration::ZERO, |_| WAITING);
        let mut time = longest(steps) + waiting + slack;
        let mut requests =
            vec![Request::Perform { steps: steps.to_vec(), ticket: ticket.cloned(), crash_at: crash::host_point() }];
        if !then.read.is_empty() {
            requests.push(reading(then.read, slack));
            time += slack;
        }
        requests.extend(then.release.map(|id| Request::Lease(lease::Request::Release { id: id.clone() })));
        let mut course = Course::new(order, then.read, watch);
        let limits = Limits { time, largest: LARGEST };
        self.hold_feeding(channel, requests, limits, &mut |answer| course.hear(answer)).await?;
        let Course { outcomes, readings, released, ended, .. } = course;
        let is_whole = outcomes.len() == steps.len() || matches!(outcomes.last(), Some(Outcome::Failed { .. }));
        let is_read = !then.read.is_empty() && then.read.iter().all(|probe| readings.get(probe).is_some());
        let readings = is_read.then_some(readings);
        match ended {
            Some(refusal) => Err(self.refused(&refusal)),
            None if is_whole => Ok(Performed { outcomes, readings, released }),
            None => Err(self.protocol(format!("it reports {} of {} steps", outcomes.len(), steps.len()))),
        }
    }

    /// Asks for a lease, or about one.
    pub(super) async fn lease(
        &self,
        channel: &mut Option<Channel>,
        request: &lease::Request,
        limit: Duration,
    ) -> Result<LeaseAnswer, TransportError> {
        let (mut told, mut refusal) = (None, None);
        let limits = Limits { time: limit, largest: LARGEST };
        self.hold(channel, Request::Lease(request.clone()), limits, &mut |answer| match answer {
            Answer::Lease(lease) => told = Some(lease),
            Answer::Refused(why) => refusal = Some(why),
            _ => {}
        })
        .await?;
        match (told, refusal) {
            (_, Some(refusal)) => Err(self.refused(&refusal)),
            (Some(told), None) => Ok(told),
            (None, None) => Err(self.protocol("it does not report the lease".to_owned())),
        }
    }

    /// Runs a program; tells what it says as it says it, and gives its exit code: 124 if it ran out of time.
    pub(super) async fn run(
        &self,
        channel: &mut Option<Channel>,
        command: &Command,
        slack: Duration,
        tell: &(dyn Fn(Stream, &[u8]) + Send + Sync),
    ) -> Result<i32, TransportError> {
        let mut code = None;
        let limits = Limits { time: command.timeout + slack, largest: usize::MAX };
        self.hold(channel, Request::Run(command.clone()), limits, &mut |answer| match answer {
            Answer::Out(bytes) => tell(Stream::Out, &bytes),
            Answer::Err(bytes) => tell(Stream::Err, &bytes),
            Answer::Exited(exit) => code = Some(exit),
            _ => {}
        })
        .await?;
        code.ok_or_else(|| self.protocol("it does not say how the program ended".to_owned()))
    }

    /// Sends a request, and gives each answer to `take` until there are no more.
    async fn hold(
        &self,
        channel: &mut Option<Channel>,
        request: Request,
        limits: Limits,
        take: &mut (dyn FnMut(Answer) + Send),
    ) -> Result<(), TransportError> {
        let mut take = |answer| {
            take(answer);
            Next::Answer
        };
        self.hold_feeding(channel, vec![request], limits, &mut take).await
    }

    /// The same of several requests; `take` may answer with a file.
    async fn hold_feeding<'f>(
        &self,
        channel: &mut Option<Channel>,
        requests: Vec<Request>,
        limits: Limits,
        take: &mut (dyn FnMut(Answer) -> Next<'f> + Send),
    ) -> Result<(), TransportError> {
        let call = Call { host: self.host.name.clone(), requests };
        let request = frame(&call).map_err(|error| self.local(error.to_string()))?;
        let speech =
            Speech { password: self.password, request: &request, programs: self.programs, largest: limits.largest };
        let free = channel.take().ok_or_else(|| self.lost("no route".to_owned()))?;
        let (mut frames, mut strange) = (Frames::default(), None);
        let mut hear = |bytes: &[u8]| {
            frames.push(bytes);
            loop {
                match frames.take() {
                    Ok(Some(Answer::Over)) => return Received::Whole,
                    Ok(Some(Answer::Enough)) => return Received::Enough,
                    Ok(Some(answer)) => match take(answer) {
                        Next::Answer => {}
                        Next::File(feed) => return Received::Wants(feed),
                        Next::Refused(why) => {
                            strange = Some(std::io::Error::other(why));
                            return Received::Whole;
                        }
                    },
                    Ok(None) => return Received::Unfinished,
                    Err(error) => {
                        strange = Some(error);
                        return Received::Whole;
                    }
                }
            }
        };
        let held = tokio::time::timeout(limits.time, Box::pin(converse(free, &speech, &mut hear))).await;
        match (held, strange) {
            (_, Some(error)) => Err(self.protocol(error.to_string())),
            (Ok(Ok(over)), None) => {
                *channel = over;
                Ok(())
            }
            (Ok(Err(broken)), None) => Err(self.error(broken)),
            (Err(_), None) => Err(self.lost(format!("no answer within {} s", limits.time.as_secs()))),
        }
    }

    fn error(&self, broken: Broken) -> TransportError {
        let host = self.host.name.to_string();
        match broken {
            Broken::Become(why) => TransportError::Become { host, why },
            Broken::NoProgram(why) => TransportError::Program { host, why },
            Broken::NotReady(noise) if noise.is_empty() => self.lost("it closed before it started".to_owned()),
            Broken::NotReady(noise) => self.protocol(format!("no POSIX shell started; it printed: {}", brief(&noise))),
            Broken::Ended(words) if words.is_empty() => self.lost(CLOSED_EARLY.to_owned()),
            Broken::Ended(words) => self.lost(format!("it closed early and printed: {}", brief(&words))),
            Broken::TooMuch => self.protocol(format!("more than {} MiB", LARGEST >> 20)),
        }
    }

    fn refused(&self, refusal: &Refusal) -> TransportError {
        let why = match refusal {
            Refusal::Unable(why) => return self.unable(brief(why)),
            Refusal::Fenced(None) => "its lock has ended".to_owned(),
            Refusal::Fenced(Some(lease)) if lease.is_ended() => "its lock was broken".to_owned(),
            Refusal::Fenced(Some(lease)) => {
                let holder = &lease.holder;
                brief(&format!(
                    "its lock has ended, and {} holds it now, for the run {} of the environment {}",
                    holder.who.replace('\n', " "),
                    holder.run,
                    holder.environment
                ))
            }
        };
        TransportError::Fenced { host: self.host.name.to_string(), why }
    }

    fn unable(&self, why: String) -> TransportError {
        TransportError::Unable { host: self.host.name.to_string(), why }
    }

    fn local(&self, why: String) -> TransportError {
        TransportError::Local { host: self.host.name.to_string(), why }
    }

    fn lost(&self, why: String) -> TransportError {
        TransportError::Lost { host: self.host.name.to_string(), why }
    }

    fn protocol(&self, why: String) -> TransportError {
        TransportError::Protocol { host: self.host.name.to_string(), why }
    }
}

fn no_chance(host: &Endpoint, error: &std::io::Error) -> TransportError {
    let why = super::shortage::shortage(error).unwrap_or_else(|| format!("no random numbers available: {error}"));
    TransportError::Local { host: host.name.to_string(), why }
}

/// What asks a host all this. What the time is longer than the budget is for the way there and back and for what is no program.
fn reading(probes: &[Probe], limit: Duration) -> Request {
    let budget = limit.saturating_sub(Duration::from_secs(10)).max(limit / 2);
    Request::Read { probes: probes.to_vec(), budget }
}

/// What is heard of the steps of an order, and of what follows them.
struct Course<'a> {
    steps: &'a [Step],
    project: Option<&'a Path>,
    watch: &'a (dyn Fn(StepEvent) + Send + Sync),
    outcomes: Vec<Outcome>,
    /// What is read after the steps.
    probes: &'a [Probe],
    readings: Readings,
    released: bool,
    ended: Option<Refusal>,
    /// Why the file of the present step cannot be sent.
    unreadable: Option<String>,
}

impl<'a> Course<'a> {
    fn new(order: Order<'a>, probes: &'a [Probe], watch: &'a (dyn Fn(StepEvent) + Send + Sync)) -> Self {
        let Order { steps, project, .. } = order;
        let (outcomes, readings) = (Vec::new(), Readings::default());
        Self { steps, project, watch, outcomes, probes, readings, released: false, ended: None, unreadable: None }
    }

    /// Steps are carried out in order: nothing else that is said of one is believed.
    fn hear(&mut self, answer: Answer) -> Next<'a> {
        let (watch, index) = (self.watch, self.outcomes.len());
        let is_next = |number: u32| place(number) == index && index < self.steps.len();
        match answer {
            Answer::Started(number) if is_next(number) => watch(StepEvent::Started { index }),
            Answer::Waiting(number, why) if is_next(number) => watch(StepEvent::Waiting { index, why }),
            Answer::Ended { index: number, outcome, took } if is_next(number) => self.end(outcome, took),
            Answer::Started(_) | Answer::Waiting(..) | Answer::Ended { .. } => {
                return Next::Refused("it reports a step out of order");
            }
            Answer::Wants(digest) => {
                let file = self.steps.get(index).and_then(Step::large_file).filter(|file| file.sha256 == digest);
                let Some(file) = file else { return Next::Refused("it wants a file that is none of this step") };
                let tell = move |why: String| watch(StepEvent::Waiting { index, why });
                let (feed, why) = Feed::new(self.project, file, Box::new(tell));
                self.unreadable = why;
                return Next::File(feed);
            }
            Answer::Reading(number, reading) => {
                if let Some(probe) = self.probes.get(place(number)) {
                    self.readings.insert(probe.clone(), reading);
                }
            }
            Answer::Lease(LeaseAnswer::Free) => self.released = true,
            // What follows the steps may be refused, and they are done.
            Answer::Refused(why) if index < self.steps.len() || self.steps.is_empty() => self.ended = Some(why),
            _ => {}
        }
        Next::Answer
    }

    fn end(&mut self, outcome: Outcome, took: Duration) {
        let outcome = match (outcome, self.unreadable.take()) {
            // The host only knows that nothing came.
            (Outcome::Failed { exit, .. }, Some(stderr)) => Outcome::Failed { exit, stderr },
            (outcome, _) => outcome,
        };
        self.outcomes.push(outcome.clone());
        (self.watch)(StepEvent::Ended { index: self.outcomes.len() - 1, outcome, took });
    }
}

/// The number of a step or probe, as the list of them counts.
fn place(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}
