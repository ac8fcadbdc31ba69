//! Everything that needs no host.

mod architecture;
mod cases;
mod inventory;
mod report;
