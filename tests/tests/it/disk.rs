//! A full disk, a disk that turned read-only, an index that cannot be written, and bits that flip, under the real daemon.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use fitment_proto::v1;
use fitment_tests::{Daemon, binary, fitment, manifest, text};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::matching::{create, intent};

fn part(number: u64) -> String {
    manifest(&format!("disk/part-{number}"), "1.0.0", &format!("Part number {number} of the machine."))
}

async fn try_create(daemon: &Daemon, number: u64) -> anyhow::Result<Result<v1::Component, Status>> {
    let request = v1::CreateComponentRequest { manifest: part(number).into_bytes(), ..Default::default() };
    Ok(daemon.catalog().await?.create_component(request).await.map(tonic::Response::into_inner))
}

/// Tries until it works: the daemon leaves a disk that failed alone for a moment.
async fn create_again(daemon: &Daemon, number: u64) -> anyhow::Result<v1::Component> {
    let began = Instant::now();
    loop {
        match try_create(daemon, number).await? {
            Ok(component) => return Ok(component),
            Err(status) => ensure!(began.elapsed() < Duration::from_secs(60), "it never works again: {status}"),
        }
    }
}

/// The reason of an error that must have this code.
fn reason(status: &Status, code: Code) -> String {
    assert_eq!(status.code(), code, "{status}");
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// Names that a match finds, and whether by their words too.
async fn found(daemon: &Daemon) -> anyhow::Result<Vec<(String, bool)>> {
    let answer =
        daemon.matcher().await?.r#match(v1::MatchRequest { top_k: 50, ..intent("part of the machine") }).await?;
    let candidates = answer.into_inner().candidates.into_iter();
    let mut names: Vec<(String, bool)> =
        candidates.map(|candidate| (candidate.name, candidate.lexical_score > 0.0)).collect();
    names.sort_unstable();
    Ok(names)
}

fn parts(numbers: impl IntoIterator<Item = u64>) -> Vec<(String, bool)> {
    let mut names: Vec<(String, bool)> =
        numbers.into_iter().map(|number| (format!("disk/part-{number}"), true)).collect();
    names.sort_unstable();
    names
}

/// Changes that a watch from the beginning tells of.
async fn logged(daemon: &Daemon) -> anyhow::Result<usize> {
    let from_the_start = v1::WatchCatalogRequest { after: Some(v1::LogPlace::default()), until_now: true };
    let mut changes = daemon.catalog().await?.watch_catalog(from_the_start).await?.into_inner();
    let mut count = 0;
    while changes.message().await?.is_some() {
        count += 1;
    }
    Ok(count)
}

fn files_below(folder: &Path) -> anyhow::Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        count += if entry.file_type()?.is_dir() { files_below(&entry.path())? } else { 1 };
    }
    Ok(count)
}

/// Limits how far into a file the daemon may write; `None`: no limit. What it is told then is what a full disk says.
fn limit_files(daemon: &Daemon, bytes: Option<u64>) -> anyhow::Result<()> {
    let id = i32::try_from(daemon.id()).ok().and_then(Pid::from_raw).context("a process")?;
    prlimit(Some(id), Resource::Fsize, Rlimit { current: bytes, maximum: None })?;
    Ok(())
}

#[tokio::test]
async fn on_a_full_disk_writes_are_refused_and_answers_go_on_until_there_is_room() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    for number in 0..3 {
        create(&mut daemon.catalog().await?, part(number)).await?;
    }
    for round in 0..3 {
        let there = 3 + round;
        // Nothing may be written at all, or only the beginning of files: a part of a write is done.
        limit_files(&daemon, Some([0, 5000, 100_000][usize::try_from(round)?]))?;
        let mut files = Vec::new();
        for _ in 0..4 {
            let status = try_create(&daemon, there).await?.expect_err("there is no room");
            assert_eq!(reason(&status, Code::ResourceExhausted), "STORE_FULL", "{status}");
            assert!(status.message().contains("catalog.redb") && status.message().contains("make room"), "{status}");
            let delete = v1::DeleteComponentRequest {
                name: "disk/part-0".into(),
                version: "1.0.0".into(),
                ..Default::default()
            };
            let status = daemon.catalog().await?.delete_component(delete).await.expect_err("there is no room");
            assert_eq!(reason(&status, Code::ResourceExhausted), "STORE_FULL", "{status}");
            assert_eq!(found(&daemon).await?, parts(0..there), "what was there is found, what was refused is not");
            let get = v1::GetComponentRequest { name: "disk/part-1".into(), ..Default::default() };
            assert_eq!(daemon.catalog().await?.get_component(get).await?.into_inner().version, "1.0.0");
            files.push(files_below(folder.path())?);
        }
        // A merge of the lexical index's own may end in between; nothing is left of what was refused.
        assert!(files[3] <= files[0], "nothing piles up: {files:?}");
        limit_files(&daemon, None)?;
        create_again(&daemon, there).await?;
        assert_eq!(found(&daemon).await?, parts(0..=there));
    }
    daemon.kill()?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    assert_eq!(found(&daemon).await?, parts(0..6));
    Ok(())
}

#[tokio::test]
async fn an_index_that_cannot_be_written_catches_up_later() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    for number in 0..3 {
        create(&mut daemon.catalog().await?, part(number)).await?;
    }
    let (lexical, away) = (folder.path().join("index/lexical"), folder.path().join("index/away"));
    std::fs::rename(&lexical, &away)?;
    std::fs::write(&lexical, b"no folder")?;
    for number in [3, 4] {
        let status = try_create(&daemon, number).await?.expect_err("it cannot be indexed");
        assert_eq!(reason(&status, Code::Unavailable), "INDEX_BEHIND", "{status}");
        assert!(status.message().contains("index/lexical"), "{status}");
        assert_eq!(found(&daemon).await?, parts(0..3));
        assert_eq!(logged(&daemon).await?, 3, "a watch tells what can be found, and ends as it should");
    }
    std::fs::remove_file(&lexical)?;
    std::fs::rename(&away, &lexical)?;
    // The third was stored; the fourth was refused before anything was stored of it.
    let again = create_again(&daemon, 4).await?;
    assert_eq!(again.revision, 5);
    assert_eq!(found(&daemon).await?, parts(0..5));
    assert_eq!(logged(&daemon).await?, 5);
    daemon.kill()?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    assert_eq!(found(&daemon).await?, parts(0..5));
    Ok(())
}

#[tokio::test]
async fn a_read_only_disk_is_named_at_the_start() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    create(&mut daemon.catalog().await?, part(0)).await?;
    daemon.terminate()?;
    daemon.wait().await?;
    let possible = Command::new("unshare").args(["--user", "--map-root-user", "--mount", "true"]).status();
    let possible = possible.is_ok_and(|status| status.success());
    let mut command = if possible {
        // A file system of its own kind for this process only: permissions say nothing to the superuser.
        let mounted = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && shift && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", mounted, "sh"]).arg(folder.path());
        command.arg(binary()?);
        command
    } else {
        set_mode(folder.path(), 0o555)?;
        ensure!(
            std::fs::write(folder.path().join("probe"), "").is_err(),
            "no disk can be made read-only here: run the tests as another user than root, or allow user name spaces"
        );
        Command::new(binary()?)
    };
    let serve = command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path());
    let output = serve.env_remove("FITMENT_BIN").process_group(0).output()?;
    if !possible {
        set_mode(folder.path(), 0o755)?;
    }
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{message}");
    assert!(message.contains("catalog.redb cannot be written") && message.contains("mount"), "{message}");
    let daemon = Daemon::serve(folder.path(), &[])?;
    assert_eq!(found(&daemon).await?, parts(0..1));
    Ok(())
}

#[tokio::test]
async fn a_store_with_a_flipped_bit_is_refused_or_answers_rightly() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    for number in 0..3 {
        create(&mut daemon.catalog().await?, part(number)).await?;
    }
    daemon.terminate()?;
    daemon.wait().await?;
    let store = folder.path().join("catalog.redb");
    let whole = std::fs::read(&store)?;
    // In the header, and in what is no page of zeros.
    let used: Vec<usize> =
        whole.chunks(4096).enumerate().filter(|(_, page)| page.iter().any(|&byte| byte != 0)).map(|(n, _)| n).collect();
    let places = used.iter().map(|page| page * 4096 + 40).step_by(used.len().div_ceil(8)).chain([9, 70]);
    let mut refused = 0;
    for place in places {
        let mut damaged = whole.clone();
        damaged[place] ^= 1 << (place % 8);
        std::fs::write(&store, &damaged)?;
        if let Ok(daemon) = Daemon::serve(folder.path(), &[]) {
            assert_eq!(found(&daemon).await?, parts(0..3), "byte {place}");
            continue;
        }
        let mut command = fitment()?;
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path());
        let output = command.output()?;
        assert_eq!(output.status.code(), Some(7), "byte {place}: {}", text(&output.stderr));
        refused += 1;
    }
    assert!(refused > 0);
    std::fs::write(&store, &whole)?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    assert_eq!(found(&daemon).await?, parts(0..3));
    Ok(())
}

/// Sets the permissions of everything in a folder.
fn set_mode(folder: &Path, mode: u32) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        std::fs::set_permissions(entry?.path(), std::fs::Permissions::from_mode(mode))?;
    }
    Ok(std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode))?)
}
