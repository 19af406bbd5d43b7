//! One deliberate violation of each kind, found in its place.

use std::collections::BTreeSet;

use fitment_assembly::{Finding, InvariantSet, Policies, Report, Rule, Severity, check};
use fitment_catalog::Format;
use serde_json::{Value, json};

use crate::support::{Catalogue, assembly, digest, entry, errors, part, portal_value, report, shown, starter};

/// The portal, broken in one way.
fn broken(change: impl FnOnce(&mut Value, &mut Catalogue)) -> (Value, Report) {
    let (mut portal, mut catalogue) = (portal_value(), Catalogue::new());
    change(&mut portal, &mut catalogue);
    let report = report(&portal, &catalogue);
    (portal, report)
}

/// That a change is found by a rule, at a pointer, and that people are told what to do.
fn finds(rule: &str, pointer: &str, change: impl FnOnce(&mut Value, &mut Catalogue)) -> Finding {
    let (document, report) = broken(change);
    for finding in &report.findings {
        assert!(!finding.reason.is_empty() && !finding.way_out.is_empty(), "{finding}");
        assert!(!finding.reason.contains('\n') && !finding.way_out.contains('\n'), "{finding}");
    }
    let found = report.findings.iter().find(|finding| finding.rule == rule && finding.place.pointer == pointer);
    let found = found.unwrap_or_else(|| panic!("no {rule} at {pointer}:\n{}", shown(&report)));
    let parent = pointer.trim_end_matches("/version").split("/configuration").next().expect("a pointer");
    assert!(document.pointer(parent).is_some(), "{parent} is not in the document");
    found.clone()
}

fn connection<'v>(value: &'v mut Value, from: &str) -> &'v mut Value {
    entry(value, "connections", "from", from)
}

#[test]
fn a_part_that_is_not_what_it_is_taken_for() {
    let found =
        finds("part-unknown", "/parts/3", |doc, _| part(doc, "table")["component"] = "ui/data-table@9.9.9".into());
    assert_eq!(found.place.part.as_deref(), Some("table"));
    finds("part-mismatch", "/parts/3", |doc, _| part(doc, "table")["digest"] = digest("other").to_string().into());
    finds("part-not-certified", "/parts/3", |_, catalogue| {
        catalogue.entry("ui/data-table@7.4.0").lifecycle = fitment_catalog::Lifecycle::Draft;
    });
    finds("part-deprecated", "/parts/3", |_, catalogue| {
        catalogue.entry("ui/data-table@7.4.0").lifecycle = fitment_catalog::Lifecycle::Deprecated;
    });
    finds("certification-unknown", "/parts/3", |_, catalogue| {
        let reason = "no trust root at hand".to_owned();
        catalogue.entry("ui/data-table@7.4.0").certification = fitment_assembly::Certification::Unknown { reason };
    });
    finds("certification-ends-soon", "/parts/0", |doc, _| doc["policies"]["certified_for_days"] = 3650.into());
}

#[test]
fn versions_outside_their_ranges() {
    finds("version-out-of-range", "/parts/0", |doc, _| part(doc, "sign-in")["range"] = "^3".into());
    finds("version-out-of-range", "/connections/1/version", |doc, _| {
        connection(doc, "sign-in.session")["version"] = ">=6".into();
    });
    finds("version-out-of-range", "/connections/0/version", |doc, _| {
        connection(doc, "sign-in.accounts")["version"] = "^1".into();
    });
    finds("version-out-of-range", "/parts/3", |doc, _| {
        doc["policies"]["versions"] = json!({ "ui/data-table": ">=7.5" });
    });
}

#[test]
fn a_configuration_that_does_not_fit() {
    let at = "/parts/5/configuration/merchant_id";
    finds("configuration/required", at, |doc, _| {
        part(doc, "checkout")["configuration"].as_object_mut().expect("bound").shift_remove("merchant_id");
    });
    finds("configuration/pattern", at, |doc, _| part(doc, "checkout")["configuration"]["merchant_id"] = "x".into());
    finds("configuration/additionalProperties", "/parts/5/configuration/colour", |doc, _| {
        part(doc, "checkout")["configuration"]["colour"] = "red".into();
    });
    finds("configuration/secret-reference", "/parts/5/configuration/api_key", |doc, _| {
        part(doc, "checkout")["configuration"]["api_key"] = "plain text".into();
    });
}

#[test]
fn licences_that_a_policy_does_not_allow() {
    let change = |license: &'static str| {
        move |_: &mut Value, catalogue: &mut Catalogue| {
            catalogue.rewrite("ui/data-table@7.4.0", |manifest| manifest["license"] = license.into());
        }
    };
    let found = finds("license-not-allowed", "/parts/3", change("GPL-3.0-only"));
    assert!(found.reason.contains("GPL-3.0-only"), "{found}");
    finds("license-not-allowed", "/parts/3", change("MIT AND GPL-3.0-only"));
    finds("license-not-allowed", "/parts/3", change("AGPL-3.0-only"));
    finds("license-not-allowed", "/parts/3", change("MIT WITH Classpath-exception-2.0"));
    for allowed in ["MIT OR GPL-3.0-only", "GPL-3.0-only OR (MIT AND Apache-2.0)"] {
        let (_, report) = broken(change(allowed));
        assert!(report.passes(), "{allowed}: {}", shown(&report));
    }
    finds("license-unknown", "/parts/9", |doc, _| {
        part(doc, "journal")["raw"].as_object_mut().expect("raw").shift_remove("license");
    });
}

#[test]
fn connections_that_lead_nowhere() {
    let found =
        finds("part-missing", "/connections/4/to", |doc, _| connection(doc, "table.rows")["to"] = "gone.x".into());
    assert_eq!(found.place.connection.as_deref(), Some("table.rows -> gone.x"));
    finds("port-missing", "/connections/4/to", |doc, _| connection(doc, "table.rows")["to"] = "gateway.back".into());
    let found = finds("port-missing", "/connections/4/to", |doc, _| {
        connection(doc, "table.rows")["to"] = "sign-in.session".into();
    });
    assert!(found.way_out.contains("requires that port"), "{found}");
    finds("port-unconnected", "/parts/3", |doc, _| connection(doc, "table.rows")["from"] = "gone.rows".into());
    finds("port-missing", "/exposures/4/port", |doc, _| doc["exposures"][4]["port"] = "gateway.front".into());
    finds("part-missing", "/exposures/4/port", |doc, _| doc["exposures"][4]["port"] = "gone.front".into());
}

/// The acquirer's port, with a field of another value.
fn acquirer(field: &'static str, value: Value) -> impl FnOnce(&mut Value, &mut Catalogue) {
    move |doc, _| part(doc, "acquirer")["provides"][0][field] = value
}

#[test]
fn handshakes_that_do_not_agree() {
    let at = "/connections/5";
    finds("protocol-mismatch", at, acquirer("protocol", "grpc".into()));
    finds("authentication-mismatch", at, acquirer("authentication", "mtls".into()));
    finds("authentication-mismatch", at, acquirer("authentication", "none".into()));
    finds("scope-missing", at, acquirer("scopes", json!(["payments.read"])));
    finds("authentication-missing", at, |_, catalogue| {
        catalogue.rewrite("payments/card-checkout@4.2.1", |manifest| {
            manifest["requires"][0]["authentication"] = "none".into();
        });
    });
}

#[test]
fn data_where_nobody_certified_them() {
    finds("data-class-not-carried", "/connections/5/data_classes", acquirer("data_classes", json!(["internal"])));
    finds("data-class-understated", "/connections/0/data_classes", |doc, _| {
        connection(doc, "sign-in.accounts")["data_classes"] = json!(["personal"]);
    });
    finds("data-class-wider", "/connections/5/data_classes", acquirer("data_classes", json!(["card", "health"])));
    // The bank without the standard that card data ask for.
    finds("data-class-not-certified", "/connections/5", |doc, _| {
        part(doc, "acquirer")["external"]["compliance"] = json!({ "gdpr": ["art-32"] });
    });
    // Raw code in the place of a certified component.
    let found = finds("data-class-not-certified", "/connections/9", |doc, _| {
        part(doc, "journal")["requires"].as_array_mut().expect("ports").push(json!({ "name": "people",
            "protocol": "https", "authentication": "oauth2", "scopes": ["answers.write"], "data_classes": ["personal"] }));
        doc["connections"]
            .as_array_mut()
            .expect("connections")
            .push(json!({ "from": "journal.people", "to": "records.answers", "data_classes": ["personal"] }));
    });
    assert!(found.reason.contains("raw code"), "{found}");
    finds("data-class-not-certified", "/exposures/6", |doc, _| {
        part(doc, "journal")["provides"] =
            json!([{ "name": "page", "protocol": "ui-slot", "data_classes": ["health"] }]);
        doc["exposures"]
            .as_array_mut()
            .expect("exposures")
            .push(json!({ "port": "journal.page", "audience": "internal" }));
    });
}

#[test]
fn proofs_that_are_missing_or_over() {
    let external = |field: &'static str| {
        move |doc: &mut Value, _: &mut Catalogue| {
            part(doc, "acquirer")["external"].as_object_mut().expect("external").shift_remove(field);
        }
    };
    finds("evidence-missing", "/parts/13/external", external("evidence"));
    finds("evidence-missing", "/parts/13/external", external("valid_until"));
    finds("evidence-expired", "/parts/13/external", |doc, _| {
        part(doc, "acquirer")["external"]["valid_until"] = "2026-11-01T12:00:00Z".into();
    });
}

#[test]
fn circles() {
    let close = |doc: &mut Value, protocol: &str| {
        doc["parts"].as_array_mut().expect("parts").extend([
            json!({ "id": "a", "raw": { "path": "a", "digest": digest("a"), "lines": 1, "owner": "A", "reviewer": "B",
                "license": "MIT" },
                "provides": [{ "name": "out", "protocol": protocol, "data_classes": ["public"] }],
                "requires": [{ "name": "in", "protocol": protocol, "data_classes": ["public"] }] }),
            json!({ "id": "b", "raw": { "path": "b", "digest": digest("b"), "lines": 1, "owner": "A", "reviewer": "B",
                "license": "MIT" },
                "provides": [{ "name": "out", "protocol": "event", "data_classes": ["public"] }],
                "requires": [{ "name": "in", "protocol": protocol, "data_classes": ["public"] },
                    { "name": "self", "protocol": "event", "data_classes": ["public"], "optional": true }] }),
        ]);
        part(doc, "a")["requires"][0]["protocol"] = "event".into();
        doc["connections"].as_array_mut().expect("connections").extend([
            json!({ "from": "a.in", "to": "b.out", "data_classes": ["public"] }),
            json!({ "from": "b.in", "to": "a.out", "data_classes": ["public"] }),
        ]);
    };
    let found = finds("cycle", "/parts/14", |doc, _| close(doc, "grpc"));
    assert!(found.reason.contains("a, b"), "{found}");
    // Each protocol by itself has no circle, until both are events.
    let (_, report) = broken(|doc, _| {
        close(doc, "grpc");
        doc["policies"]["acyclic"] = json!(["grpc", "event"]);
    });
    assert!(report.passes(), "{}", shown(&report));
    finds("cycle", "/parts/14", |doc, _| {
        close(doc, "event");
        doc["policies"]["acyclic"] = json!(["grpc", "event"]);
    });
    // A part that is connected to itself.
    finds("cycle", "/parts/15", |doc, _| {
        close(doc, "grpc");
        doc["policies"]["acyclic"] = json!(["event"]);
        doc["connections"]
            .as_array_mut()
            .expect("connections")
            .push(json!({ "from": "b.self", "to": "b.out", "data_classes": ["public"] }));
    });
}

#[test]
fn standards_that_nobody_covers() {
    finds("requirement-not-covered", "/standards/pci-dss-4.0", |doc, _| {
        doc["standards"]["pci-dss-4.0"] = json!(["12.1.1"]);
    });
    finds("requirement-not-covered", "/standards/hipaa", |doc, _| doc["standards"]["hipaa"] = json!([]));
}

#[test]
fn architectural_invariants() {
    let sql = json!({ "name": "rows", "protocol": "sql", "authentication": "mtls", "data_classes": ["internal"] });
    let with_database = |doc: &mut Value, catalogue: &mut Catalogue, tags: Value| {
        let port =
            json!([{ "name": "database", "protocol": "sql", "authentication": "mtls", "data_classes": ["internal"] }]);
        catalogue.add(&json!({ "name": "test/database", "summary": "Keeps rows.", "provides": port, "tags": tags }));
        doc["parts"].as_array_mut().expect("parts").push(json!({ "id": "db", "component": "test/database@1.0.0" }));
        part(doc, "journal")["requires"].as_array_mut().expect("ports").push(sql.clone());
        doc["connections"]
            .as_array_mut()
            .expect("connections")
            .push(json!({ "from": "journal.rows", "to": "db.database", "data_classes": ["internal"] }));
    };
    let found = finds("policy/sql-behind-components", "/connections/9", |doc, catalogue| {
        with_database(doc, catalogue, json!(["database"]));
    });
    assert_eq!(found.severity, Severity::Error);
    finds("policy/sql-only-to-persistence", "/connections/9", |doc, catalogue| {
        with_database(doc, catalogue, json!(["other"]));
    });
    finds("policy/public-endpoint-authorised", "/exposures/6", |doc, catalogue| {
        catalogue.add(&json!({ "name": "test/open", "summary": "Answers anybody.",
            "provides": [{ "name": "api", "protocol": "https", "data_classes": ["public"] }] }));
        doc["parts"].as_array_mut().expect("parts").push(json!({ "id": "open", "component": "test/open@1.0.0" }));
        doc["exposures"].as_array_mut().expect("exposures").push(json!({ "port": "open.api", "audience": "public" }));
    });
    finds("policy/secrets-through-the-secret-component", "/parts/5", |_, catalogue| {
        catalogue.rewrite("security/secret-store@6.3.1", |manifest| manifest["tags"] = json!(["vault"]));
    });
    finds("policy/secrets-only-to-keepers", "/connections/0", |doc, _| {
        part(doc, "directory")["external"]["tags"] = json!(["other"]);
    });
    finds("policy/personal-data-under-a-standard", "/connections/3", |doc, _| {
        part(doc, "records")["external"]["compliance"] = json!({ "wcag-2.2": [] });
    });
    finds("policy/raw-code-has-an-owner", "/parts/9", |doc, _| {
        part(doc, "journal")["raw"].as_object_mut().expect("raw").shift_remove("owner");
    });
    finds("policy/raw-code-is-reviewed", "/parts/9", |doc, _| {
        part(doc, "journal")["raw"]["reviewer"] = "Ada".into();
    });
    finds("policy/raw-code-is-reviewed", "/parts/9", |doc, _| {
        part(doc, "journal")["raw"].as_object_mut().expect("raw").shift_remove("reviewer");
    });
    let shipped = starter().ids().count();
    assert_eq!(shipped, 8, "each shipped policy is violated above");
}

#[test]
fn a_pinned_set_of_policies() {
    let mut portal = portal_value();
    portal["policies"]["invariants"] = starter().digest().to_string().into();
    let passed = report(&portal, &Catalogue::new());
    assert!(passed.passes(), "{}", shown(&passed));
    let report = check(&assembly(&portal), &Policies::default(), &InvariantSet::empty(), &Catalogue::new());
    let found: Vec<&str> = errors(&report).iter().map(|finding| finding.rule.as_str()).collect();
    assert_eq!(found, [Rule::InvariantsMismatch.id()], "{}", shown(&report));
}

#[test]
fn the_organisation_asks_for_more() {
    let policies = b"licenses: { deny: [MIT] }\ndata_classes: { personal: [gdpr] }\ncertified_for_days: 3650\n";
    let organisation = Policies::parse("organisation.yaml", policies, Format::Auto).expect("policies");
    let report = check(&assembly(&portal_value()), &organisation, starter(), &Catalogue::new());
    let found: BTreeSet<&str> = errors(&report).iter().map(|finding| finding.rule.as_str()).collect();
    assert_eq!(
        found.into_iter().collect::<Vec<_>>(),
        ["certification-ends-soon", "data-class-not-certified", "license-not-allowed"],
        "{}",
        shown(&report)
    );
}

#[test]
fn all_findings_come_out_at_once_in_the_order_of_the_document() {
    let (_, report) = broken(|doc, _| {
        part(doc, "journal")["raw"].as_object_mut().expect("raw").shift_remove("owner");
        part(doc, "sign-in")["range"] = "^3".into();
        connection(doc, "table.rows")["to"] = "gone.x".into();
        part(doc, "acquirer")["provides"][0]["protocol"] = "grpc".into();
        doc["standards"]["hipaa"] = json!([]);
    });
    let found: Vec<(&str, &str)> =
        errors(&report).iter().map(|finding| (finding.place.pointer.as_str(), finding.rule.as_str())).collect();
    assert_eq!(
        found,
        [
            ("/parts/0", "version-out-of-range"),
            ("/parts/9", "policy/raw-code-has-an-owner"),
            ("/connections/4/to", "part-missing"),
            ("/connections/5", "protocol-mismatch"),
            ("/standards/hipaa", "requirement-not-covered"),
        ],
        "{}",
        shown(&report)
    );
    let json = serde_json::to_value(&report).expect("a report is JSON");
    assert_eq!(json["at"], "2026-11-01T12:00:00Z");
    assert_eq!(json["findings"][0]["severity"], "error");
}
