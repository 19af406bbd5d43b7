//! How often subschemas are put to the values along one path of a nested configuration.
//!
//! Where two subschemas both describe a property by a definition that does so again, the deepest value is judged twice
//! as often with each level: 32 levels would never end. What is counted is a bound, not the exact number: alternatives
//! are taken to be tried all, and those beside `unevaluatedProperties` twice, since it asks which of them held.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::{IN_PLACE, MAX_SCHEMA_DEPTH, SCHEMA_KEYWORDS, held, target};

/// Most judgements along a path of [`MAX_SCHEMA_DEPTH`] levels.
const MAX_JUDGEMENTS: u64 = 20_000;
/// Most places at which a child may be described, all schemas counted.
const MAX_CHILDREN: usize = 500_000;

/// A schema by its address within the document.
type Address = *const Value;

/// What one place of a configuration leads to.
struct Place {
    /// Subschemas that judge the value itself.
    judges: u64,
    /// For each property, and for each item, which schemas judge it and how often. Only one group holds for one child.
    groups: Vec<Vec<(Address, u64)>>,
}

/// Whether judging a configuration stays small however it nests. References must not lead back to themselves in place.
pub(super) fn is_bounded(root: &Value) -> bool {
    let mut places: HashMap<Address, Place> = HashMap::new();
    let mut order = vec![root];
    let (mut next, mut children) = (0, 0);
    while let Some(schema) = order.get(next).copied() {
        next += 1;
        let (place, found) = place(root, schema);
        children += place.groups.iter().map(Vec::len).sum::<usize>();
        if children > MAX_CHILDREN {
            return false;
        }
        places.insert(address(schema), place);
        for child in found {
            if !places.contains_key(&address(child)) && !order[next..].iter().any(|known| std::ptr::eq(*known, child)) {
                order.push(child);
            }
        }
    }
    let mut costs: HashMap<Address, u64> = HashMap::new();
    for _ in 0..MAX_SCHEMA_DEPTH {
        let deeper = order.iter().map(|schema| {
            let Place { judges, groups } = &places[&address(schema)];
            let cost = |(child, times): &(Address, u64)| times.saturating_mul(costs.get(child).copied().unwrap_or(1));
            let below = groups.iter().map(|group| group.iter().map(cost).fold(0, u64::saturating_add));
            (address(schema), judges.saturating_add(below.max().unwrap_or_default()))
        });
        costs = deeper.collect();
        if costs.get(&address(root)).is_some_and(|cost| *cost > MAX_JUDGEMENTS) {
            return false;
        }
    }
    true
}

fn address(schema: &Value) -> Address {
    std::ptr::from_ref(schema)
}

/// A subschema that judges a value, and how often it does.
struct Judge<'s> {
    keywords: &'s Map<String, Value>,
    /// Whether it stands in an alternative or a condition.
    tried: bool,
}

fn place<'s>(root: &'s Value, schema: &'s Value) -> (Place, Vec<&'s Value>) {
    let mut judges = Vec::new();
    gather(root, schema, false, &mut judges);
    let asks = |keyword: &str| judges.iter().any(|judge| judge.keywords.contains_key(keyword));
    let twice = asks("unevaluatedProperties") || asks("unevaluatedItems");
    let times = |judge: &Judge<'_>| if twice && judge.tried { 2 } else { 1 };
    let says = |keyword: &'static str| {
        judges.iter().filter_map(move |judge| Some((judge.keywords.get(keyword)?, times(judge))))
    };

    let mut named: BTreeMap<&str, Vec<(&'s Value, u64)>> = BTreeMap::new();
    for (listed, times) in says("properties") {
        for (name, child) in listed.as_object().into_iter().flatten() {
            named.entry(name).or_default().push((child, times));
        }
    }
    let mut prefixed: BTreeMap<usize, Vec<(&'s Value, u64)>> = BTreeMap::new();
    for (listed, times) in says("prefixItems") {
        for (i, child) in listed.as_array().into_iter().flatten().enumerate() {
            prefixed.entry(i).or_default().push((child, times));
        }
    }
    let mut other: Vec<(&'s Value, u64)> = says("additionalProperties").chain(says("unevaluatedProperties")).collect();
    for (patterns, times) in says("patternProperties") {
        other.extend(patterns.as_object().into_iter().flat_map(Map::values).map(|child| (child, times)));
    }
    let rest: Vec<(&'s Value, u64)> = says("items").chain(says("contains")).chain(says("unevaluatedItems")).collect();
    // Most schemas close objects with `false`, which costs nothing to speak of.
    let plain = |group: &Vec<(&'s Value, u64)>| group.iter().filter(|(child, _)| child.is_object()).copied().collect();
    let (other, rest): (Vec<_>, Vec<_>) = (plain(&other), plain(&rest));
    let mut groups: Vec<Vec<(&'s Value, u64)>> = vec![other.clone(), rest.clone()];
    groups.extend(named.into_values().map(|group| group.into_iter().chain(other.iter().copied()).collect()));
    groups.extend(prefixed.into_values().map(|group| group.into_iter().chain(rest.iter().copied()).collect()));
    let children = groups.iter().flatten().map(|(child, _)| *child).collect();
    let addressed =
        |group: Vec<(&Value, u64)>| group.into_iter().map(|(child, times)| (address(child), times)).collect();
    (Place { judges: judges.len() as u64, groups: groups.into_iter().map(addressed).collect() }, children)
}

fn gather<'s>(root: &'s Value, schema: &'s Value, tried: bool, judges: &mut Vec<Judge<'s>>) {
    let Value::Object(keywords) = schema else { return };
    judges.push(Judge { keywords, tried });
    if let Some((_, schema)) = target(root, keywords) {
        gather(root, schema, tried, judges);
    }
    for (keyword, shape, _) in SCHEMA_KEYWORDS.iter().filter(|(keyword, _, _)| IN_PLACE.contains(keyword)) {
        for (_, schema) in held(keywords, keyword, *shape) {
            gather(root, schema, tried || *keyword != "allOf", judges);
        }
    }
}
