//! `fitment snapshot`: taken and listed through a daemon; checked, restored and pruned on files, without one.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fitment_engine::{
    EngineError, SnapshotSummary, Work, list_snapshots, prune_snapshots, restore_snapshot, verify_snapshot,
};
use fitment_proto::v1;
use serde_json::json;

use super::common::timestamp;
use crate::client::ServerFlags;
use crate::output::{self, Invalid};
use fitment_server::config::ConfigFlags;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment snapshot create                        the daemon writes one into its folder, and goes on serving
  fitment snapshot list                          what that folder holds
  fitment snapshot verify /backup/snapshots      check every byte of all that a folder holds; no daemon needed
  fitment snapshot restore /backup/snapshots/812-9f2c01ab34cd.snapshot.json --data-dir ./restored
  fitment snapshot prune /backup/snapshots --keep 14")]
pub(super) struct SnapshotArguments {
    #[command(subcommand)]
    command: SnapshotCommand,
}

#[derive(Debug, clap::Subcommand)]
enum SnapshotCommand {
    /// Have a daemon take a snapshot into its folder (`snapshots.dir`); writes go on meanwhile.
    Create {
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerFlags,
    },
    /// List snapshots, oldest first, by what they say of themselves.
    List {
        /// A folder of snapshots to read, without a daemon.
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerFlags,
    },
    /// Check every byte of a snapshot, or of all in a folder. Ends with code 7 when one is damaged.
    #[command(after_help = "\
Examples:
  fitment snapshot verify /backup/snapshots/812-9f2c01ab34cd.snapshot.json
  fitment snapshot verify --name 812-9f2c01ab34cd       by the daemon, in its own folder")]
    Verify {
        /// A `.snapshot.json` file, whose chunks lie beside it, or a folder of them.
        #[arg(value_name = "FILE|DIR", required_unless_present = "name", conflicts_with = "name")]
        path: Option<PathBuf>,
        /// Have a daemon check this one in its folder instead.
        #[arg(long)]
        name: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerFlags,
    },
    /// Verify a snapshot and put its store into the folder that `--data-dir` names. No daemon may be using that.
    Restore {
        /// The `.snapshot.json` file; its chunks lie beside it.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Replace the store that is there; it is kept as `catalog.redb.before-restore`.
        #[arg(long)]
        force: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove all but the newest snapshots of a folder, and the chunks that no other one needs.
    Prune {
        /// The folder.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// How many to keep.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        keep: u32,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(arguments: SnapshotArguments, config: &ConfigFlags) -> anyhow::Result<ExitCode> {
    match arguments.command {
        SnapshotCommand::Create { json, server } => super::client_runtime()?.block_on(create(json, &server)),
        SnapshotCommand::List { folder: None, json, server } => super::client_runtime()?.block_on(async {
            let request = server.request(v1::ListSnapshotsRequest {});
            let v1::ListSnapshotsResponse { snapshots, damaged } =
                server.snapshots().await?.list_snapshots(request).await?.into_inner();
            listed(&snapshots.into_iter().map(Row::from).collect::<Vec<_>>(), &damaged, json)
        }),
        SnapshotCommand::List { folder: Some(folder), json, server: _ } => {
            let listing = list_snapshots(there(&folder)?)?;
            let damaged: Vec<String> = listing.damaged.iter().map(ToString::to_string).collect();
            listed(&listing.snapshots.into_iter().map(Row::from).collect::<Vec<_>>(), &damaged, json)
        }
        SnapshotCommand::Verify { path, name, json, server } => match (path, name) {
            (Some(path), _) => verify(&path, json),
            (None, name) => super::client_runtime()?.block_on(async {
                let request = v1::VerifySnapshotRequest { name: name.unwrap_or_default() };
                let events = server.snapshots().await?.verify_snapshot(request).await?.into_inner();
                verified(&[Row::from(super::remote::finish(events).await?)], json)
            }),
        },
        SnapshotCommand::Restore { file, force, json } => {
            let Some(data_dir) = config.data_dir.clone() else {
                return Err(Invalid("name the folder to restore into: --data-dir DIR".into()).into());
            };
            restore(file, data_dir, force, json)
        }
        SnapshotCommand::Prune { folder, keep, json } => {
            let pruned = prune_snapshots(there(&folder)?, keep as usize)?;
            if json {
                let (chunks, bytes) = (pruned.chunks, pruned.bytes);
                output::json(&json!({"removed": pruned.removed, "chunks": chunks, "bytes": bytes}))?;
            } else {
                let removed = pruned.removed.len();
                output::line(format!(
                    "{removed} snapshots and {} chunks removed, {} bytes",
                    pruned.chunks, pruned.bytes
                ))?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// One snapshot as it is shown.
#[derive(Debug, serde::Serialize)]
struct Row {
    name: String,
    digest: String,
    time: jiff::Timestamp,
    revision: u64,
    model: String,
    model_digest: String,
    /// `SEQUENCE:DIGEST`, as `fitment audit verify` prints it.
    audit_head: String,
    rows: u64,
    chunks: u64,
    bytes: u64,
}

impl From<SnapshotSummary> for Row {
    fn from(summary: SnapshotSummary) -> Self {
        let SnapshotSummary { name, digest, time, revision, model, model_digest, audit_head, rows, bytes, chunks } =
            summary;
        let audit_head = format!("{}:{}", audit_head.sequence, audit_head.digest);
        Self { name, digest, time, revision, model, model_digest, audit_head, rows, chunks, bytes }
    }
}

impl From<v1::Snapshot> for Row {
    fn from(snapshot: v1::Snapshot) -> Self {
        let v1::Snapshot {
            name,
            digest,
            time,
            revision,
            model,
            model_digest,
            audit_sequence,
            audit_digest,
            rows,
            chunks,
            bytes,
        } = snapshot;
        let time = timestamp(time).unwrap_or_default();
        let audit_head = format!("{audit_sequence}:{audit_digest}");
        Self { name, digest, time, revision, model, model_digest, audit_head, rows, chunks, bytes }
    }
}

/// Ctrl-C leaves the call, and so ends the daemon's work.
async fn create(json: bool, server: &ServerFlags) -> anyhow::Result<ExitCode> {
    let events = server.snapshots().await?.create_snapshot(v1::CreateSnapshotRequest {}).await?.into_inner();
    let v1::CreateSnapshotResult { snapshot, file, new_chunks, new_bytes } = super::remote::finish(events).await?;
    let row = Row::from(snapshot.unwrap_or_default());
    if json {
        output::json(&json!({"snapshot": row, "file": file, "new_chunks": new_chunks, "new_bytes": new_bytes}))?;
    } else {
        output::line(format!(
            "{file}\nrevision {}, {} rows, {} bytes in {} chunks, of which {new_bytes} bytes in {new_chunks} chunks are new",
            row.revision, row.rows, row.bytes, row.chunks
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn listed(rows: &[Row], damaged: &[String], json: bool) -> anyhow::Result<ExitCode> {
    if json {
        output::json(&json!({"snapshots": rows, "damaged": damaged}))?;
    } else {
        let mut table = output::table(&["name", "time", "revision", "model", "rows", "chunks", "bytes"]);
        for Row { name, time, revision, model, rows, chunks, bytes, .. } in rows {
            table.add_row([
                name.clone(),
                time.to_string(),
                revision.to_string(),
                model.clone(),
                rows.to_string(),
                chunks.to_string(),
                bytes.to_string(),
            ]);
        }
        output::line(table)?;
        for fault in damaged {
            output::line(format!("cannot be read: {fault}"))?;
        }
    }
    Ok(if damaged.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(output::Exit::Damaged as u8) })
}

fn verified(rows: &[Row], json: bool) -> anyhow::Result<ExitCode> {
    if json {
        output::json(&json!({"whole": true, "snapshots": rows}))?;
    } else {
        for Row { name, digest, revision, audit_head, .. } in rows {
            output::line(format!("{name} is whole: {digest}, revision {revision}, audit head {audit_head}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn verify(path: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let files = if path.is_dir() {
        let listing = list_snapshots(path)?;
        if let Some(fault) = listing.damaged.into_iter().next() {
            return Err(fault.into());
        }
        if listing.snapshots.is_empty() {
            return Err(Invalid(format!("{} holds no snapshot", path.display())).into());
        }
        listing.snapshots.into_iter().map(|summary| path.join(format!("{}.snapshot.json", summary.name))).collect()
    } else {
        vec![path.to_path_buf()]
    };
    let verify = move |work: Work<'_>| files.iter().map(|file| verify_snapshot(file, work).map(Row::from)).collect();
    let rows: Vec<Row> = super::run_interruptible(super::of_files(verify))?;
    verified(&rows, json)
}

fn restore(file: PathBuf, data_dir: PathBuf, force: bool, json: bool) -> anyhow::Result<ExitCode> {
    let restored =
        super::run_interruptible(super::of_files(move |work| restore_snapshot(&file, &data_dir, force, work)))?;
    let row = Row::from(restored.summary);
    if json {
        output::json(&json!({"snapshot": row, "store": restored.store, "kept": restored.kept}))?;
    } else {
        output::line(format!("{} is at revision {}", restored.store.display(), row.revision))?;
        if let Some(kept) = restored.kept {
            output::line(format!("the store that was there is kept as {}", kept.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn there(folder: &Path) -> anyhow::Result<&Path> {
    match std::fs::metadata(folder) {
        Ok(found) if found.is_dir() => Ok(folder),
        Ok(_) => Err(Invalid(format!("{} is no folder", folder.display())).into()),
        Err(source) => Err(EngineError::Io { path: folder.to_path_buf(), source }.into()),
    }
}
