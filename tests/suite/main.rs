//! Everything that needs no host.

mod cases;
