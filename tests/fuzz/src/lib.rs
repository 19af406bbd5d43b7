//! What fuzz targets share: what must hold of every refusal, values of JSON made from bytes, a catalogue to ask.
//!
//! A target lies in `fuzz_targets`, one file each; `run` builds and runs them all and prints what they did. How they are
//! meant to be used stands in docs/testing.md.

pub mod access;
#[cfg(feature = "daemon")]
pub mod daemon;
#[cfg(feature = "daemon")]
pub mod model;

mod catalogue;
mod json;
mod keys;
mod scratch;

use std::fmt::Display;

pub use catalogue::{Catalogue, starter};
pub use json::{configuration, edit, schema, value};
pub use keys::{component, key, now, root, version};
pub use scratch::scratch;

use fitment_catalog::Format;

/// The forms that a document may have. What ends with a line feed is YAML, and what ends with a brace JSON: documents are
/// seeds as they lie in files.
pub fn format(choice: u8) -> Format {
    match choice % 3 {
        1 => Format::Yaml,
        2 => Format::Json,
        _ => Format::Auto,
    }
}

/// A refusal says something, and how much it says is bounded by what was sent: it can neither be empty nor be used to have
/// a small input answered by a large message.
#[track_caller]
pub fn refused(error: &impl Display, input: usize) {
    let message = error.to_string();
    assert!(!message.trim().is_empty(), "a refusal without words");
    let most = 4096 + 128 * input;
    assert!(message.len() <= most, "a refusal of {} bytes for an input of {input}: {message:.200}", message.len());
}

/// The same of a list of refusals.
#[track_caller]
pub fn all_refused<E: Display>(errors: &[E], input: usize) {
    assert!(!errors.is_empty(), "refused for no reason");
    let list: Vec<String> = errors.iter().map(ToString::to_string).collect();
    refused(&list.join("\n"), input);
}

/// What an input is about, its last byte, and the rest; nothing of an empty input.
pub fn choice(bytes: &[u8]) -> Option<(u8, &[u8])> {
    bytes.split_last().map(|(choice, rest)| (*choice, rest))
}
