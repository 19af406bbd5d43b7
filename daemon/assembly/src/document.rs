//! The assembly document: parts, connections, exposures, declared standards and policies.

mod reader;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use fitment_catalog::{ComponentName, DataClass, Digest, Format, Port, RelativePath, read_document};
use jiff::Timestamp;
use semver::Version;
use serde_json::Value;

use crate::claim::Claims;
use crate::error::{AssemblyError, shorten};
use crate::globs::PathGlobs;
use crate::policies::{Policies, VersionRange};

pub(crate) use writer::{insert, insert_connections, insert_globs};

/// The published JSON Schema (2020-12) of an assembly.
pub const ASSEMBLY_SCHEMA: &str = include_str!("../schema/assembly.schema.json");

/// Most parts of an assembly.
pub const MAX_PARTS: usize = 256;
/// Most connections of an assembly.
pub const MAX_CONNECTIONS: usize = 1_024;
/// Most exposed ports of an assembly.
pub const MAX_EXPOSURES: usize = 256;

/// An assembly that has the right form. Whether it holds is [`crate::check()`]'s to say: its parts may be unknown, its
/// connections may lead nowhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Assembly {
    name: ComponentName,
    title: Option<String>,
    owner: Option<String>,
    parts: Vec<Part>,
    connections: Vec<Connection>,
    exposures: Vec<Exposure>,
    unmanaged: PathGlobs,
    standards: BTreeMap<String, BTreeSet<String>>,
    policies: Policies,
}

/// One part.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Unique in the assembly: 1 to 63 characters of `a-z`, `0-9` and `-`.
    pub id: String,
    /// What it is.
    pub source: Source,
}

/// What a part is.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A version of a catalogue's component.
    Component(ComponentPart),
    /// Code that no component stands for.
    Raw(RawPart),
    /// A system outside the assembly.
    External(ExternalPart),
}

impl Source {
    /// The word for the sort of part: `component`, `raw` or `external`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Component(_) => "component",
            Self::Raw(_) => "raw",
            Self::External(_) => "external",
        }
    }
}

/// A version of a component, and how it is configured.
#[derive(Debug, Clone, PartialEq)]
pub struct ComponentPart {
    /// Which version.
    pub reference: Reference,
    /// The range that the version lies in, also when a newer one is proposed.
    pub range: Option<VersionRange>,
    /// Where its artifact lies, relative to the application's root: the file itself, or the folder that it was unpacked
    /// into. No other part lies there or below.
    pub path: Option<RelativePath>,
    /// What is bound: an object, empty when the document binds nothing.
    pub configuration: Value,
}

/// Names one version of a component.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// By name and version, and by digest when the document states both.
    Named {
        /// The component.
        name: ComponentName,
        /// Its version.
        version: Version,
        /// The digest that the version must have.
        digest: Option<Digest>,
    },
    /// By digest alone.
    Digest(Digest),
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named { name, version, .. } => write!(f, "{name}@{version}"),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// Code that no component stands for: nobody has certified it for anything.
#[derive(Debug, Clone, PartialEq)]
pub struct RawPart {
    /// File or folder, relative to the application's root. No other part lies there or below.
    pub path: RelativePath,
    /// Digest of its content, where the document states it; see [`crate::Tree::measure`].
    pub digest: Option<Digest>,
    /// Lines that a person must answer for, 0 to 10,000,000, where the document states them.
    pub lines: Option<u32>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Who read it.
    pub reviewer: Option<String>,
    /// Its licence.
    pub license: Option<fitment_catalog::License>,
    /// Its ports.
    pub ports: Ports,
}

/// A system outside the assembly.
#[derive(Debug, Clone, PartialEq)]
pub struct ExternalPart {
    /// Who runs it.
    pub owner: String,
    /// What the evidence speaks of.
    pub compliance: Claims,
    /// Digest of the document that proves it.
    pub evidence: Option<Digest>,
    /// First instant at which the proof no longer counts.
    pub valid_until: Option<Timestamp>,
    /// Grouping words.
    pub tags: BTreeSet<String>,
    /// Its ports.
    pub ports: Ports,
}

impl ExternalPart {
    /// Whether what it claims is proven at an instant: its evidence is named and still counts.
    pub fn is_proven(&self, at: Timestamp) -> bool {
        self.evidence.is_some() && self.valid_until.is_some_and(|until| at < until)
    }
}

/// The ports of a part that no manifest describes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ports {
    /// Offered, names unique.
    pub provides: Vec<Port>,
    /// Needed, names unique.
    pub requires: Vec<Port>,
    /// Both lists as JSON, absent when empty.
    written: BTreeMap<&'static str, Value>,
}

/// A port of a part, written `part.port`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortAddress {
    /// The part's id.
    pub part: String,
    /// The port's name.
    pub port: String,
}

impl fmt::Display for PortAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.part, self.port)
    }
}

impl FromStr for PortAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('.') {
            Some((part, port)) if !part.is_empty() && !port.is_empty() && !port.contains('.') => {
                Ok(Self { part: part.to_owned(), port: port.to_owned() })
            }
            _ => Err(format!("`{}` is no port of a part; write part.port", shorten(text))),
        }
    }
}

/// From a port that a part requires to a port that a part provides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The required port: the side that connects.
    pub from: PortAddress,
    /// The offered port: the side that answers.
    pub to: PortAddress,
    /// Classes of the data that pass, at least one.
    pub data_classes: BTreeSet<DataClass>,
    /// The range that the answering component's version lies in.
    pub version: Option<VersionRange>,
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.from, self.to)
    }
}

/// An offered port that somebody outside the assembly reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposure {
    /// The port.
    pub port: PortAddress,
    /// Who reaches it.
    pub audience: Audience,
}

/// Who reaches a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Audience {
    /// Anyone.
    Public,
    /// Known organisations.
    Partner,
    /// The own organisation.
    Internal,
}

impl Audience {
    /// The word in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Partner => "partner",
            Self::Internal => "internal",
        }
    }
}

impl Assembly {
    /// Reads an assembly. `file` names the bytes in messages and, with [`Format::Auto`], its ending decides the format.
    ///
    /// # Errors
    /// [`AssemblyError::Document`] when there is no document, [`AssemblyError::Invalid`] with every violation.
    pub fn parse(file: &str, bytes: &[u8], format: Format) -> Result<Self, AssemblyError> {
        Self::from_value(file, &read_document(file, bytes, format)?)
    }

    /// Reads an assembly from a value, under the same rules.
    ///
    /// # Errors
    /// [`AssemblyError::Invalid`] with every violation.
    pub fn from_value(file: &str, value: &Value) -> Result<Self, AssemblyError> {
        reader::assembly(file, value)
    }

    /// The assembly as a JSON value, fields in the order of the manual, lists in the order of the document, absent and
    /// empty optional fields left out.
    pub fn to_value(&self) -> Value {
        writer::value(self)
    }

    /// The canonical form: JSON by RFC 8785, with parts ordered by id, connections and exposures by their ports and sets
    /// by their items, since their order means nothing.
    pub fn canonical_json(&self) -> Vec<u8> {
        canonical(&writer::value(&self.sorted()))
    }

    /// sha256 of [`Assembly::canonical_json`].
    pub fn digest(&self) -> Digest {
        Digest::of(&self.canonical_json())
    }

    /// The assembly with another part in the place of one; ids and paths stay unique, which is the caller's to keep.
    pub(crate) fn with_part(&self, index: usize, part: Part) -> Self {
        let mut changed = self.clone();
        changed.parts[index] = part;
        changed
    }

    fn sorted(&self) -> Self {
        let mut sorted = self.clone();
        sorted.parts.sort_by(|a, b| a.id.cmp(&b.id));
        sorted.connections.sort_by(|a, b| (&a.from, &a.to).cmp(&(&b.from, &b.to)));
        sorted.exposures.sort_by(|a, b| a.port.cmp(&b.port));
        sorted
    }

    /// Its name.
    pub fn name(&self) -> &ComponentName {
        &self.name
    }

    /// Title for people.
    pub fn title(&self) -> Option<&str> {
        self.title.as_deref()
    }

    /// Team that answers for it.
    pub fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }

    /// Its parts in the order of the document, at least one, ids unique.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Its connections in the order of the document, each pair of ports once.
    pub fn connections(&self) -> &[Connection] {
        &self.connections
    }

    /// Its exposed ports in the order of the document, each once.
    pub fn exposures(&self) -> &[Exposure] {
        &self.exposures
    }

    /// Paths that are no code.
    pub fn unmanaged(&self) -> &PathGlobs {
        &self.unmanaged
    }

    /// Standard to the ids of the requirements that it declares to keep.
    pub fn standards(&self) -> &BTreeMap<String, BTreeSet<String>> {
        &self.standards
    }

    /// What it asks for beyond its organisation's policies.
    pub fn policies(&self) -> &Policies {
        &self.policies
    }
}

/// JSON by RFC 8785.
pub(crate) fn canonical(value: &Value) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(value)
        .expect("a JSON value with text keys and finite numbers has a canonical form")
}

/// sha256 of a value's canonical form.
pub(crate) fn canonical_digest(value: &Value) -> Digest {
    Digest::of(&canonical(value))
}
