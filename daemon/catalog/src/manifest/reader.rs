//! A document tree to a [`Manifest`]: one field after the other, in the order of the manual.

mod artifact;

use std::collections::{BTreeMap, HashSet};

use semver::Version;
use serde_json::Value;

use super::checker::{Checker, Fields, TextRule};
use super::{Manifest, SchemaCheck, Supersedes};
use crate::config_schema::{ConfigSchema, SchemaFault, ValueSchema};
use crate::document::{MAX_SAFE_INTEGER, Node, Place, Tree};
use crate::error::shorten;
use crate::identifier::{self, ComponentName};
use crate::port::{Authentication, Port};
use crate::{CatalogError, Violation};

/// Every key that a manifest may have, in the order of the manual.
const KEYS: &[&str] = &[
    "name",
    "version",
    "title",
    "aliases",
    "summary",
    "kind",
    "lifecycle",
    "license",
    "owner",
    "when_to_use",
    "when_not_to_use",
    "limitations",
    "tags",
    "example_intents",
    "counter_examples",
    "artifact",
    "config_schema",
    "provides",
    "requires",
    "invariants",
    "compliance",
    "access",
    "supersedes",
];
const LINE: TextRule = TextRule { longest: 120, one_line: true };
const SUMMARY: TextRule = TextRule { longest: 600, one_line: false };
const PARAGRAPH: TextRule = TextRule { longest: 2_000, one_line: false };
const SENTENCE: TextRule = TextRule { longest: 500, one_line: false };
const MAX_PORTS: usize = 32;
const MAX_STANDARDS: usize = 64;
const MAX_REQUIREMENTS: usize = 512;

pub(super) fn manifest(node: &Node, check: SchemaCheck) -> Result<Manifest, Vec<Violation>> {
    let mut checker = Checker::default();
    let manifest = read(&mut checker, node, check);
    match manifest {
        Some(manifest) if checker.violations.is_empty() => Ok(manifest),
        _ => Err(checker.violations),
    }
}

/// `None` only after a violation was noted. All fields are read before any missing one ends the reading.
fn read(c: &mut Checker, node: &Node, check: SchemaCheck) -> Option<Manifest> {
    let mut fields = c.mapping("", node)?;
    let name = fields.required(c, "name").and_then(|(path, node)| c.parsed::<ComponentName>(&path, node));
    let version = fields.required(c, "version").and_then(|(path, node)| version(c, &path, node));
    let title = fields.required(c, "title").and_then(|(path, node)| c.text(&path, node, LINE));
    let aliases = fields.optional("aliases").map(|(path, node)| aliases(c, &path, node)).unwrap_or_default();
    let summary = fields.required(c, "summary").and_then(|(path, node)| c.text(&path, node, SUMMARY));
    let kind = fields.required(c, "kind").and_then(|(path, node)| c.parsed(&path, node));
    let lifecycle = fields.required(c, "lifecycle").and_then(|(path, node)| c.parsed(&path, node));
    let license = fields.required(c, "license").and_then(|(path, node)| c.parsed(&path, node));
    let owner = fields.required(c, "owner").and_then(|(path, node)| c.text(&path, node, LINE));
    let when_to_use = fields.optional("when_to_use").and_then(|(path, node)| c.text(&path, node, PARAGRAPH));
    let when_not_to_use = fields.optional("when_not_to_use").and_then(|(path, node)| c.text(&path, node, PARAGRAPH));
    let limitations = sentences(c, &mut fields, "limitations", 32);
    let tags = fields.optional("tags").map(|(path, node)| c.list(&path, node, 32, Checker::parsed)).unwrap_or_default();
    let example_intents = sentences(c, &mut fields, "example_intents", 64);
    let counter_examples = sentences(c, &mut fields, "counter_examples", 64);
    let artifact = fields.optional("artifact").and_then(|(path, node)| artifact::read(c, &path, node));
    let config_schema = fields.optional("config_schema").and_then(|(path, node)| config_schema(c, &path, node, check));
    let provides = ports(c, &mut fields, Side::Provides, check);
    let requires = ports(c, &mut fields, Side::Requires, check);
    let invariants = sentences(c, &mut fields, "invariants", 32);
    let compliance = fields.optional("compliance").map(|(path, node)| compliance(c, &path, node)).unwrap_or_default();
    let access = fields.optional("access").map(|(path, node)| access(c, &path, node)).unwrap_or_default();
    let supersedes = fields.optional("supersedes").and_then(|(path, node)| supersedes(c, &path, node));
    let place_of_supersedes = fields.optional("supersedes").and_then(|(_, node)| node.place);
    fields.finish(c, KEYS);

    let (name, version) = (name?, version?);
    if let Some(other) = &supersedes
        && other.name == name
        && other.version.as_ref().is_none_or(|older| *older >= version)
    {
        c.report(
            "supersedes",
            place_of_supersedes,
            format!("`{other}` is not older than this version; name a lower version or another component"),
        );
    }
    Some(Manifest {
        name,
        version,
        title: title?,
        aliases,
        summary: summary?,
        kind: kind?,
        lifecycle: lifecycle?,
        license: license?,
        owner: owner?,
        when_to_use,
        when_not_to_use,
        limitations,
        tags,
        example_intents,
        counter_examples,
        artifact,
        config_schema,
        provides,
        requires,
        invariants,
        compliance,
        access,
        supersedes,
    })
}

fn aliases(c: &mut Checker, path: &str, node: &Node) -> Vec<String> {
    c.list(path, node, 16, |c, path, node| c.text(path, node, LINE))
}

fn sentences(c: &mut Checker, fields: &mut Fields<'_>, key: &str, most: usize) -> Vec<String> {
    let Some((path, node)) = fields.optional(key) else { return Vec::new() };
    c.list(&path, node, most, |c, path, node| c.text(path, node, SENTENCE))
}

fn version(c: &mut Checker, path: &str, node: &Node) -> Option<Version> {
    let text = c.raw_text(path, node)?;
    match parse_version(text) {
        Ok(version) => Some(version),
        Err(error) => {
            c.report(path, node.place, error.to_string());
            None
        }
    }
}

fn parse_version(text: &str) -> Result<Version, CatalogError> {
    if text.len() > 128 {
        return Err(CatalogError::value("version", text, "use at most 128 characters"));
    }
    Version::parse(text).map_err(|error| {
        CatalogError::value("version", text, format!("{error}; write MAJOR.MINOR.PATCH, such as 1.0.0 or 2.0.0-rc.1"))
    })
}

fn config_schema(c: &mut Checker, path: &str, node: &Node, check: SchemaCheck) -> Option<ConfigSchema> {
    let value = schema(c, path, node)?;
    match check {
        SchemaCheck::Trusted => Some(ConfigSchema::trusted(value)),
        SchemaCheck::Full => accepted(c, path, node, ConfigSchema::new(value)),
    }
}

fn value_schema(c: &mut Checker, path: &str, node: &Node, check: SchemaCheck) -> Option<ValueSchema> {
    let value = schema(c, path, node)?;
    match check {
        SchemaCheck::Trusted => Some(ValueSchema::trusted(value)),
        SchemaCheck::Full => accepted(c, path, node, ValueSchema::new(value)),
    }
}

/// A schema as written, not yet checked.
fn schema(c: &mut Checker, path: &str, node: &Node) -> Option<Value> {
    c.mapping(path, node)?;
    unsafe_numbers(c, path, node);
    Some(node.to_value())
}

/// A schema that passed its check; the faults of another are noted where they stand.
fn accepted<S>(c: &mut Checker, path: &str, node: &Node, checked: Result<S, Vec<SchemaFault>>) -> Option<S> {
    match checked {
        Ok(schema) => Some(schema),
        Err(faults) => {
            for SchemaFault { pointer, description } in faults {
                let (field, place) = locate(path, node, &pointer);
                let pointer =
                    if pointer.is_empty() { "the schema's root".to_owned() } else { format!("at `{pointer}`") };
                c.report(&field, place, format!("{pointer}: {description}"));
            }
            None
        }
    }
}

/// Numbers that the canonical form cannot carry exactly.
fn unsafe_numbers(c: &mut Checker, path: &str, node: &Node) {
    match &node.tree {
        Tree::Number(number) => {
            let exact = number.is_f64() || number.as_i64().is_some_and(|n| n.abs() <= MAX_SAFE_INTEGER);
            if !exact {
                c.report(
                    path,
                    node.place,
                    format!(
                        "the integer `{number}` is beyond ±{MAX_SAFE_INTEGER}, where JSON numbers lose digits; use text"
                    ),
                );
            }
        }
        Tree::Sequence(items) => {
            for (i, item) in items.iter().enumerate() {
                unsafe_numbers(c, &format!("{path}[{i}]"), item);
            }
        }
        Tree::Mapping(entries) => {
            for (key, item) in entries {
                unsafe_numbers(c, &format!("{path}.{}", key.text), item);
            }
        }
        Tree::Null | Tree::Bool(_) | Tree::Text(_) => {}
    }
}

/// The field path and the place of a JSON pointer under a node; as far as the pointer leads.
fn locate(path: &str, node: &Node, pointer: &str) -> (String, Option<Place>) {
    let (mut field, mut here) = (path.to_owned(), node);
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        let next = match &here.tree {
            Tree::Mapping(entries) => {
                entries.iter().find(|(key, _)| key.text == token).map(|(_, value)| (format!(".{token}"), value))
            }
            Tree::Sequence(items) => {
                token.parse().ok().and_then(|i: usize| items.get(i)).map(|item| (format!("[{token}]"), item))
            }
            Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) => None,
        };
        let Some((step, value)) = next else { break };
        field.push_str(&step);
        here = value;
    }
    (field, here.place)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Provides,
    Requires,
}

fn ports(c: &mut Checker, fields: &mut Fields<'_>, side: Side, check: SchemaCheck) -> Vec<Port> {
    let key = match side {
        Side::Provides => "provides",
        Side::Requires => "requires",
    };
    let Some((path, node)) = fields.optional(key) else { return Vec::new() };
    let mut names = HashSet::new();
    c.list(&path, node, MAX_PORTS, |c, path, node| {
        let port = port(c, path, node, side, check)?;
        if !names.insert(port.name.clone()) {
            c.report(path, node.place, format!("a second port named `{}`; rename one", port.name));
        }
        Some(port)
    })
}

fn port(c: &mut Checker, path: &str, node: &Node, side: Side, check: SchemaCheck) -> Option<Port> {
    let mut fields = c.mapping(path, node)?;
    let name = fields
        .required(c, "name")
        .and_then(|(path, node)| c.word(&path, node, identifier::is_label, identifier::LABEL_RULE));
    let protocol = fields.required(c, "protocol").and_then(|(path, node)| {
        c.word(
            &path,
            node,
            identifier::is_protocol,
            "use 1 to 32 characters of a-z, 0-9, ., + and -, starting with a letter",
        )
    });
    let authentication =
        fields.optional("authentication").map_or(Some(Authentication::None), |(path, node)| c.parsed(&path, node));
    let scopes = fields.optional("scopes").map(|(path, node)| {
        c.list(&path, node, 64, |c, path, node| {
            c.word(
                path,
                node,
                identifier::is_scope,
                "use 1 to 128 visible ASCII characters without quote and backslash",
            )
        })
    });
    let data_classes = fields.optional("data_classes").map(|(path, node)| c.list(&path, node, 16, Checker::parsed));
    let (mut optional, mut gives) = (Some(false), Some(None));
    let mut known = vec!["name", "protocol", "authentication", "scopes", "data_classes"];
    match side {
        Side::Requires => {
            known.push("optional");
            if let Some((path, node)) = fields.optional("optional") {
                optional = c.boolean(&path, node);
            }
        }
        Side::Provides => {
            known.push("value_schema");
            if let Some((path, node)) = fields.optional("value_schema") {
                gives = value_schema(c, &path, node, check).map(Some);
            }
        }
    }
    fields.finish(c, &known);
    Some(Port {
        name: name?,
        protocol: protocol?,
        authentication: authentication?,
        scopes: scopes.unwrap_or_default(),
        data_classes: data_classes.unwrap_or_default(),
        optional: optional?,
        value_schema: gives?,
    })
}

fn compliance(c: &mut Checker, path: &str, node: &Node) -> BTreeMap<String, Vec<String>> {
    let mut standards = BTreeMap::new();
    if c.mapping(path, node).is_none() {
        return standards;
    }
    let Tree::Mapping(entries) = &node.tree else { return standards };
    if entries.len() > MAX_STANDARDS {
        c.report(path, node.place, format!("has {} standards, at most {MAX_STANDARDS} are allowed", entries.len()));
        return standards;
    }
    for (key, node) in entries {
        let path = format!("{path}.{}", shorten(&key.text));
        if !identifier::is_tag(&key.text) {
            c.report(&path, key.place, format!("`{}`: {}", shorten(&key.text), identifier::TAG_RULE));
        }
        let requirements = c.list(&path, node, MAX_REQUIREMENTS, |c, path, node| {
            c.word(path, node, identifier::is_requirement, "use 1 to 64 visible ASCII characters, no spaces")
        });
        standards.insert(key.text.clone(), requirements);
    }
    standards
}

fn access(c: &mut Checker, path: &str, node: &Node) -> Vec<String> {
    if matches!(&node.tree, Tree::Sequence(items) if items.is_empty()) {
        c.report(
            path,
            node.place,
            "is empty, which would let nobody in; name roles, or remove the key to let every role in",
        );
    }
    c.list(path, node, 64, |c, path, node| {
        c.word(
            path,
            node,
            identifier::is_role,
            "use 1 to 63 characters of a-z, 0-9, ., _, : and -, starting with a letter or digit",
        )
    })
}

fn supersedes(c: &mut Checker, path: &str, node: &Node) -> Option<Supersedes> {
    let text = c.raw_text(path, node)?;
    let (name, version) = match text.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (text, None),
    };
    let parsed =
        name.parse().and_then(|name| Ok(Supersedes { name, version: version.map(parse_version).transpose()? }));
    match parsed {
        Ok(supersedes) => Some(supersedes),
        Err(error) => {
            c.report(path, node.place, error.to_string());
            None
        }
    }
}
