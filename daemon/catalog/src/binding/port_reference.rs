//! `{"$from": "part.port"}`: where a property takes its value from another part's port.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use super::MAX_PORT_BINDINGS;
use super::fault::{BindingFault, Rule, pointer_to};
use crate::config_schema::ValueSchema;
use crate::error::shorten;
use crate::identifier::is_label;
use crate::manifest::nearest;
use crate::{CatalogError, DataClass, Port};

/// The key that marks a reference to a port.
const KEY: &str = "$from";

/// An offered port of a part, written `part.port`. Both names have 1 to 63 characters of `a-z`, `0-9` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortReference {
    part: String,
    port: String,
}

impl PortReference {
    /// Name of the part within its assembly.
    pub fn part(&self) -> &str {
        &self.part
    }

    /// Name of the port that the part offers.
    pub fn port(&self) -> &str {
        &self.port
    }

    /// As it stands in a configuration.
    pub fn to_value(&self) -> Value {
        json!({ KEY: self.to_string() })
    }
}

impl fmt::Display for PortReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.part, self.port)
    }
}

impl FromStr for PortReference {
    type Err = CatalogError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('.') {
            Some((part, port)) if is_label(part) && is_label(port) => {
                Ok(Self { part: part.to_owned(), port: port.to_owned() })
            }
            _ => Err(CatalogError::value("port reference", text, "write part.port, the names as in the assembly")),
        }
    }
}

/// A place in a configuration that a port fills.
pub(super) struct Hole<'p> {
    pub(super) pointer: String,
    /// As a message names the port.
    pub(super) text: String,
    /// `None` when it cannot be read.
    pub(super) from: Option<PortReference>,
    /// `None` when the port is unknown, gives nothing, or no example of what it gives was found.
    pub(super) schema: Option<&'p ValueSchema>,
    pub(super) data_classes: &'p [DataClass],
    /// Something that the port may give; null when nothing is known.
    pub(super) example: Value,
}

impl Hole<'_> {
    /// Whether a pointer leads to this place or into it.
    pub(super) fn covers(&self, pointer: &str) -> bool {
        pointer.strip_prefix(self.pointer.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Takes the references out of a configuration and leaves examples of what their ports give in their places.
pub(super) fn take<'p>(
    configuration: &mut Value,
    parts: &BTreeMap<String, &'p [Port]>,
    faults: &mut Vec<BindingFault>,
) -> Vec<Hole<'p>> {
    let mut holes = Vec::new();
    visit(configuration, "", parts, &mut holes, faults);
    holes
}

fn visit<'p>(
    value: &mut Value,
    pointer: &str,
    parts: &BTreeMap<String, &'p [Port]>,
    holes: &mut Vec<Hole<'p>>,
    faults: &mut Vec<BindingFault>,
) {
    match value {
        Value::Object(entries) if entries.contains_key(KEY) && !pointer.is_empty() => {
            let alone = entries.len() == 1;
            let hole = match entries.get(KEY).and_then(Value::as_str) {
                Some(_) if holes.len() >= MAX_PORT_BINDINGS => {
                    faults.push(BindingFault {
                        pointer: pointer.to_owned(),
                        rule: Rule::Size,
                        reason: format!("more than {MAX_PORT_BINDINGS} properties take their values from ports"),
                        way_out: "write values for some of them".to_owned(),
                    });
                    unknown(pointer, String::new(), None)
                }
                Some(text) if alone => resolve(text, pointer, parts, faults),
                _ => {
                    faults.push(BindingFault {
                        pointer: pointer.to_owned(),
                        rule: Rule::PortReference,
                        reason: format!("`{KEY}` stands with other keys or without a text"),
                        way_out: format!("write {{\"{KEY}\": \"part.port\"}} and nothing else"),
                    });
                    unknown(pointer, String::new(), None)
                }
            };
            value.clone_from(&hole.example);
            holes.push(hole);
        }
        Value::Object(entries) => {
            for (name, value) in entries.iter_mut() {
                visit(value, &pointer_to(pointer, name), parts, holes, faults);
            }
        }
        Value::Array(items) => {
            for (i, value) in items.iter_mut().enumerate() {
                visit(value, &format!("{pointer}/{i}"), parts, holes, faults);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn unknown<'p>(pointer: &str, text: String, from: Option<PortReference>) -> Hole<'p> {
    Hole { pointer: pointer.to_owned(), text, from, schema: None, data_classes: &[], example: Value::Null }
}

fn resolve<'p>(
    text: &str,
    pointer: &str,
    parts: &BTreeMap<String, &'p [Port]>,
    faults: &mut Vec<BindingFault>,
) -> Hole<'p> {
    let mut refuse = |rule: Rule, reason: String, way_out: String| {
        faults.push(BindingFault { pointer: pointer.to_owned(), rule, reason, way_out });
    };
    let Ok(from) = text.parse::<PortReference>() else {
        refuse(
            Rule::PortReference,
            format!("`{KEY}` holds no reference to a port"),
            format!("write {{\"{KEY}\": \"part.port\"}}, the names as in the assembly"),
        );
        return unknown(pointer, String::new(), None);
    };
    let text = from.to_string();
    let Some(ports) = parts.get(from.part()) else {
        let names: Vec<&str> = parts.keys().map(String::as_str).collect();
        refuse(Rule::PortReference, format!("there is no part `{}`", from.part()), among("parts", from.part(), &names));
        return unknown(pointer, text, Some(from));
    };
    let Some(port) = ports.iter().find(|port| port.name() == from.port()) else {
        let names: Vec<&str> = ports.iter().map(Port::name).collect();
        let reason = format!("part `{}` offers no port `{}`", from.part(), from.port());
        refuse(Rule::PortReference, reason, among("its ports", from.port(), &names));
        return unknown(pointer, text, Some(from));
    };
    let Some(schema) = port.value_schema() else {
        let giving = ports.iter().filter(|port| port.value_schema().is_some());
        let names: Vec<&str> = giving.map(Port::name).collect();
        let reason = format!("the port `{text}` gives no value: it has no value_schema");
        refuse(Rule::PortType, reason, among("its ports with a value", from.port(), &names));
        return unknown(pointer, text, Some(from));
    };
    let Some(example) = schema.example() else {
        let reason = format!("no value was found that the port `{text}` may give, so nothing can be checked");
        refuse(Rule::PortType, reason, "bind to a port with a plainer value_schema, or write a value".to_owned());
        return unknown(pointer, text, Some(from));
    };
    let (schema, data_classes) = (Some(schema), port.data_classes());
    Hole { pointer: pointer.to_owned(), text, from: Some(from), schema, data_classes, example }
}

/// Which names there are, the nearest first where one is near.
fn among(what: &str, wrong: &str, names: &[&str]) -> String {
    match nearest(wrong, names) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => "there is none; write a value".to_owned(),
        None => format!("{what} are {}", shorten(&names.join(", "))),
    }
}
