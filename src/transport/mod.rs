//! The one room through which every effect on a host goes.
//!
//! In: probes and steps, as values. Out: readings and outcomes, as values. Never: a decision about what to do.

#![expect(clippy::disallowed_methods, reason = "the transport is one of the rooms that start programs")]

mod api;
mod back;
mod bootstrap;
mod connections;
mod dialogue;
mod error;
mod exchange;
mod feed;
mod host_key;
mod local;
mod programs;
mod quote;
mod round_trips;
mod shortage;
mod ssh;
mod way;
mod words;

pub use api::{Asked, Login, Order, Performed, StepEvent, Stream, Then, Transport};
pub use connections::Connections;
pub use error::{TransportError, setup_problems};
pub use local::Local;
pub use programs::Programs;
pub use ssh::{KnownHosts, Ssh, SshOptions};
