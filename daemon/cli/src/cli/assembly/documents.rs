//! Documents: checked, locked, reported on, upgraded.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use fitment_engine::REPORT_FILES;
use fitment_proto::v1;
use fitment_trust::Envelope;

use super::tree::tree_files;
use super::{Named, absent, show_check, verdict};
use crate::cli::common::Common;
use crate::cli::laboratory::{write_bytes, write_file};
use crate::cli::trust::read_private_key;
use crate::output;

/// Name of the signed statement of a report.
pub(super) const ENVELOPE_FILE: &str = "report.dsse.json";
/// Name of the statement of a report that nobody signed.
const STATEMENT_FILE: &str = "report.intoto.json";

#[derive(Debug, clap::Args)]
pub(super) struct CheckArguments {
    /// A file, or an assembly that is kept.
    assembly: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(super) struct LockArguments {
    /// A file, or an assembly that is kept.
    #[arg(default_value = "assembly.yaml")]
    assembly: String,
    /// The folder that holds the application: raw code takes its digest and lines from there.
    #[arg(long, value_name = "DIR")]
    tree: Option<PathBuf>,
    /// Where the lock goes; `-` prints it.
    #[arg(long, value_name = "FILE", default_value = "assembly.lock.yaml")]
    out: PathBuf,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(super) struct ReportArguments {
    /// A file, or an assembly that is kept.
    assembly: String,
    /// Folder for the report; made where it is not there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The folder that holds the application: raw code takes its digest and lines from there.
    #[arg(long, value_name = "DIR")]
    tree: Option<PathBuf>,
    /// Sign the report with this Ed25519 key (PEM, PKCS 8).
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The instant to judge at, such as 2026-11-23T12:00:00Z: the same assembly, catalogue and instant give the same bytes.
    #[arg(long, value_name = "TIME")]
    at: Option<jiff::Timestamp>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(super) struct UpgradeArguments {
    /// A file, or an assembly that is kept.
    #[arg(default_value = "assembly.yaml")]
    assembly: String,
    /// Only this part, several times.
    #[arg(long, value_name = "ID")]
    part: Vec<String>,
    /// The folder that holds the application, for the lock.
    #[arg(long, value_name = "DIR")]
    tree: Option<PathBuf>,
    /// Write the proposed document to this file, which must not be there yet.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write its lock to this file.
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn check(arguments: CheckArguments) -> anyhow::Result<ExitCode> {
    let CheckArguments { assembly, common } = arguments;
    let Named { document, name, source } = Named::read(&assembly)?;
    let request = v1::CheckAssemblyRequest { document, name, source, min_revision: 0 };
    let mut client = common.server.assemblies().await?;
    let check = client.check_assembly(common.server.request(request)).await?.into_inner();
    if common.json {
        output::json(&output::message_json("fitment.v1.CheckAssemblyResponse", &check)?)?;
    } else {
        show_check(&check)?;
    }
    Ok(verdict(check.passes))
}

pub(super) async fn lock(arguments: LockArguments) -> anyhow::Result<ExitCode> {
    let LockArguments { assembly, tree, out, common } = arguments;
    let Named { document, name, source } = Named::read(&assembly)?;
    let tree = tree.map(|folder| tree_files(&folder, &document)).transpose()?.unwrap_or_default();
    let request = v1::LockAssemblyRequest { document, name, source, tree };
    let mut client = common.server.assemblies().await?;
    let locked = client.lock_assembly(common.server.request(request)).await?.into_inner();
    let check = locked.check.clone().unwrap_or_default();
    let done = !locked.lock_yaml.is_empty();
    if done && out.as_os_str() != "-" {
        write_file(&out, &locked.lock_yaml)?;
    }
    if common.json {
        output::json(&output::message_json("fitment.v1.LockAssemblyResponse", &locked)?)?;
    } else if done && out.as_os_str() == "-" {
        output::line(locked.lock_yaml.trim_end())?;
    } else {
        show_check(&check)?;
        if done {
            output::line(format!("locked in {}", out.display()))?;
        }
    }
    Ok(verdict(done))
}

pub(super) async fn report(arguments: ReportArguments) -> anyhow::Result<ExitCode> {
    let ReportArguments { assembly, out, tree, key, at, common } = arguments;
    let Named { document, name, source } = Named::read(&assembly)?;
    let key = key.map(|path| read_private_key(&path)).transpose()?;
    let time = at.map(|at| prost_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() });
    let tree = tree.map(|folder| tree_files(&folder, &document)).transpose()?.unwrap_or_default();
    let request = v1::ReportAssemblyRequest { document, name, source, time, tree };
    let mut client = common.server.assemblies().await?;
    let report = client.report_assembly(common.server.request(request)).await?.into_inner();
    let v1::ReportAssemblyResponse { cyclonedx, oscal, html, statement, check } = report;
    std::fs::create_dir_all(&out).with_context(|| format!("{} cannot be made", out.display()))?;
    let mut files = Vec::new();
    for (name, bytes) in REPORT_FILES.into_iter().zip([cyclonedx, oscal, html]) {
        files.push(written(&out.join(name), &bytes)?);
    }
    match &key {
        Some(key) => {
            let envelope = Envelope::sign(statement, key)?;
            files.push(written(&out.join(ENVELOPE_FILE), &envelope.to_json())?);
        }
        None => files.push(written(&out.join(STATEMENT_FILE), &statement)?),
    }
    let check = check.unwrap_or_default();
    if common.json {
        let check = output::message_json("fitment.v1.CheckAssemblyResponse", &check)?;
        return output::json(&serde_json::json!({ "files": files, "signed": key.is_some(), "check": check }))
            .map(|()| ExitCode::SUCCESS);
    }
    show_check(&check)?;
    for file in files {
        output::line(format!("wrote {file}"))?;
    }
    if key.is_none() {
        output::line("not signed; sign with --key FILE")?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn upgrade(arguments: UpgradeArguments) -> anyhow::Result<ExitCode> {
    let UpgradeArguments { assembly, part, tree, out, lock, common } = arguments;
    out.as_deref().map(absent).transpose()?;
    let Named { document, name, source } = Named::read(&assembly)?;
    let tree = tree.map(|folder| tree_files(&folder, &document)).transpose()?.unwrap_or_default();
    let request = v1::UpgradeAssemblyRequest { document, name, source, parts: part, tree };
    let mut client = common.server.assemblies().await?;
    let proposed = client.upgrade_assembly(common.server.request(request)).await?.into_inner();
    if let Some(out) = &out {
        write_file(out, &proposed.document_yaml)?;
    }
    match &lock {
        Some(file) if !proposed.lock_yaml.is_empty() => write_file(file, &proposed.lock_yaml)?,
        Some(_) => eprintln!("no lock was written: what is proposed does not pass, or its raw code is not known"),
        None => {}
    }
    let check = proposed.check.clone().unwrap_or_default();
    if common.json {
        output::json(&output::message_json("fitment.v1.UpgradeAssemblyResponse", &proposed)?)?;
        return Ok(verdict(check.passes));
    }
    if proposed.changes.is_empty() {
        output::line("nothing newer that is certified takes the place of a part")?;
    } else {
        output::line(proposed.diff.trim_end())?;
    }
    for v1::PartChange { part, from, to, notes } in &proposed.changes {
        let to = if to.is_empty() { "nothing" } else { to };
        output::line(format!("{part}: {from} -> {to}"))?;
        for note in notes {
            output::line(format!("    {note}"))?;
        }
    }
    show_check(&check)?;
    Ok(verdict(check.passes))
}

/// Writes a file and gives its name.
fn written(path: &Path, bytes: &[u8]) -> anyhow::Result<String> {
    write_bytes(path, bytes)?;
    Ok(path.display().to_string())
}
