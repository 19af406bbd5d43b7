//! The crate at its edge: known models, imports of every kind, bad bytes, parity with the original.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall fail where it stands")]

mod cache;
mod damage;
mod folder;
mod hub;
mod import;
mod parity;
mod precision;
mod support;
