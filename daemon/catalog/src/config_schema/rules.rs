//! Which JSON Schemas are accepted as configuration schemas.
//!
//! Closedness is judged at every place where a value may stand (a property, an item, the root): the schema there must
//! bound which objects and which arrays it accepts. An object is bounded by `additionalProperties: false` or
//! `unevaluatedProperties: false`, an array by `items` or `unevaluatedItems`; both also by `enum`, `const`, another
//! `type`, a bounded `$ref`, a bounded member of `allOf`, or when all members of `anyOf` or `oneOf` are bounded. Members
//! of these combinations need not be closed themselves when the schema that combines them is.

mod growth;

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use crate::error::shorten;

/// One thing that keeps a schema from being a configuration schema, or from being written in another form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaFault {
    /// JSON pointer into the schema (RFC 6901); empty for the root.
    pub pointer: String,
    /// What is wrong and the way out.
    pub description: String,
}

const MAX_SCHEMA_BYTES: usize = 64 * 1024;
const MAX_SCHEMA_DEPTH: usize = 32;
/// Most subschemas that may be judged against one and the same value, `$ref`s followed.
const MAX_EXPANSION: usize = 1_000;
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Keywords of JSON Schema 2020-12 that are accepted, apart from those that hold subschemas.
const PLAIN_KEYWORDS: &[&str] = &[
    "$schema",
    "$comment",
    "$ref",
    "type",
    "enum",
    "const",
    "default",
    "title",
    "description",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "format",
    "contentEncoding",
    "contentMediaType",
    "multipleOf",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "maxContains",
    "minContains",
    "maxProperties",
    "minProperties",
    "required",
    "dependentRequired",
];
/// Keywords that would let a schema reach or be reached from elsewhere.
const REFUSED_KEYWORDS: &[&str] =
    &["$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "$vocabulary"];

/// What stands where a subschema stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It alone decides which values may stand in a place.
    Value,
    /// It is combined with others for the same place.
    Combined,
    /// It only tests a value that something else bounds.
    Test,
}

/// Keywords whose value holds subschemas: in which shape, and in which role.
pub(crate) const SCHEMA_KEYWORDS: &[(&str, Shape, Role)] = &[
    ("$defs", Shape::Named, Role::Combined),
    ("properties", Shape::Named, Role::Value),
    ("patternProperties", Shape::Named, Role::Value),
    ("additionalProperties", Shape::One, Role::Value),
    ("unevaluatedProperties", Shape::One, Role::Value),
    ("items", Shape::One, Role::Value),
    ("prefixItems", Shape::List, Role::Value),
    ("unevaluatedItems", Shape::One, Role::Value),
    ("allOf", Shape::List, Role::Combined),
    ("anyOf", Shape::List, Role::Combined),
    ("oneOf", Shape::List, Role::Combined),
    ("then", Shape::One, Role::Combined),
    ("else", Shape::One, Role::Combined),
    ("dependentSchemas", Shape::Named, Role::Combined),
    ("if", Shape::One, Role::Test),
    ("not", Shape::One, Role::Test),
    ("contains", Shape::One, Role::Test),
    ("propertyNames", Shape::One, Role::Test),
    ("contentSchema", Shape::One, Role::Test),
];

/// Keywords whose subschemas judge the same value as the schema that holds them.
const IN_PLACE: &[&str] = &["allOf", "anyOf", "oneOf", "then", "else", "dependentSchemas", "if", "not"];

#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    One,
    List,
    Named,
}

impl Shape {
    /// Whether the keyword holds schemas by name.
    pub(crate) fn is_named(self) -> bool {
        matches!(self, Self::Named)
    }
}

/// What the values of a schema are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// Configurations, which are objects.
    Configuration,
    /// What a port gives, of any type.
    PortValue,
}

/// Checks all rules that do not need the schema to be compiled.
pub(super) fn check(schema: &Value, subject: Subject) -> Result<(), Vec<SchemaFault>> {
    let size = schema.to_string().len();
    if size > MAX_SCHEMA_BYTES {
        return Err(vec![fault("", format!("has {size} bytes, at most {MAX_SCHEMA_BYTES} are allowed"))]);
    }
    if deeper_than(schema, MAX_SCHEMA_DEPTH * 2) {
        return Err(vec![fault("", format!("nests deeper than {MAX_SCHEMA_DEPTH} subschemas"))]);
    }
    let meta = jsonschema::draft202012::meta::validator();
    let mut faults: Vec<SchemaFault> = meta
        .iter_errors(schema)
        .map(|error| fault(error.instance_path().as_str(), format!("not a valid JSON Schema: {}", one_line(&error))))
        .collect();
    if !faults.is_empty() {
        faults.truncate(16);
        return Err(faults);
    }
    let mut rules = Rules { root: schema, faults: Vec::new(), bounded: HashMap::new() };
    if subject == Subject::Configuration && schema.get("type").and_then(Value::as_str) != Some("object") {
        rules.fault("", "the root must have `type: object`, since a configuration is an object");
    }
    if schema
        .get("$schema")
        .is_some_and(|dialect| dialect.as_str().is_none_or(|uri| uri.trim_end_matches('#') != DIALECT))
    {
        rules.fault("/$schema", format!("only {DIALECT} is supported; remove the key"));
    }
    rules.visit(schema, "", Role::Value, 0);
    if rules.faults.is_empty() {
        rules.check_expansion();
    }
    if rules.faults.is_empty() && !growth::is_bounded(schema) {
        rules.fault(
            "",
            "judges nested values more and more often with each level; describe each property and item once",
        );
    }
    if rules.faults.is_empty() {
        rules.check_bounds(schema, "", Role::Value);
    }
    if rules.faults.is_empty() { Ok(()) } else { Err(rules.faults) }
}

/// A validation error's text on one line, shortened.
pub(crate) fn one_line(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let short: String = text.chars().take(240).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if short.len() < text.len() { format!("{short}…") } else { short }
}

/// The schema's `default` that put a value at an instance's pointer, as far as plain `properties` lead to it.
pub(super) fn pointer_of_default(schema: &Value, instance: &str) -> String {
    let (mut here, mut pointer) = (schema, String::new());
    for token in instance.split('/').skip(1) {
        let name = token.replace("~1", "/").replace("~0", "~");
        let Some(next) = here.get("properties").and_then(|properties| properties.get(&name)) else { break };
        pointer = format!("{pointer}/properties/{token}");
        here = next;
    }
    if here.get("default").is_some() { format!("{pointer}/default") } else { pointer }
}

/// The subschemas that a schema holds under one keyword, with the rest of their pointers.
pub(crate) fn held<'s>(keywords: &'s Map<String, Value>, keyword: &str, shape: Shape) -> Vec<(String, &'s Value)> {
    match (shape, keywords.get(keyword)) {
        (Shape::One, Some(schema)) => vec![(format!("/{keyword}"), schema)],
        (Shape::List, Some(Value::Array(schemas))) => {
            schemas.iter().enumerate().map(|(i, schema)| (format!("/{keyword}/{i}"), schema)).collect()
        }
        (Shape::Named, Some(Value::Object(schemas))) => {
            schemas.iter().map(|(name, schema)| (format!("/{keyword}/{}", escape(name)), schema)).collect()
        }
        _ => Vec::new(),
    }
}

/// A name as a token of a JSON pointer.
pub(crate) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The target of a local reference: the pointer and the schema.
pub(crate) fn target<'s>(root: &'s Value, keywords: &'s Map<String, Value>) -> Option<(&'s str, &'s Value)> {
    let pointer = keywords.get("$ref")?.as_str()?.strip_prefix('#')?;
    root.pointer(pointer).map(|schema| (pointer, schema))
}

/// Whether a schema's `type` names this type; without `type` every type is meant.
fn admits(keywords: &Map<String, Value>, wanted: &str) -> bool {
    match keywords.get("type") {
        Some(Value::String(only)) => only == wanted,
        Some(Value::Array(several)) => several.iter().any(|one| one == wanted),
        _ => true,
    }
}

/// Whether a value nests more than so many lists and mappings.
pub(crate) fn deeper_than(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(|item| deeper_than(item, levels - 1)),
        Value::Object(entries) => levels == 0 || entries.values().any(|item| deeper_than(item, levels - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn fault(pointer: &str, description: impl Into<String>) -> SchemaFault {
    SchemaFault { pointer: pointer.to_owned(), description: description.into() }
}

struct Rules<'s> {
    root: &'s Value,
    faults: Vec<SchemaFault>,
    /// Known answers of [`Rules::bounds`], by pointer and type.
    bounded: HashMap<(String, &'static str), bool>,
}

impl<'s> Rules<'s> {
    fn fault(&mut self, pointer: &str, description: impl Into<String>) {
        self.faults.push(fault(pointer, description));
    }

    /// Keywords, references and secrets, at every subschema.
    fn visit(&mut self, schema: &'s Value, pointer: &str, role: Role, depth: usize) {
        let Value::Object(keywords) = schema else { return };
        if depth > MAX_SCHEMA_DEPTH {
            self.fault(pointer, format!("nests deeper than {MAX_SCHEMA_DEPTH} subschemas"));
            return;
        }
        for keyword in keywords.keys() {
            let known = PLAIN_KEYWORDS.contains(&keyword.as_str())
                || SCHEMA_KEYWORDS.iter().any(|(name, _, _)| name == keyword)
                || keyword.starts_with("x-");
            let here = format!("{pointer}/{}", escape(keyword));
            if REFUSED_KEYWORDS.contains(&keyword.as_str()) {
                self.fault(&here, format!("`{keyword}` is not supported; refer into the schema's own $defs with $ref"));
            } else if !known && keywords[keyword].is_null() {
                // The usual cause in YAML: a text with a comma inside braces.
                self.fault(
                    &here,
                    format!("unknown keyword `{}` without a value; quote texts that hold a comma", shorten(keyword)),
                );
            } else if !known {
                self.fault(&here, format!("unknown keyword `{}`; own keywords start with x-", shorten(keyword)));
            } else if keyword == "$schema" && !pointer.is_empty() {
                self.fault(&here, "`$schema` belongs at the root only");
            }
        }
        if let Some(reference) = keywords.get("$ref").and_then(Value::as_str) {
            let here = format!("{pointer}/$ref");
            if !reference.starts_with("#/$defs/") {
                self.fault(&here, format!("`{}` leads out of the schema; refer to #/$defs/NAME", shorten(reference)));
            } else if reference.contains('%') || target(self.root, keywords).is_none() {
                self.fault(&here, format!("`{}` is not defined; add it to $defs", shorten(reference)));
            }
        }
        self.check_secret(keywords, pointer);
        for (keyword, shape, held_role) in SCHEMA_KEYWORDS {
            let role = if role == Role::Test { Role::Test } else { *held_role };
            for (rest, schema) in held(keywords, keyword, *shape) {
                self.visit(schema, &format!("{pointer}{rest}"), role, depth + 1);
            }
        }
    }

    fn check_secret(&mut self, keywords: &Map<String, Value>, pointer: &str) {
        match keywords.get("x-secret") {
            None | Some(Value::Bool(false)) => {}
            Some(Value::Bool(true)) => {
                let text = keywords.get("type").and_then(Value::as_str) == Some("string");
                let reference =
                    keywords.get("pattern").and_then(Value::as_str).is_some_and(|p| p.starts_with("^secret://"));
                if !text || !reference {
                    self.fault(pointer, "a property with `x-secret: true` is a reference: give it `type: string` and a `pattern` that starts with ^secret://");
                }
            }
            Some(_) => self.fault(&format!("{pointer}/x-secret"), "`x-secret` is true or false"),
        }
    }

    /// No reference may lead back to itself without passing through a value, and following all of them must stay small.
    fn check_expansion(&mut self) {
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut starts = vec![(String::new(), self.root)];
        let mut next = 0;
        while next < starts.len() {
            let (pointer, schema) = starts[next].clone();
            next += 1;
            match self.expansion(schema, &pointer, &mut known, &mut HashSet::new()) {
                Some(size) if size <= MAX_EXPANSION => {}
                Some(_) => {
                    return self.fault(
                        &pointer,
                        format!("combines more than {MAX_EXPANSION} subschemas for one value; simplify it"),
                    );
                }
                None => {
                    return self.fault(&pointer, "`$ref` leads back to itself without a property or an item between");
                }
            }
            if let Value::Object(keywords) = schema {
                for (keyword, shape, _) in SCHEMA_KEYWORDS {
                    starts.extend(
                        held(keywords, keyword, *shape)
                            .into_iter()
                            .map(|(rest, held)| (format!("{pointer}{rest}"), held)),
                    );
                }
            }
        }
    }

    /// How many subschemas judge one value, this one included; `None` for a circle.
    fn expansion(
        &self,
        schema: &'s Value,
        pointer: &str,
        known: &mut HashMap<String, usize>,
        open: &mut HashSet<String>,
    ) -> Option<usize> {
        if let Some(size) = known.get(pointer) {
            return Some(*size);
        }
        let Value::Object(keywords) = schema else { return Some(1) };
        if !open.insert(pointer.to_owned()) {
            return None;
        }
        let mut size = 1_usize;
        for (keyword, shape, _) in SCHEMA_KEYWORDS.iter().filter(|(keyword, _, _)| IN_PLACE.contains(keyword)) {
            for (rest, held) in held(keywords, keyword, *shape) {
                size = size.saturating_add(self.expansion(held, &format!("{pointer}{rest}"), known, open)?);
            }
        }
        if let Some((to, schema)) = target(self.root, keywords) {
            size = size.saturating_add(self.expansion(schema, to, known, open)?);
        }
        open.remove(pointer);
        known.insert(pointer.to_owned(), size);
        Some(size)
    }

    /// Closedness, at every place where a value may stand.
    fn check_bounds(&mut self, schema: &'s Value, pointer: &str, role: Role) {
        if role == Role::Test {
            return;
        }
        if role == Role::Value {
            let states_type = schema.get("type").is_some();
            if !self.bounds(schema, pointer, "object") {
                self.fault(
                    pointer,
                    if states_type {
                        "accepts properties that it does not list; add `additionalProperties: false`"
                    } else {
                        "accepts any object; state its `type`, or list its values with `enum`"
                    },
                );
            } else if !self.bounds(schema, pointer, "array") {
                self.fault(
                    pointer,
                    if states_type {
                        "accepts any items; describe them with `items`"
                    } else {
                        "accepts any array; state its `type`"
                    },
                );
            }
        }
        let Value::Object(keywords) = schema else { return };
        for (keyword, shape, role) in SCHEMA_KEYWORDS {
            for (rest, held) in held(keywords, keyword, *shape) {
                self.check_bounds(held, &format!("{pointer}{rest}"), *role);
            }
        }
    }

    /// Whether a schema bounds which objects (or which arrays) it accepts.
    fn bounds(&mut self, schema: &'s Value, pointer: &str, wanted: &'static str) -> bool {
        let Value::Object(keywords) = schema else { return schema == &Value::Bool(false) };
        if let Some(known) = self.bounded.get(&(pointer.to_owned(), wanted)) {
            return *known;
        }
        // This ends: `check_expansion` has refused circles.
        let never = Value::Bool(false);
        let closes = match wanted {
            "object" => {
                ["additionalProperties", "unevaluatedProperties"].iter().any(|key| keywords.get(*key) == Some(&never))
            }
            _ => keywords.contains_key("items") || keywords.contains_key("unevaluatedItems"),
        };
        let mut bounded =
            closes || !admits(keywords, wanted) || keywords.contains_key("enum") || keywords.contains_key("const");
        if !bounded && let Some((to, schema)) = target(self.root, keywords) {
            bounded = self.bounds(schema, to, wanted);
        }
        for keyword in ["allOf", "anyOf", "oneOf"] {
            if bounded {
                break;
            }
            let members = held(keywords, keyword, Shape::List);
            let mut each =
                members.iter().map(|(rest, member)| self.bounds(member, &format!("{pointer}{rest}"), wanted));
            bounded = if keyword == "allOf" {
                each.any(|bounded| bounded)
            } else {
                !members.is_empty() && each.all(|bounded| bounded)
            };
        }
        self.bounded.insert((pointer.to_owned(), wanted), bounded);
        bounded
    }
}
