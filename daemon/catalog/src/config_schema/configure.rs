//! Fills defaults around bound properties and finds what is still open.
//!
//! Only what a schema states unconditionally (`properties`, `required`, and both through `$ref` and `allOf`) is filled
//! in. What it states under a condition (`anyOf`, `oneOf`, `then`, `dependentRequired`, …) is judged by validating the
//! result: a requirement that is missing there is open too.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value};

use super::judging::objections;
use super::rules::{escape, one_line, target};

/// Deepest object that is filled in; a schema that requires more describes no finite configuration.
const MAX_FILL_DEPTH: usize = 32;
/// Most objects that are filled in, since a schema that requires itself twice doubles with each level.
const MAX_FILLED_OBJECTS: usize = 1_000;
/// Most bytes of defaults that are filled in, as JSON: a large default in a list's items comes once for each of them.
const MAX_FILLED_BYTES: usize = 1024 * 1024;
/// Most properties that are looked at, each as often as an object may have it.
const MAX_PROPERTIES_SEEN: usize = 500_000;
/// Most open and most unknown properties that are listed.
const MAX_LISTED: usize = 1_000;

/// A property that still has to be decided, or one that was decided wrongly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenProperty {
    /// JSON pointer into the configuration (RFC 6901); empty for the whole.
    pub pointer: String,
    /// For an open property the schema's description of it, which may be empty; for a wrong one, what is wrong.
    pub description: String,
}

/// What a schema makes of the properties that a caller bound.
#[derive(Debug, Clone, PartialEq)]
pub struct Configured {
    /// The configuration so far: defaults filled in, and those of the bound properties that the schema knows.
    pub resolved: Value,
    /// Required properties that are neither bound nor have a default, in the order of the schema.
    pub open: Vec<OpenProperty>,
    /// Bound properties whose values the schema refuses, by pointer.
    pub violations: Vec<OpenProperty>,
    /// JSON pointers of bound properties that the schema does not know, in the caller's order.
    pub ignored: Vec<String>,
}

impl Configured {
    /// Whether nothing is left to generate and nothing is wrong.
    pub fn is_satisfied(&self) -> bool {
        self.open.is_empty() && self.violations.is_empty()
    }

    pub(crate) fn without_schema(bound: &Value) -> Self {
        let ignored = match bound {
            Value::Object(properties) => properties.keys().map(|name| format!("/{}", escape(name))).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Vec::new(),
        };
        Self { resolved: Value::Object(Map::new()), open: Vec::new(), violations: Vec::new(), ignored }
    }
}

/// `validator` is the compiled `schema`; without one everything is a violation, since nothing can be promised.
pub(super) fn configure(schema: &Value, validator: Option<&Validator>, bound: &Value) -> Configured {
    let mut violations = Vec::new();
    let nothing = Map::new();
    let bound = match bound {
        Value::Object(properties) => properties,
        Value::Null => &nothing,
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            violations.push(OpenProperty {
                pointer: String::new(),
                description: "bound properties must be an object".to_owned(),
            });
            &nothing
        }
    };
    let Filled { resolved, mut open, ignored, complete } = fill(schema, bound);
    if !complete {
        violations.push(OpenProperty { pointer: String::new(), description: too_many_defaults() });
    }
    match validator {
        None => violations.push(OpenProperty {
            pointer: String::new(),
            description: "the configuration schema cannot be compiled".to_owned(),
        }),
        Some(validator) if complete => judge(schema, validator, &resolved, &mut open, &mut violations),
        Some(_) => {}
    }
    let ignored = ignored.into_iter().map(|property| property.pointer).collect();
    Configured { resolved, open, violations, ignored }
}

/// A configuration with defaults filled in, before a validator has judged it.
pub(crate) struct Filled {
    pub(crate) resolved: Value,
    /// Required properties without a value, as far as the schema states them unconditionally.
    pub(crate) open: Vec<OpenProperty>,
    /// Properties that the schema does not know; they are not in `resolved`.
    pub(crate) ignored: Vec<Ignored>,
    /// Whether all defaults found room.
    pub(crate) complete: bool,
}

/// A property that the schema does not know, and the names that it knows in that place.
pub(crate) struct Ignored {
    pub(crate) pointer: String,
    pub(crate) name: String,
    pub(crate) known: Vec<String>,
}

pub(crate) fn too_many_defaults() -> String {
    format!(
        "there is too much to fill in: more than {MAX_FILLED_BYTES} bytes of defaults or {MAX_PROPERTIES_SEEN} properties"
    )
}

/// Fills in defaults and sorts properties into known and unknown ones.
pub(super) fn fill(schema: &Value, bound: &Map<String, Value>) -> Filled {
    let mut filling = Filling {
        root: schema,
        objects: 0,
        room: MAX_FILLED_BYTES,
        seen: 0,
        stated: HashMap::new(),
        complete: true,
        open: Vec::new(),
        ignored: Vec::new(),
    };
    let resolved = Value::Object(filling.object(schema, bound, "", 0));
    let Filling { open, ignored, complete, .. } = filling;
    Filled { resolved, open, ignored, complete }
}

/// Sorts what the validator still misses into open properties and violations. What is found here follows what the
/// filling found, by pointer.
fn judge(
    schema: &Value,
    validator: &Validator,
    resolved: &Value,
    open: &mut Vec<OpenProperty>,
    violations: &mut Vec<OpenProperty>,
) {
    let mut more = Vec::new();
    let mut combinations = Vec::new();
    for error in objections(schema, validator, resolved) {
        let pointer = error.instance_path().as_str();
        match error.kind() {
            ValidationErrorKind::Required { property } => {
                let pointer = format!("{pointer}/{}", escape(property.as_str().unwrap_or_default()));
                more.push(OpenProperty { pointer, description: String::new() });
            }
            // More properties can still settle these.
            ValidationErrorKind::AnyOf { .. }
            | ValidationErrorKind::OneOfNotValid { .. }
            | ValidationErrorKind::OneOfMultipleValid { .. }
            | ValidationErrorKind::MinProperties { .. }
                if resolved.pointer(pointer).is_some_and(Value::is_object) =>
            {
                combinations.push(OpenProperty { pointer: pointer.to_owned(), description: one_line(&error) });
            }
            _ => violations.push(OpenProperty { pointer: pointer.to_owned(), description: one_line(&error) }),
        }
    }
    more.retain(|property| open.iter().all(|known| known.pointer != property.pointer));
    combinations.retain(|whole| {
        // An open property within the object explains it already.
        let within = format!("{}/", whole.pointer);
        !open.iter().chain(&more).any(|property| property.pointer.starts_with(&within))
    });
    more.append(&mut combinations);
    more.sort_by(|a, b| (&a.pointer, &a.description).cmp(&(&b.pointer, &b.description)));
    more.dedup_by(|a, b| a.pointer == b.pointer);
    open.append(&mut more);
    violations.sort_by(|a, b| (&a.pointer, &a.description).cmp(&(&b.pointer, &b.description)));
}

struct Filling<'s> {
    root: &'s Value,
    objects: usize,
    /// Bytes of defaults that may still be filled in.
    room: usize,
    /// Properties looked at so far.
    seen: usize,
    /// What schemas state, by their addresses.
    stated: HashMap<*const Value, Rc<Stated<'s>>>,
    complete: bool,
    open: Vec<OpenProperty>,
    ignored: Vec<Ignored>,
}

impl<'s> Filling<'s> {
    fn object(
        &mut self,
        schema: &'s Value,
        bound: &Map<String, Value>,
        pointer: &str,
        depth: usize,
    ) -> Map<String, Value> {
        self.objects += 1;
        let stated = self.stated(schema);
        self.seen += stated.properties.len() + bound.len();
        if self.seen > MAX_PROPERTIES_SEEN {
            self.complete = false;
            return bound.clone();
        }
        let mut filled = Map::new();
        for &(name, property) in &stated.properties {
            let here = format!("{pointer}/{}", escape(name));
            if let Some(value) = bound.get(name) {
                filled.insert(name.to_owned(), self.value(property, value, &here, depth + 1));
            } else if let Some(default) = self.fixed(property) {
                let size = default.to_string().len();
                if size > self.room {
                    self.complete = false;
                    continue;
                }
                self.room -= size;
                filled.insert(name.to_owned(), self.value(property, default, &here, depth + 1));
            } else if !stated.required_names.contains(name) {
                // Optional and nobody asked for it.
            } else if self.is_object(property) && depth < MAX_FILL_DEPTH && self.objects < MAX_FILLED_OBJECTS {
                let nested = self.object(property, &Map::new(), &here, depth + 1);
                filled.insert(name.to_owned(), Value::Object(nested));
            } else {
                let description = self.description(property);
                self.open(OpenProperty { pointer: here, description });
            }
        }
        for (name, value) in bound {
            if filled.contains_key(name) {
                continue;
            }
            let here = format!("{pointer}/{}", escape(name));
            match stated.conditional.iter().find(|(known, _)| known == name) {
                Some(&(_, property)) => {
                    filled.insert(name.clone(), self.value(property, value, &here, depth + 1));
                }
                // The validator knows whether a pattern allows the name.
                None if stated.patterns => {
                    filled.insert(name.clone(), value.clone());
                }
                None if self.ignored.len() >= MAX_LISTED => {}
                None => {
                    let known = stated.properties.iter().chain(&stated.conditional);
                    let known = known.map(|(name, _)| (*name).to_owned()).collect();
                    self.ignored.push(Ignored { pointer: here, name: name.clone(), known });
                }
            }
        }
        for name in &stated.required {
            if !filled.contains_key(*name) && !stated.property_names.contains(name) {
                self.open(OpenProperty { pointer: format!("{pointer}/{}", escape(name)), description: String::new() });
            }
        }
        filled
    }

    fn open(&mut self, property: OpenProperty) {
        if self.open.len() < MAX_LISTED {
            self.open.push(property);
        }
    }

    fn stated(&mut self, schema: &'s Value) -> Rc<Stated<'s>> {
        let address = std::ptr::from_ref(schema);
        if let Some(known) = self.stated.get(&address) {
            return Rc::clone(known);
        }
        let mut stated = Stated::default();
        self.gather(schema, true, &mut stated);
        let stated = Rc::new(stated);
        self.stated.insert(address, Rc::clone(&stated));
        stated
    }

    /// A present value, with the defaults inside it filled in.
    fn value(&mut self, schema: &'s Value, value: &Value, pointer: &str, depth: usize) -> Value {
        if depth >= MAX_FILL_DEPTH {
            return value.clone();
        }
        match value {
            Value::Object(bound) if self.is_object(schema) => Value::Object(self.object(schema, bound, pointer, depth)),
            Value::Array(items) => match self.find(schema, &|keywords| keywords.get("items")) {
                Some(described) if self.is_object(described) => {
                    let prefix = self.find(schema, &|keywords| keywords.get("prefixItems")?.as_array());
                    let first = prefix.map_or(0, Vec::len);
                    let item = |(i, item): (usize, &Value)| {
                        if i < first {
                            return item.clone();
                        }
                        self.value(described, item, &format!("{pointer}/{i}"), depth + 1)
                    };
                    items.iter().enumerate().map(item).collect()
                }
                _ => value.clone(),
            },
            _ => value.clone(),
        }
    }

    /// Collects what a schema states about its properties, through `$ref` and the combining keywords.
    fn gather(&self, schema: &'s Value, certain: bool, stated: &mut Stated<'s>) {
        let Value::Object(keywords) = schema else { return };
        if let Some(Value::Object(properties)) = keywords.get("properties") {
            for (name, property) in properties {
                let (known, names) = if certain {
                    (&mut stated.properties, &mut stated.property_names)
                } else {
                    (&mut stated.conditional, &mut stated.conditional_names)
                };
                if names.insert(name) {
                    known.push((name, property));
                }
            }
        }
        if certain && let Some(Value::Array(required)) = keywords.get("required") {
            for name in required.iter().filter_map(Value::as_str) {
                if stated.required_names.insert(name) {
                    stated.required.push(name);
                }
            }
        }
        stated.patterns |= keywords.contains_key("patternProperties");
        if let Some((_, schema)) = target(self.root, keywords) {
            self.gather(schema, certain, stated);
        }
        for (keyword, certain) in [("allOf", certain), ("anyOf", false), ("oneOf", false)] {
            if let Some(Value::Array(members)) = keywords.get(keyword) {
                for member in members {
                    self.gather(member, certain, stated);
                }
            }
        }
        for keyword in ["then", "else"] {
            if let Some(member) = keywords.get(keyword) {
                self.gather(member, false, stated);
            }
        }
        if let Some(Value::Object(members)) = keywords.get("dependentSchemas") {
            for member in members.values() {
                self.gather(member, false, stated);
            }
        }
    }

    /// The first answer of a schema, its `$ref` target or its `allOf` members.
    fn find<T>(&self, schema: &'s Value, ask: &impl Fn(&'s Map<String, Value>) -> Option<T>) -> Option<T> {
        let Value::Object(keywords) = schema else { return None };
        if let Some(answer) = ask(keywords) {
            return Some(answer);
        }
        if let Some((_, schema)) = target(self.root, keywords)
            && let Some(answer) = self.find(schema, ask)
        {
            return Some(answer);
        }
        let Some(Value::Array(members)) = keywords.get("allOf") else { return None };
        members.iter().find_map(|member| self.find(member, ask))
    }

    /// The value that a property has when nobody chooses: its default, or the only value it may have.
    fn fixed(&self, schema: &'s Value) -> Option<&'s Value> {
        self.find(schema, &|keywords| keywords.get("default"))
            .or_else(|| self.find(schema, &|keywords| keywords.get("const")))
    }

    fn is_object(&self, schema: &'s Value) -> bool {
        self.find(schema, &|keywords| keywords.get("type")).is_some_and(|kind| kind == "object")
    }

    fn description(&self, schema: &'s Value) -> String {
        self.find(schema, &|keywords| keywords.get("description").and_then(Value::as_str))
            .unwrap_or_default()
            .to_owned()
    }
}

/// What a schema states about the properties of an object.
#[derive(Default)]
struct Stated<'s> {
    /// Stated whatever the values are, in order.
    properties: Vec<(&'s str, &'s Value)>,
    /// Stated under a condition.
    conditional: Vec<(&'s str, &'s Value)>,
    /// Required whatever the values are, in order.
    required: Vec<&'s str>,
    /// The names of the three, each once.
    property_names: HashSet<&'s str>,
    conditional_names: HashSet<&'s str>,
    required_names: HashSet<&'s str>,
    /// Whether names can also be allowed by a pattern.
    patterns: bool,
}
