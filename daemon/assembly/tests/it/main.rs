//! Tests of the crate's outer edge: documents and facts in, findings out.

mod support;

mod documents;
mod economics;
mod impact;
mod invariants;
mod plans;
mod portal;
mod properties;
mod violations;
