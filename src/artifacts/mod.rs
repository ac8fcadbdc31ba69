//! What hosts fetch from elsewhere, and the lists that lock it.
//!
//! In: what a role wants, by name and version. Out: the list of everything that takes, each with its digest. Never: a host, or
//! a project's file written.

pub mod maven;
