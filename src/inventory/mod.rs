//! (in work)
mod connection;
pub use connection::{Become, Endpoint, Method};
