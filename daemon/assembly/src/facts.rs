//! What is known about parts from outside the document: the catalogue's word, and the time.

use std::collections::BTreeSet;
use std::sync::Arc;

use fitment_catalog::{Digest, Lifecycle, Manifest};
use jiff::Timestamp;

use crate::claim::Claims;
use crate::document::Reference;

/// Where [`crate::check()`] learns what it cannot read in the document. One instance is one view: it answers the same to
/// the same question.
pub trait Facts {
    /// The instant at which the assembly is judged.
    fn now(&self) -> Timestamp;

    /// What the catalogue knows of a version; `None` when there is none that the caller may use.
    fn version(&self, reference: &Reference) -> Option<VersionFacts>;
}

/// What a catalogue knows of one version.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionFacts {
    /// Its manifest.
    pub manifest: Arc<Manifest>,
    /// The manifest's digest.
    pub digest: Digest,
    /// Where it stands in its life now, which may be later than what its manifest says.
    pub lifecycle: Lifecycle,
    /// Whether it is certified at [`Facts::now`].
    pub certification: Certification,
    /// Digests of the certificates that count for it; empty where there is no trust root.
    pub certificates: BTreeSet<Digest>,
    /// The standards that count for it: what its certificates cover where there is a trust root, otherwise what its
    /// manifest claims ([`Claims::of_manifest`]).
    pub claims: Claims,
}

/// Whether a version is certified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certification {
    /// It is, until an instant or without end.
    Certified {
        /// First instant at which it no longer is.
        until: Option<Timestamp>,
    },
    /// It is not.
    NotCertified {
        /// Why, for people.
        reason: String,
    },
    /// Nobody knows.
    Unknown {
        /// Why, for people.
        reason: String,
    },
}
