//! Makes configurations out of a schema: the least one, each property there and away, each listed value, each bound.
//!
//! What is made is a guess. At every place it is put to a validator of the place's own schema, so that what is built from
//! it has a fair chance, and the caller judges the whole.

use std::collections::HashMap;

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::facts::{Facts, cases, items, names_type, property, stated};
use super::pool::Pool;
use super::texts::texts;
use crate::config_schema::compile;

/// Most whole configurations made from one schema.
const MAX_CANDIDATES: usize = 2_048;
/// Deepest place that is filled.
pub(super) const MAX_DEPTH: usize = 16;
/// Most places that are filled, since a schema that refers to itself twice doubles with each level.
const MAX_PLACES: usize = 4_096;
/// Most values kept for a place within the configuration.
const MAX_VALUES: usize = 24;
/// Most values within a value that is kept: a definition used twice, each time twice, doubles it with each level.
const MAX_SIZE: usize = 500;
/// Most guesses made for a place before validation.
const MAX_GUESSES: usize = 512;

/// The search for a configuration that a caller is looking for.
pub(super) struct Search {
    pool: Pool,
}

impl Search {
    /// `schemas` say which values are worth trying.
    pub(super) fn new(schemas: &[&Value]) -> Self {
        Self { pool: Pool::of(schemas) }
    }

    /// The first configuration made from a schema that is `wanted`.
    pub(super) fn find(&self, schema: &Value, wanted: &mut impl FnMut(&Value) -> bool) -> Option<Value> {
        let mut maker = Maker {
            root: schema,
            pool: &self.pool,
            validators: HashMap::new(),
            known: HashMap::new(),
            places_left: MAX_PLACES,
            open: vec![],
        };
        let mut left = MAX_CANDIDATES;
        for facts in cases(schema, schema, 0) {
            for candidate in maker.guesses(&facts, 0) {
                left = left.checked_sub(1)?;
                if wanted(&candidate) {
                    return Some(candidate);
                }
            }
        }
        None
    }
}

struct Maker<'s> {
    root: &'s Value,
    pool: &'s Pool,
    /// By address of the schema within `root`.
    validators: HashMap<usize, Option<Validator>>,
    /// Values found for places, by the addresses of their schemas.
    known: HashMap<Vec<usize>, Vec<Value>>,
    places_left: usize,
    /// Addresses of the schemas that are being filled.
    open: Vec<usize>,
}

impl<'s> Maker<'s> {
    /// Values that all of a place's schemas accept, the least first.
    fn values(&mut self, schemas: &[&'s Value], depth: usize) -> Vec<Value> {
        let addresses: Vec<usize> = schemas.iter().map(|&schema| std::ptr::from_ref(schema).addr()).collect();
        if let Some(known) = self.known.get(&addresses) {
            return known.clone();
        }
        let mut values = Vec::new();
        for &schema in schemas {
            let address = std::ptr::from_ref(schema).addr();
            let repeated = self.open.iter().filter(|&&open| open == address).count() > 1;
            if depth > MAX_DEPTH || repeated || self.places_left == 0 {
                continue;
            }
            self.places_left -= 1;
            self.open.push(address);
            let cases = cases(self.root, schema, 0);
            // Every case gets its share.
            let share = (MAX_VALUES / cases.len().max(1)).max(2);
            for facts in cases {
                let mut room = share;
                for guess in self.guesses(&facts, depth) {
                    let small = room > 0 && fits(&guess, &mut MAX_SIZE.clone());
                    if small && !values.contains(&guess) && schemas.iter().all(|one| self.accepts(one, &guess)) {
                        values.push(guess);
                        room -= 1;
                    }
                }
            }
            self.open.pop();
        }
        values.truncate(MAX_VALUES);
        // None may only mean that it was asked for too deep.
        if !values.is_empty() {
            self.known.insert(addresses, values.clone());
        }
        values
    }

    fn accepts(&mut self, schema: &'s Value, value: &Value) -> bool {
        let root = self.root;
        let validator = self.validators.entry(std::ptr::from_ref(schema).addr()).or_insert_with(|| {
            let alone = match root.get("$defs") {
                Some(definitions) => json!({ "$defs": definitions, "allOf": [schema] }),
                None => schema.clone(),
            };
            compile(&alone).ok()
        });
        validator.as_ref().is_some_and(|validator| validator.is_valid(value))
    }

    /// Values that may hold all facts, the least first.
    fn guesses(&mut self, facts: &Facts<'s>, depth: usize) -> Vec<Value> {
        let mut guesses: Vec<Value> = stated(facts, "const").cloned().collect();
        for listed in stated(facts, "enum").filter_map(Value::as_array) {
            guesses.extend(listed.iter().cloned());
        }
        if guesses.is_empty() {
            for kind in ["null", "boolean", "integer", "number", "string", "array", "object"] {
                if !stated(facts, "type").all(|stated| names_type(stated, kind)) {
                    continue;
                }
                match kind {
                    "null" => guesses.push(Value::Null),
                    "boolean" => guesses.extend([Value::Bool(false), Value::Bool(true)]),
                    "string" => guesses.extend(self.texts(facts)),
                    "array" => guesses.extend(self.arrays(facts, depth)),
                    "object" => guesses.extend(self.objects(facts, depth)),
                    _ => guesses.extend(self.numbers(facts)),
                }
            }
            guesses.extend(self.pool.values.iter().cloned());
        }
        guesses.truncate(if depth == 0 { MAX_CANDIDATES } else { MAX_GUESSES });
        guesses
    }

    /// The stated bounds first, which in a difference are the ones that matter.
    fn numbers(&self, facts: &Facts<'s>) -> Vec<Value> {
        let own: Vec<Value> = facts.iter().map(|&keywords| Value::Object(keywords.clone())).collect();
        let mut numbers = Pool::of(&own.iter().collect::<Vec<_>>()).numbers;
        numbers.extend(self.pool.numbers.iter().cloned());
        numbers
    }

    fn texts(&self, facts: &Facts<'s>) -> Vec<Value> {
        let own = stated(facts, "pattern").filter_map(Value::as_str);
        let patterns: Vec<&str> = own.chain(self.pool.patterns.iter().map(String::as_str)).collect();
        texts(&patterns, &self.lengths(facts, "minLength", "maxLength")).into_iter().map(Value::from).collect()
    }

    /// Lengths worth trying within what is stated, the least first.
    fn lengths(&self, facts: &Facts<'s>, least: &str, most: &str) -> Vec<u64> {
        let least = stated(facts, least).filter_map(Value::as_u64).max().unwrap_or(0);
        let most = stated(facts, most).filter_map(Value::as_u64).min().unwrap_or(u64::MAX);
        let mut lengths: Vec<u64> = self.pool.lengths.iter().copied().chain([least, least + 1, most]).collect();
        lengths.retain(|length| (least..=most).contains(length));
        lengths.sort_unstable();
        lengths.dedup();
        lengths
    }

    fn arrays(&mut self, facts: &Facts<'s>, depth: usize) -> Vec<Value> {
        const LONGEST: u64 = 256;
        let distinct = stated(facts, "uniqueItems").any(|unique| unique == &Value::Bool(true));
        let wanted: Vec<&Value> = stated(facts, "contains").collect();
        let least_wanted = stated(facts, "minContains").filter_map(Value::as_u64).max().unwrap_or(1);
        let prefix = stated(facts, "prefixItems").filter_map(Value::as_array).map(Vec::len).max().unwrap_or(0);
        // Values for each place of the prefix, and for all places behind it.
        let mut places: Vec<Vec<Value>> = Vec::new();
        for i in 0..=prefix {
            places.push(self.values(&items(facts, i), depth + 1));
        }
        let chosen = self.values(&[items(facts, prefix), wanted].concat(), depth + 1);
        let mut arrays = Vec::new();
        for length in self.lengths(facts, "minItems", "maxItems").into_iter().filter(|&length| length <= LONGEST) {
            for (contained, repeated) in [(least_wanted, false), (least_wanted + 1, false), (length, false), (0, true)]
            {
                let mut array: Vec<Value> = Vec::new();
                for i in 0..usize::try_from(length).unwrap_or_default() {
                    let position = i.saturating_sub(prefix) as u64;
                    let place = &places[i.min(prefix)];
                    let values =
                        if i >= prefix && position < contained && !chosen.is_empty() { &chosen } else { place };
                    let Some(first) = values.first() else { break };
                    let unused = || values.iter().find(|value| !array.contains(value)).cloned();
                    let more = || more_values(first).find(|value| !array.contains(value));
                    let item = if repeated { None } else { unused().or_else(more) };
                    array.push(match item {
                        Some(item) => item,
                        None if distinct => break,
                        None => first.clone(),
                    });
                }
                // Each place with each of its values, around the rest as it is.
                for i in 0..array.len().min(prefix + 2) {
                    for value in &places[i.min(prefix)] {
                        let mut other = array.clone();
                        other[i] = value.clone();
                        arrays.push(Value::Array(other));
                    }
                }
                arrays.push(Value::Array(array));
            }
        }
        arrays.sort_by_key(|array| array.as_array().map(Vec::len));
        arrays.dedup();
        arrays
    }

    fn objects(&mut self, facts: &Facts<'s>, depth: usize) -> Vec<Value> {
        let mut required: Vec<&str> =
            stated(facts, "required").filter_map(Value::as_array).flatten().filter_map(Value::as_str).collect();
        let mut next = 0;
        while let Some(&name) = required.get(next) {
            next += 1;
            let dependent = stated(facts, "dependentRequired").filter_map(|named| named.get(name)?.as_array());
            for also in dependent.flatten().filter_map(Value::as_str) {
                if !required.contains(&also) {
                    required.push(also);
                }
            }
        }
        let mut properties: Vec<(String, Vec<Value>)> = Vec::new();
        for name in self.names(facts, &required) {
            let schemas = property(facts, &name);
            let values = self.values(&schemas, depth + 1);
            if values.is_empty() && required.contains(&name.as_str()) {
                return Vec::new();
            }
            if !values.is_empty() {
                properties.push((name, values));
            }
        }

        variations(&properties, &required, if depth == 0 { MAX_CANDIDATES } else { MAX_GUESSES })
    }

    /// Names that an object may have: those stated and, where a pattern admits more, some of those.
    fn names(&self, facts: &Facts<'s>, required: &[&str]) -> Vec<String> {
        let mut names: Vec<String> = required.iter().map(|&name| name.to_owned()).collect();
        let mut add = |name: &str| {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        };
        for properties in stated(facts, "properties").filter_map(Value::as_object) {
            properties.keys().for_each(|name| add(name));
        }
        let patterns: Vec<&str> = stated(facts, "patternProperties")
            .filter_map(Value::as_object)
            .flat_map(|named| named.keys().map(String::as_str))
            .collect();
        let open = stated(facts, "additionalProperties")
            .chain(stated(facts, "unevaluatedProperties"))
            .any(|schema| schema != &Value::Bool(false));
        if open || !patterns.is_empty() {
            const MOST: usize = 12;
            self.pool.names.iter().take(MOST).for_each(|name| add(name));
            let matching = texts(&patterns, &self.lengths(facts, "minLength", "maxLength"));
            matching.iter().take(MOST).for_each(|name| add(name));
        }
        names
    }
}

/// Objects out of the values that each property may have: the least, the whole, the whole of each further value, each property with each of its values in
/// both, each property left out of the whole, growing ones, and pairs. At most `most`.
fn variations(properties: &[(String, Vec<Value>)], required: &[&str], most: usize) -> Vec<Value> {
    /// A whole with more properties is not repeated for each value.
    const WIDE: usize = 64;
    /// Values of each of a pair.
    const PAIRED: usize = 4;
    let with = |base: &Map<String, Value>, more: &[(&String, &Value)]| {
        let mut object = base.clone();
        object.extend(more.iter().map(|&(name, value)| (name.clone(), value.clone())));
        object
    };
    let first = |all: bool| -> Map<String, Value> {
        let kept = properties.iter().filter(|(name, _)| all || required.contains(&name.as_str()));
        kept.map(|(name, values)| (name.clone(), values[0].clone())).collect()
    };
    let (least, whole) = (first(false), first(true));
    let mut objects = vec![least.clone(), whole.clone()];
    for i in 1..MAX_VALUES {
        let all = properties.iter().filter_map(|(name, values)| Some((name, values.get(i).or(values.last())?)));
        objects.push(with(&Map::new(), &all.collect::<Vec<_>>()));
    }
    // The first values of all properties come before the second ones of any.
    for i in 0..MAX_VALUES {
        for (name, values) in properties {
            let Some(value) = values.get(i) else { continue };
            objects.push(with(&least, &[(name, value)]));
            if properties.len() <= WIDE {
                objects.push(with(&whole, &[(name, value)]));
            }
        }
        if objects.len() > most {
            break;
        }
    }
    let mut growing = least.clone();
    for (name, values) in properties.iter().take(WIDE) {
        growing.entry(name.clone()).or_insert_with(|| values[0].clone());
        objects.push(growing.clone());
        let mut without = whole.clone();
        without.shift_remove(name);
        objects.push(without);
    }
    'pairs: for (i, (one, one_values)) in properties.iter().enumerate() {
        for (other, other_values) in &properties[i + 1..] {
            for a in one_values.iter().take(PAIRED) {
                for b in other_values.iter().take(PAIRED) {
                    objects.push(with(&least, &[(one, a), (other, b)]));
                }
            }
            if objects.len() > most {
                break 'pairs;
            }
        }
    }
    objects.truncate(most);
    objects.into_iter().map(Value::Object).collect()
}

/// Whether a value holds at most `left` values, which is counted down.
fn fits(value: &Value, left: &mut usize) -> bool {
    let Some(less) = left.checked_sub(1) else { return false };
    *left = less;
    match value {
        Value::Array(items) => items.iter().all(|item| fits(item, left)),
        Value::Object(properties) => properties.values().all(|property| fits(property, left)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

/// Values of the same sort as one, to fill a list without repetition.
fn more_values(like: &Value) -> impl Iterator<Item = Value> + use<> {
    let like = like.clone();
    (2..300_i64).filter_map(move |i| match &like {
        Value::Number(_) => Some(Value::from(i)),
        Value::String(text) => Some(Value::from(format!("{text}{i}"))),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    })
}
