//! armilla: brings a data platform on your own machines to the state your files describe.
//!
//! The rooms, in the order in which data flows through them:
//!
//! | room | purpose |
//! |---|---|
//! | [`name`] [`step`] [`secret`] [`diag`] | the words: names, probes and steps of a host, secrets, errors |
//! | [`edit`] | changes a part of a file and keeps every other byte |
//! | [`rollout`] | how the hosts of a service change: policy, budget, order, and which host is next |
//! | [`vault`] [`yaml`] [`template`] | encrypted texts; YAML with the place of every value; expressions |
//! | [`settings`] [`project`] [`site`] [`inventory`] [`vars`] [`role`] | the files that a user writes |
//! | [`mod@format`] | formats these files |
//! | [`fact`] [`resource`] | what can be read from a host, and what can be managed on one |
//! | [`ledger`] [`lease`] | what armilla owns on a host, and the lock of a host |
//! | [`graph`] [`catalog`] | order; the complete desired state |
//! | [`plan`] | the difference, decided to the last step |
//! | [`host`] | what works on a host: reads it, carries out steps, keeps its lock and ledger |
//! | [`transport`] [`observe`] [`apply`] | the only way to hosts; reads them; carries out exactly the plan |
//! | [`doctor`] | checks the requirements of hosts |
//! | [`exec`] | runs one program on many hosts, outside of any plan |
//! | [`store`] [`history`] | files on this machine: the project, and the journals of runs |
//! | [`workspace`] | opens a project folder: an environment, complete and checked |
//! | [`operation`] | plans and changes an environment: survey, lock, guard, apply, settle |
//! | [`crash`] | crash points for tests |
//! | [`report`] | sentences and pictures, from plans and events |
//! | [`sim`] [`lab`] | a fleet in memory; real hosts on this machine |
//! | [`cli`] | one file per command |
//!
//! # Glossary
//!
//! `docs/glossary.md` has the terms of users, `tests/suite/language.rs` the words that must not be used instead of them.
//! One line per term:
//!
//! - *environment*: a folder of hosts, values, keys and settings.
//! - *role*: what makes a host part of a service; *service*: a role on a group of hosts; *member*: a host of a service.
//! - *resource*: one thing on a host; *kind*: its type, which knows how to read it and how to change it.
//! - *fact*: a value that is read from a host.
//! - *catalog*: the desired state; *readings*: the current state; *plan*: the difference, in stages of literal steps.
//! - *stage*: steps that run together on a host, with what they wait for; *gate*: a stage that waits until a service is
//!   healthy.
//! - *rollout*: the order of batches and gates; *batch*: the hosts that change at the same time.
//! - *run*: one execution of a plan; *interrupted run*: one that ended before it was complete; *resume* continues it.
//! - *lease*: the lock of one run on a host, which expires unless its holder renews it; *fence*: its fencing token, greater
//!   than all before it on that host. A host refuses steps with an older one.
//! - *ledger*: what armilla owns on a host; *journal*: the steps started and completed since the ledger was written;
//!   *generation*: the number of runs that changed the host.
//! - *drift*: a change on a host that armilla did not make.
//! - *removed resource*: one that armilla owns and that is no longer in any role.
//! - *rollback timer*: rolls back a risky change unless a new login confirms it: arm, confirm, fire.
//! - *pending restart*: one that an interrupted run did not get to.
//! - *healthy*, *unhealthy*, *unknown*: the result of a health check; *unreachable*: a host that does not answer.

pub mod apply;
pub mod artifacts;
pub mod catalog;
pub mod cli;
pub mod crash;
pub mod diag;
pub mod doctor;
pub mod edit;
pub mod exec;
pub mod fact;
pub mod format;
pub mod graph;
pub mod history;
pub mod host;
pub mod inventory;
pub mod lab;
pub mod lease;
pub mod ledger;
pub mod name;
pub mod observe;
pub mod operation;
pub mod plan;
pub mod project;
pub mod report;
pub mod resource;
pub mod role;
pub mod rollout;
pub mod secret;
pub mod settings;
pub mod sim;
pub mod site;
pub mod step;
pub mod store;
pub mod template;
pub mod transport;
pub mod vars;
pub mod vault;
pub mod workspace;
pub mod yaml;
