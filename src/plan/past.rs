//! What a host remembers of what armilla did there, held against what is desired now.
//!
//! In: a host's blocks, and what it answered. Out: its ledger with everything under its name of today, and what is to be
//! taken away or forgotten. Never: something taken away that armilla did not make, or that a person changed since.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::foreign::{Foreign, keys_of, resource_of};
use crate::catalog::{self, Catalog, Chosen, Data, Extent, HostCatalog, Move, Thing, Wanted, risk};
use crate::diag::{Origin, Source};
use crate::ledger::{Ledger, Origin as Whose, Owned, Parted, Records, ResourceKey, Standing};
use crate::name::{Address, HostName, Owner, ServiceName};
use crate::resource::{Action, Claim, Decision, Hold, Others, Resource, Seen, Staying, Verb, Verdict, Wish, kind};
use crate::secret::Datum;
use crate::step::{Digest, PathReading, Probe, Reading, Readings};

/// A host that answered.
pub(super) struct Known<'a> {
    pub(super) readings: &'a Readings,
    pub(super) past: Past,
}

/// What a host remembers.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// How it is recognized.
    pub(super) machine: String,
    /// Its boot.
    pub(super) boot: String,
    /// The bytes of its journal, all of them worked in.
    pub(super) journal: usize,
    /// Its ledger as it is kept, if there is one.
    pub(super) kept: Option<Vec<u8>>,
    /// Whose ledger it is; none if the host was not asked.
    pub(super) owner: Option<Owner>,
    /// Whether that must be adopted first.
    pub(super) is_unadopted: bool,
    /// What others have there.
    pub(super) foreign: Foreign,
    /// What it knows, under the names of today.
    pub(super) ledger: Option<Ledger>,
    pub(super) parted: Parted,
    /// What nothing wants any more and can be taken away, what comes last first.
    pub(super) leaving: Vec<Leaving>,
    /// What nothing wants any more and stays, and why.
    pub(super) kept_back: Vec<KeptBack>,
    /// What else the plan does with the host, for what is removed.
    pub(super) others: Others,
    /// What becomes of the content of directories.
    data: Data,
}

/// Something to take away.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) place: ResourceKey,
    pub(super) owned: Owned,
    pub(super) resource: Arc<dyn Resource>,
}

/// Something that stays although nothing wants it any more.
#[derive(Debug)]
pub(super) struct KeptBack {
    pub(super) place: ResourceKey,
    /// The word as it lives as long as the program.
    pub(super) kind: &'static str,
    pub(super) service: Option<ServiceName>,
    pub(super) why: String,
    /// When it was last changed by armilla, if somebody changed it since.
    pub(super) since: Option<String>,
    /// Whether nobody knows whether it should stay.
    pub(super) undecided: bool,
}

impl Past {
    /// Of a host that answered. The text says why what it keeps cannot be used.
    pub(super) fn of(catalog: &Catalog, name: &HostName, readings: &Readings) -> Result<Self, String> {
        let desired = Desired::of(catalog, name);
        let others = desired.others(readings);
        if readings.get(&Probe::State).is_none() {
            return Ok(Self { others, ..Self::default() });
        }
        let state = readings.state(&Probe::State);
        let state = state.map_err(|why| format!("its ledger cannot be read: {why}"))?;
        let (owner, records) = (&catalog.owner, Records::of(state, &catalog.owner, name));
        let ledger = Ledger::of(&owner.environment, records.ledger(), records.journal());
        let ledger = ledger.map_err(|why| why.to_string())?;
        if ledger.environment != owner.environment {
            return Err(format!("its ledger is that of the environment {}", ledger.environment));
        }
        let mut past = Self {
            machine: state.machine.clone(),
            boot: state.boot.clone(),
            journal: records.journal().map_or(0, <[u8]>::len),
            kept: records.ledger().map(<[u8]>::to_vec),
            owner: Some(owner.clone()),
            is_unadopted: records.standing == Standing::Unadopted,
            foreign: Foreign::of(&records.others)?,
            ledger: Some(ledger),
            others,
            data: catalog.data,
            ..Self::default()
        };
        let Some(ledger) = past.ledger.as_mut().filter(|l| !(l.owned.is_empty() && l.pending.is_empty())) else {
            return Ok(past);
        };
        let left = desired.part(ledger, &mut past.parted);
        ledger.move_over(&past.parted.moved);
        let left: Vec<(ResourceKey, Owned)> =
            left.into_iter().filter_map(|place| Some((place.clone(), ledger.owned.get(&place)?.clone()))).collect();
        past.sort_out(left, &desired, readings);
        Ok(past)
    }

    /// What to ask besides about what nothing wants any more.
    pub(super) fn questions(catalog: &Catalog, name: &HostName, readings: &Readings) -> Vec<Probe> {
        let Ok(state) = readings.state(&Probe::State) else { return Vec::new() };
        let records = Records::of(state, &catalog.owner, name);
        let desired = Desired::of(catalog, name);
        let all_wanted = |text: &[u8]| {
            Ledger::places(text).is_ok_and(|owned| owned.iter().all(|place| desired.places.contains(place)))
        };
        if records.journal().is_none() && records.ledger().is_none_or(all_wanted) {
            return Vec::new();
        }
        let Ok(ledger) = Ledger::of(&catalog.owner.environment, records.ledger(), records.journal()) else {
            return Vec::new();
        };
        let left = desired.part(&ledger, &mut Parted::default());
        let resources = left.iter().filter_map(|place| resource_of(place, ledger.owned.get(place)?));
        let probes = resources.flat_map(|resource| resource.probes());
        let open: BTreeSet<Probe> = probes.filter(|probe| readings.get(probe).is_none()).collect();
        open.into_iter().collect()
    }

    /// What is known of something.
    pub(super) fn owned(&self, place: &ResourceKey) -> Option<&Owned> {
        self.ledger.as_ref()?.owned.get(place)
    }

    /// Whether something is taken away.
    pub(super) fn leaves(&self, place: &ResourceKey) -> bool {
        self.leaving.iter().any(|leaving| leaving.place == *place)
    }

    /// What something is owed in this boot, and because of what.
    pub(super) fn owed(&self, host: &HostName, place: &ResourceKey) -> Option<(Verb, Vec<Address>)> {
        let pending = self.ledger.as_ref()?.pending.get(place).filter(|pending| pending.boot == self.boot)?;
        Some((pending.verb, pending.because.iter().filter_map(|place| address(host, place)).collect()))
    }

    /// What goes and what stays of what nothing wants. What comes last goes first, so that a directory is empty when its
    /// turn comes.
    fn sort_out(&mut self, mut left: Vec<(ResourceKey, Owned)>, desired: &Desired<'_>, readings: &Readings) {
        left.sort_by(|(a, x), (b, y)| (y.order, b).cmp(&(x.order, a)));
        let made = self.made_paths();
        for (place, owned) in &mut left {
            let whose = resource_of(place, owned).and_then(|resource| resource.lives_by());
            // Whoever made its file made it, too.
            if owned.origin == Whose::Found && whose.is_some_and(|path| made.contains(&path)) {
                owned.origin = Whose::Made;
            }
        }
        // Each by itself first, as if all the others went.
        let mut all = self.others.clone();
        for (place, owned) in &left {
            all.remove(&place.kind, &place.target);
            let along = resource_of(place, owned).map(|resource| resource.takes_along(readings));
            along.into_iter().flatten().for_each(|target| all.remove(&place.kind, &target));
        }
        let mut fates: Vec<Fate> = left.iter().map(|one| self.fate(one, readings, &all)).collect();
        self.note_belongings(&left, &fates, desired, readings);
        self.hold_back(&left, &mut fates, readings);
        let mut stays: Vec<String> = Vec::new();
        for ((place, owned), fate) in left.into_iter().zip(fates) {
            match fate {
                Fate::Gone => self.parted.forgotten.push(place),
                Fate::Unasked => {}
                // It is still ours, for the time when no version is wanted any more.
                Fate::Goes(resource) if resource.versions().is_some_and(|of| desired.versions.contains(&of)) => {}
                Fate::Goes(resource) => {
                    let below = |held: &&String| is_below(held, &*resource);
                    let inside = desired.held.iter().chain(&stays).find(below);
                    let theirs = || self.foreign.inside(&*resource);
                    let why = match inside {
                        Some(path) => Some(format!("{path} is in it and stays")),
                        None => theirs().map(|(path, other)| format!("{path} is in it and belongs to {other}")),
                    };
                    match why {
                        Some(why) => self.keep(place, &owned, why, Held::Back),
                        None => self.leaving.push(Leaving { place, owned, resource }),
                    }
                }
                Fate::Stays(why, held) => {
                    stays.extend(resource_of(&place, &owned).and_then(|resource| path_of(&*resource)));
                    self.keep(place, &owned, why, held);
                }
            }
        }
    }

    /// Notes to whom the directories belong that stay, or may.
    fn note_belongings(
        &mut self,
        left: &[(ResourceKey, Owned)],
        fates: &[Fate],
        desired: &Desired<'_>,
        readings: &Readings,
    ) {
        let all =
            || left.iter().zip(fates).filter_map(|((place, owned), fate)| Some((resource_of(place, owned)?, fate)));
        let stays = |(resource, fate): (Arc<dyn Resource>, &Fate)| match fate {
            Fate::Stays(..) => path_of(&*resource),
            _ => None,
        };
        let staying: Vec<String> = all().filter_map(stays).chain(desired.held.iter().cloned()).collect();
        for (directory, fate) in all().filter(|(resource, _)| kind(resource.kind()).is_some_and(|kind| kind.holds_data))
        {
            let holds_more = || staying.iter().any(|path| is_below(path, &*directory));
            let staying = match fate {
                Fate::Stays(..) => Staying::Surely,
                Fate::Goes(_) if holds_more() || self.foreign.inside(&*directory).is_some() => Staying::Surely,
                Fate::Goes(_) if self.data == Data::Kept => Staying::Perhaps,
                Fate::Goes(_) | Fate::Gone | Fate::Unasked => continue,
            };
            for (kind, account) in owners(&*directory, readings) {
                self.others.belongs((kind, &account), &directory.target(), staying);
            }
        }
    }

    /// The paths that armilla made and owns as a whole.
    fn made_paths(&self) -> BTreeSet<String> {
        let owned = self.ledger.iter().flat_map(|ledger| &ledger.owned);
        let made = owned.filter(|(_, owned)| owned.origin != Whose::Found);
        let held = made.filter_map(|(place, owned)| resource_of(place, owned)?.holds());
        held.filter_map(|held| if let Hold::Whole(path) = held { Some(path) } else { None }).collect()
    }

    /// Keeps what something that stays needs, or whose removal would take that along; then what the former needs, and so
    /// on.
    fn hold_back(&mut self, left: &[(ResourceKey, Owned)], fates: &mut [Fate], readings: &Readings) {
        for ((place, _), fate) in left.iter().zip(&*fates) {
            let Fate::Goes(resource) = fate else { continue };
            self.others.remove(&place.kind, &place.target);
            resource.takes_along(readings).iter().for_each(|target| self.others.remove(&place.kind, target));
        }
        loop {
            let mut held = Vec::new();
            for (index, fate) in fates.iter().enumerate() {
                let Fate::Goes(resource) = fate else { continue };
                let verdict =
                    resource.decide_among(readings, Wish::Left, &self.others).map(|decision| decision.verdict);
                if let Ok(Verdict::Refuse(why)) = verdict {
                    held.push((index, why));
                }
            }
            if held.is_empty() {
                return;
            }
            for (index, why) in held {
                let place = &left[index].0;
                self.others.keep(&place.kind, &place.target);
                fates[index] = Fate::Stays(why, Held::Back);
            }
        }
    }

    /// What others have, too, is not taken away.
    fn fate(&self, (place, owned): &(ResourceKey, Owned), readings: &Readings, others: &Others) -> Fate {
        let resource = resource_of(place, owned);
        match resource.as_ref().and_then(|resource| self.foreign.claimant(&**resource)) {
            Some(other) => {
                Fate::Stays(format!("it belongs to {other}, too; it is only dropped from the ledger"), Held::Forgotten)
            }
            None => fate((place, owned), readings, others, self.data),
        }
    }

    fn keep(&mut self, place: ResourceKey, owned: &Owned, why: String, held: Held) {
        if held == Held::Forgotten {
            self.parted.forgotten.push(place.clone());
        }
        let Some(kind) = kind(&place.kind).map(|info| info.name) else { return };
        let since = (held == Held::Changed).then(|| owned.since.clone());
        let undecided = held == Held::Undecided;
        self.kept_back.push(KeptBack { place, kind, service: owned.service.clone(), why, since, undecided });
    }
}

/// A resource's place.
pub(super) fn place(block: &catalog::RoleBlock, item: &Wanted) -> ResourceKey {
    let resource = &item.resource;
    ResourceKey { role: block.role.clone(), kind: resource.kind().to_owned(), target: resource.target() }
}

/// A place with its host; none of a kind that is not known.
pub(super) fn address(host: &HostName, place: &ResourceKey) -> Option<Address> {
    let kind = kind(&place.kind)?.name;
    Some(Address { host: host.clone(), role: place.role.clone(), kind, target: place.target.clone() })
}

/// A resource that leaves, as if a role wanted it away.
pub(super) fn wanted_away(leaving: &Leaving) -> Wanted {
    Wanted {
        resource: Arc::clone(&leaving.resource),
        keys: Arc::new(keys_of(&leaving.place, &leaving.owned).unwrap_or_default().into()),
        order: leaving.owned.order,
        protect: leaving.owned.protect,
        risk: risk::wait(None, &*leaving.resource),
        notify: leaving.owned.notify,
        tags: Arc::default(),
        chosen: Chosen::Yes,
        origin: Origin::start(&Source::new("ledger", "")),
    }
}

fn path_of(resource: &dyn Resource) -> Option<String> {
    match resource.holds() {
        Some(Hold::Whole(path) | Hold::Part(path)) => Some(path),
        None => None,
    }
}

fn is_below(path: &str, resource: &dyn Resource) -> bool {
    let Some(Hold::Whole(folder)) = resource.holds() else { return false };
    path.strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/'))
}

/// What becomes of something that nothing wants.
enum Fate {
    /// It is gone already, or there never was anything.
    Gone,
    /// It must be asked first.
    Unasked,
    /// It is taken away.
    Goes(Arc<dyn Resource>),
    /// It stays.
    Stays(String, Held),
}

/// How something is held that stays.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    /// It is still known as ours.
    Back,
    /// The same, because somebody changed it.
    Changed,
    /// It is not ours any more.
    Forgotten,
    /// It is still known as ours, and nobody knows whether it is as armilla left it.
    Undecided,
}

/// To whom a directory belongs, as it was found.
fn owners(directory: &dyn Resource, readings: &Readings) -> Vec<(&'static str, String)> {
    let found = directory.probes().into_iter().find_map(|probe| match readings.get(&probe) {
        Some(Reading::Path(PathReading::Directory(attributes))) => Some(attributes.clone()),
        _ => None,
    });
    found.map_or_else(Vec::new, |found| vec![("user", found.owner), ("group", found.group)])
}

fn fate((place, owned): (&ResourceKey, &Owned), readings: &Readings, others: &Others, data: Data) -> Fate {
    let stays = |why: &str, held| Fate::Stays(why.to_owned(), held);
    if owned.absent.is_none() {
        let never = stays("it cannot be removed and is only dropped from the ledger", Held::Forgotten);
        let leaves_nothing = kind(&place.kind).is_some_and(|info| info.leaves_nothing);
        return if owned.there && !leaves_nothing { never } else { Fate::Gone };
    }
    let Some(resource) = resource_of(place, owned) else {
        return stays("this version of armilla cannot remove it", Held::Back);
    };
    if resource.probes().iter().any(|probe| readings.get(probe).is_none()) {
        return Fate::Unasked;
    }
    let looked =
        resource.decide_among(readings, Wish::Left, others).and_then(|said| Ok((said, resource.seen(readings)?)));
    match looked {
        Err(why) => Fate::Stays(format!("its state could not be read: {why}"), Held::Back),
        Ok((Decision { verdict: Verdict::InSync, .. }, _)) => Fate::Gone,
        Ok(_) if owned.protect => stays("it is protected", Held::Back),
        Ok(_) if owned.origin == Whose::Found => {
            stays("it existed before armilla and is only dropped from the ledger", Held::Forgotten)
        }
        Ok((Decision { verdict: Verdict::Refuse(why), .. }, _)) => Fate::Stays(why, Held::Back),
        Ok(_) if data == Data::Kept && stayed(place, owned) => stays(STAYED, Held::Back),
        Ok((_, seen)) => match (unchanged(owned, &seen), &owned.imprint) {
            (Some(true), _) => Fate::Goes(resource),
            (Some(false), Some(_)) => stays("it was changed on the host", Held::Changed),
            (Some(false), None) => stays("it is not as the interrupted run left it", Held::Changed),
            (None, _) => stays("what the interrupted run did to it is unknown", Held::Undecided),
        },
    }
}

/// Why a directory stays that stayed before.
const STAYED: &str = "it was not empty when it was to be removed: delete it by hand, or with --with-data";

/// Whether a directory stayed when it was taken away, because something was in it.
fn stayed(place: &ResourceKey, owned: &Owned) -> bool {
    owned.leaving && owned.done && kind(&place.kind).is_some_and(|info| info.holds_data)
}

/// Whether it is as armilla left it, if that is known.
fn unchanged(owned: &Owned, seen: &Seen) -> Option<bool> {
    if owned.leaving {
        return Some(true);
    }
    let now = digest(seen.imprint.expose());
    match &owned.imprint {
        Some(imprint) => Some(*imprint == now),
        None => owned.expected.fits(&now),
    }
}

/// What is kept of a text that may hold a secret.
pub(super) fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

/// Everything that is desired of one host, chosen or not.
struct Desired<'a> {
    extent: Extent,
    moved: &'a [Move],
    places: BTreeSet<ResourceKey>,
    claims: BTreeMap<(Claim, String), ResourceKey>,
    /// All paths of which something is desired.
    held: BTreeSet<String>,
    /// Those that are wholly a resource's own.
    wholes: BTreeSet<String>,
    /// That of which a version is desired, which looks after those before it.
    versions: BTreeSet<String>,
    /// All of it.
    items: Vec<&'a Wanted>,
}

impl<'a> Desired<'a> {
    fn of(catalog: &'a Catalog, name: &HostName) -> Self {
        let mut desired = Self {
            extent: catalog.extent,
            moved: &catalog.moved,
            places: BTreeSet::new(),
            claims: BTreeMap::new(),
            held: BTreeSet::new(),
            wholes: BTreeSet::new(),
            versions: BTreeSet::new(),
            items: Vec::new(),
        };
        for block in catalog.hosts.get(name).into_iter().flat_map(|host: &HostCatalog| &host.blocks) {
            block.items.iter().chain(&block.left_out).for_each(|item| desired.add(block, item));
        }
        desired
    }

    fn add(&mut self, block: &'a catalog::RoleBlock, item: &'a Wanted) {
        self.items.push(item);
        let place = place(block, item);
        if let Some(Hold::Whole(path)) = item.resource.holds() {
            self.wholes.insert(path);
        }
        self.held.extend(path_of(&*item.resource));
        self.versions.extend(item.resource.versions());
        self.claims.insert((item.resource.claim(), place.target.clone()), place.clone());
        self.places.insert(place);
    }

    /// What the plan does with the host beside removing what no role wants: what is wanted, with the accounts that this
    /// names; what a role wants away; and what is installed first.
    fn others(&self, readings: &Readings) -> Others {
        let mut others = Others::default();
        for item in &self.items {
            let (kind, target) = (item.resource.kind(), item.resource.target());
            if item.resource.absent().is_none() {
                others.remove(kind, &target);
                continue;
            }
            others.want(kind, &target);
            for (key, account) in [("owner", "user"), ("user", "user"), ("group", "group"), ("groups", "group")] {
                let named = item.keys.get(key);
                let each = if let Some(Datum::List(each)) = named { each.as_slice() } else { &[] };
                let accounts = each.iter().chain(named).filter_map(Datum::text);
                accounts.for_each(|name| others.want(account, name));
            }
            let new = item.resource.brings()
                && item.chosen == Chosen::Yes
                && {
                    let decision = item.resource.decide(readings, None);
                    matches!(decision, Ok(Decision { verdict: Verdict::Change(change), .. }) if change.action == Action::Add)
                };
            if new {
                others.install(kind, &target);
            }
        }
        others
    }

    /// What of a ledger is wanted under another name, and what is wanted under none: that is given.
    fn part(&self, ledger: &Ledger, parted: &mut Parted) -> Vec<ResourceKey> {
        let unwanted = |place: &&ResourceKey| !self.places.contains(*place);
        let mut left = Vec::new();
        for (place, owned) in ledger.owned.iter().filter(|(place, _)| unwanted(place)) {
            match self.heir(place, owned) {
                Heir::Resource(to) => parted.moved.push((place.clone(), to)),
                Heir::File => parted.forgotten.push(place.clone()),
                Heir::None if self.extent == Extent::Chosen => {}
                Heir::None => left.push(place.clone()),
            }
        }
        // What does not exist any more hears nothing.
        let gone = ledger.pending.keys().filter(unwanted).filter(|place| !ledger.owned.contains_key(*place));
        parted.forgotten.extend(gone.filter(|_| self.extent == Extent::Whole).cloned());
        left
    }

    fn heir(&self, place: &ResourceKey, owned: &Owned) -> Heir {
        if let Some(to) = self.moved.iter().find_map(|moved| self.renamed(place, moved)) {
            return Heir::Resource(to);
        }
        let same = |to: &&ResourceKey| to.kind == place.kind && to.target == place.target;
        if let Some(to) = self.places.iter().find(same) {
            return Heir::Resource(to.clone());
        }
        let Some(resource) = resource_of(place, owned) else { return Heir::None };
        if let Some(to) = self.claims.get(&(resource.claim(), resource.target())) {
            return Heir::Resource(to.clone());
        }
        match resource.holds() {
            Some(Hold::Part(path)) if self.wholes.contains(&path) => Heir::File,
            // A directory is not the files in it.
            Some(Hold::Whole(path)) if self.held.contains(&path) => Heir::File,
            _ => Heir::None,
        }
    }

    fn renamed(&self, place: &ResourceKey, moved: &Move) -> Option<ResourceKey> {
        match (&moved.from, &moved.to) {
            (Thing::Role(from), Thing::Role(to)) if *from == place.role => {
                let to = ResourceKey { role: to.clone(), ..place.clone() };
                self.places.contains(&to).then_some(to)
            }
            (Thing::Resource { kind, target }, Thing::Resource { kind: new, target: now })
                if *kind == place.kind && *target == place.target =>
            {
                let to = self.places.iter().filter(|to| to.kind == *new && to.target == *now);
                // In the same role, if it is there.
                to.max_by_key(|to| to.role == place.role).cloned()
            }
            _ => None,
        }
    }
}

/// What something that nothing wants under its name has become.
enum Heir {
    /// This.
    Resource(ResourceKey),
    /// Its file is another resource's, or others hold parts of it.
    File,
    /// Nothing.
    None,
}
