//! What parts would need, and proposals: the smallest step that fits, and never one that says it passes and does not.

use std::collections::BTreeSet;

use fitment_assembly::{Judge, Outcome, Policies, Remedy, Scope, Upgrade, check, remedy, upgrade};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use crate::support::{Catalogue, assembly, digest, part, portal_value, report, shown, starter};

const TABLE: &str = "ui/data-table@7.4.0";
const CHECKOUT: &str = "payments/card-checkout@4.2.1";
const SESSIONS: &str = "identity/session-manager@5.2.0";

fn needed(document: &Value, id: &str, catalogue: &Catalogue) -> Remedy {
    let organisation = Policies::default();
    let judge = Judge { organisation: &organisation, invariants: starter(), facts: catalogue };
    remedy(&assembly(document), id, &judge).expect("a component")
}

fn proposed(document: &Value, scope: &Scope, catalogue: &Catalogue) -> Upgrade {
    let organisation = Policies::default();
    upgrade(&assembly(document), scope, &Judge { organisation: &organisation, invariants: starter(), facts: catalogue })
}

fn version(to: &'static str) -> impl FnOnce(&mut Value) {
    move |manifest| manifest["version"] = to.into()
}

/// A version that asks for a property more.
fn asks_more(to: &'static str) -> impl FnOnce(&mut Value) {
    move |manifest| {
        manifest["version"] = to.into();
        let schema = &mut manifest["config_schema"];
        schema["properties"]["ledger"] = json!({ "type": "string", "description": "Where payments are booked." });
        schema["required"].as_array_mut().expect("a list").push("ledger".into());
    }
}

fn at(remedy: &Remedy) -> String {
    remedy.step().map_or_else(|| remedy.as_str().to_owned(), |step| format!("{} {step}", remedy.as_str()))
}

#[test]
fn a_compatible_newer_version_comes_first() {
    let (portal, mut catalogue) = (portal_value(), Catalogue::new());
    catalogue.revoke(TABLE);
    assert_eq!(at(&needed(&portal, "table", &catalogue)), "nothing");
    for newer in ["7.4.1", "7.5.0", "8.0.0", "7.6.0-rc.1", "7.3.9"] {
        catalogue.derive(TABLE, |manifest| manifest["version"] = newer.into());
    }
    assert_eq!(at(&needed(&portal, "table", &catalogue)), "compatible ui/data-table@7.5.0");
    catalogue.revoke("ui/data-table@7.5.0");
    assert_eq!(at(&needed(&portal, "table", &catalogue)), "compatible ui/data-table@7.4.1");
    catalogue.revoke("ui/data-table@7.4.1");
    assert_eq!(at(&needed(&portal, "table", &catalogue)), "compatible ui/data-table@8.0.0");
    let mut ranged = portal.clone();
    part(&mut ranged, "table")["range"] = "^7.4".into();
    assert_eq!(at(&needed(&ranged, "table", &catalogue)), "nothing");
    // Parts that are none of a component have no remedy.
    let organisation = Policies::default();
    let judge = Judge { organisation: &organisation, invariants: starter(), facts: &catalogue };
    assert_eq!(remedy(&assembly(&portal), "journal", &judge), None);
    assert_eq!(remedy(&assembly(&portal), "nobody", &judge), None);
}

#[test]
fn a_changed_binding_names_what_to_bind() {
    let (portal, mut catalogue) = (portal_value(), Catalogue::new());
    catalogue.derive(CHECKOUT, asks_more("4.3.0"));
    catalogue.revoke(CHECKOUT);
    let needed = needed(&portal, "checkout", &catalogue);
    assert_eq!(at(&needed), "rebind payments/card-checkout@4.3.0");
    let bindings: Vec<_> = needed.step().expect("a step").bindings.iter().map(|b| (&*b.pointer, &*b.rule)).collect();
    assert_eq!(bindings, [("/ledger", "required")]);
    let upgrade = proposed(&portal, &Scope::Broken, &catalogue);
    assert!(upgrade.changes() && !upgrade.passes());
    assert_eq!(
        upgrade.to_string(),
        "! checkout: payments/card-checkout@4.2.1 -> payments/card-checkout@4.3.0\n    bind /ledger: \
         payments/card-checkout@4.3.0: is missing and has no default\n\
         does not pass: 1 error\n"
    );
}

#[test]
fn what_a_version_has_no_property_for_is_taken_out() {
    let (portal, mut catalogue) = (portal_value(), Catalogue::new());
    catalogue.derive(CHECKOUT, |manifest| {
        manifest["version"] = "4.3.0".into();
        let schema = &mut manifest["config_schema"];
        schema["properties"].as_object_mut().expect("an object").shift_remove("return_url");
        schema["required"].as_array_mut().expect("a list").retain(|name| name != "return_url");
    });
    catalogue.revoke(CHECKOUT);
    let upgrade = proposed(&portal, &Scope::Broken, &catalogue);
    assert!(upgrade.passes(), "{}", shown(&upgrade.report));
    assert!(upgrade.to_string().contains("    removed /return_url: "), "{upgrade}");
}

#[test]
fn another_component_that_supersedes_it_comes_last() {
    let (portal, mut catalogue) = (portal_value(), Catalogue::new());
    catalogue.revoke(SESSIONS);
    catalogue.derive(SESSIONS, |manifest| {
        manifest["name"] = "identity/sessions".into();
        manifest["version"] = "1.0.0".into();
        manifest["supersedes"] = "identity/session-manager".into();
        manifest["provides"][0]["scopes"] = json!(["session.revoke"]);
    });
    let needed = needed(&portal, "sessions", &catalogue);
    assert_eq!(at(&needed), "supersede identity/sessions@1.0.0");
    let misfits = &needed.step().expect("a step").misfits;
    assert!(misfits.iter().any(|misfit| misfit.starts_with("sign-in.session -> sessions.session")), "{misfits:?}");
    let upgrade = proposed(&portal, &Scope::Broken, &catalogue);
    assert!(!upgrade.passes() && upgrade.to_string().contains("no longer fits: sign-in.session -> sessions.session"));
}

#[test]
fn parts_without_an_error_move_only_where_they_fit() {
    let (portal, mut catalogue) = (portal_value(), Catalogue::new());
    catalogue.derive(TABLE, version("7.5.0"));
    catalogue.derive(CHECKOUT, asks_more("4.3.0"));
    let upgrade = proposed(&portal, &Scope::All, &catalogue);
    assert!(upgrade.passes(), "{}", shown(&upgrade.report));
    let moved: Vec<&str> = upgrade
        .parts
        .iter()
        .filter(|part| matches!(part.outcome, Outcome::Moved(_)))
        .map(|part| part.part.as_str())
        .collect();
    assert_eq!((moved, upgrade.parts.len()), (vec!["table"], 9));
    assert_eq!(proposed(&portal, &Scope::Broken, &catalogue).parts, []);
    let one = proposed(&portal, &Scope::Parts(BTreeSet::from(["checkout".to_owned()])), &catalogue);
    assert_eq!(one.to_string(), "  checkout: payments/card-checkout@4.2.1, nothing newer fits\npasses\n");
    assert_eq!(one.assembly, assembly(&portal));
}

#[test]
fn the_documents_way_of_naming_a_version_is_kept() {
    let (mut portal, mut catalogue) = (portal_value(), Catalogue::new());
    let old = catalogue.entry(TABLE).digest;
    let new = catalogue.derive(TABLE, version("7.5.0"));
    let new = catalogue.entry(&new).digest;
    part(&mut portal, "table")["digest"] = json!(old);
    let value = proposed(&portal, &Scope::All, &catalogue).assembly.to_value();
    assert_eq!(
        (&value["parts"][3]["component"], &value["parts"][3]["digest"]),
        (&json!("ui/data-table@7.5.0"), &json!(new))
    );
    part(&mut portal, "table").as_object_mut().expect("an object").shift_remove("component");
    let value = proposed(&portal, &Scope::All, &catalogue).assembly.to_value();
    assert_eq!(value["parts"][3], json!({ "id": "table", "digest": new }));
    // Whose digest nobody knows, nobody knows the component of.
    part(&mut portal, "table")["digest"] = json!(digest("unknown"));
    assert_eq!(at(&needed(&portal, "table", &catalogue)), "nothing");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn a_proposal_that_passes_passes_its_check(
        newer in proptest::collection::vec((select(&[TABLE, CHECKOUT, SESSIONS][..]), 0..5_u8, 5..9_u8), 0..6),
        revoked in proptest::collection::vec(select(&[TABLE, CHECKOUT, SESSIONS, "ui/form-builder@3.2.2"][..]), 0..3),
        scope in select(&[Scope::All, Scope::Broken][..]),
    ) {
        let (portal, mut catalogue) = (portal_value(), Catalogue::new());
        for (of, change, minor) in newer {
            catalogue.derive(of, |manifest| {
                manifest["version"] = format!("7.{minor}.0").into();
                match change {
                    0 => manifest["provides"][0]["authentication"] = "basic".into(),
                    1 => manifest["license"] = "AGPL-3.0-only".into(),
                    2 => manifest["lifecycle"] = "candidate".into(),
                    3 => manifest["provides"] = json!([]),
                    _ => {}
                }
            });
        }
        for version in revoked {
            catalogue.revoke(version);
        }
        let before = report(&portal, &catalogue);
        let upgrade = proposed(&portal, &scope, &catalogue);
        // Read from its own document, and checked by itself.
        let again = assembly(&upgrade.assembly.to_value());
        prop_assert_eq!(&again, &upgrade.assembly);
        let report = check(&again, &Policies::default(), starter(), &catalogue);
        prop_assert_eq!(&report, &upgrade.report);
        prop_assert_eq!(report.passes(), upgrade.passes());
        if before.passes() {
            prop_assert!(upgrade.passes(), "{}", upgrade);
        }
        let untouched = upgrade.parts.iter().all(|part| matches!(&part.outcome, Outcome::Moved(step)
            if step.bindings.is_empty() && step.misfits.is_empty()) || part.outcome == Outcome::Kept);
        if untouched {
            prop_assert!(upgrade.passes(), "{}\n{}", upgrade, shown(&report));
        }
        prop_assert_eq!(upgrade.passes(), upgrade.to_string().ends_with("\npasses\n") || upgrade.to_string() == "passes\n");
        prop_assert_eq!(proposed(&portal, &scope, &catalogue), upgrade);
    }
}
