//! Snapshots: taken while writes go on, restored into another folder, refused when a byte of them is not what it was.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use fitment_proto::v1;
use fitment_proto::v1::audit_service_client::AuditServiceClient;
use fitment_proto::v1::create_snapshot_response::Event;
use fitment_proto::v1::snapshot_service_client::SnapshotServiceClient;
use fitment_tests::{Daemon, manifest, run, text};
use tonic::Code;

use crate::matching::{create, intent, small_catalog};

/// What a catalogue shows of itself.
#[derive(Debug, PartialEq)]
struct Seen {
    components: BTreeSet<(String, String, String)>,
    answer: Vec<(String, String)>,
    revision: u64,
    audit: (u64, String),
}

async fn see(daemon: &Daemon) -> anyhow::Result<Seen> {
    let request = v1::ListComponentsRequest { page_size: 1000, ..Default::default() };
    let listed = daemon.catalog().await?.list_components(request).await?.into_inner();
    let answer = daemon.matcher().await?.r#match(intent("text message to phones")).await?.into_inner();
    let info = daemon.info().await?.get_server_info(v1::GetServerInfoRequest {}).await?.into_inner();
    Ok(Seen {
        components: listed.components.into_iter().map(|found| (found.name, found.version, found.etag)).collect(),
        answer: answer
            .candidates
            .into_iter()
            .map(|candidate| (candidate.name, format!("{:.4}", candidate.score)))
            .collect(),
        revision: info.catalog.context("a catalogue")?.revision,
        audit: audit(daemon).await?,
    })
}

async fn audit(daemon: &Daemon) -> anyhow::Result<(u64, String)> {
    let mut client = AuditServiceClient::new(daemon.channel().await?);
    let head = client.verify_audit(v1::VerifyAuditRequest::default()).await?.into_inner();
    Ok((head.sequence, head.digest))
}

async fn take(daemon: &Daemon) -> anyhow::Result<v1::CreateSnapshotResult> {
    let mut client = SnapshotServiceClient::new(daemon.channel().await?);
    let mut events = client.create_snapshot(v1::CreateSnapshotRequest {}).await?.into_inner();
    while let Some(v1::CreateSnapshotResponse { event }) = events.message().await? {
        if let Some(Event::Result(result)) = event {
            return Ok(result);
        }
    }
    anyhow::bail!("no result")
}

fn command(arguments: &[&str], code: i32) -> anyhow::Result<String> {
    let output = run(arguments)?;
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    ensure!(output.status.code() == Some(code), "{arguments:?}: {:?}: {said}", output.status);
    Ok(said)
}

fn utf8(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path that is no text")
}

/// Every file below a folder.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[tokio::test]
async fn a_restored_catalogue_answers_as_it_did() -> anyhow::Result<()> {
    let (folder, daemon) = small_catalog().await?;
    let before = see(&daemon).await?;
    let first = take(&daemon).await?;
    let named = first.snapshot.clone().context("a snapshot")?;
    assert_eq!((named.revision, named.audit_sequence), (before.revision, before.audit.0));
    assert_eq!(named.audit_digest, before.audit.1);
    let second = take(&daemon).await?;
    assert_eq!(second.new_chunks, 0, "nothing has changed");
    create(&mut daemon.catalog().await?, manifest("messaging/pager", "1.0.0", "Pages people.")).await?;
    assert_ne!(see(&daemon).await?, before);
    let in_use = command(&["snapshot", "restore", &first.file, "--force", "--data-dir", utf8(folder.path())?], 6)?;
    assert!(in_use.contains("in use"), "{in_use}");
    let said = command(&["snapshot", "create", "--server", daemon.address()], 0)?;
    assert!(said.contains("are new"), "{said}");
    let listed = command(&["snapshot", "list", "--json", "--server", daemon.address()], 0)?;
    let listed: serde_json::Value = serde_json::from_str(&listed)?;
    assert_eq!(listed["snapshots"].as_array().map(Vec::len), Some(3));
    command(&["snapshot", "verify", "--name", &named.name, "--server", daemon.address()], 0)?;
    command(&["snapshot", "verify", "--name", "9-000000000000", "--server", daemon.address()], 4)?;
    daemon.kill()?;

    let snapshots = folder.path().join("snapshots");
    let said = command(&["snapshot", "verify", utf8(&snapshots)?], 0)?;
    assert!(said.contains(&format!("{}:{}", before.audit.0, before.audit.1)), "{said}");
    let elsewhere = tempfile::tempdir()?;
    command(&["snapshot", "restore", &first.file, "--data-dir", utf8(elsewhere.path())?], 0)?;
    let restored = Daemon::serve(elsewhere.path(), &[])?;
    assert_eq!(see(&restored).await?, before);
    create(&mut restored.catalog().await?, manifest("messaging/fax", "1.0.0", "Sends faxes.")).await?;
    assert!(audit(&restored).await?.0 > before.audit.0, "the chain goes on");
    drop(restored);

    // Onto the store itself: only with --force, and what was there is kept.
    let live = utf8(folder.path())?;
    command(&["snapshot", "restore", &first.file, "--data-dir", live], 6)?;
    command(&["snapshot", "restore", &first.file, "--data-dir", live, "--force"], 0)?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    assert_eq!(see(&daemon).await?, before);
    drop(daemon);
    let kept = folder.path().join("catalog.redb.before-restore");
    std::fs::rename(kept, folder.path().join("catalog.redb"))?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    assert_eq!(see(&daemon).await?.revision, before.revision + 1, "the kept store is whole");
    drop(daemon);
    let pruned = command(&["snapshot", "prune", utf8(&snapshots)?, "--keep", "1", "--json"], 0)?;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&pruned)?["removed"].as_array().map(Vec::len), Some(2));
    command(&["snapshot", "verify", utf8(&snapshots)?], 0)?;
    Ok(())
}

#[tokio::test]
async fn a_snapshot_during_an_import_holds_one_revision() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    let mut catalog = daemon.catalog().await?;
    let items = (0..300).map(|n| v1::ImportComponentsRequest {
        manifest: manifest(&format!("bulk/part-{n}"), "1.0.0", &format!("Part number {n}.")).into_bytes(),
        ..Default::default()
    });
    let mut results = catalog.import_components(tokio_stream::iter(items)).await?.into_inner();
    let mut seen = 0;
    while seen < 40 {
        results.message().await?.context("more of the import")?;
        seen += 1;
    }
    let taken = take(&daemon).await?.snapshot.context("a snapshot")?;
    while results.message().await?.is_some() {
        seen += 1;
    }
    assert_eq!(seen, 300);
    let elsewhere = tempfile::tempdir()?;
    let file = folder.path().join("snapshots").join(format!("{}.snapshot.json", taken.name));
    command(&["snapshot", "restore", utf8(&file)?, "--data-dir", utf8(elsewhere.path())?], 0)?;
    let restored = Daemon::serve(elsewhere.path(), &[])?;
    let there = see(&restored).await?;
    assert_eq!(there.revision, taken.revision);
    assert_eq!(there.audit, (taken.audit_sequence, taken.audit_digest));
    // Each version has one record of the audit chain.
    assert_eq!(there.components.len() as u64, taken.audit_sequence);
    assert!(there.components.len() >= 40);
    let now = see(&daemon).await?;
    assert!(there.components.is_subset(&now.components));
    Ok(())
}

#[tokio::test]
async fn damage_is_named_and_the_live_store_stays_as_it_was() -> anyhow::Result<()> {
    let (folder, daemon) = small_catalog().await?;
    let file = take(&daemon).await?.file;
    drop(daemon);
    let store = folder.path().join("catalog.redb");
    let before = std::fs::read(&store)?;
    let snapshots = folder.path().join("snapshots");
    for path in files(&snapshots)?.into_iter().filter(|path| !path.ends_with("lock")) {
        let bytes = std::fs::read(&path)?;
        let mut flipped = bytes.clone();
        let at = bytes.len() / 2;
        flipped[at] ^= 1;
        for damaged in [flipped.as_slice(), &bytes[..at]] {
            std::fs::write(&path, damaged)?;
            let said = command(&["snapshot", "restore", &file, "--force", "--data-dir", utf8(folder.path())?], 7)?;
            assert!(said.contains(utf8(&path)?), "{said}");
            assert!(std::fs::read(&store)? == before, "{}", path.display());
        }
        std::fs::write(&path, bytes)?;
    }
    command(&["snapshot", "verify", &file], 0)?;
    Ok(())
}

#[tokio::test]
async fn no_path_comes_from_a_caller() -> anyhow::Result<()> {
    let (_folder, daemon) = small_catalog().await?;
    let mut client = SnapshotServiceClient::new(daemon.channel().await?);
    for name in ["", "../../etc/passwd", "1-0123456789ab/..", "1-0123456789AB"] {
        let request = v1::VerifySnapshotRequest { name: name.into() };
        assert_eq!(client.verify_snapshot(request).await.expect_err(name).code(), Code::InvalidArgument);
    }
    Ok(())
}

#[tokio::test]
async fn two_snapshots_at_the_same_time_are_two_or_one_and_a_plain_refusal() -> anyhow::Result<()> {
    let (folder, daemon) = small_catalog().await?;
    for _ in 0..5 {
        let (one, other) = tokio::join!(take(&daemon), take(&daemon));
        let mut taken = 0;
        for result in [one, other] {
            match result {
                Ok(_) => taken += 1,
                Err(error) => {
                    let status = error.downcast_ref::<tonic::Status>().context("a status")?;
                    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                    assert!(status.message().starts_with("a snapshot is running"), "{status}");
                }
            }
        }
        assert!(taken > 0, "one of two is taken");
    }
    command(&["snapshot", "verify", utf8(&folder.path().join("snapshots"))?], 0)?;
    // The place is free again.
    take(&daemon).await?;
    Ok(())
}

/// Starts a restore and kills it as soon as `reached` holds, or lets it end.
fn kill_restore(arguments: &[&str], reached: impl Fn() -> bool) -> anyhow::Result<bool> {
    let mut child = fitment_tests::fitment()?
        .args(["snapshot", "restore"])
        .args(arguments)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()?;
    while child.try_wait()?.is_none() && !reached() {
        std::thread::yield_now();
    }
    child.kill()?;
    Ok(child.wait()?.success())
}

#[tokio::test]
async fn a_restore_that_is_killed_leaves_the_old_catalogue_or_the_new_one() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    let items: Vec<_> = (0..200)
        .map(|n| v1::ImportComponentsRequest {
            manifest: manifest(&format!("bulk/part-{n}"), "1.0.0", &format!("Part number {n}.")).into_bytes(),
            ..Default::default()
        })
        .collect();
    let mut results = daemon.catalog().await?.import_components(tokio_stream::iter(items)).await?.into_inner();
    while results.message().await?.is_some() {}
    let file = take(&daemon).await?.file;
    let new = see(&daemon).await?;
    create(&mut daemon.catalog().await?, manifest("messaging/pager", "1.0.0", "Pages people.")).await?;
    let old = see(&daemon).await?;
    daemon.kill()?;
    let source = folder.path().join("catalog.redb");
    let data = tempfile::tempdir()?;
    let data = data.path();
    let live = data.join("catalog.redb");
    let begun = data.join("catalog.redb.restoring");
    let arguments = [file.as_str(), "--force", "--data-dir", utf8(data)?];
    let length = || std::fs::metadata(&begun).map_or(0, |file| file.len());
    let kept = data.join("catalog.redb.before-restore");
    let moments: [&dyn Fn() -> bool; 7] = [
        &|| begun.exists(),
        &|| length() >= 1 << 20,
        &|| length() >= 2 << 20,
        &|| length() >= 4 << 20,
        &|| kept.exists(),
        &|| kept.exists() && !data.join("index").exists(),
        &|| kept.exists() && !begun.exists(),
    ];
    for (number, moment) in moments.iter().enumerate() {
        // The old catalogue again, with its caches, and what the last restore left.
        std::fs::copy(&source, &live)?;
        for left in [&kept, &begun] {
            if left.exists() && number % 2 == 0 {
                std::fs::remove_file(left)?;
            }
        }
        std::fs::create_dir_all(data.join("index"))?;
        let done = kill_restore(&arguments, moment)?;
        let daemon = Daemon::serve(data, &[])?;
        let seen = see(&daemon).await?;
        assert!(seen == old || seen == new, "killed at {number}");
        assert!(!done || seen == new, "a restore that has ended is there, at {number}");
        daemon.kill()?;
        // The next one finishes.
        command(&[&["snapshot", "restore"], &arguments[..]].concat(), 0)?;
        let daemon = Daemon::serve(data, &[])?;
        assert_eq!(see(&daemon).await?, new, "after {number}");
        daemon.kill()?;
    }
    Ok(())
}
