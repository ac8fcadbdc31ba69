//! What about every resource of every host.
//!
//! In: a catalog and what the hosts answered. Out: per role and host, what is not in sync and why. Never: an order
//! between hosts; that is the rollout's.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::foresight::Foresight;
use super::{Block, Cause, Entry, Observed, Reason, Verdict};
use crate::catalog::{self, Catalog, Chosen, HostCatalog, Wanted};
use crate::name::{Address, HostName};
use crate::resource::{Action, Change, Decision, Verb, Verdict as Said};
use crate::step::{Readings, Step};

/// One role on one host, decided. `block.entries` is empty if all of it is in sync.
pub(super) struct Decided {
    pub(super) block: Block,
    pub(super) in_sync: usize,
    /// How many resources were not chosen.
    pub(super) left_out: usize,
    /// Whether a service of it runs now, healthy or not.
    pub(super) running: bool,
    /// The blocks before it on its host that write files of which it writes a part.
    pub(super) builds_on: Vec<usize>,
    /// A change that may bring what nobody spoke of, if there is one.
    brings: Option<Address>,
}

/// The hosts that answered, with their blocks in the order of the catalog.
pub(super) fn hosts(catalog: &Catalog, observed: &Observed) -> BTreeMap<HostName, Vec<Decided>> {
    let answered = |(name, host)| Some((name, host, observed.get(name)?.as_ref().ok()?));
    catalog
        .hosts
        .iter()
        .filter_map(answered)
        .map(|(name, host, readings): (&HostName, &HostCatalog, &Readings)| {
            (name.clone(), host_blocks(name, host, readings))
        })
        .collect()
}

fn host_blocks(name: &HostName, host: &HostCatalog, readings: &Readings) -> Vec<Decided> {
    let mut blocks: Vec<Decided> = Vec::new();
    let mut foresight = Foresight::default();
    for (index, block) in host.blocks.iter().enumerate() {
        let brought = closure(host, index).into_iter().find_map(|before| blocks.get(before)?.brings.clone());
        foresight.enter(index);
        let decided = one_block(name, block, readings, brought, &mut foresight);
        blocks.push(Decided { builds_on: foresight.leave(), ..decided });
    }
    block_what_requires(host, &mut blocks);
    refresh_once(host, &mut blocks);
    blocks
}

fn one_block(
    host: &HostName,
    wanted: &catalog::Block,
    readings: &Readings,
    brought: Option<Address>,
    foresight: &mut Foresight,
) -> Decided {
    let mut told = Told::new(host, wanted);
    let brings = told.decide(readings, brought, foresight);
    let running = told.alone.iter().flatten().any(|decision| decision.loaded.is_some());
    let told = told.listened();
    let places: Vec<(usize, bool)> = (0..wanted.items.len()).map(|index| told.place(index)).collect();
    let said = told.entries();
    let silent = wanted.items.iter().zip(&said).filter(|(_, said)| said.is_none());
    let (in_sync, rest): (Vec<_>, Vec<_>) = silent.partition(|(item, _)| item.chosen == Chosen::Yes);
    let (in_sync, left_out) = (in_sync.len(), wanted.left_out + rest.len());
    let mut entries: Vec<((usize, bool), Entry)> =
        places.into_iter().zip(said).filter_map(|(place, entry)| Some((place, entry?))).collect();
    entries.sort_by_key(|(place, _)| *place);
    let mut entries: Vec<Entry> = entries.into_iter().map(|(_, entry)| entry).collect();
    block_after_trouble(&mut entries);
    let block = Block { host: host.clone(), role: wanted.role.clone(), service: wanted.service.clone(), entries };
    Decided { block, in_sync, left_out, running, builds_on: Vec::new(), brings }
}

/// What the resources of one block say before and after they hear of each other.
struct Told<'a> {
    host: &'a HostName,
    wanted: &'a catalog::Block,
    /// What each sees of the host when its turn comes.
    seen: Vec<Cow<'a, Readings>>,
    alone: Vec<Result<Decision, String>>,
    /// What those say for which it makes a difference that they hear of others, and of which.
    heard: Vec<Option<(Said, Reason)>>,
    /// The last resource that notifies and changes.
    last: Option<usize>,
}

impl<'a> Told<'a> {
    fn new(host: &'a HostName, wanted: &'a catalog::Block) -> Self {
        Self { host, wanted, seen: Vec::new(), alone: Vec::new(), heard: Vec::new(), last: None }
    }

    /// What each says, one after the other: it builds on what those before it will have written. What is so only because
    /// there is nothing may not stay so after a change that brings things: `brought`, if it is in a block before this
    /// one. Gives the last such change.
    fn decide(
        &mut self,
        readings: &'a Readings,
        mut brought: Option<Address>,
        foresight: &mut Foresight,
    ) -> Option<Address> {
        for item in &self.wanted.items {
            let seen = foresight.see(&*item.resource, readings);
            let mut alone = item.resource.decide(&seen, None).map_err(|why| why.to_string());
            if let Ok(decision) = &mut alone {
                if let (Some(by), Some(change)) = (&brought, decision.otherwise.take()) {
                    decision.verdict = Said::MayChange(change, format!("{by}, before it, may bring it"));
                }
                let adds = |change: &Change| matches!(change.action, Action::Add | Action::Change);
                let brings =
                    item.resource.brings() && matches!(&decision.verdict, Said::Change(change) if adds(change));
                // What was not chosen is not done, so nothing can build on it.
                if item.chosen == Chosen::Yes {
                    brought = if brings { Some(self.address(item)) } else { brought };
                    foresight.expect(&*item.resource, &decision.verdict);
                }
            }
            self.seen.push(seen);
            self.alone.push(alone);
        }
        brought
    }

    fn address(&self, item: &Wanted) -> Address {
        Address {
            host: self.host.clone(),
            role: self.wanted.role.clone(),
            kind: item.resource.kind(),
            target: item.resource.target(),
        }
    }

    fn changes(&self, index: usize) -> bool {
        self.wanted.items[index].chosen == Chosen::Yes
            && matches!(self.alone[index], Ok(Decision { verdict: Said::Change(_) | Said::MayChange(..), .. }))
    }

    /// The resources that notify and change, with the strongest thing they ask for.
    fn notified(&self) -> Option<(Verb, Vec<usize>)> {
        let changed = self.wanted.items.iter().enumerate().filter(|(index, _)| self.changes(*index));
        let asked: Vec<(usize, Verb)> = changed.filter_map(|(index, item)| Some((index, item.notify?))).collect();
        let verb = asked.iter().map(|(_, verb)| *verb).max()?;
        Some((verb, asked.into_iter().map(|(index, _)| index).collect()))
    }

    /// A resource that asks for a restart and was written after `loaded`. Both are whole seconds, rounded down: what was
    /// written before is never later, and what was written in the same second is taken for read.
    fn stale(&self, loaded: i64) -> Option<usize> {
        let written = |index: usize| self.alone[index].as_ref().ok().and_then(|decision| decision.written);
        let restarts = |item: &Wanted| item.notify == Some(Verb::Restart) && item.chosen == Chosen::Yes;
        let items = self.wanted.items.iter().enumerate();
        items.filter(|(_, item)| restarts(item)).map(|(index, _)| index).find(|index| written(*index) > Some(loaded))
    }

    /// The same after all have heard of all.
    fn listened(mut self) -> Self {
        let notified = self.notified();
        self.heard = (0..self.wanted.items.len()).map(|index| self.hears(index, notified.as_ref())).collect();
        self.last = notified.and_then(|(_, from)| from.last().copied());
        self
    }

    /// What a resource says when it hears of changes (or of a configuration it never read), if that makes a difference.
    fn hears(&self, index: usize, notified: Option<&(Verb, Vec<usize>)>) -> Option<(Said, Reason)> {
        let (item, alone) = (&self.wanted.items[index], self.alone[index].as_ref().ok()?);
        if !item.resource.hears() {
            return None;
        }
        let address = |index: usize| self.address(&self.wanted.items[index]);
        let (verb, reason) = match notified {
            Some((verb, from)) => (*verb, Reason::Notified(from.iter().copied().map(address).collect())),
            None => (Verb::Restart, Reason::Stale(address(self.stale(alone.loaded?)?))),
        };
        let alone = item.resource.decide(&self.seen[index], None).ok()?.verdict;
        let heard = item.resource.decide(&self.seen[index], Some(verb)).ok()?.verdict;
        (heard != alone).then_some((heard, reason))
    }

    /// Where it comes in the block: a resource that hears of changes comes after the last that notifies, and is the later
    /// of two in one place.
    fn place(&self, index: usize) -> (usize, bool) {
        match self.last.filter(|_| self.heard[index].is_some()) {
            Some(last) => (index.max(last), true),
            None => (index, false),
        }
    }

    /// What is to be said about each resource that is not in sync.
    fn entries(self) -> Vec<Option<Entry>> {
        let addresses: Vec<Address> = self.wanted.items.iter().map(|item| self.address(item)).collect();
        let speaks: Vec<bool> = (0..addresses.len()).map(|index| self.speaks(index)).collect();
        let said = self.alone.into_iter().zip(self.heard).zip(speaks);
        let one = |(address, ((alone, heard), speaks))| if speaks { entry(address, alone, heard) } else { None };
        addresses.into_iter().zip(said).map(one).collect()
    }

    /// Whether what a resource says counts. One that was not chosen is heard only where chosen ones ask something of it.
    fn speaks(&self, index: usize) -> bool {
        match self.wanted.items[index].chosen {
            Chosen::Yes => true,
            Chosen::WhenNotified => match &self.alone[index] {
                // What does not run reads its configuration when it starts.
                Ok(decision) => self.heard[index].is_some() && decision.loaded.is_some(),
                Err(_) => self.last.is_some(),
            },
            Chosen::No => false,
        }
    }
}

fn entry(address: Address, alone: Result<Decision, String>, heard: Option<(Said, Reason)>) -> Option<Entry> {
    let (said, because) = match (alone, heard) {
        (Err(why), _) => {
            let (verdict, reason) = (Verdict::Unreadable, Reason::Because(why));
            return Some(Entry { address, verdict, reason, cause: Cause::Unknown, mark: None });
        }
        (Ok(_), Some((said, because))) => (said, Some(because)),
        (Ok(decision), None) => (decision.verdict, None),
    };
    let (verdict, reason) = match said {
        Said::InSync => return None,
        Said::Change(change) => {
            let reason = because.unwrap_or_else(|| reason(&change));
            (Verdict::Change(change), reason)
        }
        Said::MayChange(change, why) => (Verdict::MayChange(change), Reason::Because(why)),
        Said::Refuse(why) => (Verdict::Refused, Reason::Because(why)),
    };
    Some(Entry { address, verdict, reason, cause: Cause::Unknown, mark: None })
}

fn reason(change: &Change) -> Reason {
    match change.action {
        Action::Add => Reason::Missing,
        Action::Remove => Reason::Unwanted,
        Action::Run if change.steps.iter().any(|step| matches!(step, Step::RunUnless(..))) => Reason::Needed,
        Action::Run => Reason::Unguarded,
        _ => Reason::Differs,
    }
}

/// What comes after something that cannot be done cannot be done either.
fn block_after_trouble(entries: &mut [Entry]) {
    let Some(cause) = trouble(entries) else { return };
    let after = entries.iter_mut().skip_while(|entry| entry.address != cause).skip(1);
    after.for_each(|entry| block(entry, &cause));
}

/// What requires a role that cannot be done cannot be done either.
fn block_what_requires(host: &HostCatalog, blocks: &mut [Decided]) {
    let mut causes: Vec<Option<Address>> = blocks.iter().map(|decided| trouble(&decided.block.entries)).collect();
    for (index, decided) in blocks.iter_mut().enumerate() {
        let cause = host.blocks[index].requires.iter().find_map(|before| causes[*before].clone());
        if let Some(cause) = cause {
            decided.block.entries.iter_mut().for_each(|entry| block(entry, &cause));
            causes[index].get_or_insert(cause);
        }
    }
}

fn trouble(entries: &[Entry]) -> Option<Address> {
    let first = entries.iter().find(|e| matches!(e.verdict, Verdict::Refused | Verdict::Unreadable));
    first.map(|entry| entry.address.clone())
}

fn block(entry: &mut Entry, cause: &Address) {
    if !matches!(entry.verdict, Verdict::Refused | Verdict::Unreadable) {
        entry.verdict = Verdict::Blocked;
        entry.reason = Reason::After(cause.clone());
    }
}

/// The package lists are fetched once: by the first block that needs them, unless a later one does not wait for it.
fn refresh_once(host: &HostCatalog, blocks: &mut [Decided]) {
    let mut fetched: Vec<usize> = Vec::new();
    for (index, decided) in blocks.iter_mut().enumerate() {
        let before = closure(host, index);
        let mut have = fetched.iter().any(|done| before.contains(done));
        for entry in &mut decided.block.entries {
            if let Verdict::Change(change) | Verdict::MayChange(change) = &mut entry.verdict {
                change.steps.retain(|step| *step != Step::RefreshPackages || !std::mem::replace(&mut have, true));
            }
        }
        if have {
            fetched.push(index);
        }
    }
}

/// The blocks that come before one on its host, directly or by way of others.
pub(super) fn closure(host: &HostCatalog, index: usize) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::new();
    let mut open = host.blocks[index].requires.clone();
    while let Some(next) = open.pop() {
        if !found.contains(&next) {
            found.push(next);
            open.extend(&host.blocks[next].requires);
        }
    }
    found
}
