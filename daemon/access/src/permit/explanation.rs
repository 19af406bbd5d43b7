//! Why something is allowed or denied, for the operator who asks.

use std::fmt;
use std::sync::Arc;

use super::{Permit, is_named, names_of, relevant};
use crate::error::DenialReason;
use crate::grant::{ComponentFacts, Grant};
use crate::policy::{CedarPrincipal, Policies, Ruling};
use crate::principal::Principal;
use crate::rpc::{Asked, Reach};

/// A decision and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The action, in the words of the table.
    pub action: &'static str,
    /// What the call reaches.
    pub reach: Reach,
    /// Whether it may be done: to the component where one was given, otherwise at all.
    pub allowed: bool,
    /// Whether the answer is narrowed to some components.
    pub narrowed: bool,
    /// Everything that had a part in it; what denies stands first.
    pub because: Vec<Because>,
}

/// One thing that had a part in a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    /// A grant denies it.
    DeniedByGrant(Grant),
    /// A Cedar policy forbids it, or could not be evaluated.
    ForbiddenByPolicy(String),
    /// The component's manifest names others under `access`.
    NotNamedByManifest,
    /// The call was denied as such.
    Refused(DenialReason),
    /// A grant allows it.
    AllowedByGrant(Grant),
    /// A Cedar policy permits it.
    PermittedByPolicy(String),
    /// Some Cedar policy may permit it for some components.
    MayBePermittedByPolicy,
    /// Whoever is known may.
    Open,
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeniedByGrant(grant) => write!(f, "denied by the grant `{grant}`"),
            Self::ForbiddenByPolicy(id) => write!(f, "forbidden by the policy `{id}`"),
            Self::NotNamedByManifest => f.write_str("the manifest names other roles under `access`"),
            Self::Refused(reason) => write!(f, "{reason}"),
            Self::AllowedByGrant(grant) => write!(f, "allowed by the grant `{grant}`"),
            Self::PermittedByPolicy(id) => write!(f, "permitted by the policy `{id}`"),
            Self::MayBePermittedByPolicy => f.write_str("a policy may permit it for some components; name one"),
            Self::Open => f.write_str("whoever is known may"),
        }
    }
}

impl Explanation {
    pub(crate) fn of(
        principal: &Principal,
        asked: Asked,
        policies: &Arc<Policies>,
        facts: Option<&ComponentFacts>,
    ) -> Self {
        let permit = Permit::ask(principal, asked, policies);
        let facts = facts.filter(|_| asked.reach == Reach::Component);
        let allowed = permit.as_ref().is_ok_and(|permit| facts.is_none_or(|facts| permit.permits(facts)));
        let narrowed = permit.as_ref().is_ok_and(Permit::is_narrowed);
        let mut because = parts(principal, asked, policies, facts);
        if let Err(denied) = &permit
            && !allowed
            && !because.iter().any(Because::denies)
        {
            because.insert(0, Because::Refused(denied.reason));
        } else if !allowed && !because.iter().any(Because::denies) {
            because.insert(0, Because::Refused(DenialReason::NoGrant));
        }
        Self { action: asked.action, reach: asked.reach, allowed, narrowed, because }
    }
}

impl Because {
    /// Whether it speaks against.
    pub fn denies(&self) -> bool {
        match self {
            Self::DeniedByGrant(_) | Self::ForbiddenByPolicy(_) | Self::NotNamedByManifest | Self::Refused(_) => true,
            Self::AllowedByGrant(_) | Self::PermittedByPolicy(_) | Self::MayBePermittedByPolicy | Self::Open => false,
        }
    }
}

/// Everything with a part in the decision, what denies first.
fn parts(
    principal: &Principal,
    asked: Asked,
    policies: &Arc<Policies>,
    facts: Option<&ComponentFacts>,
) -> Vec<Because> {
    if asked.reach == Reach::Open {
        return vec![Because::Open];
    }
    let (allow, deny) = relevant(principal, asked);
    let counts = |grant: &Grant| match (facts, asked.reach) {
        (Some(facts), _) => grant.covers(facts),
        (None, Reach::Whole) => grant.effect == crate::Effect::Deny || !grant.is_narrowed(),
        (None, Reach::Component | Reach::General | Reach::Open) => {
            grant.effect == crate::Effect::Allow || !grant.is_narrowed()
        }
    };
    let mut because: Vec<Because> =
        deny.iter().filter(|grant| counts(grant)).cloned().map(Because::DeniedByGrant).collect();
    let ruling = match CedarPrincipal::of(principal) {
        Err(_) => Ruling::Forbids(vec!["(the principal could not be told)".to_owned()]),
        Ok(_) if policies.is_empty() => Ruling::Silent,
        Ok(seen) => match (facts, asked.reach) {
            (Some(facts), _) => policies.about_component(&seen, asked.action, facts),
            (None, Reach::Component | Reach::Open) => Ruling::Silent,
            (None, Reach::General | Reach::Whole) => policies.about_catalog(&seen, asked.action, &principal.tenant),
        },
    };
    let mut permitted = Vec::new();
    match ruling {
        Ruling::Silent => {}
        Ruling::Forbids(ids) => because.extend(ids.into_iter().map(Because::ForbiddenByPolicy)),
        Ruling::Permits(ids) => permitted = ids,
    }
    if facts.is_some_and(|facts| !is_named(&allow, &names_of(principal), facts)) {
        because.push(Because::NotNamedByManifest);
    }
    because.extend(allow.iter().filter(|grant| counts(grant)).cloned().map(Because::AllowedByGrant));
    because.extend(permitted.into_iter().map(Because::PermittedByPolicy));
    if facts.is_none() && asked.reach == Reach::Component && policies.may_permit(principal, asked.action) {
        because.push(Because::MayBePermittedByPolicy);
    }
    because
}
