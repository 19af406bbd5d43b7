//! A value of the right form to an [`Assembly`]: what JSON Schema cannot say is checked here.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use fitment_catalog::{CatalogError, Digest, License, Manifest};
use jiff::Timestamp;
use semver::Version;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Assembly, Audience, ComponentPart, Connection, Exposure, ExternalPart, Part, PortAddress, Ports, RawPart,
    Reference, Source,
};
use crate::claim::Claims;
use crate::error::{AssemblyError, Violation, one_line, shorten};
use crate::form::{self, Form};
use crate::policies::{Policies, RawPolicies};

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
    digest: String,
    lines: u32,
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenConnection {
    from: String,
    to: String,
    data_classes: Vec<String>,
    version: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenExposure {
    port: String,
    audience: String,
}

pub(super) fn assembly(file: &str, value: &Value) -> Result<Assembly, AssemblyError> {
    let written: Written = form::read(file, value, Form::Assembly)?;
    let mut reader = Reader { violations: Vec::new() };
    let assembly = reader.assembly(written);
    match assembly {
        Some(assembly) if reader.violations.is_empty() => Ok(assembly),
        _ => Err(AssemblyError::Invalid { file: file.to_owned(), violations: reader.violations }),
    }
}

/// A value could not be read, and a violation says why.
struct Noted;

/// Collects violations. A reading method that returns `None` or [`Noted`] has noted why.
struct Reader {
    violations: Vec<Violation>,
}

impl Reader {
    fn note(&mut self, pointer: impl Into<String>, description: impl Into<String>) {
        self.violations.push(Violation { pointer: pointer.into(), description: description.into() });
    }

    fn assembly(&mut self, written: Written) -> Option<Assembly> {
        let Written { name, title, owner, parts, connections, exposures, standards, policies } = written;
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
        let connections = self.connections(connections);
        let exposures = self.exposures(exposures);
        let policies = Policies::read(policies, "/policies", &mut self.violations);
        let (title, owner) = (title.map(trimmed), owner.map(trimmed));
        Some(Assembly { name: name?, title, owner, parts: read, connections, exposures, standards, policies })
    }

    fn part(&mut self, at: &str, written: WrittenPart) -> Option<Part> {
        let WrittenPart { id, component, digest, range, configuration, raw, external, provides, requires } = written;
        let source = match (raw, external) {
            (None, None) => {
                let reference = self.reference(at, component.as_deref(), digest.as_deref());
                let range = self.optional(&format!("{at}/range"), range.as_deref());
                let configuration = Value::Object(configuration.unwrap_or_default());
                self.exact_numbers(&format!("{at}/configuration"), &configuration);
                Source::Component(ComponentPart { reference: reference?, range: range.ok()?, configuration })
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
        let at = format!("{at}/component");
        let Some((name, version)) = component.split_once('@') else {
            self.note(at, format!("`{}` has no version; write namespace/name@version", shorten(component)));
            return None;
        };
        let name = self.parsed(&at, name)?;
        let version = self.version(&at, version)?;
        Some(Reference::Named { name, version, digest })
    }

    fn version(&mut self, at: &str, text: &str) -> Option<Version> {
        match Version::parse(text) {
            Ok(version) if text.len() <= 128 => Some(version),
            Ok(_) => {
                self.note(at, "the version has more than 128 characters; shorten it");
                None
            }
            Err(error) => {
                self.note(at, format!("`{}` is no version ({error}); write MAJOR.MINOR.PATCH", shorten(text)));
                None
            }
        }
    }

    fn raw(&mut self, at: &str, raw: WrittenRaw, ports: Ports) -> Option<RawPart> {
        let WrittenRaw { path, digest, lines, owner, reviewer, license } = raw;
        if path.split('/').any(|step| step == "." || step == "..") {
            self.note(format!("{at}/path"), "has a step . or ..; write the path from the application's root");
        }
        let digest = self.parsed(&format!("{at}/digest"), &digest);
        let license: Result<Option<License>, Noted> = self.optional(&format!("{at}/license"), license.as_deref());
        let (owner, reviewer) = (owner.map(trimmed), reviewer.map(trimmed));
        Some(RawPart { path, digest: digest?, lines, owner, reviewer, license: license.ok()?, ports })
    }

    fn external(&mut self, at: &str, external: WrittenExternal, ports: Ports) -> Option<ExternalPart> {
        let WrittenExternal { owner, compliance, evidence, valid_until, tags } = external;
        let mut claims = Claims::default();
        for (standard, requirements) in compliance {
            claims.add_requirements(&standard, requirements);
        }
        let evidence = self.optional(&format!("{at}/evidence"), evidence.as_deref());
        let valid_until = match valid_until.map(|text| text.parse::<Timestamp>()) {
            None => None,
            Some(Ok(instant)) => Some(instant),
            Some(Err(error)) => {
                self.note(format!("{at}/valid_until"), one_line(&error));
                return None;
            }
        };
        let owner = trimmed(owner);
        Some(ExternalPart { owner, compliance: claims, evidence: evidence.ok()?, valid_until, tags, ports })
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

    fn connections(&mut self, written: Vec<WrittenConnection>) -> Vec<Connection> {
        let mut connections: Vec<Connection> = Vec::with_capacity(written.len());
        let mut pairs = HashSet::new();
        for (i, WrittenConnection { from, to, data_classes, version }) in written.into_iter().enumerate() {
            let at = format!("/connections/{i}");
            let classes = data_classes.iter().enumerate();
            let classes: Vec<_> =
                classes.map(|(j, class)| self.parsed(&format!("{at}/data_classes/{j}"), class)).collect();
            let version = self.optional(&format!("{at}/version"), version.as_deref());
            let (from, to) = (self.address(&format!("{at}/from"), &from), self.address(&format!("{at}/to"), &to));
            let (Some(from), Some(to), Ok(version)) = (from, to, version) else { continue };
            if !pairs.insert((from.clone(), to.clone())) {
                self.note(&at, format!("{from} and {to} are connected twice; keep one"));
            }
            connections.push(Connection { from, to, data_classes: classes.into_iter().flatten().collect(), version });
        }
        connections
    }

    fn exposures(&mut self, written: Vec<WrittenExposure>) -> Vec<Exposure> {
        let mut exposures = Vec::with_capacity(written.len());
        let mut ports = HashSet::new();
        for (i, WrittenExposure { port, audience }) in written.into_iter().enumerate() {
            let at = format!("/exposures/{i}");
            let audience = [Audience::Public, Audience::Partner, Audience::Internal]
                .into_iter()
                .find(|known| known.as_str() == audience);
            let (Some(port), Some(audience)) = (self.address(&format!("{at}/port"), &port), audience) else { continue };
            if !ports.insert(port.clone()) {
                self.note(&at, format!("{port} is exposed twice; keep the wider audience"));
            }
            exposures.push(Exposure { port, audience });
        }
        exposures
    }

    fn address(&mut self, at: &str, text: &str) -> Option<PortAddress> {
        match text.parse() {
            Ok(address) => Some(address),
            Err(error) => {
                self.note(at, error);
                None
            }
        }
    }

    /// Text that a strict parser of the catalogue turns into a value.
    fn parsed<T: std::str::FromStr<Err = CatalogError>>(&mut self, at: &str, text: &str) -> Option<T> {
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.note(at, one_line(&error));
                None
            }
        }
    }

    /// The same for a value that may be absent.
    fn optional<T: std::str::FromStr<Err = CatalogError>>(
        &mut self,
        at: &str,
        text: Option<&str>,
    ) -> Result<Option<T>, Noted> {
        match text {
            None => Ok(None),
            Some(text) => self.parsed(at, text).map(Some).ok_or(Noted),
        }
    }

    /// Numbers that the canonical form, whose numbers are IEEE 754 doubles, cannot carry exactly.
    fn exact_numbers(&mut self, at: &str, value: &Value) {
        const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;
        match value {
            Value::Number(number) => {
                let exact =
                    number.is_f64() || number.as_i64().is_some_and(|number| number.unsigned_abs() <= MAX_SAFE_INTEGER);
                if !exact {
                    let rule = "loses digits as a JSON number; use text";
                    self.note(at, format!("the integer `{number}` is beyond ±{MAX_SAFE_INTEGER} and {rule}"));
                }
            }
            Value::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.exact_numbers(&format!("{at}/{i}"), item);
                }
            }
            Value::Object(entries) => {
                for (key, item) in entries {
                    self.exact_numbers(&format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), item);
                }
            }
            Value::Null | Value::Bool(_) | Value::String(_) => {}
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "passed to Option::map")]
fn trimmed(text: String) -> String {
    text.trim().to_owned()
}
