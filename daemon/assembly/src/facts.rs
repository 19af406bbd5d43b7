//! What is known about parts from outside the document: the catalogue's word, and the time.

use std::collections::BTreeSet;
use std::sync::Arc;

use fitment_catalog::{Digest, Lifecycle, Manifest, Port};
use jiff::Timestamp;
use serde_json::Value;

use crate::claim::Claims;
use crate::document::Reference;

/// Where [`crate::check()`] learns what it cannot read in the document. One instance is one view: it answers the same to
/// the same question.
pub trait Facts {
    /// The instant at which the assembly is judged.
    fn now(&self) -> Timestamp;

    /// What the catalogue knows of a version; `None` when there is none that the caller may use.
    fn version(&self, reference: &Reference) -> Option<VersionFacts>;

    /// What is wrong with a part's configuration, or still open in it. Unless told otherwise, it is held against the
    /// version's schema as [`bind_to_schema`] does.
    fn bind(&self, binding: &Binding<'_>) -> Vec<BindingFault> {
        bind_to_schema(binding)
    }
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

/// A configuration to be judged.
pub struct Binding<'a> {
    /// The part's id.
    pub part: &'a str,
    /// The manifest whose schema is to be satisfied.
    pub manifest: &'a Manifest,
    /// What the document binds: an object.
    pub configuration: &'a Value,
    pub(crate) outputs: &'a dyn Fn(&str, &str) -> Option<Port>,
}

impl Binding<'_> {
    /// The port that another part of the assembly offers, for properties that are bound to one.
    pub fn output(&self, part: &str, port: &str) -> Option<Port> {
        (self.outputs)(part, port)
    }
}

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingFault {
    /// JSON pointer into the configuration (RFC 6901); empty for the whole.
    pub pointer: String,
    /// Which rule: lower-case words with dashes. The finding's rule is `configuration/` and this.
    pub rule: String,
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    pub way_out: String,
}

/// Holds a configuration against the version's schema: what is open (`open`), what the schema refuses (`invalid`) and
/// what it does not know (`unknown-property`).
pub fn bind_to_schema(binding: &Binding<'_>) -> Vec<BindingFault> {
    let configured = binding.manifest.open_configuration(binding.configuration);
    let manifest = binding.manifest;
    let fault = |pointer: String, rule: &str, reason: String, way_out: &str| BindingFault {
        pointer,
        rule: rule.to_owned(),
        reason,
        way_out: way_out.to_owned(),
    };
    let described = |description: &str| {
        if description.is_empty() { String::new() } else { format!(" ({description})") }
    };
    let open = configured.open.iter().map(|open| {
        let reason = format!("{manifest} requires this property{}, and nothing binds it", described(&open.description));
        fault(open.pointer.clone(), "open", reason, "bind it in the part's configuration")
    });
    let violations = configured.violations.iter().map(|violation| {
        let reason = format!("the schema of {manifest} refuses the value: {}", violation.description);
        fault(violation.pointer.clone(), "invalid", reason, "bind a value that the schema accepts")
    });
    let ignored = configured.ignored.iter().map(|pointer| {
        let reason = format!("{manifest} has no such property");
        fault(pointer.clone(), "unknown-property", reason, "remove it, or correct its name")
    });
    open.chain(violations).chain(ignored).collect()
}
