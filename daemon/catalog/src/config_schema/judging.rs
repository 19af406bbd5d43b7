//! Which subschemas judge a value of a configuration, and what they have against it.

use std::collections::HashSet;

use jsonschema::{ValidationError, Validator};
use serde_json::{Map, Value};

use super::rules::target;

/// Least room that one objection takes, in bytes.
const OBJECTION_BYTES: usize = 256;
/// Most bytes of objections that are listed. An objection may hold a whole list of values or names.
const MAX_OBJECTION_BYTES: usize = 16 * 1024 * 1024;

/// The subschemas that may judge one value, each once. Alternatives are not told apart.
pub(crate) struct Judging<'s>(Vec<&'s Map<String, Value>>);

impl<'s> Judging<'s> {
    /// Follows references and combining keywords from the given schemas of `root`. This ends: schemas whose references
    /// lead back to themselves without a property or an item between are refused when they are read.
    pub(crate) fn of(root: &'s Value, schemas: impl IntoIterator<Item = &'s Value>) -> Self {
        let mut gathered = Vec::new();
        let mut known = HashSet::new();
        for schema in schemas {
            gather(root, schema, &mut known, &mut gathered);
        }
        Self(gathered)
    }

    pub(crate) fn keywords(&self) -> impl Iterator<Item = &'s Map<String, Value>> + '_ {
        self.0.iter().copied()
    }

    fn says(&self, keyword: &'static str) -> impl Iterator<Item = &'s Value> + '_ {
        self.0.iter().filter_map(move |keywords| keywords.get(keyword))
    }

    /// Whether one of them lists a property under `properties`.
    pub(crate) fn lists(&self, name: &str) -> bool {
        self.says("properties").any(|listed| listed.get(name).is_some())
    }

    /// The schemas of a property. Which of the patterns holds for its name is left to the validator.
    pub(crate) fn of_property(&self, name: &str) -> Vec<&'s Value> {
        let mut schemas: Vec<&'s Value> = self.says("properties").filter_map(|listed| listed.get(name)).collect();
        let listed = !schemas.is_empty();
        schemas.extend(self.says("patternProperties").filter_map(Value::as_object).flat_map(Map::values));
        if !listed {
            schemas.extend(self.says("additionalProperties").chain(self.says("unevaluatedProperties")));
        }
        schemas
    }

    /// The schemas of an item, counted from 0.
    pub(crate) fn of_item(&self, position: usize) -> Vec<&'s Value> {
        let mut schemas: Vec<&'s Value> = self.says("prefixItems").filter_map(|first| first.get(position)).collect();
        schemas.extend(self.says("items").chain(self.says("unevaluatedItems")).chain(self.says("contains")));
        schemas
    }
}

fn gather<'s>(
    root: &'s Value,
    schema: &'s Value,
    known: &mut HashSet<*const Value>,
    gathered: &mut Vec<&'s Map<String, Value>>,
) {
    let Value::Object(keywords) = schema else { return };
    if !known.insert(std::ptr::from_ref(schema)) {
        return;
    }
    gathered.push(keywords);
    if let Some((_, schema)) = target(root, keywords) {
        gather(root, schema, known, gathered);
    }
    for keyword in ["allOf", "anyOf", "oneOf", "then", "else", "dependentSchemas"] {
        match keywords.get(keyword) {
            Some(Value::Array(members)) => members.iter().for_each(|member| gather(root, member, known, gathered)),
            Some(Value::Object(members)) if keyword == "dependentSchemas" => {
                members.values().for_each(|member| gather(root, member, known, gathered));
            }
            Some(member) => gather(root, member, known, gathered),
            None => {}
        }
    }
}

/// What a validator has against a value: everything, or only the first where all of it could take too much room.
pub(crate) fn objections<'i>(schema: &Value, validator: &'i Validator, value: &'i Value) -> Vec<ValidationError<'i>> {
    if validator.is_valid(value) {
        return Vec::new();
    }
    let mut room = MAX_OBJECTION_BYTES;
    if weigh(schema, vec![schema], value, &mut room) {
        validator.iter_errors(value).collect()
    } else {
        validator.validate(value).err().into_iter().collect()
    }
}

/// Takes what the subschemas may say of a value, and of all within it, from the room; false when that is too much.
fn weigh(root: &Value, schemas: Vec<&Value>, value: &Value, room: &mut usize) -> bool {
    let judging = Judging::of(root, schemas);
    for keywords in judging.keywords() {
        let names = keywords.get("required").and_then(Value::as_array).map_or(0, Vec::len);
        let listed = ["enum", "const", "pattern", "not"]
            .iter()
            .filter_map(|keyword| keywords.get(*keyword))
            .map(size)
            .sum::<usize>();
        let Some(left) = room.checked_sub(OBJECTION_BYTES * (1 + names) + listed) else { return false };
        *room = left;
    }
    match value {
        Value::Object(entries) => {
            entries.iter().all(|(name, child)| weigh(root, judging.of_property(name), child, room))
        }
        Value::Array(items) => items.iter().enumerate().all(|(i, item)| weigh(root, judging.of_item(i), item, room)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

/// About the bytes of a value in memory.
fn size(value: &Value) -> usize {
    const NODE: usize = 48;
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => NODE,
        Value::String(text) => NODE + text.len(),
        Value::Array(items) => NODE + items.iter().map(size).sum::<usize>(),
        Value::Object(entries) => {
            NODE + entries.iter().map(|(name, value)| NODE + name.len() + size(value)).sum::<usize>()
        }
    }
}
