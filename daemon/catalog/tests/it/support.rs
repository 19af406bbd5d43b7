//! What several test modules share.

use std::path::{Path, PathBuf};

use fitment_catalog::{Format, Manifest, read_document};
use jsonschema::Validator;
use serde_json::Value;

/// Every required field and nothing else.
pub(crate) const MINIMAL: &str = "\
name: forms/address
version: 1.2.0
title: Address form
summary: Asks for a postal address and checks it.
kind: ui
lifecycle: certified
license: Apache-2.0
owner: team-forms
";

/// The minimal manifest with more fields.
pub(crate) fn manifest(more: &str) -> Manifest {
    let text = format!("{MINIMAL}{more}");
    Manifest::parse("test.yaml", text.as_bytes(), Format::Yaml).unwrap_or_else(|error| panic!("{error}"))
}

/// The minimal manifest with a configuration schema.
pub(crate) fn component(schema: &Value) -> Manifest {
    let mut value = read_document("test.yaml", MINIMAL.as_bytes(), Format::Yaml).expect("a document");
    value["config_schema"] = schema.clone();
    Manifest::from_value("test", &value).unwrap_or_else(|error| panic!("{error}"))
}

/// An object schema that lists its properties and closes them off.
pub(crate) fn closed(properties: &Value, required: &[&str]) -> Value {
    serde_json::json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties })
}

/// The sample's components that can be configured.
pub(crate) fn configurable() -> Vec<Manifest> {
    fitment_catalog::sample()
        .map(|file| Manifest::parse(file.path, file.bytes, Format::Yaml).expect(file.path))
        .filter(|manifest| manifest.config_schema().is_some())
        .collect()
}

/// The files of a fixture folder, by name.
pub(crate) fn fixtures(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(&folder)
        .expect("fixture folder")
        .map(|entry| {
            let entry = entry.expect("fixture entry");
            let name = entry.file_name().into_string().expect("fixture name");
            (name, std::fs::read(entry.path()).expect("fixture"))
        })
        .collect();
    files.sort();
    files
}

/// The published schema, compiled.
pub(crate) fn published_schema() -> Validator {
    let schema = serde_json::from_str(fitment_catalog::MANIFEST_SCHEMA).expect("the schema is JSON");
    jsonschema::draft202012::options().offline().build(&schema).expect("the schema is a valid JSON Schema")
}

/// The folder with the public labelled intents, which live beside the repository and are not part of it.
pub(crate) fn intents_folder() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the crate is two levels down");
    let folder =
        std::env::var_os("FITMENT_INTENTS_DIR").map_or_else(|| workspace.join("../shared/intents"), PathBuf::from);
    let shown = folder.display();
    assert!(folder.is_dir(), "no labelled intents in {shown}; set FITMENT_INTENTS_DIR to the folder that holds them");
    folder
}
