//! work in progress
pub mod diag;
pub mod fact;
pub mod inventory;
pub mod name;
pub mod resource;
pub mod secret;
pub mod step;
pub mod transport;
pub mod yaml;
