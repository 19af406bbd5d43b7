//! The worked example: it passes, and it does not once any fact that it stands on is gone.

use fitment_assembly::{Assembly, Certification, Claims, PortAddress, Reference, Rule, Severity, Source};
use fitment_catalog::{Lifecycle, Port};
use serde_json::Value;

use crate::support::{Catalogue, PORTAL, assembly, digest, errors, instant, part, portal_value, report, shown};

#[test]
fn the_portal_passes() {
    let report = report(&portal_value(), &Catalogue::new());
    assert!(report.passes(), "{}", shown(&report));
    // The raw journal hands nothing personal to the audit trail, which could carry it.
    let rules: Vec<(&str, Severity)> = report.findings.iter().map(|f| (f.rule.as_str(), f.severity)).collect();
    assert_eq!(rules, [(Rule::DataClassWider.id(), Severity::Note)], "{}", shown(&report));
    assert!(PORTAL.starts_with('#'));
}

/// Whether a node may be absent without anybody missing a fact: what asks for something, names something for people, or
/// narrows what would be allowed.
fn is_dispensable(pointer: &str) -> bool {
    let steps: Vec<&str> = pointer.split('/').skip(1).collect();
    matches!(
        steps.as_slice(),
        ["title" | "owner" | "exposures" | "standards" | "policies", ..]
            | ["parts", _, "range"]
            | ["connections", _, "version"]
            // A lock takes them from the tree.
            | ["parts", _, "raw", "digest" | "lines"]
            // The connecting side then asks for less.
            | ["parts", _, "requires", _, "scopes", ..]
            // The policies ask for the standard, not for this requirement.
            | ["parts", _, "external", "compliance", _, _]
            // The directory has a second standard that suffices.
            | ["parts", "10", "external", "compliance", "gdpr"]
    )
}

/// JSON pointers of all nodes but the root.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(entries) => entries.iter().map(|(key, item)| (key.replace('/', "~1"), item)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(i, item)| (i.to_string(), item)).collect(),
        _ => Vec::new(),
    };
    for (key, item) in children {
        let at = format!("{at}/{key}");
        pointers(item, &at, found);
        found.push(at);
    }
}

fn remove(value: &mut Value, pointer: &str) {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    match value.pointer_mut(parent).expect("a parent") {
        Value::Object(entries) => drop(entries.shift_remove(&key.replace("~1", "/"))),
        Value::Array(items) => drop(items.remove(key.parse().expect("an index"))),
        other => panic!("{other} has no children"),
    }
}

#[test]
fn nothing_passes_without_a_fact_of_the_document() {
    let (portal, catalogue) = (portal_value(), Catalogue::new());
    let mut all = Vec::new();
    pointers(&portal, "", &mut all);
    assert!(all.len() > 200);
    for pointer in all.iter().filter(|pointer| !is_dispensable(pointer)) {
        let mut changed = portal.clone();
        remove(&mut changed, pointer);
        // A document that cannot be read passes nowhere.
        if Assembly::from_value("changed", &changed).is_ok() {
            let report = report(&changed, &catalogue);
            assert!(!report.passes(), "passes without {pointer}: {}", shown(&report));
        }
    }
}

/// The portal's components, pinned by digest.
fn pinned() -> (Value, Vec<String>) {
    let (mut portal, mut catalogue) = (portal_value(), Catalogue::new());
    let mut components = Vec::new();
    for item in portal["parts"].as_array_mut().expect("parts") {
        if let Some(component) = item["component"].as_str().map(str::to_owned) {
            item["digest"] = catalogue.entry(&component).digest.to_string().into();
            components.push(component);
        }
    }
    (portal, components)
}

#[test]
fn nothing_passes_without_a_fact_of_the_catalogue() {
    type Change = fn(&mut Catalogue, &str);

    let (portal, components) = pinned();
    assert!(report(&portal, &Catalogue::new()).passes());
    assert_eq!(components.len(), 9);
    let unknown: Change = |c, v| {
        c.entry(v).certification = Certification::Unknown { reason: "no trust root at hand".to_owned() };
    };
    let changes: [(&str, Change); 9] = [
        (Rule::PartUnknown.id(), |c, v| drop(c.versions.remove(v))),
        (Rule::CertificationUnknown.id(), unknown),
        (Rule::PartNotCertified.id(), |c, v| {
            c.entry(v).certification = Certification::NotCertified { reason: "no certificate".to_owned() };
        }),
        (Rule::PartNotCertified.id(), |c, v| {
            c.entry(v).certification = Certification::Certified { until: Some(instant("2026-11-01T12:00:00Z")) };
        }),
        (Rule::CertificationEndsSoon.id(), |c, v| {
            c.entry(v).certification = Certification::Certified { until: Some(instant("2026-11-20T00:00:00Z")) };
        }),
        (Rule::PartNotCertified.id(), |c, v| c.entry(v).lifecycle = Lifecycle::Candidate),
        (Rule::PartNotCertified.id(), |c, v| c.entry(v).lifecycle = Lifecycle::Revoked),
        (Rule::PartMismatch.id(), |c, v| c.entry(v).digest = digest("another manifest")),
        // Which rule asks for the claims depends on the part.
        ("", |c, v| c.entry(v).claims = Claims::default()),
    ];
    for component in &components {
        for (rule, change) in &changes {
            let mut catalogue = Catalogue::new();
            change(&mut catalogue, component);
            let report = report(&portal, &catalogue);
            let found = errors(&report);
            assert!(!found.is_empty(), "{component} passes without {rule}");
            assert!(
                rule.is_empty() || found.iter().any(|finding| finding.rule == *rule),
                "{component} has no {rule}: {}",
                shown(&report)
            );
        }
    }
}

#[test]
fn nothing_passes_without_a_fact_of_a_connected_port() {
    let (portal, catalogue) = (portal_value(), Catalogue::new());
    let read = assembly(&portal);
    let component = |id: &str| {
        read.parts().iter().find(|part| part.id == id).and_then(|part| match &part.source {
            Source::Component(component) => Some(component.reference.to_string()),
            Source::Raw(_) | Source::External(_) => None,
        })
    };
    let mut tried = 0;
    for connection in read.connections() {
        for (side, address) in [("requires", &connection.from), ("provides", &connection.to)] {
            let Some(version) = component(&address.part) else { continue };
            let manifest = catalogue.versions[&version].manifest.to_value();
            let ports = manifest[side].as_array().expect("ports");
            let i = ports.iter().position(|port| port["name"] == *address.port).expect("the port");
            let mut below = vec![format!("/{side}/{i}")];
            pointers(&ports[i], &format!("/{side}/{i}"), &mut below);
            // What is asked for less is not missing, nor is what is offered and nobody asks for.
            let asked = scopes_asked(&read, &catalogue, &connection.from);
            below.retain(|pointer| {
                let entry = manifest.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
                match (side, pointer) {
                    ("requires", pointer) => !pointer.contains("scopes") && !pointer.ends_with("optional"),
                    (_, pointer) if pointer.contains("/scopes/") => asked.iter().any(|scope| scope == entry),
                    (_, pointer) if pointer.ends_with("/scopes") => !asked.is_empty(),
                    (_, pointer) if pointer.contains("/data_classes/") => {
                        connection.data_classes.iter().any(|class| class.as_str() == entry)
                    }
                    _ => true,
                }
            });
            for pointer in below {
                let mut changed = catalogue.clone();
                changed.rewrite(&version, |manifest| remove(manifest, &pointer));
                let report = report(&portal, &changed);
                assert!(!report.passes(), "{version} passes without {pointer}");
                tried += 1;
            }
        }
    }
    assert!(tried > 60, "{tried}");
}

/// The scopes of a required port.
fn scopes_asked(assembly: &Assembly, catalogue: &Catalogue, address: &PortAddress) -> Vec<String> {
    let part = assembly.parts().iter().find(|part| part.id == address.part).expect("the part");
    let named = |ports: &[Port]| {
        ports.iter().find(|port| port.name() == address.port).map(|port| port.scopes().to_vec()).expect("the port")
    };
    match &part.source {
        Source::Component(component) => named(catalogue.versions[&component.reference.to_string()].manifest.requires()),
        Source::Raw(raw) => named(&raw.ports.requires),
        Source::External(external) => named(&external.ports.requires),
    }
}

#[test]
fn parts_are_found_by_digest_alone() {
    let (mut portal, mut catalogue) = (portal_value(), Catalogue::new());
    let table = catalogue.entry("ui/data-table@7.4.0").digest;
    let entry = part(&mut portal, "table").as_object_mut().expect("an object");
    entry.shift_remove("component");
    entry.insert("digest".to_owned(), table.to_string().into());
    let report = report(&portal, &catalogue);
    assert!(report.passes(), "{}", shown(&report));
    let read = assembly(&portal);
    assert!(read.parts().iter().any(|part| matches!(&part.source, Source::Component(component)
        if component.reference == Reference::Digest(table))));
}
