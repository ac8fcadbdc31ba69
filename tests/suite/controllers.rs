//! Controllers that come between each other in every way: the rule of a host and the way leases are taken, in memory.
//!
//! In: histories of messages, crashes, stops, reboots and delays. Out: that one at a time may write, and that no lock stays.
//! Never: a clock; time is a number of the history.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use armilla::apply::{Refused, Terms, acquire, witnesses};
use armilla::inventory::Endpoint;
use armilla::lease::{Desk, Holder, LeaseAnswer, LeaseId, Now, Request, grant};
use armilla::name::{EnvName, HostName, RunId};
use armilla::sim::{Fleet, Host};
use armilla::transport::Transport as _;
use proptest::prelude::*;

const HOSTS: usize = 3;
const CONTROLLERS: usize = 3;
const LEASE: u32 = 120;

fn holder(name: &str) -> Holder {
    Holder {
        environment: EnvName::new("staging").expect("a name"),
        project: None,
        run: RunId::new("run-1").expect("a name"),
        who: name.to_owned(),
        command: "armilla apply staging".to_owned(),
        machine: String::new(),
        boot: String::new(),
        pid: 1,
        ticks: 1,
        namespace: String::new(),
        since: "2026-01-01T00:00:00Z".to_owned(),
    }
}

/// What happens next in a history.
#[derive(Debug, Clone)]
enum Next {
    /// A controller goes on by one message, if it runs.
    Step(usize),
    /// It gives signs of life.
    Beat(usize),
    /// It sends an order that is under way for a while.
    Send(usize, usize),
    /// The oldest order that is under way to a host arrives.
    Arrive(usize),
    /// What a host does is over.
    Done(usize),
    /// A controller is stopped, or goes on.
    Stop(usize),
    /// It is killed; another begins in its place.
    Crash(usize),
    /// A host boots: what ran there is gone.
    Boot(usize),
    /// Somebody breaks the lock of a host by hand.
    Break(usize),
    /// Time passes.
    Wait(u64),
}

fn next() -> impl Strategy<Value = Next> {
    let (host, controller) = (0..HOSTS, 0..CONTROLLERS);
    prop_oneof![
        12 => controller.clone().prop_map(Next::Step),
        3 => controller.clone().prop_map(Next::Beat),
        6 => (controller.clone(), host.clone()).prop_map(|(who, host)| Next::Send(who, host)),
        6 => host.clone().prop_map(Next::Arrive),
        4 => host.clone().prop_map(Next::Done),
        2 => controller.clone().prop_map(Next::Stop),
        1 => controller.prop_map(Next::Crash),
        1 => host.clone().prop_map(Next::Boot),
        1 => host.prop_map(Next::Break),
        3 => prop::sample::select(vec![1_u64, 30, 119, 120, 300]).prop_map(Next::Wait),
    ]
}

#[derive(Default)]
struct Machine {
    desk: Desk,
    boot: u32,
    uptime: u64,
    /// Whose order is being carried out.
    running: Option<LeaseId>,
    /// Orders under way to it: whose, and with which number.
    coming: Vec<(LeaseId, u64)>,
    /// Who was let in last, and whether anybody else's order was at work since.
    granted: Option<(LeaseId, bool)>,
}

impl Machine {
    fn ask(&mut self, request: &Request) -> LeaseAnswer {
        let boot = self.boot.to_string();
        let answer =
            grant(&mut self.desk, request, Now { boot: &boot, uptime: self.uptime, busy: self.running.is_some() });
        if let (LeaseAnswer::Granted(_), Request::Acquire { id, .. }) = (&answer, request) {
            assert_eq!(self.running, None, "{id:?} was let in while an order was carried out");
            self.granted = Some((id.clone(), false));
        }
        answer
    }

    /// By the rule of `admit` in `host/keep/lock.rs`: the lease and its number must be those of the order.
    fn arrive(&mut self) {
        if self.running.is_some() || self.coming.is_empty() {
            return;
        }
        let (id, fence) = self.coming.remove(0);
        let lease = self.desk.lease.as_ref();
        if !lease.is_some_and(|lease| lease.id == id && lease.fence == fence) {
            return;
        }
        let granted = self.granted.as_ref().expect("nobody writes without having been let in");
        assert_eq!(granted, &(id.clone(), false), "another wrote since it was let in, so what it read is not true");
        self.running = Some(id);
    }
}

#[derive(Default)]
struct Controller {
    generation: usize,
    stopped: bool,
    held: BTreeMap<usize, u64>,
    /// How many orders it sent.
    sent: usize,
    /// Whether it gives back what it has.
    giving_back: bool,
}

impl Controller {
    fn id(&self, number: usize) -> LeaseId {
        LeaseId(format!("{number}-{}", self.generation))
    }
}

#[derive(Default)]
struct World {
    hosts: [Machine; HOSTS],
    controllers: [Controller; CONTROLLERS],
    granted: usize,
    orders: usize,
}

impl World {
    fn happen(&mut self, next: &Next) {
        match *next {
            Next::Step(who) if !self.controllers[who].stopped => self.step(who),
            Next::Beat(who) if !self.controllers[who].stopped => {
                let id = self.controllers[who].id(who);
                for host in self.controllers[who].held.keys().copied().collect::<Vec<_>>() {
                    if let LeaseAnswer::Lost(_) = self.hosts[host].ask(&Request::Renew { id: id.clone() }) {
                        self.controllers[who].giving_back = true;
                    }
                }
            }
            // Also one that was told it lost its lease may have sent something just before.
            Next::Send(who, host) if !self.controllers[who].stopped && self.controllers[who].held.len() == HOSTS => {
                let controller = &self.controllers[who];
                self.hosts[host].coming.push((controller.id(who), controller.held[&host]));
            }
            Next::Arrive(host) => {
                let before = self.hosts[host].running.clone();
                self.hosts[host].arrive();
                self.orders += usize::from(before != self.hosts[host].running);
                self.is_whole();
            }
            Next::Done(host) => self.hosts[host].running = None,
            Next::Stop(who) => self.controllers[who].stopped ^= true,
            Next::Crash(who) => {
                let generation = self.controllers[who].generation + 1;
                self.controllers[who] = Controller { generation, ..Controller::default() };
            }
            Next::Boot(host) => {
                let machine = &mut self.hosts[host];
                (machine.boot, machine.uptime, machine.running) = (machine.boot + 1, 0, None);
                machine.coming.clear();
            }
            Next::Break(host) => {
                if let Some(id) = self.hosts[host].desk.lease.as_ref().map(|lease| lease.id.clone()) {
                    self.hosts[host].ask(&Request::Break { id });
                }
            }
            Next::Wait(seconds) => self.hosts.iter_mut().for_each(|host| host.uptime += seconds),
            _ => {}
        }
    }

    /// One message of a controller that takes all hosts, or gives all back.
    fn step(&mut self, who: usize) {
        let id = self.controllers[who].id(who);
        let controller = &mut self.controllers[who];
        if controller.giving_back {
            let Some((host, _)) = controller.held.pop_first() else {
                // Its next run has another name.
                let generation = controller.generation + 1;
                *controller = Controller { generation, ..Controller::default() };
                return;
            };
            self.hosts[host].ask(&Request::Release { id });
            return;
        }
        let Some(host) = (0..HOSTS).find(|host| !controller.held.contains_key(host)) else {
            let host = controller.sent % HOSTS;
            self.hosts[host].coming.push((id, controller.held[&host]));
            (controller.sent, controller.giving_back) = (controller.sent + 1, controller.sent + 1 == 2 * HOSTS);
            return;
        };
        let request = Request::Acquire { id, holder: holder("x"), seconds: LEASE, instead_of: None };
        match self.hosts[host].ask(&request) {
            LeaseAnswer::Granted(fence) => {
                self.granted += 1;
                self.controllers[who].held.insert(host, fence);
            }
            _ => self.controllers[who].giving_back = true,
        }
    }

    /// Nobody else's order began on a host since its holder was let in.
    fn is_whole(&mut self) {
        for machine in &mut self.hosts {
            if let (Some(running), Some((id, foreign))) = (&machine.running, &mut machine.granted) {
                *foreign |= running != id;
            }
        }
    }
}

#[test]
fn f22_in_any_history_one_at_a_time_writes_and_every_lock_ends_by_itself() {
    let (histories, granted, orders) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 5000,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let history = prop::collection::vec(next(), 50..300);
    let same = |history: Vec<Next>| {
        let mut world = World::default();
        for next in &history {
            world.happen(next);
        }
        histories.fetch_add(1, Ordering::Relaxed);
        granted.fetch_add(world.granted, Ordering::Relaxed);
        orders.fetch_add(world.orders, Ordering::Relaxed);
        // All are dead, and what they ordered is over.
        for machine in &mut world.hosts {
            machine.running = None;
            machine.uptime += u64::from(LEASE);
            let request =
                Request::Acquire { id: LeaseId("last".into()), holder: holder("last"), seconds: 1, instead_of: None };
            prop_assert!(matches!(machine.ask(&request), LeaseAnswer::Granted(_)), "a lock needs a person");
        }
        Ok(())
    };
    runner.run(&history, same).unwrap_or_else(|why| panic!("{why}"));
    let (histories, granted, orders) = (histories.into_inner(), granted.into_inner(), orders.into_inner());
    assert!(granted > histories && orders * 2 > histories, "nothing happened: {granted} leases, {orders} orders");
    println!("{histories} histories: {granted} leases, {orders} orders");
}

fn terms(name: &str, stop: &tokio::sync::watch::Receiver<bool>) -> Terms {
    Terms {
        id: LeaseId(name.to_owned()),
        holder: holder(name),
        seconds: LEASE,
        patience: Duration::ZERO,
        forks: 10,
        is_dead: |_| false,
        stop: stop.clone(),
    }
}

#[test]
fn f22_of_controllers_that_begin_together_at_most_one_gets_all_hosts() {
    const ROUNDS: usize = 300;
    let names = ["a", "b", "c", "d", "e"];
    let hosts: Vec<Endpoint> = names.map(|name| Endpoint::new(HostName::new(name).expect("a name"))).to_vec();
    let witnesses = witnesses(hosts.iter().map(|host| host.name.clone()));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().expect("a runtime");
    let (_stop, stop) = tokio::sync::watch::channel(false);
    let won = runtime.block_on(async {
        let mut won = 0;
        for round in 0..ROUNDS {
            let fleet = Arc::new(Fleet::default());
            for name in &names {
                fleet.add(name, Host::default());
            }
            let mut tasks = tokio::task::JoinSet::new();
            for who in 0..CONTROLLERS {
                let (fleet, hosts, witnesses) = (Arc::clone(&fleet), hosts.clone(), witnesses.clone());
                let terms = terms(&format!("{round}-{who}"), &stop);
                tasks.spawn(async move { acquire(&fleet, &hosts, &witnesses, &terms, &|_, _| {}).await });
            }
            let mut all = Vec::new();
            while let Some(taken) = tasks.join_next().await {
                match taken.expect("it ends") {
                    Ok(leases) => all.push(leases),
                    Err(refused) => assert!(matches!(refused, Refused::Taken { .. }), "{refused:?}"),
                }
            }
            // Those that began after it ended would be let in, but none has given anything back yet.
            assert!(all.len() <= 1, "{} have it", all.len());
            won += all.len();
            for leases in all {
                assert_eq!(leases.hosts().count(), hosts.len());
                leases.release().await;
            }
            for host in &hosts {
                assert_eq!(fleet.lease(host, &Request::Look).await, Ok(LeaseAnswer::Free), "a lock is left");
            }
        }
        won
    });
    assert!(won > ROUNDS / 2, "they keep each other out: {won} of {ROUNDS}");
    println!("{ROUNDS} rounds of {CONTROLLERS}: {won} times one had it");
}
