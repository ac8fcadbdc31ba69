//! work in progress
pub mod apply;
pub mod catalog;
pub mod diag;
pub mod graph;
pub mod inventory;
pub mod name;
pub mod observe;
pub mod plan;
pub mod resource;
pub mod role;
pub mod secret;
pub mod step;
pub mod template;
pub mod transport;
pub mod yaml;
