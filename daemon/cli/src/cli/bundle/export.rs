//! `fitment bundle export`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use fitment_catalog::Digest;
use fitment_engine::{
    Author, BundleEntry, BundleKind, BundleManifest, BundleModel, EngineError, ExportHead, Exported, Work,
    interrupted_export, write_bundle,
};
use fitment_models::ModelCache;
use fitment_proto::v1;
use fitment_trust::{Envelope, PrivateKey};
use parking_lot::Mutex;
use serde_json::json;

use super::models::{entries_of_labels, entries_of_model};
use super::of_files;
use crate::cli::common::timestamp;
use crate::cli::laboratory::folder_of;
use crate::cli::trust::read_private_key;
use crate::client::{AuthorFlags, ServerFlags};
use crate::output::{self, Invalid};
use fitment_server::config::{Config, ConfigFlags};
use fitment_server::{daemon, telemetry};

#[derive(Debug, clap::Args)]
pub(super) struct ExportArguments {
    /// File to write. What is there is replaced once the new one is whole.
    out: PathBuf,
    /// Private key (PEM) to sign with, as `fitment certify keygen` makes them; it stays on this side.
    #[arg(long, value_name = "FILE", required_unless_present = "unsigned")]
    key: Option<PathBuf>,
    /// Sign nothing: whoever imports it must say so too.
    #[arg(long, conflicts_with = "key")]
    unsigned: bool,
    /// What to leave out: trust-root, component, certificate (with evidence and revocations), ranker, calibration, model.
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    without: Vec<BundleKind>,
    /// A CSV file or a BEIR folder of labelled intents to carry along.
    #[arg(long, value_name = "PATH")]
    labels: Vec<PathBuf>,
    /// One more installed model to carry along, besides the one that is served.
    #[arg(long, value_name = "NAME")]
    also_model: Vec<String>,
    /// Work on the data folder itself, where no daemon has it open.
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    author: AuthorFlags,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

/// What came of the catalogue: entries in memory, their bytes in a file that has no name.
struct Spool {
    head: Option<ExportHead>,
    entries: Vec<BundleEntry>,
    left_out: Vec<String>,
    file: File,
    /// Bytes of the entry under way that have come.
    come: Vec<u8>,
}

impl Spool {
    fn new(folder: &Path) -> Result<Self, EngineError> {
        let file =
            tempfile::tempfile_in(folder).map_err(|source| EngineError::Io { path: folder.to_path_buf(), source })?;
        Ok(Self { head: None, entries: Vec::new(), left_out: Vec::new(), file, come: Vec::new() })
    }

    fn take(&mut self, exported: Exported) -> Result<(), EngineError> {
        match exported {
            Exported::Head(head) => self.head = Some(head),
            Exported::Entry(entry, bytes) => {
                self.file
                    .write_all(&bytes)
                    .map_err(|source| EngineError::Io { path: "a temporary file".into(), source })?;
                self.entries.push(entry);
            }
            Exported::End(left_out) => self.left_out = left_out,
        }
        Ok(())
    }
}

pub(super) fn run(arguments: &ExportArguments, flags: &ConfigFlags) -> anyhow::Result<ExitCode> {
    let config = flags.load()?;
    let key = arguments.key.as_deref().map(read_private_key).transpose()?;
    if arguments.out.is_dir() {
        return Err(Invalid(format!("{} is a folder; name a file", arguments.out.display())).into());
    }
    let without: BTreeSet<BundleKind> = arguments.without.iter().map(|kind| kind.group()).collect();
    let author = Author::new(arguments.author.actor.clone(), arguments.author.reason.clone())?;
    super::super::run_interruptible(async {
        let folder = folder_of(&arguments.out).to_path_buf();
        let spool = Spool::new(&folder)?;
        let spool = if arguments.offline {
            offline(spool, config.clone(), without.clone(), author).await?
        } else {
            from_daemon(spool, &arguments.server, &without, &author).await?
        };
        let (out, labels, also) = (arguments.out.clone(), arguments.labels.clone(), arguments.also_model.clone());
        let with_model = !without.contains(&BundleKind::Model);
        let Finished { manifest, reused, begun_anew } = of_files(move |work| {
            finish(
                spool,
                &Wanted { out: &out, labels: &labels, also: &also, with_model, config: &config },
                key.as_ref(),
                work,
            )
        })
        .await?;
        if arguments.json {
            output::json(&json!({
                "file": arguments.out,
                "id": manifest.id,
                "source": manifest.source,
                "sequence": manifest.sequence,
                "revision": manifest.revision,
                "entries": manifest.entries.len(),
                "bytes": manifest.bytes(),
                "signed": arguments.key.is_some(),
                "left_out": manifest.left_out,
                "reused_bytes": reused,
            }))?;
        } else {
            if begun_anew {
                output::line(
                    "what was cut short here is of another state of the catalogue, or was asked for otherwise: begun anew",
                )?;
            } else if reused > 0 {
                output::line(format!("gone on with what was cut short: {reused} bytes were there"))?;
            }
            output::line(format!(
                "{}: export {} of catalogue {}, revision {}, {} entries, {} bytes{}",
                arguments.out.display(),
                manifest.sequence,
                manifest.source,
                manifest.revision,
                manifest.entries.len(),
                manifest.bytes(),
                if arguments.key.is_some() { "" } else { ", not signed" }
            ))?;
            for left_out in &manifest.left_out {
                output::line(format!("left out: {left_out}"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn offline(
    mut spool: Spool,
    config: Config,
    without: BTreeSet<BundleKind>,
    author: Author,
) -> anyhow::Result<Spool> {
    telemetry::start(&config)?;
    let engine = tokio::task::spawn_blocking(move || daemon::open_engine(&config, &|_, _, _| {})).await??;
    of_files(move |work| {
        engine.export_bundle(&without, &author, work, &mut |exported| spool.take(exported))?;
        Ok(spool)
    })
    .await
}

async fn from_daemon(
    mut spool: Spool,
    server: &ServerFlags,
    without: &BTreeSet<BundleKind>,
    author: &Author,
) -> anyhow::Result<Spool> {
    use v1::export_bundle_response::Event;
    let request = v1::ExportBundleRequest {
        without: without.iter().map(ToString::to_string).collect(),
        actor: author.actor.clone(),
        reason: author.reason.clone(),
    };
    let mut parts = server.bundles().await?.export_bundle(request).await?.into_inner();
    let mut under_way: Option<BundleEntry> = None;
    while let Some(v1::ExportBundleResponse { event }) = parts.message().await? {
        match event {
            Some(Event::Head(head)) => spool.take(Exported::Head(head_from(head)?))?,
            Some(Event::Entry(entry)) => {
                under_way = Some(entry_from(entry)?);
                spool.come.clear();
            }
            Some(Event::Data(data)) => spool.come.extend_from_slice(&data),
            Some(Event::End(v1::BundleEnd { left_out })) => {
                spool.take(Exported::End(left_out))?;
                return Ok(spool);
            }
            None => continue,
        }
        if let Some(entry) = under_way.take_if(|entry| spool.come.len() as u64 >= entry.bytes) {
            let bytes = std::mem::take(&mut spool.come);
            spool.take(Exported::Entry(entry, bytes))?;
        }
    }
    anyhow::bail!("the daemon ended the export before its end; retry")
}

fn head_from(head: v1::BundleHead) -> anyhow::Result<ExportHead> {
    let v1::BundleHead { source, sequence, revision, time, model, model_digest, catalog_digest } = head;
    let time = timestamp(time).context("an export without a time")?;
    let model = BundleModel { name: model, digest: model_digest };
    Ok(ExportHead { source, sequence, revision, time, model, catalog_digest })
}

fn entry_from(entry: v1::BundleEntry) -> anyhow::Result<BundleEntry> {
    let v1::BundleEntry { path, kind, bytes, sha256, lifecycle, may_answer } = entry;
    let lifecycle = if lifecycle.is_empty() { None } else { Some(lifecycle.parse()?) };
    Ok(BundleEntry { path, kind: kind.parse()?, bytes, sha256: sha256.parse()?, lifecycle, may_answer })
}

/// What is to be written besides the catalogue, and where.
struct Wanted<'a> {
    out: &'a Path,
    labels: &'a [PathBuf],
    also: &'a [String],
    with_model: bool,
    config: &'a Config,
}

/// Adds models and labels, and writes the file.
fn finish(
    spool: Spool,
    wanted: &Wanted<'_>,
    key: Option<&PrivateKey>,
    work: Work<'_>,
) -> Result<Finished, EngineError> {
    let Spool { head, mut entries, left_out, mut file, come: _ } = spool;
    let head = head.ok_or_else(|| EngineError::Internal("an export without a head".into()))?;
    let mut files: Vec<PathBuf> = Vec::new();
    for (entry, file) in entries_of_labels(wanted.labels, work)? {
        entries.push(entry);
        files.push(file);
    }
    let cache = ModelCache::new(&wanted.config.models_dir);
    let mut names: Vec<&str> = if wanted.with_model { vec![&head.model.name] } else { Vec::new() };
    names.extend(wanted.also.iter().map(String::as_str));
    names.sort_unstable();
    names.dedup();
    let mut models = Vec::new();
    for name in names {
        let model = cache.get(name)?;
        let digest = model.digest().to_string();
        for (entry, file) in entries_of_model(&model)? {
            entries.push(entry);
            files.push(file);
        }
        models.push(BundleModel { name: name.to_owned(), digest });
    }
    let manifest = BundleManifest::seal(head, models, left_out, entries)?;
    // One that was cut short goes on under the number that it has: its signature is about that.
    // Somebody else's hand in that file must not get a number of the future signed.
    let earlier = interrupted_export(wanted.out);
    let goes_on = |earlier: &BundleManifest| {
        earlier.holds_the_same(&manifest) && earlier.sequence < manifest.sequence && earlier.time <= manifest.time
    };
    let begun_anew = earlier.as_ref().is_some_and(|earlier| !goes_on(earlier));
    let manifest = earlier.filter(|_| !begun_anew).unwrap_or(manifest);
    let rewound = |source| EngineError::Io { path: "a temporary file".into(), source };
    file.seek(SeekFrom::Start(0)).map_err(rewound)?;
    let spooled = Arc::new(Mutex::new(file));
    let mut files = files.into_iter();
    let mut content = |entry: &BundleEntry| -> Result<Box<dyn Read>, EngineError> {
        if entry.kind.is_carried() {
            // Entries are asked for in the order in which they came.
            return Ok(Box::new(Shared(Arc::clone(&spooled))));
        }
        let path = files.next().ok_or_else(|| EngineError::Internal("a file of a bundle is missing".into()))?;
        let file = File::open(&path).map_err(|source| EngineError::Io { path, source })?;
        Ok(Box::new(file))
    };
    let sign = |payload: Vec<u8>, key: &PrivateKey| -> Result<Vec<u8>, EngineError> {
        Ok(Envelope::sign(payload, key)?.to_json())
    };
    let reused = match key {
        Some(key) => write_bundle(wanted.out, &manifest, Some(&|payload| sign(payload, key)), &mut content, work)?,
        None => write_bundle(wanted.out, &manifest, None, &mut content, work)?,
    };
    Ok(Finished { manifest, reused, begun_anew })
}

/// A bundle that was written.
struct Finished {
    manifest: BundleManifest,
    /// Bytes that an export that was cut short had written.
    reused: u64,
    /// Whether there was one that the catalogue has changed since.
    begun_anew: bool,
}

/// The spool, from where it stands.
struct Shared(Arc<Mutex<File>>);

impl Read for Shared {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        self.0.lock().read(bytes)
    }
}

/// The digest of a file, and its length.
pub(super) fn hash_file(path: &Path, work: Work<'_>) -> Result<(Digest, u64), EngineError> {
    let bytes = std::fs::read(path).map_err(|source| EngineError::Io { path: path.to_path_buf(), source })?;
    (work.tell)("reading labelled intents", 0, 1);
    Ok((Digest::of(&bytes), bytes.len() as u64))
}
