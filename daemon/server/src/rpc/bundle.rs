//! `BundleService`: what a catalogue gives to a bundle and takes from one. Files, keys and signatures are the client's.

use std::collections::BTreeSet;
use std::pin::Pin;

use fitment_engine::{
    BundleAssembly, BundleChange, BundleCounts, BundleEntry, BundleKind, BundleManifest, Engine, EngineError,
    ExportHead, Exported, ImportOptions, ImportedBundle, Stop, Work,
};
use fitment_proto::v1;
use fitment_trust::PublicKey;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::job::{Event, Events, Jobs, run};
use super::slot::tenant_of;
use super::status::status_of;
use super::{EngineSlot, convert};

/// Bytes of one message's data.
const PIECE: usize = 512 * 1024;
/// Messages of an export that wait for a slow receiver.
const WAITING: usize = 8;

/// The service.
pub(crate) struct BundleService {
    pub(crate) engine: EngineSlot,
    pub(crate) jobs: Jobs,
}

type Parts = Pin<Box<dyn Stream<Item = Result<v1::ExportBundleResponse, Status>> + Send>>;

#[tonic::async_trait]
impl v1::bundle_service_server::BundleService for BundleService {
    type ExportBundleStream = Parts;

    async fn export_bundle(&self, request: Request<v1::ExportBundleRequest>) -> Result<Response<Parts>, Status> {
        let engine = self.engine.of(&request)?;
        let v1::ExportBundleRequest { without, actor, reason } = request.into_inner();
        let without = kinds(&without).map_err(|error| status_of(&error))?;
        let author = engine.viewer().author(actor, reason).map_err(|error| status_of(&error))?;
        let (parts, stream) = mpsc::channel(WAITING);
        tokio::task::spawn_blocking(move || {
            // A receiver that left ends the work at its next message.
            let send = |event| {
                let part = v1::ExportBundleResponse { event: Some(event) };
                parts.blocking_send(Ok(part)).map_err(|_left| EngineError::Stopping)
            };
            let mut take = |exported: Exported| -> Result<(), EngineError> {
                use v1::export_bundle_response::Event;
                match exported {
                    Exported::Head(head) => send(Event::Head(head_to(head))),
                    Exported::Entry(entry, bytes) => {
                        send(Event::Entry(entry_to(entry)))?;
                        bytes.chunks(PIECE).try_for_each(|piece| send(Event::Data(piece.to_vec())))
                    }
                    Exported::End(left_out) => send(Event::End(v1::BundleEnd { left_out })),
                }
            };
            let work = Work { tell: &|_, _, _| {}, stop: &Stop::default() };
            if let Err(error) = engine.export_bundle(&without, &author, work, &mut take) {
                // A receiver that left needs no answer.
                drop(parts.blocking_send(Err(status_of(&error))));
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    type ImportBundleStream = Events<v1::ImportBundleResponse>;

    async fn import_bundle(
        &self,
        request: Request<Streaming<v1::ImportBundleRequest>>,
    ) -> Result<Response<Self::ImportBundleStream>, Status> {
        let engine = self.engine.of(&request)?;
        let tenant = tenant_of(&request);
        let mut parts = request.into_inner();
        let place = self.jobs.start(&tenant, "a bundle's import").map_err(|error| status_of(&error))?;
        let Some(v1::import_bundle_request::Part::Start(start)) = parts.message().await?.and_then(|first| first.part)
        else {
            return Err(status_of(&EngineError::field("start", "is missing; send it first")));
        };
        let (assembly, started) = started(&engine, start).map_err(|error| status_of(&error))?;
        Ok(run(move |teller, stop| async move {
            let (manifest, contents) = assembled(&mut parts, assembly).await?;
            drop(manifest);
            let imported = tokio::task::spawn_blocking(move || {
                let _place = place;
                let tell = |step: &str, done, total| teller.tell(step, done, total);
                let Started { manifest, signature, options } = started;
                let work = Work { tell: &tell, stop: &stop };
                let imported = engine.import_bundle(&manifest, &signature, contents, &options, work)?;
                Ok::<_, EngineError>(result_to(imported, options.dry_run))
            });
            let result =
                imported.await.map_err(|error| EngineError::Internal(format!("a computation was lost: {error}")))??;
            Ok(v1::ImportBundleResponse { event: Some(v1::import_bundle_response::Event::Result(result)) })
        }))
    }
}

impl Event for v1::ImportBundleResponse {
    fn progress(progress: v1::JobProgress) -> Self {
        Self { event: Some(v1::import_bundle_response::Event::Progress(progress)) }
    }
}

struct Started {
    manifest: Vec<u8>,
    signature: Vec<u8>,
    options: ImportOptions,
}

fn started(engine: &Engine, start: v1::ImportBundleStart) -> Result<(BundleAssembly, Started), EngineError> {
    let v1::ImportBundleStart { manifest, signature, keys, unsigned, dry_run, force, without, actor, reason } = start;
    let read = BundleManifest::parse(&manifest)
        .map_err(|detail| EngineError::BundleDamaged { path: "that was sent".into(), detail })?;
    let keys = keys.iter().map(|key| PublicKey::parse(key)).collect::<Result<_, _>>()?;
    let (without, author) = (kinds(&without)?, engine.viewer().author(actor, reason)?);
    let options = ImportOptions { keys, unsigned, dry_run, force, without, author };
    Ok((BundleAssembly::new(read), Started { manifest, signature, options }))
}

/// The carried entries, once all have come.
async fn assembled(
    parts: &mut Streaming<v1::ImportBundleRequest>,
    mut assembly: BundleAssembly,
) -> Result<(BundleManifest, Vec<Vec<u8>>), EngineError> {
    loop {
        let part = parts.message().await.map_err(|_left| EngineError::Stopping)?;
        match part.map(|part| part.part) {
            Some(Some(v1::import_bundle_request::Part::Data(data))) => assembly.push(&data)?,
            Some(_) => return Err(EngineError::field("part", "is no data; send one start, then data")),
            None => return assembly.finish(),
        }
    }
}

fn kinds(names: &[String]) -> Result<BTreeSet<BundleKind>, EngineError> {
    names.iter().map(|name| name.parse::<BundleKind>().map(BundleKind::group)).collect()
}

fn head_to(head: ExportHead) -> v1::BundleHead {
    let ExportHead { source, sequence, revision, time, model, catalog_digest } = head;
    v1::BundleHead {
        source,
        sequence,
        revision,
        time: Some(convert::timestamp(time)),
        model: model.name,
        model_digest: model.digest,
        catalog_digest,
    }
}

fn entry_to(entry: BundleEntry) -> v1::BundleEntry {
    let BundleEntry { path, kind, bytes, sha256, lifecycle, may_answer } = entry;
    v1::BundleEntry {
        path,
        kind: kind.to_string(),
        bytes,
        sha256: sha256.to_string(),
        lifecycle: lifecycle.map(|lifecycle| lifecycle.to_string()).unwrap_or_default(),
        may_answer,
    }
}

/// What became of an import, as it goes over the wire and into JSON.
pub fn result_to(imported: ImportedBundle, dry_run: bool) -> v1::ImportBundleResult {
    let ImportedBundle { id, changed, revision, signers, counts, changes } = imported;
    let count = |(kind, counts): (BundleKind, BundleCounts)| {
        let BundleCounts { created, updated, unchanged, kept, conflicts } = counts;
        v1::BundleCount { kind: kind.to_string(), created, updated, unchanged, kept, conflicts }
    };
    let change = |change: BundleChange| {
        let BundleChange { kind, subject, fate, detail } = change;
        v1::BundleChange { kind: kind.to_string(), subject, fate: fate.as_str().to_owned(), detail }
    };
    v1::ImportBundleResult {
        bundle_id: id,
        dry_run,
        changed,
        revision,
        signers,
        counts: counts.into_iter().map(count).collect(),
        changes: changes.into_iter().map(change).collect(),
    }
}
