//! The searchable texts of a version: facets are embedded one by one, lexical fields are indexed by words.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use crate::token::tokens;
use crate::{CatalogError, Manifest};

/// Which part of a manifest a facet's text comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FacetKind {
    /// Title and summary.
    Profile,
    /// The advice on when to take the component.
    WhenToUse,
    /// One example intent, by its position from 0.
    ExampleIntent(usize),
}

/// `profile`, `when-to-use` or `example-intent:N`.
impl fmt::Display for FacetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Profile => f.write_str("profile"),
            Self::WhenToUse => f.write_str("when-to-use"),
            Self::ExampleIntent(i) => write!(f, "example-intent:{i}"),
        }
    }
}

impl FromStr for FacetKind {
    type Err = CatalogError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let position = |digits: &str| digits.parse().ok().filter(|i: &usize| i.to_string() == digits);
        match text {
            "profile" => Ok(Self::Profile),
            "when-to-use" => Ok(Self::WhenToUse),
            _ => text.strip_prefix("example-intent:").and_then(position).map(Self::ExampleIntent).ok_or_else(|| {
                CatalogError::value("facet kind", text, "use profile, when-to-use or example-intent:N with N from 0")
            }),
        }
    }
}

/// One searchable text of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facet {
    /// Where the text comes from.
    pub kind: FacetKind,
    /// The text, never blank.
    pub text: String,
}

/// The texts of a manifest to embed: the profile first, then the advice, then each example intent in the author's
/// order. At least one, at most 66.
pub fn facets(manifest: &Manifest) -> Vec<Facet> {
    let profile = if manifest.title() == manifest.summary() {
        manifest.title().to_owned()
    } else {
        format!("{}: {}", manifest.title(), manifest.summary())
    };
    let mut facets = vec![Facet { kind: FacetKind::Profile, text: profile }];
    facets.extend(manifest.when_to_use().map(|text| Facet { kind: FacetKind::WhenToUse, text: text.to_owned() }));
    let examples = manifest.example_intents().iter().enumerate();
    facets.extend(examples.map(|(i, text)| Facet { kind: FacetKind::ExampleIntent(i), text: text.clone() }));
    facets
}

tokens! {
    /// A field of the word index, with its own weight there.
    LexicalField, "lexical field" {
        /// Namespace, name and aliases, as words.
        Name = "name",
        /// Title.
        Title = "title",
        /// Summary.
        Summary = "summary",
        /// The advice on when to take the component.
        WhenToUse = "when-to-use",
        /// Tags.
        Tags = "tags",
        /// Example intents, one a line.
        ExampleIntents = "example-intents",
        /// Names and descriptions of the configuration's properties, one property a line.
        Configuration = "configuration",
    }
}

/// The texts of a manifest to index by words: every field once, in the order of [`LexicalField::ALL`]; absent parts are
/// empty texts.
pub fn lexical_fields(manifest: &Manifest) -> [(LexicalField, String); 7] {
    let mut name = format!("{} {}", manifest.name().namespace(), manifest.name().name()).replace('-', " ");
    for alias in manifest.aliases() {
        name.push('\n');
        name.push_str(alias);
    }
    let tags: Vec<&str> = manifest.tags().iter().map(crate::Tag::as_str).collect();
    let mut configuration = Vec::new();
    if let Some(schema) = manifest.config_schema() {
        property_lines(schema.as_value(), &mut configuration);
    }
    [
        (LexicalField::Name, name),
        (LexicalField::Title, manifest.title().to_owned()),
        (LexicalField::Summary, manifest.summary().to_owned()),
        (LexicalField::WhenToUse, manifest.when_to_use().unwrap_or_default().to_owned()),
        (LexicalField::Tags, tags.join(" ")),
        (LexicalField::ExampleIntents, manifest.example_intents().join("\n")),
        (LexicalField::Configuration, configuration.join("\n")),
    ]
}

/// One line a property, at any depth, sorted by name within each object so that key order does not matter.
fn property_lines(schema: &Value, lines: &mut Vec<String>) {
    match schema {
        Value::Object(keywords) => {
            let mut entries: Vec<(&String, &Value)> = keywords.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            for (keyword, value) in entries {
                match (keyword.as_str(), value) {
                    ("properties", Value::Object(properties)) => {
                        let mut properties: Vec<(&String, &Value)> = properties.iter().collect();
                        properties.sort_by_key(|(name, _)| *name);
                        for (name, property) in properties {
                            lines.push(property_line(name, property));
                            property_lines(property, lines);
                        }
                    }
                    // Instances, not schemas.
                    ("default" | "const" | "enum" | "examples", _) => {}
                    _ => property_lines(value, lines),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| property_lines(item, lines)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn property_line(name: &str, property: &Value) -> String {
    let words = name.replace(['_', '-', '.'], " ");
    match property.get("description").and_then(Value::as_str) {
        Some(description) => format!("{words} {description}"),
        None => words,
    }
}
