//! Probes and steps over a channel, however it was opened.
//!
//! In: a channel and what to ask or do. Out: readings and outcomes, or the room's error for this host, and the channel if
//! something else may go over it.
//! Never: a connection of its own.

use std::time::Duration;

use super::api::{Order, StepEvent, Stream};
use super::bootstrap::Password;
use super::dialogue::{Broken, Channel, LARGEST, Piece, Received, Speech, converse, random};
use super::error::TransportError;
use super::script::{
    NoAnswer, Progress, Refusal, Relay, lease_script, longest, order_script, parse_lease, parse_readings, quote,
    read_script, run_script,
};
use super::words::brief;
use crate::crash;
use crate::inventory::{Become, Endpoint};
use crate::lease::{LeaseAnswer, Request};
use crate::secret::Secret;
use crate::step::{Command, Outcome, Probe, Readings};

/// Why an answer is missing whose shell ended without a word.
pub(super) const CLOSED_EARLY: &str = "it closed early";

/// What is sent, how long an answer may take, and how many bytes it may have.
struct Script<'a> {
    text: &'a str,
    limit: Duration,
    largest: usize,
}

/// One round trip that is about to be made.
pub(super) struct Exchange<'a> {
    pub(super) host: &'a Endpoint,
    password: Option<&'a Secret<String>>,
    nonce: String,
}

impl<'a> Exchange<'a> {
    /// With new random words.
    pub(super) fn new(host: &'a Endpoint, password: Option<&'a Secret<String>>) -> Result<Self, TransportError> {
        let password = password.filter(|_| host.become_user == Become::Root);
        if password.is_some_and(|password| password.expose().contains(['\n', '\0'])) {
            let why = "a password cannot contain a line break".to_owned();
            return Err(TransportError::Become { host: host.name.to_string(), why });
        }
        Ok(Self { host, password, nonce: random().map_err(|error| no_chance(host, &error))? })
    }

    /// Whether sudo will be given a password.
    pub(super) fn password(&self) -> Password {
        if self.password.is_some() { Password::Given } else { Password::None }
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
        let script = read_script(probes, &self.nonce, budget);
        let (mut answer, mut progress) = (Vec::new(), Progress::new(&self.nonce));
        self.hold(channel, &Script { text: &script, limit, largest: LARGEST }, &mut |piece| {
            let Piece::Out(bytes) = piece else { return Received::Unfinished };
            answer.extend_from_slice(bytes);
            progress.push(bytes);
            whole(&progress)
        })
        .await?;
        parse_readings(probes, &self.nonce, &answer).map_err(|why| self.protocol(why))
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
        let steps = order.steps;
        let script = crash::of_host(order_script(order, &self.nonce).map_err(|why| self.unable(why))?);
        let waiting = order.ticket.map_or(Duration::ZERO, |_| WAITING);
        let mut progress = Progress::new(&self.nonce);
        self.hold(
            channel,
            &Script { text: &script, limit: longest(steps) + waiting + slack, largest: LARGEST },
            &mut |piece| {
                let Piece::Out(bytes) = piece else { return Received::Unfinished };
                progress.push(bytes).into_iter().for_each(watch);
                whole(&progress)
            },
        )
        .await?;
        if let Some(refusal) = progress.refusal() {
            return Err(self.refused(refusal));
        }
        progress.outcomes().ok_or_else(|| self.protocol("the answer ends early".to_owned()))
    }

    /// Asks for a lease, or about one.
    pub(super) async fn lease(
        &self,
        channel: &mut Option<Channel>,
        request: &Request,
        limit: Duration,
    ) -> Result<LeaseAnswer, TransportError> {
        let script = lease_script(request, &self.nonce).map_err(|why| self.unable(why))?;
        let (mut answer, mut progress) = (Vec::new(), Progress::new(&self.nonce));
        self.hold(channel, &Script { text: &script, limit, largest: LARGEST }, &mut |piece| {
            let Piece::Out(bytes) = piece else { return Received::Unfinished };
            answer.extend_from_slice(bytes);
            progress.push(bytes);
            whole(&progress)
        })
        .await?;
        parse_lease(&self.nonce, &answer).map_err(|error| match error {
            NoAnswer::Unable(why) => self.unable(brief(&why)),
            NoAnswer::Strange(why) => self.protocol(why),
        })
    }

    /// Runs a program; tells what it says as it says it, and gives its exit code: 124 if it ran out of time.
    pub(super) async fn run(
        &self,
        channel: &mut Option<Channel>,
        command: &Command,
        slack: Duration,
        tell: &(dyn Fn(Stream, &[u8]) + Send + Sync),
    ) -> Result<i32, TransportError> {
        let script = run_script(command, &self.nonce).map_err(|why| self.protocol(why))?;
        let (mut out, mut err) = (Relay::new(&self.nonce), Relay::new(&self.nonce));
        let held = self
            .hold(
                channel,
                &Script { text: &script, limit: command.timeout + slack, largest: usize::MAX },
                &mut |piece| {
                    match piece {
                        Piece::Out(bytes) => tell(Stream::Out, &out.push(bytes)),
                        Piece::Err(bytes) => tell(Stream::Err, &err.push(bytes)),
                    }
                    if out.end().is_some() && err.end().is_some() { Received::Whole } else { Received::Unfinished }
                },
            )
            .await;
        // A program may have closed one of the streams; its end is in the other.
        match out.end().or(err.end()) {
            Some(code) => Ok(code),
            None => held.and_then(|()| Err(self.lost(CLOSED_EARLY.to_owned()))),
        }
    }

    async fn hold(
        &self,
        channel: &mut Option<Channel>,
        script: &Script<'_>,
        take: &mut (dyn FnMut(Piece<'_>) -> Received + Send),
    ) -> Result<(), TransportError> {
        // By which name the host is spoken to.
        let text = format!("H={}\n{}", quote(self.host.name.as_str()), script.text);
        let speech = Speech { password: self.password, script: &text, largest: script.largest };
        let free = channel.take().ok_or_else(|| self.lost("no route".to_owned()))?;
        match tokio::time::timeout(script.limit, converse(free, &speech, take)).await {
            Ok(Ok(over)) => {
                *channel = over;
                Ok(())
            }
            Ok(Err(broken)) => Err(self.error(broken)),
            Err(_) => Err(self.lost(format!("no answer within {} s", script.limit.as_secs()))),
        }
    }

    fn error(&self, broken: Broken) -> TransportError {
        let host = self.host.name.to_string();
        match broken {
            Broken::Become(why) => TransportError::Become { host, why },
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

fn whole(progress: &Progress) -> Received {
    if progress.is_over() { Received::Whole } else { Received::Unfinished }
}
