//! `fitment audit`: the trail of what was done, exported and checked.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use fitment_engine::{AuditHead, AuditRecord};
use fitment_proto::v1;

use super::common::timestamp;
use crate::client::ServerFlags;
use crate::output::{self, Invalid};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment audit export > audit.jsonl             every record, one JSON object a line
  fitment audit verify                           walk the daemon's chain
  fitment audit verify --known 812:sha256:9f2c…  and see that it goes through a head that was noted before
  fitment audit verify --file audit.jsonl        the same on an export, without a daemon")]
pub(super) struct AuditArguments {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, clap::Subcommand)]
enum AuditCommand {
    /// Print records, oldest first, one JSON object a line.
    Export {
        /// Only those after this sequence number.
        #[arg(long, value_name = "SEQUENCE", default_value_t = 0)]
        after: u64,
        /// At most so many; 0: all.
        #[arg(long, default_value_t = 0)]
        limit: u64,
        /// Write to this file instead.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        server: ServerFlags,
    },
    /// Show one answer by its decision id: what was answered, from which revision, model, ranker and calibration.
    Decision {
        /// The decision id, as `fitment match` prints it.
        id: String,
        #[command(flatten)]
        server: ServerFlags,
    },
    /// Check that the chain holds: nothing changed, left out or put in. Ends with code 7 when it does not.
    Verify {
        /// An export to check instead of a daemon's trail.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// SEQUENCE:DIGEST of a record that the chain must go through, as an earlier check printed it.
        #[arg(long, value_name = "HEAD", value_parser = head)]
        known: Option<AuditHead>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerFlags,
    },
}

fn head(text: &str) -> Result<AuditHead, String> {
    let fault = || format!("`{text}` is no head; write SEQUENCE:DIGEST, as `fitment audit verify` prints it");
    let (sequence, digest) = text.split_once(':').ok_or_else(fault)?;
    digest.parse::<fitment_catalog::Digest>().map_err(|_error| fault())?;
    Ok(AuditHead { sequence: sequence.parse().map_err(|_error| fault())?, digest: digest.to_owned() })
}

pub(super) fn run(arguments: AuditArguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        AuditCommand::Export { after, limit, out, server } => {
            super::client_runtime()?.block_on(export(after, limit, out.as_deref(), &server))
        }
        AuditCommand::Decision { id, server } => super::client_runtime()?.block_on(async {
            let request = server.request(v1::GetDecisionRequest { decision_id: id });
            let found = server.audit().await?.get_decision(request).await?.into_inner();
            output::json(&output::message_json("fitment.v1.RecordedDecision", &found)?)?;
            Ok(ExitCode::SUCCESS)
        }),
        AuditCommand::Verify { file: Some(file), known, json, server: _ } => {
            let head = verify_file(&file, known.as_ref())?;
            holds(&head, json)
        }
        AuditCommand::Verify { file: None, known, json, server } => super::client_runtime()?.block_on(async {
            let AuditHead { sequence, digest } = known.unwrap_or_default();
            let request = v1::VerifyAuditRequest { known_sequence: sequence, known_digest: digest };
            let head = server.audit().await?.verify_audit(server.request(request)).await?.into_inner();
            holds(&AuditHead { sequence: head.sequence, digest: head.digest }, json)
        }),
    }
}

fn holds(head: &AuditHead, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        output::json(&serde_json::json!({"holds": true, "sequence": head.sequence, "digest": head.digest}))?;
    } else {
        output::line(format!("the chain holds; its head is {}:{}", head.sequence, head.digest))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn export(after: u64, limit: u64, out: Option<&Path>, server: &ServerFlags) -> anyhow::Result<ExitCode> {
    let mut file = out.map(|out| std::fs::File::create(out).with_context(|| out.display().to_string())).transpose()?;
    // No deadline: a long trail takes what it takes.
    let request = v1::ListAuditRecordsRequest { after, limit };
    let mut records = server.audit().await?.list_audit_records(request).await?.into_inner();
    while let Some(record) = records.message().await? {
        let line = serde_json::to_string(&read(record)?)?;
        match &mut file {
            Some(file) => writeln!(file, "{line}")?,
            None => output::line(line)?,
        }
    }
    if let Some(file) = file {
        file.sync_all()?;
    }
    Ok(ExitCode::SUCCESS)
}

fn read(record: v1::AuditRecord) -> anyhow::Result<AuditRecord> {
    let v1::AuditRecord { sequence, time, revision, actor, action, subject, reason, detail_json, previous, digest } =
        record;
    let time = timestamp(time).context("a record has no time")?;
    Ok(AuditRecord {
        sequence,
        time,
        revision,
        actor,
        action,
        subject,
        reason,
        detail: serde_json::from_str(&detail_json)?,
        previous,
        digest,
    })
}

/// Walks an export. One that begins later than the first record is taken at its word for what came before.
fn verify_file(path: &Path, known: Option<&AuditHead>) -> anyhow::Result<AuditHead> {
    use std::io::BufRead;
    /// Longest line: a record is far shorter.
    const LONGEST: u64 = 1 << 20;
    let mut lines = std::io::BufReader::new(std::fs::File::open(path).with_context(|| path.display().to_string())?);
    let mut head: Option<AuditHead> = None;
    let mut passed = known.is_none();
    for number in 1.. {
        let mut line = Vec::new();
        let length = std::io::Read::take(&mut lines, LONGEST).read_until(b'\n', &mut line)?;
        if length == 0 {
            break;
        }
        let record: AuditRecord = serde_json::from_slice(&line)
            .map_err(|error| Invalid(format!("{}:{number}: is no audit record: {error}", path.display())))?;
        let before = head.unwrap_or_else(|| AuditHead {
            sequence: record.sequence.saturating_sub(1),
            digest: if record.sequence == 1 { AuditHead::default().digest } else { record.previous.clone() },
        });
        let next = record.follow(&before)?;
        if let Some(known) = known.filter(|known| known.sequence == next.sequence) {
            known.agrees(&next)?;
            passed = true;
        }
        head = Some(next);
    }
    let head = head.unwrap_or_default();
    if !passed {
        let known = known.map_or(0, |known| known.sequence);
        return Err(Invalid(format!(
            "{} ends at record {} and does not hold record {known}",
            path.display(),
            head.sequence
        ))
        .into());
    }
    Ok(head)
}
