//! A document to a [`TrustRoot`]. Unknown keys are refused: a misspelt `max_age_day` must not widen what is trusted.

use std::collections::{BTreeSet, HashSet};

use fitment_catalog::Digest;
use serde_json::Value;

use super::{Limits, Policy, Requirement, Role, RootKey, TrustRoot};
use crate::envelope::{MAX_ENVELOPE_BYTES, MAX_SIGNATURES};
use crate::error::TrustError;
use crate::key::PublicKey;
use crate::pattern::{NamePattern, WordPattern};
use crate::place::{Form, ID, PROPERTY, Place, REQUIREMENT, URI};

const MAX_KEYS: usize = 128;
const MAX_ROLES: usize = 128;
const MAX_POLICIES: usize = 128;
const MAX_PATTERNS: usize = 128;
const MAX_THRESHOLD: u64 = 16;
/// Largest version: the canonical form's numbers are IEEE 754 doubles.
const MAX_VERSION: u64 = (1 << 53) - 1;
const DEFAULT_SIGNATURES: usize = 16;

pub(super) fn root(document: &Value) -> Result<TrustRoot, TrustError> {
    let place = Place::root("trust root", document);
    place.only(&["version", "keys", "roles", "policies", "limits"])?;
    let version = place.required("version")?.count(1..=MAX_VERSION)?;
    let keys = unique(&place.required("keys")?.items(1..=MAX_KEYS)?, key)?;
    let key_ids: HashSet<&str> = keys.iter().map(|key| key.id.as_str()).collect();
    let roles = unique(&place.required("roles")?.items(1..=MAX_ROLES)?, |place, id| role(place, id, &key_ids))?;
    let policies = place.required("policies")?.items(1..=MAX_POLICIES)?;
    let mut root = TrustRoot {
        version,
        policies: unique(&policies, policy)?,
        limits: place.optional("limits")?.map_or(Ok(DEFAULT_LIMITS), |place| limits(&place))?,
        keys,
        roles,
        // Of no root; the right one is known once the rest is.
        digest: Digest::of(&[]),
    };
    root.digest = root.canonical_digest();
    for (place, policy) in policies.iter().zip(&root.policies) {
        check_reachable(place, policy, &root)?;
    }
    Ok(root)
}

/// Reads items that each have an id of their own.
fn unique<'v, T>(
    places: &[Place<'v>],
    mut read: impl FnMut(&Place<'v>, String) -> Result<T, TrustError>,
) -> Result<Vec<T>, TrustError> {
    let mut seen = HashSet::new();
    let item = |place: &Place<'v>| {
        let field = place.required("id")?;
        let id = field.word(ID)?;
        if !seen.insert(id.clone()) {
            return Err(field.error(format!("`{id}` is taken; choose another id")));
        }
        read(place, id)
    };
    places.iter().map(item).collect()
}

fn key(place: &Place<'_>, id: String) -> Result<RootKey, TrustError> {
    place.only(&["id", "public_key", "not_before", "not_after"])?;
    let text = place.required("public_key")?;
    let public = PublicKey::parse(text.text()?).map_err(|error| text.error(error.to_string()))?;
    let (not_before, after) = (place.required("not_before")?.time()?, place.required("not_after")?);
    let not_after = after.time()?;
    if not_after <= not_before {
        return Err(after.error(format!("{not_after} is not after not_before, {not_before}; correct one")));
    }
    Ok(RootKey { id, public, not_before, not_after })
}

fn role(place: &Place<'_>, id: String, known: &HashSet<&str>) -> Result<Role, TrustError> {
    place.only(&["id", "keys", "components", "standards", "properties", "verifiers", "may_revoke", "may_bundle"])?;
    let key = |place: &Place<'_>| {
        let id = place.text()?;
        let missing = || place.error(format!("there is no key `{}`; add it under `keys`", crate::error::shorten(id)));
        known.get(id).map(|id| (*id).to_owned()).ok_or_else(missing)
    };
    let keys = place.required("keys")?.items(1..=MAX_KEYS)?;
    let role = Role {
        id,
        keys: keys.iter().map(key).collect::<Result<_, _>>()?,
        components: components(place)?,
        standards: words(place, "standards", ID)?,
        properties: words(place, "properties", PROPERTY)?,
        verifiers: place.list("verifiers", MAX_PATTERNS, |uri| uri.word(URI))?.into_iter().collect(),
        may_revoke: place.optional("may_revoke")?.map_or(Ok(false), |flag| flag.boolean())?,
        may_bundle: place.optional("may_bundle")?.map_or(Ok(false), |flag| flag.boolean())?,
    };
    if role.standards.is_empty() && role.properties.is_empty() && !role.may_revoke && !role.may_bundle {
        return Err(
            place.error("may do nothing; give `standards`, `properties`, `may_revoke: true` or `may_bundle: true`")
        );
    }
    Ok(role)
}

fn policy(place: &Place<'_>, id: String) -> Result<Policy, TrustError> {
    place.only(&["id", "components", "require", "threshold", "max_age_days"])?;
    let max_age = place.optional("max_age_days")?.map(|days| days.count(1..=3_650)).transpose()?;
    let max_age_days = max_age.map(|days| u32::try_from(days).expect("at most 3,650"));
    let mut require = BTreeSet::new();
    for item in place.required("require")?.items(1..=64)? {
        if item.optional("property")?.is_some() && max_age_days.is_none() {
            return Err(item.error("a verified property says not for how long it holds; give the policy max_age_days"));
        }
        require.extend(requirements(&item)?);
    }
    let threshold = place.optional("threshold")?.map_or(Ok(1), |number| number.count(1..=MAX_THRESHOLD))?;
    Ok(Policy {
        id,
        components: components(place)?,
        require: require.into_iter().collect(),
        threshold: usize::try_from(threshold).expect("at most 16"),
        max_age_days,
    })
}

/// One entry under `require`: a property, a standard, or several requirements of a standard.
fn requirements(place: &Place<'_>) -> Result<Vec<Requirement>, TrustError> {
    if let Some(property) = place.optional("property")? {
        place.only(&["property"])?;
        return Ok(vec![Requirement::Property(property.word(PROPERTY)?)]);
    }
    place.only(&["standard", "requirements", "levels"])?;
    let standard = place.required("standard")?.word(ID)?;
    let levels: BTreeSet<String> = place.list("levels", 16, |level| level.prose(64))?.into_iter().collect();
    let one = |requirement| Requirement::Standard { standard: standard.clone(), requirement, levels: levels.clone() };
    match place.optional("requirements")? {
        None => Ok(vec![one(None)]),
        Some(list) => list.items(1..=512)?.iter().map(|id| Ok(one(Some(id.word(REQUIREMENT)?)))).collect(),
    }
}

/// A policy that no set of keys can ever satisfy is a mistake: nothing would be certified, and nobody told why.
fn check_reachable(place: &Place<'_>, policy: &Policy, root: &TrustRoot) -> Result<(), TrustError> {
    for requirement in &policy.require {
        let able = root.roles.iter().filter(|role| {
            let mut pairs = role.components.iter().flat_map(|a| policy.components.iter().map(move |b| (a, b)));
            role.may_certify(requirement) && pairs.any(|(a, b)| a.overlaps(b))
        });
        let ids: HashSet<&String> = able.flat_map(|role| &role.keys).collect();
        let keys: BTreeSet<PublicKey> =
            root.keys.iter().filter(|key| ids.contains(&key.id)).map(|key| key.public).collect();
        if keys.len() < policy.threshold {
            return Err(place.error(format!(
                "asks {} keys for `{requirement}`, and roles let {} certify it; add keys to a role or lower `threshold`",
                policy.threshold,
                keys.len()
            )));
        }
    }
    Ok(())
}

fn components(place: &Place<'_>) -> Result<Vec<NamePattern>, TrustError> {
    place.required("components")?.items(1..=MAX_PATTERNS)?.iter().map(Place::parsed).collect()
}

fn words(place: &Place<'_>, key: &str, form: Form) -> Result<Vec<WordPattern>, TrustError> {
    place.list(key, MAX_PATTERNS, |word| WordPattern::parse(word.text()?, form).map_err(|why| word.error(why)))
}

const DEFAULT_LIMITS: Limits = Limits { envelope_bytes: MAX_ENVELOPE_BYTES, signatures: DEFAULT_SIGNATURES };

fn limits(place: &Place<'_>) -> Result<Limits, TrustError> {
    place.only(&["envelope_bytes", "signatures"])?;
    let count = |key, least: usize, most: usize, default| -> Result<usize, TrustError> {
        match place.optional(key)? {
            Some(number) => {
                let number = number.count(least as u64..=most as u64)?;
                Ok(usize::try_from(number).expect("within a range of usize"))
            }
            None => Ok(default),
        }
    };
    Ok(Limits {
        envelope_bytes: count("envelope_bytes", 1_024, MAX_ENVELOPE_BYTES, DEFAULT_LIMITS.envelope_bytes)?,
        signatures: count("signatures", 1, MAX_SIGNATURES, DEFAULT_LIMITS.signatures)?,
    })
}
