//! armilla: brings a data platform on your own machines to the state your files describe.
//!
//! The rooms, in the order in which data flows through them:
//!
//! | room | what it is for |
//! |---|---|
//! | [`name`] [`step`] [`secret`] [`diag`] | the words: names, what can be asked of and done to a host, secrets, mistakes |
//! | [`edit`] | a part of a file changed, and every other byte as it was |
//! | [`rollout`] | how the hosts of a service change: policy, budget, order, and which host is next |
//! | [`vault`] [`yaml`] [`template`] | encrypted texts; texts as trees that know where they were written; expressions |
//! | [`settings`] [`project`] [`site`] [`inventory`] [`vars`] [`role`] | what a user wrote |
//! | [`mod@format`] | how those files look |
//! | [`fact`] [`resource`] | what can be learned of a host, and what can be managed on one |
//! | [`ledger`] [`lease`] | what a host keeps for armilla: what is ours there, and who may change it now |
//! | [`graph`] [`catalog`] | order; everything that is desired, complete |
//! | [`plan`] | the difference, decided to the last step |
//! | [`transport`] [`observe`] [`apply`] | the only way to hosts; asking; doing exactly what the plan says |
//! | [`doctor`] | whether a host can be worked with |
//! | [`exec`] | one program on many hosts, outside of any plan |
//! | [`store`] [`history`] | files on this machine: a project's; the runs, written down while they happen |
//! | [`workspace`] | a project folder, opened: an environment, complete and checked |
//! | [`operation`] | an environment planned and changed: survey, lock, guard, apply, settle |
//! | [`crash`] | where a test build can be ended at once |
//! | [`report`] | sentences and pictures, from plans and events |
//! | [`sim`] [`lab`] | a fleet in memory; real hosts on this machine |
//! | [`cli`] | one file per command |
//!
//! Glossary. An *environment* is a folder of hosts. A *role* is what makes a machine part of a *service*; a service is a
//! role on a group of hosts. A *resource* is one thing on a host; its *kind* says how to ask for it and how to change it.
//! A *fact* is read from a host. The *catalog* is what is desired, *readings* are what is there, the *plan* is the
//! difference: *stages* of literal *steps*, each with what it waits for. A *gate* is a stage that waits until a service
//! is healthy; a *batch* is the hosts that change at a time; a *rollout* is the order of batches and gates.
//!
//! A *run* is one time that a plan was carried out. A *lease* is the right of one run to change a host; it ends by itself
//! when its owner is silent. Each lease has a *fence*, a number greater than all before it on that host: a host refuses
//! orders with an old one. The *ledger* of a host says what armilla made there; its *journal* says what was begun and done
//! since the ledger was written. The *generation* of a host counts the runs that changed it. *Drift* is what somebody
//! else changed since.

pub mod apply;
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
