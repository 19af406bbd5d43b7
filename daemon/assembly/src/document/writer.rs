//! An [`Assembly`] back to a document, fields in the order of the manual.

use serde_json::{Map, Value, json};

use super::{Assembly, ComponentPart, Connection, Exposure, ExternalPart, Part, Ports, RawPart, Reference, Source};
use crate::globs::PathGlobs;

pub(super) fn value(assembly: &Assembly) -> Value {
    // Destructured in full: a new field must be written or the build stops.
    let Assembly { name, title, owner, parts, connections, exposures, unmanaged, standards, policies } = assembly;
    let mut fields = Map::new();
    fields.insert("name".into(), name.to_string().into());
    insert(&mut fields, "title", title.as_deref());
    insert(&mut fields, "owner", owner.as_deref());
    fields.insert("parts".into(), parts.iter().map(part).collect());
    insert_connections(&mut fields, connections, exposures);
    insert_globs(&mut fields, unmanaged);
    if !standards.is_empty() {
        fields.insert("standards".into(), json!(standards));
    }
    let policies = policies.to_value();
    if policies.as_object().is_some_and(|policies| !policies.is_empty()) {
        fields.insert("policies".into(), policies);
    }
    Value::Object(fields)
}

fn part(Part { id, source }: &Part) -> Value {
    let mut fields = Map::new();
    fields.insert("id".into(), id.as_str().into());
    match source {
        Source::Component(ComponentPart { reference, range, path, configuration }) => {
            match reference {
                Reference::Named { digest, .. } => {
                    fields.insert("component".into(), reference.to_string().into());
                    insert(&mut fields, "digest", digest.as_ref());
                }
                Reference::Digest(digest) => insert(&mut fields, "digest", Some(digest)),
            }
            insert(&mut fields, "range", range.as_ref());
            insert(&mut fields, "path", path.as_ref());
            if configuration.as_object().is_some_and(|bound| !bound.is_empty()) {
                fields.insert("configuration".into(), configuration.clone());
            }
        }
        Source::Raw(RawPart { path, digest, lines, owner, reviewer, license, ports }) => {
            let mut raw = Map::new();
            raw.insert("path".into(), path.as_str().into());
            insert(&mut raw, "digest", digest.as_ref());
            if let Some(lines) = lines {
                raw.insert("lines".into(), (*lines).into());
            }
            insert(&mut raw, "owner", owner.as_deref());
            insert(&mut raw, "reviewer", reviewer.as_deref());
            insert(&mut raw, "license", license.as_ref());
            fields.insert("raw".into(), Value::Object(raw));
            insert_ports(&mut fields, ports);
        }
        Source::External(ExternalPart { owner, compliance, evidence, valid_until, tags, ports }) => {
            let mut external = Map::new();
            external.insert("owner".into(), owner.as_str().into());
            if !compliance.is_empty() {
                external.insert("compliance".into(), compliance.to_value());
            }
            insert(&mut external, "evidence", evidence.as_ref());
            insert(&mut external, "valid_until", valid_until.as_ref());
            if !tags.is_empty() {
                external.insert("tags".into(), json!(tags));
            }
            fields.insert("external".into(), Value::Object(external));
            insert_ports(&mut fields, ports);
        }
    }
    Value::Object(fields)
}

fn insert_ports(fields: &mut Map<String, Value>, ports: &Ports) {
    for (side, written) in &ports.written {
        fields.insert((*side).to_owned(), written.clone());
    }
}

/// Writes connections and exposures, as assemblies and locks have them.
pub(crate) fn insert_connections(fields: &mut Map<String, Value>, connections: &[Connection], exposures: &[Exposure]) {
    if !connections.is_empty() {
        fields.insert("connections".into(), connections.iter().map(connection).collect());
    }
    if !exposures.is_empty() {
        let one =
            |Exposure { port, audience }: &Exposure| json!({ "port": port.to_string(), "audience": audience.as_str() });
        fields.insert("exposures".into(), exposures.iter().map(one).collect());
    }
}

pub(crate) fn insert_globs(fields: &mut Map<String, Value>, globs: &PathGlobs) {
    if !globs.texts().is_empty() {
        fields.insert("unmanaged".into(), json!(globs.texts()));
    }
}

fn connection(Connection { from, to, data_classes, version }: &Connection) -> Value {
    let mut fields = Map::new();
    fields.insert("from".into(), from.to_string().into());
    fields.insert("to".into(), to.to_string().into());
    fields.insert("data_classes".into(), data_classes.iter().map(|class| Value::from(class.as_str())).collect());
    insert(&mut fields, "version", version.as_ref());
    Value::Object(fields)
}

pub(crate) fn insert(fields: &mut Map<String, Value>, key: &str, value: Option<impl ToString>) {
    if let Some(value) = value {
        fields.insert(key.to_owned(), value.to_string().into());
    }
}
