//! A client that nobody here wrote: Python's grpcio, which learns the protocol from reflection.

use std::path::PathBuf;
use std::process::Command;

use anyhow::ensure;
use fitment_tests::{text, workspace};

use crate::matching::small_catalog;

/// What the client needs, at fixed versions.
const PACKAGES: [&str; 3] = ["grpcio==1.80.0", "grpcio-reflection==1.80.0", "googleapis-common-protos==1.76.0"];

/// Installs packages at fixed versions once into a folder of their own under the target folder.
pub(crate) fn install(packages: &[&str]) -> anyhow::Result<PathBuf> {
    let folder = workspace().join("target/python-client").join(packages.join("_").replace("==", "-"));
    if !folder.join("complete").exists() {
        let output = Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--upgrade", "--target"])
            .arg(&folder)
            .args(packages)
            .output()?;
        ensure!(output.status.success(), "pip install failed: {}", text(&output.stderr));
        std::fs::write(folder.join("complete"), "")?;
    }
    Ok(folder)
}

#[tokio::test]
async fn grpcio_matches_through_reflection() -> anyhow::Result<()> {
    let packages = tokio::task::spawn_blocking(|| install(&PACKAGES)).await??;
    let (_folder, daemon) = small_catalog().await?;
    let mut command = Command::new("python3");
    command.arg(workspace().join("tests/clients/reflection.py")).arg(daemon.address()).env("PYTHONPATH", packages);
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    ensure!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    ensure!(text(&output.stdout).contains("all calls answered"), "{}", text(&output.stdout));
    Ok(())
}
