//! A record of a BEIR corpus as a manifest, so that a public data set runs through the same code as a real catalogue.

use serde_json::{Map, Value, json};

use crate::config_schema::ConfigSchema;
use crate::{CatalogError, ComponentName, Digest, Manifest};

/// Namespace of components that come from a data set.
const NAMESPACE: &str = "eval";

/// The name of the component that a data set knows by this id: the id itself where it has the form of a name, otherwise
/// what is left of it and 8 hexadecimal digits of its sha256.
pub fn component_name_for(id: &str) -> ComponentName {
    if let Ok(name) = ComponentName::new(NAMESPACE, id) {
        return name;
    }
    let mut words = String::new();
    for c in id.chars().take(200) {
        if c.is_ascii_alphanumeric() {
            words.push(c.to_ascii_lowercase());
        } else if !words.is_empty() && !words.ends_with('-') {
            words.push('-');
        }
        if words.len() >= 48 {
            break;
        }
    }
    let digest = Digest::of(id.as_bytes()).to_string();
    let tail = &digest["sha256:".len()..][..8];
    let words = words.trim_end_matches('-');
    let name = if words.is_empty() { format!("id-{tail}") } else { format!("{words}-{tail}") };
    ComponentName::new(NAMESPACE, &name).expect("lower-case letters, digits and single hyphens within, at most 57 long")
}

/// Makes a manifest of a corpus record: `title`, `text` (empty: the title) as summary, and from `metadata` `tags`,
/// `examples` (example intents), `long_description` (when to use) and `parameters` with `required` (configuration). What
/// is too long is cut, what has no place is left out.
///
/// # Errors
/// [`CatalogError::InvalidManifest`] when there is neither a title nor an id to show.
pub fn manifest_from_record(
    id: &str,
    title: &str,
    text: &str,
    metadata: &Map<String, Value>,
) -> Result<Manifest, CatalogError> {
    let title = cut(&one_line(if title.trim().is_empty() { id } else { title }), 120);
    let summary = if text.trim().is_empty() { title.clone() } else { cut(text, 600) };
    let mut fields = json!({
        "name": component_name_for(id).to_string(),
        "version": "1.0.0",
        "title": title,
        "summary": summary,
        "kind": "service",
        "lifecycle": "certified",
        "license": "LicenseRef-Unstated",
        "owner": "data-set",
    });
    let mut set = |key: &str, value: Value| {
        fields[key] = value;
    };
    if let Some(description) = metadata.get("long_description").and_then(Value::as_str) {
        let description = cut(description, 2_000);
        if !description.is_empty() {
            set("when_to_use", description.into());
        }
    }
    set("tags", distinct(texts(metadata.get("tags")).filter_map(tag), 32));
    let line = |text: &str| cut(&text.split_whitespace().collect::<Vec<_>>().join(" "), 120);
    set("aliases", distinct(texts(metadata.get("aliases")).map(line).filter(|text| !text.is_empty()), 16));
    set(
        "example_intents",
        distinct(texts(metadata.get("examples")).map(|text| cut(text, 500)).filter(|text| !text.is_empty()), 64),
    );
    if let Some(Value::Object(parameters)) = metadata.get("parameters")
        && !parameters.is_empty()
    {
        set("config_schema", config_schema(parameters, metadata.get("required")));
    }
    Manifest::from_value(id, &fields)
}

/// The parameters as a closed schema; where they are no valid JSON Schema, their names and descriptions only.
fn config_schema(parameters: &Map<String, Value>, required: Option<&Value>) -> Value {
    let required: Value =
        distinct(texts(required).filter(|name| parameters.contains_key(*name)).map(str::to_owned), usize::MAX);
    let closed = |properties: &Map<String, Value>| json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties });
    let schema = closed(parameters);
    if ConfigSchema::new(schema.clone()).is_ok() {
        return schema;
    }
    let described = |(name, parameter): (&String, &Value)| {
        let mut property = json!({ "type": ["string", "number", "boolean"] });
        if let Some(description) = parameter.get("description").and_then(Value::as_str) {
            property["description"] = description.into();
        }
        if let Some(default @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) = parameter.get("default") {
            property["default"] = default.clone();
        }
        (name.clone(), property)
    };
    closed(&parameters.iter().map(described).collect())
}

fn texts(value: Option<&Value>) -> impl Iterator<Item = &str> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn distinct(texts: impl Iterator<Item = String>, most: usize) -> Value {
    let mut kept: Vec<String> = Vec::new();
    for text in texts {
        if kept.len() < most && !kept.contains(&text) {
            kept.push(text);
        }
    }
    kept.into()
}

/// Lower case, other characters as hyphens, cut to the length of a tag; `None` when nothing is left.
fn tag(text: &str) -> Option<String> {
    let keep =
        |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let word: String = text.to_lowercase().chars().map(keep).take(63).collect();
    let word = word.trim_start_matches(['.', '_', '-']);
    (!word.is_empty()).then(|| word.to_owned())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// At most so many characters, without control characters and the white space around.
fn cut(text: &str, longest: usize) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect();
    let cut: String = clean.trim().chars().take(longest).collect();
    cut.trim_end().to_owned()
}
