//! The order between hosts: batches, gates, and what waits for what.
//!
//! In: what changes on each host. Out: stages, each knowing what it waits for. Never: a wait that no dependency, batch
//! or gate asks for.

use std::collections::{BTreeMap, BTreeSet};

use super::decide::{Decided, closure};
use super::past::Known;
use super::{Condition, Moment, Otherwise, PlannedBlock, ServicePlan, Stage, StageId, Turn, Work, rollback};
use crate::catalog::{self, Catalog, Hook, Service};
use crate::name::{HostName, RoleName, ServiceName};
use crate::rollout::{Changing, Member, OnFailure, Rollout, Standing};
use crate::secret::masked;
use crate::step::{Check, FailedCheck, Gate, Health, failed, health};

/// The services with their batches, and the stages in an order in which each comes after all it waits for.
pub(super) fn stages(
    catalog: &Catalog,
    known: &BTreeMap<HostName, Result<Known<'_>, String>>,
    decided: BTreeMap<HostName, Vec<Decided>>,
    removed: BTreeMap<HostName, Vec<PlannedBlock>>,
) -> (Vec<ServicePlan>, Vec<Stage>) {
    let needed = needed_by_changes(catalog, &decided);
    let mut builder = Builder {
        catalog,
        known,
        decided,
        stages: Vec::new(),
        placed: BTreeMap::new(),
        ends: BTreeMap::new(),
        last: BTreeMap::new(),
        needed,
        turn: None,
        keeps: false,
    };
    let services: Vec<ServicePlan> =
        catalog.services.iter().enumerate().map(|(index, service)| builder.service(index, service)).collect();
    let there = builder.by_host(0);
    for (host, blocks) in removed {
        builder.removed(there.get(&host).map(Vec::as_slice).unwrap_or_default(), blocks);
    }
    builder.unhealthy_gates(&services);
    (services, builder.stages)
}

/// The services that must be asked for their health, because something that needs them changes.
fn needed_by_changes(catalog: &Catalog, decided: &BTreeMap<HostName, Vec<Decided>>) -> BTreeSet<ServiceName> {
    let changing = |service: &&Service| {
        service.hosts.iter().any(|host| {
            let blocks = decided.get(host).map(Vec::as_slice).unwrap_or_default();
            blocks.iter().any(|d| d.block.service.as_ref() == Some(&service.name) && !d.block.entries.is_empty())
        })
    };
    catalog.services.iter().filter(changing).flat_map(|service| service.needs.clone()).collect()
}

struct Builder<'a> {
    catalog: &'a Catalog,
    known: &'a BTreeMap<HostName, Result<Known<'a>, String>>,
    decided: BTreeMap<HostName, Vec<Decided>>,
    stages: Vec<Stage>,
    /// The stage of each block that has one, by host and place.
    placed: BTreeMap<(HostName, usize), StageId>,
    /// What waits for a service waits for this.
    ends: BTreeMap<ServiceName, StageId>,
    /// What waits for a service on one host waits for these: its last stages there.
    last: BTreeMap<(HostName, ServiceName), Vec<StageId>>,
    needed: BTreeSet<ServiceName>,
    /// Whose turn what is built now belongs to.
    turn: Option<Turn>,
    /// Whether what changes is kept first, so that it can be put back.
    keeps: bool,
}

impl Builder<'_> {
    fn service(&mut self, index: usize, service: &Service) -> ServicePlan {
        let (down, unhealthy) = (self.down(service), self.unhealthy(service));
        let changing = self.changing(service, &down);
        let mut rollout = self.rollout(service, changing.clone());
        let mut before: Vec<StageId> = service.needs.iter().filter_map(|need| self.ends.get(need).copied()).collect();
        let batches = match &mut rollout {
            Some(rollout) => {
                let batches = rollout.batches();
                before = vec![self.rolled(index, service, rollout, &before)];
                batches
            }
            None => changing.batches(),
        };
        for batch in batches.iter().filter(|_| rollout.is_none()) {
            before = vec![self.batch(service, batch, &before)];
        }
        if self.needed.contains(&service.name) {
            // Asked only once nothing it needs and nothing of itself changes any more.
            let gates = self.unchanged_gates(service, &batches, &before);
            before = vec![self.join(before.iter().chain(&gates).copied(), Condition::Done)];
        } else if before.len() > 1 {
            before = vec![self.join(before, Condition::Done)];
        }
        if let [end] = before.as_slice() {
            self.ends.insert(service.name.clone(), *end);
        }
        ServicePlan {
            name: service.name.clone(),
            role: service.role.clone(),
            hosts: service.hosts.clone(),
            batches,
            needs: service.needs.clone(),
            down,
            unhealthy,
            rollout,
        }
    }

    /// How its hosts follow each other, if any of them changes and they do not all change at once.
    fn rollout(&self, service: &Service, changing: Changing) -> Option<Rollout> {
        if service.policy.is_plain() || changing.is_empty() {
            return None;
        }
        let members = service.hosts.iter().map(|host| (host.clone(), self.member(service, host))).collect();
        Some(Rollout::new(&service.policy, members, changing))
    }

    fn member(&self, service: &Service, host: &HostName) -> Member {
        let block = self.block(service, host);
        let own = block.map(|block| block.member.clone()).unwrap_or_default();
        let checks = block.map(|block| block.health.clone()).unwrap_or_default();
        let member = Member { standing: Standing::Up, answer: None, zone: own.zone, checks, by: own.by };
        let (standing, answer) = match self.known.get(host) {
            Some(Ok(known)) => member.answer(Ok(known.readings)),
            Some(Err(why)) => member.answer(Err(why.clone())),
            None => (Standing::Unknown("it was not checked, because it was left out".to_owned()), None),
        };
        Member { standing, answer, ..member }
    }

    /// The stages of hosts that follow each other: each begins when its turn comes. Gives the stage at the end.
    fn rolled(&mut self, index: usize, service: &Service, rollout: &mut Rollout, before: &[StageId]) -> StageId {
        let first = self.stages.len();
        self.keeps = rollout.on_failure == OnFailure::Rollback;
        for batch in rollout.batches() {
            let made = if batch == rollout.together {
                self.together(index, service, &batch, before)
            } else {
                batch.iter().flat_map(|host| self.turn(index, service, host, before)).collect()
            };
            // Nothing waits for it: it shows where a batch ends.
            self.join(made, Condition::Over);
        }
        // A gate is over as soon as one of the changes before it fails; the others may not even have begun.
        let turns = self.stages.iter().enumerate().skip(first).filter(|(_, stage)| stage.turn.is_some());
        let after = turns.map(|(id, _)| (id, Condition::Over)).collect();
        if std::mem::take(&mut self.keeps) {
            let hosts: Vec<HostName> = rollout.together.iter().chain(&rollout.waiting).cloned().collect();
            let there = self.by_host(first);
            let own = |host: &HostName| there.get(host).map(Vec::as_slice).unwrap_or_default();
            rollout.undo =
                hosts.into_iter().map(|host| (host.clone(), self.back(service, &host, own(&host)))).collect();
        }
        self.push(Stage { after, work: Work::Rolled(index), turn: None })
    }

    /// Hosts that have nothing to lose: their changes side by side, then their gates.
    fn together(&mut self, index: usize, service: &Service, hosts: &[HostName], before: &[StageId]) -> Vec<StageId> {
        let mut changes = Vec::new();
        for host in hosts {
            self.turn = Some(Turn { service: index, host: host.clone() });
            changes.push((host.clone(), self.first(service, host, before)));
        }
        self.turn = None;
        let over = self.join(changes.iter().flat_map(|(_, stages)| stages.clone()), Condition::Over);
        let mut ends = Vec::new();
        for (host, stages) in changes {
            self.turn = Some(Turn { service: index, host: host.clone() });
            let mut after = done(&stages);
            after.push((over, Condition::Over));
            let own = match self.gate(service, &host, after) {
                Some(gate) => {
                    self.commit(gate, &stages);
                    vec![gate]
                }
                None => stages,
            };
            ends.extend(&own);
            self.last.insert((host, service.name.clone()), own);
        }
        self.turn = None;
        ends
    }

    /// One host: what is done before, its changes, its gate, what is done after. Gives its last stages.
    fn turn(&mut self, index: usize, service: &Service, host: &HostName, before: &[StageId]) -> Vec<StageId> {
        self.turn = Some(Turn { service: index, host: host.clone() });
        let member = self.block(service, host).map(|block| block.member.clone()).unwrap_or_default();
        let begin = self.begin(service, host, before);
        let begin = self.hooks(service, host, Moment::Drain, begin);
        let mut ends = self.host(service, host, &begin);
        if let Some(gate) = self.gate(service, host, done(&ends)) {
            self.commit(gate, &ends);
            ends = vec![gate];
        }
        if !member.undrain.is_empty() {
            let after = self.hooks(service, host, Moment::Undrain, done(&ends));
            ends = vec![self.join_all(after)];
        }
        self.turn = None;
        self.last.insert((host.clone(), service.name.clone()), ends.clone());
        ends
    }

    /// What the first stage of a service on a host waits for: what is before the service, and on this host the last stages
    /// of every service that is before it. A service may be well enough for those that need it although it failed on some
    /// hosts; on these hosts nothing may build on it.
    fn begin(&self, service: &Service, host: &HostName, before: &[StageId]) -> Vec<(StageId, Condition)> {
        let below = self.below(service, host);
        let here = below.into_iter().filter_map(|name| self.last.get(&(host.clone(), name.clone())));
        let after: BTreeSet<StageId> = here.flatten().chain(before).copied().collect();
        after.into_iter().map(|id| (id, Condition::Done)).collect()
    }

    /// The services that come before one on a host, directly or by way of others: those it needs, and those whose roles its
    /// own requires there.
    fn below(&self, service: &Service, host: &HostName) -> BTreeSet<&ServiceName> {
        let blocks = self.catalog.hosts.get(host).map(|host| host.blocks.as_slice()).unwrap_or_default();
        let required = self.family(service, host).into_iter().filter_map(|index| blocks[index].service.as_ref());
        let mut open: Vec<&ServiceName> = required.chain(self.services_needed(&service.name)).collect();
        let mut found = BTreeSet::new();
        while let Some(name) = open.pop() {
            if *name != service.name && found.insert(name) {
                open.extend(self.services_needed(name));
            }
        }
        found
    }

    fn services_needed(&self, name: &ServiceName) -> &[ServiceName] {
        let found = self.catalog.services.iter().find(|service| service.name == *name);
        found.map(|service| service.needs.as_slice()).unwrap_or_default()
    }

    /// What was kept for these changes is what was before them, as soon as the gate after them is open.
    fn commit(&mut self, gate: StageId, changes: &[StageId]) {
        let kept = changes.iter().filter(|_| self.keeps).filter_map(|id| match &self.stages[*id].work {
            Work::Change(block) => Some(rollback::commit(&self.catalog.owner, block)),
            _ => None,
        });
        let kept: Vec<_> = kept.collect();
        if let Work::Gate { then, .. } = &mut self.stages[gate].work {
            *then = kept;
        }
    }

    /// The stages from `first` on, by the host that each is about.
    fn by_host(&self, first: StageId) -> BTreeMap<HostName, Vec<StageId>> {
        let mut there: BTreeMap<HostName, Vec<StageId>> = BTreeMap::new();
        for (id, stage) in self.stages.iter().enumerate().skip(first) {
            if let Some(host) = stage.work.host() {
                there.entry(host.clone()).or_default().push(id);
            }
        }
        there
    }

    /// What puts a host back: its changes among these stages, the last first; then what was healthy before must be so
    /// again, and it is let in again.
    fn back(&mut self, service: &Service, host: &HostName, there: &[StageId]) -> Vec<StageId> {
        let begin = self.stages.len();
        let change = |of: &StageId| match &self.stages[*of].work {
            Work::Change(block) => Some((*of, block.clone())),
            _ => None,
        };
        let changes: Vec<(StageId, PlannedBlock)> = there.iter().filter_map(change).collect();
        let mut checks = self.healthy(service, host);
        let mut after = Vec::new();
        for (of, block) in changes.into_iter().rev() {
            if let Some(Ok(known)) = self.known.get(host) {
                checks.extend(rollback::running(&block, known.readings));
            }
            let step = Box::new(rollback::undo(&self.catalog.owner, &block));
            let work = Work::Undo { host: host.clone(), service: service.name.clone(), of, step };
            after = done(&[self.push(Stage { after, work, turn: None })]);
        }
        if !checks.is_empty() {
            let gate = Gate { of: service.name.to_string(), checks };
            let work = Work::Gate { host: host.clone(), service: service.name.clone(), gate, then: Vec::new() };
            after = done(&[self.push(Stage { after, work, turn: None })]);
        }
        self.hooks(service, host, Moment::Undrain, after);
        (begin..self.stages.len()).collect()
    }

    /// The checks that hold now: those of the wanted state that did not hold before a change cannot be asked of what was
    /// put back.
    fn healthy(&self, service: &Service, host: &HostName) -> Vec<Check> {
        let Some(Ok(known)) = self.known.get(host) else { return Vec::new() };
        let checks = self.block(service, host).map(|block| block.health.clone()).unwrap_or_default();
        let holds = |check: &Check| health(std::slice::from_ref(check), known.readings) == Health::Healthy;
        checks.into_iter().filter(holds).collect()
    }

    /// The hooks of a member, one after the other; gives what comes after them waits for.
    fn hooks(
        &mut self,
        service: &Service,
        host: &HostName,
        moment: Moment,
        mut after: Vec<(StageId, Condition)>,
    ) -> Vec<(StageId, Condition)> {
        let member = self.block(service, host).map(|block| block.member.clone()).unwrap_or_default();
        let hooks: Vec<Hook> = match moment {
            Moment::Drain => member.drain,
            Moment::Undrain => member.undrain,
        };
        for hook in hooks {
            let condition = if hook.otherwise == Otherwise::Continue { Condition::Over } else { Condition::Done };
            let work = Work::Hook { host: host.clone(), service: service.name.clone(), moment, hook: Box::new(hook) };
            after = vec![(self.push(Stage { after, work, turn: None }), condition)];
        }
        after
    }

    /// The gates of the hosts that do not change. If none of a service's hosts answered, their gates will tell.
    fn unchanged_gates(&mut self, service: &Service, batches: &[Vec<HostName>], before: &[StageId]) -> Vec<StageId> {
        let after = done(before);
        let answers = |host: &&HostName| self.known.get(*host).is_some_and(Result::is_ok);
        let lost = |host: &&HostName| self.known.get(*host).is_some_and(Result::is_err);
        if !service.hosts.iter().any(|host| answers(&host)) {
            let lost: Vec<&HostName> = service.hosts.iter().filter(lost).collect();
            return lost.into_iter().filter_map(|host| self.ask(service, host, after.clone())).collect();
        }
        let changed: BTreeSet<&HostName> = batches.iter().flatten().collect();
        let unchanged = service.hosts.iter().filter(|host| !changed.contains(host));
        unchanged.filter_map(|host| self.gate(service, host, after.clone())).collect()
    }

    fn block_index(&self, service: &Service, host: &HostName) -> Option<usize> {
        let blocks = &self.catalog.hosts.get(host)?.blocks;
        blocks.iter().position(|block| block.service.as_ref() == Some(&service.name))
    }

    fn block(&self, service: &Service, host: &HostName) -> Option<&catalog::RoleBlock> {
        self.catalog.hosts.get(host)?.blocks.get(self.block_index(service, host)?)
    }

    /// The blocks of a host that belong to a service: what it requires, and itself.
    fn family(&self, service: &Service, host: &HostName) -> Vec<usize> {
        let Some(own) = self.block_index(service, host) else { return Vec::new() };
        let mut family = closure(&self.catalog.hosts[host].blocks, own);
        family.push(own);
        family.sort_unstable();
        family
    }

    fn changes(&self, service: &Service, host: &HostName) -> bool {
        let Some(blocks) = self.decided.get(host) else { return false };
        let open = |index: &usize| !self.placed.contains_key(&(host.clone(), *index));
        self.family(service, host).iter().filter(|i| open(i)).any(|i| !blocks[*i].block.entries.is_empty())
    }

    /// Hosts where the service does not run and is not healthy. One that runs may only seem unhealthy: its checks use the
    /// desired values, and a port that changes is closed everywhere before the change.
    fn down(&self, service: &Service) -> BTreeMap<HostName, String> {
        let down = |host: &HostName| {
            let own = self.block_index(service, host)?;
            if self.decided.get(host)?.get(own)?.running {
                return None;
            }
            let known = self.known.get(host)?.as_ref().ok()?;
            match health(&self.block(service, host)?.health, known.readings) {
                Health::Unhealthy(why) => Some((host.clone(), masked(&why, &self.catalog.secrets))),
                Health::Healthy | Health::Unknown(_) => None,
            }
        };
        service.hosts.iter().filter_map(down).collect()
    }

    /// Whether the service is not on the host yet: it does not run, and nothing of its role was ever applied there.
    fn is_new(&self, service: &Service, host: &HostName) -> bool {
        let runs = self.block_index(service, host).is_some_and(|own| self.decided[host][own].running);
        !runs && self.never_applied(&service.role, host)
    }

    /// Every chosen member that does not pass its checks now. One that this plan brings is not unhealthy, only not there
    /// yet. What could not be asked counts only where nothing changes.
    fn unhealthy(&self, service: &Service) -> BTreeMap<HostName, Vec<FailedCheck>> {
        let unhealthy = |host: &HostName| {
            let known = self.known.get(host)?.as_ref().ok()?;
            let block = self.block(service, host).filter(|block| self.catalog.chooses(block))?;
            let mut failed = failed(&block.health, known.readings, &self.catalog.secrets);
            if self.changes(service, host) {
                if self.is_new(service, host) {
                    return None;
                }
                failed.retain(|check| matches!(check.health, Health::Unhealthy(_)));
            }
            (!failed.is_empty()).then(|| (host.clone(), failed))
        };
        service.hosts.iter().filter_map(unhealthy).collect()
    }

    /// The gates of unhealthy members that nothing changes: after everything else on their hosts, which may be what they
    /// were waiting for. Those of a service that something needs are there already.
    fn unhealthy_gates(&mut self, services: &[ServicePlan]) {
        let there = self.by_host(0);
        let catalog = self.catalog;
        for (service, plan) in catalog.services.iter().zip(services) {
            if self.needed.contains(&service.name) {
                continue;
            }
            let end = self.ends.get(&service.name).copied();
            for (host, _) in plan.unhealthy_unchanged() {
                let here = there.get(host).into_iter().flatten().map(|id| (*id, Condition::Over));
                let after = here.chain(end.map(|id| (id, Condition::Done))).collect();
                self.gate(service, host, after);
            }
        }
    }

    /// Hosts where the service does not run have nothing to lose.
    fn changing(&self, service: &Service, down: &BTreeMap<HostName, String>) -> Changing {
        let changing = service.hosts.iter().filter(|host| self.changes(service, host)).cloned();
        let (together, waiting) = changing.partition(|host| down.contains_key(host));
        Changing { together, waiting }
    }

    /// One batch: the changes of its hosts side by side, then the gates; gives the stage at its end.
    fn batch(&mut self, service: &Service, hosts: &[HostName], before: &[StageId]) -> StageId {
        let changes: Vec<(HostName, Vec<StageId>)> =
            hosts.iter().map(|host| (host.clone(), self.first(service, host, before))).collect();
        let over = self.join(changes.iter().flat_map(|(_, stages)| stages.clone()), Condition::Over);
        let mut ends: Vec<StageId> = Vec::new();
        for (host, stages) in &changes {
            let mut after = done(stages);
            after.push((over, Condition::Over));
            let own = self.gate(service, host, after).map_or_else(|| stages.clone(), |gate| vec![gate]);
            ends.extend(&own);
            self.last.insert((host.clone(), service.name.clone()), own);
        }
        self.join(ends, Condition::Done)
    }

    /// The same after what is before them on this host, too.
    fn first(&mut self, service: &Service, host: &HostName, before: &[StageId]) -> Vec<StageId> {
        let begin = self.begin(service, host, before);
        self.host(service, host, &begin)
    }

    /// The changes of one host for a service; what it requires comes first.
    fn host(&mut self, service: &Service, host: &HostName, before: &[(StageId, Condition)]) -> Vec<StageId> {
        let mut made = Vec::new();
        for index in self.family(service, host) {
            let key = (host.clone(), index);
            let Some(decided) = self.decided.get_mut(host).and_then(|blocks| blocks.get_mut(index)) else { continue };
            if self.placed.contains_key(&key) || decided.block.entries.is_empty() {
                continue;
            }
            // Taken, not copied: a stage is the only place it is needed from now on.
            let entries = std::mem::take(&mut decided.block.entries);
            let mut block = PlannedBlock { entries, ..decided.block.clone() };
            if self.keeps {
                rollback::keep(&self.catalog.owner, &mut block);
            }
            // What another service on this host writes into the same file is a part of what this one will find there.
            let builds_on = decided.builds_on.clone();
            let required = closure(&self.catalog.hosts[host].blocks, index).into_iter().chain(builds_on);
            let required = required.filter_map(|i| self.placed.get(&(host.clone(), i)).copied());
            let required = required.map(|id| (id, Condition::Done));
            let work = Work::Change(block);
            let id = if self.needs_nobody(service, host, index) {
                self.stages.push(Stage { after: required.collect(), work, turn: None });
                self.stages.len() - 1
            } else {
                self.push(Stage { after: required.chain(before.iter().copied()).collect(), work, turn: None })
            };
            self.placed.insert(key, id);
            made.push(id);
        }
        made
    }

    /// Whether a block waits for no other host and no turn: a role that is required on a host where neither it nor the
    /// service was ever applied has nobody there whom it could disturb.
    fn needs_nobody(&self, service: &Service, host: &HostName, index: usize) -> bool {
        let block = &self.catalog.hosts[host].blocks[index];
        block.service.is_none() && self.is_new(service, host) && self.never_applied(&block.role, host)
    }

    /// Whether nothing of a role was ever applied on a host.
    fn never_applied(&self, role: &RoleName, host: &HostName) -> bool {
        let ledger = self.known.get(host).and_then(|known| known.as_ref().ok()?.past.ledger.as_ref());
        ledger.is_none_or(|ledger| ledger.owned.keys().all(|key| key.role != *role))
    }

    /// What leaves a host goes after everything else there, which are these stages, and after the services that may have
    /// used it are well without it: its own, if others have it now, and those that need it.
    fn removed(&mut self, here: &[StageId], blocks: Vec<PlannedBlock>) {
        let mut before: Option<StageId> = None;
        for block in blocks {
            let concerns = |service: &&Service| {
                Some(&service.name) == block.service.as_ref()
                    || block.service.as_ref().is_some_and(|left| service.needs.contains(left))
            };
            let users =
                self.catalog.services.iter().filter(concerns).filter_map(|service| self.ends.get(&service.name));
            let after: BTreeSet<StageId> = here.iter().copied().chain(users.copied()).chain(before).collect();
            let after = after.into_iter().map(|id| (id, Condition::Done)).collect();
            before = Some(self.push(Stage { after, work: Work::Change(block), turn: None }));
        }
    }

    fn gate(&mut self, service: &Service, host: &HostName, after: Vec<(StageId, Condition)>) -> Option<StageId> {
        self.known.get(host)?.as_ref().ok()?;
        if self.block(service, host)?.health.is_empty() {
            return None;
        }
        self.ask(service, host, after)
    }

    fn ask(&mut self, service: &Service, host: &HostName, after: Vec<(StageId, Condition)>) -> Option<StageId> {
        let checks = self.block(service, host)?.health.clone();
        let gate = Gate { of: service.name.to_string(), checks };
        let work = Work::Gate { host: host.clone(), service: service.name.clone(), gate, then: Vec::new() };
        Some(self.push(Stage { after, work, turn: None }))
    }

    fn join(&mut self, stages: impl IntoIterator<Item = StageId>, condition: Condition) -> StageId {
        self.join_all(stages.into_iter().map(|id| (id, condition)).collect())
    }

    fn join_all(&mut self, after: Vec<(StageId, Condition)>) -> StageId {
        self.push(Stage { after, work: Work::Join, turn: None })
    }

    /// What is built for the turn of a host belongs to it.
    fn push(&mut self, stage: Stage) -> StageId {
        self.stages.push(Stage { turn: stage.turn.or_else(|| self.turn.clone()), ..stage });
        self.stages.len() - 1
    }
}

fn done(stages: &[StageId]) -> Vec<(StageId, Condition)> {
    stages.iter().map(|id| (*id, Condition::Done)).collect()
}
