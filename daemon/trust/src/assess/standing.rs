//! The outcome of an assessment, for machines and for people.

use std::fmt;

use fitment_catalog::Digest;
use jiff::Timestamp;
use serde::Serialize;

/// Whether a version is certified, until when, by what, and what is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Whether it is certified at the instant of the assessment.
    pub certified: bool,
    /// The next instant at which `certified` changes if nothing is written; `None`: never.
    pub changes_at: Option<Timestamp>,
    /// What the policies ask for, in their order; empty when no policy is about the component.
    pub requirements: Vec<Coverage>,
    /// What users must see to, as the certificates that count say; ordered.
    pub conditions: Vec<String>,
    /// Revocations of the version itself. With one it is not certified, and never again.
    pub revoked_by: Vec<Digest>,
    /// Why certificates or single signatures do not count; ordered by certificate.
    pub findings: Vec<Finding>,
    /// Version of the trust root that was applied.
    pub root_version: u64,
    /// Digest of the trust root that was applied.
    pub root_digest: Digest,
}

impl Standing {
    /// For a certified version, the first instant at which it no longer is.
    pub fn certified_until(&self) -> Option<Timestamp> {
        if self.certified { self.changes_at } else { None }
    }
}

/// One requirement of one policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// The policy's id.
    pub policy: String,
    /// `standard/requirement`, a standard, or a property.
    pub requirement: String,
    /// How many different keys must stand behind it.
    pub threshold: usize,
    /// Whether as many do.
    pub covered: bool,
    /// For a covered one, the first instant at which it no longer is.
    pub until: Option<Timestamp>,
    /// Who stands behind it now. Entries may share a key; it counts once.
    pub support: Vec<Support>,
}

/// A key that stands behind a requirement by a certificate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Support {
    /// The certificate's digest.
    pub certificate: Digest,
    /// The key's id in the trust root.
    pub key: String,
    /// First instant at which it no longer counts.
    pub until: Timestamp,
}

/// Something about a certificate or a revocation that keeps it from counting, whole or in part.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// Digest of the certificate or revocation.
    pub certificate: Digest,
    /// What it is.
    #[serde(flatten)]
    pub reason: Reason,
}

/// Why something does not count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// The version is not among its subjects.
    OtherVersion,
    /// Its predicate type certifies nothing.
    UncountedType {
        /// The predicate's type.
        type_uri: String,
    },
    /// A revocation names it.
    Revoked {
        /// The revocation's digest.
        by: Digest,
    },
    /// A signer's key is no longer in the trust root.
    KeyNotInRoot {
        /// The key: sha256 of its SPKI.
        key: String,
    },
    /// It was issued outside a signer's window.
    KeyOutsideWindow {
        /// The key's id in the trust root.
        key: String,
        /// When it says it was issued.
        issued: Timestamp,
    },
    /// No role lets a signer certify this for the component.
    OutsideRole {
        /// The key's id in the trust root.
        key: String,
        /// What it is not to certify.
        requirement: String,
    },
    /// It counts later.
    NotYetValid {
        /// From when on.
        from: Timestamp,
    },
    /// It counted earlier.
    Expired {
        /// Since when it does not.
        at: Timestamp,
    },
    /// A policy wants something more recent.
    TooOld {
        /// Since when it is too old.
        at: Timestamp,
        /// The policy.
        policy: String,
    },
    /// No policy for the component asks for what it covers.
    NotAskedFor,
    /// The revocation names this version or its certificate, and its signer may not revoke for the component.
    RevokerOutsideRole {
        /// Ids of its signers' keys.
        key: String,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherVersion => f.write_str("is about other versions; certify this version's digest"),
            Self::UncountedType { type_uri } => {
                write!(f, "has the predicate type `{type_uri}`, which certifies nothing")
            }
            Self::Revoked { by } => write!(f, "is revoked by {by}; issue a new certificate"),
            Self::KeyNotInRoot { key } => {
                write!(f, "was signed with key {key}, which is not in the trust root; have it signed with another key")
            }
            Self::KeyOutsideWindow { key, issued } => {
                write!(f, "was issued at {issued}, outside the window of key `{key}`; issue it anew with a current key")
            }
            Self::OutsideRole { key, requirement } => {
                write!(
                    f,
                    "no role lets key `{key}` certify {requirement} for this component; change a role or the signer"
                )
            }
            Self::NotYetValid { from } => write!(f, "counts from {from} on"),
            Self::Expired { at } => write!(f, "expired at {at}; issue a new one"),
            Self::TooOld { at, policy } => {
                write!(f, "is too old for policy `{policy}` since {at}; examine the version anew")
            }
            Self::NotAskedFor => f.write_str("covers nothing that a policy asks of this component"),
            Self::RevokerOutsideRole { key } => {
                write!(f, "no role let its signer ({key}) revoke for this component; it has no effect here")
            }
        }
    }
}
