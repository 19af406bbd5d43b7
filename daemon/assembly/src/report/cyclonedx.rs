//! The report as a `CycloneDX` 1.6 bill of materials: parts, what they depend on, standards, and who attests what.
//!
//! Texts stand in it as they are; hidden characters are escaped as JSON allows. References within the document are made
//! of ids, so that the same assembly has the same ones in each report.

mod declarations;

use std::collections::{BTreeMap, BTreeSet};

use fitment_catalog::{DataClass, Kind};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::view::View;
use super::{Asked, Compliance, Row, configuration, text};
use crate::document::{Audience, Source};

/// What names of this program's reports are made under.
const NAMESPACE: &[u8] = b"https://fitment.dev/assembly-report/v1";

/// Reference of the application itself.
const ASSEMBLY: &str = "assembly";

pub(super) fn document(report: &Compliance<'_>) -> Vec<u8> {
    let mut fields = Map::new();
    fields.insert("$schema".into(), "http://cyclonedx.org/schema/bom-1.6.schema.json".into());
    fields.insert("bomFormat".into(), "CycloneDX".into());
    fields.insert("specVersion".into(), "1.6".into());
    // Reserves the place: the number depends on all that follows.
    fields.insert("serialNumber".into(), Value::Null);
    fields.insert("version".into(), 1.into());
    fields.insert("metadata".into(), metadata(report));
    let (services, components): (Vec<View<'_>>, Vec<View<'_>>) =
        report.views().partition(|view| matches!(view.part.source, Source::External(_)));
    fields.insert("components".into(), components.iter().map(|view| component(report, view)).collect());
    let exposed: BTreeMap<&str, Audience> =
        report.input.assembly.exposures().iter().map(|it| (it.port.part.as_str(), it.audience)).collect();
    insert_list(&mut fields, "services", services.iter().map(|view| service(view, &exposed)));
    fields.insert("dependencies".into(), dependencies(report));
    fields.insert("compositions".into(), compositions(&components));
    insert_list(&mut fields, "annotations", annotations(report));
    fields.insert("declarations".into(), declarations::of(report));
    fields.insert("definitions".into(), json!({ "standards": standards(report) }));
    let content = crate::document::canonical(&Value::Object(fields.clone()));
    let serial = Uuid::new_v5(&Uuid::new_v5(&Uuid::NAMESPACE_URL, NAMESPACE), &content);
    fields.insert("serialNumber".into(), serial.urn().to_string().into());
    text::json(&Value::Object(fields))
}

fn metadata(report: &Compliance<'_>) -> Value {
    let (assembly, check) = (report.input.assembly, report.input.check);
    let mut component = Map::new();
    component.insert("type".into(), "application".into());
    component.insert("bom-ref".into(), ASSEMBLY.into());
    if let Some(owner) = assembly.owner() {
        component.insert("supplier".into(), json!({ "name": owner }));
    }
    component.insert("group".into(), assembly.name().namespace().into());
    component.insert("name".into(), assembly.name().name().into());
    if let Some(title) = assembly.title() {
        component.insert("description".into(), title.into());
    }
    let (surface, lines) = report.surface();
    let parts = surface.iter().map(|(sort, parts)| (format!("parts:{}", sort.as_str()), parts.to_string()));
    let facts = [
        ("assembly:digest", check.assembly.to_string()),
        ("assembly:passes", check.passes().to_string()),
        ("catalogue:revision", report.input.revision.to_string()),
        ("policies:digest", check.policies.to_string()),
        ("invariants:digest", check.invariants.to_string()),
    ];
    let facts = facts.into_iter().map(|(name, value)| (name.to_owned(), value));
    let lines = lines.map(|lines| ("raw:lines".to_owned(), lines.to_string()));
    component.insert("properties".into(), properties(facts.chain(lines).chain(parts)));
    json!({
        "timestamp": check.at.to_string(),
        "tools": { "components": [tool()] },
        "component": component,
    })
}

fn tool() -> Value {
    json!({ "type": "application", "name": "fitment", "version": env!("CARGO_PKG_VERSION") })
}

fn component(report: &Compliance<'_>, view: &View<'_>) -> Value {
    let mut fields = Map::new();
    let kind = view.manifest().map(fitment_catalog::Manifest::kind);
    fields.insert("type".into(), component_type(view, kind).into());
    fields.insert("bom-ref".into(), part_ref(view.id()).into());
    if let Some(owner) = view.owner() {
        fields.insert("supplier".into(), json!({ "name": owner }));
    }
    let (name, version) = view.name();
    match name.split_once('/') {
        Some((group, name)) if view.component().is_some() => {
            fields.insert("group".into(), group.into());
            fields.insert("name".into(), name.into());
        }
        _ => drop(fields.insert("name".into(), name.into())),
    }
    if let Some(version) = version {
        fields.insert("version".into(), version.into());
    }
    if let Some(manifest) = view.manifest() {
        fields.insert("description".into(), manifest.summary().into());
    }
    insert_list(&mut fields, "hashes", hashes(view));
    if let Some(license) = view.license() {
        fields.insert("licenses".into(), json!([{ "expression": license.as_str() }]));
    }
    if let Some(artifact) = view.artifact() {
        fields.insert("purl".into(), artifact.purl().into());
    }
    fields.insert("properties".into(), properties(component_facts(report, view)));
    Value::Object(fields)
}

fn component_type(view: &View<'_>, kind: Option<Kind>) -> &'static str {
    match (&view.part.source, kind) {
        (Source::Raw(_), _) => "file",
        (Source::Component(_) | Source::External(_), kind) => match kind {
            Some(Kind::Library) => "library",
            Some(Kind::Data) => "data",
            Some(Kind::Model) => "machine-learning-model",
            Some(Kind::Infrastructure) => "platform",
            _ => "application",
        },
    }
}

fn hashes(view: &View<'_>) -> Vec<Value> {
    let hash = |(algorithm, content): (&str, String)| json!({ "alg": algorithm, "content": content });
    let of_artifact = view.artifact().into_iter().flat_map(fitment_catalog::Artifact::digests);
    let of_artifact = of_artifact.filter_map(|(algorithm, content)| {
        let algorithm = match algorithm.as_str() {
            "sha256" => "SHA-256",
            "sha384" => "SHA-384",
            "sha512" => "SHA-512",
            _ => return None,
        };
        Some((algorithm, content.clone()))
    });
    let of_raw = view.raw().and(view.digest()).map(|digest| ("SHA-256", hex::encode(digest.as_bytes())));
    of_artifact.chain(of_raw).map(hash).collect()
}

fn component_facts(report: &Compliance<'_>, view: &View<'_>) -> Vec<(String, String)> {
    let mut facts = vec![
        ("part:id".to_owned(), view.id().to_owned()),
        ("part:generation".to_owned(), view.surface().as_str().to_owned()),
    ];
    let mut note = |name: &str, value: Option<String>| {
        facts.extend(value.map(|value| (name.to_owned(), value)));
    };
    if let Some(raw) = view.raw() {
        note("raw:lines", view.lines().map(|lines| lines.to_string()));
        note("raw:owner", raw.owner.clone());
        note("raw:reviewer", raw.reviewer.clone());
        return facts;
    }
    note("manifest:digest", view.digest().map(|digest| digest.to_string()));
    note("lifecycle", view.record.map(|record| record.version.lifecycle.to_string()));
    note("certification", view.certification().map(|(_, words)| words));
    for setting in configuration::settings(report, view) {
        facts.push((format!("configuration:{}", setting.pointer), setting.value.text()));
    }
    facts
}

fn service(view: &View<'_>, exposed: &BTreeMap<&str, Audience>) -> Value {
    let (provides, _) = view.ports();
    let mut fields = Map::new();
    fields.insert("bom-ref".into(), part_ref(view.id()).into());
    if let Some(owner) = view.owner() {
        fields.insert("provider".into(), json!({ "name": owner }));
    }
    fields.insert("name".into(), view.id().into());
    let open = |port: &fitment_catalog::Port| port.authentication() == fitment_catalog::Authentication::None;
    if !provides.is_empty() {
        fields.insert("authenticated".into(), (!provides.iter().any(open)).into());
    }
    fields.insert("x-trust-boundary".into(), true.into());
    let flow = |class: DataClass| json!({ "flow": "unknown", "classification": class.as_str() });
    insert_list(&mut fields, "data", view.data_classes().into_iter().map(flow));
    let audience = exposed.get(view.id()).map(|audience| ("part:audience".to_owned(), audience.as_str().to_owned()));
    let facts = [
        ("part:id".to_owned(), view.id().to_owned()),
        ("part:generation".to_owned(), view.surface().as_str().to_owned()),
    ];
    fields.insert("properties".into(), properties(facts.into_iter().chain(audience)));
    Value::Object(fields)
}

/// A part depends on those that it connects to, the application on all.
fn dependencies(report: &Compliance<'_>) -> Value {
    let ids: BTreeSet<&str> = report.views().map(|view| view.id()).collect();
    let mut on: BTreeMap<&str, BTreeSet<&str>> = ids.iter().map(|id| (*id, BTreeSet::new())).collect();
    for connection in report.input.assembly.connections() {
        let (from, to) = (connection.from.part.as_str(), connection.to.part.as_str());
        if let (Some(of_part), true, true) = (on.get_mut(from), ids.contains(to), from != to) {
            of_part.insert(to);
        }
    }
    let refs = |ids: &BTreeSet<&str>| ids.iter().map(|id| part_ref(id)).collect::<Vec<_>>();
    let of_parts = on.iter().map(|(id, ids)| json!({ "ref": part_ref(id), "dependsOn": refs(ids) }));
    std::iter::once(json!({ "ref": ASSEMBLY, "dependsOn": refs(&ids) })).chain(of_parts).collect()
}

/// The assembly names all its parts; what the parts themselves are built from is not known.
fn compositions(components: &[View<'_>]) -> Value {
    let inside: BTreeSet<String> = components.iter().map(|view| part_ref(view.id())).collect();
    json!([
        { "aggregate": "complete", "dependencies": [ASSEMBLY] },
        { "aggregate": "unknown", "dependencies": inside },
    ])
}

/// The findings.
fn annotations(report: &Compliance<'_>) -> Vec<Value> {
    let ids: BTreeSet<&str> = report.views().map(|view| view.id()).collect();
    let check = report.input.check;
    let findings = report.findings.iter().enumerate().map(|(i, finding)| {
        let part = finding.place.part.as_deref().filter(|id| ids.contains(id));
        json!({
            "bom-ref": format!("finding:{}", i + 1),
            "subjects": [part.map_or_else(|| ASSEMBLY.to_owned(), part_ref)],
            "annotator": { "component": tool() },
            "timestamp": check.at.to_string(),
            "text": finding.to_string(),
        })
    });
    findings.collect()
}

fn standards(report: &Compliance<'_>) -> Vec<Value> {
    let standards = report.coverage.standards().map(|(standard, rows)| {
        let requirement = |row: &Row| match &row.asked {
            Asked::Named | Asked::Whole => None,
            Asked::Requirement(id) => Some(json!({ "bom-ref": row_ref(row), "identifier": id })),
        };
        json!({
            "bom-ref": standard_ref(standard),
            "name": standard,
            "requirements": rows.iter().filter_map(requirement).collect::<Vec<_>>(),
        })
    });
    standards.collect()
}

fn part_ref(id: &str) -> String {
    format!("part:{id}")
}

fn standard_ref(standard: &str) -> String {
    format!("standard:{standard}")
}

/// The requirement, or the standard where no requirement is meant.
fn row_ref(row: &Row) -> String {
    match &row.asked {
        Asked::Named | Asked::Whole => standard_ref(&row.standard),
        Asked::Requirement(id) => format!("standard:{}/{id}", row.standard),
    }
}

fn properties(facts: impl IntoIterator<Item = (String, String)>) -> Value {
    facts.into_iter().map(|(name, value)| json!({ "name": format!("fitment:{name}"), "value": value })).collect()
}

fn insert_list(fields: &mut Map<String, Value>, key: &str, items: impl IntoIterator<Item = Value>) {
    let items: Vec<Value> = items.into_iter().collect();
    if !items.is_empty() {
        fields.insert(key.to_owned(), Value::Array(items));
    }
}

/// Text that may stand where an address is asked for: only what needs no escaping there.
fn as_address(text: &str) -> Option<&str> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?&=@+,;".contains(&b);
    let scheme = text.split_once(':').map(|(scheme, _)| scheme)?;
    (matches!(scheme, "https" | "http" | "urn") && text.bytes().all(allowed) && !text.contains("//:")).then_some(text)
}
