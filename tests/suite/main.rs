//! Everything that needs no host, in one binary.

mod convergence;
mod generator;
mod order;
mod registry;
mod regression;
mod stories;
