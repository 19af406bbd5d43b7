//! What can be wrong with bytes from outside. What is wrong with an assembly that can be read is a finding instead.

use std::fmt::{self, Write as _};

use fitment_catalog::{CatalogError, Digest, cut};
use thiserror::Error;

use crate::finding::Finding;

/// Every failure of this crate. Each variant names the file, the place in it and the way out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AssemblyError {
    /// The document cannot be read as YAML or JSON, or is too large.
    #[error(transparent)]
    Document(#[from] CatalogError),
    /// The document is well formed but is not an assembly, or not a set of policies. All violations are listed.
    #[error("{}", list(file, violations))]
    Invalid {
        /// Name the caller gave to the bytes.
        file: String,
        /// At least one violation.
        violations: Vec<Violation>,
    },
    /// An assembly that does not pass, or whose raw code is not what it states, is not locked.
    #[error("not locked:\n{}", lines(findings))]
    NotLocked {
        /// At least one finding, all of them errors.
        findings: Vec<Finding>,
    },
    /// A lock would be larger than is read.
    #[error(
        "the lock would have {bytes} bytes, more than {limit}; certify large artifacts as one archive with artifact.digests instead of artifact.files"
    )]
    LockTooLarge {
        /// Size, in bytes.
        bytes: usize,
        /// Largest size, in bytes.
        limit: usize,
    },
    /// Cedar policies that cannot be read, or that the published Cedar schema refuses.
    #[error("{}", lines(faults))]
    Policies {
        /// At least one fault.
        faults: Vec<PolicyFault>,
    },
    /// A report was asked for with the check of another assembly.
    #[error("the check was of the assembly {checked}, and the report is of {given}; check this one")]
    OtherAssembly {
        /// Digest of the assembly that was checked.
        checked: Digest,
        /// Digest of the assembly that was given.
        given: Digest,
    },
}

/// One thing that keeps a document from being an assembly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// JSON pointer into the document (RFC 6901); empty for the whole.
    pub pointer: String,
    /// What is wrong and the way out.
    pub description: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pointer.is_empty() {
            f.write_str(&self.description)
        } else {
            write!(f, "{}: {}", self.pointer, self.description)
        }
    }
}

/// One thing that keeps a text from being a set of policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFault {
    /// Name the caller gave to the text.
    pub file: String,
    /// Line and column in characters, both from 1, where known.
    pub place: Option<(usize, usize)>,
    /// What is wrong and the way out.
    pub description: String,
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.description)
    }
}

/// Cuts a value that is quoted in a message to 80 characters and takes its control characters out.
pub(crate) fn shorten(value: &str) -> String {
    cut(value, 80)
}

/// A message of another library on one line, at most 240 characters.
pub(crate) fn one_line(message: &impl fmt::Display) -> String {
    cut(&message.to_string(), 240)
}

fn list(file: &str, violations: &[Violation]) -> String {
    let mut text = String::new();
    for (i, violation) in violations.iter().enumerate() {
        let separator = if i == 0 { "" } else { "\n" };
        // Writing to a String cannot fail.
        let _ = write!(text, "{separator}{file}: {violation}");
    }
    text
}

fn lines<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
