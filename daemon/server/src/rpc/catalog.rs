//! `CatalogService`: component versions in and out.

use std::pin::Pin;

use fitment_catalog::{Format, Manifest};
use fitment_engine::{
    Engine, EngineError, ExportedFile, Fate, Import, Imported, LookedAt, Looking, Page, Standing, VersionSelector,
    Viewer,
};
use fitment_proto::v1;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::edge::explain_transport;
use super::status::{item_status_of, status_of};
use super::{EngineSlot, WireLimits, convert};

/// Items of an import that are committed together.
const IMPORT_BATCH: usize = 64;
/// Bytes of one message of an export.
const EXPORT_PIECE: usize = 512 * 1024;
/// Messages of an export that wait for a slow receiver.
const EXPORT_WAITING: usize = 8;

/// The service.
pub(crate) struct CatalogService {
    pub(crate) engine: EngineSlot,
    pub(crate) limits: WireLimits,
    /// True once the daemon is to end: streams without an end of their own end then.
    pub(crate) stopping: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl v1::catalog_service_server::CatalogService for CatalogService {
    async fn create_component(
        &self,
        request: Request<v1::CreateComponentRequest>,
    ) -> Result<Response<v1::Component>, Status> {
        let engine = self.engine.of(&request)?;
        create(&engine, request.into_inner()).await.map(Response::new).map_err(|error| status_of(&error))
    }

    async fn get_component(
        &self,
        request: Request<v1::GetComponentRequest>,
    ) -> Result<Response<v1::Component>, Status> {
        let engine = self.engine.of(&request)?;
        let v1::GetComponentRequest { name, version, digest, min_revision, show_deleted } = request.into_inner();
        let found = async {
            let selector = match selector(&name, &version, &digest)? {
                VersionSelector::Exact(name, version) if show_deleted => VersionSelector::Deleted(name, version),
                _ if show_deleted => {
                    return Err(EngineError::field("show_deleted", "needs a name and a version; send both"));
                }
                selector => selector,
            };
            engine.get(selector, min_revision).await
        };
        let (version, manifest) = found.await.map_err(|error: EngineError| status_of(&error))?;
        Ok(Response::new(convert::component(version, manifest)))
    }

    async fn list_components(
        &self,
        request: Request<v1::ListComponentsRequest>,
    ) -> Result<Response<v1::ListComponentsResponse>, Status> {
        let engine = self.engine.of(&request)?;
        let v1::ListComponentsRequest { page_size, page_token, filter, view, min_revision } = request.into_inner();
        let listed = async {
            let with_manifests = match v1::ComponentView::try_from(view) {
                Ok(v1::ComponentView::Unspecified | v1::ComponentView::Basic) => false,
                Ok(v1::ComponentView::Full) => true,
                Err(_) => return Err(convert::unknown("view", view)),
            };
            let page = Page {
                size: page_size as usize,
                token: page_token,
                filter: convert::filter_input(filter)?,
                with_manifests,
                max_bytes: self.limits.max_response_bytes / 2,
            };
            engine.list(page, min_revision).await
        };
        let listing = listed.await.map_err(|error: EngineError| status_of(&error))?;
        Ok(Response::new(v1::ListComponentsResponse {
            components: listing
                .versions
                .into_iter()
                .map(|(version, manifest)| convert::component(version, manifest))
                .collect(),
            next_page_token: listing.next_token,
            total_size: listing.total as u64,
            revision: listing.revision,
        }))
    }

    async fn delete_component(
        &self,
        request: Request<v1::DeleteComponentRequest>,
    ) -> Result<Response<v1::DeleteComponentResponse>, Status> {
        let engine = self.engine.of(&request)?;
        let v1::DeleteComponentRequest { name, version, etag, request_id, actor, reason } = request.into_inner();
        let deleted =
            async { engine.delete(standing(&engine, &name, &version, etag, request_id, actor, reason)?).await };
        let revision = deleted.await.map_err(|error: EngineError| status_of(&error))?;
        let touched = touched(&engine, &name, &version).await.map_err(|error| status_of(&error))?;
        Ok(Response::new(v1::DeleteComponentResponse { revision, touched }))
    }

    async fn undelete_component(
        &self,
        request: Request<v1::UndeleteComponentRequest>,
    ) -> Result<Response<v1::UndeleteComponentResponse>, Status> {
        let engine = self.engine.of(&request)?;
        let v1::UndeleteComponentRequest { name, version, etag, request_id, actor, reason } = request.into_inner();
        let restored =
            async { engine.undelete(standing(&engine, &name, &version, etag, request_id, actor, reason)?).await };
        let revision = restored.await.map_err(|error: EngineError| status_of(&error))?;
        Ok(Response::new(v1::UndeleteComponentResponse { revision }))
    }

    async fn move_component(
        &self,
        request: Request<v1::MoveComponentRequest>,
    ) -> Result<Response<v1::MoveComponentResponse>, Status> {
        let engine = self.engine.of(&request)?;
        let v1::MoveComponentRequest { name, version, lifecycle, reason, actor, etag, request_id } =
            request.into_inner();
        let moved = async {
            let to = convert::lifecycle(lifecycle)?;
            engine.move_to(standing(&engine, &name, &version, etag, request_id, actor, reason)?, to).await
        };
        let revision = moved.await.map_err(|error: EngineError| status_of(&error))?;
        let takes_away =
            matches!(v1::Lifecycle::try_from(lifecycle), Ok(v1::Lifecycle::Deprecated | v1::Lifecycle::Revoked));
        let touched =
            if takes_away { touched(&engine, &name, &version).await.map_err(|error| status_of(&error))? } else { None };
        Ok(Response::new(v1::MoveComponentResponse { revision, touched }))
    }

    async fn check_schema_compatibility(
        &self,
        request: Request<v1::CheckSchemaCompatibilityRequest>,
    ) -> Result<Response<v1::CheckSchemaCompatibilityResponse>, Status> {
        let engine = self.engine.of(&request)?;
        let v1::CheckSchemaCompatibilityRequest { old, new } = request.into_inner();
        let compared = async {
            let old = schema_source(&engine, "old", old).await?;
            let new = schema_source(&engine, "new", new).await?;
            engine.compare_schemas(old, new).await
        };
        let found = compared.await.map_err(|error: EngineError| status_of(&error))?;
        Ok(Response::new(convert::compatibility(found)))
    }

    type WatchCatalogStream = ReceiverStream<Result<v1::CatalogChange, Status>>;

    async fn watch_catalog(
        &self,
        request: Request<v1::WatchCatalogRequest>,
    ) -> Result<Response<Self::WatchCatalogStream>, Status> {
        let engine = self.engine.of(&request)?;
        super::watch::changes(engine, request.into_inner(), self.stopping.clone()).await.map(Response::new)
    }

    type ImportComponentsStream = Pin<Box<dyn Stream<Item = Result<v1::ImportComponentsResponse, Status>> + Send>>;

    async fn import_components(
        &self,
        request: Request<Streaming<v1::ImportComponentsRequest>>,
    ) -> Result<Response<Self::ImportComponentsStream>, Status> {
        let engine = self.engine.of(&request)?;
        let (results, stream) = mpsc::channel(IMPORT_BATCH);
        tokio::spawn(import(engine, request.into_inner(), results));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    type ExportCatalogStream = ReceiverStream<Result<v1::ExportCatalogResponse, Status>>;

    async fn export_catalog(
        &self,
        request: Request<v1::ExportCatalogRequest>,
    ) -> Result<Response<Self::ExportCatalogStream>, Status> {
        let engine = self.engine.of(&request)?;
        let v1::ExportCatalogRequest {} = request.into_inner();
        let (pieces, stream) = mpsc::channel(EXPORT_WAITING);
        tokio::task::spawn_blocking(move || {
            // A receiver that left ends the work at its next message.
            let mut take = |ExportedFile { path, content }: ExportedFile| {
                let count = content.len().div_ceil(EXPORT_PIECE).max(1);
                for at in 0..count {
                    let data = content[at * EXPORT_PIECE..content.len().min((at + 1) * EXPORT_PIECE)].to_vec();
                    let piece = v1::ExportCatalogResponse { path: path.clone(), data, last: at + 1 == count };
                    pieces.blocking_send(Ok(piece)).map_err(|_left| EngineError::Stopping)?;
                }
                Ok(())
            };
            if let Err(error) = engine.export_files(&mut take) {
                drop(pieces.blocking_send(Err(status_of(&error))));
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

async fn create(engine: &Engine, request: v1::CreateComponentRequest) -> Result<v1::Component, EngineError> {
    let v1::CreateComponentRequest {
        manifest,
        format,
        source,
        expected_digest,
        request_id,
        validate_only,
        actor,
        reason,
        allow_near_duplicate,
    } = request;
    let (format, author) = (convert::format(format)?, engine.viewer().author(actor, reason)?);
    let standing = Vec::new();
    let import =
        Import { manifest, format, source, expected_digest, request_id, author, allow_near_duplicate, standing };
    if validate_only {
        let manifest = engine.check_manifest(&import)?;
        let looked = engine.look(vec![import], &mut Looking::default()).await?.pop();
        let looked = looked.unwrap_or_else(|| Err(EngineError::Internal("a look gave no result".into())))?;
        let near_duplicates = convert::near_duplicates(looked.near_duplicates);
        return Ok(v1::Component { near_duplicates, ..convert::checked_component(&manifest) });
    }
    let Imported { version, fate: _, revision: _, near_duplicates } = engine.create(import).await?;
    // It may be deleted by now, or, where this repeats an earlier request, have been so for long: it was written all the same.
    let written = VersionSelector::Deleted(version.card.name, version.card.version);
    let (version, manifest) = engine.get(written, 0).await?;
    let near_duplicates = convert::near_duplicates(near_duplicates);
    Ok(v1::Component { near_duplicates, ..convert::component(version, manifest) })
}

/// Kept assemblies that use a version.
async fn touched(engine: &Engine, name: &str, version: &str) -> Result<Option<v1::TouchedAssemblies>, EngineError> {
    let selector = VersionSelector::Deleted(convert::component_name(name)?, convert::version(version)?);
    let (version, _) = engine.get(selector, 0).await?;
    Ok(super::assembly::touched(engine.touched_by(&[version.card.digest])))
}

/// A manifest that is stored, or sent along.
async fn schema_source(
    engine: &Engine,
    field: &str,
    source: Option<v1::SchemaSource>,
) -> Result<Manifest, EngineError> {
    use v1::schema_source::Source;
    match source.and_then(|source| source.source) {
        None => Err(EngineError::field(field, "is absent; name a stored version or send a manifest")),
        Some(Source::Manifest(bytes)) => Ok(Manifest::parse(field, &bytes, Format::Auto)?),
        Some(Source::Component(component)) => {
            let fault = || EngineError::field(field, "names no version; write namespace/name@version");
            let (name, version) = component.split_once('@').ok_or_else(fault)?;
            let selector = VersionSelector::Exact(convert::component_name(name)?, convert::version(version)?);
            let (_, manifest) = engine.get(selector, 0).await?;
            Ok(Manifest::from_canonical_json(field, &manifest)?)
        }
    }
}

/// A change of where one version stands.
fn standing(
    engine: &Engine,
    name: &str,
    version: &str,
    etag: String,
    request_id: String,
    actor: String,
    reason: String,
) -> Result<Standing, EngineError> {
    convert::short("request_id", &request_id, 128)?;
    Ok(Standing {
        name: convert::component_name(name)?,
        version: convert::version(version)?,
        etag,
        request_id,
        author: engine.viewer().author(actor, reason)?,
    })
}

pub(super) fn selector(name: &str, version: &str, digest: &str) -> Result<VersionSelector, EngineError> {
    if !digest.is_empty() {
        if !name.is_empty() || !version.is_empty() {
            return Err(EngineError::field("digest", "comes with a name or version; send one or the other"));
        }
        let digest = digest.parse().map_err(|error| EngineError::field("digest", format!("{error}")))?;
        return Ok(VersionSelector::Digest(digest));
    }
    let name = convert::component_name(name)?;
    if version.is_empty() {
        return Ok(VersionSelector::Newest(name));
    }
    Ok(VersionSelector::Exact(name, convert::version(version)?))
}

/// Takes items as they come and commits what has gathered, so that a slow sender is answered soon and a fast one cheaply.
async fn import(
    engine: Engine,
    requests: Streaming<v1::ImportComponentsRequest>,
    results: mpsc::Sender<Result<v1::ImportComponentsResponse, Status>>,
) {
    let (gathered, mut waiting) = mpsc::channel(IMPORT_BATCH);
    let reader = tokio::spawn(read_items(engine.viewer().clone(), requests, gathered));
    let mut index = 0u64;
    let mut batch = Vec::with_capacity(IMPORT_BATCH);
    let mut looking = Looking::default();
    loop {
        let taken = tokio::select! {
            taken = waiting.recv_many(&mut batch, IMPORT_BATCH) => taken,
            () = results.closed() => 0,
        };
        if taken == 0 {
            break;
        }
        let mut sources = Vec::with_capacity(taken);
        let mut items = Vec::with_capacity(taken);
        let mut broken = None;
        for item in batch.drain(..) {
            match item {
                Ok((item, only_look)) => {
                    sources.push((item.source.clone(), only_look));
                    items.push(item);
                }
                Err(status) => broken = Some(status),
            }
        }
        let results_of = written_or_looked_at(&engine, items, &sources, &mut looking).await;
        let written = match results_of {
            Ok(written) => written,
            Err(error) => {
                drop(results.send(Err(status_of(&error))).await);
                break;
            }
        };
        for ((source, _), result) in sources.into_iter().zip(written) {
            let response = item_response(index, source, result);
            index += 1;
            if results.send(Ok(response)).await.is_err() {
                reader.abort();
                return;
            }
        }
        if let Some(status) = broken {
            drop(results.send(Err(status)).await);
            break;
        }
    }
    reader.abort();
}

async fn read_items(
    viewer: Viewer,
    mut requests: Streaming<v1::ImportComponentsRequest>,
    gathered: mpsc::Sender<Result<(Import, bool), Status>>,
) {
    while let Some(request) = requests.next().await {
        let item = request.map_err(|status| explain_transport(&status)).and_then(|request| {
            let v1::ImportComponentsRequest {
                manifest,
                format,
                source,
                actor,
                reason,
                allow_near_duplicate,
                standing,
                validate_only,
            } = request;
            let format = convert::format(format).map_err(|error| status_of(&error))?;
            let author = viewer.author(actor, reason).map_err(|error| status_of(&error))?;
            let (expected_digest, request_id) = Default::default();
            let import = Import {
                manifest,
                format,
                source,
                expected_digest,
                request_id,
                author,
                allow_near_duplicate,
                standing,
            };
            Ok((import, validate_only))
        });
        let broken = item.is_err();
        if gathered.send(item).await.is_err() || broken {
            return;
        }
    }
}

/// A batch is written, or only looked at as soon as one of its items asks for no more: nothing is written then by mistake.
async fn written_or_looked_at(
    engine: &Engine,
    items: Vec<Import>,
    sources: &[(String, bool)],
    looking: &mut Looking,
) -> Result<Vec<Result<LookedAt, EngineError>>, EngineError> {
    if sources.iter().any(|(_, only_look)| *only_look) {
        return engine.look(items, looking).await;
    }
    let written = engine.import(items).await?;
    Ok(written.into_iter().map(|item| item.map(LookedAt::from)).collect())
}

fn item_response(index: u64, source: String, result: Result<LookedAt, EngineError>) -> v1::ImportComponentsResponse {
    match result {
        Ok(LookedAt { name, version, digest, fate, revision, near_duplicates }) => v1::ImportComponentsResponse {
            index,
            source,
            result: match fate {
                Fate::Created => v1::ImportResult::Created,
                Fate::Updated => v1::ImportResult::Updated,
                Fate::Kept => v1::ImportResult::Kept,
                Fate::Unchanged | Fate::Conflict => v1::ImportResult::Unchanged,
            } as i32,
            status: Some(v1::ItemStatus::default()),
            name: name.to_string(),
            version: version.to_string(),
            digest: digest.to_string(),
            revision,
            near_duplicates: convert::near_duplicates(near_duplicates),
        },
        Err(error) => v1::ImportComponentsResponse {
            index,
            source,
            result: v1::ImportResult::Failed as i32,
            status: Some(item_status_of(&error)),
            ..Default::default()
        },
    }
}
