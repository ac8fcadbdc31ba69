//! Armilla.

pub mod cli;
pub mod lab;
