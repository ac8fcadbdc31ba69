//! Saved plans: what is read is what was written, no secret is in the file, and no change of it goes unnoticed.
//!
//! In: random projects, every case file of a resource, and files of each format there ever was. Out: nothing. Never: a
//! host, or a file written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use armilla::catalog::{
    Catalog, Chosen, Data, Extent, HostCatalog, Member, ResourceSelection, RoleBlock, Service, Wanted,
};
use armilla::diag::{Origin, Source};
use armilla::inventory::Endpoint;
use armilla::ledger::{Applied, Expected, Ledger, Revision};
use armilla::name::{Address, EnvName, HostName, Owner, RoleName, RunId, ServiceName, Tag};
use armilla::plan::saved::{About, File, Hosts, Look, Moved, SavedError, SavedPlan, Stale, is_plan};
use armilla::plan::{
    self, Base, Cause, Condition, Entry, Mark, Observed, Plan, Reason, ServicePlan, Stage, Verdict, Work,
};
use armilla::resource::{self, Verb};
use armilla::rollout::{self, Batch, Budget, Canary, OnFailure, Policy, Rollout, Standing};
use armilla::secret::{Datum, Secret};
use armilla::sim::World;
use armilla::step::{
    Check, Digest, Expect, FailedCheck, Gate, Health, PathReading, Probe, Reading, Record, StateReading, Step,
};
use armilla::vault::{self, Envelope, Key};
use base64::Engine as _;
use proptest::prelude::*;

use crate::cases::{Valid, valid};
use crate::generator::project;

const CHANCE: [u8; 32] = [7; 32];

fn about(environment: &str) -> About {
    About {
        armilla: "0.1.0".into(),
        environment: EnvName::new(environment).expect("a name"),
        made_at: "2026-11-21T14:02:11Z".into(),
        made_by: "ada@deck".into(),
        revision: Some(Revision { commit: "3f2c1ab0".repeat(5), dirty: false }),
        project: "platform".into(),
        limit: Some("zk*:!zk3".into()),
        part: None,
        hosts_left_out: 1,
        witnesses: vec![Endpoint::new(host("zk1")), Endpoint::new(host("zk9"))],
        hosts: Hosts::Real,
        command: "armilla plan staging -o night.plan".into(),
    }
}

fn key(text: &str) -> Key {
    Key::new(text.as_bytes().to_vec()).expect("a key")
}

fn saved(plan: Plan, catalog: Catalog) -> SavedPlan {
    SavedPlan::new(about(plan.environment().as_str()), plan, catalog, &CHANCE).expect("it can be written")
}

/// The bytes of a file, sealed with the key `right` if there is something to seal.
fn bytes(saved: &SavedPlan) -> (Vec<u8>, Digest) {
    let draft = saved.draft().expect("it can be written");
    let sealed = draft.secrets().map(|secrets| vault::seal(&secrets, &key("right"), Some("prod"), &[9; 32]));
    draft.finish(sealed.as_deref()).expect("a file")
}

fn read(bytes: Vec<u8>) -> Result<SavedPlan, SavedError> {
    let file = File::parse(bytes)?;
    let unseal = |sealed: &String| Envelope::parse(sealed).expect("a vault file").open(&key("right")).expect("the key");
    file.open(file.sealed.as_ref().map(unseal).as_ref())
}

/// Nothing is lost on the way.
fn same(one: &SavedPlan, other: &SavedPlan) {
    assert_eq!(one.about, other.about);
    assert_eq!(one.plan, other.plan);
    assert_eq!(format!("{:#?}", one.catalog), format!("{:#?}", other.catalog));
    let keys = |saved: &SavedPlan| -> Vec<Datum> {
        let blocks = saved.catalog.hosts.values().flat_map(|host| &host.blocks);
        blocks.flat_map(|block| &block.items).map(|item| (*item.keys).clone()).collect()
    };
    assert_eq!(keys(one), keys(other));
}

fn surveyed(world: &World) -> (Plan, Catalog) {
    let mut catalog = world.catalog().unwrap_or_else(|problems| panic!("{problems}"));
    ResourceSelection::default().choose(&mut catalog);
    (plan::plan(&catalog, &world.observe(&catalog)), catalog)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_random_plan_is_read_as_it_was_written(project in project()) {
        let world = project.world();
        let (plan, catalog) = surveyed(&world);
        let made = saved(plan, catalog);
        let draft = made.draft().expect("it can be written");
        prop_assert!(draft.secrets().is_none(), "there is nothing to seal, so no key is needed");
        let again = read(bytes(&made).0).expect("it can be read");
        same(&made, &again);
        // What is read works: the same hosts are asked the same, and what is found leads to the same plan.
        let replanned = plan::plan(&again.catalog, &world.observe(&again.catalog));
        prop_assert_eq!(replanned.stages, made.plan.stages);
    }
}

// -- every kind -------------------------------------------------------------------------------------------------------

fn host(name: &str) -> HostName {
    HostName::new(name).expect("a name")
}

fn wanted(resource: Arc<dyn armilla::resource::Resource>, keys: Datum) -> Wanted {
    Wanted {
        resource,
        keys: Arc::new(keys),
        order: 4,
        protect: true,
        risk: Some(std::time::Duration::from_secs(90)),
        notify: Some(Verb::Restart),
        tags: Arc::new([Tag::new("config").expect("a tag")].into()),
        chosen: Chosen::WhenNotified,
        origin: Origin { source: Source::new("roles/a:b/role.yml", ""), line: 12, column: 5 },
    }
}

/// A catalog with this resource on one host.
fn catalog(wanted: Vec<Wanted>, secrets: Vec<Secret<String>>) -> Catalog {
    let (role, service) = (RoleName::new("thing").expect("a name"), ServiceName::new("thing").expect("a name"));
    let open = Check::new(Probe::port("127.0.0.1", 2181), Expect::Open);
    let health = Check { stable_for: std::time::Duration::from_millis(1500), ..open };
    let required = RoleBlock {
        role: RoleName::new("java").expect("a name"),
        service: None,
        requires: vec![],
        items: vec![],
        left_out: vec![],
        health: vec![],
        member: Member::default(),
    };
    let block = RoleBlock {
        role: role.clone(),
        service: Some(service.clone()),
        requires: vec![0],
        items: wanted,
        left_out: vec![],
        health: vec![health],
        member: Member::default(),
    };
    let endpoint = Endpoint { port: Some(2222), user: Some("admin".into()), ..Endpoint::new(host("zk1")) };
    Catalog {
        owner: Owner::parse("staging@shop-k3fq8w2n7d").expect("an owner"),
        services: vec![Service {
            name: service,
            role,
            hosts: vec![host("zk1")],
            needs: vec![],
            policy: Policy { batch: vec![Batch::Percent(25)], ..Policy::default() },
        }],
        hosts: [(host("zk1"), HostCatalog { endpoint, blocks: vec![required, block] })].into(),
        spare: [(host("old1"), Endpoint::new(host("old1")))].into(),
        moved: vec![],
        extent: Extent::Chosen,
        data: Data::Kept,
        secrets,
    }
}

/// A plan that has this change in all the ways in which it may be there.
/// A rollout with something in every field.
fn rollout() -> Rollout {
    let member = rollout::Member {
        standing: Standing::Down("port 2181 is closed".to_owned()),
        answer: Some("follower".to_owned()),
        zone: Some("a".to_owned()),
        checks: vec![],
        by: Some(Probe::Command(armilla::step::Command::new(["mode"]))),
    };
    Rollout {
        slots: vec![1, 2],
        budget: Budget::Failures(1),
        floor: 1,
        first: Some("follower".to_owned()),
        last: Some("leader".to_owned()),
        canary: Some(Canary { hosts: 1, stable_for: std::time::Duration::from_secs(5), approve: true }),
        on_failure: OnFailure::Rollback,
        together: vec![host("zk1")],
        waiting: vec![host("zk2")],
        members: [(host("zk1"), member)].into(),
        undo: [(host("zk1"), vec![1])].into(),
        refused: Some("no".to_owned()),
    }
}

fn address(case: &Valid, target: &str) -> Address {
    Address {
        host: host("zk1"),
        role: RoleName::new("thing").expect("a name"),
        kind: case.resource.kind(),
        target: target.to_owned(),
    }
}

/// One entry of every sort, the first as the case decides.
fn entries(case: &Valid) -> Vec<Entry> {
    let decision = case.decision.as_ref();
    let verdict = match decision.map(|decision| decision.verdict.clone()) {
        Some(resource::Verdict::Change(change)) => Verdict::Change(change),
        Some(resource::Verdict::MayChange(change, _)) => Verdict::MayChange(change),
        _ => Verdict::Keep,
    };
    let otherwise = decision.and_then(|decision| decision.otherwise.clone());
    let mark = Mark {
        want: Some(Digest::of(b"keys")),
        existed: true,
        expected: Expected::Unknown,
        conditional: false,
        absent: case.resource.absent(),
        order: 7,
        protect: false,
        notifies: vec![(address(case, "other"), Verb::Reload)],
    };
    let target = case.resource.target();
    let entry = |verdict, reason, cause, mark| Entry {
        address: address(case, &target),
        verdict,
        reason,
        cause,
        mark,
        risk: None,
    };
    let since = || "2026-11-19T14:02:00Z".to_owned();
    vec![
        entry(
            verdict,
            Reason::Notified(vec![address(case, "a"), address(case, "b")]),
            Cause::Both { since: since() },
            Some(mark),
        ),
        entry(
            otherwise.map_or(Verdict::Blocked, Verdict::MayChange),
            Reason::Because("text".into()),
            Cause::Unknown,
            None,
        ),
        entry(Verdict::Refused, Reason::Stale(address(case, "a")), Cause::Host { since: since() }, None),
        entry(Verdict::Unreadable, Reason::After(address(case, "a")), Cause::Project, None),
        entry(Verdict::Keep, Reason::Owed(vec![address(case, "a")]), Cause::Unknown, None),
    ]
}

fn planned(case: &Valid, catalog: &Catalog) -> Plan {
    let (role, service) = (RoleName::new("thing").expect("a name"), ServiceName::new("thing").expect("a name"));
    let checks = catalog.hosts[&host("zk1")].blocks[1].health.clone();
    let gate = Work::Gate {
        host: host("zk1"),
        service: service.clone(),
        gate: Gate { of: "thing".into(), checks },
        then: vec![],
    };
    let (owner, name) = (catalog.owner.clone(), role.clone());
    let block = plan::PlannedBlock {
        host: host("zk1"),
        role: role.clone(),
        service: Some(service.clone()),
        before: vec![Step::Arm { owner: owner.clone(), name: name.clone(), after: std::time::Duration::from_secs(90) }],
        entries: entries(case),
        after: vec![Step::Extend { owner: owner.clone(), name: name.clone() }, Step::Disarm { owner, name }],
    };
    Plan {
        owner: catalog.owner.clone(),
        stages: vec![
            Stage { after: vec![], work: Work::Change(block), turn: None },
            Stage { after: vec![(0, Condition::Done)], work: gate, turn: None },
            Stage { after: vec![(0, Condition::Over), (1, Condition::Done)], work: Work::Join, turn: None },
        ],
        services: vec![ServicePlan {
            name: service,
            role,
            hosts: vec![host("zk1"), host("zk2")],
            batches: vec![vec![host("zk1")], vec![host("zk2")]],
            needs: vec![],
            down: [(host("zk1"), "port 2181 is closed".to_owned())].into(),
            unhealthy: [(host("zk1"), vec![closed()])].into(),
            rollout: Some(rollout()),
        }],
        endpoints: catalog.hosts.iter().map(|(name, host)| (name.clone(), host.endpoint.clone())).collect(),
        unreachable: [(host("zk2"), "no route to host".to_owned())].into(),
        in_sync: 112,
        left_out: 3,
        secrets: catalog.secrets.clone(),
        parted: BTreeMap::new(),
        silent: BTreeMap::new(),
        bases: [(host("zk1"), base(vec![(address(case, &case.resource.target()), Digest::of(b"seen"))]))].into(),
    }
}

fn closed() -> FailedCheck {
    let check = Check::new(Probe::port("127.0.0.1", 2181), Expect::Open);
    FailedCheck { check, health: Health::Unhealthy("port 2181 is closed".to_owned()) }
}

fn base(seen: Vec<(Address, Digest)>) -> Base {
    Base { machine: "4c4c4544".into(), is_unadopted: false, generation: 41, last: None, converged: None, seen }
}

#[test]
fn a_plan_for_every_kind_is_read_as_it_was_written_and_shows_no_secret() {
    let mut kinds = BTreeSet::new();
    let mut wrong = Vec::new();
    for case in valid() {
        let hidden: Vec<String> = case.keys.secrets().iter().map(|secret| secret.expose().clone()).collect();
        let known = hidden.iter().cloned().map(Secret::new).collect();
        let catalog = catalog(vec![wanted(case.resource.clone(), case.keys.clone())], known);
        let catalog = Catalog { data: Data::Removed, ..catalog };
        let made = saved(planned(&case, &catalog), catalog);
        let (bytes, digest) = bytes(&made);
        let text = String::from_utf8(bytes.clone()).expect("UTF-8");
        let seen: Vec<&String> = hidden.iter().filter(|secret| shows(&text, secret.trim())).collect();
        if !seen.is_empty() {
            wrong.push(format!("{}: {seen:?}\n{text}", case.path.display()));
        }
        if !hidden.is_empty() {
            kinds.insert(case.resource.kind());
            let guessed = [Digest::of(b"seen"), Digest::of(b"keys")];
            assert!(
                guessed.iter().all(|digest| !text.contains(&digest.0)),
                "{}: a digest can be guessed",
                case.path.display()
            );
        }
        let again = read(bytes.clone()).unwrap_or_else(|error| panic!("{}: {error}\n{text}", case.path.display()));
        same(&made, &again);
        // Without a key all of it can be shown but the secrets.
        let shown = File::parse(bytes).expect("it can be shown");
        assert_eq!((shown.shown.summary(), &shown.digest), (made.plan.summary(), &digest));
        assert_eq!(shown.sealed.is_none(), hidden.is_empty(), "{}", case.path.display());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(kinds.len() >= 12, "secrets were tried only with {kinds:?}");
}

/// Whether a text can be found in another, in clear or as programs write it.
fn shows(text: &str, secret: &str) -> bool {
    let escaped = serde_json::to_string(secret).expect("a text");
    let hex = secret.bytes().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let mut forms = vec![
        secret.to_owned(),
        escaped.trim_matches('"').to_owned(),
        secret.escape_debug().to_string(),
        hex.to_uppercase(),
        hex,
    ];
    // In base64 a text looks different at each of three places.
    for shift in 0..3_usize {
        let whole = base64::engine::general_purpose::STANDARD.encode([&vec![b'.'; shift], secret.as_bytes()].concat());
        let end = (shift + secret.len()) / 3 * 4;
        let begin = if shift == 0 { 0 } else { 4 };
        forms.extend(whole.get(begin..end).filter(|form| form.len() >= 4).map(str::to_owned));
    }
    let sealed = text.find("\"sealed\":\"").map_or(text, |at| &text[..at]);
    forms.iter().any(|form| form.len() > 3 && sealed.contains(form.as_str()))
}

// -- damage -----------------------------------------------------------------------------------------------------------

/// A small plan with a secret.
fn small() -> SavedPlan {
    let mut keys = Datum::from(serde_json::json!({ "path": "/etc/token", "mode": "0600" }));
    if let Datum::Map(entries) = &mut keys {
        entries.push(("content".to_owned(), Datum::secret("correct-horse-battery\n")));
    }
    let parsed = (resource::kind("file").expect("a kind").parse)(&keys).expect("keys");
    let readings = parsed.probes().into_iter().map(|probe| (probe, Reading::Path(PathReading::Absent))).collect();
    let decision = parsed.decide(&readings, None).ok();
    let case = Valid { path: PathBuf::new(), keys: keys.clone(), resource: parsed.clone(), decision };
    let catalog = catalog(vec![wanted(parsed, keys)], vec![Secret::new("correct-horse-battery".into())]);
    saved(planned(&case, &catalog), catalog)
}

#[test]
fn no_change_of_a_file_goes_unnoticed() {
    let (whole, _) = bytes(&small());
    let step = (whole.len() / 64).max(1);
    let mut tried = 0;
    for at in (0..whole.len()).step_by(step).chain(0..200).chain(whole.len() - 3..whole.len()) {
        for other in [whole[at] ^ 1, whole[at] ^ 0x20, b' ', b'0', 0] {
            if other == whole[at] {
                continue;
            }
            let mut changed = whole.clone();
            changed[at] = other;
            assert!(File::parse(changed).is_err(), "byte {at} as {other}");
            tried += 1;
        }
        let error = File::parse(whole[..at].to_vec()).expect_err("cut short");
        assert!(matches!(error, SavedError::Cut | SavedError::Stranger), "{at}: {error:?}");
    }
    for more in [&b"\n"[..], b" ", b"{}", b"}\n"] {
        let error = File::parse([&whole, more].concat()).expect_err("unexpected text after");
        assert!(matches!(error, SavedError::Changed | SavedError::Cut), "{error:?}");
    }
    assert!(tried > 500, "{tried}");
}

#[test]
fn what_is_no_plan_of_ours_is_refused_in_words() {
    let refused = |bytes: &[u8]| File::parse(bytes.to_vec()).expect_err("refused");
    for other in [
        &b""[..],
        b"{}",
        b"{\"armilla\":\"run\",\"version\":1}",
        b"PK\x03\x04",
        b"{\"armilla\":\"plan\",\"version\":\"x\"}",
    ] {
        assert_eq!(refused(other), SavedError::Stranger, "{}", String::from_utf8_lossy(other));
    }
    assert_eq!(refused(&case("v2.plan")), SavedError::Version { found: 2 });
    assert_eq!(refused(b"{ \"version\": 3, \"armilla\": \"plan\" }"), SavedError::Version { found: 3 });
    let (whole, _) = bytes(&small());
    let pretty: serde_json::Value = serde_json::from_slice(&whole).expect("JSON");
    assert_eq!(refused(serde_json::to_string_pretty(&pretty).expect("JSON").as_bytes()), SavedError::Changed);
    let huge = vec![b' '; usize::try_from(plan::saved::LIMIT).expect("small") + 1];
    assert_eq!(File::parse(huge).expect_err("too large"), SavedError::TooLarge);
    assert!(is_plan(&whole) && is_plan(&whole[..40]) && !is_plan(b"{}"));
}

/// The same file with this text in the place of that, and a digest that fits: what somebody makes who means it.
fn forged(from: &str, to: &str) -> SavedError {
    let (whole, digest) = bytes(&small());
    let text = String::from_utf8(whole).expect("UTF-8").replace(&digest.0, &"0".repeat(64));
    assert!(text.contains(from), "{from} is not in {text}");
    let text = text.replace(from, to);
    let digest = Digest::of(text.as_bytes());
    read(text.replacen(&"0".repeat(64), &digest.0, 1).into_bytes()).expect_err(to)
}

#[test]
fn a_file_that_says_what_no_plan_says_is_refused() {
    let forgeries = [
        ("\"kind\":\"file\"", "\"kind\":\"spell\"", "unknown kind `spell`"),
        (
            "\"environment\":\"staging@shop-k3fq8w2n7d\",\"stages\"",
            "\"environment\":\"production\",\"stages\"",
            "another environment",
        ),
        ("\"after\":[[0,\"done\"]]", "\"after\":[[1,\"done\"]]", "stage 1 waits for a later stage"),
        ("\"after\":[[0,\"done\"]]", "\"after\":[[99,\"done\"]]", "stage 1 waits for a later stage"),
        ("\"in_sync\":112", "\"in_sync\":112,\"more\":1", "unknown field `more`"),
        ("\"in_sync\":112", "\"in_sync\":-1", "invalid value"),
        ("\"requires\":[0]", "\"requires\":[1]", "requires a later one"),
        ("\"items\":[[0,", "\"items\":[[9,", "there is no resource 9"),
        ("{\"sealed\":0}", "{\"sealed\":77}", "unknown secret number"),
        ("\"within\":\"60s\"", "\"within\":\"soon\"", "invalid duration `soon`"),
        ("\"keys\":{\"path\":\"/etc/token\"", "\"keys\":{\"path\":\"etc/token\"", "invalid path `etc/token`"),
    ];
    for (from, to, why) in forgeries {
        let error = forged(from, to);
        assert!(matches!(error, SavedError::Broken(_)) && error.to_string().contains(why), "{to}: {error}");
    }
    let deep = forged("\"unreachable\":{", &format!("\"unreachable\":{{\"a\":{}", "[".repeat(100_000)));
    assert!(matches!(deep, SavedError::Broken(_)), "{deep}");
}

#[test]
fn secrets_are_read_only_with_their_key() {
    let (whole, _) = bytes(&small());
    let file = File::parse(whole).expect("a plan");
    assert_eq!(file.open(None).expect_err("sealed"), SavedError::Sealed);
    let sealed = Envelope::parse(file.sealed.as_ref().expect("secrets")).expect("a vault file");
    assert_eq!(sealed.id.as_deref(), Some("prod"));
    assert!(sealed.open(&key("wrong")).is_err());
    let other = Secret::new(b"{\"values\":[\"hunter2\"],\"places\":[0,1]}".to_vec());
    let error = file.open(Some(&other)).expect_err("not a list").to_string();
    assert!(!error.contains("hunter2"), "{error}");
    assert_eq!(small().draft().expect("a draft").finish(None).expect_err("not encrypted"), SavedError::Sealed);
    // A plan that is only shown has no secret, and nobody can take it for one with an empty password.
    assert!(file.shown.secrets.iter().all(|secret| secret.expose().is_empty()));
}

// -- for ever ---------------------------------------------------------------------------------------------------------

fn case(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/plan").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// F6. When this fails, do not write the file anew: give what is new in a plan a default.
#[test]
fn f6_a_file_of_the_first_format_is_readable_for_ever() {
    let mut made = small();
    // The project came later.
    made.plan.owner.project = None;
    made.catalog.owner.project = None;
    // Rollouts came later, what is armed around a change, and the checks that fail.
    for service in &mut made.plan.services {
        (service.rollout, service.unhealthy) = (None, BTreeMap::new());
    }
    for stage in &mut made.plan.stages {
        if let Work::Change(block) = &mut stage.work {
            (block.before, block.after) = (Vec::new(), Vec::new());
        }
    }
    let blocks = made.catalog.hosts.values_mut().flat_map(|host| &mut host.blocks);
    blocks.flat_map(|block| block.items.iter_mut().chain(&mut block.left_out)).for_each(|item| item.risk = None);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/plan/v1.plan");
    if !path.exists() {
        std::fs::write(&path, bytes(&made).0).expect("it can be written");
    }
    let again = read(case("v1.plan")).unwrap_or_else(|error| panic!("{error}"));
    same(&made, &again);
}

#[test]
fn data_that_looks_like_a_mark_is_read_as_it_was_written() {
    let literal = serde_json::json!({
        "$secret": "x", "deep": [{ "$bytes": "AP8A" }, { "$secret": { "sealed": 0 } }, { "at": [], "is": { "secret": "x" } }],
    });
    for hidden in
        [None, Some(Datum::secret("hunter2")), Some(Datum::hidden(4711.into())), Some(Datum::Bytes(vec![0, 255]))]
    {
        let mut value = Datum::from(literal.clone());
        if let (Datum::Map(entries), Some(hidden)) = (&mut value, hidden) {
            entries.push((
                "0".to_owned(),
                Datum::List(vec![hidden.clone(), Datum::Map(vec![("$secret".to_owned(), hidden)])]),
            ));
        }
        let keys = Datum::Map(vec![
            ("path".to_owned(), "/etc/a.json".into()),
            ("key".to_owned(), Datum::List(vec!["a".into()])),
            ("value".to_owned(), value),
        ]);
        let parsed = (resource::kind("json").expect("a kind").parse)(&keys).expect("keys");
        let readings = parsed.probes().into_iter().map(|probe| (probe, Reading::Path(PathReading::Absent))).collect();
        let decision = parsed.decide(&readings, None).ok();
        let case = Valid { path: PathBuf::new(), keys: keys.clone(), resource: parsed.clone(), decision };
        let catalog = catalog(vec![wanted(parsed, keys)], Vec::new());
        let made = saved(planned(&case, &catalog), catalog);
        let again = read(bytes(&made).0).unwrap_or_else(|error| panic!("{error}"));
        same(&made, &again);
    }
}

// -- what moved -------------------------------------------------------------------------------------------------------

/// A host with one file, and a plan for it.
struct Seen {
    saved: SavedPlan,
    now: Observed,
}

const FILE: &str =
    "summary: W.\nresources:\n  - file: { path: /etc/a, content: one }\n  - file: { path: /etc/b, content: two }\n";

fn ledger(generation: u64, run: Option<(&str, &str)>) -> Vec<u8> {
    let mut ledger = Ledger::new(EnvName::new("sim").expect("a name"));
    ledger.generation = generation;
    ledger.last = run.map(|(plan, run)| Applied {
        run: RunId::new(run).expect("a run"),
        plan: Digest(plan.to_owned()),
        at: "2026-11-21T15:00:00Z".into(),
        who: "bob@desk".into(),
        revision: None,
    });
    ledger.text()
}

fn state(observed: &mut Observed, on: &str, machine: &str, ledger: Option<Vec<u8>>) {
    let readings = observed.get_mut(&host(on)).expect("it was asked").as_mut().expect("it answered");
    let record = Record { ledger, journal: None };
    let records = [((World::default().owner(), host(on)), record)].into();
    let state = StateReading { machine: machine.into(), records, ..StateReading::default() };
    readings.insert(Probe::State, Reading::State(Box::new(state)));
}

fn seen() -> Seen {
    let mut world = World::default();
    world.host("h1").expect("a name");
    world.host("h2").expect("a name");
    world.role("w", FILE).expect("a role");
    world.site("services:\n  w: { hosts: all }\n");
    let (mut plan, catalog) = surveyed(&world);
    let mut now = world.observe(&catalog);
    for (name, machine) in [("h1", "m1"), ("h2", "m2")] {
        state(&mut now, name, machine, Some(ledger(3, None)));
        let readings = now[&host(name)].as_ref().expect("it answered");
        let items = &catalog.hosts[&host(name)].blocks[0].items;
        let seen = items.iter().map(|item| {
            let (kind, target) = (item.resource.kind(), item.resource.target());
            let seen = item.resource.seen(readings).expect("it can be read");
            let address = Address { host: host(name), role: RoleName::new("w").expect("a name"), kind, target };
            (address, Digest::of(seen.fingerprint.expose().as_bytes()))
        });
        let seen = seen.collect();
        plan.bases.insert(
            host(name),
            Base { machine: machine.into(), is_unadopted: false, generation: 3, last: None, converged: None, seen },
        );
    }
    Seen { saved: saved(plan, catalog), now }
}

fn look(seen: &Seen) -> (Option<String>, BTreeMap<String, String>) {
    let Look { stale, hosts } = seen.saved.moved(&Digest("this".into()), &seen.now);
    let refused = Look { stale: None, hosts }.refused();
    let refused = refused.into_iter().map(|(host, why)| (host.to_string(), why)).collect();
    (stale.map(|stale| stale.to_string()), refused)
}

fn one(host: &str, why: &str) -> BTreeMap<String, String> {
    [(host.to_owned(), why.to_owned())].into()
}

#[test]
fn where_nothing_moved_nothing_is_refused() {
    assert_eq!(look(&seen()), (None, BTreeMap::new()));
}

#[test]
fn a_host_on_which_something_moved_is_refused_with_its_name() {
    let moved = |work: &dyn Fn(&mut Seen)| {
        let mut seen = seen();
        work(&mut seen);
        look(&seen)
    };
    let path = |path: &str| {
        let items = seen().saved.catalog.hosts[&host("h1")].blocks[0].items.clone();
        let item = items.into_iter().find(|item| item.resource.target() == path).expect("there");
        item.resource.probes().into_iter().next().expect("a probe")
    };
    let put = |seen: &mut Seen, probe: Probe, reading: Reading| {
        seen.now.get_mut(&host("h1")).expect("asked").as_mut().expect("answered").insert(probe, reading);
    };
    let other = moved(&|seen| put(seen, path("/etc/b"), Reading::Path(PathReading::Other("fifo".into()))));
    assert_eq!(other, (None, one("h1", "file /etc/b changed since the plan was made")));
    let blind = moved(&|seen| put(seen, path("/etc/a"), Reading::Failed("Input/output error".into())));
    assert_eq!(blind, (None, one("h1", "file /etc/a can no longer be read: Input/output error")));
    let silent = moved(&|seen| drop(seen.now.insert(host("h2"), Err("no route to host".into()))));
    assert_eq!(silent, (None, one("h2", "it is unreachable: no route to host")));
    let machine = moved(&|seen| state(&mut seen.now, "h1", "m9", Some(ledger(3, None))));
    assert_eq!(machine.1, one("h1", "another machine has its name: it was m1, and this is m9"));
    let lost = moved(&|seen| state(&mut seen.now, "h1", "m1", None));
    let why = "its ledger changed since the plan was made: 3 runs then, 0 now";
    assert_eq!(lost, (None, one("h1", why)));
    let newer = moved(&|seen| state(&mut seen.now, "h1", "m1", Some(b"{\"version\":99}".to_vec())));
    assert!(newer.1["h1"].contains("upgrade armilla"), "{newer:?}");
    let unknown = moved(&|seen| drop(seen.saved.plan.bases.remove(&host("h1"))));
    assert_eq!(unknown, (None, one("h1", "the plan has no state for it")));
}

#[test]
fn a_plan_that_had_its_time_is_refused_as_a_whole() {
    let run = "20261121-150000-k3fq";
    let words = "the run 20261121-150000-k3fq of bob@desk, started 2026-11-21T15:00:00Z";
    let mut overtaken = seen();
    state(&mut overtaken.now, "h2", "m2", Some(ledger(4, Some(("other", run)))));
    let (stale, hosts) = look(&overtaken);
    assert_eq!(stale, Some(format!("another plan was applied after this one was made: h2 has it from {words}")));
    assert_eq!(hosts, one("h2", &format!("armilla worked there since the plan was made: {words}")));
    let mut done = overtaken;
    state(&mut done.now, "h1", "m1", Some(ledger(4, Some(("this", run)))));
    assert_eq!(look(&done).0, Some(format!("this plan was already applied: h1 has it from {words}")));
    let look = done.saved.moved(&Digest("this".into()), &done.now);
    assert!(matches!(look.stale, Some(Stale::Done { .. })));
    assert!(matches!(look.hosts[&host("h2")][..], [Moved::Generation { was: 3, is: 4, by: Some(_) }]));
}
