//! A value of the right form to an [`Assembly`]: what JSON Schema cannot say is checked here.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use fitment_catalog::{CatalogError, Digest, License, Manifest, RelativePath};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Assembly, ComponentPart, ExternalPart, Part, Ports, RawPart, Reference, Source};
use crate::claim::Claims;
use crate::error::{AssemblyError, one_line};
use crate::form::{self, Form};
use crate::policies::{Policies, RawPolicies};
use crate::reading::{Noted, Reader, WrittenConnection, WrittenExposure, trimmed};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    title: Option<String>,
    owner: Option<String>,
    parts: Vec<WrittenPart>,
    #[serde(default)]
    connections: Vec<WrittenConnection>,
    #[serde(default)]
    exposures: Vec<WrittenExposure>,
    #[serde(default)]
    unmanaged: Vec<String>,
    #[serde(default)]
    standards: BTreeMap<String, BTreeSet<String>>,
    #[serde(default)]
    policies: RawPolicies,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPart {
    id: String,
    component: Option<String>,
    digest: Option<String>,
    range: Option<String>,
    path: Option<String>,
    configuration: Option<Map<String, Value>>,
    raw: Option<WrittenRaw>,
    external: Option<WrittenExternal>,
    provides: Option<Value>,
    requires: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRaw {
    path: String,
    digest: Option<String>,
    lines: Option<u32>,
    owner: Option<String>,
    reviewer: Option<String>,
    license: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenExternal {
    owner: String,
    #[serde(default)]
    compliance: BTreeMap<String, Vec<String>>,
    evidence: Option<String>,
    valid_until: Option<String>,
    #[serde(default)]
    tags: BTreeSet<String>,
}

pub(super) fn assembly(file: &str, value: &Value) -> Result<Assembly, AssemblyError> {
    let written: Written = form::read(file, value, Form::Assembly)?;
    let mut reader = Reader::default();
    let assembly = reader.assembly(written);
    reader.finish(file, assembly)
}

impl Reader {
    fn assembly(&mut self, written: Written) -> Option<Assembly> {
        let Written { name, title, owner, parts, connections, exposures, unmanaged, standards, policies } = written;
        let name = self.parsed("/name", &name);
        let mut read = Vec::with_capacity(parts.len());
        let mut ids = HashSet::new();
        for (i, part) in parts.into_iter().enumerate() {
            let at = format!("/parts/{i}");
            if !ids.insert(part.id.clone()) {
                self.note(format!("{at}/id"), format!("a second part has the id `{}`; rename one", part.id));
            }
            read.extend(self.part(&at, part));
        }
        let mut paths = Vec::new();
        for (i, part) in read.iter().enumerate() {
            match &part.source {
                Source::Component(component) => {
                    paths.extend(component.path.as_ref().map(|path| (format!("/parts/{i}/path"), path)));
                }
                Source::Raw(raw) => paths.push((format!("/parts/{i}/raw/path"), &raw.path)),
                Source::External(_) => {}
            }
        }
        self.apart(&paths);
        let connections = self.connections(connections);
        let exposures = self.exposures(exposures);
        let unmanaged = self.globs("/unmanaged", unmanaged);
        let policies = Policies::read(policies, "/policies", &mut self.violations);
        let (title, owner) = (title.map(trimmed), owner.map(trimmed));
        let name = name?;
        Some(Assembly { name, title, owner, parts: read, connections, exposures, unmanaged, standards, policies })
    }

    fn part(&mut self, at: &str, written: WrittenPart) -> Option<Part> {
        let WrittenPart { id, component, digest, range, path, configuration, raw, external, provides, requires } =
            written;
        let source = match (raw, external) {
            (None, None) => {
                let reference = self.reference(at, component.as_deref(), digest.as_deref());
                let range = self.optional(&format!("{at}/range"), range.as_deref());
                let path: Result<Option<RelativePath>, Noted> = self.optional(&format!("{at}/path"), path.as_deref());
                let configuration = Value::Object(configuration.unwrap_or_default());
                self.exact_numbers(&format!("{at}/configuration"), &configuration);
                let (reference, range, path) = (reference?, range.ok()?, path.ok()?);
                Source::Component(ComponentPart { reference, range, path, configuration })
            }
            (Some(raw), None) => {
                let ports = self.ports(at, provides, requires);
                Source::Raw(self.raw(&format!("{at}/raw"), raw, ports?)?)
            }
            (None, Some(external)) => {
                let ports = self.ports(at, provides, requires);
                Source::External(self.external(&format!("{at}/external"), external, ports?)?)
            }
            (Some(_), Some(_)) => {
                self.note(at, "is raw and external; keep one");
                return None;
            }
        };
        Some(Part { id, source })
    }

    fn reference(&mut self, at: &str, component: Option<&str>, digest: Option<&str>) -> Option<Reference> {
        let digest: Option<Digest> = self.optional(&format!("{at}/digest"), digest).ok()?;
        let Some(component) = component else {
            if digest.is_none() {
                self.note(at, "names no version; write component: namespace/name@version, or digest");
            }
            return digest.map(Reference::Digest);
        };
        let (name, version) = self.named_version(&format!("{at}/component"), component)?;
        Some(Reference::Named { name, version, digest })
    }

    fn raw(&mut self, at: &str, raw: WrittenRaw, ports: Ports) -> Option<RawPart> {
        let WrittenRaw { path, digest, lines, owner, reviewer, license } = raw;
        let path: Option<RelativePath> = self.parsed(&format!("{at}/path"), &path);
        let digest: Result<Option<Digest>, Noted> = self.optional(&format!("{at}/digest"), digest.as_deref());
        let license: Result<Option<License>, Noted> = self.optional(&format!("{at}/license"), license.as_deref());
        let (owner, reviewer) = (owner.map(trimmed), reviewer.map(trimmed));
        let (path, digest, license) = (path?, digest.ok()?, license.ok()?);
        Some(RawPart { path, digest, lines, owner, reviewer, license, ports })
    }

    fn external(&mut self, at: &str, external: WrittenExternal, ports: Ports) -> Option<ExternalPart> {
        let WrittenExternal { owner, compliance, evidence, valid_until, tags } = external;
        let mut claims = Claims::default();
        for (standard, requirements) in compliance {
            claims.add_requirements(&standard, requirements);
        }
        let evidence = self.optional(&format!("{at}/evidence"), evidence.as_deref());
        let valid_until = self.instant(&format!("{at}/valid_until"), valid_until.as_deref());
        let owner = trimmed(owner);
        Some(ExternalPart {
            owner,
            compliance: claims,
            evidence: evidence.ok()?,
            valid_until: valid_until.ok()?,
            tags,
            ports,
        })
    }

    /// Ports are read by the rules of a manifest, as those of a manifest that has nothing else: one form of a port, and
    /// one reader of it.
    fn ports(&mut self, at: &str, provides: Option<Value>, requires: Option<Value>) -> Option<Ports> {
        let mut manifest = json!({
            "name": "part/ports", "version": "1.0.0", "title": "Ports", "summary": "Ports", "kind": "service",
            "lifecycle": "draft", "license": "LicenseRef-None", "owner": "ports",
        });
        for (side, ports) in [("provides", provides), ("requires", requires)] {
            if let Some(ports) = ports {
                manifest[side] = ports;
            }
        }
        match Manifest::from_value("ports", &manifest) {
            Ok(manifest) => {
                let Value::Object(mut fields) = manifest.to_value() else { return None };
                let written =
                    ["provides", "requires"].into_iter().filter_map(|side| Some((side, fields.remove(side)?)));
                Some(Ports {
                    written: written.collect(),
                    provides: manifest.provides().to_vec(),
                    requires: manifest.requires().to_vec(),
                })
            }
            Err(CatalogError::InvalidManifest { violations, .. }) => {
                for violation in violations {
                    let pointer = format!("{at}/{}", violation.field.replace("].", "/").replace(['[', '.'], "/"));
                    self.note(pointer.trim_end_matches(']'), violation.description);
                }
                None
            }
            Err(other) => {
                self.note(at, one_line(&other));
                None
            }
        }
    }
}
