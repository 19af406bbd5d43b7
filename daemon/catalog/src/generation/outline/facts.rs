//! What subschemas that all judge one value say of it together.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Numbers, Texts};
use crate::generation::Uncovered;

/// Keywords that an outline does not hold.
const UNSAID: &[&str] = &[
    "not",
    "if",
    "contains",
    "dependentRequired",
    "dependentSchemas",
    "propertyNames",
    "patternProperties",
    "uniqueItems",
    "multipleOf",
    "minProperties",
    "maxProperties",
    "format",
];

/// A subschema that a value must hold.
#[derive(Clone)]
pub(super) struct Fact<'s> {
    pub(super) pointer: String,
    pub(super) keywords: &'s Map<String, Value>,
    /// Whether it holds whatever the value is, not only in one of several ways.
    pub(super) certain: bool,
}

pub(super) fn note<'s>(pointer: &str, keywords: &'s Map<String, Value>, unsaid: &mut BTreeMap<Uncovered, &'s Value>) {
    for keyword in UNSAID {
        if let Some(stated) = keywords.get(*keyword).filter(|stated| *stated != &Value::Bool(false)) {
            unsaid.insert(Uncovered { pointer: pointer.to_owned(), keyword: (*keyword).to_owned() }, stated);
        }
    }
}

/// The values that all facts list, where one lists any.
pub(super) fn literals<'s>(facts: &[Fact<'s>]) -> Option<Vec<&'s Value>> {
    let mut lists = facts.iter().flat_map(|fact| {
        let only = fact.keywords.get("const").map(|value| vec![value]);
        let several = fact.keywords.get("enum").and_then(Value::as_array).map(|values| values.iter().collect());
        [only, several].into_iter().flatten()
    });
    let mut values: Vec<&'s Value> = lists.next()?;
    for other in lists {
        values.retain(|value| other.contains(value));
    }
    Some(values)
}

pub(super) fn numbers(facts: &[Fact<'_>], integer: bool) -> Numbers {
    type Bound = Option<(String, f64)>;
    let all = |keyword: &'static str| {
        facts.iter().filter_map(move |fact| Some((fact.pointer.clone(), fact.keywords.get(keyword)?.as_f64()?)))
    };
    let strictest = |keyword, stricter: fn(f64, f64) -> bool| {
        all(keyword).reduce(|known, other| if stricter(other.1, known.1) { other } else { known })
    };
    // Where both are stated the exclusive one counts if it is as strict.
    let either = |plain: Bound, exclusive: Bound, stricter: fn(f64, f64) -> bool| match (plain, exclusive) {
        (Some(plain), Some(exclusive)) if stricter(plain.1, exclusive.1) => (Some(plain), false),
        (_, Some(exclusive)) => (Some(exclusive), true),
        (plain, None) => (plain, false),
    };
    let (above, below) = (|a, b| a > b, |a, b| a < b);
    let (least, above_least) = either(strictest("minimum", above), strictest("exclusiveMinimum", above), above);
    let (greatest, below_greatest) = either(strictest("maximum", below), strictest("exclusiveMaximum", below), below);
    Numbers { integer, least, greatest, above_least, below_greatest }
}

pub(super) fn texts<'s>(facts: &[Fact<'s>]) -> Texts<'s> {
    let patterns =
        facts.iter().filter_map(|fact| Some((fact.pointer.clone(), fact.keywords.get("pattern")?.as_str()?))).collect();
    Texts {
        patterns,
        format: facts.iter().find_map(|fact| fact.keywords.get("format")?.as_str()),
        shortest: greatest(facts, "minLength"),
        longest: least(facts, "maxLength"),
        secret: facts
            .iter()
            .find(|fact| fact.keywords.get("x-secret") == Some(&Value::Bool(true)))
            .map(|fact| fact.pointer.clone()),
    }
}

/// The strictest of lower bounds, and the subschema that states it.
pub(super) fn greatest(facts: &[Fact<'_>], keyword: &str) -> Option<(String, u64)> {
    bounds(facts, keyword).max_by_key(|(_, bound)| *bound)
}

/// The strictest of upper bounds, and the subschema that states it.
pub(super) fn least(facts: &[Fact<'_>], keyword: &str) -> Option<(String, u64)> {
    bounds(facts, keyword).min_by_key(|(_, bound)| *bound)
}

fn bounds(facts: &[Fact<'_>], keyword: &str) -> impl Iterator<Item = (String, u64)> {
    facts.iter().filter_map(move |fact| {
        let stated = fact.keywords.get(keyword)?;
        let whole = stated.as_u64().or_else(|| whole(stated.as_f64()?))?;
        Some((fact.pointer.clone(), whole))
    })
}

/// `5.0` is a bound too.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "guarded by the range")]
fn whole(bound: f64) -> Option<u64> {
    (bound.fract() == 0.0 && (0.0..=1e15).contains(&bound)).then_some(bound as u64)
}

pub(super) fn properties(keywords: &Map<String, Value>) -> Option<&Map<String, Value>> {
    keywords.get("properties").and_then(Value::as_object)
}

pub(super) fn list<'s>(keywords: &'s Map<String, Value>, keyword: &str) -> &'s [Value] {
    keywords.get(keyword).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Whether a schema's `type` names this type; without `type` every type is meant, and every integer is a number.
pub(super) fn admits(keywords: &Map<String, Value>, wanted: &str) -> bool {
    let names = |one: &Value| one == wanted || (wanted == "integer" && one == "number");
    match keywords.get("type") {
        Some(Value::Array(several)) => several.iter().any(names),
        Some(only) => names(only),
        None => true,
    }
}

/// The types that a value is of.
pub(super) fn type_names(value: &Value) -> &'static [&'static str] {
    match value {
        Value::Null => &["null"],
        Value::Bool(_) => &["boolean"],
        Value::Number(number) if number.is_f64() => &["number"],
        Value::Number(_) => &["integer", "number"],
        Value::String(_) => &["string"],
        Value::Array(_) => &["array"],
        Value::Object(_) => &["object"],
    }
}
