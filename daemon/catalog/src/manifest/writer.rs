//! A [`Manifest`] back to a document, fields in the order of the manual.

use serde_json::{Map, Value};

use super::{Artifact, Manifest};
use crate::port::{Authentication, Port};

pub(super) fn value(manifest: &Manifest) -> Value {
    // Destructured in full: a new field must be written or the build stops.
    let Manifest {
        name,
        version,
        title,
        aliases,
        summary,
        kind,
        lifecycle,
        license,
        owner,
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
    } = manifest;
    let mut fields = Map::new();
    fields.insert("name".into(), name.to_string().into());
    fields.insert("version".into(), version.to_string().into());
    fields.insert("title".into(), title.as_str().into());
    insert_list(&mut fields, "aliases", aliases);
    fields.insert("summary".into(), summary.as_str().into());
    fields.insert("kind".into(), kind.as_str().into());
    fields.insert("lifecycle".into(), lifecycle.as_str().into());
    fields.insert("license".into(), license.as_str().into());
    fields.insert("owner".into(), owner.as_str().into());
    if let Some(text) = when_to_use {
        fields.insert("when_to_use".into(), text.as_str().into());
    }
    if let Some(text) = when_not_to_use {
        fields.insert("when_not_to_use".into(), text.as_str().into());
    }
    insert_list(&mut fields, "limitations", limitations);
    insert_list(&mut fields, "tags", tags);
    insert_list(&mut fields, "example_intents", example_intents);
    insert_list(&mut fields, "counter_examples", counter_examples);
    if let Some(artifact) = artifact {
        fields.insert("artifact".into(), artifact_value(artifact));
    }
    if let Some(schema) = config_schema {
        fields.insert("config_schema".into(), schema.as_value().clone());
    }
    insert_ports(&mut fields, "provides", provides);
    insert_ports(&mut fields, "requires", requires);
    insert_list(&mut fields, "invariants", invariants);
    if !compliance.is_empty() {
        let standards = compliance.iter().map(|(standard, ids)| (standard.clone(), ids.as_slice().into())).collect();
        fields.insert("compliance".into(), Value::Object(standards));
    }
    insert_list(&mut fields, "access", access);
    if let Some(supersedes) = supersedes {
        fields.insert("supersedes".into(), supersedes.to_string().into());
    }
    Value::Object(fields)
}

pub(super) fn yaml(manifest: &Manifest) -> String {
    serde_saphyr::to_string(&value(manifest))
        .expect("a JSON value with text keys and finite numbers can be written as YAML")
}

fn insert_list<T: ToString>(fields: &mut Map<String, Value>, key: &str, items: &[T]) {
    if !items.is_empty() {
        fields.insert(key.into(), items.iter().map(|item| Value::String(item.to_string())).collect());
    }
}

fn artifact_value(artifact: &Artifact) -> Value {
    let Artifact { purl, digests, files } = artifact;
    let mut fields = Map::new();
    fields.insert("purl".into(), purl.as_str().into());
    if !digests.is_empty() {
        let digests = digests.iter().map(|(algorithm, digits)| (algorithm.clone(), digits.as_str().into())).collect();
        fields.insert("digests".into(), Value::Object(digests));
    }
    if !files.is_empty() {
        let files = files.iter().map(|(path, digest)| (path.to_string(), digest.to_string().into())).collect();
        fields.insert("files".into(), Value::Object(files));
    }
    Value::Object(fields)
}

fn insert_ports(fields: &mut Map<String, Value>, key: &str, ports: &[Port]) {
    if !ports.is_empty() {
        fields.insert(key.into(), ports.iter().map(port_value).collect());
    }
}

fn port_value(port: &Port) -> Value {
    let Port { name, protocol, authentication, scopes, data_classes, optional, value_schema } = port;
    let mut fields = Map::new();
    fields.insert("name".into(), name.as_str().into());
    fields.insert("protocol".into(), protocol.as_str().into());
    if *authentication != Authentication::None {
        fields.insert("authentication".into(), authentication.as_str().into());
    }
    insert_list(&mut fields, "scopes", scopes);
    insert_list(&mut fields, "data_classes", data_classes);
    if *optional {
        fields.insert("optional".into(), true.into());
    }
    if let Some(schema) = value_schema {
        fields.insert("value_schema".into(), schema.as_value().clone());
    }
    Value::Object(fields)
}
