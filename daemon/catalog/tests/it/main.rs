//! Tests of the crate's outer edge: bytes in, values or messages out.

mod gbnf;
mod support;

mod binding;
mod compatibility;
mod configuration;
mod context_packs;
mod datasets;
mod filters;
mod grammars;
mod hostile;
mod lifecycles;
mod manifests;
mod properties;
mod sample;
mod searchable;
mod secrets;
mod structured_outputs;
