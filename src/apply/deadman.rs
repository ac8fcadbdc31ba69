//! A stage that its host undoes by itself unless we come back in time.
//!
//! In: such a stage after its change, well or not. Out: whether the change stays, was put back, or whether nobody can say.
//! Never: a change kept without a new login, or a guess at what a silent host did.

use std::time::Duration;

use tokio::time::Instant;

use super::{End, Failure};
use crate::inventory::Endpoint;
use crate::lease::Ticket;
use crate::name::{Owner, RoleName};
use crate::secret::{Secret, masked};
use crate::step::deadman::{STUCK, UNARMED, UNDONE};
use crate::step::{Outcome, Step};
use crate::transport::{Order, StepEvent, Transport, TransportError};

/// Between two attempts to log in.
const AGAIN: Duration = Duration::from_secs(1);

/// How a stage is guarded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guard<'a> {
    /// The place of the step that arms it.
    arm: usize,
    /// The place of the first step that is done over a new login: it says that all is well.
    pub(super) word: usize,
    after: Duration,
    owner: &'a Owner,
    name: &'a RoleName,
    steps: &'a [Step],
}

impl<'a> Guard<'a> {
    /// Of a stage that has one.
    pub(super) fn of(steps: &'a [Step]) -> Option<Self> {
        let word = steps.iter().position(|step| matches!(step, Step::Disarm { .. }))?;
        steps[..word].iter().enumerate().find_map(|(arm, step)| match step {
            Step::Arm { owner, name, after } => Some(Self { arm, word, after: *after, owner, name, steps }),
            _ => None,
        })
    }

    /// Whether a step that failed was one before which nothing was changed.
    pub(super) fn begins_after(self, step: usize) -> bool {
        step <= self.arm
    }
}

/// A guarded stage on its host.
pub(super) struct Vigil<'a, T> {
    pub(super) guard: Guard<'a>,
    pub(super) transport: &'a T,
    pub(super) host: &'a Endpoint,
    /// The right to it, which its journal does not hear of: it must not go on where the host has put things back.
    pub(super) ticket: Option<Ticket>,
    /// How long to wait for the host beyond its own time.
    pub(super) patience: Duration,
    pub(super) secrets: &'a [Secret<String>],
    pub(super) waiting: &'a (dyn Fn(String) + Send + Sync),
}

impl<T: Transport> Vigil<'_, T> {
    /// After a change that went well: logs in anew, with everything that takes, and says so to the host.
    pub(super) async fn keep(&self, watch: &(dyn Fn(StepEvent) + Send + Sync)) -> End {
        self.transport.hang_up(self.host).await;
        let steps = &self.guard.steps[self.guard.word..];
        let mut trouble = None;
        match self.insist(steps, watch, &mut trouble).await {
            Ok(outcomes) => self.kept(&outcomes, trouble),
            Err(failure) => End::Failed(failure),
        }
    }

    fn kept(&self, outcomes: &[Outcome], trouble: Option<String>) -> End {
        let Some(Outcome::Failed { exit, stderr }) = outcomes.last() else { return End::Done };
        let trouble = trouble.map_or_else(|| "no new login in time".to_owned(), |why| format!("no new login: {why}"));
        let cause = Box::new(Failure::Host { step: None, why: masked(&trouble, self.secrets) });
        let (step, why) = (self.guard.word + outcomes.len() - 1, masked(stderr, self.secrets));
        End::Failed(match *exit {
            UNDONE => Failure::Undone { cause, why },
            STUCK => Failure::Unsure { cause, why },
            exit => Failure::Step { step, exit, stderr: why },
        })
    }

    /// After a change that went wrong: the host puts everything back, now or when it is there again.
    pub(super) async fn give_up(&self, cause: Failure) -> Failure {
        let (owner, name) = (self.guard.owner.clone(), self.guard.name.clone());
        // The second is refused with the whole story.
        let give_up = Step::GiveUp { owner: owner.clone(), name: name.clone() };
        let steps = [give_up, Step::Disarm { owner, name }];
        let outcomes = match self.insist(&steps, &|_| {}, &mut None).await {
            Ok(outcomes) => outcomes,
            Err(Failure::Unsure { why, .. }) => return Failure::Unsure { cause: Box::new(cause), why },
            Err(failure) => return failure,
        };
        let (exit, why) = match outcomes.last() {
            Some(Outcome::Failed { exit, stderr }) => (*exit, masked(stderr, self.secrets)),
            _ => (STUCK, "it did not report that everything was rolled back".to_owned()),
        };
        match exit {
            UNARMED => cause,
            UNDONE => Failure::Undone { cause: Box::new(cause), why },
            _ => Failure::Unsure { cause: Box::new(cause), why },
        }
    }

    /// Does steps over one new login after the other, until one works or the host must have put everything back, and we
    /// have waited for it as for any host. What was the matter before one worked is in `trouble`.
    async fn insist(
        &self,
        steps: &[Step],
        watch: &(dyn Fn(StepEvent) + Send + Sync),
        trouble: &mut Option<String>,
    ) -> Result<Vec<Outcome>, Failure> {
        // What runs there when its time is over is waited for once more as long.
        let limit = Instant::now() + self.guard.after * 2 + self.patience;
        loop {
            let order = Order { ticket: self.ticket.as_ref(), ..Order::of(steps) };
            let error = match self.transport.perform(self.host, order, watch).await {
                Ok(outcomes) if outcomes.is_empty() => "no message about it".to_owned(),
                Ok(outcomes) => return Ok(outcomes),
                Err(error @ TransportError::Fenced { .. }) => {
                    return Err(Failure::Fenced { step: None, why: error.to_string() });
                }
                Err(error) => error.to_string(),
            };
            self.transport.hang_up(self.host).await;
            if Instant::now() >= limit {
                let cause = Box::new(Failure::Host { step: None, why: error.clone() });
                return Err(Failure::Unsure { cause, why: silent(&error) });
            }
            (self.waiting)(format!("for a login, or for the host to roll back the change: {error}"));
            *trouble = Some(error);
            tokio::time::sleep(AGAIN).await;
        }
    }
}

fn silent(error: &str) -> String {
    format!("no login was possible to check whether the host rolled everything back: {error}")
}
