//! Who attests what: assessors, their attestations from requirement to claims, the claims and what they rest on.
//!
//! Conformance is 1 where a certificate in force covers a requirement and 0 everywhere else, whatever is claimed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{ASSEMBLY, as_address, insert_list, part_ref, row_ref};
use crate::document::Source;
use crate::report::view::View;
use crate::report::{Asked, CertificateRecord, CertificateStanding, Compliance, Cover, Row};

/// Who stands behind a claim.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Assessor<'a> {
    /// The holder of a key.
    Key(&'a str),
    /// The authors of manifests.
    Manifests,
    /// Whoever wrote the documents about parts outside.
    Evidence,
    /// The check itself.
    Check,
}

impl Assessor<'_> {
    fn reference(&self) -> String {
        match self {
            Self::Key(id) => format!("assessor:key:{id}"),
            Self::Manifests => "assessor:manifests".to_owned(),
            Self::Evidence => "assessor:evidence".to_owned(),
            Self::Check => "assessor:check".to_owned(),
        }
    }

    fn to_value(&self) -> Value {
        let mut fields = Map::new();
        fields.insert("bom-ref".into(), self.reference().into());
        // Whether the holder of a key is somebody else is not known.
        if let Self::Manifests | Self::Check = self {
            fields.insert("thirdParty".into(), false.into());
        }
        let name = match self {
            Self::Key(id) => format!("holder of the key {id}"),
            Self::Manifests => "authors of the parts".to_owned(),
            Self::Evidence => "authors of the evidence about parts outside".to_owned(),
            Self::Check => "fitment assembly check".to_owned(),
        };
        fields.insert("organization".into(), json!({ "name": name }));
        Value::Object(fields)
    }

    fn summary(&self) -> &'static str {
        match self {
            Self::Key(_) => "Covered by certificates of this key that are in force",
            Self::Manifests => "Claimed by authors, and covered by no certificate",
            Self::Evidence => "Claimed with a document that is named by its digest, and covered by no certificate",
            Self::Check => "What the assembly declares to keep",
        }
    }
}

pub(super) fn of(report: &Compliance<'_>) -> Value {
    let views: Vec<View<'_>> = report.views().collect();
    // Assessor to the rows that it says something of, with its claims.
    let mut said: BTreeMap<Assessor<'_>, Vec<(usize, Vec<String>)>> = BTreeMap::new();
    let mut claims = Vec::new();
    let mut targets = BTreeSet::new();
    for (i, row) in report.coverage.rows.iter().enumerate() {
        let mut of_row: BTreeMap<Assessor<'_>, Vec<String>> = BTreeMap::new();
        for (view, cover) in views.iter().zip(&row.parts) {
            let assessors = assessors(report, cover);
            if assessors.is_empty() {
                continue;
            }
            let reference = claim_ref(view, row);
            for assessor in assessors {
                of_row.entry(assessor).or_default().push(reference.clone());
            }
            claims.push(claim(report, view, row, cover, &reference));
            targets.insert(view.place);
        }
        if row.declared {
            let all: BTreeSet<String> = of_row.values().flatten().cloned().collect();
            of_row.insert(Assessor::Check, all.into_iter().collect());
        }
        for (assessor, references) in of_row {
            said.entry(assessor).or_default().push((i, references));
        }
    }
    let mut fields = Map::new();
    insert_list(&mut fields, "assessors", said.keys().map(Assessor::to_value));
    insert_list(&mut fields, "attestations", said.iter().map(|(assessor, rows)| attestation(report, assessor, rows)));
    insert_list(&mut fields, "claims", claims);
    insert_list(&mut fields, "evidence", evidence(report, &views));
    fields.insert("targets".into(), target_list(&views, &targets));
    Value::Object(fields)
}

fn assessors<'c>(report: &Compliance<'c>, cover: &Cover) -> Vec<Assessor<'c>> {
    match cover {
        Cover::NotCovered => Vec::new(),
        Cover::Claimed => vec![Assessor::Manifests],
        Cover::Evidence => vec![Assessor::Evidence],
        Cover::Certified(numbers) => {
            let keys = numbers.iter().flat_map(|number| &report.certificates[number - 1].record.issuers);
            keys.map(|key| Assessor::Key(key)).collect::<BTreeSet<_>>().into_iter().collect()
        }
    }
}

fn attestation(report: &Compliance<'_>, assessor: &Assessor<'_>, rows: &[(usize, Vec<String>)]) -> Value {
    let entry = |(i, claims): &(usize, Vec<String>)| {
        let row = &report.coverage.rows[*i];
        let is_certified = match assessor {
            Assessor::Key(_) => true,
            Assessor::Manifests | Assessor::Evidence => false,
            Assessor::Check => row.best().is_certified(),
        };
        let rationale = match assessor {
            Assessor::Check => format!("{}: {}", row.text(), row.best().as_str()),
            Assessor::Key(_) => format!("{}: a certificate in force covers it", row.text()),
            Assessor::Manifests | Assessor::Evidence => format!("{}: no certificate covers it here", row.text()),
        };
        json!({
            "requirement": row_ref(row),
            "claims": claims,
            "conformance": { "score": u8::from(is_certified), "rationale": rationale },
        })
    };
    json!({
        "summary": assessor.summary(),
        "assessor": assessor.reference(),
        "map": rows.iter().map(entry).collect::<Vec<_>>(),
    })
}

fn claim_ref(view: &View<'_>, row: &Row) -> String {
    let (id, standard) = (view.id(), &row.standard);
    match &row.asked {
        Asked::Named => format!("claim:{id}:name:{standard}"),
        Asked::Whole => format!("claim:{id}:whole:{standard}"),
        Asked::Requirement(requirement) => format!("claim:{id}:requirement:{standard}/{requirement}"),
    }
}

fn claim(report: &Compliance<'_>, view: &View<'_>, row: &Row, cover: &Cover, reference: &str) -> Value {
    let evidence: Vec<String> = match cover {
        Cover::Certified(numbers) => {
            numbers.iter().map(|number| evidence_ref(report.certificates[number - 1].record)).collect()
        }
        Cover::Evidence => vec![document_ref(view.id())],
        Cover::Claimed | Cover::NotCovered => Vec::new(),
    };
    let mut fields = Map::new();
    fields.insert("bom-ref".into(), reference.into());
    fields.insert("target".into(), target_ref(view.id()).into());
    fields.insert("predicate".into(), format!("{} meets {}", view.id(), row.text()).into());
    fields.insert("reasoning".into(), cover.as_str().into());
    insert_list(&mut fields, "evidence", evidence.into_iter().map(Value::from));
    Value::Object(fields)
}

/// Two records of one certificate differ in what is made of it, not in what it is: the first one stands for both.
fn evidence_ref(certificate: &CertificateRecord) -> String {
    format!("certificate:{}", certificate.digest)
}

fn document_ref(part: &str) -> String {
    format!("evidence:{part}")
}

fn target_ref(part: &str) -> String {
    format!("target:{part}")
}

fn evidence(report: &Compliance<'_>, views: &[View<'_>]) -> Vec<Value> {
    let at = report.input.check.at;
    let mut seen = BTreeSet::new();
    let in_force = |certificate: &&CertificateRecord| certificate.standing(at) == CertificateStanding::InForce;
    let records = report.certificates.iter().map(|listed| listed.record).filter(in_force);
    let of_certificates = records.filter(|record| seen.insert(record.digest)).map(|record| {
        let itself = json!({ "name": format!("certificate {}", record.digest) });
        let documents = record.evidence.iter().map(|evidence| {
            let mut fields = Map::new();
            let name = format!("{} {} ({})", evidence.kind, evidence.digest, evidence.media_type);
            fields.insert("name".into(), name.into());
            if let Some(uri) = evidence.uri.as_deref().and_then(as_address) {
                fields.insert("contents".into(), json!({ "url": uri }));
            }
            Value::Object(fields)
        });
        let issuers: Vec<&str> = record.issuers.iter().map(String::as_str).collect();
        let mut fields = Map::new();
        fields.insert("bom-ref".into(), evidence_ref(record).into());
        fields.insert("propertyName".into(), "fitment:certificate".into());
        if !record.conditions.is_empty() {
            fields.insert("description".into(), format!("holds if: {}", record.conditions.join("; ")).into());
        }
        fields.insert("data".into(), std::iter::once(itself).chain(documents).collect());
        fields.insert("created".into(), record.issued.to_string().into());
        if let Some(until) = record.valid_until {
            fields.insert("expires".into(), until.to_string().into());
        }
        fields.insert("author".into(), json!({ "name": issuers.join(", ") }));
        Value::Object(fields)
    });
    let of_certificates: Vec<Value> = of_certificates.collect();
    let of_parts = views.iter().filter_map(|view| match &view.part.source {
        Source::External(external) if external.is_proven(at) => {
            let mut fields = Map::new();
            fields.insert("bom-ref".into(), document_ref(view.id()).into());
            fields.insert("propertyName".into(), "fitment:evidence".into());
            let name = external.evidence.map_or_else(String::new, |digest| format!("document {digest}"));
            fields.insert("data".into(), json!([{ "name": name }]));
            if let Some(until) = external.valid_until {
                fields.insert("expires".into(), until.to_string().into());
            }
            Some(Value::Object(fields))
        }
        Source::Component(_) | Source::Raw(_) | Source::External(_) => None,
    });
    of_certificates.into_iter().chain(of_parts).collect()
}

/// What claims are about: the parts again, each under a reference of its own that names the part.
fn target_list(views: &[View<'_>], targets: &BTreeSet<usize>) -> Value {
    let named = |view: &View<'_>| {
        let (name, version) = view.name();
        let mut fields = Map::new();
        fields.insert("bom-ref".into(), target_ref(view.id()).into());
        fields.insert("name".into(), name.into());
        if let Some(version) = version {
            fields.insert("version".into(), version.into());
        }
        fields.insert("properties".into(), json!([{ "name": "fitment:part", "value": part_ref(view.id()) }]));
        fields
    };
    let (mut components, mut services) = (Vec::new(), Vec::new());
    for view in views.iter().filter(|view| targets.contains(&view.place)) {
        if let Source::External(_) = view.part.source {
            services.push(Value::Object(named(view)));
        } else {
            let mut fields = Map::new();
            fields.insert("type".into(), "application".into());
            fields.extend(named(view));
            components.push(Value::Object(fields));
        }
    }
    let mut fields = Map::new();
    insert_list(&mut fields, "components", components);
    insert_list(&mut fields, "services", services);
    // Without any claim the application alone is what this is about.
    if fields.is_empty() {
        fields.insert(
            "components".into(),
            json!([{ "type": "application", "bom-ref": "target:assembly", "name": ASSEMBLY }]),
        );
    }
    Value::Object(fields)
}
