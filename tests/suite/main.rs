//! Everything that needs no host, in one binary.

mod convergence;
mod registry;
mod stories;
