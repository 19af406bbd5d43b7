//! An organisation's own rules, in Cedar, beside the grants: a `permit` allows what no grant does, a `forbid` denies what
//! one does.
//!
//! A policy that the published schema refuses refuses the whole set. Cedar passes over a policy that fails while it is
//! evaluated; here that denies, since the policy that failed may have been a `forbid`.

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use cedar_policy::{
    ActionConstraint, Authorizer, Context, Decision, Effect, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    Policy, PolicyId, PolicySet, PrincipalConstraint, Request, ResourceConstraint, RestrictedExpression, Schema,
    ValidationMode, Validator,
};
use fitment_catalog::Digest;

use crate::error::{Fault, one_line, shorten};
use crate::grant::ComponentFacts;
use crate::principal::Principal;

/// The published Cedar schema that policies on access are validated against.
pub const ACCESS_CEDAR_SCHEMA: &str = include_str!("../schema/access.cedarschema");
/// Largest text of policies, in bytes, all files together.
pub const MAX_POLICY_BYTES: usize = 256 * 1024;
/// Most policies.
pub const MAX_POLICIES: usize = 256;

/// The types of the schema, and that of actions.
const TYPES: [&str; 6] = ["Action", "Catalog", "Component", "Namespace", "Principal", "Role"];

static SCHEMA: LazyLock<Schema> =
    LazyLock::new(|| Schema::from_cedarschema_str(ACCESS_CEDAR_SCHEMA).expect("the published Cedar schema is valid").0);

/// A text of policies and the name that messages give to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PolicyText<'t> {
    pub(crate) file: &'t str,
    pub(crate) text: &'t str,
}

/// Validated policies.
#[derive(Debug, Clone)]
pub(crate) struct Policies {
    set: PolicySet,
    permits: Vec<Permitting>,
    pub(crate) digest: Digest,
}

/// The scope of a policy that permits.
#[derive(Debug, Clone)]
struct Permitting {
    /// `None` means any.
    actions: Option<BTreeSet<String>>,
    /// `None` means any that the conditions let through.
    principal: Option<EntityUid>,
}

/// What the policies say to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// None applies.
    Silent,
    /// These permit; ordered.
    Permits(Vec<String>),
    /// These forbid, or could not be evaluated; ordered.
    Forbids(Vec<String>),
}

/// A principal as Cedar sees it.
#[derive(Debug, Clone)]
pub(crate) struct CedarPrincipal(Entity);

impl CedarPrincipal {
    pub(crate) fn of(principal: &Principal) -> Result<Self, String> {
        let Principal { id, tenant, kind, groups, grants: _, limits: _, claims } = principal;
        let roles = principal.roles();
        let attributes = [
            ("id".to_owned(), text(id)),
            ("tenant".to_owned(), text(tenant)),
            ("kind".to_owned(), text(kind.as_str())),
            ("roles".to_owned(), set(roles.iter().map(|role| role.as_str()))),
            ("groups".to_owned(), set(groups.iter().map(String::as_str))),
        ];
        let parents: Vec<EntityUid> = roles.iter().map(|role| uid("Role", role.as_str())).collect();
        let tags = claims.iter().map(|(name, value)| (name.clone(), text(value)));
        Entity::new_with_tags(uid("Principal", id), attributes, parents, tags)
            .map(Self)
            .map_err(|error| one_line(&error))
    }
}

impl Policies {
    /// No policies.
    pub(crate) fn none() -> Self {
        Self { set: PolicySet::new(), permits: Vec::new(), digest: digest_of(&BTreeMap::new()) }
    }

    /// Reads and validates policies; notes every fault.
    pub(crate) fn load(sources: &[PolicyText<'_>], faults: &mut Vec<Fault>) -> Self {
        let mut loading = Loading { policies: Self::none(), texts: BTreeMap::new(), faults };
        let mut bytes = 0_usize;
        for source in sources {
            bytes += source.text.len();
            if bytes > MAX_POLICY_BYTES {
                let rule = format!("more than {MAX_POLICY_BYTES} bytes of policies; shorten them");
                loading.faults.push(source::fault(*source, None, rule));
                break;
            }
            loading.read(*source);
        }
        loading.policies.digest = digest_of(&loading.texts);
        loading.policies
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// The policies' ids, ordered.
    pub(crate) fn ids(&self) -> BTreeSet<String> {
        self.set.policies().map(|policy| policy.id().to_string()).collect()
    }

    /// Whether some policy may permit an action to a principal, for some component.
    pub(crate) fn may_permit(&self, principal: &Principal, action: &str) -> bool {
        let myself = uid("Principal", principal.id());
        self.permits.iter().any(|Permitting { actions, principal }| {
            actions.as_ref().is_none_or(|actions| actions.contains(action))
                && principal.as_ref().is_none_or(|only| *only == myself)
        })
    }

    /// Asks about a component.
    pub(crate) fn about_component(&self, who: &CedarPrincipal, action: &str, facts: &ComponentFacts) -> Ruling {
        let ComponentFacts { namespace, tags, kind, owner, roles: _ } = facts;
        let attributes = [
            ("namespace".to_owned(), text(namespace)),
            ("kind".to_owned(), text(kind.as_str())),
            ("tags".to_owned(), set(tags.iter().map(fitment_catalog::Tag::as_str))),
            ("owner".to_owned(), text(owner)),
        ];
        let entity =
            Entity::new_with_tags(uid("Component", "component"), attributes, [uid("Namespace", namespace)], []);
        self.ask(who, action, entity.map_err(|error| one_line(&error)))
    }

    /// Asks about a tenant's whole catalogue.
    pub(crate) fn about_catalog(&self, who: &CedarPrincipal, action: &str, tenant: &str) -> Ruling {
        let entity = Entity::new_with_tags(uid("Catalog", tenant), [("tenant".to_owned(), text(tenant))], [], []);
        self.ask(who, action, entity.map_err(|error| one_line(&error)))
    }

    fn ask(&self, who: &CedarPrincipal, action: &str, resource: Result<Entity, String>) -> Ruling {
        if self.is_empty() {
            return Ruling::Silent;
        }
        let answered = resource.and_then(|resource| {
            let request =
                Request::new(who.0.uid(), uid("Action", action), resource.uid(), Context::empty(), Some(&SCHEMA));
            let entities = Entities::from_entities([who.0.clone(), resource], Some(&SCHEMA));
            Ok((request.map_err(|error| one_line(&error))?, entities.map_err(|error| one_line(&error))?))
        });
        let Ok((request, entities)) = answered else {
            // What cannot be asked cannot be ruled out.
            return Ruling::Forbids(vec!["(the question could not be put)".to_owned()]);
        };
        let response = Authorizer::new().is_authorized(&request, &self.set, &entities);
        let failed: BTreeSet<String> = response
            .diagnostics()
            .errors()
            .map(|error| {
                let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
                error.policy_id().to_string()
            })
            .collect();
        let reasons: BTreeSet<String> = response.diagnostics().reason().map(ToString::to_string).collect();
        match response.decision() {
            _ if !failed.is_empty() => Ruling::Forbids(failed.into_iter().collect()),
            Decision::Allow => Ruling::Permits(reasons.into_iter().collect()),
            Decision::Deny if reasons.is_empty() => Ruling::Silent,
            Decision::Deny => Ruling::Forbids(reasons.into_iter().collect()),
        }
    }
}

/// Policies on their way into a set.
struct Loading<'f> {
    policies: Policies,
    texts: BTreeMap<String, String>,
    faults: &'f mut Vec<Fault>,
}

impl Loading<'_> {
    fn read(&mut self, source: PolicyText<'_>) {
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
        let validated = Validator::new(SCHEMA.clone()).validate(&set, ValidationMode::Strict);
        self.faults.extend(validated.validation_errors().map(|error| source::diagnosed(source, error)));
        for policy in set.policies() {
            self.policy(source, policy);
        }
    }

    fn policy(&mut self, source: PolicyText<'_>, policy: &Policy) {
        // Static policies, which have a text.
        let text = policy.to_cedar().unwrap_or_default();
        let place = source::place_of(source, &text);
        let mut note = |description: String| self.faults.push(source::fault(source, place, description));
        let id = policy.annotation("id").unwrap_or_default();
        if !is_id(id) {
            note("has no @id of 1 to 63 characters of a-z, 0-9 and -, which explanations need; add one".to_owned());
            return;
        }
        if let ResourceConstraint::Eq(resource) = policy.resource_constraint()
            && resource.type_name().basename() == "Component"
        {
            let way_out = "write `resource in Fitment::Namespace::\"..\"`, or a condition on its attributes";
            note(format!("`{id}` names a component by an id, which no component has here; {way_out}"));
        }
        if self.texts.len() == MAX_POLICIES {
            note(format!("more than {MAX_POLICIES} policies; put them together"));
            return;
        }
        if self.texts.insert(id.to_owned(), text).is_some() {
            note(format!("a second policy has the @id `{}`; rename one", shorten(id)));
            return;
        }
        if policy.effect() == Effect::Permit {
            self.policies.permits.push(Permitting {
                actions: match policy.action_constraint() {
                    ActionConstraint::Any => None,
                    ActionConstraint::In(actions) => Some(actions.iter().map(id_of).collect()),
                    ActionConstraint::Eq(action) => Some([id_of(&action)].into()),
                },
                principal: match policy.principal_constraint() {
                    PrincipalConstraint::Eq(principal) => Some(principal),
                    PrincipalConstraint::Any
                    | PrincipalConstraint::In(_)
                    | PrincipalConstraint::Is(_)
                    | PrincipalConstraint::IsIn(..) => None,
                },
            });
        }
        if let Err(error) = self.policies.set.add(policy.new_id(PolicyId::new(id))) {
            self.faults.push(source::fault(source, place, one_line(&error)));
        }
    }
}

fn digest_of(texts: &BTreeMap<String, String>) -> Digest {
    let mut bytes = ACCESS_CEDAR_SCHEMA.as_bytes().to_vec();
    for (id, text) in texts {
        // Lengths stand before texts, so that no two sets have the same bytes.
        bytes.extend_from_slice(format!("\n{} {} ", id.len(), text.len()).as_bytes());
        bytes.extend_from_slice(id.as_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    Digest::of(&bytes)
}

fn uid(of_type: &str, id: &str) -> EntityUid {
    static NAMES: LazyLock<BTreeMap<&str, EntityTypeName>> = LazyLock::new(|| {
        let name = |of_type| format!("Fitment::{of_type}").parse().expect("a name of the published schema");
        TYPES.into_iter().map(|of_type| (of_type, name(of_type))).collect()
    });
    EntityUid::from_type_name_and_id(NAMES[of_type].clone(), EntityId::new(id))
}

fn id_of(action: &EntityUid) -> String {
    AsRef::<str>::as_ref(action.id()).to_owned()
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn set<'t>(values: impl Iterator<Item = &'t str>) -> RestrictedExpression {
    RestrictedExpression::new_set(values.map(text))
}

fn is_id(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=63).contains(&text.len())
        && text.bytes().next().is_some_and(plain)
        && text.bytes().all(|b| plain(b) || b == b'-')
}
