//! `fitment bundle import`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use fitment_catalog::Digest;
use fitment_engine::{Author, BundleFile, BundleKind, EngineError, Fate, ImportOptions, bundle_signers};
use fitment_models::ModelCache;
use fitment_proto::v1;
use fitment_trust::PublicKey;

use super::models::{State, label_states, model_states, place};
use super::{Said, of_files, read_carried};
use crate::cli::trust::read_public_keys;
use crate::client::{AuthorFlags, ServerFlags};
use crate::output::{self, Exit};
use fitment_server::bundle_result;
use fitment_server::config::{Config, ConfigFlags};
use fitment_server::{daemon, telemetry};

/// Bytes of one message.
const PIECE: usize = 512 * 1024;

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub(super) struct ImportArguments {
    /// The bundle.
    file: PathBuf,
    /// A public key (PEM) that is believed besides those of the installed trust root that `may_bundle`.
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// Take it whoever signed it, or nobody: whoever can write the file then decides what may answer.
    #[arg(long, conflicts_with = "key")]
    unsigned: bool,
    /// Say what would be created, updated, kept or in conflict, and change nothing. Ends with code 6 on a conflict.
    #[arg(long)]
    dry_run: bool,
    /// Take a bundle that is older than the one imported last from the same catalogue.
    #[arg(long)]
    force: bool,
    /// What to leave out: trust-root, component, certificate (with evidence and revocations), ranker, calibration, model.
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    without: Vec<BundleKind>,
    /// Folder to write the bundle's labelled intents to; without it they stay in the bundle.
    #[arg(long, value_name = "DIR")]
    labels_to: Option<PathBuf>,
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

/// Where a bundle goes.
enum Target {
    Daemon(ServerFlags),
    Here(fitment_engine::Engine),
}

/// What is sent, once or twice.
struct Sent {
    said: Said,
    contents: Vec<Vec<u8>>,
    keys: Vec<PublicKey>,
    without: BTreeSet<BundleKind>,
}

pub(super) fn run(arguments: ImportArguments, flags: &ConfigFlags) -> anyhow::Result<ExitCode> {
    let config = flags.load()?;
    let keys = read_public_keys(&arguments.key)?;
    super::super::run_interruptible(import(arguments, config, keys))
}

async fn import(arguments: ImportArguments, config: Config, keys: Vec<PublicKey>) -> anyhow::Result<ExitCode> {
    let file = arguments.file.clone();
    let (said, contents) = of_files(move |work| read_carried(&file, work)).await?;
    let without: BTreeSet<BundleKind> = arguments.without.iter().map(|kind| kind.group()).collect();
    let cache = ModelCache::new(&config.models_dir);
    let mut beside: Vec<(BundleKind, String, State)> = Vec::new();
    if !without.contains(&BundleKind::Model) {
        let states = model_states(&said.0, &cache).into_iter();
        beside.extend(states.map(|(name, state)| (BundleKind::Model, name, state)));
    }
    if let Some(folder) = &arguments.labels_to {
        let states = label_states(&said.0, folder)?.into_iter();
        beside.extend(states.map(|(path, state)| (BundleKind::Labels, path, state)));
    }
    let sent = Arc::new(Sent { said, contents, keys, without });
    let new = |kind| beside.iter().filter(move |(of, _, state)| *of == kind && *state == State::Created);
    let models: Vec<String> = new(BundleKind::Model).map(|(_, name, _)| name.clone()).collect();
    let labels = new(BundleKind::Labels).next().and(arguments.labels_to.clone());
    let conflict = beside.iter().find(|(_, _, state)| *state == State::Conflict);
    let places = !(models.is_empty() && labels.is_none());
    let mut places = places;
    // The model must be there before a catalogue can be opened in this process: on a machine that has none yet, it comes first,
    // and what a daemon would check before is checked here.
    if arguments.offline && !arguments.dry_run && models.contains(&config.model) {
        if !arguments.unsigned {
            let digest = Digest::of(&sent.said.1);
            bundle_signers(&digest, &sent.said.2, None, &sent.keys, jiff::Timestamp::now())?;
        }
        put_in_place(&arguments, &sent, cache.clone(), models.clone(), labels.clone()).await?;
        places = false;
    }
    let target = if arguments.offline {
        telemetry::start(&config)?;
        let config = config.clone();
        Target::Here(tokio::task::spawn_blocking(move || daemon::open_engine(&config, &|_, _, _| {})).await??)
    } else {
        Target::Daemon(arguments.server.clone())
    };
    // Looked at whole before a file is put anywhere.
    if arguments.dry_run || places || conflict.is_some() {
        let looked = send(&target, &sent, &arguments, true).await?;
        let conflicts = looked.counts.iter().any(|count| count.conflicts > 0);
        if arguments.dry_run {
            let failed = conflicts || conflict.is_some();
            report(with_files(looked, &beside), arguments.json)?;
            return Ok(if failed { ExitCode::from(Exit::Precondition as u8) } else { ExitCode::SUCCESS });
        }
        if let Some((kind, subject, _)) = conflict.filter(|_| !conflicts) {
            let what = if *kind == BundleKind::Model {
                "another model of that name is installed"
            } else {
                "another file is there"
            };
            let detail = format!("{kind} `{subject}`: {what}; move it away, or leave it out (--without {kind})");
            return Err(EngineError::BundleRefused { detail }.into());
        }
        if !conflicts && places {
            put_in_place(&arguments, &sent, cache, models, labels).await?;
        }
    }
    let result = send(&target, &sent, &arguments, false).await?;
    report(with_files(result, &beside), arguments.json)?;
    Ok(ExitCode::SUCCESS)
}

async fn put_in_place(
    arguments: &ImportArguments,
    sent: &Sent,
    cache: ModelCache,
    models: Vec<String>,
    labels: Option<PathBuf>,
) -> anyhow::Result<()> {
    let (file, id) = (arguments.file.clone(), sent.said.0.id.clone());
    of_files(move |work| {
        let bundle = BundleFile::open(&file)?;
        if bundle.manifest().id != id {
            let detail = "another file took its place meanwhile".into();
            return Err(EngineError::BundleDamaged { path: file, detail });
        }
        place(bundle, &cache, &models, labels.as_deref(), work)
    })
    .await
}

async fn send(
    target: &Target,
    sent: &Arc<Sent>,
    arguments: &ImportArguments,
    dry_run: bool,
) -> anyhow::Result<v1::ImportBundleResult> {
    let (_, manifest, signature) = &sent.said;
    let (unsigned, force) = (arguments.unsigned, arguments.force);
    let AuthorFlags { actor, reason } = arguments.author.clone();
    match target {
        Target::Here(engine) => {
            let author = Author::new(actor, reason)?;
            let (engine, sent) = (engine.clone(), Arc::clone(sent));
            of_files(move |work| {
                let (keys, without) = (sent.keys.clone(), sent.without.clone());
                let options = ImportOptions { keys, unsigned, dry_run, force, without, author };
                let (_, manifest, signature) = &sent.said;
                let imported = engine.import_bundle(manifest, signature, sent.contents.clone(), &options, work)?;
                Ok(bundle_result(imported, dry_run))
            })
            .await
        }
        Target::Daemon(server) => {
            use v1::import_bundle_request::Part;
            let start = v1::ImportBundleStart {
                manifest: manifest.clone(),
                signature: signature.clone(),
                keys: sent.keys.iter().map(PublicKey::to_pem).collect(),
                unsigned,
                dry_run,
                force,
                without: sent.without.iter().map(ToString::to_string).collect(),
                actor,
                reason,
            };
            let (parts, stream) = tokio::sync::mpsc::channel(8);
            let sending = Arc::clone(sent);
            // Ends with the call: nobody takes what is sent then.
            tokio::spawn(async move {
                let message = |part| v1::ImportBundleRequest { part: Some(part) };
                if parts.send(message(Part::Start(start))).await.is_err() {
                    return;
                }
                let mut piece = Vec::with_capacity(PIECE);
                for content in &sending.contents {
                    for slice in content.chunks(PIECE) {
                        piece.extend_from_slice(slice);
                        if piece.len() >= PIECE
                            && parts.send(message(Part::Data(std::mem::take(&mut piece)))).await.is_err()
                        {
                            return;
                        }
                    }
                }
                if !piece.is_empty() {
                    drop(parts.send(message(Part::Data(piece))).await);
                }
            });
            let requests = tokio_stream::wrappers::ReceiverStream::new(stream);
            let events = server.bundles().await?.import_bundle(requests).await?.into_inner();
            crate::cli::remote::finish(events).await
        }
    }
}

/// The result with what became of models and labels.
fn with_files(mut result: v1::ImportBundleResult, beside: &[(BundleKind, String, State)]) -> v1::ImportBundleResult {
    for (kind, subject, state) in beside {
        let kind = kind.to_string();
        let at = result.counts.iter().position(|count| count.kind == kind).unwrap_or_else(|| {
            result.counts.push(v1::BundleCount { kind: kind.clone(), ..Default::default() });
            result.counts.len() - 1
        });
        let count = &mut result.counts[at];
        let fate = match state {
            State::Created => {
                count.created += 1;
                result.changed = true;
                Fate::Created
            }
            State::Unchanged => {
                count.unchanged += 1;
                continue;
            }
            State::Conflict => {
                count.conflicts += 1;
                Fate::Conflict
            }
        };
        let (subject, fate) = (subject.clone(), fate.as_str().to_owned());
        result.changes.push(v1::BundleChange { kind, subject, fate, detail: String::new() });
    }
    result
}

fn report(result: v1::ImportBundleResult, json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(&output::message_json("fitment.v1.ImportBundleResult", &result)?);
    }
    let v1::ImportBundleResult { bundle_id, dry_run, changed, revision, signers, counts, changes } = result;
    let mut table = output::table(&["kind", "created", "updated", "unchanged", "kept", "conflicts"]);
    for v1::BundleCount { kind, created, updated, unchanged, kept, conflicts } in counts {
        let counts = [created, updated, unchanged, kept, conflicts].map(|count| count.to_string());
        table.add_row([vec![kind], counts.to_vec()].concat());
    }
    output::line(table)?;
    for v1::BundleChange { kind, subject, fate, detail } in changes {
        let detail = if detail.is_empty() { detail } else { format!(": {detail}") };
        output::line(format!("{fate} {kind} {subject}{detail}"))?;
    }
    let signed = if signers.is_empty() {
        "nobody's signature was asked for".into()
    } else {
        format!("signed by {}", signers.join(", "))
    };
    output::line(match (dry_run, changed) {
        (true, true) => format!("{bundle_id}, {signed}: this is what would change; nothing was changed"),
        (true, false) => format!("{bundle_id}, {signed}: nothing would change"),
        (false, true) => format!("{bundle_id}, {signed}: imported; revision {revision}"),
        (false, false) => format!("{bundle_id}, {signed}: everything was here already; nothing was changed"),
    })
}
