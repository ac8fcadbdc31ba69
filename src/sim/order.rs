//! How the fleet carries out an order: who may give it, what the journal says of each step, and which faults strike.

use super::Fault;
use super::perform::perform;
use super::state::{Did, State};
use crate::lease::Ticket;
use crate::step::{Outcome, Step};
use crate::transport::{Order, TransportError};

/// What the journal says of one step.
pub(super) struct Line<'a> {
    ticket: &'a Ticket,
    number: usize,
}

impl<'a> Line<'a> {
    pub(super) fn of(order: &Order<'a>, index: usize) -> Option<Self> {
        let ticket = order.ticket.filter(|ticket| ticket.intent.is_some())?;
        Some(Self { ticket, number: ticket.first + index })
    }
}

impl State {
    /// A step begins: it counts, and faults strike. Gives what strikes after it.
    pub(super) fn begin(&mut self, host: &str) -> Result<Option<Fault>, TransportError> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1).ok_or_else(|| Self::lost(host, "we are dead"))?;
        }
        let machine = self.machines.get_mut(host).ok_or_else(|| Self::lost(host, "no such host"))?;
        let number = machine.steps;
        machine.steps += 1;
        let fault = machine.faults.remove(&number);
        if fault == Some(Fault::PowerLossBefore) {
            machine.lose_power();
        }
        match fault {
            _ if machine.off => Err(Self::lost(host, "the host has no power")),
            Some(Fault::CutBefore) => Err(Self::lost(host, "Connection reset by peer")),
            other => Ok(other),
        }
    }

    /// Lets an order in: its lease is the one that was given, and what it is about to do is written down.
    pub(super) fn admit(&mut self, host: &str, ticket: Option<&Ticket>) -> Result<(), TransportError> {
        let Some(machine) = self.machines.get_mut(host) else { return Err(Self::lost(host, "no such host")) };
        let Some(ticket) = ticket else { return Ok(()) };
        let held = machine.desk.lease.as_ref();
        if machine.busy || !held.is_some_and(|lease| lease.id == ticket.id && lease.fence == ticket.fence) {
            let why = held.map_or_else(
                || "the lease has ended".to_owned(),
                |lease| format!("the lease is that of {}", lease.holder.who),
            );
            return Err(TransportError::Fenced { host: host.to_owned(), why });
        }
        machine.busy = true;
        if let Some(intent) = ticket.intent.as_ref().filter(|_| ticket.first == 0) {
            let line = format!("stage {} {intent}", machine.boot());
            machine.note(ticket, &line);
        }
        Ok(())
    }

    /// Ends an order; after the last one of a stage that did all of it, the stage is over.
    pub(super) fn dismiss(&mut self, host: &str, ticket: Option<&Ticket>, whole: bool) {
        let (Some(machine), Some(ticket)) = (self.machines.get_mut(host), ticket) else { return };
        machine.busy = false;
        if whole && ticket.intent.is_some() {
            machine.note(ticket, "over");
        }
    }

    pub(super) fn perform(
        &mut self,
        host: &str,
        step: &Step,
        line: Option<&Line<'_>>,
    ) -> Result<Outcome, TransportError> {
        let fault = self.begin(host)?;
        self.now += self.pace;
        let now = self.now;
        let mode = self.mode(host);
        let Some(machine) = self.machines.get_mut(host) else { return Err(Self::lost(host, "no such host")) };
        machine.host.now = now;
        if let Some(line) = line {
            machine.note(line.ticket, &format!("begin {}", line.number));
        }
        let outcome = match (fault, step) {
            (Some(Fault::Fails), _) => Outcome::Failed { exit: 1, stderr: "it was made to fail".to_owned() },
            // Killed while it runs: whether it was done, the host itself does not know.
            (Some(Fault::PowerLossIn), _) => {
                machine.lose_power();
                return Err(Self::lost(host, "the host has no power"));
            }
            (_, Step::Arm { .. } | Step::Extend { .. } | Step::Disarm { .. } | Step::GiveUp { .. }) => {
                machine.guard(step, now)
            }
            (_, Step::SaveLedger { owner, ledger, journal }) => {
                machine.save(owner, ledger.as_deref(), *journal);
                Outcome::Done
            }
            (_, Step::AdoptLedger { owner }) => {
                machine.adopt(owner);
                Outcome::Done
            }
            _ => perform(&mut machine.host, step, mode.as_deref()),
        };
        if let (Step::Undo { owner, name }, Outcome::Done) = (step, &outcome) {
            machine.write(owner, &format!("undone {name}"));
        }
        // A host that loses its power at the end of a step may have done it and not have written it down.
        if let Some(line) = line.filter(|_| fault != Some(Fault::PowerLossAfter)) {
            match &outcome {
                Outcome::Failed { exit, .. } => machine.note(line.ticket, &format!("failed {} {exit}", line.number)),
                _ => machine.note(line.ticket, &format!("done {}", line.number)),
            }
        }
        // What armilla writes down for itself changes nothing of the host.
        if !matches!(step, Step::SaveLedger { .. } | Step::AdoptLedger { .. }) {
            self.log.push(Did { host: host.to_owned(), step: step.clone(), outcome: outcome.clone(), at: now });
        }
        if fault == Some(Fault::PowerLossAfter) {
            machine.lose_power();
            return Err(Self::lost(host, "the host has no power"));
        }
        if fault == Some(Fault::CutAfter) {
            return Err(Self::lost(host, "Connection reset by peer"));
        }
        Ok(outcome)
    }
}
