//! Commands as people type them, run in a folder, and what tests of several chapters need signed.

use std::path::Path;

use anyhow::{Context, ensure};
use fitment_proto::v1;
use fitment_tests::{Daemon, fitment, text};
use serde_json::{Value, json};

/// Runs a command in a folder that must end with an exit code, and gives what it printed.
pub(crate) fn ends(folder: &Path, code: i32, arguments: &[&str]) -> anyhow::Result<String> {
    let output = fitment()?.current_dir(folder).args(arguments).output()?;
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    ensure!(output.status.code() == Some(code), "{arguments:?}: {:?}: {said}", output.status);
    Ok(said)
}

/// The same on a daemon.
pub(crate) fn on(daemon: &Daemon, folder: &Path, code: i32, arguments: &[&str]) -> anyhow::Result<String> {
    ends(folder, code, &[arguments, &["--server", daemon.address()]].concat())
}

/// The same with any exit code, its standard output read as JSON.
pub(crate) fn told(daemon: &Daemon, folder: &Path, arguments: &[&str]) -> anyhow::Result<Value> {
    let output =
        fitment()?.current_dir(folder).args(arguments).args(["--json", "--server", daemon.address()]).output()?;
    serde_json::from_slice(&output.stdout).with_context(|| format!("{arguments:?}: {}", text(&output.stderr)))
}

/// Makes a key pair, `NAME.pem` and `NAME.pub.pem`; returns the public one as a trust root lists it.
pub(crate) fn keygen(folder: &Path, name: &str) -> anyhow::Result<Value> {
    let (private, public) = (format!("{name}.pem"), format!("{name}.pub.pem"));
    let printed = ends(folder, 0, &["certify", "keygen", "--out", &private, "--public", &public, "--json"])?;
    let key: Value = serde_json::from_str(&printed)?;
    Ok(json!({ "id": name, "public_key": key["public_key"],
        "not_before": "2020-01-01T00:00:00Z", "not_after": "2100-01-01T00:00:00Z" }))
}

/// Certifies `NAME.yaml` for a year, signed by `alice`, into `NAME.dsse.json`.
pub(crate) fn certify(folder: &Path, name: &str, more: &[&str]) -> anyhow::Result<()> {
    let (yaml, out) = (format!("{name}.yaml"), format!("{name}.dsse.json"));
    let sign = ["certify", "sign", &yaml, "--key", "alice.pem", "--standard", "pci-dss-4.0=6.4.3"];
    let rest = ["--valid-days", "365", "--out", &out];
    ends(folder, 0, &[&sign[..], &rest[..], more].concat()).map(drop)
}

/// Revokes the first certificate of a component, signed by `alice`; returns what is said.
pub(crate) fn revoke_certificate(daemon: &Daemon, folder: &Path, component: &str) -> anyhow::Result<String> {
    let listed = told(daemon, folder, &["certify", "list", component])?;
    let certificate = listed["certificates"][0]["digest"].as_str().context("a certificate")?.to_owned();
    let revocation = json!({ "target": { "certificate": certificate }, "justification": "the assessor erred" });
    std::fs::write(folder.join("revocation.json"), revocation.to_string())?;
    let sign = ["certify", "sign", "--predicate", "revocation.json", "--predicate-type", "revocation", "--subject"];
    let rest = [certificate.as_str(), "--key", "alice.pem", "--out", "revocation.dsse.json"];
    ends(folder, 0, &[&sign[..], &rest[..]].concat())?;
    on(daemon, folder, 0, &["certify", "revoke", "revocation.dsse.json"])
}

/// The catalogue's revision.
pub(crate) async fn revision(daemon: &Daemon) -> anyhow::Result<u64> {
    let info = daemon.info().await?.get_server_info(v1::GetServerInfoRequest {}).await?.into_inner();
    Ok(info.catalog.context("a catalogue")?.revision)
}
