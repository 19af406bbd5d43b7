//! `fitment doctor` and `fitment support-dump`: what they find, and what they keep to themselves.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::Context;
use fitment_tests::{Daemon, MODEL, fitment, manifest, pull_model, text};
use serde_json::Value;

use crate::matching::{create, intent};

/// Runs the doctor: its exit code, and what it found by the name of the check.
fn examine(arguments: &[&str], more: impl FnOnce(&mut Command)) -> anyhow::Result<(i32, BTreeMap<String, Value>)> {
    let mut command = fitment()?;
    command.args(["doctor", "--json"]).args(arguments);
    more(&mut command);
    let output = command.output()?;
    let found: Value = serde_json::from_slice(&output.stdout).with_context(|| text(&output.stderr))?;
    let checks = found["checks"].as_array().context("checks")?.iter();
    let named = checks.map(|check| (check["name"].as_str().unwrap_or_default().to_owned(), check.clone()));
    Ok((output.status.code().unwrap_or(-1), named.collect()))
}

#[tokio::test]
async fn a_sound_installation_passes_with_a_daemon_and_without() -> anyhow::Result<()> {
    pull_model()?;
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let path = data.to_str().context("a path")?;
    let nobody = ["--data-dir", path, "--server", "127.0.0.1:1"];
    let free = |command: &mut Command| {
        command.env("FITMENT_LISTEN", "127.0.0.1:0");
    };
    let (code, checks) = examine(&nobody, free)?;
    assert_eq!(code, 0, "{checks:#?}");
    assert_eq!(checks["encoder"]["state"], "ok", "{checks:#?}");
    assert_eq!(checks["daemon"]["state"], "warning");

    let daemon = Daemon::serve(&data, &[])?;
    create(&mut daemon.catalog().await?, manifest("payments/cards", "1.0.0", "Takes card payments")).await?;
    let (code, checks) = examine(&["--data-dir", path, "--server", daemon.address()], free)?;
    assert_eq!(code, 0, "{checks:#?}");
    assert_eq!(checks["store"]["found"], "a daemon has it open");
    assert!(checks["daemon"]["found"].as_str().is_some_and(|found| found.contains("1 versions")), "{checks:#?}");
    Ok(())
}

#[test]
fn what_would_not_serve_is_named_with_its_way_out() -> anyhow::Result<()> {
    pull_model()?;
    let folder = tempfile::tempdir()?;
    let (data, models) = (folder.path().join("data"), folder.path().join("models"));
    std::fs::create_dir_all(&data)?;
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o777))?;
    std::fs::write(data.join("catalog.redb"), "no store at all")?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let arguments =
        ["--data-dir", data.to_str().context("a path")?, "--models-dir", models.to_str().context("a path")?];
    let (code, checks) = examine(&[&arguments[..], &["--server", "127.0.0.1:1"]].concat(), |command| {
        command.env("FITMENT_LISTEN", &address);
    })?;
    assert_eq!(code, 8, "{checks:#?}");
    for (name, state, way_out) in [
        ("data folder", "warning", "chmod go-w"),
        ("store", "failure", "snapshot restore"),
        ("model", "failure", "fitment model pull"),
        ("address", "failure", "listen"),
    ] {
        assert_eq!(checks[name]["state"], state, "{checks:#?}");
        assert!(checks[name]["way_out"].as_str().is_some_and(|text| text.contains(way_out)), "{:#?}", checks[name]);
    }
    let (code, checks) = examine(&["--server", "127.0.0.1:1"], |command| {
        command.env("FITMENT_QUEUE_CAPACITY", "0");
    })?;
    assert_eq!(code, 8);
    assert!(checks["configuration"]["found"].as_str().is_some_and(|found| found.contains("queue_capacity")));
    Ok(())
}

/// Secrets and intents that are all around leave no trace in the file.
#[tokio::test]
async fn a_support_dump_holds_no_secret() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (data, config) = (folder.path().join("data"), folder.path().join("fitment.toml"));
    std::fs::write(&config, "[metrics]\nlisten = \"127.0.0.1:0\"\n")?;
    let config = config.to_str().context("a path")?;
    let daemon = Daemon::serve(&data, &["--config", config])?;
    create(&mut daemon.catalog().await?, manifest("secretive/planetarium", "1.0.0", "Shows xylophonic constellations"))
        .await?;
    daemon.matcher().await?.r#match(intent("xylophonic constellations above the bazaar")).await?;
    let out = folder.path().join("support.tar");
    let write = || -> anyhow::Result<std::process::Output> {
        let mut command = fitment()?;
        command.args(["support-dump", "--config", config, "--server", daemon.address()]);
        command.arg("--data-dir").arg(&data).arg("--out").arg(&out);
        command.env("FITMENT_API_KEY", "fitment_hunter2hunter2").env("FITMENT_ACTOR", "hunter2");
        Ok(command.output()?)
    };
    let output = write()?;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let bytes = std::fs::read(&out)?;
    let dump = text(&bytes);
    for secret in ["hunter2", "xylophonic", "planetarium", "bazaar"] {
        assert!(!dump.contains(secret), "{secret} is in the dump");
    }
    for there in ["FITMENT_API_KEY", MODEL, "catalog.redb", "\"found\"", "queue_capacity", "matchable"] {
        assert!(dump.contains(there), "{there} is not in the dump");
    }
    let again = write()?;
    assert!(!again.status.success(), "a file that is there is not replaced");
    assert_eq!(std::fs::read(&out)?, bytes);
    Ok(())
}
