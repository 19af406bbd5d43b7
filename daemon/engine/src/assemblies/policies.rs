//! The organisation's policies for assemblies: read once, in force for every check from then on.

use std::sync::Arc;

use fitment_assembly::{InvariantSet, Policies, PolicySource, STARTER_POLICIES};
use fitment_catalog::{Digest, Format};
use parking_lot::RwLock;
use serde_json::json;

use crate::audit::{Act, Author};
use crate::engine::{Engine, Shared};
use crate::error::EngineError;
use crate::limits::without_controls;
use crate::store::StoredPolicies;

/// Name of the Cedar policies that Fitment comes with.
const STARTER_FILE: &str = "starter.cedar";

/// A file of Cedar policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CedarText {
    /// Its name, for messages.
    pub name: String,
    /// The policies.
    pub text: String,
}

/// The policies in force, for people.
#[derive(Clone, Debug)]
pub struct AssemblyPolicies {
    /// The organisation's, as JSON.
    pub policies_json: String,
    /// Digest of the same.
    pub policies_digest: Digest,
    /// Cedar policies.
    pub cedar: Vec<CedarText>,
    /// Digest of the Cedar policies.
    pub invariants_digest: Digest,
    /// Nobody set others than those that Fitment comes with.
    pub starter: bool,
    /// When they were set; `None`: never.
    pub time: Option<jiff::Timestamp>,
    /// Who set them, as they said.
    pub actor: String,
    /// Changes with every change of them.
    pub etag: String,
}

/// Policies as a check takes them.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) policies: Policies,
    pub(crate) invariants: InvariantSet,
    stored: StoredPolicies,
}

impl Rules {
    /// Errors: what cannot be read, or does not fit the published Cedar schema.
    fn read(stored: StoredPolicies) -> Result<Self, EngineError> {
        let policies = if stored.policies.is_empty() {
            Policies::default()
        } else {
            Policies::parse("policies", stored.policies.as_bytes(), Format::Auto)?
        };
        let invariants = match &stored.cedar {
            None => InvariantSet::starter(),
            Some(files) => {
                let sources: Vec<PolicySource<'_>> =
                    files.iter().map(|(file, text)| PolicySource { file, text }).collect();
                InvariantSet::load(&sources)?
            }
        };
        Ok(Self { policies, invariants, stored })
    }

    fn describe(&self) -> Result<AssemblyPolicies, EngineError> {
        let StoredPolicies { policies: _, cedar, time, actor } = &self.stored;
        let starter = || vec![CedarText { name: STARTER_FILE.to_owned(), text: STARTER_POLICIES.to_owned() }];
        let listed = |files: &Vec<(String, String)>| {
            files.iter().map(|(name, text)| CedarText { name: name.clone(), text: text.clone() }).collect()
        };
        Ok(AssemblyPolicies {
            policies_json: self.policies.to_value().to_string(),
            policies_digest: self.policies.digest(),
            cedar: cedar.as_ref().map_or_else(starter, listed),
            invariants_digest: self.invariants.digest(),
            starter: cedar.is_none(),
            time: *time,
            actor: actor.clone(),
            etag: self.stored.etag()?,
        })
    }
}

/// The rules in force.
#[derive(Debug)]
pub(crate) struct RulesInForce(RwLock<Arc<Rules>>);

impl RulesInForce {
    /// Reads what is stored.
    pub(crate) fn read(stored: StoredPolicies) -> Result<Self, EngineError> {
        Ok(Self(RwLock::new(Arc::new(Rules::read(stored)?))))
    }

    /// The rules.
    pub(crate) fn in_force(&self) -> Arc<Rules> {
        Arc::clone(&self.0.read())
    }
}

impl Engine {
    /// The policies in force.
    pub fn assembly_policies(&self) -> Result<AssemblyPolicies, EngineError> {
        self.shared().assembly_rules.in_force().describe()
    }

    /// Puts policies into force. `policies`: YAML or JSON, empty: none. `cedar`: `None`: those that Fitment comes with.
    ///
    /// Errors: policies that cannot be read or do not fit the published Cedar schema; another etag.
    pub async fn set_assembly_policies(
        &self,
        policies: Vec<u8>,
        cedar: Option<Vec<CedarText>>,
        etag: String,
        author: Author,
    ) -> Result<AssemblyPolicies, EngineError> {
        self.change(move |shared| {
            let policies = String::from_utf8(policies)
                .map_err(|_error| EngineError::field("policies", "is not UTF-8; write YAML or JSON"))?;
            let now = (shared.clock)();
            let files = cedar.as_ref().map_or(0, Vec::len);
            let cedar = cedar.map(|files| files.into_iter().map(|file| (file.name, file.text)).collect());
            let stored = StoredPolicies { policies, cedar, time: Some(now), actor: author.actor.clone() };
            let named = stored.cedar.iter().flatten();
            for (at, (name, _)) in named.enumerate() {
                without_controls(&format!("cedar[{at}].name"), name, &[])?;
            }
            let rules = Rules::read(stored)?;
            if files > 0 && rules.invariants.ids().next().is_none() {
                let fault = "hold no policy; write some, or say that none is wanted (without_cedar)";
                return Err(EngineError::field("cedar", fault));
            }
            let actual = shared.assembly_rules.in_force().stored.etag()?;
            if !etag.is_empty() && etag != actual {
                let what = "the set of policies".to_owned();
                return Err(EngineError::EtagMismatch { what, expected: etag, actual });
            }
            shared.put_rules(rules, &author, now)?.describe()
        })
        .await
    }
}

impl Shared {
    fn put_rules(&self, rules: Rules, author: &Author, now: jiff::Timestamp) -> Result<Arc<Rules>, EngineError> {
        let detail = json!({
            "policies": rules.policies.digest().to_string(),
            "invariants": rules.invariants.digest().to_string(),
            "cedar_policies": rules.invariants.ids().collect::<Vec<_>>(),
        });
        let act = Act { action: "assembly.policies", subject: "policies".to_owned(), detail };
        self.store.put_assembly_policies(&rules.stored, act, author, now)?;
        let rules = Arc::new(rules);
        *self.assembly_rules.0.write() = Arc::clone(&rules);
        Ok(rules)
    }
}
