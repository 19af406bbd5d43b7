//! The organisation's policies: shown, set, refused where they cannot hold, and in force over a restart.

use fitment_proto::v1;
use fitment_tests::{Daemon, manifest};
use tonic::Code;

use super::client;
use crate::commands::{ends, on, told};

/// A set of one policy, with this condition.
fn cedar(condition: &str) -> String {
    format!(
        "@id(\"no-legacy\")\n@reason(\"legacy is being replaced\")\n@fix(\"take what supersedes it\")\n\
         forbid (principal, action == Fitment::Action::\"include\", resource)\nwhen {{ {condition} }};\n"
    )
}

#[tokio::test]
async fn they_hold_for_every_assembly_and_a_bad_set_changes_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let data = folder.join("data");
    let daemon = Daemon::serve(&data, &[])?;
    std::fs::write(folder.join("old.yaml"), manifest("legacy/old", "1.0.0", "Is old."))?;
    on(&daemon, folder, 0, &["catalog", "import", "old.yaml"])?;
    std::fs::write(folder.join("app.yaml"), "name: team/app\nparts:\n  - { id: old, component: legacy/old@1.0.0 }\n")?;
    on(&daemon, folder, 0, &["assembly", "check", "app.yaml"])?;
    let shown = told(&daemon, folder, &["assembly", "policies", "show"])?;
    assert_eq!((&shown["starter"], &shown["policiesJson"]), (&true.into(), &"{}".into()));
    let starter = on(&daemon, folder, 0, &["assembly", "policies", "show", "--cedar"])?;
    assert!(starter.contains("@id(\"sql-behind-components\")"), "{starter}");

    std::fs::write(folder.join("org.yaml"), "licenses: { deny: [Apache-2.0] }\n")?;
    std::fs::write(folder.join("misspelt.yaml"), "licences: { deny: [Apache-2.0] }\n")?;
    std::fs::write(folder.join("bad.cedar"), cedar("resource.nothing == \"legacy\""))?;
    std::fs::write(folder.join("torn.cedar"), "forbid (")?;
    std::fs::write(folder.join("permit.cedar"), cedar("true").replace("forbid", "permit"))?;
    std::fs::write(folder.join("ours.cedar"), cedar("resource has namespace && resource.namespace == \"legacy\""))?;
    let set = ["assembly", "policies", "set"];
    for (arguments, said) in [
        (&["org.yaml", "--cedar", "bad.cedar"][..], "bad.cedar:5:"),
        (&["org.yaml", "--cedar", "torn.cedar"], "torn.cedar:1:"),
        (&["org.yaml", "--cedar", "permit.cedar"], "permit.cedar"),
        (&["misspelt.yaml"], "licences"),
    ] {
        let refused = on(&daemon, folder, 3, &[&set, arguments].concat())?;
        assert!(refused.contains(said), "{arguments:?}: {refused}");
    }
    assert_eq!(told(&daemon, folder, &["assembly", "policies", "show"])?, shown, "nothing changed");
    // The same is said without a daemon.
    let check = ["assembly", "policies", "check", "org.yaml", "--cedar"];
    ends(folder, 3, &[&check[..], &["bad.cedar"]].concat())?;
    assert!(ends(folder, 0, &[&check[..], &["ours.cedar"]].concat())?.contains("1 Cedar policies sha256:"));
    assert!(ends(folder, 0, &["assembly", "policies", "schema"])?.contains("namespace Fitment"));

    on(&daemon, folder, 0, &[&set[..], &["org.yaml", "--cedar", "ours.cedar", "--actor", "ada"]].concat())?;
    on(&daemon, folder, 6, &[&set[..], &["--etag", "0000000000000000"]].concat())?;
    let violated =
        ["error policy/no-legacy at old (/parts/0): legacy is being replaced", "error license-not-allowed at old"];
    let said = on(&daemon, folder, 8, &["assembly", "check", "app.yaml"])?;
    assert!(violated.iter().all(|finding| said.contains(finding)), "{said}");
    let shown = told(&daemon, folder, &["assembly", "policies", "show"])?;
    daemon.kill()?;
    let daemon = Daemon::serve(&data, &[])?;
    assert_eq!(told(&daemon, folder, &["assembly", "policies", "show"])?, shown, "they outlive a kill");
    on(&daemon, folder, 8, &["assembly", "check", "app.yaml"])?;

    // None at all, not the starter set either; and one or the other.
    let etag = shown["etag"].as_str().expect("an etag");
    on(&daemon, folder, 0, &[&set[..], &["--without-cedar", "--etag", etag]].concat())?;
    on(&daemon, folder, 0, &["assembly", "check", "app.yaml"])?;
    let files = vec![v1::CedarFile { name: "ours.cedar".into(), text: cedar("true") }];
    let both = v1::SetAssemblyPoliciesRequest { cedar: files, without_cedar: true, ..Default::default() };
    let refused = client(&daemon).await?.set_assembly_policies(both).await.expect_err("both");
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    Ok(())
}
