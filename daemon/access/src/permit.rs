//! What a principal may: the decision, and the proof of it that work behind the edge asks for.
//!
//! One rule throughout: whatever denies wins, and what nothing allows is denied. Grants come from the document, rulings
//! from Cedar policies; for single components the list under `access` in a manifest counts besides.

mod explanation;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use fitment_catalog::Digest;

use crate::error::{DenialReason, Denied};
use crate::grant::{ComponentFacts, Effect, Grant, Role};
use crate::policy::{CedarPrincipal, Policies, Ruling};
use crate::principal::Principal;
use crate::rpc::{Asked, Reach};

pub use explanation::{Because, Explanation};

/// The proof that a principal may make a call. Only [`crate::Access::authorise`] makes one.
#[derive(Debug, Clone)]
pub struct Permit {
    action: &'static str,
    reach: Reach,
    allow: Vec<Grant>,
    deny: Vec<Grant>,
    /// Names that a manifest may have under `access`.
    names: BTreeSet<String>,
    policies: Option<Asking>,
    id: Digest,
}

/// Policies and whom they are asked about.
#[derive(Debug, Clone)]
struct Asking {
    policies: Arc<Policies>,
    principal: CedarPrincipal,
}

impl Permit {
    pub(crate) fn ask(principal: &Principal, asked: Asked, policies: &Arc<Policies>) -> Result<Self, Denied> {
        let Asked { action, roles: _, reach } = asked;
        let denied = |reason| Denied { principal: principal.id.clone(), action: action.to_owned(), reason };
        let (allow, deny) = relevant(principal, asked);
        let names = names_of(principal);
        let asking = if policies.is_empty() || reach == Reach::Open {
            None
        } else {
            // A principal that Cedar cannot be told of cannot be asked about.
            let seen = CedarPrincipal::of(principal).map_err(|_why| denied(DenialReason::DeniedByPolicy))?;
            Some(Asking { policies: policies.clone(), principal: seen })
        };
        let id = id_of(principal, asked, &allow, &deny, &names, asking.as_ref());
        let permit = Self { action, reach, allow, deny, names, policies: asking, id };
        match permit.about_the_call(principal) {
            Ok(()) => Ok(permit),
            Err(reason) => Err(denied(reason)),
        }
    }

    /// Whether the call may be made at all.
    fn about_the_call(&self, principal: &Principal) -> Result<(), DenialReason> {
        let ruling = match (&self.policies, self.reach) {
            (Some(Asking { policies, principal: seen }), Reach::General | Reach::Whole) => {
                policies.about_catalog(seen, self.action, &principal.tenant)
            }
            _ => Ruling::Silent,
        };
        let denies = |deny: &Grant| match self.reach {
            // What denies a part denies the whole that it is a part of.
            Reach::Whole => true,
            Reach::Component | Reach::General => !deny.is_narrowed(),
            Reach::Open => false,
        };
        if self.reach == Reach::Open {
            return Ok(());
        }
        if self.deny.iter().any(denies) {
            return Err(DenialReason::DeniedByGrant);
        }
        let by_policy = match (ruling, &self.policies, self.reach) {
            (Ruling::Forbids(_), _, _) => return Err(DenialReason::DeniedByPolicy),
            (Ruling::Permits(_), _, _) => true,
            // Which components a policy permits is known when they are.
            (Ruling::Silent, Some(asking), Reach::Component) => asking.policies.may_permit(principal, self.action),
            (Ruling::Silent, _, _) => false,
        };
        let suffices = |grant: &Grant| self.reach != Reach::Whole || !grant.is_narrowed();
        if by_policy || self.allow.iter().any(suffices) {
            Ok(())
        } else if self.allow.is_empty() {
            Err(DenialReason::NoGrant)
        } else {
            Err(DenialReason::Narrowed)
        }
    }

    /// What may be done, in the words of the table.
    pub fn action(&self) -> &'static str {
        self.action
    }

    /// What the call reaches.
    pub fn reach(&self) -> Reach {
        self.reach
    }

    /// Whether there may be components that it does not hold for: [`Permit::permits`] must then be asked about each.
    pub fn is_narrowed(&self) -> bool {
        self.reach == Reach::Component
            && (self.policies.is_some()
                || !self.deny.is_empty()
                || !self.allow.iter().any(|grant| grant.role == Role::Administrator && !grant.is_narrowed()))
    }

    /// Whether it holds for a component. Depends on [`Permit::id`] and the facts alone, so that an answer may be kept.
    pub fn permits(&self, facts: &ComponentFacts) -> bool {
        match self.reach {
            Reach::General | Reach::Whole | Reach::Open => return true,
            Reach::Component => {}
        }
        if self.deny.iter().any(|grant| grant.covers(facts)) {
            return false;
        }
        if !is_named(&self.allow, &self.names, facts) {
            return false;
        }
        let granted = self.allow.iter().any(|grant| grant.covers(facts));
        match self
            .policies
            .as_ref()
            .map(|asking| asking.policies.about_component(&asking.principal, self.action, facts))
        {
            Some(Ruling::Forbids(_)) => false,
            Some(Ruling::Permits(_)) => true,
            Some(Ruling::Silent) | None => granted,
        }
    }

    /// Digest of what decides: two permits with one id hold for the same components. It stays the same between restarts
    /// while document and policies do.
    pub fn id(&self) -> Digest {
        self.id
    }
}

/// The grants that concern an action, apart by effect.
fn relevant(principal: &Principal, asked: Asked) -> (Vec<Grant>, Vec<Grant>) {
    let grants = principal.grants.iter().filter(|grant| asked.roles.contains(&grant.role)).cloned();
    let (mut allow, mut deny): (Vec<Grant>, Vec<Grant>) = grants.partition(|grant| grant.effect == Effect::Allow);
    for grants in [&mut allow, &mut deny] {
        grants.sort();
        grants.dedup();
    }
    (allow, deny)
}

/// Whether a manifest lets a principal use the component, which is so for whoever administrates it: it could write itself
/// into any group.
fn is_named(allow: &[Grant], names: &BTreeSet<String>, facts: &ComponentFacts) -> bool {
    facts.roles.is_empty()
        || facts.roles.iter().any(|role| names.contains(role))
        || allow.iter().any(|grant| grant.role == Role::Administrator && grant.covers(facts))
}

fn names_of(principal: &Principal) -> BTreeSet<String> {
    let mut names = principal.groups.clone();
    names.insert(principal.id.clone());
    names.extend(principal.roles().iter().map(ToString::to_string));
    names
}

fn id_of(
    principal: &Principal,
    asked: Asked,
    allow: &[Grant],
    deny: &[Grant],
    names: &BTreeSet<String>,
    asking: Option<&Asking>,
) -> Digest {
    let mut text = format!("{:?}\n{names:?}\n", asked.reach);
    for Grant { role, effect, namespaces, labels } in allow.iter().chain(deny) {
        // Writing to a String cannot fail. Of the roles, that of an administrator alone matters beyond the action.
        let administrates = *role == Role::Administrator;
        let _ = writeln!(text, "{effect:?} {administrates} {namespaces:?} {labels:?}");
    }
    if let Some(Asking { policies, .. }) = asking {
        let Principal { id, tenant, kind, groups, grants: _, limits: _, claims } = principal;
        let roles = principal.roles();
        let _ = writeln!(text, "{} {}", policies.digest, asked.action);
        let _ = writeln!(text, "{id:?} {tenant:?} {kind:?} {groups:?} {roles:?} {claims:?}");
    }
    Digest::of(text.as_bytes())
}
