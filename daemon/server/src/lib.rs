//! The serving part of Fitment: gRPC services, transport, configuration, telemetry.
//!
//! Everything that `fitment serve` runs is in this crate and below it, and no HTTP client is: what fetches models and what
//! calls a daemon belongs to the command line (`daemon/cli`). A test of the dependency graph holds it to that.

pub mod caller;
pub mod config;
pub mod daemon;
mod ending;
mod files;
mod gate;
pub mod limits;
mod metrics;
pub mod reread;
mod rpc;
#[cfg(test)]
mod sequences;
pub mod telemetry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod traces;
pub mod transport;

pub use rpc::{Tenants, bundle_result, put_comparison};

/// A fault in what was asked, said whole.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);
