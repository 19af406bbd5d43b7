//! The trust root: the operator's file that says whose word counts for what, and what a component needs.
//!
//! A file of its own rather than configuration: it has a version that only rises, a digest that every answer can name,
//! and it travels across an air gap as it is.

mod reader;

use std::collections::BTreeSet;
use std::fmt;

use fitment_catalog::{ComponentName, Digest, Format, read_document};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::error::TrustError;
use crate::key::PublicKey;
use crate::pattern::{NamePattern, WordPattern};

/// The published JSON Schema (2020-12) of a trust root.
pub const TRUST_ROOT_SCHEMA: &str = include_str!("../schema/trust-root.schema.json");

/// Keys, roles and policies, valid by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustRoot {
    version: u64,
    keys: Vec<RootKey>,
    roles: Vec<Role>,
    policies: Vec<Policy>,
    limits: Limits,
    digest: Digest,
}

/// A key that is believed, within its window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootKey {
    /// Its name in this file and in findings.
    pub id: String,
    /// The key. Two ids may name one key; it counts once.
    pub public: PublicKey,
    /// First instant at which something may have been issued with it.
    pub not_before: Timestamp,
    /// First instant at which nothing may be issued with it any more; after `not_before`.
    pub not_after: Timestamp,
}

/// What some keys may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its name in this file and in findings.
    pub id: String,
    /// Ids of keys, at least one.
    pub keys: BTreeSet<String>,
    /// Components for which the role may act, at least one pattern.
    pub components: Vec<NamePattern>,
    /// Standards that it may certify.
    pub standards: Vec<WordPattern>,
    /// Properties whose verification it may state.
    pub properties: Vec<WordPattern>,
    /// Verifiers (URIs) whose results it may sign; empty means any.
    pub verifiers: BTreeSet<String>,
    /// Whether it may revoke versions of, and certificates about, its components.
    pub may_revoke: bool,
    /// Whether it may sign bundles, and so say what a catalogue elsewhere shall hold, whatever its components.
    pub may_bundle: bool,
}

/// What components need. All policies that match a component must be satisfied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its name in this file and in findings.
    pub id: String,
    /// Components that it is about, at least one pattern.
    pub components: Vec<NamePattern>,
    /// What must be covered, each by itself; at least one.
    pub require: Vec<Requirement>,
    /// How many different keys must stand behind each requirement, 1 to 16.
    pub threshold: usize,
    /// Days after it was issued at which a certificate no longer counts, 1 to 3,650.
    pub max_age_days: Option<u32>,
}

/// One thing that a policy asks for. Ordered, so that findings are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Requirement {
    /// A requirement of a standard, or the standard as a whole.
    Standard {
        /// The standard.
        standard: String,
        /// Its requirement; `None` asks for the standard as a whole.
        requirement: Option<String>,
        /// Levels that suffice; empty means any or none.
        levels: BTreeSet<String>,
    },
    /// A property that was verified.
    Property(String),
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard { standard, requirement: Some(requirement), .. } => write!(f, "{standard}/{requirement}"),
            Self::Standard { standard, requirement: None, .. } => f.write_str(standard),
            Self::Property(property) => f.write_str(property),
        }
    }
}

/// How much is read of one certificate, at most what this crate reads at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest envelope, in bytes, 1,024 to [`crate::MAX_ENVELOPE_BYTES`], which is the default.
    pub envelope_bytes: usize,
    /// Most signatures in an envelope, 1 to [`crate::MAX_SIGNATURES`]; 16 unless told otherwise.
    pub signatures: usize,
}

impl TrustRoot {
    /// Reads a trust root from YAML or JSON. `file` names the bytes in messages and, with [`Format::Auto`], its ending
    /// decides the format.
    ///
    /// # Errors
    /// [`TrustError::Document`] or [`TrustError::Invalid`], which names the first value that breaks a rule.
    pub fn parse(file: &str, bytes: &[u8], format: Format) -> Result<Self, TrustError> {
        reader::root(&read_document(file, bytes, format)?)
    }

    /// Whether this root may take the place of the installed one: its version is higher, or it is the same root. The
    /// version is what keeps an old root, with keys that were since withdrawn, from coming back.
    ///
    /// # Errors
    /// [`TrustError::Rollback`].
    pub fn succeeds(&self, installed: &Self) -> Result<(), TrustError> {
        let refused = |description| {
            Err(TrustError::Rollback { installed: installed.version, offered: self.version, description })
        };
        match self.version.cmp(&installed.version) {
            std::cmp::Ordering::Greater => Ok(()),
            std::cmp::Ordering::Equal if self.digest == installed.digest => Ok(()),
            std::cmp::Ordering::Equal => refused("the contents differ: raise `version` with every change"),
            std::cmp::Ordering::Less => refused("versions only rise: issue the contents anew under a higher version"),
        }
    }

    /// sha256 of the canonical JSON (RFC 8785): the same for YAML and JSON, any notation of a key, any order of fields.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    fn canonical_digest(&self) -> Digest {
        let canonical = serde_json_canonicalizer::to_vec(&self.to_value())
            .expect("a JSON value with text keys and whole numbers has a canonical form");
        Digest::of(&canonical)
    }

    /// The root as JSON, fields in the order of the manual. Reading it back gives an equal root.
    pub fn to_value(&self) -> Value {
        let texts = |items: &mut dyn Iterator<Item = String>| Value::Array(items.map(Value::String).collect());
        let key = |key: &RootKey| {
            let RootKey { id, public, not_before, not_after } = key;
            json!({ "id": id, "public_key": public.to_base64(),
                "not_before": not_before.to_string(), "not_after": not_after.to_string() })
        };
        let role = |role: &Role| {
            let Role { id, keys, components, standards, properties, verifiers, may_revoke, may_bundle } = role;
            let mut fields = json!({ "id": id, "keys": keys, "components": texts(&mut components.iter().map(ToString::to_string)),
                "standards": texts(&mut standards.iter().map(ToString::to_string)),
                "properties": texts(&mut properties.iter().map(ToString::to_string)),
                "verifiers": verifiers, "may_revoke": may_revoke });
            // Only where it says something, so that roots from before it keep their digests.
            if *may_bundle {
                fields["may_bundle"] = true.into();
            }
            fields
        };
        let policy = |policy: &Policy| {
            let Policy { id, components, require, threshold, max_age_days } = policy;
            let mut fields = Map::new();
            fields.insert("id".to_owned(), json!(id));
            fields.insert("components".to_owned(), texts(&mut components.iter().map(ToString::to_string)));
            fields.insert("require".to_owned(), require.iter().map(requirement).collect());
            fields.insert("threshold".to_owned(), json!(threshold));
            if let Some(days) = max_age_days {
                fields.insert("max_age_days".to_owned(), json!(days));
            }
            Value::Object(fields)
        };
        let Limits { envelope_bytes, signatures } = self.limits;
        json!({
            "version": self.version,
            "keys": self.keys.iter().map(key).collect::<Vec<_>>(),
            "roles": self.roles.iter().map(role).collect::<Vec<_>>(),
            "policies": self.policies.iter().map(policy).collect::<Vec<_>>(),
            "limits": { "envelope_bytes": envelope_bytes, "signatures": signatures },
        })
    }

    /// Number of this root, from 1; a later one is higher.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The keys, in the order of the file.
    pub fn keys(&self) -> &[RootKey] {
        &self.keys
    }

    /// The roles, in the order of the file.
    pub fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// The policies, in the order of the file.
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// How much is read of one certificate.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The policies that a component must satisfy. With none it is never certified.
    pub fn policies_for(&self, component: &ComponentName) -> impl Iterator<Item = &Policy> {
        self.policies.iter().filter(|policy| policy.components.iter().any(|pattern| pattern.matches(component)))
    }
}

impl RootKey {
    /// Whether something may have been issued with the key at an instant.
    pub fn is_valid_at(&self, time: Timestamp) -> bool {
        self.not_before <= time && time < self.not_after
    }
}

impl Role {
    /// Whether the role may act for a component.
    pub fn is_for(&self, component: &ComponentName) -> bool {
        self.components.iter().any(|pattern| pattern.matches(component))
    }

    /// Whether the role may say that a requirement is met.
    pub fn may_certify(&self, requirement: &Requirement) -> bool {
        match requirement {
            Requirement::Standard { standard, .. } => self.standards.iter().any(|pattern| pattern.matches(standard)),
            Requirement::Property(property) => self.properties.iter().any(|pattern| pattern.matches(property)),
        }
    }
}

fn requirement(requirement: &Requirement) -> Value {
    match requirement {
        Requirement::Standard { standard, requirement, levels } => {
            let mut fields = Map::new();
            fields.insert("standard".to_owned(), json!(standard));
            if let Some(requirement) = requirement {
                fields.insert("requirements".to_owned(), json!([requirement]));
            }
            if !levels.is_empty() {
                fields.insert("levels".to_owned(), json!(levels));
            }
            Value::Object(fields)
        }
        Requirement::Property(property) => json!({ "property": property }),
    }
}
