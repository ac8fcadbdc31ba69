//! Everything that needs no host.

mod architecture;
mod cases;
mod convergence;
mod generator;
mod order;
mod registry;
mod regression;
mod report;
mod stories;
