//! The proof for schemas whose definitions refer to themselves, which the library's algebra leaves undecided.
//!
//! It is an induction over the size of a value. Each definition that both schemas have is compared under the assumption
//! that references to such definitions mean what they meant in the older schema; then so are the roots. That carries over
//! to the newer meaning because, where no keyword turns acceptance round, a reference that accepts more never makes what
//! refers to it accept less, and a reference back to a definition is only reached within a smaller value.

use serde_json::{Map, Value, json};

use crate::config_schema::rules::{SCHEMA_KEYWORDS, held};

/// Below these a schema that accepts more can make the whole accept less.
const TURNING: &[&str] = &["not", "if", "oneOf", "contains"];
/// These look at what a reference is made of, not only at what it accepts.
const LOOKING_INSIDE: &[&str] = &["unevaluatedProperties", "unevaluatedItems"];

/// Whether the newer schema accepts all that the older accepts; false says nothing. `covers(old, new)` proves that of
/// schemas of the same definitions.
pub(super) fn covered(old: &Value, new: &Value, covers: impl Fn(&Value, &Value) -> bool) -> bool {
    let (Some(Value::Object(before)), Some(Value::Object(after))) = (old.get("$defs"), new.get("$defs")) else {
        return false;
    };
    if !is_monotone(new, false) {
        return false;
    }
    // Definitions that are new keep their own meaning.
    let mut mixed = after.clone();
    mixed.extend(before.clone());
    let whole = |schema: &Value, definitions: &Map<String, Value>| json!({ "$defs": definitions, "allOf": [schema] });
    let shared = after.iter().filter_map(|(name, schema)| Some((before.get(name)?, schema)));
    shared.chain([(old, new)]).all(|(old, new)| covers(&whole(&bare(old), before), &whole(&bare(new), &mixed)))
}

/// A schema without definitions of its own.
fn bare(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Value::Object(keywords) = &mut schema {
        keywords.shift_remove("$defs");
    }
    schema
}

/// Whether references stand only where accepting more makes the whole accept more, and lead to whole definitions.
fn is_monotone(schema: &Value, turned: bool) -> bool {
    let Value::Object(keywords) = schema else { return true };
    if LOOKING_INSIDE.iter().any(|keyword| keywords.contains_key(*keyword)) {
        return false;
    }
    let reference = keywords.get("$ref").and_then(Value::as_str);
    let plain = |to: &str| to.strip_prefix("#/$defs/").is_some_and(|name| !name.contains(['/', '~', '%']));
    if reference.is_some_and(|to| turned || !plain(to)) {
        return false;
    }
    SCHEMA_KEYWORDS.iter().all(|(keyword, shape, _)| {
        let turned = turned || TURNING.contains(keyword);
        held(keywords, keyword, *shape).into_iter().all(|(_, schema)| is_monotone(schema, turned))
    })
}
