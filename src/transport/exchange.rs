//! Requests over a channel, however it was opened.
//!
//! In: a channel and what to ask or do. Out: readings and outcomes, or the room's error for this host, and the channel if
//! something else may go over it.
//! Never: a connection of its own.

use std::time::Duration;

use super::api::{Order, StepEvent, Stream};
use super::bootstrap::Password;
use super::dialogue::{Broken, Channel, LARGEST, Received, Speech, converse, random};
use super::error::TransportError;
use super::programs::Programs;
use super::words::brief;
use crate::crash;
use crate::host::longest;
use crate::host::wire::{Answer, Call, Frames, Refusal, Request, frame};
use crate::inventory::{Become, Endpoint};
use crate::lease::{self, LeaseAnswer};
use crate::secret::Secret;
use crate::step::{Command, Outcome, Probe, Readings};

/// Why an answer is missing whose shell ended without a word.
pub(super) const CLOSED_EARLY: &str = "it closed early";

/// How long an answer may take, and how many bytes it may have.
#[derive(Clone, Copy)]
struct Limits {
    time: Duration,
    largest: usize,
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
        // What is left is for the way there and back and for what is no program.
        let budget = limit.saturating_sub(Duration::from_secs(10)).max(limit / 2);
        let mut readings = Readings::default();
        let request = Request::Read { probes: probes.to_vec(), budget };
        self.hold(channel, request, Limits { time: limit, largest: LARGEST }, &mut |answer| {
            if let Answer::Reading(number, reading) = answer
                && let Some(probe) = usize::try_from(number).ok().and_then(|number| probes.get(number))
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

    /// Does steps.
    pub(super) async fn perform(
        &self,
        channel: &mut Option<Channel>,
        order: Order<'_>,
        slack: Duration,
        watch: &(dyn Fn(StepEvent) + Send + Sync),
    ) -> Result<Vec<Outcome>, TransportError> {
        /// How long the host waits for an earlier order to end.
        const WAITING: Duration = Duration::from_secs(600);
        let Order { steps, ticket } = order;
        let waiting = ticket.map_or(Duration::ZERO, |_| WAITING);
        let limits = Limits { time: longest(steps) + waiting + slack, largest: LARGEST };
        let request =
            Request::Perform { steps: steps.to_vec(), ticket: ticket.cloned(), crash_at: crash::host_point() };
        let (mut outcomes, mut refusal, mut strange) = (Vec::new(), None, None);
        self.hold(channel, request, limits, &mut |answer| {
            // Steps are carried out in order: whatever else is said of one is not believed.
            let next = outcomes.len();
            let is_next = |index: u32| place(index) == next && next < steps.len();
            match answer {
                Answer::Started(index) if is_next(index) => watch(StepEvent::Started { index: next }),
                Answer::Waiting(index, why) if is_next(index) => watch(StepEvent::Waiting { index: next, why }),
                Answer::Ended { index, outcome, took } if is_next(index) => {
                    outcomes.push(outcome.clone());
                    watch(StepEvent::Ended { index: next, outcome, took });
                }
                Answer::Started(index) | Answer::Waiting(index, _) | Answer::Ended { index, .. } => {
                    strange.get_or_insert(index);
                }
                Answer::Refused(why) => refusal = Some(why),
                _ => {}
            }
        })
        .await?;
        let is_whole = outcomes.len() == steps.len() || matches!(outcomes.last(), Some(Outcome::Failed { .. }));
        match (refusal, strange) {
            (Some(refusal), _) => Err(self.refused(&refusal)),
            (None, Some(index)) => Err(self.protocol(format!("it reports step {index} out of order"))),
            (None, None) if is_whole => Ok(outcomes),
            (None, None) => Err(self.protocol(format!("it reports {} of {} steps", outcomes.len(), steps.len()))),
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
        let call = Call { host: self.host.name.clone(), request };
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
                    Ok(Some(answer)) => take(answer),
                    Ok(None) => return Received::Unfinished,
                    Err(error) => {
                        strange = Some(error);
                        return Received::Whole;
                    }
                }
            }
        };
        let held = tokio::time::timeout(limits.time, converse(free, &speech, &mut hear)).await;
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

/// The number of a step, as the list of steps counts them.
fn place(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}
