//! Layered configuration: built-in < ops/xtask.toml < environment < flags.
//! Every value knows the layer it came from. What only the stand can tell
//! (services, ports, database) is not here but in facts.

pub mod allow;
pub mod envfile;
mod layers;
mod schema;

pub use layers::{Config, Overrides, load};
pub use schema::*;

/// Where the optional file lies below the checkout.
pub const FILE: &str = "ops/xtask.toml";

#[cfg(test)]
mod tests;
