//! SARIF: valid under the official schema, stable, with paths as addresses.

use std::collections::BTreeSet;

use fitment_assembly::{Finding, OwnFiles, SarifRun, Tree, TreeEntry, TreeFile, sarif, verify};
use fitment_catalog::RelativePath;
use serde_json::{Value, json};

use crate::support::{Catalogue, application, locked, part, portal_value, report, tree};

const SCHEMA: &str = include_str!("../schemas/sarif-schema-2.1.0.json");

fn document() -> RelativePath {
    "apps/customer portal.yaml".parse().expect("a path")
}

fn log(run: &SarifRun<'_>) -> Value {
    let mut schema: Value = serde_json::from_str(SCHEMA).expect("JSON");
    // The official pattern of a language has a bracket too many, which strict engines refuse.
    for holder in ["run", "toolComponent"] {
        let language = schema.pointer_mut(&format!("/definitions/{holder}/properties/language"));
        let language = language.and_then(Value::as_object_mut).expect("an object");
        language.shift_remove("pattern").expect("the pattern");
    }
    let validator =
        jsonschema::draft7::options().offline().should_validate_formats(true).build(&schema).expect("a JSON Schema");
    let log: Value = serde_json::from_str(&sarif(run)).expect("JSON");
    let faults: Vec<String> =
        validator.iter_errors(&log).map(|fault| format!("{}: {fault}", fault.instance_path())).collect();
    assert!(faults.is_empty(), "{}\n{log:#}", faults.join("\n"));
    log
}

/// Findings of many rules.
fn findings() -> Vec<Finding> {
    let (mut portal, mut catalogue) = (portal_value(), Catalogue::new());
    catalogue.versions.remove("compliance/audit-log@3.6.0");
    part(&mut portal, "checkout")["configuration"] = json!({ "colour": "red" });
    part(&mut portal, "journal")["raw"]["reviewer"] = "Ada".into();
    portal["connections"][5]["data_classes"] = json!(["personal"]);
    report(&portal, &catalogue).findings
}

#[test]
fn findings_and_drift_are_a_valid_log() {
    let (app, catalogue, mut files) = application();
    let lock = locked(&app, &catalogue, Some(&tree(&files))).unwrap_or_else(|error| panic!("{error}"));
    files.insert("vendor/table/ä 100%.js".to_owned(), Vec::new());
    files.insert("a:b#c?.rs".to_owned(), Vec::new());
    let mut entries: Vec<_> =
        files.iter().map(|(path, bytes)| (path.clone(), TreeEntry::File(TreeFile::of(bytes)))).collect();
    entries.push(("src/link".to_owned(), TreeEntry::Link { target: "..".to_owned() }));
    let drift = verify(&lock, &Tree::new(entries), &OwnFiles::default());
    let (findings, document) = (findings(), document());
    let run = SarifRun { version: "1.2.3", document: &document, findings: &findings, drift: &drift };
    let log = log(&run);
    let results = log["runs"][0]["results"].as_array().expect("results");
    assert_eq!(results.len(), findings.len() + drift.len());
    let rules = log["runs"][0]["tool"]["driver"]["rules"].as_array().expect("rules");
    let mut uris = BTreeSet::new();
    let mut prints = BTreeSet::new();
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().expect("an index")).expect("small");
        assert_eq!(rules[index]["id"], result["ruleId"]);
        uris.insert(
            result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].as_str().expect("an address"),
        );
        prints.insert(result["partialFingerprints"]["fitmentPlace/v1"].as_str().expect("a fingerprint"));
    }
    for uri in ["apps/customer%20portal.yaml", "vendor/table/%C3%A4%20100%25.js", "a%3Ab%23c%3F.rs", "src/link"] {
        assert!(uris.contains(uri), "{uri} is not among {uris:?}");
    }
    assert_eq!(prints.len(), results.len(), "each result has a fingerprint of its own");
    let ids: BTreeSet<&str> = rules.iter().filter_map(|rule| rule["id"].as_str()).collect();
    for id in [
        "part-unknown",
        "configuration/additionalProperties",
        "policy/raw-code-is-reviewed",
        "file-unexpected",
        "symlink",
    ] {
        assert!(ids.contains(id), "{id} is not among {ids:?}");
    }
    assert_eq!(sarif(&run), sarif(&run));
}

#[test]
fn a_run_that_found_nothing_is_valid() {
    let document = document();
    let log = log(&SarifRun { version: "0.1.0", document: &document, findings: &[], drift: &[] });
    assert_eq!(log["runs"][0]["results"], json!([]));
}

#[test]
fn a_fingerprint_outlives_the_order_of_parts() {
    let prints = |turned: bool| {
        let (mut portal, mut catalogue) = (portal_value(), Catalogue::new());
        catalogue.versions.remove("compliance/audit-log@3.6.0");
        if turned {
            portal["parts"].as_array_mut().expect("parts").reverse();
        }
        let (findings, document) = (report(&portal, &catalogue).findings, document());
        let log = log(&SarifRun { version: "0.1.0", document: &document, findings: &findings, drift: &[] });
        let results = log["runs"][0]["results"].as_array().expect("results").clone();
        results.iter().map(|result| result["partialFingerprints"].to_string()).collect::<BTreeSet<_>>()
    };
    assert_eq!(prints(false), prints(true));
}
