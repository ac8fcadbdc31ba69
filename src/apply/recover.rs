//! After a connection was lost in the middle of a stage: how far did the host come?
//!
//! In: the host's own record. Out: from which step to go on, or why that cannot be known. Never: a guess.

use std::time::{Duration, Instant};

use crate::inventory::Endpoint;
use crate::lease::{LeaseAnswer, Request, Ticket};
use crate::ledger::{Journal, Reached, Records};
use crate::name::RunId;
use crate::plan::StageId;
use crate::step::{Probe, Step};
use crate::transport::{Transport, TransportError};

/// How often a host that is away is asked whether it is back.
const POLL: Duration = Duration::from_secs(2);

/// How a stage goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Onward {
    /// From this step; all before it were done.
    From(usize),
    /// This step failed, with this exit code.
    Failed(usize, i32),
    /// This step was begun, and the host went down before it ended.
    Unknown(usize),
    /// The host does not come back.
    Away(TransportError),
    /// The host gave its lease to somebody else.
    Fenced(TransportError),
}

/// A stage on a host.
pub(super) struct Cut<'a, T> {
    pub(super) transport: &'a T,
    pub(super) host: &'a Endpoint,
    pub(super) ticket: &'a Ticket,
    pub(super) run: &'a RunId,
    pub(super) stage: StageId,
    pub(super) steps: &'a [Step],
    /// How long to wait for the host.
    pub(super) patience: Duration,
}

impl<T: Transport> Cut<'_, T> {
    /// Waits for the host, then for what may still run there, then looks.
    pub(super) async fn look(&self, waiting: &(dyn Fn(String) + Send + Sync)) -> Onward {
        let begun = Instant::now();
        loop {
            let error = match self.attempt(waiting).await {
                Ok(onward) => return onward,
                Err(error) if begun.elapsed() >= self.patience => return Onward::Away(error),
                Err(error) => error,
            };
            waiting(format!("for the host to come back: {error}"));
            tokio::time::sleep(POLL).await;
        }
    }

    async fn attempt(&self, waiting: &(dyn Fn(String) + Send + Sync)) -> Result<Onward, TransportError> {
        let renewed = self.transport.lease(self.host, &Request::Renew { id: self.ticket.id.clone() }).await?;
        if !matches!(renewed, LeaseAnswer::Granted(_)) {
            let why = "another run took the lock while the connection was lost".to_owned();
            return Ok(Onward::Fenced(TransportError::Fenced { host: self.host.name.to_string(), why }));
        }
        self.idle(waiting).await?;
        let readings = self.transport.read(self.host, &[Probe::State]).await?;
        let protocol = |why: String| TransportError::Protocol { host: self.host.name.to_string(), why };
        let state = readings.state(&Probe::State).map_err(|why| protocol(why.to_string()))?;
        let records = Records::of(state, &self.ticket.owner, &self.host.name);
        let journal =
            Journal::parse(records.journal().unwrap_or_default()).map_err(|error| protocol(error.to_string()))?;
        Ok(onward(&journal, self.run, self.stage, self.steps))
    }

    /// A step that was running goes on without us, and its end is written down.
    async fn idle(&self, waiting: &(dyn Fn(String) + Send + Sync)) -> Result<(), TransportError> {
        while let LeaseAnswer::Taken(held) = self.transport.lease(self.host, &Request::Look).await? {
            if !held.busy {
                break;
            }
            waiting("for a step that continues without a connection".to_owned());
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}

/// From which step a stage goes on. What may be done twice is done again where its end is not known.
fn onward(journal: &Journal, run: &RunId, stage: StageId, steps: &[Step]) -> Onward {
    let mine = |record: &&crate::ledger::StageRecord| record.intent.applied.run == *run && record.intent.stage == stage;
    let Some(record) = journal.stages.last().filter(mine) else { return Onward::From(0) };
    if record.over {
        return Onward::From(steps.len());
    }
    let reached = (0..steps.len()).map(|index| (index, record.step(index))).find(|(_, r)| *r != Reached::Done);
    match reached {
        None => Onward::From(steps.len()),
        Some((index, Reached::Failed(code))) => Onward::Failed(index, code),
        Some((index, Reached::Unknown)) if !is_repeatable(&steps[index]) => Onward::Unknown(index),
        Some((index, _)) => Onward::From(index),
    }
}

/// Whether doing a step twice is the same as doing it once.
fn is_repeatable(step: &Step) -> bool {
    matches!(
        step,
        Step::WriteFile { .. }
            | Step::SendFile { .. }
            | Step::MakeDirectory { .. }
            | Step::MakeLink { .. }
            | Step::SetOwnership { .. }
            | Step::Remove { .. }
            | Step::Unchanged { .. }
            | Step::Download { .. }
            | Step::RemoveUnpacked { .. }
            | Step::RefreshPackages
            | Step::Snapshot(_)
            | Step::AdoptLedger { .. }
            | Step::Commit { .. }
            | Step::Undo { .. }
            | Step::Await(_)
    )
}
