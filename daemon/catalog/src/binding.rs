//! Binding: a configuration judged against a version's closed schema, with all that is wrong with it at once.
//!
//! What comes out is the configuration as it will be used: defaults filled in, canonical, with a digest. A property may
//! take its value from another part's port instead of stating one; then whatever that port may give must be accepted.
//! Values that the caller wrote are never repeated in a message: one of them may be a secret.

mod fault;
mod places;
mod port_reference;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::config_schema::{
    Compatibility, ConfigSchema, ValueSchema, accepts_all, deeper_than, objections, too_many_defaults,
};
use crate::document::{Format, MAX_SAFE_INTEGER, Node, read_document};
use crate::error::shorten;
use crate::secret::{self, Detection};
use crate::{CatalogError, DataClass, Digest, Manifest, Port};

pub use fault::{BindingFault, Rule};
pub use port_reference::PortReference;

use places::Place;
use port_reference::Hole;

/// Largest configuration that is read, in bytes.
pub const MAX_CONFIGURATION_BYTES: usize = 64 * 1024;

/// Deepest nesting of lists and mappings in a configuration.
pub const MAX_CONFIGURATION_DEPTH: usize = 32;

/// Most faults that are reported of one configuration.
pub const MAX_FAULTS: usize = 256;

/// Most properties of one configuration that take their values from ports, since all that these may give is tried.
pub const MAX_PORT_BINDINGS: usize = 64;

/// A configuration as written, within the limits of size and depth and not yet judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Configuration(Map<String, Value>);

impl Configuration {
    /// Reads YAML or JSON. `file` names the bytes in messages and, with [`Format::Auto`], its ending decides the format.
    ///
    /// # Errors
    /// [`CatalogError::Syntax`] when it has more than [`MAX_CONFIGURATION_BYTES`] or nests deeper than
    /// [`MAX_CONFIGURATION_DEPTH`], cannot be read, or is no mapping; [`CatalogError::NotUtf8`].
    pub fn parse(file: &str, bytes: &[u8], format: Format) -> Result<Self, CatalogError> {
        if bytes.len() > MAX_CONFIGURATION_BYTES {
            return Err(too_large(file, bytes.len()));
        }
        Self::checked(file, read_document(file, bytes, format)?)
    }

    /// Takes a value, under the same limits; its size is that of its JSON text. `name` stands for it in messages.
    ///
    /// # Errors
    /// [`CatalogError::Syntax`] as for [`Configuration::parse`].
    pub fn from_value(name: &str, value: &Value) -> Result<Self, CatalogError> {
        if deeper_than(value, MAX_CONFIGURATION_DEPTH) {
            return Err(refused(name, format!("nested deeper than {MAX_CONFIGURATION_DEPTH} levels; flatten it")));
        }
        let size = value.to_string().len();
        if size > MAX_CONFIGURATION_BYTES {
            return Err(too_large(name, size));
        }
        Self::checked(name, Node::from(value).to_value())
    }

    /// The configuration as written.
    pub fn as_object(&self) -> &Map<String, Value> {
        &self.0
    }

    fn checked(name: &str, value: Value) -> Result<Self, CatalogError> {
        if deeper_than(&value, MAX_CONFIGURATION_DEPTH) {
            return Err(refused(name, format!("nested deeper than {MAX_CONFIGURATION_DEPTH} levels; flatten it")));
        }
        match value {
            Value::Object(properties) => Ok(Self(properties)),
            Value::Null => Ok(Self(Map::new())),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Err(refused(name, "a configuration is a mapping of properties to values".to_owned()))
            }
        }
    }
}

/// A configuration that the schema accepts.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    /// Defaults filled in; properties that take their value from a port hold `{"$from": "part.port"}`.
    pub configuration: Value,
    /// The configuration by RFC 8785.
    pub canonical: Vec<u8>,
    /// sha256 of `canonical`.
    pub digest: Digest,
    /// Properties that take their value from a port, by JSON pointer.
    pub ports: Vec<PortBinding>,
    /// JSON pointers of the references to secrets, in order.
    pub secrets: Vec<String>,
}

/// A property that takes its value from another part's port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortBinding {
    /// JSON pointer of the property (RFC 6901).
    pub pointer: String,
    /// The port.
    pub from: PortReference,
    /// Classes of the data that the port gives, in its author's order.
    pub data_classes: Vec<DataClass>,
}

/// Judges a configuration of one version. `parts` are the other parts of the assembly by their names, each with the ports that
/// it offers, which may be bound to.
///
/// A version without a schema takes the empty configuration only. Binding what was bound gives the same again.
///
/// # Errors
/// Everything that is wrong, at least one and at most [`MAX_FAULTS`], ordered by pointer.
pub fn bind(
    manifest: &Manifest,
    configuration: &Configuration,
    parts: &BTreeMap<String, &[Port]>,
) -> Result<Bound, Vec<BindingFault>> {
    let nothing = ConfigSchema::of_nothing();
    let schema = manifest.config_schema().unwrap_or(&nothing);
    let mut faults = Vec::new();

    let mut written = Value::Object(configuration.0.clone());
    let holes = port_reference::take(&mut written, parts, &mut faults);
    unsafe_numbers(&written, "", &mut faults);
    let resolved = resolve(schema, &written, &holes, &mut faults);
    let places = places::places(schema.as_value(), &resolved);
    check_ports(&places, &holes, &mut faults);
    check_references(&places, &holes, &mut faults);
    // Also what the schema does not know, and not what it publishes itself.
    check_inline(&places::places(schema.as_value(), &written), &holes, &mut faults);
    fault::withdraw_echoes(&mut faults, &holes);
    if faults.is_empty() {
        check_types(schema, &resolved, &holes, &mut faults);
    }
    if !faults.is_empty() {
        for fault in &mut faults {
            fault.pointer = fault::shown_pointer(&fault.pointer);
        }
        faults.sort_by_cached_key(|fault| (fault.pointer.clone(), fault.rule.to_string(), fault.reason.clone()));
        faults.dedup();
        faults.truncate(MAX_FAULTS);
        return Err(faults);
    }
    let references = places.iter().filter(|place| place.secret && place.value.is_string() && !place.listed);
    let secrets =
        references.filter(|place| !covered(&holes, &place.pointer)).map(|place| place.pointer.clone()).collect();
    Ok(bound(resolved, secrets, &holes))
}

/// Fills in defaults and collects what the schema has against the result.
fn resolve(schema: &ConfigSchema, written: &Value, holes: &[Hole<'_>], faults: &mut Vec<BindingFault>) -> Value {
    let nothing = Map::new();
    let filled = schema.fill(written.as_object().unwrap_or(&nothing));
    let mut resolved = filled.resolved;
    // An example of what a port gives is no configuration: nothing is filled in around it.
    for hole in holes {
        if let Some(value) = resolved.pointer_mut(&hole.pointer) {
            value.clone_from(&hole.example);
        }
    }
    faults.extend(filled.ignored.iter().take(MAX_FAULTS).map(BindingFault::unknown_property));
    faults.extend(filled.open.into_iter().map(|open| BindingFault::missing(open.pointer, &open.description)));
    if !filled.complete {
        faults.push(BindingFault::whole(Rule::Size, too_many_defaults(), "write fewer items"));
    }
    match schema.validator() {
        None => faults.push(BindingFault::whole(
            Rule::keyword("$schema"),
            "the configuration schema cannot be compiled".to_owned(),
            "take another version",
        )),
        Some(validator) if filled.complete => {
            for error in objections(schema.as_value(), validator, &resolved).iter().take(MAX_FAULTS) {
                fault::explain(error, schema.as_value(), &resolved, faults);
            }
        }
        Some(_) => {}
    }
    resolved
}

/// Secrets come from ports of secrets, and nothing else does.
fn check_ports(places: &[Place<'_>], holes: &[Hole<'_>], faults: &mut Vec<BindingFault>) {
    for hole in holes.iter().filter(|hole| hole.schema.is_some()) {
        let takes_secret = places.iter().any(|place| place.pointer == hole.pointer && place.secret);
        let gives_secret = hole.data_classes.contains(&DataClass::Secret);
        let (reason, way_out) = match (takes_secret, gives_secret) {
            (true, false) => (
                "the property takes a secret, and",
                "bind to a port of data class secret, or write a reference secret://…",
            ),
            (false, true) => {
                ("the property takes no secret, and", "bind secrets only to properties that the schema marks x-secret")
            }
            (true, true) | (false, false) => continue,
        };
        let class = if gives_secret { "gives one" } else { "does not give one" };
        faults.push(BindingFault {
            pointer: hole.pointer.clone(),
            rule: Rule::PortDataClass,
            reason: format!("{reason} the port `{}` {class}", hole.text),
            way_out: way_out.to_owned(),
        });
    }
}

/// Where the schema asks for a secret a reference stands.
fn check_references(places: &[Place<'_>], holes: &[Hole<'_>], faults: &mut Vec<BindingFault>) {
    for place in places.iter().filter(|place| !covered(holes, &place.pointer)) {
        let Some(text) = place.inline_secret() else { continue };
        let looks = secret::detect(place.field, text)
            .map(|Detection { detector, shown }| format!("; what stands here looks like one ({detector}: `{shown}`)"));
        faults.push(BindingFault {
            pointer: place.pointer.clone(),
            rule: Rule::SecretReference,
            reason: format!("a reference to a secret is wanted here{}", looks.unwrap_or_default()),
            way_out: format!("put the secret into the secret store and write {}", secret::REFERENCE_FORM),
        });
    }
}

/// Nothing that looks like a secret stands anywhere, be it a value or a property's name.
fn check_inline(places: &[Place<'_>], holes: &[Hole<'_>], faults: &mut Vec<BindingFault>) {
    const WAY_OUT: &str =
        "put it into the secret store, revoke it if it was real, and use a property that takes a reference";
    let mut report = |pointer: &str, found: Detection, what: &str| {
        faults.push(BindingFault {
            pointer: pointer.to_owned(),
            rule: Rule::InlineSecret(found.detector),
            reason: format!("{what} looks like a secret: `{}`", found.shown),
            way_out: WAY_OUT.to_owned(),
        });
    };
    for place in places.iter().filter(|place| !covered(holes, &place.pointer)) {
        if let Some(found) = place.free_name.and_then(|name| secret::detect("", name)) {
            report(&place.pointer, found, "the property's name");
        }
        let Value::String(text) = place.value else { continue };
        if place.published || place.inline_secret().is_some() {
            continue;
        }
        if let Some(found) = secret::detect(place.field, text) {
            report(&place.pointer, found, "the text");
        }
    }
}

fn covered(holes: &[Hole<'_>], pointer: &str) -> bool {
    holes.iter().any(|hole| hole.covers(pointer))
}

/// Whether the schema accepts whatever the ports may give.
fn check_types(schema: &ConfigSchema, resolved: &Value, holes: &[Hole<'_>], faults: &mut Vec<BindingFault>) {
    let described: BTreeMap<String, &ValueSchema> =
        holes.iter().filter_map(|hole| Some((hole.pointer.clone(), hole.schema?))).collect();
    if described.is_empty() {
        return;
    }
    let names: Vec<String> = holes.iter().map(|hole| format!("`{}`", hole.text)).collect();
    let (pointer, reason) = match accepts_all(schema, resolved, &described) {
        Compatibility::Compatible => return,
        Compatibility::Incompatible { counter_example, pointer, explanation } => {
            match holes.iter().find(|hole| hole.covers(&pointer)) {
                Some(hole) => {
                    // What a port gives is invented from its schema: no caller wrote it.
                    let given = counter_example.pointer(&hole.pointer).map(Value::to_string).unwrap_or_default();
                    let reason =
                        format!("`{}` may give {}, which is refused: {explanation}", hole.text, shorten(&given));
                    (hole.pointer.clone(), reason)
                }
                None => (
                    pointer,
                    format!("some of what {} may give is refused together with the rest", names.join(" and ")),
                ),
            }
        }
        Compatibility::Unknown { pointer, .. } => {
            // The doubt is named by its place in the schema of all that the ports may make of the configuration.
            let place = pointer.replace("/properties/", "/");
            let doubted = holes.iter().find(|hole| hole.covers(&place)).or(holes.first());
            let reason = format!("it cannot be shown that whatever {} may give is accepted", names.join(" and "));
            (doubted.map(|hole| hole.pointer.clone()).unwrap_or_default(), reason)
        }
    };
    let way_out = "bind to a port whose value_schema is narrower or plainer, or write a value".to_owned();
    faults.push(BindingFault { pointer, rule: Rule::PortType, reason, way_out });
}

fn bound(mut configuration: Value, secrets: Vec<String>, holes: &[Hole<'_>]) -> Bound {
    let mut ports = Vec::with_capacity(holes.len());
    for hole in holes {
        let Some(from) = hole.from.clone() else { continue };
        if let Some(value) = configuration.pointer_mut(&hole.pointer) {
            *value = from.to_value();
        }
        ports.push(PortBinding { pointer: hole.pointer.clone(), from, data_classes: hole.data_classes.to_vec() });
    }
    let canonical = serde_json_canonicalizer::to_vec(&configuration)
        .expect("a JSON value with text keys and finite numbers has a canonical form");
    Bound { digest: Digest::of(&canonical), configuration, canonical, ports, secrets }
}

/// Numbers that the canonical form cannot carry exactly.
fn unsafe_numbers(value: &Value, pointer: &str, faults: &mut Vec<BindingFault>) {
    match value {
        Value::Number(number) => {
            let exact =
                number.is_f64() || number.as_i64().is_some_and(|n| n.unsigned_abs() <= MAX_SAFE_INTEGER.unsigned_abs());
            if !exact {
                faults.push(BindingFault {
                    pointer: pointer.to_owned(),
                    rule: Rule::Number,
                    reason: format!("the integer is beyond ±{MAX_SAFE_INTEGER}, where JSON numbers lose digits"),
                    way_out: "use a smaller one".to_owned(),
                });
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                unsafe_numbers(item, &format!("{pointer}/{i}"), faults);
            }
        }
        Value::Object(entries) => {
            for (name, item) in entries {
                unsafe_numbers(item, &fault::pointer_to(pointer, name), faults);
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

fn too_large(name: &str, size: usize) -> CatalogError {
    refused(
        name,
        format!(
            "{size} bytes, more than the {MAX_CONFIGURATION_BYTES} that a configuration may have; refer to files instead of holding them"
        ),
    )
}

fn refused(name: &str, description: String) -> CatalogError {
    CatalogError::Syntax { file: name.to_owned(), line: None, column: None, description }
}
