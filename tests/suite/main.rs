//! Everything that needs no host, in one binary.

#![expect(clippy::disallowed_methods, reason = "tests start the programs they try things with")]
#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

mod ansible;
mod architecture;
mod arguments;
mod cases;
mod command_pages;
mod completion;
mod controllers;
mod convergence;
mod crash;
mod deadman;
mod docs;
mod edit;
mod faults;
mod faults_hostile;
mod faults_hosts;
mod faults_input;
mod format;
mod generator;
mod host;
mod host_files;
mod host_gate;
mod host_order;
mod host_read;
mod imports;
mod includes;
mod inventory;
mod language;
mod large;
mod lease;
mod ledger;
mod mistakes;
mod network;
mod network_slow;
mod operation;
mod order;
mod part;
mod projects;
#[path = "../proxy/mod.rs"]
mod proxy;
mod registry;
mod regression;
mod removal;
mod report;
mod resume;
mod role_pages;
mod rollout;
mod saved;
mod secrecy;
mod setup;
mod ssh;
mod ssh_connections;
mod ssh_login;
mod stories;
mod undo;
mod unpack;
mod vault;
mod waiting;
mod workspace;
