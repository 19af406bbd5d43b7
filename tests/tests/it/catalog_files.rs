//! The whole catalogue as files: out of one daemon, into another, and out again byte for byte.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::ensure;
use fitment_proto::v1;
use fitment_tests::{Daemon, fitment, manifest, text, workspace};
use serde_json::{Value, json};

use crate::commands::{certify, ends, keygen, on, revoke_certificate, told};
use crate::matching::intent;

/// Every file below a folder but hidden ones, by its path.
fn tree(folder: &Path) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let (mut files, mut folders) = (BTreeMap::new(), vec![folder.to_path_buf()]);
    while let Some(inside) = folders.pop() {
        for entry in std::fs::read_dir(&inside)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(folder)?.display().to_string(), std::fs::read(&path)?);
            }
        }
    }
    Ok(files)
}

fn sample() -> PathBuf {
    workspace().join("daemon/catalog/sample/components")
}

/// A trust root that allows `alice` to certify and to revoke.
fn root(folder: &Path, version: u64, keys: &[&Value]) -> anyhow::Result<()> {
    let ids: Vec<&Value> = keys.iter().map(|key| &key["id"]).collect();
    let root = json!({
        "version": version,
        "keys": keys,
        "roles": [{ "id": "assessors", "keys": ids, "components": ["*"], "standards": ["pci-*"], "may_revoke": true }],
        "policies": [{ "id": "payments", "components": ["payments/*"],
            "require": [{ "standard": "pci-dss-4.0", "requirements": ["6.4.3"] }] }],
    });
    Ok(std::fs::write(folder.join(format!("root-{version}.json")), root.to_string())?)
}

async fn names_of(daemon: &Daemon, asked: &str) -> anyhow::Result<Vec<String>> {
    let answer = daemon.matcher().await?.r#match(intent(asked)).await?.into_inner();
    Ok(answer.candidates.into_iter().map(|found| format!("{}@{}", found.name, found.version)).collect())
}

/// The sample catalogue with everything that no manifest says: moves, deletions, two trust roots, certificates, evidence,
/// revocations, and versions whose names differ in letter case alone.
fn first(folder: &Path) -> anyhow::Result<Daemon> {
    let daemon = Daemon::serve(&folder.join("first"), &[])?;
    on(&daemon, folder, 0, &["catalog", "import", &sample().display().to_string()])?;
    for (file, name, version, lifecycle) in [
        ("card", "payments/card", "1.0.0", "certified"),
        ("old", "payments/card", "0.9.0", "certified"),
        ("big", "ui/odd", "1.0.0-RC1", "candidate"),
        ("small", "ui/odd", "1.0.0-rc1+build.7", "candidate"),
        ("twin", "ui/odd", "1.0.0-rc1", "candidate"),
        ("gone", "ui/gone", "1.0.0", "certified"),
    ] {
        let words = format!("Takes a card payment: {name} \"{version}\", with 'quotes' and: colons # no comment.");
        let written = manifest(name, version, &format!("{words:?}"))
            .replace("lifecycle: certified", &format!("lifecycle: {lifecycle}"));
        std::fs::write(folder.join(format!("{file}.yaml")), format!("# a comment that no catalogue keeps\n{written}"))?;
        on(&daemon, folder, 0, &["catalog", "import", &format!("{file}.yaml")])?;
    }
    let say = |actor, reason| ["--actor", actor, "--reason", reason];
    let life = |arguments: &[&str], said: [&str; 4]| on(&daemon, folder, 0, &[&["catalog"], arguments, &said].concat());
    life(&["move", "ui/odd@1.0.0-RC1", "certified"], say("ann", "reviewed\nin \"March\""))?;
    life(&["move", "ui/odd@1.0.0-RC1", "deprecated"], say("bob", ""))?;
    life(&["move", "ui/gone@1.0.0", "revoked"], say("ann", "it leaked"))?;
    life(&["delete", "ui/gone@1.0.0"], say("cy", "nobody uses it"))?;
    let (alice, carol) = (keygen(folder, "alice")?, keygen(folder, "carol")?);
    root(folder, 1, &[&alice])?;
    root(folder, 3, &[&carol, &alice])?;
    on(&daemon, folder, 0, &["trust", "install", "root-1.json"])?;
    std::fs::write(folder.join("scan.sarif"), "{}")?;
    certify(folder, "card", &["--evidence", "sarif:scan.sarif"])?;
    on(&daemon, folder, 0, &["certify", "add", "card.dsse.json", "--evidence", "scan.sarif"])?;
    certify(folder, "old", &[])?;
    on(&daemon, folder, 0, &["certify", "add", "old.dsse.json"])?;
    revoke_certificate(&daemon, folder, "payments/card@0.9.0")?;
    on(&daemon, folder, 0, &["trust", "install", "root-3.json"])?;
    Ok(daemon)
}

#[tokio::test]
async fn what_is_exported_imported_and_exported_again_is_the_same_to_the_byte() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let daemon = first(folder)?;
    on(&daemon, folder, 0, &["catalog", "export", "one"])?;
    let one = tree(&folder.join("one"))?;
    let with = |ending: &str| one.keys().filter(|path| path.ends_with(ending)).count();
    let is_manifest = |path: &&String| Path::new(path).extension().is_some_and(|ending| ending == "yaml");
    let in_sample = tree(&sample())?.keys().filter(is_manifest).count();
    ensure!(in_sample > 100 && with(".yaml") == in_sample + 6, "{in_sample}: {:?}", one.keys());
    assert_eq!((with(".standing.json"), with(".dsse.json")), (2, 2));
    let kinds = |kind: &str| one.keys().filter(|path| path.starts_with(&format!("_catalog/{kind}/"))).count();
    assert_eq!((kinds("trust-roots"), kinds("revocations"), kinds("evidence")), (2, 1, 1));
    let lower: std::collections::BTreeSet<String> = one.keys().map(|path| path.to_lowercase()).collect();
    assert_eq!(lower.len(), one.len(), "no two files differ in letter case alone");
    let sums = std::process::Command::new("sha256sum")
        .args(["--check", "--quiet", "_catalog/SHA256SUMS"])
        .current_dir(folder.join("one"))
        .output()?;
    assert!(sums.status.success(), "{}", text(&sums.stdout));

    let second = Daemon::serve(&folder.join("second"), &[])?;
    let would = told(&second, folder, &["catalog", "import", "one", "--dry-run"])?;
    assert_eq!((&would["created"], &would["dry_run"]), (&json!(with(".yaml")), &json!(true)), "{would}");
    ends(folder, 4, &["catalog", "get", "payments/card", "--server", second.address()])?;
    let import = ["catalog", "import", "one", "--actor", "dan", "--reason", "moved house"];
    let done = told(&second, folder, &import)?;
    assert_eq!((&done["created"], &done["failed"]), (&json!(with(".yaml")), &json!([])), "{done}");
    assert_eq!(done["records"], json!({"created": 5, "unchanged": 0, "kept": 0, "failed": 0}), "{done}");
    on(&second, folder, 0, &["catalog", "export", "two"])?;
    let two = tree(&folder.join("two"))?;
    assert_eq!(one.keys().collect::<Vec<_>>(), two.keys().collect::<Vec<_>>());
    for (path, bytes) in &one {
        assert_eq!(text(bytes), text(&two[path]), "{path}");
    }
    on(&second, folder, 0, &["catalog", "diff", "one"])?;

    // Both answer the same, now and after a restart.
    for asked in ["take a card payment", "bar chart of revenue per region"] {
        assert_eq!(names_of(&daemon, asked).await?, names_of(&second, asked).await?);
    }
    assert!(names_of(&second, "take a card payment").await?.contains(&"payments/card@1.0.0".to_owned()));
    ensure!(names_of(&second, "take a card payment").await?.iter().all(|name| !name.starts_with("ui/gone")));

    // Again: nothing is written.
    let trail = on(&second, folder, 0, &["audit", "export"])?;
    let again = told(&second, folder, &import)?;
    assert_eq!((&again["created"], &again["unchanged"], &again["updated"]), (&json!(0), &done["created"], &json!(0)));
    assert_eq!(again["records"]["unchanged"].as_u64().zip(again["records"]["kept"].as_u64()), Some((4, 1)), "{again}");
    assert_eq!(on(&second, folder, 0, &["audit", "export"])?, trail);
    assert!(trail.contains("component.import_standing") && trail.contains("moved house"), "{trail}");

    // Who moved it, when and why is what was recorded there, and who says so is recorded here.
    let there = told(&daemon, folder, &["catalog", "history", "ui/odd@1.0.0-RC1"])?;
    let here = told(&second, folder, &["catalog", "history", "ui/odd@1.0.0-RC1"])?;
    for at in 0..2 {
        for field in ["from", "to", "time", "actor", "reason"] {
            assert_eq!(there["history"][at][field], here["history"][at][field], "{field}");
        }
        assert_eq!(here["history"][at]["imported"]["actor"], "dan");
        assert!(there["history"][at]["imported"].is_null());
    }
    let deleted = told(&second, folder, &["catalog", "history", "ui/gone@1.0.0"])?;
    assert_eq!((&deleted["deletedBy"], &deleted["deleteImported"]["reason"]), (&json!("cy"), &json!("moved house")));
    second.kill()?;
    let second = Daemon::serve(&folder.join("second"), &[])?;
    on(&second, folder, 0, &["catalog", "undelete", "ui/gone@1.0.0"])?;
    assert_eq!(names_of(&daemon, "take a card payment").await?, names_of(&second, "take a card payment").await?);
    Ok(())
}

#[tokio::test]
async fn standings_are_taken_on_kept_or_refused() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let (one, two) = (Daemon::serve(&folder.join("1"), &[])?, Daemon::serve(&folder.join("2"), &[])?);
    for (name, title) in [("a/moves", "Sends mail"), ("b/ends", "Draws maps"), ("c/back", "Counts sheep")] {
        let file = format!("{}.yaml", name.replace('/', "-"));
        std::fs::write(folder.join(&file), manifest(name, "1.0.0", title))?;
        for daemon in [&one, &two] {
            on(daemon, folder, 0, &["catalog", "import", &file])?;
        }
    }
    on(&one, folder, 0, &["catalog", "move", "a/moves@1.0.0", "deprecated", "--actor", "ann"])?;
    on(&one, folder, 0, &["catalog", "delete", "b/ends@1.0.0", "--actor", "ann"])?;
    on(&two, folder, 0, &["catalog", "move", "c/back@1.0.0", "revoked"])?;
    on(&one, folder, 0, &["catalog", "export", "out"])?;
    assert!(on(&two, folder, 1, &["catalog", "diff", "out"])?.contains("~ a/moves@1.0.0"));
    let said = on(&two, folder, 0, &["catalog", "import", "out"])?;
    assert!(said.contains("0 created, 1 unchanged, 2 updated"), "{said}");
    assert!(names_of(&two, "draw a map").await?.iter().all(|name| !name.starts_with("b/ends")));
    on(&two, folder, 0, &["catalog", "move", "a/moves@1.0.0", "revoked"])?;
    let kept = told(&two, folder, &["catalog", "import", "out"])?;
    assert_eq!((&kept["kept"], &kept["updated"]), (&json!(1), &json!(0)), "{kept}");

    // Two ways that a version went: neither wins.
    on(&one, folder, 0, &["catalog", "move", "a/moves@1.0.0", "certified"])?;
    on(&one, folder, 0, &["catalog", "export", "out", "--update"])?;
    let refused = told(&two, folder, &["catalog", "import", "out"])?;
    assert_eq!(refused["failed"][0]["status"]["reason"], "STANDING_DIFFERS", "{refused}");

    // A standing that is of another manifest, or tells of a step that no life has; never half a version.
    let standing = folder.join("out/a/moves@1.0.0.standing.json");
    let honest = std::fs::read_to_string(&standing)?;
    for (from, to) in [("\"certified\"", "\"draft\""), ("a/moves@1.0.0", "a/moves@1.0.1"), ("\"history\"", "\"story\"")]
    {
        std::fs::write(&standing, honest.replace(from, to))?;
        let third = Daemon::serve(&folder.join(format!("3{}", from.len())), &[])?;
        let done = told(&third, folder, &["catalog", "import", "out"])?;
        assert_eq!((&done["created"], done["failed"].as_array().map(Vec::len)), (&json!(2), Some(1)), "{done}");
        ends(folder, 4, &["catalog", "get", "a/moves@1.0.0", "--server", third.address()])?;
    }
    Ok(())
}

#[tokio::test]
async fn an_export_is_brought_up_to_date_and_others_files_stay() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let daemon = Daemon::serve(&folder.join("data"), &[])?;
    std::fs::write(folder.join("a.yaml"), manifest("a/one", "1.0.0", "Sends mail."))?;
    on(&daemon, folder, 0, &["catalog", "import", "a.yaml"])?;
    let out = folder.join("out");
    std::fs::create_dir_all(out.join(".git"))?;
    std::fs::write(out.join(".git/HEAD"), "ref")?;
    std::fs::write(out.join("README.md"), "ours")?;
    on(&daemon, folder, 1, &["catalog", "export", "out"])?;
    let export =
        |code, more: &[&str]| on(&daemon, folder, code, &[&["catalog", "export", "out", "--update"], more].concat());
    let said = export(0, &[])?;
    assert!(said.contains("2 files written") || said.contains("1 files written"), "{said}");
    assert!(said.contains("left alone: .git, README.md"), "{said}");
    on(&daemon, folder, 0, &["catalog", "delete", "a/one@1.0.0"])?;
    export(0, &[])?;
    assert!(out.join("a/one@1.0.0.standing.json").is_file());
    on(&daemon, folder, 0, &["catalog", "undelete", "a/one@1.0.0"])?;
    assert!(export(0, &[])?.contains("1 removed"));
    assert!(!out.join("a/one@1.0.0.standing.json").exists());

    // Edited by hand: named, and nothing is changed unless it is said.
    let file = out.join("a/one@1.0.0.yaml");
    let written = std::fs::read(&file)?;
    std::fs::write(&file, "mine")?;
    assert!(export(3, &[])?.contains("a/one@1.0.0.yaml"));
    assert_eq!(std::fs::read(&file)?, b"mine");
    export(0, &["--force"])?;
    assert_eq!(std::fs::read(&file)?, written);
    // What somebody added is not the export's to remove.
    std::fs::write(out.join("a/two@1.0.0.yaml"), manifest("a/two", "1.0.0", "Draws maps."))?;
    assert!(export(0, &[])?.contains("a/two@1.0.0.yaml"));
    assert!(out.join("a/two@1.0.0.yaml").is_file());
    assert_eq!(std::fs::read(out.join(".git/HEAD"))?, b"ref");
    Ok(())
}

#[tokio::test]
async fn a_killed_export_leaves_no_half_file_and_the_next_one_finishes() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let daemon = Daemon::serve(&folder.join("data"), &[])?;
    let items = (0..300).map(|n| v1::ImportComponentsRequest {
        manifest: manifest(&format!("bulk/part-{n}"), "1.0.0", &format!("Part number {n}.")).into_bytes(),
        allow_near_duplicate: true,
        ..Default::default()
    });
    let items: Vec<_> = items.collect();
    let mut results = daemon.catalog().await?.import_components(tokio_stream::iter(items)).await?.into_inner();
    while results.message().await?.is_some() {}
    on(&daemon, folder, 0, &["catalog", "export", "whole"])?;
    let whole = tree(&folder.join("whole"))?;
    let export = ["catalog", "export", "out", "--update", "--server", daemon.address()];
    let mut cut_short = 0;
    // Killed further on each time: while files are made, and while they are put in their places.
    for (inside, count) in [(".fitment-export", 1), (".fitment-export", 100), ("bulk", 1), ("bulk", 50), ("bulk", 200)]
    {
        let mut child = fitment()?.current_dir(folder).args(export).stdout(std::process::Stdio::null()).spawn()?;
        let place = folder.join("out").join(inside);
        while child.try_wait()?.is_none() && tree(&place).map_or(0, |files| files.len()) < count {
            std::thread::yield_now();
        }
        child.kill()?;
        cut_short += u32::from(!child.wait()?.success());
        if folder.join("out").is_dir() {
            for (path, bytes) in tree(&folder.join("out"))? {
                assert_eq!(whole.get(&path), Some(&bytes), "{path}, killed at {count} in {inside}");
            }
        }
    }
    assert!(cut_short > 0);
    ends(folder, 0, &export)?;
    assert_eq!(tree(&folder.join("out"))?, whole);
    assert!(!folder.join("out/.fitment-export").exists());
    Ok(())
}
