//! Values at which schemas change their mind: the bounds, lengths, names and listed values that two schemas mention.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::config_schema::rules::{SCHEMA_KEYWORDS, held};

/// Most entries of each sort; a schema with more is searched less well.
const MOST: usize = 48;
/// Longest text or list that is made, in characters or items.
pub(super) const MAX_LENGTH: u64 = 1_024;

/// What the schemas mention, each sort without repetition.
#[derive(Default)]
pub(super) struct Pool {
    /// Bounds and divisors of numbers, with their neighbours.
    pub(super) numbers: Vec<Value>,
    /// Bounds of lengths and counts, with their neighbours.
    pub(super) lengths: BTreeSet<u64>,
    /// Values of `enum` and `const`.
    pub(super) values: Vec<Value>,
    /// Names of properties.
    pub(super) names: Vec<String>,
    /// Patterns of texts and names.
    pub(super) patterns: Vec<String>,
}

impl Pool {
    pub(super) fn of(schemas: &[&Value]) -> Self {
        let mut pool = Self { lengths: BTreeSet::from([0, 1, 2]), ..Self::default() };
        for number in ["0", "1", "-1", "0.5", "2", "1000000", "-1000000"] {
            pool.numbers.extend(number.parse::<f64>().ok().and_then(number_of));
        }
        let mut waiting = schemas.to_vec();
        while let Some(schema) = waiting.pop() {
            pool.note(schema);
            if let Value::Object(keywords) = schema {
                for (keyword, shape, _) in SCHEMA_KEYWORDS {
                    waiting.extend(held(keywords, keyword, *shape).into_iter().map(|(_, schema)| schema));
                }
            }
        }
        pool
    }

    fn note(&mut self, schema: &Value) {
        let Value::Object(keywords) = schema else { return };
        for (keyword, value) in keywords {
            match (keyword.as_str(), value) {
                (
                    "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf",
                    Value::Number(bound),
                ) => {
                    add(&mut self.numbers, value.clone());
                    for near in bound.as_f64().into_iter().flat_map(neighbours).filter_map(number_of) {
                        add(&mut self.numbers, near);
                    }
                }
                (
                    "minLength" | "maxLength" | "minItems" | "maxItems" | "minContains" | "maxContains"
                    | "minProperties" | "maxProperties",
                    Value::Number(bound),
                ) => {
                    let bound = bound.as_u64().unwrap_or(u64::MAX);
                    if bound < MAX_LENGTH && self.lengths.len() < MOST {
                        self.lengths.extend([bound.saturating_sub(1), bound, bound + 1]);
                    }
                }
                ("enum", Value::Array(values)) => {
                    for value in values {
                        add(&mut self.values, value.clone());
                    }
                }
                ("const", value) => add(&mut self.values, value.clone()),
                ("pattern", Value::String(pattern)) => add(&mut self.patterns, pattern.clone()),
                ("properties", Value::Object(properties)) => {
                    for name in properties.keys() {
                        add(&mut self.names, name.clone());
                    }
                }
                ("patternProperties", Value::Object(properties)) => {
                    for pattern in properties.keys() {
                        add(&mut self.patterns, pattern.clone());
                    }
                }
                _ => {}
            }
        }
    }
}

fn add<T: PartialEq>(known: &mut Vec<T>, more: T) {
    if known.len() < MOST * 4 && !known.contains(&more) {
        known.push(more);
    }
}

/// Numbers that a bound may treat differently from itself, and multiples of it.
fn neighbours(bound: f64) -> [f64; 8] {
    [bound - 1.0, bound + 1.0, bound - 0.5, bound + 0.5, bound.floor(), bound.ceil(), bound * 2.0, bound * 3.0]
}

/// A finite number, as an integer where it is one.
pub(super) fn number_of(number: f64) -> Option<Value> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
        return Some(Value::from(number as i64));
    }
    serde_json::Number::from_f64(number).map(Value::Number)
}
