//! Architectural invariants: Cedar policies that forbid, validated when they are loaded.
//!
//! A policy that the published schema refuses, or that nobody could act on (no id, no reason, no way out), refuses the
//! whole set: an invariant that is silently not looked at is worse than none.

mod source;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use cedar_policy::{
    Authorizer, Decision, Effect, Entities, Policy, PolicyId, PolicySet, Request, Schema, ValidationMode, Validator,
};
use fitment_catalog::Digest;
use serde_json::json;

use crate::document::canonical_digest;
use crate::error::{AssemblyError, PolicyFault, one_line, shorten};
use crate::finding::Severity;

/// The published Cedar schema that policies are validated against.
pub const CEDAR_SCHEMA: &str = include_str!("../schema/assembly.cedarschema");
/// Policies to start from, in Cedar.
pub const STARTER_POLICIES: &str = include_str!("../policies/starter.cedar");
/// Largest text of policies, in bytes, all files together.
pub const MAX_POLICY_BYTES: usize = 256 * 1024;
/// Most policies in a set.
pub const MAX_POLICIES: usize = 256;

static SCHEMA: LazyLock<Schema> =
    LazyLock::new(|| Schema::from_cedarschema_str(CEDAR_SCHEMA).expect("the published Cedar schema is valid").0);

/// The published schema, compiled.
pub(crate) fn schema() -> &'static Schema {
    &SCHEMA
}

/// A text of policies and the name that messages give to it.
#[derive(Debug, Clone, Copy)]
pub struct PolicySource<'t> {
    /// Name the caller gave to the text.
    pub file: &'t str,
    /// The policies, in Cedar.
    pub text: &'t str,
}

/// Validated policies. Cheap to ask, not to load.
#[derive(Debug, Clone)]
pub struct InvariantSet {
    policies: PolicySet,
    invariants: BTreeMap<String, Invariant>,
    digest: Digest,
}

/// What a policy's annotations say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invariant {
    pub(crate) severity: Severity,
    pub(crate) reason: String,
    pub(crate) way_out: String,
}

/// What a request brings.
pub(crate) struct Verdict<'s> {
    /// Ids of the policies that forbid it, and what they say; ordered.
    pub(crate) forbidden: BTreeMap<&'s str, &'s Invariant>,
    /// Ids of the policies that could not be evaluated, and why; ordered.
    pub(crate) failed: BTreeMap<String, String>,
}

impl InvariantSet {
    /// No policies.
    pub fn empty() -> Self {
        Self { policies: PolicySet::new(), invariants: BTreeMap::new(), digest: digest_of(&BTreeMap::new()) }
    }

    /// The policies that ship with the program.
    pub fn starter() -> Self {
        Self::load(&[PolicySource { file: "starter.cedar", text: STARTER_POLICIES }])
            .expect("the shipped policies are valid")
    }

    /// Reads and validates policies. Each is a `forbid` with `@id` (1 to 63 characters of `a-z`, `0-9` and `-`, unique),
    /// `@reason`, `@fix` and, if it is no error, `@severity("warning")` or `@severity("note")`.
    ///
    /// # Errors
    /// [`AssemblyError::Policies`] with every fault and its place.
    pub fn load(sources: &[PolicySource<'_>]) -> Result<Self, AssemblyError> {
        let mut loading = Loading::default();
        for source in sources {
            loading.read(*source);
        }
        loading.finish()
    }

    /// sha256 over the Cedar schema and the policies' texts as written, ordered by id: neither the files that policies
    /// stand in nor what stands between them matters.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The policies' ids, ordered.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.invariants.keys().map(String::as_str)
    }

    /// Asks all policies about one request.
    pub(crate) fn ask(&self, request: &Request, entities: &Entities) -> Verdict<'_> {
        let response = Authorizer::new().is_authorized(request, &self.policies, entities);
        let diagnostics = response.diagnostics();
        let forbidden = match response.decision() {
            // All policies forbid, so each one that applies is a reason for the denial; with none there is no reason.
            Decision::Deny => diagnostics
                .reason()
                .filter_map(|id| self.invariants.get_key_value(AsRef::<str>::as_ref(id)))
                .map(|(id, invariant)| (id.as_str(), invariant))
                .collect(),
            Decision::Allow => BTreeMap::new(),
        };
        let failed = diagnostics.errors().map(|error| {
            let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
            (error.policy_id().to_string(), one_line(error.inner()))
        });
        Verdict { forbidden, failed: failed.collect() }
    }
}

/// Policies on their way into a set.
#[derive(Default)]
struct Loading {
    policies: PolicySet,
    invariants: BTreeMap<String, Invariant>,
    texts: BTreeMap<String, String>,
    bytes: usize,
    faults: Vec<PolicyFault>,
}

impl Loading {
    fn read(&mut self, source: PolicySource<'_>) {
        self.bytes += source.text.len();
        if self.bytes > MAX_POLICY_BYTES {
            let rule = format!("more than {MAX_POLICY_BYTES} bytes of policies; shorten them");
            return self.faults.push(source::fault(source, None, rule));
        }
        if let Err(fault) = source::bounded(source) {
            return self.faults.push(fault);
        }
        let set = match source.text.parse::<PolicySet>() {
            Ok(set) => set,
            Err(errors) => return self.faults.extend(errors.iter().map(|error| source::diagnosed(source, error))),
        };
        for template in set.templates() {
            let rule = "a template is linked to nothing here; write the policy out";
            self.faults.push(source::fault(source, source::place_of(source, &template.to_cedar()), rule));
        }
        let validated = Validator::new(schema().clone()).validate(&set, ValidationMode::Strict);
        self.faults.extend(validated.validation_errors().map(|error| source::diagnosed(source, error)));
        for policy in set.policies() {
            self.policy(source, policy);
        }
    }

    fn policy(&mut self, source: PolicySource<'_>, policy: &Policy) {
        // Static policies, which have a text.
        let text = policy.to_cedar().unwrap_or_default();
        let place = source::place_of(source, &text);
        let mut note = |description: &str| self.faults.push(source::fault(source, place, description));
        if policy.effect() == Effect::Permit {
            note("a permit has no effect here: everything is permitted that nothing forbids; write a forbid");
        }
        let id = policy.annotation("id").unwrap_or_default();
        if !is_id(id) {
            note("has no @id of 1 to 63 characters of a-z, 0-9 and -, which findings need; add one");
        }
        let mut said = |key: &str| {
            let text = policy.annotation(key).unwrap_or_default().trim();
            if text.is_empty() || text.len() > 500 || text.chars().any(char::is_control) {
                note(&format!("has no @{key} of one line and at most 500 bytes, which findings need; add one"));
            }
            text.to_owned()
        };
        let (reason, way_out) = (said("reason"), said("fix"));
        let severity = match policy.annotation("severity") {
            None | Some("error") => Severity::Error,
            Some("warning") => Severity::Warning,
            Some("note") => Severity::Note,
            Some(other) => {
                note(&format!("@severity(\"{}\") is unknown; write error, warning or note", shorten(other)));
                Severity::Error
            }
        };
        let invariant = Invariant { severity, reason, way_out };
        if self.invariants.insert(id.to_owned(), invariant).is_some() {
            let rule = format!("a second policy has the @id `{}`; rename one", shorten(id));
            self.faults.push(source::fault(source, place, rule));
            return;
        }
        self.texts.insert(id.to_owned(), text);
        if let Err(error) = self.policies.add(policy.new_id(PolicyId::new(id))) {
            self.faults.push(source::fault(source, place, one_line(&error)));
        }
    }

    fn finish(mut self) -> Result<InvariantSet, AssemblyError> {
        if self.invariants.len() > MAX_POLICIES {
            let description = format!("{} policies, at most {MAX_POLICIES} are read", self.invariants.len());
            self.faults.push(PolicyFault { file: "policies".to_owned(), place: None, description });
        }
        if !self.faults.is_empty() {
            return Err(AssemblyError::Policies { faults: self.faults });
        }
        let digest = digest_of(&self.texts);
        Ok(InvariantSet { policies: self.policies, invariants: self.invariants, digest })
    }
}

fn digest_of(texts: &BTreeMap<String, String>) -> Digest {
    canonical_digest(&json!({ "schema": CEDAR_SCHEMA, "policies": texts }))
}

fn is_id(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=63).contains(&text.len())
        && text.bytes().next().is_some_and(plain)
        && text.bytes().all(|b| plain(b) || b == b'-')
}
