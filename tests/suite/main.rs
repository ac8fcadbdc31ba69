//! Everything that needs no host, in one binary.

mod convergence;
mod generator;
mod registry;
mod regression;
mod stories;
