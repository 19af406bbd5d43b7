//! `fitment access`: checking, keys, explanations, the table.

use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};

use crate::commands::ends;

const DOCUMENT: &str = "\
version: 1
tenants: [retail]
principals:
  - id: ci
    tenant: retail
    grants:
      - role: publisher
        namespaces: [payments]
      - {role: publisher, labels: {any_of: [frozen]}, effect: deny}
policies: [policies/org.cedar]
";

const POLICY: &str =
    "@id(\"office-hours\")\nforbid (principal, action == Fitment::Action::\"delete-component\", resource);\n";

fn write(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir(folder.join("policies"))?;
    std::fs::write(folder.join("policies/org.cedar"), POLICY)?;
    std::fs::write(folder.join("access.yaml"), DOCUMENT)?;
    Ok(())
}

#[test]
fn a_document_is_checked_with_all_its_faults() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    write(folder.path())?;
    let said: Value = serde_json::from_str(&ends(folder.path(), 0, &["access", "check", "access.yaml", "--json"])?)?;
    assert_eq!((&said["tenants"], &said["policies"]), (&json!(["default", "retail"]), &json!(["office-hours"])));
    assert!(ends(folder.path(), 0, &["access", "check", "access.yaml"])?.contains("1 principals, 0 API keys"));
    std::fs::write(folder.path().join("policies/org.cedar"), POLICY.replace("delete-component", "destroy"))?;
    std::fs::write(folder.path().join("access.yaml"), DOCUMENT.replace("publisher", "king"))?;
    let said = ends(folder.path(), 3, &["access", "check", "access.yaml"])?;
    for expected in
        ["access.yaml: principals[0].grants[0].role", "principals[0].grants[1].role", "policies/org.cedar", "destroy"]
    {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    ends(folder.path(), 4, &["access", "check", "absent.yaml"])?;
    Ok(())
}

#[test]
fn a_key_is_shown_once_and_its_entry_goes_into_the_document() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    write(folder.path())?;
    let create = ["access", "key", "create", "--principal", "ci", "--expires-days", "90"];
    let said = ends(folder.path(), 0, &create)?;
    let (key, entry) = (said.lines().next().context("a key")?, said.split_once("- prefix").context("an entry")?.1);
    assert!(key.starts_with("fitment_") && key.len() == 64, "{key}");
    assert!(entry.contains(&key[..20]) && !entry.contains(&key[20..]), "{said}");
    let entry = format!("- prefix{entry}");
    let indented: String = entry.lines().flat_map(|line| ["  ", line, "\n"]).collect();
    std::fs::write(folder.path().join("access.yaml"), format!("{DOCUMENT}api_keys:\n{indented}"))?;
    assert!(ends(folder.path(), 0, &["access", "check", "access.yaml"])?.contains("1 API keys"));
    let other: Value = serde_json::from_str(&ends(folder.path(), 0, &[&create[..], &["--json"]].concat())?)?;
    assert_ne!(other["key"], key);
    assert_eq!(other["entry"]["principal"], "ci");
    let said = ends(folder.path(), 3, &["access", "key", "create", "--principal", "C I"])?;
    assert!(said.contains("1 to 63"), "{said}");
    Ok(())
}

#[test]
fn a_decision_is_explained() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    write(folder.path())?;
    let explain = |code: i32, more: &[&str]| {
        let start = ["access", "explain", "access.yaml", "--principal", "ci", "--rpc"];
        ends(folder.path(), code, &[&start[..], more].concat())
    };
    let said = explain(0, &["/fitment.v1.CatalogService/CreateComponent", "--namespace", "payments"])?;
    assert!(said.contains("`ci` of tenant `retail` may `create-component`"), "{said}");
    let said = explain(8, &["create-component", "--namespace", "payments", "--tag", "frozen"])?;
    assert!(said.contains("denied by the grant `deny publisher with a label of frozen`"), "{said}");
    let said = explain(8, &["delete-component", "--namespace", "payments", "--json"])?;
    let said: Value = serde_json::from_str(&said)?;
    assert_eq!(said["allowed"], false);
    assert_eq!(said["because"][0], "forbidden by the policy `office-hours`");
    assert!(explain(0, &["match"])?.contains("for some components"));
    // What denies a part denies what concerns the whole.
    assert!(explain(8, &["review-labels"])?.contains("denied by the grant"));
    assert!(explain(3, &["/fitment.v1.Other/Call"])?.contains("there is no call"));
    let said = ends(folder.path(), 3, &["access", "explain", "access.yaml", "--principal", "eve", "--rpc", "match"])?;
    assert!(said.contains("lists no principal `eve`"), "{said}");
    Ok(())
}

#[test]
fn the_table_is_printed_in_three_forms() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let manual = std::fs::read_to_string(fitment_tests::workspace().join("docs/authorization.md"))?;
    let markdown = ends(folder.path(), 0, &["access", "table", "--markdown"])?;
    assert!(manual.contains(&markdown));
    let table: Value = serde_json::from_str(&ends(folder.path(), 0, &["access", "table", "--json"])?)?;
    assert!(table["calls"].as_array().is_some_and(|calls| calls.len() >= 70));
    assert_eq!(table["steps"][0]["action"], "certify-component");
    assert!(ends(folder.path(), 0, &["access", "table"])?.contains("MatcherService/Match"));
    Ok(())
}
