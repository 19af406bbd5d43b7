//! Near-duplicates of other components: reported, refused by policy, allowed by the call.

use std::path::Path;

use fitment_proto::v1;
use fitment_tests::{Daemon, fitment, manifest, text};
use tonic::Code;
use tonic_types::StatusExt;

use crate::matching::create;

const BACKUP: &str = "Copies databases every night and restores them on request.";

fn with_policy(folder: &Path, lines: &str) -> anyhow::Result<Daemon> {
    let config = folder.join("fitment.toml");
    std::fs::write(&config, format!("[catalog]\n{lines}\n"))?;
    Daemon::serve(&folder.join("data"), &["--config", config.to_str().expect("UTF-8")])
}

fn titled(name: &str, version: &str, title: &str, summary: &str) -> String {
    manifest(name, version, summary)
        .replace(&format!("title: {}", name.replace(['/', '-'], " ")), &format!("title: {title}"))
}

fn names(component: &v1::Component) -> Vec<String> {
    component.near_duplicates.iter().map(|near| format!("{}@{}", near.name, near.version)).collect()
}

#[tokio::test]
async fn a_near_copy_of_another_component_is_reported() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    let mut catalog = daemon.catalog().await?;
    let first = create(&mut catalog, titled("storage/backup", "1.0.0", "Database backup", BACKUP)).await?;
    assert!(names(&first).is_empty());
    let next = create(&mut catalog, titled("storage/backup", "1.1.0", "Database backup", BACKUP)).await?;
    assert!(names(&next).is_empty(), "a version is no duplicate of its own component");
    let sibling =
        titled("storage/archive", "1.0.0", "Archive", "Keeps old records for ten years and deletes them then.");
    assert!(names(&create(&mut catalog, sibling).await?).is_empty());
    let copy = titled("team/db-backup", "0.1.0", "Nightly database backup", BACKUP);
    let copy = create(&mut catalog, copy).await?;
    assert_eq!(names(&copy), ["storage/backup@1.1.0"], "once a component, its newest of equal ones");
    assert!(copy.near_duplicates[0].similarity > 0.9);
    // It is in no other answer.
    let request = v1::GetComponentRequest { name: "team/db-backup".into(), ..Default::default() };
    assert!(catalog.get_component(request).await?.into_inner().near_duplicates.is_empty());
    Ok(())
}

#[tokio::test]
async fn the_policy_refuses_and_the_call_allows() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = with_policy(folder.path(), "near_duplicates = \"refuse\"")?;
    let mut catalog = daemon.catalog().await?;
    create(&mut catalog, titled("storage/backup", "1.0.0", "Database backup", BACKUP)).await?;
    create(&mut catalog, titled("storage/backup", "1.0.1", "Database backup", BACKUP)).await?;
    let copy = titled("team/db-backup", "0.1.0", "Nightly database backup", BACKUP);
    let request = v1::CreateComponentRequest { manifest: copy.into_bytes(), ..Default::default() };
    let status = catalog.create_component(request.clone()).await.expect_err("a near-duplicate");
    assert_eq!(status.code(), Code::AlreadyExists);
    assert_eq!(status.get_details_error_info().expect("details").reason, "NEAR_DUPLICATE");
    assert!(status.message().contains("storage/backup@1.0.1"), "{status}");
    let allowed = v1::CreateComponentRequest { allow_near_duplicate: true, ..request.clone() };
    assert_eq!(names(&catalog.create_component(allowed).await?.into_inner()), ["storage/backup@1.0.1"]);
    // What is there is there.
    catalog.create_component(request).await?;

    // Two in one import: the first is written, the second is its near-duplicate.
    let import = folder.path().join("import");
    std::fs::create_dir(&import)?;
    let summary = "Shows rows and columns that people sort and filter.";
    std::fs::write(import.join("a.yaml"), titled("ui/table", "1.0.0", "Data table", summary))?;
    std::fs::write(import.join("b.yaml"), titled("web/table", "1.0.0", "Data table", summary))?;
    let run = |more: &[&str]| {
        let path = import.to_str().expect("UTF-8");
        fitment()?
            .args(["catalog", "import", path, "--server", daemon.address()])
            .args(more)
            .output()
            .map_err(anyhow::Error::from)
    };
    let output = run(&["--json"])?;
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!((&summary["created"], summary["failed"].as_array().map(Vec::len)), (&1.into(), Some(1)), "{summary}");
    assert_eq!(summary["failed"][0]["status"]["reason"], "NEAR_DUPLICATE");
    let output = run(&["--allow-near-duplicate"])?;
    let shown = text(&output.stdout);
    assert!(
        output.status.success() && shown.contains("1 created, 1 unchanged, 0 failed, 1 near-duplicates"),
        "{shown}"
    );
    assert!(shown.contains("web/table@1.0.0") && shown.contains("ui/table@1.0.0"), "{shown}");
    Ok(())
}

#[tokio::test]
async fn both_in_one_import_are_reported_and_off_is_off() -> anyhow::Result<()> {
    for (policy, expect) in [("report", 1), ("off", 0)] {
        let folder = tempfile::tempdir()?;
        let daemon = with_policy(folder.path(), &format!("near_duplicates = \"{policy}\""))?;
        let items = ["a/one", "b/one", "a/one"].into_iter().zip(["1.0.0", "1.0.0", "1.0.1"]).map(|(name, version)| {
            let manifest = titled(name, version, "Database backup", BACKUP).into_bytes();
            v1::ImportComponentsRequest { manifest, ..Default::default() }
        });
        let items: Vec<_> = items.take(2).collect();
        let mut results = daemon.catalog().await?.import_components(tokio_stream::iter(items)).await?.into_inner();
        let mut near = Vec::new();
        while let Some(item) = results.message().await? {
            assert_eq!(item.result(), v1::ImportResult::Created);
            near.extend(item.near_duplicates.into_iter().map(|near| near.name));
        }
        assert_eq!(near.len(), expect, "{policy}: {near:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_look_reports_what_a_write_would_and_writes_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = with_policy(folder.path(), "near_duplicates = \"report\"")?;
    let mut catalog = daemon.catalog().await?;
    let first = titled("storage/backup", "1.0.0", "Database backup", BACKUP);
    create(&mut catalog, first.clone()).await?;
    let copy = titled("team/db-backup", "0.1.0", "Nightly database backup", BACKUP);
    let look = |manifest: &str| v1::CreateComponentRequest {
        manifest: manifest.to_owned().into_bytes(),
        validate_only: true,
        ..Default::default()
    };
    let looked = catalog.create_component(look(&copy)).await?.into_inner();
    assert_eq!((names(&looked), looked.revision), (vec!["storage/backup@1.0.0".to_owned()], 0));
    let taken = titled("storage/backup", "1.0.0", "Database backup", "Something else.");
    let status = catalog.create_component(look(&taken)).await.expect_err("a name that is taken");
    assert_eq!(status.get_details_error_info().expect("details").reason, "VERSION_TAKEN");

    // In a folder: of two the second finds the first, also where a real import would commit them apart.
    let import = folder.path().join("import");
    std::fs::create_dir(&import)?;
    std::fs::write(import.join("0.yaml"), &copy)?;
    for n in 1..80 {
        std::fs::write(
            import.join(format!("{n:02}.yaml")),
            titled(&format!("n/n{n}"), "1.0.0", &format!("Number {n}"), &format!("The number {n}.")),
        )?;
    }
    std::fs::write(import.join("99.yaml"), copy.replace("team/db-backup", "zz/backup"))?;
    std::fs::write(import.join("first.yaml"), first)?;
    let path = import.to_str().expect("UTF-8");
    let run = |more: &[&str]| -> anyhow::Result<serde_json::Value> {
        let output =
            fitment()?.args(["catalog", "import", path, "--json", "--server", daemon.address()]).args(more).output()?;
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    let would = run(&["--dry-run"])?;
    assert_eq!((&would["created"], &would["unchanged"]), (&81.into(), &1.into()), "{would}");
    let near = |report: &serde_json::Value, name: &str| -> Vec<String> {
        let listed = report["near_duplicates"].as_array().cloned().unwrap_or_default();
        let of = listed.into_iter().filter(|item| item["name"] == name);
        of.flat_map(|item| item["nearDuplicates"].as_array().cloned().unwrap_or_default())
            .map(|near| near["name"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(near(&would, "team/db-backup"), ["storage/backup"]);
    assert_eq!(near(&would, "zz/backup"), ["team/db-backup", "storage/backup"]);
    let listed = catalog.list_components(v1::ListComponentsRequest::default()).await?.into_inner();
    assert_eq!(listed.total_size, 1);
    let done = run(&[])?;
    assert_eq!(done["created"], would["created"]);
    assert_eq!(near(&done, "zz/backup"), near(&would, "zz/backup"));
    Ok(())
}
