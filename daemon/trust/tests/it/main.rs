//! Tests of the crate's outer edge: bytes in, values, judgements or messages out.

mod support;

mod assessing;
mod bundles;
mod envelopes;
mod keys;
mod properties;
mod revoking;
mod roots;
mod schemas;
mod statements;
