//! Limits that fields of several requests have in common.

use crate::error::EngineError;

/// How many entries a page has. `asked`: 1 to `most`; 0: the default.
///
/// Errors: more than `most`.
pub fn page_size(asked: usize, default: usize, most: usize) -> Result<usize, EngineError> {
    match asked {
        0 => Ok(default),
        size if size <= most => Ok(size),
        size => Err(EngineError::field("page_size", format!("is {size}; ask for 1 to {most}"))),
    }
}

/// Refuses control characters but those that are `allowed`.
pub(crate) fn without_controls(field: &str, text: &str, allowed: &[char]) -> Result<(), EngineError> {
    match text.chars().find(|c| c.is_control() && !allowed.contains(c)) {
        Some(odd) => Err(EngineError::field(field, format!("holds the control character U+{:04X}", u32::from(odd)))),
        None => Ok(()),
    }
}
