//! The lock: what an assembly was when it passed, by digest, so that a tree can be held against it without a catalogue.

mod maker;
mod reader;
mod writer;

use std::collections::{BTreeMap, BTreeSet};

use fitment_catalog::{ComponentName, Digest, Format, License, RelativePath, read_document_up_to};
use jiff::Timestamp;
use semver::Version;
use serde_json::Value;

use crate::document::{Connection, Exposure};
use crate::error::AssemblyError;
use crate::globs::PathGlobs;

pub use maker::{Locking, lock};

/// The published JSON Schema (2020-12) of a lock.
pub const LOCK_SCHEMA: &str = include_str!("../schema/lock.schema.json");

/// Largest lock that is read or made, in bytes: some 10,000 certified files.
pub const MAX_LOCK_BYTES: usize = 1024 * 1024;

/// What an assembly was when it was locked. Made by [`lock()`], or read.
#[derive(Debug, Clone, PartialEq)]
pub struct Lock {
    name: ComponentName,
    assembly: Digest,
    locked_at: Timestamp,
    revision: u64,
    policies: Digest,
    invariants: Digest,
    unmanaged: PathGlobs,
    parts: Vec<LockedPart>,
    connections: Vec<Connection>,
    exposures: Vec<Exposure>,
}

/// One part.
#[derive(Debug, Clone, PartialEq)]
pub struct LockedPart {
    /// Its id.
    pub id: String,
    /// What it was.
    pub source: LockedSource,
}

impl LockedPart {
    /// Where in the tree it lies: a file or a folder; `None` where it lies in none.
    pub fn path(&self) -> Option<&RelativePath> {
        match &self.source {
            LockedSource::Component(component) => component.path.as_ref(),
            LockedSource::Raw(raw) => Some(&raw.path),
            LockedSource::External(_) => None,
        }
    }
}

/// What a part was.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a lock has at most 256, most of them of the large sort")]
pub enum LockedSource {
    /// A version of a component.
    Component(LockedComponent),
    /// Raw code.
    Raw(LockedRaw),
    /// A system outside the assembly.
    External(LockedExternal),
}

/// A version of a component, certified when it was locked.
#[derive(Debug, Clone, PartialEq)]
pub struct LockedComponent {
    /// The component.
    pub name: ComponentName,
    /// Its version.
    pub version: Version,
    /// Digest of the version's manifest.
    pub manifest: Digest,
    /// Where its bytes are, as its manifest says.
    pub artifact: Option<LockedArtifact>,
    /// Where they lie in the tree, if they do.
    pub path: Option<RelativePath>,
    /// First instant at which it is no longer certified; `None` when that has no end.
    pub certified_until: Option<Timestamp>,
    /// Digests of the certificates that counted.
    pub certificates: BTreeSet<Digest>,
    /// The configuration as bound, defaults filled in: an object.
    pub configuration: Value,
}

/// Where a version's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedArtifact {
    /// Package URL.
    pub purl: String,
    /// `sha384` and `sha512` to hexadecimal digits.
    pub other_digests: BTreeMap<String, String>,
    /// sha256 of the artifact as one file.
    pub sha256: Option<Digest>,
    /// The files that were certified; empty when the manifest lists none.
    pub files: BTreeMap<RelativePath, Digest>,
}

/// Raw code.
#[derive(Debug, Clone, PartialEq)]
pub struct LockedRaw {
    /// File or folder.
    pub path: RelativePath,
    /// Digest of its content; see [`crate::Tree::measure`].
    pub digest: Digest,
    /// Lines that a person answers for.
    pub lines: u32,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Who read it.
    pub reviewer: Option<String>,
    /// Its licence.
    pub license: Option<License>,
}

/// A system outside the assembly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedExternal {
    /// Who runs it.
    pub owner: String,
    /// Digest of the document that proves what it claims.
    pub evidence: Option<Digest>,
    /// First instant at which the proof no longer counts.
    pub valid_until: Option<Timestamp>,
}

impl Lock {
    /// Reads a lock. `file` names the bytes in messages and, with [`Format::Auto`], its ending decides the format.
    ///
    /// # Errors
    /// [`AssemblyError::Document`] when there is no document, [`AssemblyError::Invalid`] with every violation.
    pub fn parse(file: &str, bytes: &[u8], format: Format) -> Result<Self, AssemblyError> {
        reader::lock(file, &read_document_up_to(file, bytes, format, MAX_LOCK_BYTES)?)
    }

    /// The lock as YAML for people and for version control: fields in the order of the manual, parts by id, connections
    /// and exposures by their ports, mappings by their keys. The same lock gives the same bytes.
    pub fn to_yaml(&self) -> String {
        serde_saphyr::to_string(&self.to_value())
            .expect("a JSON value with text keys and finite numbers can be written as YAML")
    }

    /// The lock as a JSON value, in the order of [`Lock::to_yaml`].
    pub fn to_value(&self) -> Value {
        writer::value(self)
    }

    /// sha256 of the canonical JSON (RFC 8785) of [`Lock::to_value`].
    pub fn digest(&self) -> Digest {
        crate::document::canonical_digest(&self.to_value())
    }

    /// The assembly's name.
    pub fn name(&self) -> &ComponentName {
        &self.name
    }

    /// The assembly's digest.
    pub fn assembly(&self) -> Digest {
        self.assembly
    }

    /// When it was locked.
    pub fn locked_at(&self) -> Timestamp {
        self.locked_at
    }

    /// The catalogue's revision that it was judged at.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Digest of the organisation's policies.
    pub fn policies(&self) -> Digest {
        self.policies
    }

    /// Digest of the Cedar policies.
    pub fn invariants(&self) -> Digest {
        self.invariants
    }

    /// Paths that are no code.
    pub fn unmanaged(&self) -> &PathGlobs {
        &self.unmanaged
    }

    /// Its parts by id, ids and paths unique.
    pub fn parts(&self) -> &[LockedPart] {
        &self.parts
    }

    /// Its connections by their ports.
    pub fn connections(&self) -> &[Connection] {
        &self.connections
    }

    /// Its exposed ports, in order.
    pub fn exposures(&self) -> &[Exposure] {
        &self.exposures
    }

    /// Puts lists into the order of the file.
    fn sorted(mut self) -> Self {
        self.parts.sort_by(|a, b| a.id.cmp(&b.id));
        self.connections.sort_by(|a, b| (&a.from, &a.to).cmp(&(&b.from, &b.to)));
        self.exposures.sort_by(|a, b| a.port.cmp(&b.port));
        self
    }
}
