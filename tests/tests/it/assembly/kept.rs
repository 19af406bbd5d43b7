//! Kept assemblies: impact, a revocation that names them, watching, upgrades, and that all of it outlives a kill.

use fitment_proto::v1;
use fitment_tests::Daemon;
use serde_json::{Value, json};
use tonic::Code;

use super::{application, client, portal};
use crate::commands::{on, revision, told};
use crate::gaps::data_of;

const TABLE: &str = "ui/data-table@7.4.0";
const NEWER: &str = "ui/data-table@7.4.1";

#[tokio::test]
async fn a_revocation_names_who_is_touched_and_an_upgrade_helps() -> anyhow::Result<()> {
    let temporary = tempfile::tempdir()?;
    let daemon = Daemon::demo(temporary.path())?;
    let folder = &temporary.path().join("work");
    std::fs::create_dir(folder)?;
    application(folder)?;
    let said = on(&daemon, folder, 0, &["assembly", "register", "app/assembly.yaml", "--actor", "ada"])?;
    assert!(said.contains("customer/portal is kept; etag "), "{said}");
    std::fs::write(
        folder.join("other.yaml"),
        "name: other/app\nparts:\n  - { id: rows, component: ui/data-table@7.4.0 }\n",
    )?;
    on(&daemon, folder, 0, &["assembly", "register", "other.yaml"])?;
    let listed = told(&daemon, folder, &["assembly", "list"])?;
    let names: Vec<&Value> =
        listed["assemblies"].as_array().expect("a list").iter().map(|kept| &kept["name"]).collect();
    assert_eq!(names, ["customer/portal", "other/app"], "{listed:#}");
    let document = on(&daemon, folder, 0, &["assembly", "show", "customer/portal", "--document"])?;
    assert_eq!(document, portal(), "the document is kept as it was sent");

    for (target, touched) in [
        (["--component", "ui/data-table"], 2),
        (["--version", TABLE], 2),
        (["--standard", "pci-dss-4.0"], 1),
        (["--standard", "pci-dss-4.0/6.4.3"], 1),
        (["--component", "ui/bar-chart"], 0),
        (["--key", "nobody"], 0),
    ] {
        for names in [&[][..], &["--names"]] {
            let found = told(&daemon, folder, &[&["assembly", "impact"], &target[..], names].concat())?;
            assert_eq!(found["total"], json!(touched), "{target:?}: {found:#}");
        }
    }
    let found = told(&daemon, folder, &["assembly", "impact", "--version", TABLE, "--names"])?;
    let table = json!({ "part": "table", "component": TABLE, "remedy": "REMEDY_UNSPECIFIED", "replacement": "", "changes": [] });
    assert_eq!(found["assemblies"][0]["parts"], json!([table]), "{found:#}");

    let before = revision(&daemon).await?;
    let mut watcher = client(&daemon).await?;
    let watched = v1::WatchAssembliesRequest { names: vec!["customer/portal".into()], after_revision: 0 };
    let mut live = watcher.watch_assemblies(watched).await?.into_inner();
    let said = on(&daemon, folder, 0, &["catalog", "move", TABLE, "revoked", "--reason", "leaks rows"])?;
    assert!(said.contains("touches 2 kept assemblies (2 parts): customer/portal, other/app"), "{said}");
    let event = live.message().await?.expect("an event");
    assert_eq!(
        (event.assembly.as_str(), event.parts.as_slice(), event.passes),
        ("customer/portal", &["table".to_owned()][..], false)
    );
    assert_eq!(event.cause, "ui/data-table@7.4.0 is revoked");
    assert_eq!(event.findings.iter().map(|found| found.rule.as_str()).collect::<Vec<_>>(), ["part-not-certified"]);
    drop(live);
    // Who was away resumes behind the last revision that it saw.
    let resumed = ["assembly", "watch", "--after", &before.to_string(), "--most", "2"];
    let said = on(&daemon, folder, 8, &resumed)?;
    assert!(said.contains("customer/portal does not pass") && said.contains("other/app does not pass"), "{said}");
    let ahead = v1::WatchAssembliesRequest { names: Vec::new(), after_revision: 1_000_000 };
    let refused = watcher.watch_assemblies(ahead).await.expect_err("a revision ahead");
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");

    let said = on(&daemon, folder, 8, &["assembly", "check", "customer/portal"])?;
    assert!(said.contains("error part-not-certified at table"), "{said}");
    let found = told(&daemon, folder, &["assembly", "impact", "--version", TABLE])?;
    assert_eq!(found["assemblies"][1]["parts"][0]["remedy"], "REMEDY_NOTHING", "{found:#}");

    // Somebody brings a newer version.
    let manifest = on(&daemon, folder, 0, &["catalog", "get", TABLE])?;
    std::fs::write(folder.join("newer.yaml"), manifest.replace("7.4.0", "7.4.1"))?;
    on(&daemon, folder, 0, &["catalog", "import", "newer.yaml"])?;
    let found = told(&daemon, folder, &["assembly", "impact", "--component", "ui/data-table"])?;
    let part = &found["assemblies"][0]["parts"][0];
    assert_eq!((&part["remedy"], &part["replacement"]), (&json!("REMEDY_COMPATIBLE"), &json!(NEWER)), "{found:#}");
    let upgrade =
        ["assembly", "upgrade", "app/assembly.yaml", "--tree", "app", "--out", "next.yaml", "--lock", "next.lock.yaml"];
    let said = on(&daemon, folder, 0, &upgrade)?;
    assert!(said.contains("-  component: ui/data-table@7.4.0\n+  component: ui/data-table@7.4.1"), "{said}");
    assert!(std::fs::read_to_string(folder.join("next.lock.yaml"))?.contains("component: ui/data-table@7.4.1"));
    let said = on(&daemon, folder, 6, &["assembly", "register", "next.yaml", "--etag", "0000000000000000"])?;
    assert!(said.contains("etag"), "{said}");
    let etag =
        told(&daemon, folder, &["assembly", "show", "customer/portal"])?["etag"].as_str().expect("an etag").to_owned();
    on(&daemon, folder, 0, &["assembly", "register", "next.yaml", "--etag", &etag])?;
    on(&daemon, folder, 6, &["assembly", "delete", "customer/portal", "--etag", &etag])?;
    on(&daemon, folder, 0, &["assembly", "check", "customer/portal"])?;

    // Killed, all of it is there again.
    let all = |daemon: &Daemon| -> anyhow::Result<[Value; 3]> {
        Ok([
            told(daemon, folder, &["assembly", "list"])?,
            told(daemon, folder, &["assembly", "impact", "--standard", "pci-dss-4.0"])?,
            told(daemon, folder, &["assembly", "show", "customer/portal"])?["document"].clone(),
        ])
    };
    let before = all(&daemon)?;
    daemon.kill()?;
    let daemon = Daemon::serve(&data_of(temporary.path())?, &[])?;
    assert_eq!(all(&daemon)?, before);
    let found = told(&daemon, folder, &["assembly", "impact", "--version", NEWER, "--names"])?;
    assert_eq!(found["total"], 1, "{found:#}");
    on(&daemon, folder, 0, &["assembly", "delete", "customer/portal", "--reason", "retired"])?;
    on(&daemon, folder, 4, &["assembly", "show", "customer/portal"])?;
    let found = told(&daemon, folder, &["assembly", "impact", "--component", "ui/data-table", "--names"])?;
    assert_eq!(found["total"], 1, "{found:#}");
    Ok(())
}

#[tokio::test]
async fn impact_comes_in_pages_and_knows_what_the_catalogue_lacks() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    let mut client = client(&daemon).await?;
    for at in 0..25 {
        let document =
            format!("name: team/app-{at:02}\nowner: team-a\nparts:\n  - {{ id: a, component: x/late@1.0.0 }}\n");
        let request = v1::RegisterAssemblyRequest { document: document.into_bytes(), ..Default::default() };
        let record = client.register_assembly(request).await?.into_inner();
        assert!(!record.check.expect("a check").passes, "what does not pass is kept too");
    }
    // Twice: before the catalogue has the version, and since.
    for arrived in [false, true] {
        if arrived {
            crate::matching::create(
                &mut daemon.catalog().await?,
                fitment_tests::manifest("x/late", "1.0.0", "Comes late."),
            )
            .await?;
        }
        for target in [
            v1::impact_target::Target::Component("x/late".into()),
            v1::impact_target::Target::Version("x/late@1.0.0".into()),
        ] {
            let (mut names, mut page_token) = (Vec::new(), String::new());
            loop {
                let target = Some(v1::ImpactTarget { target: Some(target.clone()) });
                let request = v1::GetImpactRequest { target, page_size: 10, page_token, names_only: names.len() < 10 };
                let page = client.get_impact(request).await?.into_inner();
                assert_eq!((page.total_size, page.total_parts), (25, 25));
                for touched in page.assemblies {
                    assert_eq!(
                        (touched.owner.as_str(), touched.parts[0].component.as_str()),
                        ("team-a", "x/late@1.0.0")
                    );
                    names.push(touched.assembly);
                }
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    break;
                }
            }
            let expected: Vec<String> = (0..25).map(|at| format!("team/app-{at:02}")).collect();
            assert_eq!(names, expected);
        }
    }
    let list = v1::ListAssembliesRequest { page_size: 20, page_token: "team/app-20".into() };
    let page = client.list_assemblies(list).await?.into_inner();
    assert_eq!((page.assemblies.len(), page.total_size, page.next_page_token.as_str()), (4, 25, ""));
    Ok(())
}
