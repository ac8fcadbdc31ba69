//! What about every resource of every host.
//!
//! In: a catalog and what the hosts answered. Out: per role and host, what is not in sync and why, and what leaves it.
//! Never: an order between hosts; that is the rollout's.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::cause::cause;
use super::foresight::Foresight;
use super::past::{Known, Leaving, place, wanted_away};
use super::{Cause, Entry, Mark, Observed, PlannedBlock, Reason, Verdict, expected, past};
use crate::catalog::{self, Catalog, Chosen, Member, Wanted};
use crate::ledger::{Expected, ResourceKey};
use crate::name::{Address, HostName, Owner};
use crate::resource::{Action, Change, Decision, Verb, Verdict as ResourceVerdict, Wish};
use crate::step::{Readings, Removable, Step};

/// One role on one host, decided. `block.entries` is empty if all of it is in sync.
pub(super) struct Decided {
    pub(super) block: PlannedBlock,
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

/// A host, decided.
pub(super) struct Host {
    /// In the order of the catalog.
    pub(super) blocks: Vec<Decided>,
    /// What leaves it, in the order in which it goes.
    pub(super) removed: Vec<PlannedBlock>,
}

/// The hosts that answered, with what they remember, and the others with the reason.
pub(super) fn known<'a>(catalog: &Catalog, observed: &'a Observed) -> BTreeMap<HostName, Result<Known<'a>, String>> {
    let known = |(name, answer): (&HostName, &'a Result<Readings, String>)| {
        let readings = answer.as_ref().map_err(Clone::clone);
        let past =
            readings.and_then(|readings| past::Past::of(catalog, name, readings).map(|past| Known { readings, past }));
        (name.clone(), past)
    };
    observed.iter().map(known).collect()
}

/// The hosts of which something is known.
pub(super) fn hosts(
    catalog: &Catalog,
    known: &BTreeMap<HostName, Result<Known<'_>, String>>,
) -> BTreeMap<HostName, Host> {
    let wanted = |name: &HostName| match catalog.hosts.get(name) {
        Some(host) => Some(host.blocks.as_slice()),
        None => catalog.spare.contains_key(name).then_some(&[] as &[catalog::RoleBlock]),
    };
    let one = |(name, known): (&HostName, &Result<Known<'_>, String>)| {
        Some((name.clone(), one_host(name, wanted(name)?, known.as_ref().ok()?)))
    };
    known.iter().filter_map(one).collect()
}

fn one_host(name: &HostName, wanted: &[catalog::RoleBlock], known: &Known<'_>) -> Host {
    let mut blocks: Vec<Decided> = Vec::new();
    let mut foresight = Foresight::default();
    let (hear, silent): (Vec<&Leaving>, Vec<&Leaving>) =
        known.past.leaving.iter().partition(|leaving| wanted.iter().any(|block| hears_of(block, leaving)));
    for (index, block) in wanted.iter().enumerate() {
        let brought = closure(wanted, index).into_iter().find_map(|before| blocks.get(before)?.brings.clone());
        foresight.enter(index);
        let leaving: Vec<&Leaving> = hear.iter().copied().filter(|leaving| hears_of(block, leaving)).collect();
        let block = with_leaving(block, &leaving);
        let decided = one_block(name, &block, known, brought, &mut foresight);
        blocks.push(Decided { builds_on: foresight.leave(), ..decided });
    }
    block_what_requires(wanted, &mut blocks);
    refresh_once(wanted, &mut blocks);
    let removed = removed(name, known, &silent, wanted.len(), &mut foresight);
    Host { blocks, removed: removed.into_iter().chain(kept(name, known)).collect() }
}

/// Whether taking something away is a change that a service of this block must hear of. Then it belongs to the block.
fn hears_of(block: &catalog::RoleBlock, leaving: &Leaving) -> bool {
    leaving.owned.notify.is_some()
        && block.role == leaving.place.role
        && block.items.iter().any(|item| item.resource.hears())
}

/// A block with what leaves it, after everything else of it.
fn with_leaving<'a>(block: &'a catalog::RoleBlock, leaving: &[&Leaving]) -> Cow<'a, catalog::RoleBlock> {
    let mut block = Cow::Borrowed(block);
    if !leaving.is_empty() {
        block.to_mut().items.extend(leaving.iter().map(|leaving| wanted_away(leaving)));
    }
    block
}

/// What leaves a host and nobody hears of: one block for each run of things of one role.
fn removed(
    host: &HostName,
    known: &Known<'_>,
    leaving: &[&Leaving],
    first: usize,
    foresight: &mut Foresight,
) -> Vec<PlannedBlock> {
    let together = |a: &&Leaving, b: &&Leaving| a.place.role == b.place.role && a.owned.service == b.owned.service;
    let mut blocks = Vec::new();
    for (index, leaving) in leaving.chunk_by(together).enumerate() {
        let Some(one) = leaving.first() else { continue };
        let wanted = catalog::RoleBlock {
            role: one.place.role.clone(),
            service: one.owned.service.clone(),
            requires: Vec::new(),
            items: leaving.iter().map(|leaving| wanted_away(leaving)).collect(),
            left_out: Vec::new(),
            health: Vec::new(),
            member: Member::default(),
        };
        foresight.enter(first + index);
        let decided = one_block(host, &wanted, known, None, foresight);
        foresight.leave();
        blocks.extend((!decided.block.entries.is_empty()).then_some(decided.block));
    }
    blocks
}

/// What stays although nothing wants it any more.
fn kept(host: &HostName, known: &Known<'_>) -> Vec<PlannedBlock> {
    let together = |a: &past::KeptBack, b: &past::KeptBack| a.place.role == b.place.role && a.service == b.service;
    let entry = |kept: &past::KeptBack| Entry {
        address: Address {
            host: host.clone(),
            role: kept.place.role.clone(),
            kind: kept.kind,
            target: kept.place.target.clone(),
        },
        verdict: Verdict::Keep,
        reason: if kept.undecided { Reason::Undecided(kept.why.clone()) } else { Reason::Because(kept.why.clone()) },
        cause: kept.since.clone().map_or(Cause::Unknown, |since| Cause::Host { since }),
        mark: None,
        risk: None,
    };
    let blocks = known.past.kept_back.chunk_by(together).filter_map(|kept| {
        let first = kept.first()?;
        let (role, service) = (first.place.role.clone(), first.service.clone());
        let entries = kept.iter().map(entry).collect();
        Some(PlannedBlock { host: host.clone(), role, service, before: Vec::new(), entries, after: Vec::new() })
    });
    blocks.collect()
}

fn one_block(
    host: &HostName,
    wanted: &catalog::RoleBlock,
    known: &Known<'_>,
    brought: Option<Address>,
    foresight: &mut Foresight,
) -> Decided {
    let mut told = Told::new(host, wanted, known);
    let brings = told.decide(brought, foresight);
    let running = told.alone.iter().flatten().any(|decision| decision.loaded.is_some());
    let told = told.listened();
    let places: Vec<(usize, bool)> = (0..wanted.items.len()).map(|index| told.place(index)).collect();
    let said = told.entries();
    let silent = wanted.items.iter().zip(&said).filter(|(_, said)| said.is_none());
    let (in_sync, rest): (Vec<_>, Vec<_>) = silent.partition(|(item, _)| item.chosen == Chosen::Yes);
    let (in_sync, left_out) = (in_sync.len(), wanted.left_out.len() + rest.len());
    let mut entries: Vec<((usize, bool), Entry)> =
        places.into_iter().zip(said).filter_map(|(place, entry)| Some((place, entry?))).collect();
    entries.sort_by_key(|(place, _)| *place);
    let mut entries: Vec<Entry> = entries.into_iter().map(|(_, entry)| entry).collect();
    block_after_trouble(&mut entries);
    let (role, service) = (wanted.role.clone(), wanted.service.clone());
    let block = PlannedBlock { host: host.clone(), role, service, before: Vec::new(), entries, after: Vec::new() };
    Decided { block, in_sync, left_out, running, builds_on: Vec::new(), brings }
}

/// What the resources of one block say before and after they hear of each other.
struct Told<'a> {
    host: &'a HostName,
    wanted: &'a catalog::RoleBlock,
    known: &'a Known<'a>,
    /// What each sees of the host when its turn comes.
    seen: Vec<Cow<'a, Readings>>,
    alone: Vec<Result<Decision, String>>,
    /// What those that are added need and is not there yet, by their place.
    doubts: BTreeMap<usize, String>,
    /// What those say for which it makes a difference that they hear of others, and of which.
    heard: Vec<Option<(ResourceVerdict, Reason)>>,
    /// The last resource that notifies and changes.
    last: Option<usize>,
}

impl<'a> Told<'a> {
    fn new(host: &'a HostName, wanted: &'a catalog::RoleBlock, known: &'a Known<'a>) -> Self {
        Self {
            host,
            wanted,
            known,
            seen: Vec::new(),
            alone: Vec::new(),
            doubts: BTreeMap::new(),
            heard: Vec::new(),
            last: None,
        }
    }

    /// What each says, one after the other: it builds on what those before it will have written. What is so only because
    /// there is nothing may not stay so after a change that brings things: `brought`, if it is in a block before this
    /// one. Gives the last such change.
    fn decide(&mut self, mut brought: Option<Address>, foresight: &mut Foresight) -> Option<Address> {
        let mut blocked = false;
        for item in &self.wanted.items {
            let seen = foresight.see(&*item.resource, self.known.readings);
            let wish = if self.leaves(item) { Wish::Left } else { Wish::Written };
            let past = &self.known.past;
            let mut alone = match past.foreign.refusal(&*item.resource) {
                Some(why) => {
                    Ok(Decision { verdict: ResourceVerdict::Refuse(why), written: None, loaded: None, otherwise: None })
                }
                None => item.resource.decide_among(&seen, wish, &past.others).map_err(|why| why.to_string()),
            };
            if let Ok(decision) = &mut alone {
                if let (Some(by), Some(change)) = (&brought, decision.otherwise.take()) {
                    decision.verdict =
                        ResourceVerdict::MayChange(change, format!("{by}, planned before it, may create it"));
                }
                let adds = |change: &Change| matches!(change.action, Action::Add | Action::Change);
                let brings = item.resource.brings()
                    && matches!(&decision.verdict, ResourceVerdict::Change(change) if adds(change));
                // What was not chosen is not done, so nothing can build on it.
                if item.chosen == Chosen::Yes {
                    // What comes after a refusal is blocked by that, and not refused as well.
                    if !blocked {
                        self.ground(decision, foresight);
                    }
                    brought = if brings { Some(self.address(item)) } else { brought };
                    foresight.expect((&*item.resource, &self.address(item)), &decision.verdict);
                }
            }
            let refused = matches!(&alone, Err(_) | Ok(Decision { verdict: ResourceVerdict::Refuse(_), .. }));
            blocked |= refused && item.chosen == Chosen::Yes;
            self.seen.push(seen);
            self.alone.push(alone);
        }
        brought
    }

    /// Holds the verdict on the next resource against the directories that will be there.
    fn ground(&mut self, decision: &mut Decision, foresight: &mut Foresight) {
        let verdict = std::mem::replace(&mut decision.verdict, ResourceVerdict::InSync);
        let (verdict, doubt) = foresight.grounded(verdict, self.known.readings);
        decision.verdict = verdict;
        self.doubts.extend(doubt.map(|doubt| (self.alone.len(), doubt)));
    }

    /// Whether no role wants it any more.
    fn leaves(&self, item: &Wanted) -> bool {
        let place = place(self.wanted, item);
        self.known.past.leaving.iter().any(|leaving| leaving.place == place)
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
            && matches!(
                self.alone[index],
                Ok(Decision { verdict: ResourceVerdict::Change(_) | ResourceVerdict::MayChange(..), .. })
            )
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
    fn hears(&self, index: usize, notified: Option<&(Verb, Vec<usize>)>) -> Option<(ResourceVerdict, Reason)> {
        let (item, alone) = (&self.wanted.items[index], self.alone[index].as_ref().ok()?);
        if !item.resource.hears() || self.known.past.foreign.claimant(&*item.resource).is_some() {
            return None;
        }
        let address = |index: usize| self.address(&self.wanted.items[index]);
        let owed = self.known.past.owed(self.host, &place(self.wanted, item));
        let stale = || Some((Verb::Restart, Reason::Stale(address(self.stale(alone.loaded?)?))));
        let (verb, reason) = match (notified, owed) {
            (Some((verb, from)), owed) => {
                let (more, before) = owed.unwrap_or((*verb, Vec::new()));
                let mut from: Vec<Address> = from.iter().copied().map(address).collect();
                from.extend(before.into_iter().filter(|address| !from.contains(address)).collect::<Vec<_>>());
                ((*verb).max(more), Reason::Notified(from))
            }
            (None, Some((Verb::Restart, from))) => (Verb::Restart, Reason::Owed(from)),
            (None, Some((Verb::Reload, from))) => stale().unwrap_or((Verb::Reload, Reason::Owed(from))),
            (None, None) => stale()?,
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
        let (wanted, known) = (self.wanted, self.known);
        let hearing: Vec<Address> =
            wanted.items.iter().filter(|item| item.resource.hears()).map(|item| self.address(item)).collect();
        let differ: Vec<bool> = self.alone.iter().map(differs).collect();
        let said = self.alone.into_iter().zip(self.heard).zip(speaks);
        let one = |(address, ((alone, heard), speaks))| if speaks { entry(address, alone, heard) } else { None };
        let mut entries: Vec<Option<Entry>> = addresses.into_iter().zip(said).map(one).collect();
        for (index, doubt) in self.doubts {
            if let Some(entry) = entries[index].as_mut().filter(|entry| entry.reason == Reason::Missing) {
                entry.reason = Reason::Because(doubt);
            }
        }
        let told = wanted.items.iter().zip(entries.into_iter().zip(differ));
        let one = |(item, (entry, differs)): (&Wanted, (Option<Entry>, bool))| {
            let place = place(wanted, item);
            let owned = known.past.owned(&place).filter(|_| !known.past.leaves(&place));
            let cause = cause(differs, item, owned, known.readings);
            Some(remembered(wanted, item, known, &hearing, Entry { cause, ..entry? }))
        };
        told.map(one).collect()
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

/// The same entry with what is known of it from before, and what the host is to write down.
fn remembered(
    block: &catalog::RoleBlock,
    item: &Wanted,
    known: &Known<'_>,
    hearing: &[Address],
    mut entry: Entry,
) -> Entry {
    let place: ResourceKey = place(block, item);
    let leaves = known.past.leaves(&place);
    if leaves && !entry.steps().is_empty() {
        entry.reason = match (&entry.verdict, entry.reason) {
            (Verdict::MayChange(_), Reason::Because(why)) => Reason::LeftIf(why),
            _ => Reason::Left,
        };
        let generation = known.past.ledger.as_ref().map_or(0, |ledger| ledger.generation);
        known.past.owner.as_ref().inspect(|owner| with_copies(&mut entry, owner, generation));
    } else if leaves {
        // It is not worth refusing a plan for.
        entry.verdict = Verdict::Keep;
    }
    if !entry.steps().is_empty() {
        entry.risk = item.risk;
        let seen = item.resource.seen(known.readings);
        let expected = expected::expected(&*item.resource, known.readings, entry.steps());
        let others = hearing.iter().filter(|other| **other != entry.address);
        entry.mark = Some(Mark {
            want: (!leaves).then(|| crate::ledger::want(item.resource.kind(), &item.keys)),
            // Of what cannot be told it is not said that it is ours.
            existed: seen.map_or(true, |seen| seen.exists),
            expected: if leaves { Expected::Unknown } else { expected },
            conditional: leaves && is_conditional(&entry),
            absent: if leaves { item.keys.plain() } else { item.resource.absent() },
            order: item.order,
            protect: item.protect,
            notifies: item.notify.map(|verb| others.map(|other| (other.clone(), verb)).collect()).unwrap_or_default(),
        });
    }
    entry
}

/// Whether what would be removed stays where something turns out to need it or to be in it.
fn is_conditional(entry: &Entry) -> bool {
    let unless = |step: &Step| matches!(step, Step::RemovePackages(removal) if !removal.unless_needed_by.is_empty());
    matches!(entry.verdict, Verdict::MayChange(_)) || entry.steps().iter().any(unless)
}

/// Before a file that left the roles goes, a copy of it is kept: who took it out of them may have erred.
fn with_copies(entry: &mut Entry, owner: &Owner, generation: u64) {
    let (Verdict::Change(change) | Verdict::MayChange(change)) = &mut entry.verdict else { return };
    let steps = std::mem::take(&mut change.steps);
    for step in steps {
        if let Step::Remove { path, what: Removable::File } = &step {
            let (owner, path) = (owner.clone(), path.clone());
            change.steps.push(Step::KeepCopy { owner, generation, path });
        }
        change.steps.push(step);
    }
}

fn entry(address: Address, alone: Result<Decision, String>, heard: Option<(ResourceVerdict, Reason)>) -> Option<Entry> {
    let (said, because) = match (alone, heard) {
        (Err(why), _) => {
            let (verdict, reason) = (Verdict::Unreadable, Reason::Because(why));
            return Some(Entry { address, verdict, reason, cause: Cause::Unknown, mark: None, risk: None });
        }
        (Ok(_), Some((said, because))) => (said, Some(because)),
        (Ok(decision), None) => (decision.verdict, None),
    };
    let (verdict, reason) = match said {
        ResourceVerdict::InSync => return None,
        ResourceVerdict::Change(change) => {
            let reason = because.unwrap_or_else(|| reason(&change));
            (Verdict::Change(change), reason)
        }
        ResourceVerdict::MayChange(change, why) => (Verdict::MayChange(change), Reason::Because(why)),
        ResourceVerdict::Refuse(why) => (Verdict::Refused, Reason::Because(why)),
    };
    Some(Entry { address, verdict, reason, cause: Cause::Unknown, mark: None, risk: None })
}

/// Whether something is different by itself, and not only notified or run every time.
fn differs(alone: &Result<Decision, String>) -> bool {
    match alone.as_ref().map(|decision| &decision.verdict) {
        Ok(ResourceVerdict::Change(change)) => reason(change) != Reason::Unguarded,
        Ok(ResourceVerdict::Refuse(_)) => true,
        Ok(ResourceVerdict::InSync | ResourceVerdict::MayChange(..)) | Err(_) => false,
    }
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
fn block_what_requires(wanted: &[catalog::RoleBlock], blocks: &mut [Decided]) {
    let mut causes: Vec<Option<Address>> = blocks.iter().map(|decided| trouble(&decided.block.entries)).collect();
    for (index, decided) in blocks.iter_mut().enumerate() {
        let cause = wanted[index].requires.iter().find_map(|before| causes[*before].clone());
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
fn refresh_once(wanted: &[catalog::RoleBlock], blocks: &mut [Decided]) {
    let mut fetched: Vec<usize> = Vec::new();
    for (index, decided) in blocks.iter_mut().enumerate() {
        let before = closure(wanted, index);
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
pub(super) fn closure(wanted: &[catalog::RoleBlock], index: usize) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::new();
    let mut open = wanted[index].requires.clone();
    while let Some(next) = open.pop() {
        if !found.contains(&next) {
            found.push(next);
            open.extend(&wanted[next].requires);
        }
    }
    found
}
