//! Everything that needs no host.

mod architecture;
mod cases;
mod docs;
mod report;
