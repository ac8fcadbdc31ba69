//! Batches, budgets, floors, orders and canaries: what a rollout lets begin, and when.
//!
//! In: rollouts as values, driven without hosts or a clock. Out: what does not hold. With `ARMILLA_BLESS=1` the table of
//! docs/rollouts.md is written anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use armilla::name::HostName;
use armilla::rollout::{
    Budget, Canary, Directive, Halt, Hold, Member, MemberAnswer, OnFailure, Restoration, Rollout, Standing, State,
};

use crate::docs;

const NOW: Duration = Duration::ZERO;

fn name(number: usize) -> HostName {
    HostName::new(&format!("h{number}")).expect("a name")
}

/// What becomes of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Well,
    Fails,
    /// It did not answer when the plan was made, so that nothing is begun on it.
    Away,
}

fn rollout(fates: &[Fate], slots: &[usize], budget: Budget) -> Rollout {
    let member = |fate: &Fate| Member {
        standing: if *fate == Fate::Away { Standing::Away("no route".to_owned()) } else { Standing::Up },
        answer: None,
        zone: None,
        checks: Vec::new(),
        by: None,
    };
    Rollout {
        slots: slots.to_vec(),
        budget,
        floor: 0,
        first: None,
        last: None,
        canary: None,
        on_failure: OnFailure::Stop,
        together: Vec::new(),
        waiting: (0..fates.len()).filter(|n| fates[*n] != Fate::Away).map(name).collect(),
        members: fates.iter().enumerate().map(|(n, fate)| (name(n), member(fate))).collect(),
        undo: BTreeMap::new(),
        refused: None,
    }
}

fn decide(state: &mut State<'_>, ready: &BTreeSet<HostName>, now: Duration) -> Directive {
    state.next(&|host| ready.contains(host), now)
}

/// What a rollout came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Came {
    begun: usize,
    failed: usize,
    stopped: bool,
}

/// The rule, in as few words as there are: hosts go in parts of `slots`; before each part, failures are compared with the
/// budget. Hosts that are away count only if there is one.
fn model(fates: &[Fate], slots: usize, budget: Budget) -> Came {
    let away = fates.iter().filter(|fate| **fate == Fate::Away).count();
    let too_much = |failed: usize| match budget {
        Budget::Unset => failed > 0,
        Budget::Failures(most) => failed + away > most,
    };
    let (mut begun, mut failed) = (0, 0);
    let hosts: Vec<&Fate> = fates.iter().filter(|fate| **fate != Fate::Away).collect();
    for part in hosts.chunks(slots) {
        if too_much(failed) {
            break;
        }
        begun += part.len();
        failed += part.iter().filter(|fate| ***fate == Fate::Fails).count();
    }
    Came { begun, failed, stopped: too_much(failed) }
}

/// Drives a rollout: all that runs ends before anything else begins, or one at a time in the order of `pick`.
fn drive(rollout: &Rollout, fates: &[Fate], mut pick: impl FnMut(usize) -> Option<usize>) -> Came {
    let mut state = State::new(rollout);
    let most = *rollout.slots.last().expect("slots");
    let mut waiting: BTreeSet<HostName> = rollout.waiting.iter().cloned().collect();
    let (mut running, mut came) = (Vec::new(), Came { begun: 0, failed: 0, stopped: false });
    let fate = |host: &HostName| fates[host.as_str()[1..].parse::<usize>().expect("a number")];
    loop {
        match decide(&mut state, &waiting, NOW) {
            Directive::Begin(host) => {
                assert!(!came.stopped, "{host} begins after it was stopped");
                waiting.remove(&host);
                state.begin(&host);
                running.push(host);
                came.begun += 1;
                assert!(running.len() <= most, "{} at a time", running.len());
            }
            Directive::Stop(_) => came.stopped = true,
            Directive::Wait(..) => {
                assert!(!running.is_empty(), "it waits for nothing");
                let ends = match pick(running.len()) {
                    Some(one) => vec![running.remove(one)],
                    None => std::mem::take(&mut running),
                };
                for host in ends {
                    let failed = fate(&host) == Fate::Fails;
                    came.failed += usize::from(failed);
                    state.ended(&host, failed.then_some(0), NOW);
                }
            }
            Directive::Over => return came,
            next @ (Directive::Ask | Directive::Undo(_)) => panic!("{next:?}"),
        }
    }
}

/// Every way in which so many hosts can end.
fn fates(hosts: u32) -> impl Iterator<Item = Vec<Fate>> {
    let of = |digit| [Fate::Well, Fate::Fails, Fate::Away][digit];
    (0..3_usize.pow(hosts)).map(move |number| (0..hosts).map(|at| of(number / 3_usize.pow(at) % 3)).collect())
}

const BUDGETS: [Budget; 6] = [
    Budget::Unset,
    Budget::Failures(0),
    Budget::Failures(1),
    Budget::Failures(2),
    Budget::Failures(4),
    Budget::Failures(5),
];

#[test]
fn f26_batches_and_budgets_are_those_of_the_model() {
    let mut tried = 0;
    for hosts in 1..=5 {
        for fates in fates(hosts) {
            for (slots, budget) in (1..=5).flat_map(|slots| BUDGETS.map(|budget| (slots, budget))) {
                let rollout = rollout(&fates, &[slots], budget);
                let came = drive(&rollout, &fates, |_| None);
                assert_eq!(came, model(&fates, slots, budget), "{fates:?}, {slots} at a time, {budget:?}");
                tried += 1;
            }
        }
    }
    println!("{tried} combinations of failed, unreachable, batch and budget");
}

#[test]
fn f26_in_whatever_order_hosts_end_nothing_begins_after_a_failure_too_many() {
    for fates in fates(5) {
        for (slots, budget) in (1..=5).flat_map(|slots| BUDGETS.map(|budget| (slots, budget))) {
            for seed in 0..4 {
                let rollout = rollout(&fates, &[slots], budget);
                let came = drive(&rollout, &fates, |running| Some((seed * 7 + running) % running));
                let away = fates.iter().filter(|fate| **fate == Fate::Away).count();
                let most = match budget {
                    Budget::Unset => 0,
                    Budget::Failures(most) => most.saturating_sub(away),
                };
                // Those that ran when the last failure was seen could fail too.
                assert!(came.failed <= most + slots, "{fates:?} {slots} {budget:?}: {came:?}");
                assert!(came.stopped || came.begun == rollout.waiting.len());
            }
        }
    }
}

#[test]
fn the_table_of_failures_is_current() {
    let mut table = String::from("| fail | do not answer | batch | no budget | `0` | `1` | `2` | `100%` |\n");
    table.push_str("|---|---|---|---|---|---|---|---|\n");
    for (failed, away) in (0..=2).flat_map(|failed| (0..=2).map(move |away| (failed, away))) {
        for (slots, word) in [(1, "1"), (2, "2"), (5, "all")] {
            let mut fates = vec![Fate::Fails; failed];
            fates.resize(5 - away, Fate::Well);
            fates.resize(5, Fate::Away);
            let budgets = [0, 1, 2, 5].map(Budget::Failures);
            let cells = std::iter::once(Budget::Unset).chain(budgets).map(|budget| cell(model(&fates, slots, budget)));
            let cells: Vec<String> = cells.collect();
            let _ = writeln!(table, "| {failed} | {away} | {word} | {} |", cells.join(" | "));
        }
    }
    docs::generated_part("docs/rollouts.md", "failures", &table);
}

fn cell(came: Came) -> String {
    let stops = if came.stopped { ", stops" } else { "" };
    format!("{}{stops}", came.begun)
}

/// Answers of members: how each is, and what it says.
fn answers(said: &[(usize, bool, &str)]) -> BTreeMap<HostName, MemberAnswer> {
    let one = |(number, up, answer): &(usize, bool, &str)| {
        let standing = if *up { Standing::Up } else { Standing::Down("port 1 is closed".to_owned()) };
        (name(*number), (standing, Some((*answer).to_owned())))
    };
    said.iter().map(one).collect()
}

fn all(rollout: &Rollout) -> BTreeSet<HostName> {
    rollout.waiting.iter().cloned().collect()
}

#[test]
fn the_leader_is_last_also_when_it_changes_on_the_way() {
    let rollout = Rollout { last: Some("leader".to_owned()), ..rollout(&[Fate::Well; 3], &[1], Budget::Unset) };
    let mut state = State::new(&rollout);
    let mut ready = all(&rollout);
    let mut order = Vec::new();
    // At first h0 leads; when h1 has changed, h2 does, and again h0.
    for leader in [0, 2, 0] {
        assert_eq!(decide(&mut state, &ready, NOW), Directive::Ask);
        state.ask();
        let word = |host: usize| if host == leader { "leader" } else { "follower" };
        state.answered(answers(&[(0, true, word(0)), (1, true, word(1)), (2, true, word(2))]), NOW);
        let Directive::Begin(host) = decide(&mut state, &ready, NOW) else { panic!("nobody begins") };
        ready.remove(&host);
        state.begin(&host);
        assert!(matches!(decide(&mut state, &ready, NOW), Directive::Wait(Hold::Running { .. }, _) | Directive::Over));
        state.ended(&host, None, NOW);
        order.push(host);
    }
    assert_eq!(order, [name(1), name(0), name(2)], "h0 was no leader when its turn came");
}

#[test]
fn a_service_does_not_fall_below_what_it_promises() {
    let rollout = Rollout { floor: 2, ..rollout(&[Fate::Well; 3], &[2], Budget::Unset) };
    let mut state = State::new(&rollout);
    let mut ready = all(&rollout);
    assert_eq!(decide(&mut state, &ready, NOW), Directive::Ask);
    state.answered(answers(&[(0, true, ""), (1, true, ""), (2, true, "")]), NOW);
    assert_eq!(decide(&mut state, &ready, NOW), Directive::Begin(name(0)));
    state.begin(&name(0));
    ready.remove(&name(0));
    // Two may change at a time, but then only one were healthy.
    assert!(matches!(
        decide(&mut state, &ready, NOW),
        Directive::Wait(Hold::TooFew { healthy: 1, floor: 2, .. }, None)
    ));
    state.ended(&name(0), None, NOW);
    // The one that changed fell: it is waited for, asked again, and given up.
    assert_eq!(decide(&mut state, &ready, NOW), Directive::Ask);
    state.ask();
    state.answered(answers(&[(0, false, ""), (1, true, ""), (2, true, "")]), NOW);
    let next = decide(&mut state, &ready, NOW);
    let Directive::Stop(Halt::TooFew { hold: Hold::TooFew { host, down, .. } }) = next else { panic!("{next:?}") };
    assert_eq!((host, down), (name(1), vec![(name(0), "port 1 is closed".to_owned())]));
}

/// What members said counts for five seconds, and only of those that did not change since.
#[test]
fn members_are_asked_once_for_many_changes() {
    let rollout = Rollout { floor: 2, ..rollout(&[Fate::Well; 6], &[1], Budget::Failures(6)) };
    let (mut state, mut ready) = (State::new(&rollout), all(&rollout));
    let seconds = Duration::from_secs;
    let mut changed = |state: &mut State<'_>, number, (from, to), failed| {
        assert_eq!(decide(state, &ready, seconds(from)), Directive::Begin(name(number)));
        state.begin(&name(number));
        ready.remove(&name(number));
        state.ended(&name(number), failed, seconds(to));
        decide(state, &ready, seconds(to))
    };
    let asked = |state: &mut State<'_>, now| {
        state.ask();
        state.answered(answers(&[0, 1, 2, 3, 4, 5].map(|number| (number, true, ""))), seconds(now));
    };
    asked(&mut state, 0);
    for number in [0, 1] {
        let next = changed(&mut state, number, (0, 1), None);
        assert_eq!(next, Directive::Begin(name(number + 1)), "nobody is asked for it");
    }
    let next = changed(&mut state, 2, (1, 2), None);
    assert_eq!(next, Directive::Begin(name(3)), "two others are healthy that did not change");
    assert_eq!(changed(&mut state, 3, (2, 3), None), Directive::Ask, "one is left that did not change");
    asked(&mut state, 3);
    assert_eq!(decide(&mut state, &all(&rollout), seconds(8)), Directive::Ask, "that is old");
    assert_eq!(changed(&mut state, 4, (7, 7), Some(0)), Directive::Ask, "a failure may be that of all");
}

/// The plan that repairs a member must be possible: a member that runs and fails its checks is not overtaken.
#[test]
fn an_unhealthy_member_is_repaired_before_a_healthy_one_goes_down() {
    let rollout = Rollout { floor: 2, ..rollout(&[Fate::Well; 3], &[1], Budget::Unset) };
    let mut state = State::new(&rollout);
    state.answered(answers(&[(0, true, ""), (1, true, ""), (2, false, "")]), NOW);
    assert_eq!(decide(&mut state, &all(&rollout), NOW), Directive::Begin(name(2)));
    let last = Rollout { last: Some("leader".to_owned()), ..rollout.clone() };
    let mut state = State::new(&last);
    state.answered(answers(&[(0, true, ""), (1, true, ""), (2, false, "leader")]), NOW);
    let next = decide(&mut state, &all(&last), NOW);
    assert!(!matches!(&next, Directive::Begin(host) if *host == name(2)), "the leader stays last: {next:?}");
}

#[test]
fn who_is_down_changes_before_who_is_up() {
    let rollout = Rollout { floor: 2, ..rollout(&[Fate::Well; 3], &[1], Budget::Unset) };
    let mut state = State::new(&rollout);
    state.answered(answers(&[(0, false, ""), (1, true, ""), (2, true, "")]), NOW);
    assert_eq!(decide(&mut state, &all(&rollout), NOW), Directive::Begin(name(0)));
}

#[test]
fn never_two_zones_at_once() {
    let mut rollout = rollout(&[Fate::Well; 4], &[4], Budget::Unset);
    for (number, zone) in [(0, "a"), (1, "b"), (2, "a"), (3, "b")] {
        rollout.members.get_mut(&name(number)).expect("a member").zone = Some(zone.to_owned());
    }
    let mut state = State::new(&rollout);
    let mut ready = all(&rollout);
    for expected in [0, 2] {
        assert_eq!(decide(&mut state, &ready, NOW), Directive::Begin(name(expected)));
        state.begin(&name(expected));
        ready.remove(&name(expected));
    }
    assert!(matches!(decide(&mut state, &ready, NOW), Directive::Wait(Hold::Zone { .. }, None)));
    state.ended(&name(0), None, NOW);
    assert!(matches!(decide(&mut state, &ready, NOW), Directive::Wait(Hold::Zone { .. }, None)));
    state.ended(&name(2), None, NOW);
    assert_eq!(decide(&mut state, &ready, NOW), Directive::Begin(name(1)));
}

#[test]
fn a_canary_is_watched_and_a_person_asked() {
    let canary = Canary { hosts: 1, stable_for: Duration::from_secs(60), approve: true };
    let rollout = Rollout { canary: Some(canary), ..rollout(&[Fate::Well; 3], &[3], Budget::Unset) };
    let seconds = Duration::from_secs;
    let well = || answers(&[(0, true, ""), (1, true, ""), (2, true, "")]);
    let begun = || {
        let mut state = State::new(&rollout);
        let mut ready = all(&rollout);
        assert_eq!(decide(&mut state, &ready, NOW), Directive::Begin(name(0)));
        state.begin(&name(0));
        ready.remove(&name(0));
        assert!(matches!(decide(&mut state, &ready, NOW), Directive::Wait(Hold::Running { .. }, None)));
        state.ended(&name(0), None, seconds(10));
        assert_eq!(decide(&mut state, &ready, seconds(10)), Directive::Ask);
        state.ask();
        state.answered(well(), seconds(10));
        (state, ready)
    };
    let (mut state, mut ready) = begun();
    let next = decide(&mut state, &ready, seconds(11));
    assert!(matches!(next, Directive::Wait(Hold::Canary { until, .. }, Some(_)) if until == seconds(70)), "{next:?}");
    state.approve();
    assert_eq!(decide(&mut state, &ready, seconds(70)), Directive::Ask, "what was seen before is not enough");
    state.answered(well(), seconds(70));
    for number in [1, 2] {
        assert_eq!(decide(&mut state, &ready, seconds(71)), Directive::Begin(name(number)));
        state.begin(&name(number));
        ready.remove(&name(number));
    }

    // It becomes unhealthy while it is watched.
    let (mut state, ready) = begun();
    state.answered(answers(&[(0, false, ""), (1, true, ""), (2, true, "")]), seconds(30));
    assert!(matches!(decide(&mut state, &ready, seconds(30)), Directive::Stop(Halt::Unhealthy { .. })));
    assert_eq!(decide(&mut state, &ready, seconds(31)), Directive::Over);

    // What it answered in the middle of its turn says nothing of how it is.
    let mut state = State::new(&rollout);
    state.begin(&name(0));
    state.ask();
    state.ended(&name(0), None, seconds(10));
    state.answered(answers(&[(0, false, ""), (1, true, ""), (2, true, "")]), seconds(10));
    assert!(!matches!(decide(&mut state, &ready, seconds(10)), Directive::Stop(_)));

    // Nobody says that the others may follow.
    let (mut state, ready) = begun();
    state.answered(well(), seconds(4000));
    assert!(matches!(decide(&mut state, &ready, seconds(4001)), Directive::Wait(Hold::Approval { .. }, Some(_))));
}

#[test]
fn a_ramp_goes_on_when_its_part_is_well() {
    let rollout = rollout(&[Fate::Well; 6], &[1, 2, 3], Budget::Unset);
    let mut state = State::new(&rollout);
    let mut ready = all(&rollout);
    let mut parts = Vec::new();
    while !ready.is_empty() {
        let mut part = Vec::new();
        while let Directive::Begin(host) = decide(&mut state, &ready, NOW) {
            ready.remove(&host);
            state.begin(&host);
            part.push(host);
        }
        // The last that ends is what the next part waits for.
        for host in &part {
            state.ended(host, None, NOW);
        }
        parts.push(part.len());
    }
    assert_eq!(parts, [1, 2, 3]);
}

#[test]
fn what_was_changed_is_put_back_the_last_first() {
    let undo = (0..3).map(|number| (name(number), vec![number])).collect();
    let rollout = Rollout {
        on_failure: OnFailure::Rollback,
        undo,
        ..rollout(&[Fate::Well, Fate::Fails, Fate::Well], &[1], Budget::Unset)
    };
    let run = |well: bool| {
        let mut state = State::new(&rollout);
        let ready = all(&rollout);
        for (number, failed) in [(0, None), (1, Some(7))] {
            assert_eq!(decide(&mut state, &ready, NOW), Directive::Begin(name(number)));
            state.begin(&name(number));
            state.ended(&name(number), failed, NOW);
        }
        assert_eq!(decide(&mut state, &ready, NOW), Directive::Stop(Halt::Failed { stage: 7 }));
        assert_eq!(decide(&mut state, &ready, NOW), Directive::Undo(name(1)));
        state.undo(&name(1));
        assert!(matches!(decide(&mut state, &ready, NOW), Directive::Wait(Hold::Running { .. }, None)));
        state.undone(&name(1), well);
        (decide(&mut state, &ready, NOW), state)
    };
    let (next, mut state) = run(true);
    assert_eq!(next, Directive::Undo(name(0)));
    state.undo(&name(0));
    state.undone(&name(0), true);
    assert_eq!(decide(&mut state, &all(&rollout), NOW), Directive::Over);
    assert_eq!(state.outcome(), Some(Restoration::Restored));
    let (next, state) = run(false);
    assert_eq!((next, state.outcome()), (Directive::Over, Some(Restoration::Stuck)));
}

/// The stages that would have put hosts back are passed over when all is well: that is not putting them back.
#[test]
fn what_was_never_put_back_is_not_told_as_put_back() {
    let undo = (0..2).map(|number| (name(number), vec![number])).collect();
    let rollout =
        Rollout { on_failure: OnFailure::Rollback, undo, ..rollout(&[Fate::Well, Fate::Well], &[1], Budget::Unset) };
    let mut state = State::new(&rollout);
    let mut ready = all(&rollout);
    while let Directive::Begin(host) = decide(&mut state, &ready, NOW) {
        ready.remove(&host);
        state.begin(&host);
        state.ended(&host, None, NOW);
    }
    for number in 0..2 {
        state.undone(&name(number), true);
    }
    assert!(state.is_well());
    assert_eq!(state.outcome(), None);
}
