//! What a schema says of a place, alternative by alternative.

use serde_json::{Map, Value};

use super::candidates::MAX_DEPTH;
use crate::config_schema::rules::target;

/// Most ways through the combining keywords of one place.
const MAX_CASES: usize = 32;

/// Keywords that hold together of one value.
pub(super) type Facts<'s> = Vec<&'s Map<String, Value>>;

/// The ways in which a schema can hold: its own keywords, those of its reference and of `allOf`, and of the
/// alternatives one each.
pub(super) fn cases<'s>(root: &'s Value, schema: &'s Value, depth: usize) -> Vec<Facts<'s>> {
    let Value::Object(keywords) = schema else {
        return if schema == &Value::Bool(false) { vec![] } else { vec![vec![]] };
    };
    let mut found = vec![vec![keywords]];
    if depth > MAX_DEPTH {
        return found;
    }
    if let Some((_, schema)) = target(root, keywords) {
        found = crossed(&found, &cases(root, schema, depth + 1));
    }
    for member in list(keywords, "allOf") {
        found = crossed(&found, &cases(root, member, depth + 1));
    }
    for keyword in ["anyOf", "oneOf"] {
        if keywords.contains_key(keyword) {
            let members = list(keywords, keyword).flat_map(|member| cases(root, member, depth + 1));
            found = crossed(&found, &members.collect::<Vec<_>>());
        }
    }
    if let Some(condition) = keywords.get("if") {
        let branch =
            |keyword: &str| keywords.get(keyword).map_or_else(|| vec![vec![]], |schema| cases(root, schema, depth + 1));
        let mut ways = crossed(&cases(root, condition, depth + 1), &branch("then"));
        ways.extend(branch("else"));
        found = crossed(&found, &ways);
    }
    if let Some(Value::Object(dependent)) = keywords.get("dependentSchemas") {
        let mut ways = vec![vec![]];
        ways.extend(dependent.values().flat_map(|schema| cases(root, schema, depth + 1)));
        found = crossed(&found, &ways);
    }
    found
}

/// The schemas that a property's value must hold. What a pattern says of it is left to the validator of the whole,
/// unless nothing else is said.
pub(super) fn property<'s>(facts: &Facts<'s>, name: &str) -> Vec<&'s Value> {
    let mut schemas = Vec::new();
    for &keywords in facts {
        let named = keywords.get("properties").and_then(|properties| properties.get(name));
        match (named, keywords.get("patternProperties")) {
            (Some(schema), _) => schemas.push(schema),
            (None, Some(Value::Object(patterns))) => schemas.extend(patterns.values().take(1)),
            (None, _) => {
                let rest = ["additionalProperties", "unevaluatedProperties"].map(|keyword| keywords.get(keyword));
                // A closed object may have its properties listed by another fact.
                schemas.extend(rest.into_iter().flatten().filter(|schema| schema.is_object()));
            }
        }
    }
    if schemas.is_empty() {
        schemas.push(&Value::Bool(true));
    }
    schemas
}

/// What the facts say under one keyword.
pub(super) fn stated<'a, 's: 'a>(facts: &'a Facts<'s>, keyword: &'a str) -> impl Iterator<Item = &'s Value> + 'a {
    facts.iter().filter_map(move |&keywords| keywords.get(keyword))
}

/// The schemas of the item at a position.
pub(super) fn items<'s>(facts: &Facts<'s>, position: usize) -> Vec<&'s Value> {
    let described = facts.iter().filter_map(|&keywords| {
        let prefix = keywords.get("prefixItems").and_then(|prefix| prefix.get(position));
        prefix.or_else(|| keywords.get("items")).or_else(|| keywords.get("unevaluatedItems"))
    });
    let mut described: Vec<&Value> = described.collect();
    if described.is_empty() {
        described.push(&Value::Bool(true));
    }
    described
}

fn list<'s>(keywords: &'s Map<String, Value>, keyword: &str) -> impl Iterator<Item = &'s Value> + use<'s> {
    keywords.get(keyword).and_then(Value::as_array).into_iter().flatten()
}

pub(super) fn names_type(stated: &Value, kind: &str) -> bool {
    match stated {
        Value::String(only) => only == kind,
        Value::Array(several) => several.iter().any(|one| one == kind),
        _ => true,
    }
}

/// Each of the cases together with each of the ways, as far as there is room.
fn crossed<'s>(cases: &[Facts<'s>], ways: &[Facts<'s>]) -> Vec<Facts<'s>> {
    let both = cases.iter().flat_map(|case| ways.iter().map(move |way| [case.as_slice(), way.as_slice()].concat()));
    both.take(MAX_CASES).collect()
}
