//! What can be wrong with certificates, keys and trust roots.

use fitment_catalog::{CatalogError, Digest};
use thiserror::Error;

/// Every failure of this crate. Each variant names the value and the way out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TrustError {
    /// More bytes than are read.
    #[error("{what}: {bytes} bytes, more than the {limit} that are read; {way_out}")]
    TooLarge {
        /// Which document.
        what: &'static str,
        /// Size found, in bytes.
        bytes: usize,
        /// Largest size read, in bytes.
        limit: usize,
        /// What to do about it.
        way_out: &'static str,
    },
    /// Not JSON, or JSON that two readers could read differently: repeated keys, bytes after the end, deep nesting.
    #[error("{what}: {description}")]
    Json {
        /// Which document.
        what: &'static str,
        /// What is wrong and where.
        description: String,
    },
    /// A value in a well-formed document breaks a rule.
    #[error("{what}: {}{description}", path_prefix(path))]
    Invalid {
        /// Which document.
        what: &'static str,
        /// Path of the value from the document's root, such as `predicate.valid_until`; empty for the document itself.
        path: String,
        /// What is wrong, with the value and the way out.
        description: String,
    },
    /// The envelope signs something else than an in-toto statement.
    #[error("payload type `{found}` is not read; sign an in-toto statement as `{}`", crate::PAYLOAD_TYPE)]
    PayloadType {
        /// The envelope's payload type, shortened.
        found: String,
    },
    /// None of the signatures was made over these bytes by a key of the trust root.
    #[error(
        "certificate {certificate}: none of its {signatures} signatures is by a key of the trust root over these \
         bytes; ask the signer for the unaltered file, or add the key to the trust root"
    )]
    UnknownSigner {
        /// The certificate: sha256 of its payload.
        certificate: Digest,
        /// Different signatures in the envelope.
        signatures: usize,
    },
    /// A revocation by somebody who may not revoke, or something that is no revocation.
    #[error("revocation {certificate} is not accepted: {description}")]
    NotAdmitted {
        /// The revocation: sha256 of its payload.
        certificate: Digest,
        /// Why, and the way out.
        description: String,
    },
    /// A bundle that nobody signed who may.
    #[error("the bundle is not accepted: {description}")]
    BundleNotAdmitted {
        /// Why, and the way out.
        description: String,
    },
    /// A key that is not Ed25519, is damaged, or is of no use for signatures.
    #[error("{0}")]
    Key(String),
    /// The document of a trust root cannot be read.
    #[error(transparent)]
    Document(#[from] CatalogError),
    /// A trust root that would take the place of a newer one, or of another one of the same version.
    #[error("trust root version {offered} does not follow the installed version {installed}; {description}")]
    Rollback {
        /// Version in force.
        installed: u64,
        /// Version that was offered.
        offered: u64,
        /// The way out.
        description: &'static str,
    },
}

/// What sort of failure it is, for exit and status codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustErrorKind {
    /// The input breaks a documented rule.
    InvalidInput,
    /// The input is well formed and the trust root forbids it.
    Precondition,
}

impl TrustError {
    /// What sort of failure it is.
    pub fn kind(&self) -> TrustErrorKind {
        match self {
            Self::TooLarge { .. }
            | Self::Json { .. }
            | Self::Invalid { .. }
            | Self::PayloadType { .. }
            | Self::Key(_)
            | Self::Document(_) => TrustErrorKind::InvalidInput,
            Self::UnknownSigner { .. }
            | Self::NotAdmitted { .. }
            | Self::BundleNotAdmitted { .. }
            | Self::Rollback { .. } => TrustErrorKind::Precondition,
        }
    }
}

fn path_prefix(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("{path}: ") }
}

/// Cuts a value that is quoted in a message to 80 characters and takes its control characters out.
pub(crate) fn shorten(value: &str) -> String {
    fitment_catalog::cut(value, 80)
}
