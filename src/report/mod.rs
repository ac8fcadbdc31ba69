//! Plans, events and ends of runs as texts, JSON, graphs and pictures: the only place that makes sentences.
//!
//! In: a plan, what happened while it was done, and how its services hang together. Out: something to read.
//! Never: a clock, a file or a decision; only [`human::Progress`] and [`json::write`] write, and only to what they were given.

pub mod chosen;
pub mod diagram;
pub mod graph;
pub mod human;
pub mod inventory;
pub mod json;
pub mod page;
pub mod reference;
pub mod status;
pub mod svg;
pub mod verify;
