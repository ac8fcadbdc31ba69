//! Everything that needs no host, in one binary.

#![expect(clippy::disallowed_methods, reason = "tests start the programs they try things with")]

mod architecture;
mod cases;
mod completion;
mod convergence;
mod docs;
mod generator;
mod inventory;
mod order;
mod part;
mod registry;
mod regression;
mod report;
mod script;
mod ssh;
mod stories;
