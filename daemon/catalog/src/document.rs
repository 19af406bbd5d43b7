//! Text to a tree of values that remembers where each value stood.
//!
//! YAML and JSON end in the same [`Node`], so that what comes after does not know which one it was. Everything that
//! could make a small document expensive is refused here: size, depth, alias expansion, repeated keys.

mod json;
mod yaml;

use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::CatalogError;
use crate::manifest::{MAX_DEPTH, MAX_MANIFEST_BYTES};

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// YAML 1.2, one document.
    Yaml,
    /// JSON (RFC 8259).
    Json,
    /// By the file name's ending (`.json`, `.yaml`, `.yml`); otherwise JSON when the first character is `{`, else YAML.
    #[default]
    Auto,
}

/// Line and column in characters, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// A value and where it stood.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) place: Option<Place>,
    pub(crate) tree: Tree,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tree {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    Sequence(Vec<Node>),
    Mapping(Vec<(Key, Node)>),
}

/// A mapping's key and where it stood.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) place: Option<Place>,
}

/// Reads a YAML or JSON document of any sort under the rules that manifests are read by: at most [`MAX_MANIFEST_BYTES`]
/// and [`MAX_DEPTH`] levels, no repeated keys, bounded aliases. `file` names the bytes in messages.
///
/// # Errors
/// [`CatalogError::TooLarge`], [`CatalogError::NotUtf8`] or [`CatalogError::Syntax`].
pub fn read_document(file: &str, bytes: &[u8], format: Format) -> Result<Value, CatalogError> {
    Ok(read(file, bytes, format)?.to_value())
}

/// As [`read_document`], with another limit of bytes: up to 2 MiB, beyond which YAML is refused for what it expands to.
///
/// # Errors
/// As [`read_document`].
pub fn read_document_up_to(file: &str, bytes: &[u8], format: Format, limit: usize) -> Result<Value, CatalogError> {
    Ok(read_up_to(file, bytes, format, limit)?.to_value())
}

/// Reads one document.
pub(crate) fn read(file: &str, bytes: &[u8], format: Format) -> Result<Node, CatalogError> {
    read_up_to(file, bytes, format, MAX_MANIFEST_BYTES)
}

fn read_up_to(file: &str, bytes: &[u8], format: Format, limit: usize) -> Result<Node, CatalogError> {
    if bytes.len() > limit {
        return Err(CatalogError::TooLarge { file: file.to_owned(), bytes: bytes.len(), limit });
    }
    let text = utf8(file, bytes)?;
    let node = if is_json(file, text, format) { json::read(file, text)? } else { yaml::read(file, text)? };
    if deeper_than(&node, MAX_DEPTH) {
        return Err(too_deep(file, None));
    }
    Ok(node)
}

/// The bytes as text, without a byte order mark.
pub(crate) fn utf8<'b>(file: &str, bytes: &'b [u8]) -> Result<&'b str, CatalogError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            let line = 1 + before.split(|b| *b == b'\n').count().saturating_sub(1);
            Err(CatalogError::NotUtf8 { file: file.to_owned(), line })
        }
    }
}

fn is_json(file: &str, text: &str, format: Format) -> bool {
    match format {
        Format::Yaml => false,
        Format::Json => true,
        Format::Auto => {
            let ends = |ending: &str| {
                file.len() >= ending.len()
                    && file.is_char_boundary(file.len() - ending.len())
                    && file[file.len() - ending.len()..].eq_ignore_ascii_case(ending)
            };
            ends(".json") || (!ends(".yaml") && !ends(".yml") && text.trim_start().starts_with('{'))
        }
    }
}

fn syntax(file: &str, place: Option<Place>, description: String) -> CatalogError {
    CatalogError::Syntax {
        file: file.to_owned(),
        line: place.map(|place| place.line),
        column: place.map(|place| place.column),
        description,
    }
}

fn too_deep(file: &str, place: Option<Place>) -> CatalogError {
    syntax(file, place, too_deep_message())
}

fn too_deep_message() -> String {
    format!("nested deeper than {MAX_DEPTH} levels; flatten the document")
}

fn deeper_than(node: &Node, levels: usize) -> bool {
    match &node.tree {
        Tree::Sequence(items) => levels == 0 || items.iter().any(|item| deeper_than(item, levels - 1)),
        Tree::Mapping(entries) => levels == 0 || entries.iter().any(|(_, item)| deeper_than(item, levels - 1)),
        Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) => false,
    }
}

impl Node {
    /// The value without places. A number with no fractional part becomes an integer, since the canonical form (RFC
    /// 8785) writes both alike and equal digests should mean equal values.
    pub(crate) fn to_value(&self) -> Value {
        match &self.tree {
            Tree::Null => Value::Null,
            Tree::Bool(value) => Value::Bool(*value),
            Tree::Number(number) => Value::Number(normal_number(number)),
            Tree::Text(text) => Value::String(text.clone()),
            Tree::Sequence(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Tree::Mapping(entries) => Value::Object(
                entries.iter().map(|(key, node)| (key.text.clone(), node.to_value())).collect::<Map<_, _>>(),
            ),
        }
    }
}

impl From<&Value> for Node {
    fn from(value: &Value) -> Self {
        let tree = match value {
            Value::Null => Tree::Null,
            Value::Bool(value) => Tree::Bool(*value),
            Value::Number(number) => Tree::Number(number.clone()),
            Value::String(text) => Tree::Text(text.clone()),
            Value::Array(items) => Tree::Sequence(items.iter().map(Self::from).collect()),
            Value::Object(entries) => Tree::Mapping(
                entries
                    .iter()
                    .map(|(key, value)| (Key { text: key.clone(), place: None }, Self::from(value)))
                    .collect(),
            ),
        };
        Self { place: None, tree }
    }
}

/// Largest integer that survives the canonical form, whose numbers are IEEE 754 doubles.
pub(crate) const MAX_SAFE_INTEGER: i64 = (1 << 53) - 1;

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "guarded by the safe-integer range")]
fn normal_number(number: &Number) -> Number {
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() <= MAX_SAFE_INTEGER as f64 => {
            Number::from(float as i64)
        }
        _ => number.clone(),
    }
}

/// Builds a [`Tree`] from any self-describing format; `K` and `V` say how keys and values find their places.
struct TreeVisitor<K, V>(PhantomData<(K, V)>);

impl<K, V> TreeVisitor<K, V> {
    const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<'de, K, V> Visitor<'de> for TreeVisitor<K, V>
where
    K: Deserialize<'de> + Into<Key>,
    V: Deserialize<'de> + Into<Node>,
{
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Tree, E> {
        Number::from_f64(value).map(Tree::Number).ok_or_else(|| E::custom(format!("`{value}` is not a finite number")))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Tree, E> {
        Ok(Tree::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element::<V>()? {
            items.push(item.into());
        }
        Ok(Tree::Sequence(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut mapping: A) -> Result<Tree, A::Error> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut seen = HashSet::new();
        while let Some(key) = mapping.next_key::<K>()? {
            let key: Key = key.into();
            if !seen.insert(key.text.clone()) {
                return Err(A::Error::custom(format!(
                    "duplicate key `{}`; keep one",
                    crate::error::shorten(&key.text)
                )));
            }
            entries.push((key, mapping.next_value::<V>()?.into()));
        }
        Ok(Tree::Mapping(entries))
    }
}
