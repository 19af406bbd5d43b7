//! `serve` opens no outbound socket: it starts and answers in a network namespace without a route.

use std::process::Command;

use fitment_tests::{binary, pull_model, text, workspace};

#[test]
fn serving_needs_no_network_and_opens_no_outbound_socket() -> anyhow::Result<()> {
    pull_model()?;
    let folder = tempfile::tempdir()?;
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "python3"])
        .arg(workspace().join("tests/clients/without_route.py"))
        .arg(binary()?)
        .arg(folder.path())
        .output()?;
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).contains("no outbound socket"), "{}", text(&output.stdout));
    Ok(())
}
