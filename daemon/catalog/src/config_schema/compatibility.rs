//! Whether a newer configuration schema still accepts every configuration that an older one accepted.
//!
//! Two ways are tried, and each may only say what it can show. A search makes configurations out of both schemas and of
//! their difference and puts them to the validators: one that the older schema accepts and the newer refuses settles the
//! question. A proof compares both schemas as sets of values. Where neither succeeds the answer is that it is not known.

mod candidates;
mod definitions;
mod facts;
mod pool;
mod proof;
mod texts;

use jsonschema::Validator;
use serde_json::{Map, Value};

use super::ConfigSchema;
use super::rules::{SCHEMA_KEYWORDS, one_line};
use candidates::Search;
use proof::Proof;

/// What becomes of the configurations of an older version when a newer one takes its place.
#[derive(Debug, Clone, PartialEq)]
pub enum Compatibility {
    /// Every configuration that the older schema accepts is accepted by the newer: this was proven.
    Compatible,
    /// At least one configuration is refused from now on.
    Incompatible {
        /// A configuration that the older schema accepts and the newer refuses; both validators have said so.
        counter_example: Value,
        /// JSON pointer (RFC 6901) into the counter-example, to the value that is refused first.
        pointer: String,
        /// What the newer schema says of it, on one line.
        explanation: String,
    },
    /// Neither of the two could be shown. This is never a pass.
    Unknown {
        /// JSON pointer into the newer schema, to the smallest part that is in doubt.
        pointer: String,
        /// What could not be compared.
        explanation: String,
    },
}

/// Compares two versions' configuration schemas; a version without one accepts the empty configuration `{}` only.
///
/// What counts is what the validator says of a configuration as it stands: defaults are not filled in before, so a newly
/// required property makes versions incompatible even when it has a default. At most 4,096 configurations are tried, none
/// deeper than 16 levels.
pub fn compatibility(old: Option<&ConfigSchema>, new: Option<&ConfigSchema>) -> Compatibility {
    let (old, new) = (old.cloned(), new.cloned());
    let (old, new) = (old.unwrap_or_else(ConfigSchema::of_nothing), new.unwrap_or_else(ConfigSchema::of_nothing));
    let (Some(accepts), Some(judges)) = (old.validator(), new.validator()) else {
        return unknown("", "a configuration schema cannot be compiled");
    };
    let (old, new) = (meaning(old.as_value()), meaning(new.as_value()));
    if old == new {
        return Compatibility::Compatible;
    }

    let search = Search::new(&[&old, &new]);
    let mut refused = |candidate: &Value| accepts.is_valid(candidate) && !judges.is_valid(candidate);
    // The search comes first although a proof would make it needless: it mostly is cheaper, the library that proves is
    // young, and the validators have the last word.
    if let Some(counter_example) = search.find(&old, &mut refused) {
        return incompatible(judges, counter_example);
    }
    let proof = match Proof::of(&old, &new) {
        Ok(proof) if proof.holds() => return Compatibility::Compatible,
        Ok(proof) => proof,
        Err(explanation) => return unknown("", explanation),
    };
    match proof.difference().and_then(|difference| search.find(&difference, &mut refused)) {
        Some(counter_example) => incompatible(judges, counter_example),
        None => proof.doubt(),
    }
}

/// A configuration that a schema accepts; `None` where none was found.
pub(super) fn example(schema: &ConfigSchema) -> Option<Value> {
    let accepts = schema.validator()?;
    let schema = meaning(schema.as_value());
    Search::new(&[&schema]).find(&schema, &mut |candidate: &Value| accepts.is_valid(candidate))
}

fn incompatible(judges: &Validator, counter_example: Value) -> Compatibility {
    let (pointer, explanation) = match judges.iter_errors(&counter_example).next() {
        Some(error) => (error.instance_path().as_str().to_owned(), one_line(&error)),
        None => (String::new(), "is refused".to_owned()),
    };
    Compatibility::Incompatible { counter_example, pointer, explanation }
}

fn unknown(pointer: &str, explanation: impl Into<String>) -> Compatibility {
    Compatibility::Unknown { pointer: pointer.to_owned(), explanation: explanation.into() }
}

/// A schema without what says nothing about which values it accepts, and with lists that are sets in order.
fn meaning(schema: &Value) -> Value {
    const ANNOTATIONS: [&str; 9] =
        ["$comment", "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$schema"];
    let Value::Object(keywords) = schema else { return schema.clone() };
    let mut kept = Map::new();
    for (keyword, value) in keywords {
        if ANNOTATIONS.contains(&keyword.as_str()) || keyword.starts_with("x-") {
            continue;
        }
        let value = match (SCHEMA_KEYWORDS.iter().find(|(name, _, _)| name == keyword), value) {
            (Some(_), Value::Array(schemas)) => schemas.iter().map(meaning).collect(),
            (Some((_, shape, _)), Value::Object(schemas)) if shape.is_named() => {
                schemas.iter().map(|(name, schema)| (name.clone(), meaning(schema))).collect()
            }
            (Some(_), schema) => meaning(schema),
            (None, Value::Array(set)) if matches!(keyword.as_str(), "required" | "type" | "enum") => {
                let mut set = set.clone();
                set.sort_by_cached_key(Value::to_string);
                Value::Array(set)
            }
            (None, value) => value.clone(),
        };
        kept.insert(keyword.clone(), value);
    }
    Value::Object(kept)
}
