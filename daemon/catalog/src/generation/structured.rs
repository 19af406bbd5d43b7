//! The plainer JSON Schema that structured-output features of language models accept.
//!
//! It keeps to what such features have in common: `type`, `properties`, `required`, `additionalProperties`, `items`,
//! `enum`, `anyOf` and `description`. Every property is required; one that may be left out may be null instead, and
//! [`ConfigSchema::from_structured`] takes those nulls out again. Everything else that the schema says is told in the
//! descriptions, where a model reads it.

mod absent;

use serde_json::{Map, Value, json};

use super::Uncovered;
use super::outline::{List, Member, Numbers, Outline, Place, PlaceId, Texts, Way};
use crate::config_schema::{ConfigSchema, SchemaFault};

/// Deepest nesting of objects and lists, the root counted.
const MAX_LEVELS: usize = 10;
/// Most properties, all objects counted.
const MAX_PROPERTIES: usize = 5_000;
/// Most values of all `enum`s.
const MAX_ENUM_VALUES: usize = 1_000;
/// Most characters of all names and `enum` values.
const MAX_NAME_CHARACTERS: usize = 120_000;
/// Most places written: a definition that is used twice, each time twice, doubles with each level.
const MAX_PLACES: usize = 20_000;
/// Most characters of all descriptions: one that is long and used often would fill the memory.
const MAX_TOLD_CHARACTERS: usize = 1_000_000;
/// Longest schema text that is told in a description, in characters.
const MAX_TOLD: usize = 400;

/// A schema in the restricted form.
#[derive(Debug, Clone, PartialEq)]
pub struct StructuredOutput {
    /// The schema.
    pub schema: Value,
    /// What is told in descriptions only, ordered; [`crate::bind`] judges it.
    pub uncovered: Vec<Uncovered>,
}

impl ConfigSchema {
    /// The schema in the restricted form: references inlined, at most 10 levels, 5,000 properties, 1,000 listed values and
    /// 120,000 characters of names and listed values.
    ///
    /// # Errors
    /// What cannot be written in it: a definition that refers to itself, a list among the values of an `enum`, a schema
    /// without any finite configuration, or one beyond the limits.
    pub fn structured_output(&self) -> Result<StructuredOutput, SchemaFault> {
        let outline = Outline::of(self.as_value())?;
        let mut writer = Writer {
            outline: &outline,
            open: Vec::new(),
            places: 0,
            properties: 0,
            values: 0,
            characters: 0,
            told: 0,
            uncovered: Vec::new(),
        };
        let schema = writer.root()?;
        let mut uncovered = writer.uncovered;
        uncovered.sort();
        uncovered.dedup();
        Ok(StructuredOutput { schema, uncovered })
    }
}

struct Writer<'o, 's> {
    outline: &'o Outline<'s>,
    /// Places from the root to the one that is being written.
    open: Vec<PlaceId>,
    places: usize,
    properties: usize,
    values: usize,
    characters: usize,
    told: usize,
    uncovered: Vec<Uncovered>,
}

impl<'s> Writer<'_, 's> {
    /// The root may be no alternative: its ways become one object with the properties of all.
    fn root(&mut self) -> Result<Value, SchemaFault> {
        let place = &self.outline.places[0];
        let ways: Vec<&Vec<Member<'s>>> = place
            .ways
            .iter()
            .filter(|way| self.outline.is_possible(way))
            .filter_map(|way| if let Way::Object(members) = way { Some(members) } else { None })
            .collect();
        if ways.is_empty() {
            return Err(fault(place, "has no finite configuration that can be written property by property"));
        }
        let mut merged: Vec<(&'s str, Vec<PlaceId>, bool)> = Vec::new();
        for members in &ways {
            for Member { name, place, .. } in *members {
                match merged.iter_mut().find(|(known, _, _)| known == name) {
                    Some((_, places, _)) if places.contains(place) => {}
                    Some((_, places, _)) => places.push(*place),
                    None => {
                        let required = ways
                            .iter()
                            .all(|members| members.iter().any(|member| member.name == *name && member.required));
                        merged.push((name, vec![*place], required));
                    }
                }
            }
        }
        self.open.push(0);
        let mut schema = self.object(&merged)?;
        self.open.pop();
        let mut told = Vec::new();
        if ways.len() > 1 {
            told.push("Not every combination of these properties is accepted.".to_owned());
        }
        self.describe(place, told, None, &mut schema);
        Ok(schema)
    }

    fn place(&mut self, id: PlaceId, absent: Absent) -> Result<Value, SchemaFault> {
        let place = &self.outline.places[id];
        if self.open.contains(&id) {
            return Err(fault(
                place,
                "refers to itself, which structured output cannot hold; write it out, or use the grammar",
            ));
        }
        self.places += 1;
        self.limits()?;
        self.open.push(id);
        let mut told = Vec::new();
        let mut schemas = Vec::new();
        for way in place.ways.iter().filter(|way| self.outline.is_possible(way)) {
            schemas.extend(self.way(place, way, &mut told)?);
        }
        self.open.pop();
        if absent == Absent::Null && !schemas.iter().any(admits_null) {
            schemas.push(json!({ "type": "null" }));
        }
        let mut schema = joined(schemas);
        self.describe(place, told, (absent == Absent::Null).then_some(place.default).flatten(), &mut schema);
        Ok(schema)
    }

    fn way(&mut self, place: &Place<'s>, way: &Way<'s>, told: &mut Vec<String>) -> Result<Vec<Value>, SchemaFault> {
        match way {
            Way::Literals(values) => self.literals(place, values),
            Way::Null => Ok(vec![json!({ "type": "null" })]),
            Way::Boolean => Ok(vec![json!({ "type": "boolean" })]),
            Way::Number(numbers) => {
                self.tell_numbers(numbers, told);
                Ok(vec![json!({ "type": if numbers.integer { "integer" } else { "number" } })])
            }
            Way::Text(texts) => {
                self.tell_texts(texts, told);
                Ok(vec![json!({ "type": "string" })])
            }
            Way::List(list) => Ok(vec![self.list(place, list, told)?]),
            Way::Object(members) => {
                self.level(place)?;
                let members: Vec<(&str, Vec<PlaceId>, bool)> =
                    members.iter().map(|member| (member.name, vec![member.place], member.required)).collect();
                Ok(vec![self.object(&members)?])
            }
        }
    }

    fn object(&mut self, members: &[(&str, Vec<PlaceId>, bool)]) -> Result<Value, SchemaFault> {
        let mut properties = Map::new();
        for (name, places, required) in members {
            let possible: Vec<PlaceId> = places.iter().copied().filter(|place| self.outline.possible[*place]).collect();
            let Some(first) = possible.first() else { continue };
            self.properties += 1;
            self.characters += name.chars().count();
            let absent = if *required { Absent::Never } else { Absent::Null };
            let schema = if possible.len() == 1 {
                self.place(*first, absent)?
            } else {
                let mut schemas = Vec::new();
                for place in &possible {
                    schemas.push(self.place(*place, absent)?);
                }
                json!({ "anyOf": schemas })
            };
            properties.insert((*name).to_owned(), schema);
        }
        self.limits()?;
        let required: Vec<&String> = properties.keys().collect();
        Ok(json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties }))
    }

    fn list(&mut self, place: &Place<'s>, list: &List, told: &mut Vec<String>) -> Result<Value, SchemaFault> {
        self.level(place)?;
        let List { first, rest, fewest, most } = list;
        let mut items = Vec::new();
        let mut written = Vec::new();
        for id in first.iter().chain(rest) {
            if self.outline.possible[*id] && !written.contains(id) {
                written.push(*id);
                items.push(self.place(*id, Absent::Never)?);
            }
        }
        if !first.is_empty() {
            let pointer = place.pointer.clone();
            self.uncovered.push(Uncovered { pointer, keyword: "prefixItems".to_owned() });
            told.push(format!("The first {} items come in the order of these alternatives.", first.len()));
        }
        if let Some((pointer, fewest)) = fewest {
            self.leave("minItems", pointer);
            told.push(format!("At least {}.", counted(*fewest, "item")));
        }
        if let Some((pointer, most)) = most {
            self.leave("maxItems", pointer);
            told.push(format!("At most {}.", counted(*most, "item")));
        }
        if items.is_empty() {
            told.push("The list is empty.".to_owned());
            items.push(json!({ "type": "null" }));
        }
        Ok(json!({ "type": "array", "items": joined(items) }))
    }

    fn literals(&mut self, place: &Place<'s>, values: &[&Value]) -> Result<Vec<Value>, SchemaFault> {
        let mut scalars = Vec::new();
        let mut schemas = Vec::new();
        for value in values {
            match value {
                Value::Object(entries) => {
                    self.level(place)?;
                    let mut properties = Map::new();
                    for (name, value) in entries {
                        self.properties += 1;
                        self.characters += name.chars().count();
                        properties.insert(name.clone(), joined(self.literals(place, &[value])?));
                    }
                    let required: Vec<&String> = entries.keys().collect();
                    schemas.push(json!({
                        "type": "object", "additionalProperties": false, "required": required, "properties": properties
                    }));
                }
                Value::Array(_) => {
                    return Err(fault(
                        place,
                        "lists a list as a value, which structured output cannot hold; use the grammar",
                    ));
                }
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                    self.values += 1;
                    self.characters += value.as_str().map_or(0, |text| text.chars().count());
                    scalars.push((*value).clone());
                }
            }
        }
        if !scalars.is_empty() {
            schemas.insert(0, json!({ "type": scalar_types(&scalars), "enum": scalars }));
        }
        self.limits()?;
        Ok(schemas)
    }

    fn tell_numbers(&mut self, numbers: &Numbers, told: &mut Vec<String>) {
        let Numbers { integer: _, least, greatest, above_least, below_greatest } = numbers;
        if let Some((pointer, least)) = least {
            let (keyword, words) =
                if *above_least { ("exclusiveMinimum", "More than") } else { ("minimum", "At least") };
            self.leave(keyword, pointer);
            told.push(format!("{words} {least}."));
        }
        if let Some((pointer, greatest)) = greatest {
            let (keyword, words) =
                if *below_greatest { ("exclusiveMaximum", "Less than") } else { ("maximum", "At most") };
            self.leave(keyword, pointer);
            told.push(format!("{words} {greatest}."));
        }
    }

    fn tell_texts(&mut self, texts: &Texts<'_>, told: &mut Vec<String>) {
        let Texts { patterns, format, shortest, longest, secret } = texts;
        if let Some(pointer) = secret {
            self.leave("x-secret", pointer);
            told.push("A reference secret://STORE/NAME to a secret, never the secret itself.".to_owned());
        }
        for (pointer, pattern) in patterns {
            self.leave("pattern", pointer);
            told.push(format!("Matches the pattern {pattern}"));
        }
        if let Some(format) = format {
            told.push(format!("Of the format {format}."));
        }
        if let Some((pointer, shortest)) = shortest {
            self.leave("minLength", pointer);
            told.push(format!("At least {}.", counted(*shortest, "character")));
        }
        if let Some((pointer, longest)) = longest {
            self.leave("maxLength", pointer);
            told.push(format!("At most {}.", counted(*longest, "character")));
        }
    }

    fn leave(&mut self, keyword: &str, pointer: &str) {
        self.uncovered.push(Uncovered { pointer: pointer.to_owned(), keyword: keyword.to_owned() });
    }

    /// Writes the description: the author's, then what the form cannot say.
    fn describe(&mut self, place: &Place<'s>, told: Vec<String>, default: Option<&Value>, schema: &mut Value) {
        let mut parts: Vec<String> = place.description.map(|text| ended(text.trim())).into_iter().collect();
        parts.extend(told);
        for (uncovered, stated) in &place.unsaid {
            self.uncovered.push(uncovered.clone());
            if uncovered.keyword != "format" {
                parts.push(format!("{}: {}", uncovered.keyword, cut(&stated.to_string())));
            }
        }
        if let Some(default) = default {
            parts.push(format!("null means {}.", cut(&default.to_string())));
        }
        if let Value::Object(keywords) = schema
            && !parts.is_empty()
        {
            let description = parts.join(" ");
            self.told += description.chars().count();
            keywords.insert("description".to_owned(), description.into());
        }
    }

    /// One level more is about to be written.
    fn level(&self, place: &Place<'_>) -> Result<(), SchemaFault> {
        if self.open.len() > MAX_LEVELS {
            return Err(fault(
                place,
                &format!("nests deeper than the {MAX_LEVELS} levels of structured output; flatten it"),
            ));
        }
        Ok(())
    }

    fn limits(&self) -> Result<(), SchemaFault> {
        let limits = [
            (self.places, MAX_PLACES, "places"),
            (self.properties, MAX_PROPERTIES, "properties"),
            (self.values, MAX_ENUM_VALUES, "listed values"),
            (self.characters, MAX_NAME_CHARACTERS, "characters of names and listed values"),
            (self.told, MAX_TOLD_CHARACTERS, "characters of descriptions"),
        ];
        for (found, most, what) in limits {
            if found > most {
                let description = format!("has more than {most} {what}, the most of structured output; simplify it");
                return Err(SchemaFault { pointer: String::new(), description });
            }
        }
        Ok(())
    }
}

/// What stands where a property is left out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Absent {
    /// It is never left out.
    Never,
    Null,
}

/// Several schemas as one: scalars join their types, others become alternatives.
fn joined(mut schemas: Vec<Value>) -> Value {
    let nothing_but_type = |schema: &Value| {
        schema.as_object().is_some_and(|keywords| keywords.len() == 1 && keywords.contains_key("type"))
    };
    if schemas.len() == 2 && schemas[1] == json!({ "type": "null" }) {
        // The usual case: something that may be left out.
        if nothing_but_type(&schemas[0]) && schemas[0]["type"].is_string() {
            return json!({ "type": [schemas[0]["type"], "null"] });
        }
        if let Some(values) = schemas[0].get("enum").and_then(Value::as_array) {
            let mut values = values.clone();
            values.push(Value::Null);
            return json!({ "type": scalar_types(&values), "enum": values });
        }
    }
    if schemas.len() == 1 { schemas.remove(0) } else { json!({ "anyOf": schemas }) }
}

fn scalar_types(values: &[Value]) -> Value {
    let mut types: Vec<&str> = Vec::new();
    for value in values {
        let name = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) | Value::Array(_) | Value::Object(_) => "string",
        };
        if !types.contains(&name) {
            types.push(name);
        }
    }
    if types.len() == 1 { types[0].into() } else { types.into() }
}

fn admits_null(schema: &Value) -> bool {
    schema.get("type").is_some_and(|kind| kind == "null")
        || schema.get("enum").and_then(Value::as_array).is_some_and(|values| values.contains(&Value::Null))
}

/// A text that ends as a sentence.
fn ended(text: &str) -> String {
    if text.ends_with(['.', '!', '?', ':']) { text.to_owned() } else { format!("{text}.") }
}

fn counted(count: u64, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

fn cut(text: &str) -> String {
    let mut short: String = text.chars().take(MAX_TOLD).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn fault(place: &Place<'_>, description: &str) -> SchemaFault {
    SchemaFault { pointer: place.pointer.clone(), description: description.to_owned() }
}
