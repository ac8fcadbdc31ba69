//! The plan: every change on every host, in order, with reasons, before anything is done.
//!
//! In: a catalog and what the hosts answered. Out: a [`Plan`] in which nothing is left to decide.
//! Never: a host, a clock, or an error; what cannot be known is said in the plan itself.

mod cause;
mod decide;
mod drift;
mod expected;
mod foreign;
mod foresight;
mod history;
mod import;
mod past;
mod risk;
mod rollback;
pub mod saved;
mod stages;
pub mod undo;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use drift::{Drift, drift};
pub use history::settle;
pub use import::{Import, Left, import};
pub use rollback::{Begun, rollback};
pub use verify::{Finding, checks};

pub use crate::catalog::{Hook, Otherwise};
pub use crate::rollout::StageId;

use crate::catalog::{Catalog, Data};
use crate::inventory::Endpoint;
use crate::ledger::{Applied, Expected, Ledger, Parted, Records, ResourceKey};
use crate::name::{Address, EnvName, HostName, Owner, RoleName, RunId, ServiceName};
use crate::resource::{Action, Change, Field, FieldValue, Verb, kind};
use crate::rollout::Rollout;
use crate::secret::Secret;
use crate::step::{Command, Digest, FailedCheck, Gate, Leftovers, Probe, Readings, Step};

/// What each host answered, or why it did not.
pub type Observed = BTreeMap<HostName, Result<Readings, String>>;

/// Every change on every host.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Whose.
    #[serde(rename = "environment")]
    pub owner: Owner,
    /// What is done, each after all it waits for.
    pub stages: Vec<Stage>,
    /// The services in the order of the graph, with how they change.
    pub services: Vec<ServicePlan>,
    /// How the hosts of the plan are reached.
    pub endpoints: BTreeMap<HostName, Endpoint>,
    /// Hosts that did not answer, and why.
    pub unreachable: BTreeMap<HostName, String>,
    /// Hosts without a role that did not answer, and why: whether something of ours is left there is not known. A spare
    /// machine may be switched off, so this is a warning and no error.
    pub silent: BTreeMap<HostName, String>,
    /// How many resources are as they should be.
    pub in_sync: usize,
    /// How many resources were not chosen: of these nothing is said.
    pub left_out: usize,
    /// The secrets that went into it: whatever a host says is shown without them.
    pub secrets: Vec<Secret<String>>,
    /// What each host that answered kept for armilla when the plan was made.
    pub bases: BTreeMap<HostName, Base>,
    /// What the hosts' ledgers have under another name, or need not have any more: a run ends with working it in.
    pub parted: BTreeMap<HostName, Parted>,
}

/// How many resources a run takes away at most, if nobody says otherwise: a slip in a pattern must not empty a fleet.
pub const MAX_REMOVALS: usize = 20;

/// What a plan for a host was made on.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// The host's machine id: another one is another machine.
    pub machine: String,
    /// Whether its ledger does not say of which project it is: it must be adopted first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_unadopted: bool,
    /// The generation of its ledger.
    pub generation: u64,
    /// The last run that changed it.
    pub last: Option<Applied>,
    /// The last run after which everything was as described; none in plans from before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub converged: Option<Applied>,
    /// Of every resource that is asked there, a digest of what was seen (see [`crate::resource::Kind::fingerprint`]), in
    /// the order of the catalog.
    pub seen: Vec<(Address, Digest)>,
}

/// How a service changes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServicePlan {
    /// Which.
    pub name: ServiceName,
    /// Its role.
    pub role: RoleName,
    /// All of its hosts.
    pub hosts: Vec<HostName>,
    /// The hosts that change, in batches.
    pub batches: Vec<Vec<HostName>>,
    /// The services it waits for.
    pub needs: Vec<ServiceName>,
    /// Hosts where it does not run and is not healthy now, and why.
    #[serde(alias = "sick")]
    pub down: BTreeMap<HostName, String>,
    /// Every member that does not pass its health checks now, with the checks that fail. A member that changes in this
    /// plan is asked with the values that are wanted, so it may seem unhealthy only because they are new.
    #[serde(default)]
    pub unhealthy: BTreeMap<HostName, Vec<FailedCheck>>,
    /// How its hosts follow each other; none if all change at once.
    pub rollout: Option<Rollout>,
}

impl ServicePlan {
    /// The unhealthy members that this plan does not change. Apply only waits for their health checks.
    pub fn unhealthy_unchanged(&self) -> impl Iterator<Item = (&HostName, &[FailedCheck])> {
        let changes = |host: &HostName| self.batches.iter().flatten().any(|changing| changing == host);
        self.unhealthy.iter().filter(move |(host, _)| !changes(host)).map(|(host, checks)| (host, checks.as_slice()))
    }
}

/// Something done at once, on one host.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// What it waits for.
    pub after: Vec<(StageId, Condition)>,
    /// What is done.
    pub work: Work,
    /// Whose turn it must be besides.
    pub turn: Option<Turn>,
}

/// The turn of a host in the rollout of a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// The place of the service in [`Plan::services`].
    pub service: usize,
    /// The host.
    pub host: HostName,
}

/// How what a stage waits for must have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Condition {
    /// Well.
    Done,
    /// In any way.
    Over,
}

/// What a stage does.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Work {
    /// Changes of one role on one host.
    Change(PlannedBlock),
    /// Waits until a service is healthy on one host.
    Gate {
        /// The host.
        host: HostName,
        /// The service.
        service: ServiceName,
        /// The checks.
        gate: Gate,
        /// What is written down when they hold.
        #[serde(default)]
        then: Vec<Step>,
    },
    /// What is done around the change of a host.
    Hook {
        /// The host.
        host: HostName,
        /// The service.
        service: ServiceName,
        /// When.
        moment: Moment,
        /// What.
        hook: Box<Hook>,
    },
    /// Puts back what a stage changed, if a rollout is rolled back and that stage was begun.
    Undo {
        /// The host.
        host: HostName,
        /// The service.
        service: ServiceName,
        /// The stage.
        of: StageId,
        /// How.
        step: Box<Step>,
    },
    /// Nothing: many stages wait for many others by way of it.
    Join,
    /// Nothing, once the rollout of a service is over: well only if it failed no more than it may.
    Rolled(
        /// The place of the service in [`Plan::services`].
        usize,
    ),
}

/// When something is done around the change of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Moment {
    /// Before it.
    Drain,
    /// When it is healthy again.
    Undrain,
}

impl Work {
    /// What is done on the host, in order.
    pub fn steps(&self) -> Vec<Step> {
        match self {
            Self::Change(block) => block.steps().cloned().collect(),
            Self::Gate { gate, then, .. } => {
                std::iter::once(Step::Await(gate.clone())).chain(then.iter().cloned()).collect()
            }
            Self::Hook { hook, .. } => vec![hook.step.clone()],
            Self::Undo { step, .. } => vec![Step::clone(step)],
            Self::Join | Self::Rolled(_) => Vec::new(),
        }
    }

    /// The host it happens on.
    pub fn host(&self) -> Option<&HostName> {
        match self {
            Self::Change(block) => Some(&block.host),
            Self::Gate { host, .. } | Self::Hook { host, .. } | Self::Undo { host, .. } => Some(host),
            Self::Join | Self::Rolled(_) => None,
        }
    }

    /// Whether others go on although it fails.
    pub fn is_optional(&self) -> bool {
        matches!(self, Self::Hook { hook, .. } if hook.otherwise == Otherwise::Continue)
    }
}

/// One role on one host, with something to do or to say.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedBlock {
    /// The host.
    pub host: HostName,
    /// The role.
    pub role: RoleName,
    /// The service it belongs to, if it is not only required by others.
    pub service: Option<ServiceName>,
    /// What is done before all of it, whatever it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Step>,
    /// What is not in sync, in the order in which it is done.
    pub entries: Vec<Entry>,
    /// What is done after all of it. From a [`Step::Disarm`] on, it is done over a login of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Step>,
}

impl PlannedBlock {
    /// All that is done, in order.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.before.iter().chain(self.entries.iter().flat_map(Entry::steps)).chain(&self.after)
    }

    /// How long the host waits before it undoes all of it by itself; none if it does not.
    pub fn risk(&self) -> Option<Duration> {
        self.before.iter().find_map(|step| if let Step::Arm { after, .. } = step { Some(*after) } else { None })
    }
}

/// One resource that is not in sync.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Which.
    pub address: Address,
    /// What about it.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// Who made the difference.
    pub cause: Cause,
    /// What the host writes down about it; none for what is not the plan's to change.
    pub mark: Option<Mark>,
    /// How long the host waits before it undoes this by itself; none if it does not. See [`crate::catalog::risk`].
    #[serde(default, with = "crate::step::span::optional", skip_serializing_if = "Option::is_none")]
    pub risk: Option<Duration>,
}

/// Who made the difference between what is desired and what is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Cause {
    /// It is not known: armilla has not changed this thing here before.
    #[default]
    Unknown,
    /// The project: other keys are wanted than were last applied.
    Project,
    /// The host: what was last applied is still wanted.
    Host {
        /// When it was last applied, by that controller's clock, in RFC 3339.
        since: String,
    },
    /// Both.
    Both {
        /// When it was last applied, by that controller's clock, in RFC 3339.
        since: String,
    },
}

impl Cause {
    /// Whether somebody changed it on the host.
    pub fn is_drift(&self) -> bool {
        matches!(self, Self::Host { .. } | Self::Both { .. })
    }
}

/// What a host writes down about a resource before it is changed. The ledger is made of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// The digest of the keys that are wanted; none if it is taken away.
    #[serde(with = "crate::step::guarded")]
    pub want: Option<Digest>,
    /// Whether it is there now.
    pub existed: bool,
    /// How it will look.
    #[serde(default, skip_serializing_if = "Expected::is_unknown")]
    pub expected: Expected,
    /// Whether it stays where something turns out to need it, although it is to be taken away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub conditional: bool,
    /// See [`crate::resource::Kind::absent`].
    pub absent: Option<serde_json::Value>,
    /// Its place among the resources of the host.
    pub order: u32,
    /// Whether it stays even if it leaves the roles.
    pub protect: bool,
    /// What it asks of these when it has begun to change.
    pub notifies: Vec<(Address, Verb)>,
}

impl Entry {
    /// Whether it may be in a plan right after it was done, because nothing on the host shows that it was, or because
    /// nothing was to be done.
    pub fn is_always(&self) -> bool {
        self.reason == Reason::Unguarded || matches!(self.verdict, Verdict::MayChange(_) | Verdict::Keep)
    }

    /// Whether it takes away what no role wants any more.
    pub fn is_removal(&self) -> bool {
        matches!(self.reason, Reason::Left | Reason::LeftIf(_)) && !self.steps().is_empty()
    }

    /// Whether it left the roles and stays all the same.
    pub fn is_kept(&self) -> bool {
        self.verdict == Verdict::Keep
    }

    /// What is done about it, in order. Nothing for what is refused, unreadable or blocked.
    pub fn steps(&self) -> &[Step] {
        match &self.verdict {
            Verdict::Change(change) | Verdict::MayChange(change) => &change.steps,
            Verdict::Refused | Verdict::Unreadable | Verdict::Blocked | Verdict::Keep => &[],
        }
    }
}

/// What the plan says about a resource that is not in sync.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Verdict {
    /// It will change.
    Change(Change),
    /// It may change: only a look during apply can tell.
    MayChange(Change),
    /// It must not be done. Apply refuses the plan.
    Refused,
    /// The host could not say how it is.
    Unreadable,
    /// It would come after one of the two above.
    Blocked,
    /// It left the roles and stays all the same; the reason says why.
    Keep,
}

/// Why a resource is in the plan.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reason {
    /// It is not there.
    Missing,
    /// It is there and should not be.
    Unwanted,
    /// It is different.
    Differs,
    /// These changed, and say so to it.
    Notified(Vec<Address>),
    /// This was written after it read its configuration.
    Stale(Address),
    /// It has nothing by which one could see whether it is needed.
    Unguarded,
    /// Its own check says that it is needed.
    Needed,
    /// What is in the text.
    Because(String),
    /// It is not known whether it should stay, for the reason in the text: a person must look.
    Undecided(String),
    /// This one before it.
    After(Address),
    /// These changed in a run that was cut off before it heard of them.
    Owed(Vec<Address>),
    /// No role wants it any more, and armilla made it.
    Left,
    /// The same, and it goes only if what is in the text holds when its turn comes.
    LeftIf(String),
}

/// What a plan would do, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// By action.
    pub actions: BTreeMap<Action, usize>,
    /// What may change.
    pub may_change: usize,
    /// What is refused.
    pub refused: usize,
    /// What could not be read, with what comes after it.
    pub unreadable: usize,
    /// What is as it should be.
    pub in_sync: usize,
    /// What left the roles and stays all the same.
    pub kept: usize,
    /// What was not chosen.
    pub left_out: usize,
    /// Hosts that did not answer.
    pub unreachable: usize,
    /// Members of services that are unhealthy and not changed.
    pub unhealthy: usize,
}

impl Summary {
    /// How many resources will or may change.
    pub fn changes(&self) -> usize {
        self.actions.values().sum::<usize>() + self.may_change
    }

    /// How many of this action.
    pub fn count(&self, action: Action) -> usize {
        self.actions.get(&action).copied().unwrap_or_default()
    }
}

/// Compares what is desired with what is there. Total: it always gives a plan.
pub fn plan(catalog: &Catalog, observed: &Observed) -> Plan {
    let known = decide::known(catalog, observed);
    let mut decided = BTreeMap::new();
    let mut removed = BTreeMap::new();
    for (host, one) in decide::hosts(catalog, &known) {
        decided.insert(host.clone(), one.blocks);
        removed.insert(host, one.removed);
    }
    let lost = known.iter().filter_map(|(host, known)| Some((host.clone(), known.as_ref().err()?.clone())));
    let (silent, unreachable) = lost.partition(|(host, _)| catalog.spare.contains_key(host));
    let answered = || known.iter().filter_map(|(host, known)| Some((host, known.as_ref().ok()?)));
    let bases = answered().map(|(host, known)| (host.clone(), history::base(host, catalog.hosts.get(host), known)));
    let bases = bases.collect();
    let parted = answered().map(|(host, known)| (host.clone(), known.past.parted.clone()));
    let parted = parted.filter(|(_, parted)| !parted.is_empty()).collect();
    let in_sync = decided.values().flatten().map(|block| block.in_sync).sum();
    let left_out = decided.values().flatten().map(|block| block.left_out).sum();
    let (services, mut stages) = stages::stages(catalog, &known, decided, removed);
    for stage in &mut stages {
        risk::guard(&catalog.owner, stage);
    }
    let on: BTreeSet<&HostName> = stages.iter().filter_map(|stage| stage.work.host()).collect();
    let endpoint = |host: &HostName| {
        let of_role = catalog.hosts.get(host).map(|host| &host.endpoint);
        Some((host.clone(), of_role.or_else(|| catalog.spare.get(host))?.clone()))
    };
    // A rollout asks all members of a service, also those that do not change.
    let rollouts = services.iter().filter_map(|service: &ServicePlan| service.rollout.as_ref());
    let asked = rollouts.filter(|rollout| rollout.asks()).flat_map(|rollout| rollout.members.keys());
    let endpoints = on.into_iter().chain(asked).filter_map(endpoint).collect();
    let mut plan = Plan {
        owner: catalog.owner.clone(),
        services,
        endpoints,
        unreachable,
        silent,
        in_sync,
        left_out,
        stages,
        bases,
        parted,
        secrets: catalog.secrets.clone(),
    };
    if catalog.data == Data::Removed {
        plan.with_data();
    }
    plan
}

/// What must be asked besides, once the hosts have said what they keep: how that is of which nothing is wanted any more.
/// The answers belong to the others before [`plan`] and [`settle`].
pub fn left(catalog: &Catalog, observed: &Observed) -> Vec<(Endpoint, Vec<Probe>)> {
    let hosts = catalog.hosts.iter().map(|(name, host)| (name, &host.endpoint)).chain(&catalog.spare);
    let questions = hosts.filter_map(|(name, endpoint)| {
        let probes = past::Past::questions(catalog, name, observed.get(name)?.as_ref().ok()?);
        (!probes.is_empty()).then(|| (endpoint.clone(), probes))
    });
    questions.collect()
}

impl Plan {
    /// Of which environment it is.
    pub fn environment(&self) -> &EnvName {
        &self.owner.environment
    }

    /// The hosts whose ledger does not say of which project it is, each with the last run that it remembers.
    pub fn unadopted(&self) -> BTreeMap<&HostName, Option<&Applied>> {
        let unadopted = self.bases.iter().filter(|(_, base)| base.is_unadopted);
        unadopted.map(|(host, base)| (host, base.last.as_ref())).collect()
    }

    /// Every role on every host with something to do or to say.
    pub fn blocks(&self) -> impl Iterator<Item = &PlannedBlock> {
        self.stages.iter().filter_map(|stage| if let Work::Change(block) = &stage.work { Some(block) } else { None })
    }

    /// Every resource that is not in sync.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.blocks().flat_map(|block| &block.entries)
    }

    /// The same, to be changed.
    fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        let blocks = self.stages.iter_mut().filter_map(|stage| match &mut stage.work {
            Work::Change(block) => Some(block),
            _ => None,
        });
        blocks.flat_map(|block| &mut block.entries)
    }

    /// Every resource of a host that is not in sync.
    pub fn entries_of(&self, host: &HostName) -> impl Iterator<Item = &Entry> {
        self.blocks().filter(move |block| block.host == *host).flat_map(|block| &block.entries)
    }

    /// The entry that a step of a stage belongs to; none for a gate, and for what comes before and after all entries.
    pub fn entry_of(&self, stage: StageId, step: usize) -> Option<&Entry> {
        let Work::Change(block) = &self.stages[stage].work else { return None };
        let mut left = step.checked_sub(block.before.len())?;
        block.entries.iter().find(|entry| {
            let steps = entry.steps().len();
            let here = left < steps;
            left = left.saturating_sub(steps);
            here
        })
    }

    /// What it would do, counted.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary {
            in_sync: self.in_sync,
            left_out: self.left_out,
            unreachable: self.unreachable.len(),
            unhealthy: self.services.iter().map(|service| service.unhealthy_unchanged().count()).sum(),
            ..Summary::default()
        };
        for entry in self.entries() {
            match &entry.verdict {
                Verdict::Change(change) => *summary.actions.entry(change.action).or_default() += 1,
                Verdict::MayChange(_) => summary.may_change += 1,
                Verdict::Keep => summary.kept += 1,
                Verdict::Refused => summary.refused += 1,
                Verdict::Unreadable | Verdict::Blocked => summary.unreadable += 1,
            }
        }
        summary
    }

    /// Leaves out of it what is not wanted, without its place among the others.
    pub fn retain(&mut self, mut wanted: impl FnMut(&Entry) -> bool) {
        for stage in &mut self.stages {
            if let Work::Change(block) = &mut stage.work {
                block.entries.retain(&mut wanted);
            }
            risk::guard(&self.owner, stage);
        }
    }

    /// Leaves out what runs in every plan because nothing shows that it was done, and was done in one of these runs.
    pub fn leave_out_done(&mut self, observed: &Observed, runs: &BTreeSet<RunId>) {
        let ledger = |(host, answer): (&HostName, &Result<Readings, String>)| {
            let state = answer.as_ref().ok()?.state(&Probe::State).ok()?;
            let records = Records::of(state, &self.owner, host);
            let ledger = Ledger::of(&self.owner.environment, records.ledger(), records.journal()).ok()?;
            Some((host.clone(), ledger))
        };
        let ledgers: BTreeMap<HostName, Ledger> = observed.iter().filter_map(ledger).collect();
        let done = |entry: &Entry| {
            let owned = ledgers.get(&entry.address.host)?.owned.get(&ResourceKey::from(&entry.address))?;
            Some(entry.reason == Reason::Unguarded && owned.done && runs.contains(&owned.run))
        };
        self.retain(|entry| done(entry) != Some(true));
    }

    /// Keeps no copies of what goes, and removes those that were kept: of what is destroyed nothing is to stay. A host from
    /// which nothing goes keeps those it has.
    pub fn without_copies(&mut self) {
        let mut last: BTreeMap<HostName, &mut Change> = BTreeMap::new();
        for stage in &mut self.stages {
            let Work::Change(block) = &mut stage.work else { continue };
            for entry in block.entries.iter_mut().filter(|entry| entry.is_removal()) {
                let (Verdict::Change(change) | Verdict::MayChange(change)) = &mut entry.verdict else { continue };
                change.steps.retain(|step| !matches!(step, Step::KeepCopy { .. }));
                last.insert(block.host.clone(), change);
            }
        }
        for change in last.into_values() {
            change.steps.push(Step::DropCopies { owner: self.owner.clone() });
        }
    }

    /// Removes directories with all that others put into them, and purges packages.
    fn with_data(&mut self) {
        for stage in &mut self.stages {
            let Work::Change(block) = &mut stage.work else { continue };
            let holds_data = |entry: &Entry| kind(entry.address.kind).is_some_and(|info| info.holds_data);
            for entry in block.entries.iter_mut().filter(|entry| entry.is_removal() && holds_data(entry)) {
                let remove = Command::new(["rm", "-rf", "--one-file-system", "--", &entry.address.target]);
                let steps = vec![Step::Run(remove)];
                let value = FieldValue::Text { from: None, to: None };
                let fields = vec![Field { name: "with everything in it", value }];
                entry.verdict = Verdict::Change(Change { action: Action::Remove, fields, steps });
                entry.reason = Reason::Left;
                entry.mark.iter_mut().for_each(|mark| mark.conditional = false);
            }
            for entry in block.entries.iter_mut().filter(|entry| entry.is_removal()) {
                let (Verdict::Change(change) | Verdict::MayChange(change)) = &mut entry.verdict else { continue };
                for step in &mut change.steps {
                    if let Step::RemovePackages(removal) = step {
                        removal.leftovers = Leftovers::Purged;
                    }
                }
            }
        }
    }

    /// How many resources it takes away, on each host from which something goes.
    pub fn removals(&self) -> BTreeMap<HostName, usize> {
        let mut counts = BTreeMap::new();
        for entry in self.entries().filter(|entry| entry.is_removal()) {
            *counts.entry(entry.address.host.clone()).or_default() += 1;
        }
        counts
    }

    /// What stays on the hosts because it is not known whether it should.
    pub fn undecided(&self) -> impl Iterator<Item = &Entry> {
        self.entries().filter(|entry| matches!(entry.reason, Reason::Undecided(_)))
    }

    /// Whether there is nothing to do, nothing refused, everything was read, and every service is healthy.
    pub fn is_empty(&self) -> bool {
        let healthy = self.services.iter().all(|service| service.unhealthy.is_empty());
        self.entries().all(|entry| entry.verdict == Verdict::Keep) && self.unreachable.is_empty() && healthy
    }

    /// Whether it changes anything on a host. Only this is asked about.
    pub fn changes_hosts(&self) -> bool {
        self.summary().changes() > 0 || self.puts_back()
    }

    /// Whether there is anything for an apply to do: changes, or health checks to wait for.
    pub fn has_work(&self) -> bool {
        self.changes_hosts() || self.stages.iter().any(|stage| matches!(stage.work, Work::Gate { .. }))
    }
}
