//! A folder into the catalogue: manifests and where their versions stand, then what certifies them.
//!
//! The order keeps what is not certified out of the answers: trust roots first, then versions, then revocations, then
//! certificates; a revocation that cannot be taken holds every certificate back.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use fitment_engine::evaluate::CatalogFile;
use fitment_engine::{CarriedRevocation, MAX_EVIDENCE_BYTES};
use fitment_proto::v1;
use fitment_proto::v1::certification_service_client::CertificationServiceClient;
use fitment_trust::{Envelope, Predicate, Statement};
use serde_json::json;
use tonic::{Code, Status};

use super::folder::Found;
use crate::cli::common::Common;
use crate::cli::trust::read_file;
use crate::client::{AuthorFlags, Connection};
use crate::output::{self, Exit, Steps};

#[derive(Debug, clap::Args)]
pub(super) struct ImportArguments {
    /// The folder or file.
    path: PathBuf,
    /// Write near-duplicates of other components also where the daemon refuses them.
    #[arg(long)]
    allow_near_duplicate: bool,
    /// Say what would become of each manifest, near-duplicates too, and write nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    author: AuthorFlags,
    #[command(flatten)]
    common: Common,
}

/// What became of a file.
#[derive(Debug, serde::Serialize)]
struct FileResult {
    file: String,
    /// `created`, `unchanged`, `updated`, `kept` or `failed`.
    result: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
}

impl FileResult {
    fn of(file: &Path, result: &'static str, detail: impl Into<String>) -> Self {
        Self { file: file.display().to_string(), result, detail: detail.into() }
    }
}

pub(super) async fn import(arguments: ImportArguments) -> anyhow::Result<ExitCode> {
    let started = std::time::Instant::now();
    let mut found = Found::read(&arguments.path)?;
    let strays = found.strays.iter().map(|file| FileResult::of(file, "failed", "no manifest lies beside it"));
    let mut records: Vec<FileResult> = strays.collect();
    let has_records = !(found.roots.is_empty() && found.revocations.is_empty() && found.certificates.is_empty());
    let mut certification = if has_records && !arguments.dry_run {
        Some(Certification { client: arguments.common.server.certification().await?, arguments: &arguments })
    } else {
        None
    };
    if let Some(certification) = &mut certification {
        certification.roots(&found, &mut records).await?;
    }
    let manifests = std::mem::take(&mut found.manifests);
    let total = manifests.len() as u64;
    let results = versions(manifests, &arguments).await?;
    if let Some(certification) = &mut certification {
        certification.rest(&found, &mut records).await?;
    }
    report(&arguments, &results, &records, (total, started.elapsed()), has_records && arguments.dry_run)?;
    let failed = results.iter().any(|item| word(item.result()) == "failed")
        || records.iter().any(|record| record.result == "failed");
    Ok(if failed { ExitCode::from(Exit::InvalidInput as u8) } else { ExitCode::SUCCESS })
}

async fn versions(
    manifests: Vec<CatalogFile>,
    arguments: &ImportArguments,
) -> anyhow::Result<Vec<v1::ImportComponentsResponse>> {
    let ImportArguments { allow_near_duplicate, dry_run, author, common, path: _ } = arguments;
    let (allow_near_duplicate, validate_only, author) = (*allow_near_duplicate, *dry_run, author.clone());
    let total = manifests.len() as u64;
    if total == 0 {
        return Ok(Vec::new());
    }
    let steps = Steps::new();
    let mut client = common.server.catalog().await?;
    let items = tokio_stream::iter(manifests.into_iter().map(move |CatalogFile { source, manifest, standing }| {
        v1::ImportComponentsRequest {
            manifest,
            format: v1::ManifestFormat::Unspecified as i32,
            source,
            actor: author.actor.clone(),
            reason: author.reason.clone(),
            allow_near_duplicate,
            standing,
            validate_only,
        }
    }));
    // No deadline: a large import takes what it takes, and every answered item is durable.
    let mut stream = client.import_components(items).await?.into_inner();
    let mut results = Vec::new();
    while let Some(result) = stream.message().await? {
        steps.tell("importing", result.index + 1, total);
        results.push(result);
    }
    steps.finish();
    Ok(results)
}

/// What belongs to no one version.
struct Certification<'a> {
    client: CertificationServiceClient<Connection>,
    arguments: &'a ImportArguments,
}

impl Certification<'_> {
    /// Installs the trust roots that may follow the one in force, oldest first.
    async fn roots(&mut self, found: &Found, records: &mut Vec<FileResult>) -> anyhow::Result<()> {
        let server = self.arguments.common.server.clone();
        for (version, file) in &found.roots {
            let in_force = match self.client.get_trust_root(server.request(v1::GetTrustRootRequest {})).await {
                Ok(root) => Some(root.into_inner()),
                Err(status) if status.code() == Code::FailedPrecondition => None,
                Err(status) => return Err(status.into()),
            };
            if let Some(newer) = in_force.as_ref().filter(|root| root.version > *version) {
                records.push(FileResult::of(file, "kept", format!("version {} is in force", newer.version)));
                continue;
            }
            let AuthorFlags { actor, reason } = self.arguments.author.clone();
            let (trust_root, source) = (read_file(file)?, file.display().to_string());
            let request = v1::InstallTrustRootRequest { trust_root, source, actor, reason };
            let installed = self.client.install_trust_root(server.request(request)).await;
            let same = |digest: &str| in_force.as_ref().is_some_and(|root| root.digest == digest);
            records.push(match installed.map(tonic::Response::into_inner) {
                Ok(installed) if same(&installed.digest) => FileResult::of(file, "unchanged", ""),
                Ok(_) => FileResult::of(file, "created", ""),
                Err(status) => failure(file, &status)?,
            });
        }
        Ok(())
    }

    /// Revocations, then certificates with their evidence.
    async fn rest(&mut self, found: &Found, records: &mut Vec<FileResult>) -> anyhow::Result<()> {
        let mut held_back = false;
        for file in &found.revocations {
            let taken = self.revocation(file).await?;
            held_back |= taken.result == "failed";
            records.push(taken);
        }
        for file in &found.certificates {
            records.push(if held_back {
                FileResult::of(file, "failed", "held back: what was revoked could not be taken in")
            } else {
                self.certificate(file, found).await?
            });
        }
        Ok(())
    }

    async fn revocation(&mut self, file: &Path) -> anyhow::Result<FileResult> {
        let CarriedRevocation { accepted, envelope } = match serde_json::from_slice(&read_file(file)?) {
            Ok(carried) => carried,
            Err(error) => return Ok(FileResult::of(file, "failed", error.to_string())),
        };
        let AuthorFlags { actor, reason } = self.arguments.author.clone();
        let accepted_json = accepted.to_string();
        let request = v1::RevokeCertificateRequest { envelope: envelope.into_bytes(), actor, reason, accepted_json };
        let request = self.arguments.common.server.request(request);
        let taken = self.client.revoke_certificate(request).await.map(tonic::Response::into_inner);
        Ok(match taken {
            Ok(record) => FileResult::of(file, if record.already_recorded { "unchanged" } else { "created" }, ""),
            Err(status) => failure(file, &status)?,
        })
    }

    async fn certificate(&mut self, file: &Path, found: &Found) -> anyhow::Result<FileResult> {
        let envelope = read_file(file)?;
        // Malformed ones are the daemon's to refuse.
        let statement = Envelope::parse(&envelope).ok().and_then(|envelope| Statement::parse(envelope.payload()).ok());
        let mut batches: Vec<Vec<Vec<u8>>> = vec![Vec::new()];
        let mut bytes = 0;
        if let Some(Predicate::Certification(certification)) = statement.as_ref().map(Statement::predicate) {
            for named in &certification.evidence {
                let evidence = match found.evidence(&named.digest) {
                    Ok(Some(evidence)) => evidence,
                    Ok(None) => continue,
                    Err(error) => return Ok(FileResult::of(file, "failed", error.to_string())),
                };
                bytes += evidence.len();
                if bytes > MAX_EVIDENCE_BYTES {
                    bytes = evidence.len();
                    batches.push(Vec::new());
                }
                batches.last_mut().context("there is one")?.push(evidence);
            }
        }
        let mut result = "unchanged";
        for evidence in batches {
            let AuthorFlags { actor, reason } = self.arguments.author.clone();
            let envelope = envelope.clone();
            let request = v1::AddCertificateRequest { envelope, evidence, actor, reason, earlier_roots: true };
            let request = self.arguments.common.server.request(request);
            match self.client.add_certificate(request).await.map(tonic::Response::into_inner) {
                Ok(record) if record.already_recorded => {}
                Ok(_) => result = "created",
                Err(status) => return failure(file, &status),
            }
        }
        Ok(FileResult::of(file, result, ""))
    }
}

/// A file that was refused. Errors: the daemon is at fault or gone, and the next file would fare no better.
fn failure(file: &Path, status: &Status) -> anyhow::Result<FileResult> {
    match status.code() {
        Code::InvalidArgument | Code::NotFound | Code::FailedPrecondition | Code::AlreadyExists => {
            Ok(FileResult::of(file, "failed", status.message()))
        }
        _ => Err(status.clone().into()),
    }
}

fn word(result: v1::ImportResult) -> &'static str {
    match result {
        v1::ImportResult::Created => "created",
        v1::ImportResult::Unchanged => "unchanged",
        v1::ImportResult::Updated => "updated",
        v1::ImportResult::Kept => "kept",
        v1::ImportResult::Failed | v1::ImportResult::Unspecified => "failed",
    }
}

fn report(
    arguments: &ImportArguments,
    results: &[v1::ImportComponentsResponse],
    records: &[FileResult],
    (total, took): (u64, std::time::Duration),
    passed_over: bool,
) -> anyhow::Result<()> {
    let of = |wanted: &'static str| results.iter().filter(move |item| word(item.result()) == wanted);
    let near: Vec<_> = results.iter().filter(|item| !item.near_duplicates.is_empty()).cloned().collect();
    let revision = results.iter().map(|item| item.revision).max().unwrap_or_default();
    let records_of = |wanted: &str| records.iter().filter(|record| record.result == wanted).count();
    if arguments.common.json {
        let items = |items: &mut dyn Iterator<Item = &v1::ImportComponentsResponse>| -> anyhow::Result<Vec<_>> {
            items.map(|item| output::message_json("fitment.v1.ImportComponentsResponse", item)).collect()
        };
        let files = results.iter().map(|item| {
            let detail = item.status.clone().unwrap_or_default().message;
            json!({"file": item.source, "result": word(item.result()), "detail": detail})
        });
        let files: Vec<_> = files.chain(records.iter().map(|record| json!(record))).collect();
        return output::json(&json!({
            "dry_run": arguments.dry_run,
            "created": of("created").count(), "unchanged": of("unchanged").count(),
            "updated": of("updated").count(), "kept": of("kept").count(),
            "failed": items(&mut of("failed"))?, "near_duplicates": items(&mut near.iter())?,
            "records": {
                "created": records_of("created"), "unchanged": records_of("unchanged"),
                "kept": records_of("kept"), "failed": records_of("failed"),
            },
            "files": files,
            "revision": revision,
        }));
    }
    for item in of("failed") {
        eprintln!("{}", item.status.clone().unwrap_or_default().message);
    }
    for item in of("updated").chain(of("kept")) {
        output::line(format!("{} {}@{} ({})", word(item.result()), item.name, item.version, item.source))?;
    }
    for FileResult { file, result, detail } in records.iter().filter(|record| record.result != "unchanged") {
        let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
        if *result == "failed" {
            eprintln!("{file}{detail}");
        } else {
            output::line(format!("{result} {file}{detail}"))?;
        }
    }
    if !near.is_empty() {
        output::line(super::near_table(&near))?;
    }
    let mut counted = format!("{} created, {} unchanged", of("created").count(), of("unchanged").count());
    for (word, count) in [("updated", of("updated").count()), ("kept", of("kept").count())] {
        if count > 0 {
            counted = format!("{counted}, {count} {word}");
        }
    }
    let rate = f64::from(u32::try_from(total).unwrap_or(u32::MAX)) / took.as_secs_f64().max(1e-3);
    let failed = of("failed").count() + records_of("failed");
    let near = near.len();
    output::line(if arguments.dry_run {
        format!("would be: {counted}, {failed} failed, {near} near-duplicates; nothing was written")
    } else {
        // Where all of it failed, nobody has told the revision.
        let at = if revision > 0 { format!("revision {revision}; ") } else { String::new() };
        format!("{counted}, {failed} failed, {near} near-duplicates; {at}{rate:.0} a second")
    })?;
    if passed_over {
        output::line("trust roots, revocations and certificates were not looked at")?;
    }
    Ok(())
}
