//! What holds for all inputs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fitment_assembly::{
    Assembly, Certification, Claims, Facts, InvariantSet, Policies, PolicySource, Reference, Severity, Source,
    VersionFacts, check,
};
use fitment_catalog::{Format, Lifecycle, Manifest};
use jiff::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use crate::support::{Catalogue, assembly, digest, instant, portal_value, report, shown, starter};

const WORDS: [&str; 4] = ["a", "b", "c", "d"];
const CLASSES: [&str; 7] = ["public", "internal", "personal", "sensitive-personal", "card", "health", "secret"];
const SCHEMES: [&str; 7] = ["none", "api-key", "basic", "oauth2", "oidc", "mtls", "signature"];

fn word() -> impl Strategy<Value = &'static str> {
    select(&WORDS[..])
}

fn classes() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(&CLASSES[..], 1..3)
}

fn ports() -> impl Strategy<Value = Value> {
    let port = (select(&["https", "sql", "ui-slot"][..]), select(&SCHEMES[..]), vec(word(), 0..3), classes());
    vec(port, 0..4).prop_map(|ports| {
        let ports = ports.into_iter().zip(WORDS).map(|((protocol, scheme, mut scopes, classes), name)| {
            scopes.sort_unstable();
            scopes.dedup();
            json!({ "name": name, "protocol": protocol, "authentication": scheme, "scopes": scopes,
                "data_classes": classes })
        });
        ports.collect()
    })
}

fn part() -> impl Strategy<Value = Value> {
    let component = (word(), 0..3_u8, any::<bool>(), any::<Option<bool>>()).prop_map(|(name, major, pinned, bound)| {
        let mut part = json!({ "component": format!("x/{name}@{major}.0.0") });
        if pinned {
            part["digest"] = digest(name).to_string().into();
        }
        if let Some(bound) = bound {
            part["configuration"] = json!({ "flag": bound, "key": "secret://x" });
        }
        part
    });
    let stated = proptest::option::of(0..9_u32);
    let raw = (ports(), ports(), any::<Option<bool>>(), stated).prop_map(|(provides, requires, said, stated)| {
        let mut part = json!({ "raw": {}, "provides": provides, "requires": requires });
        if let Some(lines) = stated {
            part["raw"]["digest"] = digest("x").to_string().into();
            part["raw"]["lines"] = lines.into();
        }
        if let Some(reviewed) = said {
            part["raw"]["owner"] = "Ada".into();
            part["raw"]["reviewer"] = if reviewed { "Grace" } else { "Ada" }.into();
        }
        part
    });
    let external = (ports(), ports(), any::<bool>(), 2025..2029_u16).prop_map(|(provides, requires, proven, year)| {
        let mut part = json!({ "external": { "owner": "Bank", "compliance": { "gdpr": [], "pci-dss-4.0": ["1"] },
            "valid_until": format!("{year}-01-01T00:00:00Z") }, "provides": provides, "requires": requires });
        if proven {
            part["external"]["evidence"] = digest("proof").to_string().into();
        }
        part
    });
    prop_oneof![3 => component, 1 => raw, 1 => external]
}

/// An assembly of any sort: parts that may be unknown, connections that may lead nowhere.
fn document() -> impl Strategy<Value = Value> {
    let address = || (word(), word()).prop_map(|(part, port)| format!("{part}.{port}"));
    let connections = vec((address(), address(), classes(), any::<bool>()), 0..6);
    let exposures = vec((address(), select(&["public", "partner", "internal"][..])), 0..3);
    (vec(part(), 1..4), connections, exposures, any::<bool>(), vec("[a-c]", 0..2)).prop_map(
        |(mut parts, connections, exposures, policies, standards)| {
            for (part, id) in parts.iter_mut().zip(WORDS) {
                part["id"] = id.into();
                if part.get("raw").is_some() {
                    part["raw"]["path"] = format!("src/{id}").into();
                } else if part.get("component").is_some() && id != "a" {
                    part["path"] = format!("vendor/{id}").into();
                }
            }
            let mut pairs = BTreeMap::new();
            for (from, to, classes, ranged) in connections {
                let mut connection = json!({ "from": from, "to": to, "data_classes": classes });
                if ranged {
                    connection["version"] = "^1".into();
                }
                pairs.insert((from, to), connection);
            }
            let exposures: BTreeMap<_, _> = exposures
                .into_iter()
                .map(|(port, audience)| (port.clone(), json!({ "port": port, "audience": audience })))
                .collect();
            let standards: BTreeMap<String, Vec<&str>> = standards.into_iter().map(|s| (s, vec!["1"])).collect();
            let mut document = json!({ "name": "test/any", "parts": parts,
                "connections": pairs.into_values().collect::<Vec<_>>(),
                "exposures": exposures.into_values().collect::<Vec<_>>(), "standards": standards });
            if policies {
                document["policies"] = json!({ "licenses": { "deny": ["GPL-3.0-only"] }, "acyclic": ["*", "sql"],
                    "data_classes": { "card": ["pci-dss-4.0"], "public": ["gdpr"] }, "certified_for_days": 30,
                    "versions": { "x/a": "^1" } });
            }
            document
        },
    )
}

/// A catalogue that knows some versions, and of those some things.
#[derive(Debug, Clone)]
struct Hearsay {
    versions: BTreeMap<String, VersionFacts>,
}

impl Facts for Hearsay {
    fn now(&self) -> Timestamp {
        instant("2026-11-01T12:00:00Z")
    }

    fn version(&self, reference: &Reference) -> Option<VersionFacts> {
        match reference {
            Reference::Named { .. } => self.versions.get(&reference.to_string()).cloned(),
            Reference::Digest(digest) => self.versions.values().find(|facts| facts.digest == *digest).cloned(),
        }
    }
}

fn hearsay() -> impl Strategy<Value = Hearsay> {
    let certification = prop_oneof![
        Just(Certification::Certified { until: None }),
        Just(Certification::Certified { until: Some(Timestamp::MAX) }),
        Just(Certification::Certified { until: Some(Timestamp::MIN) }),
        Just(Certification::NotCertified { reason: "no".to_owned() }),
        Just(Certification::Unknown { reason: "no".to_owned() }),
    ];
    let license = select(&["MIT", "MIT OR GPL-3.0-only", "GPL-3.0-only"][..]);
    let facts = (ports(), ports(), certification, select(Lifecycle::ALL), license, any::<bool>());
    proptest::collection::btree_map((word(), 0..3_u8), facts, 0..8).prop_map(|known| {
        let versions = known.into_iter().map(
            |((name, major), (provides, requires, certification, lifecycle, license, honest))| {
                let manifest = json!({ "name": format!("x/{name}"), "version": format!("{major}.0.0"), "title": "X",
                "summary": "X", "kind": "ui", "lifecycle": "certified", "license": license, "owner": "team",
                "tags": ["database", "secrets"], "provides": provides, "requires": requires,
                "compliance": { "gdpr": ["1"], "a": ["1"] },
                "config_schema": { "type": "object", "additionalProperties": false, "required": ["key"],
                    "properties": { "flag": { "type": "boolean" }, "key": { "type": "string" } } } });
                let manifest = Manifest::from_value("x", &manifest).expect("a manifest");
                let facts = VersionFacts {
                    digest: if honest { manifest.digest() } else { digest(name) },
                    lifecycle,
                    certification,
                    certificates: BTreeSet::new(),
                    claims: Claims::of_manifest(&manifest),
                    manifest: Arc::new(manifest),
                };
                (format!("x/{name}@{major}.0.0"), facts)
            },
        );
        Hearsay { versions: versions.collect() }
    })
}

/// Facts of the portal, each of which it cannot do without.
fn taken_away(document: &mut Value, catalogue: &mut Catalogue, which: usize, of: Index) {
    let components: Vec<String> = document["parts"]
        .as_array()
        .expect("parts")
        .iter()
        .filter_map(|part| part["component"].as_str().map(str::to_owned))
        .collect();
    let component = of.get(&components).clone();
    match which {
        0 => drop(catalogue.versions.remove(&component)),
        1 | 2 => {
            let reason = "not told".to_owned();
            if let Some(facts) = catalogue.versions.get_mut(&component) {
                facts.certification =
                    if which == 1 { Certification::Unknown { reason } } else { Certification::NotCertified { reason } };
            }
        }
        3 => {
            if let Some(facts) = catalogue.versions.get_mut(&component) {
                facts.claims = Claims::default();
            }
        }
        4 => catalogue.now = instant("2027-07-01T00:00:00Z"),
        5 => {
            let connections = document["connections"].as_array_mut().expect("connections");
            if !connections.is_empty() {
                drop(connections.remove(of.index(connections.len())));
            }
        }
        6 => {
            let connections = document["connections"].as_array_mut().expect("connections");
            if !connections.is_empty() {
                let at = of.index(connections.len());
                connections[at]["data_classes"] = json!(["public"]);
            }
        }
        7 => {
            let raw = &mut document["parts"][9]["raw"];
            let key = *of.get(&["owner", "reviewer", "license"]);
            if let Some(entries) = raw.as_object_mut() {
                entries.shift_remove(key);
            }
        }
        _ => {
            let external = &mut document["parts"][10 + of.index(4)]["external"];
            let key = ["evidence", "valid_until", "compliance"][of.index(3)];
            if let Some(entries) = external.as_object_mut() {
                entries.shift_remove(key);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(192) })]

    #[test]
    fn any_bytes_are_judged(bytes in vec(any::<u8>(), 0..300)) {
        for format in [Format::Yaml, Format::Json, Format::Auto] {
            let _ = Assembly::parse("any", &bytes, format);
            let _ = Policies::parse("any", &bytes, format);
        }
    }

    #[test]
    fn any_assembly_is_checked(document in document(), hearsay in hearsay()) {
        let assembly = match Assembly::from_value("any", &document) {
            Ok(assembly) => assembly,
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        prop_assert_eq!(&Assembly::from_value("again", &assembly.to_value()), &Ok(assembly.clone()));
        let report = check(&assembly, &Policies::default(), starter(), &hearsay);
        prop_assert_eq!(&check(&assembly, &Policies::default(), starter(), &hearsay), &report);
        for finding in &report.findings {
            prop_assert!(!finding.reason.is_empty() && !finding.way_out.is_empty(), "{}", finding);
            let known = finding.place.pointer.split("/configuration").next().unwrap_or_default();
            prop_assert!(document.pointer(known).is_some() || known == "/policies/invariants", "{}", finding);
            prop_assert_ne!(&finding.rule, "invariant-failed", "{}", finding);
        }
        // What passes has no part whose word is missing.
        if report.passes() {
            for part in assembly.parts() {
                let Source::Component(component) = &part.source else { continue };
                let facts = hearsay.version(&component.reference);
                let certified = facts.is_some_and(|facts| {
                    matches!(facts.lifecycle, Lifecycle::Certified | Lifecycle::Deprecated)
                        && matches!(facts.certification, Certification::Certified { until }
                            if until.is_none_or(|until| until > hearsay.now()))
                });
                prop_assert!(certified, "{} passes", part.id);
            }
        }
        // The order of parts and connections changes where findings are, not which there are.
        let mut turned = document.clone();
        for list in ["parts", "connections", "exposures"] {
            turned[list].as_array_mut().expect("a list").reverse();
        }
        let other = check(&crate::support::assembly(&turned), &Policies::default(), starter(), &hearsay);
        let mut rules = [&report, &other].map(|report| {
            report.findings.iter().map(|finding| (finding.rule.clone(), finding.severity)).collect::<Vec<_>>()
        });
        for rules in &mut rules {
            rules.sort();
        }
        let [these, those] = rules;
        prop_assert_eq!(these, those);
        prop_assert_eq!(report.assembly, other.assembly);
    }

    #[test]
    fn nothing_passes_without_what_it_needs(taken in vec((0..9_usize, any::<Index>()), 1..4)) {
        let (mut document, mut catalogue) = (portal_value(), Catalogue::new());
        for (which, of) in taken {
            taken_away(&mut document, &mut catalogue, which, of);
        }
        let report = report(&document, &catalogue);
        prop_assert!(!report.passes(), "{}", shown(&report));
        prop_assert!(report.findings.iter().any(|finding| finding.severity == Severity::Error));
    }

    #[test]
    fn a_damaged_portal_is_judged(at in any::<Index>(), with in select(vec![json!(null), json!("x"), json!(["x"]), json!({}), json!(-1)])) {
        let mut document = portal_value();
        let mut nodes = Vec::new();
        collect(&document, String::new(), &mut nodes);
        let pointer = at.get(&nodes).clone();
        if let Some(node) = document.pointer_mut(&pointer) {
            *node = with;
        }
        if let Ok(assembly) = Assembly::from_value("damaged", &document) {
            let _ = check(&assembly, &Policies::default(), starter(), &Catalogue::new());
        }
    }

    #[test]
    fn any_policy_text_is_judged(text in "[a-z@\"(){}\\[\\]=&|!.:,; \n]{0,120}", end in "[a-z.=&|!(\"\\[]{0,40}") {
        let _ = InvariantSet::load(&[PolicySource { file: "any", text: &text }]);
        let policy = format!("@id(\"a\")@reason(\"r\")@fix(\"f\")forbid (principal, action, resource) when {{ {end} }};");
        let _ = InvariantSet::load(&[PolicySource { file: "any", text: &policy }]);
    }
}

fn collect(value: &Value, at: String, nodes: &mut Vec<String>) {
    match value {
        Value::Object(entries) => {
            for (key, item) in entries {
                collect(item, format!("{at}/{}", key.replace('/', "~1")), nodes);
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                collect(item, format!("{at}/{i}"), nodes);
            }
        }
        _ => {}
    }
    nodes.push(at);
}

#[test]
fn the_portal_is_what_the_properties_start_from() {
    assert!(report(&portal_value(), &Catalogue::new()).passes());
    assert_eq!(assembly(&portal_value()).parts()[9].id, "journal");
}
