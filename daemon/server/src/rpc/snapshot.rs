//! `SnapshotService`: copies of the catalogue, in the one folder that the configuration names. No path comes from a caller.

use std::path::PathBuf;

use fitment_engine::{EngineError, SnapshotSummary, Work, list_snapshots, snapshot_file, verify_snapshot};
use fitment_proto::v1;
use tonic::{Request, Response, Status};

use super::job::{Event, Events, Jobs, run};
use super::slot::tenant_of;
use super::status::status_of;
use super::{EngineSlot, convert};
use crate::caller::DEFAULT_TENANT;

/// The service.
pub(crate) struct SnapshotService {
    pub(crate) engine: EngineSlot,
    pub(crate) folder: PathBuf,
    /// Its own: a backup does not wait for a fit.
    pub(crate) jobs: Jobs,
}

impl SnapshotService {
    /// Where a tenant's snapshots lie: no other tenant's are in it.
    fn folder_of(&self, tenant: &str) -> PathBuf {
        if tenant == DEFAULT_TENANT { self.folder.clone() } else { self.folder.join("tenants").join(tenant) }
    }
}

#[tonic::async_trait]
impl v1::snapshot_service_server::SnapshotService for SnapshotService {
    type CreateSnapshotStream = Events<v1::CreateSnapshotResponse>;

    async fn create_snapshot(
        &self,
        request: Request<v1::CreateSnapshotRequest>,
    ) -> Result<Response<Self::CreateSnapshotStream>, Status> {
        let engine = self.engine.of(&request)?;
        let tenant = tenant_of(&request);
        let v1::CreateSnapshotRequest {} = request.into_inner();
        let place = self.jobs.start(&tenant, "a snapshot").map_err(|error| status_of(&error))?;
        let folder = self.folder_of(&tenant);
        Ok(run(move |teller, stop| async move {
            of_blocking(move || {
                let _place = place;
                let tell = |step: &str, done, total| teller.tell(step, done, total);
                let written = engine.create_snapshot(&folder, Work { tell: &tell, stop: &stop })?;
                let file = snapshot_file(&folder, &written.summary.name)?.display().to_string();
                let result = v1::CreateSnapshotResult {
                    snapshot: Some(snapshot_to(written.summary)),
                    file,
                    new_chunks: written.new_chunks,
                    new_bytes: written.new_bytes,
                };
                Ok(v1::CreateSnapshotResponse { event: Some(v1::create_snapshot_response::Event::Result(result)) })
            })
            .await
        }))
    }

    async fn list_snapshots(
        &self,
        request: Request<v1::ListSnapshotsRequest>,
    ) -> Result<Response<v1::ListSnapshotsResponse>, Status> {
        let folder = self.folder_of(&tenant_of(&request));
        let v1::ListSnapshotsRequest {} = request.into_inner();
        let listing = of_blocking(move || list_snapshots(&folder)).await.map_err(|error| status_of(&error))?;
        Ok(Response::new(v1::ListSnapshotsResponse {
            snapshots: listing.snapshots.into_iter().map(snapshot_to).collect(),
            damaged: listing.damaged.iter().map(ToString::to_string).collect(),
        }))
    }

    type VerifySnapshotStream = Events<v1::VerifySnapshotResponse>;

    async fn verify_snapshot(
        &self,
        request: Request<v1::VerifySnapshotRequest>,
    ) -> Result<Response<Self::VerifySnapshotStream>, Status> {
        let tenant = tenant_of(&request);
        let v1::VerifySnapshotRequest { name } = request.into_inner();
        let file = snapshot_file(&self.folder_of(&tenant), &name).map_err(|error| status_of(&error))?;
        let place = self.jobs.start(&tenant, "a snapshot's check").map_err(|error| status_of(&error))?;
        Ok(run(move |teller, stop| async move {
            of_blocking(move || {
                let _place = place;
                let tell = |step: &str, done, total| teller.tell(step, done, total);
                let summary = verify_snapshot(&file, Work { tell: &tell, stop: &stop })?;
                let result = v1::verify_snapshot_response::Event::Result(snapshot_to(summary));
                Ok(v1::VerifySnapshotResponse { event: Some(result) })
            })
            .await
        }))
    }
}

impl Event for v1::CreateSnapshotResponse {
    fn progress(progress: v1::JobProgress) -> Self {
        Self { event: Some(v1::create_snapshot_response::Event::Progress(progress)) }
    }
}

impl Event for v1::VerifySnapshotResponse {
    fn progress(progress: v1::JobProgress) -> Self {
        Self { event: Some(v1::verify_snapshot_response::Event::Progress(progress)) }
    }
}

fn snapshot_to(summary: SnapshotSummary) -> v1::Snapshot {
    let SnapshotSummary { name, digest, time, revision, model, model_digest, audit_head, rows, bytes, chunks } =
        summary;
    v1::Snapshot {
        name,
        digest,
        time: Some(convert::timestamp(time)),
        revision,
        model,
        model_digest,
        audit_sequence: audit_head.sequence,
        audit_digest: audit_head.digest,
        rows,
        chunks,
        bytes,
    }
}

async fn of_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| EngineError::Internal(format!("a computation was lost: {error}")))?
}
