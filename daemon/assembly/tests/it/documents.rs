//! The document: what is read, what is refused, and what its digest depends on.

use fitment_assembly::{ASSEMBLY_SCHEMA, Assembly, AssemblyError, Policies, Rule};
use fitment_catalog::Format;
use serde_json::{Value, json};

use crate::support::{PORTAL, assembly, digest, part, portal_value};

/// The violations of a document, `pointer: description` a line.
fn refused(value: &Value) -> String {
    match Assembly::from_value("test", value) {
        Ok(_) => panic!("is read: {value:#}"),
        Err(AssemblyError::Invalid { violations, .. }) => {
            assert!(!violations.is_empty());
            violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        }
        Err(other) => panic!("{other}"),
    }
}

fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut portal = portal_value();
    change(&mut portal);
    portal
}

#[test]
fn the_portal_reads_back() {
    let read = Assembly::parse("portal.yaml", PORTAL.as_bytes(), Format::Auto).expect("the portal");
    assert_eq!(read.name().to_string(), "customer/portal");
    assert_eq!((read.parts().len(), read.connections().len(), read.exposures().len()), (14, 9, 6));
    assert_eq!((read.title(), read.owner()), (Some("Customer portal"), Some("team-portal")));
    let again = assembly(&read.to_value());
    assert_eq!(again, read);
    assert_eq!(again.digest(), read.digest());
    let canonical: Value = serde_json::from_slice(&read.canonical_json()).expect("JSON");
    assert_eq!(assembly(&canonical).canonical_json(), read.canonical_json());
}

#[test]
fn order_does_not_change_the_digest_and_content_does() {
    let portal = assembly(&portal_value());
    for list in ["parts", "connections", "exposures"] {
        let reversed = changed(|doc| doc[list].as_array_mut().expect("a list").reverse());
        assert_ne!(assembly(&reversed), portal);
        assert_eq!(assembly(&reversed).digest(), portal.digest(), "{list}");
    }
    let spaced = changed(|doc| doc["title"] = " Customer portal ".into());
    assert_eq!(assembly(&spaced).digest(), portal.digest());
    let other = changed(|doc| part(doc, "journal")["raw"]["lines"] = 87.into());
    assert_ne!(assembly(&other).digest(), portal.digest());
}

#[test]
fn the_smallest_assembly() {
    let read =
        Assembly::parse("a.yaml", b"name: a/b\nparts: [{ id: x, component: ui/data-table@7.4.0 }]\n", Format::Auto);
    assert_eq!(
        read.expect("read").to_value(),
        json!({ "name": "a/b", "parts": [{ "id": "x", "component": "ui/data-table@7.4.0" }] })
    );
}

#[test]
fn what_is_refused_names_its_place_and_the_way_out() {
    for (change, expected) in [
        (json!({ "colour": 1 }), "unknown key `colour`; known keys are name, title"),
        (json!({ "name": "Portal" }), "/name: "),
        (json!({ "title": " \u{202e}" }), "/title: "),
        (json!({ "parts": [] }), "/parts: "),
        (json!({ "parts": [{ "id": "a" }] }), "exactly one of the three"),
        (json!({ "parts": [{ "id": "a", "component": "a/b" }] }), "namespace/name@version"),
        (json!({ "parts": [{ "id": "a", "component": "a/b@1.0.0-01" }] }), "/parts/0/component: `1.0.0-01`"),
        (json!({ "parts": [{ "id": "a", "component": "a/b@1.0.0", "external": { "owner": "x" } }] }), "exactly one"),
        (json!({ "parts": [{ "id": "a", "component": "a/b@1.0.0", "provides": [] }] }), "exactly one"),
        (
            json!({ "parts": [{ "id": "a", "component": "a/b@1.0.0" }, { "id": "a", "digest": digest("x") }] }),
            "/parts/1/id: a second part has the id `a`",
        ),
        (json!({ "parts": [{ "id": "a", "component": "a/b@1.0.0", "range": "1.2" }] }), "put an operator"),
        (
            json!({ "parts": [{ "id": "a", "component": "a/b@1.0.0", "configuration": { "n": 9_007_199_254_740_993_u64 } }] }),
            "/parts/0/configuration/n: the integer",
        ),
        (json!({ "connections": [{ "from": "a", "to": "b.c", "data_classes": ["public"] }] }), "part.port"),
        (json!({ "connections": [{ "from": "a.b", "to": "b.c", "data_classes": [] }] }), "/connections/0/data_classes"),
        (json!({ "connections": [{ "from": "a.b", "to": "b.c", "data_classes": ["cards"] }] }), "One of public"),
        (json!({ "exposures": [{ "port": "a.b", "audience": "all" }] }), "/exposures/0/audience"),
        (json!({ "policies": { "licenses": { "allow": ["MIT OR Apache-2.0"] } } }), "no single licence"),
        (json!({ "policies": { "versions": { "a/b": "1" } } }), "/policies/versions/a~1b"),
        (json!({ "policies": { "data_classes": { "card": ["PCI"] } } }), "/policies/data_classes/card/0"),
        (json!({ "parts": [{ "id": "a", "external": { "owner": "x" }, "path": "b" }] }), "exactly one"),
        (json!({ "parts": [{ "id": "a", "component": "a/b@1.0.0", "path": "../b" }] }), "/parts/0/path"),
        (
            json!({ "parts": [{ "id": "a", "component": "a/b@1.0.0", "path": "b" }, { "id": "c", "raw": { "path": "b" } }] }),
            "/parts/1/raw/path: a second part lies at `b`",
        ),
        (
            json!({ "parts": [{ "id": "a", "component": "a/b@1.0.0", "path": "b/c" }, { "id": "c", "raw": { "path": "b" } }] }),
            "/parts/0/path: `b/c` lies in another part, `b`",
        ),
        (json!({ "unmanaged": ["**"] }), "/unmanaged/0: `**` holds for any path"),
        (json!({ "unmanaged": ["docs/[a"] }), "/unmanaged/0: `docs/[a` is no pattern"),
        (json!({ "unmanaged": ["docs\\*"] }), "/unmanaged/0"),
    ] {
        let document = changed(|doc| {
            for (key, value) in change.as_object().expect("an object") {
                doc[key] = value.clone();
            }
        });
        let message = refused(&document);
        assert!(message.contains(expected), "{change}: {message}");
    }
}

#[test]
fn raw_and_external_parts_are_read_strictly() {
    let raw = |field: &str, value: Value| changed(|doc| part(doc, "journal")["raw"][field] = value);
    for (field, value, expected) in [
        ("path", json!("../secret"), "/parts/9/raw/path: `../secret`"),
        ("path", json!("src/./journal"), "/parts/9/raw/path"),
        ("path", json!("src\\journal"), "/parts/9/raw/path"),
        ("path", json!("/etc"), "/parts/9/raw/path"),
        ("digest", json!("sha256:00"), "/parts/9/raw/digest"),
        ("lines", json!(-1), "/parts/9/raw/lines"),
        ("license", json!("mine"), "/parts/9/raw/license"),
        ("author", json!("x"), "unknown key `author`"),
    ] {
        let message = refused(&raw(field, value));
        assert!(message.contains(expected), "{message}");
    }
    let port = |field: &str, value: Value| changed(|doc| part(doc, "journal")["requires"][0][field] = value);
    for (field, value, expected) in [
        ("protocol", json!("HTTP"), "/parts/9/requires/0/protocol"),
        ("name", json!("trail"), "/parts/9/requires/1: a second port named `trail`"),
        ("authentication", json!("psk"), "/parts/9/requires/0/authentication"),
        ("port", json!(1), "/parts/9/requires/0/port"),
    ] {
        let message = refused(&port(field, value));
        assert!(message.contains(expected), "{message}");
    }
    let until = changed(|doc| part(doc, "acquirer")["external"]["valid_until"] = "2027-02-30T00:00:00Z".into());
    assert!(refused(&until).contains("/parts/13/external/valid_until"));
}

#[test]
fn all_violations_come_out_at_once() {
    let message = refused(&changed(|doc| {
        doc["name"] = "Portal".into();
        doc["parts"][0]["id"] = "Sign in".into();
        doc["connections"][0]["to"] = "x".into();
    }));
    for at in ["/name", "/parts/0/id", "/connections/0/to"] {
        assert!(message.contains(at), "{message}");
    }
}

#[test]
fn the_published_schema_takes_what_is_read() {
    let schema: Value = serde_json::from_str(ASSEMBLY_SCHEMA).expect("JSON");
    let validator = jsonschema::draft202012::options().offline().build(&schema).expect("a JSON Schema");
    assert!(validator.is_valid(&portal_value()));
    assert!(validator.is_valid(&assembly(&portal_value()).to_value()));
    assert!(jsonschema::draft202012::meta::is_valid(&schema));
}

#[test]
fn policies_of_an_organisation_read_back() {
    let text = b"licenses: { allow: [MIT], deny: [\"GPL-2.0-only WITH Classpath-exception-2.0\"] }
data_classes: { card: [pci-dss-4.0/3.2.1, pci-dss-4.0] }
acyclic: [grpc]
versions: { ui/data-table: \">=7.4, <8\" }
certified_for_days: 30
";
    let policies = Policies::parse("policies.yaml", text, Format::Auto).expect("policies");
    let again = Policies::parse("policies.json", policies.to_value().to_string().as_bytes(), Format::Json);
    assert_eq!(again.as_ref().map(Policies::digest), Ok(policies.digest()));
    assert_eq!(again, Ok(policies));
    let refused = Policies::parse("p.yaml", b"acyclic: [\"**\"]\nlimit: 3\n", Format::Auto).expect_err("refused");
    assert!(refused.to_string().contains("/acyclic/0") && refused.to_string().contains("limit"), "{refused}");
}

#[test]
fn the_manual_names_every_rule() {
    let manual = include_str!("../../../../docs/assembly.md");
    for rule in Rule::ALL {
        let row = format!("| `{}` | {} |", rule.id(), rule.severity());
        assert!(manual.contains(&row), "docs/assembly.md has no row {row}");
    }
}
