//! Stories on real hosts: own address, own disk, real systemd, real sshd. Run by `tests/lab` and `tests/run`, as root on
//! Linux, beside a lab of the user's own: another folder, another network, the same base.
//!
//! Three at a time, each in a lab of its own: they wait more than they work. Hosts are shared by the stories of a lab, one
//! after another: each brings what it needs to the state it begins with, so that one alone runs too
//! (`tests/lab power`). A story that breaks a host makes it anew.

#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

mod artifacts;
mod attack;
mod attacker;
mod chaos;
mod controllers;
mod crash;
mod deadman;
mod edit;
mod failure;
mod faults;
mod foreign;
mod guard;
mod hosts;
mod house;
mod input;
mod inspect;
mod kinds;
mod lease;
mod ledger;
mod leftovers;
mod network;
mod password;
mod project;
mod projects;
#[path = "../proxy/mod.rs"]
mod proxy;
mod removal;
mod roles;
mod roles_cassandra;
mod roles_hdfs;
mod roles_jupyterhub;
mod roles_kafka;
mod roles_yarn;
mod rollout;
mod secrecy;
mod system;
mod undo;
mod vault;
mod verify;
mod watch;
mod zookeeper;
mod zookeeper_rolling;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use house::House;
use libtest_mimic::{Arguments, Failed, Trial};

type Story = (&'static str, fn(&House));

/// What `tests/lab` runs without a word: the life of the lab, a rollout under writes, health, removal, an interrupted run
/// that is resumed, the lock, every kind, and secrecy. They come first in a whole run, too.
const SMOKE: &[Story] = &[
    ("the lab makes real hosts and leaves nothing behind", hosts::a_whole_life),
    ("a change rolls through five members under writes", zookeeper_rolling::rolls_under_writes),
    ("an unhealthy service is never as described", verify::unhealthy_is_never_as_described),
    ("ledger: what left the roles is taken away, and what is not ours stays", ledger::removed_with_its_role),
    ("F5: after a panic in the middle a run is gone on with", crash::f05_panic),
    ("one controller at a time changes a host, and a stale one is refused", lease::fenced),
    ("every kind is made from nothing, and unmade", kinds::made_and_unmade),
    ("a secret arrives, and is seen nowhere else", secrecy::nowhere_else),
];

/// All others, in the order in which hosts are best used again.
const STORIES: &[Story] = &[
    ("facts of real hosts are true", hosts::facts),
    ("a script of System V is enabled and found as enabled", kinds::script_of_system_v),
    ("archives of every sort are unpacked, swapped and removed", artifacts::archives),
    ("files larger than plans and memory arrive whole", artifacts::large_files),
    ("F33: a hostile archive changes nothing on a host", artifacts::f33_hostile),
    ("F34: an attacker who owns the directory gets nothing of root's", attack::f34_attacker_owns_the_directory),
    ("packages come from a signed repository of one's own", artifacts::repository),
    ("packages that are purged leave a host as it was", removal::packages),
    ("what needs a package keeps it, and its data outlive it", removal::dependencies),
    ("who uses an account, a group or a unit keeps it", removal::accounts_and_units),
    ("a system user stays with its data and goes with them", removal::accounts_with_data),
    ("parts of files are changed, and the rest stays", edit::made_and_unmade),
    ("a part of what a package brings is changed in the run that brings it", edit::first_install),
    ("settings of the system itself hold, and go", system::settings),
    ("a language is made and spoken, and a module is named for the next boot", system::language),
    ("F10: a firewall holds, and never shuts out who set it", system::f10_firewall),
    ("F10: an sshd that shuts us out is put back by its host, and a good change stays", deadman::f10_sshd),
    ("F10: rules that drop every packet go by themselves", deadman::f10_packets),
    ("F10: a sudo that lets nobody in is put back", deadman::f10_sudo),
    ("F10: a host undoes a change whose controller has died", deadman::f10_nobody_left),
    ("F15: a host that boots undoes what nobody said was well", deadman::f15_undone_at_boot),
    ("scripts of a project are kinds like any other", foreign::scripts),
    ("a script that cannot look is refused", foreign::broken_scripts),
    ("a work tree of git follows its branch", foreign::work_tree),
    ("objects of a web API are made, mended and removed", foreign::web_api),
    ("a Python environment holds exactly its list", foreign::environment),
    ("F14: hostile names and contents arrive byte for byte", input::f14_hostile),
    ("a failed step stops what depends on it and nothing else", failure::stops_what_depends),
    ("F16: a full disk keeps the old file whole", failure::f16_full_disk),
    ("F2: Ctrl-C finishes what runs and begins nothing new", failure::f02_interrupted),
    ("a value of a vault file arrives, and is seen nowhere else", vault::nowhere_else),
    ("F11: a host that cannot be reached does not stop the others", network::f11_unreachable),
    ("F12: a changed or unknown host key is refused", network::f12_host_keys),
    ("exec passes on what hosts say, and says who failed and who is away", inspect::exec),
    ("what exec runs ends with it", inspect::exec_ends),
    ("doctor says what is missing where and what mends it", inspect::doctor),
    ("explain says where a value comes from and how a resource stands", inspect::explain),
    ("F21: sudo without a password just works", password::f21_none_needed),
    ("F59: root is root in a rehearsal", password::f59_root_is_root_in_a_rehearsal),
    ("F21: sudo with a password asks once and shows it to nobody", password::f21_asked_once),
    ("F15: power loss in the middle of an installation is recovered from", failure::f15_power_loss),
    ("F9: hosts behind bad cables are done, or given up by their own limit", faults::f09_bad_cables),
    ("F11: a host that drops every packet holds the others up by its limit only", faults::f11_the_rest_in_its_time),
    ("F15: a host that boots in the middle of a step is lost, waited for, and done", faults::f15_boot_in_the_middle),
    ("F16: disks that take nothing keep the old file", faults::f16_disks_that_take_nothing),
    ("F18: locks that others hold are waited for, and the holder is named", faults::f18_locks_of_others),
    ("F18: a user who is still there is waited for, and named", faults::f18_users_who_are_there),
    ("F20: a service that is killed is no success", faults::f20_killed_services),
    ("a systemd that hangs hides its units and nothing else", faults::systemd_that_hangs),
    ("F21: programs need not be allowed in temporary places", faults::f21_no_programs_in_temporary_places),
    ("F1: the program is killed at every point of a run, and run again", crash::f01_every_point_of_the_program),
    ("F1: a host's shell is killed at every point of an order", crash::f01_every_point_of_a_host),
    ("F1: the quickstart is killed on its way, and arrives", crash::f01_quickstart),
    ("F1: a change of the quickstart is killed, and arrives", crash::f01_change_of_the_quickstart),
    ("random faults at random moments leave nothing and lose nothing", chaos::random_faults),
    ("F3: a run that cannot be written down is not gone on with", crash::f03_no_room_to_write_down),
    ("F8: a run connects again and resumes a step that ended meanwhile", crash::f08_connects_again_and_goes_on),
    ("what killed orders left on a host goes with the next lock", leftovers::killed),
    ("what a power loss left on a host goes with the next lock", leftovers::without_power),
    ("F15: power comes back in the middle of a run", crash::f15_power_comes_back),
    ("verify says of every service on every host whether it is healthy", verify::every_service),
    (
        "a failed gate gives its cause, and what has failed for good is not waited for",
        verify::a_failed_gate_gives_its_cause,
    ),
    ("F27: health of services that die, waver, start slowly and hang", verify::f27_health_of_real_services),
    ("F48: two projects with an environment of the same name live side by side", projects::f48_side_by_side),
    ("F48: a ledger without a project is adopted once", projects::f48_adopted_once),
    ("ledger: a host that leaves a group is cleaned, a role with another name is not", ledger::left_its_group),
    ("ledger: an existing resource that is in sync can be imported", ledger::imported),
    ("ledger: a saved plan is refused where the host moved", ledger::moved_since_the_plan),
    ("ledger: drift is told from changes of the project, and a look writes nothing", ledger::drifted),
    ("ledger: an older revision is refused, and a dirty one is shown", ledger::revisions),
    ("ledger: pending restarts survive a killed controller", ledger::pending_restarts),
    ("ledger: of a run that was killed in its gate nothing stays", ledger::interrupted_and_gone),
    ("ledger: a destroyed environment is as it was before", ledger::destroyed),
    ("F22: of many starts by two controllers no two come between each other", controllers::f22_many_starts),
    ("what a change made of a host is put back, whatever dies in the middle", undo::put_back),
    ("what is not there any more is not gone back to, and half of it neither", undo::f28_nothing_to_go_back_to),
    ("F22: environments that share a host take turns there", controllers::f22_environments_that_share_a_host),
    ("F22: interrupted before it began, it leaves no lock", controllers::f22_interrupted_before_it_began),
    ("F22: a host that lost its role is locked like any other", controllers::f22_a_host_that_lost_its_role),
    ("F4: a controller that slept past its lease is refused", controllers::f04_asleep),
    ("F23: a controller that was killed leaves no lock that needs a person", controllers::f23_killed),
    ("F23: a lock that is broken stops its owner at the next step", controllers::f23_broken),
    ("F23: a majority of the hosts that keep the lock must answer", controllers::f23_witnesses),
    ("F24: a plan that was overtaken or done already is refused", controllers::f24_old_plans),
    ("F25: what a daemon works on is not applied to", controllers::f25_autoscaler),
    ("hosts follow a canary when a person says so, drained and let in again", rollout::canary),
    ("a service with a member down is not made worse", rollout::never_too_few),
    ("quickstart: from empty hosts to a healthy ensemble", zookeeper::quickstart),
    ("a configuration edited by hand is repaired with one restart", zookeeper::edited_configuration),
    ("everything else changed by hand is repaired without a restart", zookeeper::other_drift),
    ("a fourth member joins while a client goes on writing", zookeeper::fourth_member),
    ("three members become five and three again under writes", zookeeper_rolling::grows_and_shrinks),
    ("an ensemble with a member down is not changed", zookeeper_rolling::never_below_the_quorum),
    ("a port that cannot be bound stops at its first member", zookeeper_rolling::f28_bad_port_is_put_back),
    ("one server becomes three members", zookeeper_rolling::one_becomes_three),
    ("an older ensemble moves over to the list of members", zookeeper_rolling::moves_to_the_list),
    ("roles: Prometheus sees what is there, behind nginx, by names of dnsmasq", roles::monitoring),
    ("roles: Kafka loses no record while its members restart, die and lose their disks", roles_kafka::kafka),
    ("roles: a Cassandra ring keeps its rows while a member is away", roles_cassandra::cassandra),
    ("roles: HDFS keeps a file while a DataNode dies", roles_hdfs::hdfs),
    ("roles: YARN runs an application while its ResourceManager dies", roles_yarn::yarn),
    ("roles: JupyterHub computes, and its users outlive it", roles_jupyterhub::jupyterhub),
    ("roles: a Spark cluster computes, and a worker leaves and comes back", roles::spark),
];

#[expect(clippy::print_stdout, reason = "how long stories take is a result, too")]
fn main() -> ExitCode {
    // On a host of its own scenario, this program is somebody else.
    let given: Vec<String> = std::env::args().collect();
    match given.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "--attack", directory, secrets] => {
            attacker::attack(directory, secrets);
            return ExitCode::SUCCESS;
        }
        [_, "--guard", directory, secrets] => {
            guard::guard(directory, secrets);
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    // `--smoke` is ours, everything else is libtest's.
    let (smoke, others): (Vec<_>, Vec<_>) = std::env::args().partition(|argument| argument == "--smoke");
    let mut arguments = Arguments::from_iter(others);
    let others = if smoke.is_empty() { STORIES } else { &[] };
    let threads = arguments.test_threads.unwrap_or(3).clamp(1, 8);
    arguments.test_threads = Some(threads);
    let street = Arc::new(Street::default());
    let trials = SMOKE.iter().chain(others).map(|story| trial(story, &street)).collect();
    if arguments.list {
        return libtest_mimic::run(&arguments, trials).exit_code();
    }
    for number in 0..u8::try_from(threads).unwrap_or(1) {
        match House::open(number) {
            Ok(house) => street.leave(house),
            Err(why) => return complain(&why),
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    let took = std::mem::take(&mut *street.took.lock().unwrap_or_else(PoisonError::into_inner));
    println!("{}", slowest(took));
    match street.close() {
        Ok(()) => conclusion.exit_code(),
        Err(why) => complain(&format!("the lab could not be taken down: {why}")),
    }
}

fn trial((name, story): &'static Story, street: &Arc<Street>) -> Trial {
    let street = Arc::clone(street);
    Trial::test(*name, move || {
        let house = street.enter().ok_or_else(|| Failed::from("there is no lab"))?;
        let begun = Instant::now();
        // A house is left also by a story that failed.
        let told = catch_unwind(AssertUnwindSafe(|| story(&house)));
        street.leave(house);
        street.took.lock().unwrap_or_else(PoisonError::into_inner).push((begun.elapsed(), name));
        told.unwrap_or_else(|panic| resume_unwind(panic));
        Ok(())
    })
}

/// The labs in which no story is being told.
#[derive(Default)]
struct Street {
    empty: Mutex<Vec<House>>,
    took: Mutex<Vec<(Duration, &'static str)>>,
}

impl Street {
    /// The one that was left last: its hosts are up.
    fn enter(&self) -> Option<House> {
        self.empty.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn leave(&self, house: House) {
        self.empty.lock().unwrap_or_else(PoisonError::into_inner).push(house);
    }

    fn close(&self) -> Result<(), String> {
        let houses = std::mem::take(&mut *self.empty.lock().unwrap_or_else(PoisonError::into_inner));
        houses.iter().try_for_each(House::close)
    }
}

fn slowest(mut took: Vec<(Duration, &str)>) -> String {
    took.sort_by(|one, other| other.cmp(one));
    let lines = took.iter().take(15).map(|(took, name)| format!("{:>6.0} s  {name}\n", took.as_secs_f64()));
    format!("slowest:\n{}", lines.collect::<String>())
}

#[expect(clippy::print_stderr, reason = "there is no report to put it into")]
fn complain(why: &str) -> ExitCode {
    eprintln!("error: {why}");
    ExitCode::FAILURE
}
