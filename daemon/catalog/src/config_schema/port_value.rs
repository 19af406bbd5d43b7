//! What a port gives as data: a closed schema of a value of any type, and whether a configuration that takes such
//! values is valid whatever they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::compatibility::{Compatibility, compatibility, example};
use super::rules::{self, SCHEMA_KEYWORDS, SchemaFault, Subject, escape};
use super::{ConfigSchema, compile};

/// A JSON Schema (2020-12) of a value of any type, closed at every object. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct ValueSchema {
    schema: Arc<Value>,
}

impl ValueSchema {
    /// Checks a schema under the rules of [`ConfigSchema::new`], save that its root may be of any type.
    ///
    /// # Errors
    /// Every fault found, with its JSON pointer.
    pub fn new(schema: Value) -> Result<Self, Vec<SchemaFault>> {
        rules::check(&schema, Subject::PortValue)?;
        compile(&schema).map_err(|fault| vec![fault])?;
        Ok(Self::trusted(schema))
    }

    /// A schema that passed [`ValueSchema::new`] before.
    pub(crate) fn trusted(schema: Value) -> Self {
        Self { schema: Arc::new(schema) }
    }

    /// The schema as written.
    pub fn as_value(&self) -> &Value {
        &self.schema
    }

    /// A value that the schema accepts; `None` where none was found.
    pub(crate) fn example(&self) -> Option<Value> {
        let holes = BTreeMap::from([("/value".to_owned(), self)]);
        let mut found = example(&described(&json!({ "value": null }), &holes))?;
        found.get_mut("value").map(Value::take)
    }
}

impl std::fmt::Debug for ValueSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ValueSchema").field(&self.schema).finish()
    }
}

/// Whether a configuration schema accepts a configuration whatever the values are that come to stand at its holes.
///
/// `holes` are JSON pointers into the configuration, none within another.
pub(crate) fn accepts_all(
    schema: &ConfigSchema,
    configuration: &Value,
    holes: &BTreeMap<String, &ValueSchema>,
) -> Compatibility {
    compatibility(Some(&described(configuration, holes)), Some(schema))
}

/// The schema of all configurations that are as the given one, save at the holes.
fn described(configuration: &Value, holes: &BTreeMap<String, &ValueSchema>) -> ConfigSchema {
    let mut definitions = Map::new();
    let mut schema = at(configuration, "", holes, &mut definitions);
    if !definitions.is_empty() {
        schema["$defs"] = Value::Object(definitions);
    }
    ConfigSchema::trusted(schema)
}

fn at(
    value: &Value,
    pointer: &str,
    holes: &BTreeMap<String, &ValueSchema>,
    definitions: &mut Map<String, Value>,
) -> Value {
    if let Some(hole) = holes.get(pointer) {
        let prefix = format!("{}-", definitions.len());
        if let Some(Value::Object(own)) = hole.schema.get("$defs") {
            let renamed = own.iter().map(|(name, schema)| (format!("{prefix}{name}"), rebased(schema, &prefix)));
            definitions.extend(renamed.collect::<Vec<_>>());
        }
        let mut schema = rebased(&hole.schema, &prefix);
        if let Value::Object(keywords) = &mut schema {
            keywords.remove("$defs");
            keywords.remove("$schema");
        }
        return schema;
    }
    let within = format!("{pointer}/");
    if !pointer.is_empty() && !holes.keys().any(|hole| hole.starts_with(&within)) {
        return json!({ "const": value });
    }
    match value {
        Value::Object(entries) => {
            let properties: Map<String, Value> = entries
                .iter()
                .map(|(name, value)| {
                    (name.clone(), at(value, &format!("{pointer}/{}", escape(name)), holes, definitions))
                })
                .collect();
            let required: Vec<&String> = entries.keys().collect();
            json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties })
        }
        Value::Array(items) => {
            let described: Vec<Value> = items
                .iter()
                .enumerate()
                .map(|(i, item)| at(item, &format!("{pointer}/{i}"), holes, definitions))
                .collect();
            json!({ "type": "array", "prefixItems": described, "items": false, "minItems": items.len() })
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => json!({ "const": value }),
    }
}

/// The schema with its references leading to definitions under names that start with `prefix`.
fn rebased(schema: &Value, prefix: &str) -> Value {
    let Value::Object(keywords) = schema else { return schema.clone() };
    let renamed = keywords.iter().map(|(keyword, value)| {
        let value = match (SCHEMA_KEYWORDS.iter().find(|(name, _, _)| name == keyword), value) {
            (Some(_), Value::Array(schemas)) => schemas.iter().map(|schema| rebased(schema, prefix)).collect(),
            (Some((_, shape, _)), Value::Object(schemas)) if shape.is_named() => {
                schemas.iter().map(|(name, schema)| (name.clone(), rebased(schema, prefix))).collect()
            }
            (Some(_), schema) => rebased(schema, prefix),
            (None, Value::String(reference)) if keyword == "$ref" => {
                Value::String(reference.replacen("#/$defs/", &format!("#/$defs/{prefix}"), 1))
            }
            (None, value) => value.clone(),
        };
        (keyword.clone(), value)
    });
    Value::Object(renamed.collect())
}
