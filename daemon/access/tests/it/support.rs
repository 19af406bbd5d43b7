//! Documents and principals for tests.

use std::collections::BTreeMap;

use fitment_access::{Access, AccessError, ComponentFacts, Presented, Principal};
use fitment_catalog::Kind;
use jiff::Timestamp;

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

pub(crate) fn now() -> Timestamp {
    at("2026-06-01T12:00:00Z")
}

/// Reads a document that names no files.
pub(crate) fn load(document: &str) -> Result<Access, AccessError> {
    load_with(document, &[])
}

/// Reads a document with the files that it names.
pub(crate) fn load_with(document: &str, files: &[(&str, &str)]) -> Result<Access, AccessError> {
    let files: BTreeMap<&str, &str> = files.iter().copied().collect();
    let attached = |name: &str| match files.get(name) {
        Some(text) => Ok(text.as_bytes().to_vec()),
        None => Err("there is no such file".to_owned()),
    };
    Access::load("access.yaml", document.as_bytes(), &attached)
}

pub(crate) fn good(document: &str) -> Access {
    load(document).expect("a valid document")
}

/// Everything that is wrong with a document, one fault a line.
pub(crate) fn faults(document: &str, files: &[(&str, &str)]) -> String {
    load_with(document, files).expect_err("an invalid document").to_string()
}

/// The principal `p` with some grants, as YAML.
pub(crate) fn principal(grants: &str) -> Principal {
    let access = good(&format!("version: 1\nprincipals:\n  - id: p\n    grants: {grants}\n"));
    access.principal("p").expect("listed").clone()
}

pub(crate) fn facts(namespace: &str, tags: &[&str]) -> ComponentFacts {
    ComponentFacts {
        namespace: namespace.to_owned(),
        tags: tags.iter().map(|tag| tag.parse().expect("a tag")).collect(),
        kind: Kind::Service,
        owner: "team-tests".to_owned(),
        roles: [].into(),
    }
}

/// An `authorization` and nothing else.
pub(crate) fn bearer(access: &Access, credential: &str, now: Timestamp) -> Result<String, &'static str> {
    let value = format!("Bearer {credential}");
    let authorization = [value.as_bytes()];
    let presented = Presented { authorization: &authorization, ..Presented::default() };
    match access.authenticate(&presented, now) {
        Ok(principal) => Ok(format!("{}@{}", principal.id(), principal.tenant())),
        Err(why) => Err(why.as_str()),
    }
}
