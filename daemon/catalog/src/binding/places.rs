//! What a schema says of secrecy at each place of a configuration.
//!
//! Alternatives are not told apart: a place counts as a secret's when any of the subschemas that may judge it says so.
//! That errs on the safe side, since only texts that no `enum` or `const` lists are refused for it.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use serde_json::Value;

use super::fault::pointer_to;
use crate::config_schema::{Judging, SCHEMA_KEYWORDS, held};

/// One value within a configuration.
pub(super) struct Place<'v> {
    /// JSON pointer (RFC 6901).
    pub(super) pointer: String,
    /// Name of the nearest property around the value; empty at the root.
    pub(super) field: &'v str,
    /// The property's name, where the schema does not list it.
    pub(super) free_name: Option<&'v str>,
    pub(super) value: &'v Value,
    /// Whether a subschema that may judge the value has `x-secret`.
    pub(super) secret: bool,
    /// Whether such a subschema lists the value under `enum` or `const`.
    pub(super) listed: bool,
    /// Whether the value is a text that stands in the schema, listed or as a default.
    pub(super) published: bool,
}

impl<'v> Place<'v> {
    /// The text where a reference to a secret should stand and does not.
    pub(super) fn inline_secret(&self) -> Option<&'v str> {
        let text = self.value.as_str()?;
        (self.secret && !self.listed && !crate::secret::is_reference(text)).then_some(text)
    }
}

/// Every value of a configuration, parents first.
pub(super) fn places<'v>(schema: &Value, configuration: &'v Value) -> Vec<Place<'v>> {
    let mut published = HashSet::new();
    publish(schema, &mut published);
    let mut walk = Walk { root: schema, published, gathered: HashMap::new(), places: Vec::new() };
    walk.visit(Visit {
        schemas: vec![schema],
        value: configuration,
        pointer: String::new(),
        field: "",
        free_name: None,
    });
    walk.places
}

/// A value and the subschemas that judge it, before these are followed.
struct Visit<'s, 'v> {
    schemas: Vec<&'s Value>,
    value: &'v Value,
    pointer: String,
    field: &'v str,
    free_name: Option<&'v str>,
}

struct Walk<'s, 'v> {
    root: &'s Value,
    published: HashSet<&'s str>,
    /// What was gathered from the same schemas, by their addresses: the items of a list have them in common.
    gathered: HashMap<Vec<*const Value>, Rc<Judging<'s>>>,
    places: Vec<Place<'v>>,
}

impl<'s, 'v> Walk<'s, 'v> {
    fn visit(&mut self, visit: Visit<'s, 'v>) {
        let Visit { schemas, value, pointer, field, free_name } = visit;
        let judging = self.judging(schemas);
        let secret = judging.keywords().any(|keywords| keywords.get("x-secret") == Some(&Value::Bool(true)));
        let listed = judging.keywords().any(|keywords| {
            keywords.get("const") == Some(value)
                || keywords.get("enum").and_then(Value::as_array).is_some_and(|values| values.contains(value))
        });
        let published = value.as_str().is_some_and(|text| self.published.contains(text));
        let children: Vec<Visit<'s, 'v>> = match value {
            Value::Object(entries) => entries
                .iter()
                .map(|(name, child)| {
                    let schemas = judging.of_property(name);
                    let free_name = (!judging.lists(name)).then_some(name.as_str());
                    Visit { schemas, value: child, pointer: pointer_to(&pointer, name), field: name, free_name }
                })
                .collect(),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(i, child)| {
                    let schemas = judging.of_item(i);
                    Visit { schemas, value: child, pointer: format!("{pointer}/{i}"), field, free_name: None }
                })
                .collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
        };
        self.places.push(Place { pointer, field, free_name, value, secret, listed, published });
        for child in children {
            self.visit(child);
        }
    }

    fn judging(&mut self, schemas: Vec<&'s Value>) -> Rc<Judging<'s>> {
        let root = self.root;
        let key = schemas.iter().map(|schema| std::ptr::from_ref(*schema)).collect();
        Rc::clone(self.gathered.entry(key).or_insert_with(|| Rc::new(Judging::of(root, schemas))))
    }
}

/// The texts that a schema itself states as values: nobody's secret.
fn publish<'s>(schema: &'s Value, published: &mut HashSet<&'s str>) {
    let Value::Object(keywords) = schema else { return };
    for keyword in ["enum", "const", "default"] {
        if let Some(value) = keywords.get(keyword) {
            texts(value, published);
        }
    }
    for (keyword, shape, _) in SCHEMA_KEYWORDS {
        for (_, schema) in held(keywords, keyword, *shape) {
            publish(schema, published);
        }
    }
}

fn texts<'s>(value: &'s Value, found: &mut HashSet<&'s str>) {
    match value {
        Value::String(text) => {
            found.insert(text);
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(entries) => entries.values().for_each(|item| texts(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
