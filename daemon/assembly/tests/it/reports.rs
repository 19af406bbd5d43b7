//! Compliance reports: each form valid by its official schema, the same bytes each time, nothing covered without a
//! certificate in force.

mod hostile;
mod records;

use std::collections::BTreeMap;

use fitment_assembly::{
    Asked, AssemblyError, COMPLIANCE_TYPE, Certification, Compliance, Cover, PartRecord, ReportFile, ReportInput, Rule,
    Tree, TreeEntry, TreeFile,
};
use fitment_trust::{Envelope, Predicate, PrivateKey, Statement};
use serde_json::{Value, json};

use crate::support::{Catalogue, assembly, digest, instant, part, portal_value, report};
use records::{check_cyclonedx, check_oscal, portal, records, texts, with};

#[test]
fn the_portal_has_a_report_in_all_three_forms() {
    let reported = portal();
    check_cyclonedx(&reported.cyclonedx);
    check_oscal(&reported.oscal);
    assert!(reported.html.starts_with("<!DOCTYPE html>") && reported.html.contains("The assembly passes its check."));
    for id in ["sign-in", "journal", "acquirer"] {
        for text in [texts(&reported.cyclonedx), texts(&reported.oscal), reported.html.clone()] {
            assert!(text.contains(id), "{id}");
        }
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let (first, second) = (portal(), portal());
    assert_eq!(first.cyclonedx, second.cyclonedx);
    assert_eq!(first.oscal, second.oscal);
    assert_eq!(first.html, second.html);
    assert_eq!(first.statement, second.statement);
    // Certificates come in no particular order.
    let turned = with(&portal_value(), &Catalogue::new(), |records| {
        for record in records.values_mut() {
            record.certificates.reverse();
        }
    });
    assert_eq!((first.cyclonedx, first.html), (turned.cyclonedx, turned.html));
}

#[test]
fn another_content_has_another_serial_number() {
    let serial = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("JSON")["serialNumber"].clone();
    let later = with(&portal_value(), &Catalogue { now: instant("2026-11-01T12:00:01Z"), ..Catalogue::new() }, |_| {});
    assert_ne!(serial(&portal().cyclonedx), serial(&later.cyclonedx));
}

#[test]
fn a_report_is_of_the_assembly_that_was_checked() {
    let catalogue = Catalogue::new();
    let checked = report(&portal_value(), &catalogue);
    let mut other = portal_value();
    other["title"] = "Another".into();
    let (other, parts) = (assembly(&other), BTreeMap::new());
    let made =
        Compliance::new(ReportInput { assembly: &other, check: &checked, parts: &parts, tree: None, revision: 1 });
    assert!(
        matches!(made.err(), Some(AssemblyError::OtherAssembly { checked: found, .. }) if found == checked.assembly)
    );
}

/// What stands behind one requirement of one part, after a change to the part's record.
fn cover(id: &str, standard: &str, requirement: &str, change: impl FnOnce(&mut PartRecord)) -> Cover {
    let mut found = None;
    let reported = records::Reported::of(&portal_value(), &Catalogue::new(), |records| {
        change(records.get_mut(id).expect("a record"));
    });
    let place = assembly(&portal_value()).parts().iter().position(|part| part.id == id).expect("a part");
    for row in reported.rows {
        if row.standard == standard && row.asked == Asked::Requirement(requirement.to_owned()) {
            found = Some(row.parts[place].clone());
        }
    }
    found.unwrap_or(Cover::NotCovered)
}

#[test]
fn only_certificates_in_force_cover() {
    let asked = |change: fn(&mut PartRecord)| cover("checkout", "pci-dss-4.0", "6.4.3", change);
    assert!(asked(|_| {}).is_certified());
    assert_eq!(asked(|record| record.certificates.clear()), Cover::Claimed);
    assert_eq!(asked(|record| record.certificates[0].refused = Some("revoked".to_owned())), Cover::Claimed);
    assert_eq!(asked(|record| record.certificates[0].issued = instant("2026-11-01T12:00:01Z")), Cover::Claimed);
    // The first instant at which it no longer counts is the check's.
    assert_eq!(
        asked(|record| record.certificates[0].valid_until = Some(instant("2026-11-01T12:00:00Z"))),
        Cover::Claimed
    );
    assert!(asked(|record| record.certificates[0].valid_until = Some(instant("2026-11-01T12:00:01Z"))).is_certified());
    assert!(asked(|record| record.certificates[0].valid_until = None).is_certified());
    // Another requirement of the same standard covers nothing; the standard as a whole covers each of them.
    let only = |ids: &'static [&'static str]| {
        cover("checkout", "pci-dss-4.0", "6.4.3", |record| {
            for covered in &mut record.certificates[0].standards {
                covered.requirements = ids.iter().map(|id| (*id).to_owned()).collect();
            }
        })
    };
    assert_eq!(only(&["3.2.1"]), Cover::Claimed);
    assert!(only(&[]).is_certified());
}

#[test]
fn what_no_certificate_covers_is_shown_as_not_covered() {
    let bare = with(&portal_value(), &Catalogue::new(), |records| {
        for record in records.values_mut() {
            record.certificates.clear();
        }
    });
    let document: Value = serde_json::from_slice(&bare.cyclonedx).expect("JSON");
    let attestations = document["declarations"]["attestations"].as_array().expect("attestations");
    let scores = attestations.iter().flat_map(|it| it["map"].as_array().expect("a map"));
    assert!(scores.clone().count() > 10);
    assert!(scores.clone().all(|entry| entry["conformance"]["score"] == 0));
    assert!(bare.html.contains("5 declared requirements are covered by no certificate"));
    assert!(!bare.html.contains("✓ covered"));
    assert!(!texts(&bare.oscal).contains("\"certificate\""));
    assert!(bare.html.contains("No certificate is recorded: nothing is covered."));
}

#[test]
fn an_unknown_part_is_covered_for_nothing_and_shows_no_values() {
    let mut catalogue = Catalogue::new();
    catalogue.versions.remove("payments/card-checkout@4.2.1");
    let reported = with(&portal_value(), &catalogue, |records| drop(records.remove("checkout")));
    check_cyclonedx(&reported.cyclonedx);
    check_oscal(&reported.oscal);
    assert!(reported.html.contains("does not pass its check") && reported.html.contains("not known to the catalogue"));
    assert!(!reported.html.contains("ACME0001"), "no schema says that it is no secret");
    assert!(!texts(&reported.cyclonedx).contains("ACME0001") && !texts(&reported.oscal).contains("ACME0001"));
}

#[test]
fn a_value_that_should_have_been_a_reference_is_withheld() {
    let mut portal = portal_value();
    part(&mut portal, "checkout")["configuration"]["api_key"] = "hunter2hunter2".into();
    let reported = with(&portal, &Catalogue::new(), |records| {
        records.get_mut("checkout").expect("a record").configuration = None;
    });
    assert!(reported.html.contains("✗ withheld") && reported.html.contains("ACME0001"));
    for text in [&reported.html, &texts(&reported.cyclonedx), &texts(&reported.oscal)] {
        assert!(!text.contains("hunter2"));
    }
    assert!(
        portal_value()["parts"][5]["configuration"]["api_key"].as_str().is_some_and(|key| portal_page().contains(key))
    );
}

#[test]
fn raw_code_that_states_neither_digest_nor_lines_is_not_counted_as_none() {
    let mut portal = portal_value();
    let raw = part(&mut portal, "journal")["raw"].as_object_mut().expect("an object");
    for key in ["digest", "lines"] {
        raw.shift_remove(key).expect(key);
    }
    let reported = with(&portal, &Catalogue::new(), |_| {});
    check_cyclonedx(&reported.cyclonedx);
    check_oscal(&reported.oscal);
    assert!(reported.html.contains("lines not stated") && !reported.html.contains("0 lines"));
    assert!(!texts(&reported.cyclonedx).contains("raw:lines") && !texts(&reported.oscal).contains("raw-lines"));
}

fn portal_page() -> String {
    portal().html
}

#[test]
fn findings_stand_in_all_three_forms() {
    let mut catalogue = Catalogue::new();
    catalogue.entry("ui/data-table@7.4.0").certification =
        Certification::NotCertified { reason: "its certificate was revoked".to_owned() };
    let reported = with(&portal_value(), &catalogue, |_| {});
    for text in [&reported.html, &texts(&reported.cyclonedx), &texts(&reported.oscal)] {
        assert!(text.contains(Rule::PartNotCertified.id()) && text.contains("its certificate was revoked"));
    }
    check_cyclonedx(&reported.cyclonedx);
    check_oscal(&reported.oscal);
}

#[test]
fn raw_code_is_measured_in_the_tree_where_the_document_leaves_it_out() {
    let mut portal = portal_value();
    for key in ["digest", "lines"] {
        part(&mut portal, "journal")["raw"].as_object_mut().expect("an object").shift_remove(key);
    }
    let (assembly, checked, parts) = (assembly(&portal), report(&portal, &Catalogue::new()), records());
    let file = TreeFile::of(b"one\ntwo\nthree\n");
    let tree = Tree::new([("src/journal".to_owned(), TreeEntry::File(file))]);
    let page = |tree| {
        let input = ReportInput { assembly: &assembly, check: &checked, parts: &parts, tree, revision: 1 };
        let compliance = Compliance::new(input).expect("the check of this assembly");
        check_cyclonedx(&compliance.to_cyclonedx());
        check_oscal(&compliance.to_oscal());
        let statement = compliance.statement(&[]).expect("the assembly alone");
        let said: Value = serde_json::from_slice(&statement).expect("JSON");
        (compliance.to_html(), said["predicate"]["raw_lines"].clone())
    };
    let (measured, lines) = page(Some(&tree));
    assert!(measured.contains("raw code, 3 lines") && measured.contains(&file.digest.to_string()));
    assert_eq!(lines, json!(3));
    // What is not known is not nothing.
    let (unknown, lines) = page(None);
    assert!(unknown.contains("raw code, lines not stated"));
    assert_eq!(lines, Value::Null);
}

#[test]
fn references_within_a_document_lead_somewhere() {
    let reported = portal();
    let document: Value = serde_json::from_slice(&reported.cyclonedx).expect("JSON");
    let (mut refs, mut links) = (Vec::new(), Vec::new());
    records::walk(&document, &mut |key, value| match (key, value) {
        ("bom-ref", Value::String(text)) => refs.push(text.clone()),
        ("ref" | "assessor" | "requirement" | "target", Value::String(text)) => links.push(text.clone()),
        ("dependsOn" | "claims" | "evidence" | "subjects" | "dependencies", Value::Array(items)) => {
            links.extend(items.iter().filter_map(Value::as_str).map(str::to_owned));
        }
        _ => {}
    });
    let all: std::collections::BTreeSet<&String> = refs.iter().collect();
    assert_eq!(all.len(), refs.len(), "references are unique");
    assert!(links.len() > 50);
    assert!(links.iter().all(|link| all.contains(link)), "{links:?}");

    let document: Value = serde_json::from_slice(&reported.oscal).expect("JSON");
    let (mut ids, mut links) = (Vec::new(), Vec::new());
    records::walk(&document, &mut |key, value| match (key, value.as_str()) {
        ("uuid", Some(text)) => ids.push(text.to_owned()),
        ("source" | "href", Some(text)) => links.push(text.trim_start_matches('#').to_owned()),
        ("component-uuid", Some(text)) => links.push(text.to_owned()),
        _ => {}
    });
    let all: std::collections::BTreeSet<&String> = ids.iter().collect();
    assert_eq!(all.len(), ids.len(), "ids are unique");
    assert!(links.len() > 20 && links.iter().all(|link| all.contains(link)), "{links:?}");
}

#[test]
fn a_report_is_signed_with_its_files_and_the_assembly_as_subjects() {
    let reported = portal();
    let key = PrivateKey::from_seed(&[7; 32]);
    let envelope = Envelope::sign(reported.statement.clone(), &key).expect("a statement");
    assert_eq!(envelope.to_json(), Envelope::sign(reported.statement.clone(), &key).expect("a statement").to_json());
    let read = Envelope::parse(&envelope.to_json()).expect("an envelope");
    assert!(read.signers([&key.public()]).contains(&key.public()));
    let statement = Statement::parse(read.payload()).expect("a statement");
    assert_eq!(*statement.predicate(), Predicate::Other(COMPLIANCE_TYPE.to_owned()));
    assert!(statement.is_about(&assembly(&portal_value()).digest()));
    for (name, bytes) in reported.files() {
        assert!(statement.is_about(&ReportFile::of(name, bytes).digest), "{name}");
    }
    let said: Value = serde_json::from_slice(read.payload()).expect("JSON");
    assert_eq!(said["predicate"]["passes"], json!(true));
    assert_eq!(said["predicate"]["parts"], json!({ "zero": 4, "minimal": 5, "raw": 1, "external": 4 }));
    assert_eq!(said["predicate"]["raw_lines"], json!(86));
}

#[test]
fn a_page_asks_for_nothing_outside_itself() {
    let page = portal().html;
    for reference in [" src=", "url(", "@import", "<script", "<link", " style=", "javascript:", "<iframe"] {
        assert!(!page.contains(reference), "{reference}");
    }
    let links = page.match_indices(" href=\"").map(|(at, _)| &page[at + 7..=at + 7]);
    assert!(links.clone().count() > 10 && links.clone().all(|first| first == "#"));
    assert!(page.contains("default-src 'none'; style-src 'sha256-"));
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("@media print"));
}

#[test]
fn every_table_and_picture_has_a_name() {
    let page = portal().html;
    assert_eq!(page.matches("<table").count(), page.matches("role=\"region\" aria-label=\"").count());
    assert_eq!(page.matches("<th>").count(), 0, "each head says what it heads");
    assert_eq!(page.matches("<svg").count(), 1);
    assert!(page.contains("aria-labelledby=\"graph-title graph-description\"") && page.contains("<desc id="));
    let anchors = page.match_indices("href=\"#").map(|(at, _)| page[at + 7..].split('"').next().expect("a quote"));
    for anchor in anchors {
        assert!(page.contains(&format!("id=\"{anchor}\"")), "{anchor}");
    }
}

/// As large as an assembly gets: 256 parts, 1,024 connections.
fn largest() -> Value {
    let parts = (0..256).map(|i| {
        json!({ "id": format!("part-{i}"), "raw": { "path": format!("src/{i}"), "digest": digest("x"), "lines": 7 },
            "provides": [{ "name": "in", "protocol": "https", "authentication": "none", "scopes": [], "data_classes": ["public"] }],
            "requires": [{ "name": "out", "protocol": "https", "authentication": "none", "scopes": [], "data_classes": ["public"], "optional": true }] })
    });
    let connections = (0..256_u32).flat_map(|from| {
        (1..5).map(move |step| {
            json!({ "from": format!("part-{from}.out"), "to": format!("part-{}.in", (from + step * step * 7) % 256),
                "data_classes": ["public"] })
        })
    });
    json!({ "name": "x/largest", "parts": parts.collect::<Vec<_>>(), "connections": connections.collect::<Vec<_>>() })
}

#[test]
fn the_largest_assembly_has_a_report() {
    let reported = with(&largest(), &Catalogue::new(), |_| {});
    check_cyclonedx(&reported.cyclonedx);
    check_oscal(&reported.oscal);
    assert!(reported.html.len() < 1_500_000, "{}", reported.html.len());
    assert_eq!(reported.html.matches("<rect").count(), 256);
}

#[test]
fn the_schemas_refuse_what_they_should() {
    let mut document: Value = serde_json::from_slice(&portal().cyclonedx).expect("JSON");
    document["declarations"]["attestations"][0]["map"][0]["conformance"]["score"] = json!(2);
    assert!(!records::is_cyclonedx(&document));
    let mut document: Value = serde_json::from_slice(&portal().oscal).expect("JSON");
    document["component-definition"]["metadata"]["title"] = "two\nlines".into();
    assert!(!records::is_oscal(&document));
    assert!(!records().is_empty());
}
