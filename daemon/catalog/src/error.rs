//! What can be wrong with bytes from outside, as values that a server can map to its own status codes.

use std::fmt::{self, Write as _};

use thiserror::Error;

/// Every failure of this crate. Each variant names the file or the value, the place in it and the way out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// The document is larger than this crate reads.
    #[error("{file}: {bytes} bytes, more than the {limit} that are read; move long texts to documentation")]
    TooLarge {
        /// Name the caller gave to the bytes.
        file: String,
        /// Size found, in bytes.
        bytes: usize,
        /// Largest size accepted, in bytes.
        limit: usize,
    },
    /// The bytes are not text.
    #[error("{file}:{line}: not valid UTF-8; save the file in UTF-8")]
    NotUtf8 {
        /// Name the caller gave to the bytes.
        file: String,
        /// Line of the first bad byte, from 1.
        line: usize,
    },
    /// The document cannot be read as YAML or JSON, or it repeats a key, nests too deeply or expands too far.
    #[error("{file}{}: {description}", place(*line, *column))]
    Syntax {
        /// Name the caller gave to the bytes.
        file: String,
        /// Line from 1, where known.
        line: Option<usize>,
        /// Column in characters from 1, where known.
        column: Option<usize>,
        /// What is wrong and the way out.
        description: String,
    },
    /// The document is well formed but is not a valid manifest. All violations are listed, in document order of the
    /// checks.
    #[error("{}", list(file, violations))]
    InvalidManifest {
        /// Name the caller gave to the bytes.
        file: String,
        /// At least one violation.
        violations: Vec<Violation>,
    },
    /// A single value is not of its form: a component name, a tag, a digest, a licence, an enumeration's token.
    #[error("`{value}` is not a valid {what}: {rule}")]
    InvalidValue {
        /// What the value should have been, such as `component name`.
        what: &'static str,
        /// The value, shortened to 80 characters.
        value: String,
        /// The form it must have.
        rule: String,
    },
    /// A filter expression cannot be read, or it is larger than the limits.
    #[error("filter, column {column}: {description}")]
    InvalidFilter {
        /// Column in characters from 1.
        column: usize,
        /// What is wrong and the way out.
        description: String,
    },
    /// A record of a labelled data set is not usable.
    #[error("{file}:{line}: {description}")]
    InvalidRecord {
        /// Name the caller gave to the bytes.
        file: String,
        /// Line from 1.
        line: usize,
        /// What is wrong and the way out.
        description: String,
    },
}

impl CatalogError {
    /// An [`CatalogError::InvalidValue`] with the value shortened for the message.
    pub(crate) fn value(what: &'static str, value: &str, rule: impl Into<String>) -> Self {
        Self::InvalidValue { what, value: shorten(value), rule: rule.into() }
    }
}

/// One thing that keeps a document from being a valid manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field from the document's root, such as `config_schema.properties.issuer` or `tags[2]`; empty for
    /// the document itself.
    pub field: String,
    /// Line from 1, where the document has lines.
    pub line: Option<usize>,
    /// Column in characters from 1, where the document has lines.
    pub column: Option<usize>,
    /// What is wrong, with the value and the way out.
    pub description: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.description)
        } else {
            write!(f, "{}: {}", self.field, self.description)
        }
    }
}

/// Cuts a value that is quoted in a message to 80 characters and takes its control characters out.
pub(crate) fn shorten(value: &str) -> String {
    cut(value, 80)
}

/// A text for a message: its first `most` characters, with a blank for each control character.
pub fn cut(value: &str, most: usize) -> String {
    let mut short: String = value.chars().take(most).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if value.chars().nth(most).is_some() {
        short.push('…');
    }
    short
}

fn place(line: Option<usize>, column: Option<usize>) -> String {
    match (line, column) {
        (Some(line), Some(column)) => format!(":{line}:{column}"),
        (Some(line), None) => format!(":{line}"),
        (None, _) => String::new(),
    }
}

fn list(file: &str, violations: &[Violation]) -> String {
    let mut text = String::new();
    for (i, violation) in violations.iter().enumerate() {
        let separator = if i == 0 { "" } else { "\n" };
        let place = place(violation.line, violation.column);
        // Writing to a String cannot fail.
        let _ = write!(text, "{separator}{file}{place}: {violation}");
    }
    text
}
