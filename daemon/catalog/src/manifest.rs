//! The manifest: what a component's author says about one version of it.
//!
//! A [`Manifest`] exists only if it passed every rule of [`MANIFEST_SCHEMA`] and those that JSON Schema cannot say. Its
//! canonical form, and with it its [`Digest`], depends on the content alone: not on YAML or JSON, the order of keys, or
//! whether an optional empty list was written out.

mod checker;
mod reader;
mod writer;

use std::collections::BTreeMap;
use std::fmt;

use semver::Version;
use serde_json::Value;

use crate::config_schema::{ConfigSchema, Configured};
use crate::document::{self, Format, Node};
use crate::identifier::{ComponentName, Tag};
use crate::license::License;
use crate::path::RelativePath;
use crate::port::Port;
use crate::token::{Kind, Lifecycle};
use crate::{CatalogError, Digest};

pub(crate) use checker::nearest;

/// The published JSON Schema (2020-12) of a manifest.
pub const MANIFEST_SCHEMA: &str = include_str!("../schema/manifest.schema.json");

/// Largest document that is read, in bytes.
pub const MAX_MANIFEST_BYTES: usize = 256 * 1024;

/// Deepest nesting of lists and mappings that is read.
pub const MAX_DEPTH: usize = 64;

/// Most files that an artifact lists.
pub const MAX_ARTIFACT_FILES: usize = 1_024;

/// One version of a component, valid by construction.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    name: ComponentName,
    version: Version,
    title: String,
    aliases: Vec<String>,
    summary: String,
    kind: Kind,
    lifecycle: Lifecycle,
    license: License,
    owner: String,
    when_to_use: Option<String>,
    when_not_to_use: Option<String>,
    limitations: Vec<String>,
    tags: Vec<Tag>,
    example_intents: Vec<String>,
    counter_examples: Vec<String>,
    artifact: Option<Artifact>,
    config_schema: Option<ConfigSchema>,
    provides: Vec<Port>,
    requires: Vec<Port>,
    invariants: Vec<String>,
    compliance: BTreeMap<String, Vec<String>>,
    access: Vec<String>,
    supersedes: Option<Supersedes>,
}

/// Where the component's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    purl: String,
    digests: BTreeMap<String, String>,
    files: BTreeMap<RelativePath, Digest>,
}

impl Artifact {
    /// Package URL, such as `pkg:npm/%40acme/sign-in-form@2.3.0`.
    pub fn purl(&self) -> &str {
        &self.purl
    }

    /// Algorithm (`sha256`, `sha384` or `sha512`) to lower-case hexadecimal digest of the artifact.
    pub fn digests(&self) -> &BTreeMap<String, String> {
        &self.digests
    }

    /// The files that the artifact consists of once it is unpacked, each with its sha256: at most
    /// [`MAX_ARTIFACT_FILES`]; empty when they are not listed. No path is a folder of another.
    pub fn files(&self) -> &BTreeMap<RelativePath, Digest> {
        &self.files
    }
}

/// What a version takes the place of, written `namespace/name` or `namespace/name@version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supersedes {
    name: ComponentName,
    version: Option<Version>,
}

impl Supersedes {
    /// The component taken over from.
    pub fn name(&self) -> &ComponentName {
        &self.name
    }

    /// The version taken over from; absent means every version.
    pub fn version(&self) -> Option<&Version> {
        self.version.as_ref()
    }
}

impl fmt::Display for Supersedes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{}@{version}", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

/// How much must still be generated to use a component, before the caller has bound anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Nothing: there is no configuration, or defaults satisfy it.
    Zero,
    /// A configuration: at least one required property has no default.
    Minimal,
}

impl Manifest {
    /// Reads a manifest. `file` names the bytes in messages and, with [`Format::Auto`], its ending decides the format.
    ///
    /// # Errors
    /// [`CatalogError::TooLarge`], [`CatalogError::NotUtf8`] or [`CatalogError::Syntax`] when there is no document;
    /// otherwise [`CatalogError::InvalidManifest`] with every violation at once.
    pub fn parse(file: &str, bytes: &[u8], format: Format) -> Result<Self, CatalogError> {
        let document = document::read(file, bytes, format)?;
        Self::from_node(file, &document, SchemaCheck::Full)
    }

    /// Reads a manifest from a value, under the same rules as [`Manifest::parse`] but without places in the errors.
    ///
    /// # Errors
    /// [`CatalogError::InvalidManifest`] with every violation at once.
    pub fn from_value(file: &str, value: &Value) -> Result<Self, CatalogError> {
        Self::from_node(file, &Node::from(value), SchemaCheck::Full)
    }

    /// Reads what [`Manifest::canonical_json`] wrote and a digest has protected since, such as a row of the store. All
    /// fields are read as strictly as ever; only the configuration schema is taken as checked, which is most of the
    /// cost of [`Manifest::parse`].
    ///
    /// # Errors
    /// As [`Manifest::parse`].
    pub fn from_canonical_json(file: &str, bytes: &[u8]) -> Result<Self, CatalogError> {
        let document = document::read(file, bytes, Format::Json)?;
        Self::from_node(file, &document, SchemaCheck::Trusted)
    }

    fn from_node(file: &str, node: &Node, check: SchemaCheck) -> Result<Self, CatalogError> {
        reader::manifest(node, check)
            .map_err(|violations| CatalogError::InvalidManifest { file: file.to_owned(), violations })
    }

    /// The canonical form: JSON by RFC 8785, absent and empty optional fields left out.
    pub fn canonical_json(&self) -> Vec<u8> {
        serde_json_canonicalizer::to_vec(&writer::value(self))
            .expect("a JSON value with text keys and finite numbers has a canonical form")
    }

    /// The version's address: sha256 of [`Manifest::canonical_json`].
    pub fn digest(&self) -> Digest {
        Digest::of(&self.canonical_json())
    }

    /// The manifest as a JSON value, fields in the order of the manual, absent and empty optional fields left out.
    pub fn to_value(&self) -> Value {
        writer::value(self)
    }

    /// The manifest as YAML for people. Reading it back gives an equal manifest with the same digest.
    pub fn to_yaml(&self) -> String {
        writer::yaml(self)
    }

    /// Name of the component that this is a version of.
    pub fn name(&self) -> &ComponentName {
        &self.name
    }

    /// Semantic version (2.0).
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// One line, 1 to 120 characters.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What the component does, 1 to 600 characters.
    pub fn summary(&self) -> &str {
        &self.summary
    }

    /// What sort of thing it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where the version stands in its life.
    pub fn lifecycle(&self) -> Lifecycle {
        self.lifecycle
    }

    /// SPDX licence expression.
    pub fn license(&self) -> &License {
        &self.license
    }

    /// Team that answers for it, 1 to 120 characters.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// When to take it, at most 2,000 characters.
    pub fn when_to_use(&self) -> Option<&str> {
        self.when_to_use.as_deref()
    }

    /// When to take something else, at most 2,000 characters.
    pub fn when_not_to_use(&self) -> Option<&str> {
        self.when_not_to_use.as_deref()
    }

    /// Other names that people use for it, at most 16 of at most 120 characters.
    pub fn aliases(&self) -> &[String] {
        &self.aliases
    }

    /// Known limits, at most 32 of at most 500 characters.
    pub fn limitations(&self) -> &[String] {
        &self.limitations
    }

    /// Grouping words, at most 32.
    pub fn tags(&self) -> &[Tag] {
        &self.tags
    }

    /// Intents that the component meets, at most 64 of at most 500 characters.
    pub fn example_intents(&self) -> &[String] {
        &self.example_intents
    }

    /// Intents that look close and are not met, at most 64 of at most 500 characters.
    pub fn counter_examples(&self) -> &[String] {
        &self.counter_examples
    }

    /// Where its bytes are.
    pub fn artifact(&self) -> Option<&Artifact> {
        self.artifact.as_ref()
    }

    /// The closed schema that a configuration must satisfy; absent means that there is nothing to configure.
    pub fn config_schema(&self) -> Option<&ConfigSchema> {
        self.config_schema.as_ref()
    }

    /// Ports offered, names unique, at most 32.
    pub fn provides(&self) -> &[Port] {
        &self.provides
    }

    /// Ports needed, names unique, at most 32.
    pub fn requires(&self) -> &[Port] {
        &self.requires
    }

    /// Statements that always hold of the component, at most 32 of at most 500 characters.
    pub fn invariants(&self) -> &[String] {
        &self.invariants
    }

    /// Standard to the ids of the requirements that the component helps to meet.
    pub fn compliance(&self) -> &BTreeMap<String, Vec<String>> {
        &self.compliance
    }

    /// Roles that may use the component; empty means every role.
    pub fn access(&self) -> &[String] {
        &self.access
    }

    /// What this version takes the place of.
    pub fn supersedes(&self) -> Option<&Supersedes> {
        self.supersedes.as_ref()
    }

    /// How much is still open before the caller has bound anything.
    pub fn tier(&self) -> Tier {
        match &self.config_schema {
            Some(schema) if !schema.unbound().is_satisfied() => Tier::Minimal,
            _ => Tier::Zero,
        }
    }

    /// What is still open once the caller's properties are bound; see [`ConfigSchema::open_configuration`]. Without a
    /// schema every bound property is ignored and nothing is open.
    pub fn open_configuration(&self, bound: &Value) -> Configured {
        match &self.config_schema {
            Some(schema) => schema.open_configuration(bound),
            None => Configured::without_schema(bound),
        }
    }
}

/// `namespace/name@version`.
impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

/// Whether a configuration schema is checked in full or taken as checked before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SchemaCheck {
    Full,
    Trusted,
}
