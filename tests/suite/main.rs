//! Everything that needs no host.

mod report;
