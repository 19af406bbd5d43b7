//! A [`Lock`] to a document, fields in the order of the manual.

use serde_json::{Map, Value, json};

use super::{Lock, LockedArtifact, LockedComponent, LockedExternal, LockedPart, LockedRaw, LockedSource};
use crate::document::{insert, insert_connections, insert_globs};

pub(super) fn value(lock: &Lock) -> Value {
    // Destructured in full: a new field must be written or the build stops.
    let Lock { name, assembly, locked_at, revision, policies, invariants, unmanaged, parts, connections, exposures } =
        lock;
    let mut fields = Map::new();
    fields.insert("lock_version".into(), 1.into());
    fields.insert("assembly".into(), json!({ "name": name.to_string(), "digest": assembly }));
    insert(&mut fields, "locked_at", Some(locked_at));
    fields.insert("revision".into(), (*revision).into());
    insert(&mut fields, "policies", Some(policies));
    insert(&mut fields, "invariants", Some(invariants));
    insert_globs(&mut fields, unmanaged);
    fields.insert("parts".into(), parts.iter().map(part).collect());
    insert_connections(&mut fields, connections, exposures);
    Value::Object(fields)
}

fn part(LockedPart { id, source }: &LockedPart) -> Value {
    let mut fields = Map::new();
    fields.insert("id".into(), id.as_str().into());
    match source {
        LockedSource::Component(LockedComponent {
            name,
            version,
            manifest,
            artifact,
            path,
            certified_until,
            certificates,
            configuration,
        }) => {
            fields.insert("component".into(), format!("{name}@{version}").into());
            insert(&mut fields, "manifest", Some(manifest));
            if let Some(artifact) = artifact {
                fields.insert("artifact".into(), artifact_value(artifact));
            }
            insert(&mut fields, "path", path.as_ref());
            insert(&mut fields, "certified_until", certified_until.as_ref());
            if !certificates.is_empty() {
                fields.insert("certificates".into(), json!(certificates));
            }
            if configuration.as_object().is_some_and(|bound| !bound.is_empty()) {
                fields.insert("configuration".into(), by_key(configuration));
            }
        }
        LockedSource::Raw(LockedRaw { path, digest, lines, owner, reviewer, license }) => {
            let mut raw = Map::new();
            insert(&mut raw, "path", Some(path));
            insert(&mut raw, "digest", Some(digest));
            raw.insert("lines".into(), (*lines).into());
            insert(&mut raw, "owner", owner.as_deref());
            insert(&mut raw, "reviewer", reviewer.as_deref());
            insert(&mut raw, "license", license.as_ref());
            fields.insert("raw".into(), Value::Object(raw));
        }
        LockedSource::External(LockedExternal { owner, evidence, valid_until }) => {
            let mut external = Map::new();
            insert(&mut external, "owner", Some(owner));
            insert(&mut external, "evidence", evidence.as_ref());
            insert(&mut external, "valid_until", valid_until.as_ref());
            fields.insert("external".into(), Value::Object(external));
        }
    }
    Value::Object(fields)
}

fn artifact_value(LockedArtifact { purl, other_digests, sha256, files }: &LockedArtifact) -> Value {
    let mut fields = Map::new();
    insert(&mut fields, "purl", Some(purl));
    let mut digests = Map::new();
    insert(&mut digests, "sha256", sha256.map(|digest| hexadecimal(&digest.to_string())));
    for (algorithm, digits) in other_digests {
        insert(&mut digests, algorithm, Some(digits));
    }
    if !digests.is_empty() {
        fields.insert("digests".into(), Value::Object(digests));
    }
    if !files.is_empty() {
        let files = files.iter().map(|(path, digest)| (path.to_string(), digest.to_string().into()));
        fields.insert("files".into(), Value::Object(files.collect()));
    }
    Value::Object(fields)
}

/// A digest's digits alone, as package URLs and manifests write them.
fn hexadecimal(digest: &str) -> String {
    digest.trim_start_matches("sha256:").to_owned()
}

/// A value with the keys of each mapping in the order of their bytes.
fn by_key(value: &Value) -> Value {
    match value {
        Value::Object(entries) => {
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_by_key(|(key, _)| *key);
            Value::Object(sorted.into_iter().map(|(key, item)| (key.clone(), by_key(item))).collect())
        }
        Value::Array(items) => items.iter().map(by_key).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}
