//! The report as an OSCAL component definition: each part a component with the requirements behind it, the assembly a
//! capability made of them.

mod texts;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use uuid::Uuid;

use texts::{prose, token, value};

use super::view::View;
use super::{Asked, CertificateRecord, Compliance, Cover, Row, configuration, text};
use crate::document::Source;

/// The release of OSCAL that is written.
const OSCAL_VERSION: &str = "1.2.3";

/// What the names of properties are defined under.
const NAMESPACE: &str = "https://fitment.dev/ns/oscal";

pub(super) fn document(report: &Compliance<'_>) -> Vec<u8> {
    let ids = Ids::new(report);
    let mut fields = Map::new();
    // Reserves the place: the id depends on all that follows.
    fields.insert("uuid".into(), Value::Null);
    fields.insert("metadata".into(), metadata(report, &ids));
    fields.insert("components".into(), report.views().map(|view| component(report, &ids, &view)).collect());
    fields.insert("capabilities".into(), json!([capability(report, &ids)]));
    let resources = resources(report, &ids);
    if !resources.is_empty() {
        fields.insert("back-matter".into(), json!({ "resources": resources }));
    }
    let content = crate::document::canonical(&Value::Object(fields.clone()));
    fields.insert("uuid".into(), Uuid::new_v5(&ids.namespace, &content).to_string().into());
    text::json(&json!({ "component-definition": fields }))
}

/// Ids that stay the same from report to report of one assembly.
struct Ids {
    namespace: Uuid,
}

impl Ids {
    fn new(report: &Compliance<'_>) -> Self {
        let root = Uuid::new_v5(&Uuid::NAMESPACE_URL, NAMESPACE.as_bytes());
        Self { namespace: Uuid::new_v5(&root, report.input.assembly.name().to_string().as_bytes()) }
    }

    /// The id of something, by the words that name it. Words hold no line break.
    fn of(&self, words: &[&str]) -> String {
        Uuid::new_v5(&self.namespace, words.join("\n").as_bytes()).to_string()
    }

    fn component(&self, part: &str) -> String {
        self.of(&["component", part])
    }

    fn standard(&self, standard: &str) -> String {
        self.of(&["standard", standard])
    }

    fn certificate(&self, certificate: &CertificateRecord) -> String {
        self.of(&["certificate", &certificate.digest.to_string()])
    }

    fn document(&self, digest: &fitment_catalog::Digest) -> String {
        self.of(&["document", &digest.to_string()])
    }

    fn party(&self, role: Role, name: &str) -> String {
        // Names may hold anything; their order in a list does not matter for an id.
        Uuid::new_v5(&self.namespace, format!("party\n{}\n{name}", role.id()).as_bytes()).to_string()
    }
}

/// What somebody has to do with a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Owner,
    Reviewer,
    Assessor,
}

impl Role {
    const ALL: [Self; 3] = [Self::Owner, Self::Reviewer, Self::Assessor];

    const fn id(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Reviewer => "reviewer",
            Self::Assessor => "assessor",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Owner => "Answers for the part",
            Self::Reviewer => "Reviewed the raw code",
            Self::Assessor => "Holds the key that signed a certificate",
        }
    }

    const fn party_type(self) -> &'static str {
        match self {
            Self::Owner | Self::Assessor => "organization",
            Self::Reviewer => "person",
        }
    }
}

fn metadata(report: &Compliance<'_>, ids: &Ids) -> Value {
    let (assembly, check) = (report.input.assembly, report.input.check);
    let mut parties: BTreeSet<(Role, &str)> =
        report.views().filter_map(|view| Some((Role::Owner, view.owner()?))).collect();
    parties.extend(assembly.owner().map(|owner| (Role::Owner, owner)));
    parties.extend(report.views().filter_map(|view| Some((Role::Reviewer, view.raw()?.reviewer.as_deref()?))));
    let keys = report.certificates.iter().flat_map(|listed| &listed.record.issuers);
    parties.extend(keys.map(|key| (Role::Assessor, key.as_str())));
    let roles: BTreeSet<Role> = parties.iter().map(|(role, _)| *role).collect();
    let party = |(role, name): &(Role, &str)| json!({ "uuid": ids.party(*role, name), "type": role.party_type(), "name": value(name) });
    let (surface, lines) = report.surface();
    let mut props = vec![
        prop("assembly-digest", &check.assembly.to_string()),
        prop("catalogue-revision", &report.input.revision.to_string()),
        prop("policies-digest", &check.policies.to_string()),
        prop("invariants-digest", &check.invariants.to_string()),
        prop("passes", if check.passes() { "yes" } else { "no" }),
    ];
    props.extend(lines.map(|lines| prop("raw-lines", &lines.to_string())));
    props.extend(surface.iter().map(|(sort, parts)| prop(&format!("parts-{}", sort.as_str()), &parts.to_string())));
    let mut fields = Map::new();
    fields.insert("title".into(), prose(&format!("Compliance of {}", shown_name(report))).into());
    fields.insert("last-modified".into(), check.at.to_string().into());
    fields.insert("version".into(), check.assembly.to_string().into());
    fields.insert("oscal-version".into(), OSCAL_VERSION.into());
    fields.insert("props".into(), props.into());
    let roles = Role::ALL.iter().filter(|role| roles.contains(role));
    insert_list(&mut fields, "roles", roles.map(|role| json!({ "id": role.id(), "title": role.title() })));
    insert_list(&mut fields, "parties", parties.iter().map(party));
    Value::Object(fields)
}

fn shown_name(report: &Compliance<'_>) -> String {
    match report.input.assembly.title() {
        Some(title) => format!("{title} ({})", report.input.assembly.name()),
        None => report.input.assembly.name().to_string(),
    }
}

fn component(report: &Compliance<'_>, ids: &Ids, view: &View<'_>) -> Value {
    let mut fields = Map::new();
    let sort = if let Source::External(_) = view.part.source { "service" } else { "software" };
    fields.insert("uuid".into(), ids.component(view.id()).into());
    fields.insert("type".into(), sort.into());
    fields.insert("title".into(), prose(view.id()).into());
    let summary = view.manifest().map(|manifest| format!(". {}", manifest.summary())).unwrap_or_default();
    fields.insert("description".into(), prose(&format!("{}{summary}", view.shown())).into());
    fields.insert("props".into(), component_props(report, view).into());
    let reviewer = view.raw().and_then(|raw| raw.reviewer.as_deref()).map(|name| (Role::Reviewer, name));
    let people = view.owner().map(|name| (Role::Owner, name)).into_iter().chain(reviewer);
    insert_list(&mut fields, "responsible-roles", people.map(|(role, name)| responsible(ids, role, &[name])));
    let implementations = report.coverage.standards().filter_map(|(standard, rows)| {
        let requirements: Vec<Value> = rows
            .iter()
            .filter(|row| row.parts[view.place] != Cover::NotCovered)
            .map(|row| requirement(report, ids, view.id(), row, &row.parts[view.place], Some(view)))
            .collect();
        let about = format!("What is covered or claimed of {standard}");
        (!requirements.is_empty()).then(|| implementation(ids, view.id(), standard, &about, &requirements))
    });
    insert_list(&mut fields, "control-implementations", implementations);
    Value::Object(fields)
}

fn component_props(report: &Compliance<'_>, view: &View<'_>) -> Vec<Value> {
    let (name, version) = view.name();
    let mut props = vec![prop("part", view.id()), prop("generation", view.surface().as_str())];
    let mut add = |name: &str, value: Option<String>| props.extend(value.map(|value| prop(name, &value)));
    match &view.part.source {
        Source::Component(_) => {
            add("component", Some(name));
            add("component-version", version);
            add("manifest-digest", view.digest().map(|digest| digest.to_string()));
            add("purl", view.artifact().map(|artifact| artifact.purl().to_owned()));
            add("lifecycle", view.record.map(|record| record.version.lifecycle.to_string()));
            add("certification", view.certification().map(|(_, words)| words));
        }
        Source::Raw(raw) => {
            add("path", Some(raw.path.to_string()));
            add("raw-digest", view.digest().map(|digest| digest.to_string()));
            add("lines", view.lines().map(|lines| lines.to_string()));
        }
        Source::External(external) => {
            add("evidence-digest", external.evidence.map(|digest| digest.to_string()));
            add("evidence-valid-until", external.valid_until.map(|until| until.to_string()));
        }
    }
    add("license", view.license().map(ToString::to_string));
    for setting in configuration::settings(report, view) {
        let mut fields = object(prop("configuration", &setting.value.text()));
        fields.insert("class".into(), if setting.bound { "bound" } else { "default" }.into());
        fields.insert("remarks".into(), prose(&setting.pointer).into());
        props.push(Value::Object(fields));
    }
    let of_part = |finding: &&crate::finding::Finding| finding.place.part.as_deref() == Some(view.id());
    props.extend(report.findings.iter().filter(of_part).map(finding_prop));
    props
}

/// The assembly: its parts, what it declares to keep, and the findings that are about no part.
fn capability(report: &Compliance<'_>, ids: &Ids) -> Value {
    let name = report.input.assembly.name().to_string();
    let mut fields = Map::new();
    fields.insert("uuid".into(), ids.of(&["capability"]).into());
    fields.insert("name".into(), value(&name).into());
    fields.insert("description".into(), prose(&shown_name(report)).into());
    let findings = report.findings.iter().filter(|finding| finding.place.part.is_none());
    insert_list(&mut fields, "props", findings.map(finding_prop));
    let incorporated = report
        .views()
        .map(|view| json!({ "component-uuid": ids.component(view.id()), "description": prose(&view.shown()) }));
    fields.insert("incorporates-components".into(), incorporated.collect());
    let implementations = report.coverage.standards().filter_map(|(standard, rows)| {
        let declared = rows.iter().filter(|row| row.declared);
        let requirements: Vec<Value> =
            declared.map(|row| requirement(report, ids, "", row, row.best(), None)).collect();
        let about = format!("What the assembly declares to keep of {standard}");
        (!requirements.is_empty()).then(|| implementation(ids, "", standard, &about, &requirements))
    });
    insert_list(&mut fields, "control-implementations", implementations);
    Value::Object(fields)
}

fn finding_prop(finding: &crate::finding::Finding) -> Value {
    let mut fields = object(prop("finding", &finding.rule));
    fields.insert("class".into(), finding.severity.as_str().into());
    let said = format!("{}: {}; {}", finding.place.pointer, finding.reason, finding.way_out);
    fields.insert("remarks".into(), prose(&said).into());
    Value::Object(fields)
}

fn implementation(ids: &Ids, part: &str, standard: &str, about: &str, requirements: &[Value]) -> Value {
    json!({
        "uuid": ids.of(&["implementation", part, standard]),
        "source": format!("#{}", ids.standard(standard)),
        "description": prose(about),
        "implemented-requirements": requirements,
    })
}

/// One requirement; `part` is empty for the assembly.
fn requirement(
    report: &Compliance<'_>,
    ids: &Ids,
    part: &str,
    row: &Row,
    cover: &Cover,
    view: Option<&View<'_>>,
) -> Value {
    let control = control_id(&row.asked);
    let mut fields = Map::new();
    fields.insert("uuid".into(), ids.of(&["requirement", part, &row.standard, &control]).into());
    fields.insert("control-id".into(), control.into());
    let mut props = vec![prop("coverage", coverage_word(cover))];
    if let Asked::Requirement(id) = &row.asked {
        props.push(prop("requirement-id", id));
    }
    let certificates: Vec<&CertificateRecord> = match cover {
        Cover::Certified(numbers) => numbers.iter().map(|number| report.certificates[number - 1].record).collect(),
        Cover::NotCovered | Cover::Claimed | Cover::Evidence => Vec::new(),
    };
    props.extend(certificates.iter().map(|certificate| prop("certificate-digest", &certificate.digest.to_string())));
    fields.insert("props".into(), props.into());
    let evidence = match (view.map(|view| &view.part.source), cover) {
        (Some(Source::External(external)), Cover::Evidence) => external.evidence.map(|digest| ids.document(&digest)),
        _ => None,
    };
    let behind: BTreeSet<String> =
        certificates.iter().map(|certificate| ids.certificate(certificate)).chain(evidence).collect();
    insert_list(&mut fields, "links", behind.iter().map(|id| json!({ "href": format!("#{id}"), "rel": "evidence" })));
    let keys: BTreeSet<&str> =
        certificates.iter().flat_map(|certificate| &certificate.issuers).map(String::as_str).collect();
    if !keys.is_empty() {
        let keys: Vec<&str> = keys.into_iter().collect();
        fields.insert("responsible-roles".into(), json!([responsible(ids, Role::Assessor, &keys)]));
    }
    let by = report.views().zip(&row.parts).filter(|(_, cover)| **cover != Cover::NotCovered);
    let by: Vec<&str> = by.map(|(view, _)| view.id()).collect();
    let said = match (view, by.is_empty()) {
        (Some(_), _) => format!("{}: {}", row.text(), cover.as_str()),
        (None, true) => format!("{}: {}, and no part claims it", row.text(), cover.as_str()),
        (None, false) => format!("{}: {}, by {}", row.text(), cover.as_str(), by.join(", ")),
    };
    fields.insert("description".into(), prose(&said).into());
    Value::Object(fields)
}

const fn coverage_word(cover: &Cover) -> &'static str {
    match cover {
        Cover::NotCovered => "not-covered",
        Cover::Claimed => "claimed",
        Cover::Evidence => "external-evidence",
        Cover::Certified(_) => "certificate",
    }
}

/// Standards, certificates and documents: what links lead to.
fn resources(report: &Compliance<'_>, ids: &Ids) -> Vec<Value> {
    let standard = |(standard, _): (&str, &[Row])| {
        json!({
            "uuid": ids.standard(standard),
            "title": prose(standard),
            "description": "A standard, by the id that the catalogue has for it. Its catalogue of controls is not part of this report.",
            "props": [prop("standard", standard)],
        })
    };
    let mut resources: Vec<Value> = report.coverage.standards().map(standard).collect();
    let mut seen = BTreeSet::new();
    let mut documents: BTreeMap<String, Value> = BTreeMap::new();
    for listed in &report.certificates {
        let record = listed.record;
        for evidence in &record.evidence {
            let id = ids.document(&evidence.digest);
            documents.entry(id.clone()).or_insert_with(|| {
                json!({ "uuid": id, "title": prose(&format!("Evidence: {}", evidence.kind)), "props": [
                    prop("digest", &evidence.digest.to_string()), prop("media-type", &evidence.media_type),
                ] })
            });
        }
        if seen.insert(record.digest) {
            resources.push(certificate(report, ids, record));
        }
    }
    for view in report.views() {
        if let Source::External(external) = &view.part.source
            && let Some(digest) = external.evidence
        {
            let id = ids.document(&digest);
            documents.entry(id.clone()).or_insert_with(|| {
                let title = prose(&format!("Evidence about {}", view.id()));
                json!({ "uuid": id, "title": title, "props": [prop("digest", &digest.to_string())] })
            });
        }
    }
    resources.extend(documents.into_values());
    resources
}

fn certificate(report: &Compliance<'_>, ids: &Ids, record: &CertificateRecord) -> Value {
    let mut props = vec![
        prop("digest", &record.digest.to_string()),
        prop("standing", record.standing(report.input.check.at).as_str()),
        prop("issued", &record.issued.to_string()),
    ];
    props.extend(record.valid_until.map(|until| prop("valid-until", &until.to_string())));
    props.extend(record.issuers.iter().map(|key| prop("issuer-key", key)));
    props.extend(
        record.evidence.iter().map(|evidence| prop("evidence", &format!("#{}", ids.document(&evidence.digest)))),
    );
    let mut fields = Map::new();
    fields.insert("uuid".into(), ids.certificate(record).into());
    fields.insert("title".into(), "Certificate".into());
    fields.insert("props".into(), props.into());
    let refused = record.refused.iter().map(|why| format!("Does not count: {why}"));
    let conditions = record.conditions.iter().map(|condition| format!("Holds if: {condition}"));
    let remarks: Vec<String> = refused.chain(conditions).map(|said| prose(&said)).collect();
    if !remarks.is_empty() {
        fields.insert("remarks".into(), remarks.join("\n\n").into());
    }
    Value::Object(fields)
}

fn responsible(ids: &Ids, role: Role, names: &[&str]) -> Value {
    let parties: Vec<String> = names.iter().map(|name| ids.party(role, name)).collect();
    json!({ "role-id": role.id(), "party-uuids": parties })
}

fn prop(name: &str, said: &str) -> Value {
    json!({ "name": name, "ns": NAMESPACE, "value": value(said) })
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}

fn insert_list(fields: &mut Map<String, Value>, key: &str, items: impl IntoIterator<Item = Value>) {
    let items: Vec<Value> = items.into_iter().collect();
    if !items.is_empty() {
        fields.insert(key.to_owned(), Value::Array(items));
    }
}

/// The id of a control: the requirement's own where it is a token.
fn control_id(asked: &Asked) -> String {
    match asked {
        Asked::Named => "_named".to_owned(),
        Asked::Whole => "_whole".to_owned(),
        Asked::Requirement(id) => token(id),
    }
}
