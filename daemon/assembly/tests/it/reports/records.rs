//! The portal's records, its report, and the official schemas.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use fitment_assembly::{
    CertificateRecord, Compliance, CoveredStandard, EvidenceRecord, PartRecord, ReportFile, ReportInput, Row, Source,
};
use fitment_catalog::Manifest;
use jsonschema::{Registry, Validator};
use serde_json::Value;

use crate::support::{Catalogue, assembly, digest, instant, portal_value, report};

/// A report in all its forms.
pub(super) struct Reported {
    pub(super) cyclonedx: Vec<u8>,
    pub(super) oscal: Vec<u8>,
    pub(super) html: String,
    pub(super) statement: Vec<u8>,
    pub(super) rows: Vec<Row>,
}

impl Reported {
    pub(super) fn of(
        value: &Value,
        catalogue: &Catalogue,
        change: impl FnOnce(&mut BTreeMap<String, PartRecord>),
    ) -> Self {
        let (assembly, checked) = (assembly(value), report(value, catalogue));
        let mut parts = records_of(value, catalogue);
        change(&mut parts);
        let input = ReportInput { assembly: &assembly, check: &checked, parts: &parts, tree: None, revision: 4_711 };
        let compliance = Compliance::new(input).expect("the check of this assembly");
        let mut reported = Self {
            cyclonedx: compliance.to_cyclonedx(),
            oscal: compliance.to_oscal(),
            html: compliance.to_html(),
            statement: Vec::new(),
            rows: compliance.coverage().rows.clone(),
        };
        let files: Vec<ReportFile> = reported.files().iter().map(|(name, bytes)| ReportFile::of(name, bytes)).collect();
        reported.statement = compliance.statement(&files).expect("few files");
        reported
    }

    pub(super) fn files(&self) -> [(&'static str, &[u8]); 3] {
        [
            ("report.cdx.json", &self.cyclonedx),
            ("report.oscal.json", &self.oscal),
            ("report.html", self.html.as_bytes()),
        ]
    }
}

/// The report of a document whose records were changed.
pub(super) fn with(
    value: &Value,
    catalogue: &Catalogue,
    change: impl FnOnce(&mut BTreeMap<String, PartRecord>),
) -> Reported {
    Reported::of(value, catalogue, change)
}

pub(super) fn portal() -> Reported {
    with(&portal_value(), &Catalogue::new(), |_| {})
}

pub(super) fn records() -> BTreeMap<String, PartRecord> {
    records_of(&portal_value(), &Catalogue::new())
}

/// What is recorded about each known component: defaults filled in, and a certificate for what its manifest claims.
fn records_of(value: &Value, catalogue: &Catalogue) -> BTreeMap<String, PartRecord> {
    let assembly = assembly(value);
    let record = |id: &str, source: &Source| {
        let Source::Component(component) = source else { return None };
        let version = catalogue.versions.get(&component.reference.to_string())?.clone();
        let configuration = version.manifest.open_configuration(&component.configuration).resolved;
        let mut certificates = vec![certificate(id, &version.manifest, "2026-03-01T00:00:00Z", "2027-11-01T00:00:00Z")];
        match id {
            "table" => certificates[0].valid_until = Some(instant("2026-11-20T00:00:00Z")),
            // Left to the author's word.
            "form" => {
                for covered in &mut certificates[0].standards {
                    covered.requirements.remove("3.3.2");
                }
            }
            "audit" => {
                certificates.push(certificate(
                    "audit-2025",
                    &version.manifest,
                    "2025-03-01T00:00:00Z",
                    "2026-03-01T00:00:00Z",
                ));
            }
            "keys" => {
                let mut revoked =
                    certificate("keys-early", &version.manifest, "2026-01-15T00:00:00Z", "2027-01-15T00:00:00Z");
                revoked.refused = Some("revoked on 2026-02-20: the test laboratory lost its accreditation".to_owned());
                certificates.push(revoked);
            }
            _ => {}
        }
        Some((id.to_owned(), PartRecord { version, certificates, configuration: Some(configuration) }))
    };
    assembly.parts().iter().filter_map(|part| record(&part.id, &part.source)).collect()
}

fn certificate(name: &str, manifest: &Manifest, issued: &str, until: &str) -> CertificateRecord {
    let standards = manifest.compliance().iter().map(|(standard, ids)| CoveredStandard {
        standard: standard.clone(),
        requirements: ids.iter().cloned().collect(),
        level: None,
    });
    let key = if manifest.compliance().contains_key("pci-dss-4.0") { "qsa-2026" } else { "quality-2026" };
    CertificateRecord {
        digest: digest(name),
        issuers: [key.to_owned()].into(),
        issued: instant(issued),
        valid_until: Some(instant(until)),
        standards: standards.collect(),
        conditions: Vec::new(),
        evidence: vec![EvidenceRecord {
            kind: "audit".to_owned(),
            digest: digest(&format!("{name}'s audit")),
            media_type: "application/pdf".to_owned(),
            uri: Some(format!("https://evidence.example.org/{name}.pdf")),
        }],
        refused: None,
    }
}

const SPDX: &str = include_str!("../../schemas/spdx.schema.json");
const JSF: &str = include_str!("../../schemas/jsf-0.82.schema.json");
const BOM: &str = include_str!("../../schemas/bom-1.6.schema.json");
const OSCAL: &str = include_str!("../../schemas/oscal-component-1.2.3.schema.json");

static CYCLONEDX_VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
    let registry = Registry::new()
        .add("http://cyclonedx.org/schema/spdx.schema.json", parsed(SPDX))
        .and_then(|registry| registry.add("http://cyclonedx.org/schema/jsf-0.82.schema.json", parsed(JSF)))
        .and_then(jsonschema::RegistryBuilder::prepare)
        .expect("two schemas");
    jsonschema::draft7::options()
        .should_validate_formats(true)
        .with_registry(&registry)
        .offline()
        .build(&parsed(BOM))
        .expect("the official schema")
});
static OSCAL_VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
    let options = jsonschema::draft7::options().should_validate_formats(true).offline();
    options.build(&parsed(OSCAL)).expect("the official schema")
});

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn check(validator: &Validator, bytes: &[u8]) {
    let document: Value = serde_json::from_slice(bytes).expect("JSON");
    let errors: Vec<String> =
        validator.iter_errors(&document).take(8).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}

pub(super) fn check_cyclonedx(bytes: &[u8]) {
    check(&CYCLONEDX_VALIDATOR, bytes);
}

pub(super) fn check_oscal(bytes: &[u8]) {
    check(&OSCAL_VALIDATOR, bytes);
}

pub(super) fn is_cyclonedx(document: &Value) -> bool {
    CYCLONEDX_VALIDATOR.is_valid(document)
}

pub(super) fn is_oscal(document: &Value) -> bool {
    OSCAL_VALIDATOR.is_valid(document)
}

pub(super) fn texts(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// Calls for each entry of each object.
pub(super) fn walk(value: &Value, each: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(entries) => {
            for (key, item) in entries {
                each(key, item);
                walk(item, each);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, each)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
