//! Tests of the crate's outer edge: documents and facts in, findings out.

mod support;

mod documents;
mod economics;
mod impact;
mod invariants;
mod locks;
mod plans;
mod portal;
mod properties;
mod reports;
mod sarif;
mod upgrades;
mod verifying;
mod violations;
