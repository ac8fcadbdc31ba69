//! Everything that needs no host, in one binary.

mod architecture;
mod cases;
mod convergence;
mod generator;
mod inventory;
mod order;
mod registry;
mod regression;
mod report;
mod script;
mod ssh;
mod stories;
