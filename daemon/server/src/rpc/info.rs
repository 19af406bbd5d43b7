//! `InfoService`: what is being served, also while it is still loading.

use fitment_engine::{CacheUse, Engine, EngineError};
use fitment_proto::v1;
use tonic::{Request, Response, Status};

use super::status::status_of;
use super::{EngineSlot, WireLimits, count};

/// The service.
pub(crate) struct InfoService {
    pub(crate) engine: EngineSlot,
    pub(crate) limits: WireLimits,
    pub(crate) queue_capacity: usize,
}

#[tonic::async_trait]
impl v1::info_service_server::InfoService for InfoService {
    async fn get_server_info(
        &self,
        request: Request<v1::GetServerInfoRequest>,
    ) -> Result<Response<v1::GetServerInfoResponse>, Status> {
        let (engine, limits) = (self.engine.looked_up(&request)?, self.limits.describe(self.queue_capacity));
        // It reads the store and waits for locks of the index, and a thread that serves everybody must not.
        tokio::task::spawn_blocking(move || describe(engine, limits))
            .await
            .map(Response::new)
            .map_err(|error| status_of(&EngineError::Internal(format!("a computation was lost: {error}"))))
    }
}

fn describe(engine: Option<Engine>, limits: v1::Limits) -> v1::GetServerInfoResponse {
    let info = engine.as_ref().map(|engine| (engine.info(), engine.ranker()));
    // What was learnt is worth no failure of the one call that says how the daemon is.
    let feedback = engine.and_then(|engine| engine.feedback_summary().ok()).map(super::feedback::summary);
    let second_stage =
        info.as_ref().and_then(|(info, _)| info.second_stage.clone()).map(|second| v1::SecondStageInfo {
            model: Some(model_info(&second.model)),
            budget_ms: u32::try_from(second.budget.as_millis()).unwrap_or(u32::MAX),
            missing_versions: second.missing as u64,
        });
    let vector_cache = info.as_ref().map(|(info, _)| {
        let CacheUse { hits, misses, entries, bytes, capacity } = info.cache;
        v1::VectorCacheInfo { hits, misses, entries, bytes, capacity_bytes: capacity }
    });
    let (model, catalog) = match info {
        None => (None, None),
        Some((info, ranker)) => (
            Some(model_info(&info.model)),
            Some(v1::CatalogInfo {
                revision: info.revision,
                versions: info.versions as u64,
                matchable_versions: info.matchable as u64,
                vectors: info.vectors as u64,
                calibration_id: info.calibration_id.unwrap_or_default(),
                calibration: info.calibration,
                ranker_id: ranker.id.clone(),
                ranker_fitted_on: ranker.fitted_on.clone(),
            }),
        ),
    };
    v1::GetServerInfoResponse {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ready: model.is_some(),
        model,
        catalog,
        limits: Some(limits),
        feedback,
        second_stage,
        vector_cache,
    }
}

fn model_info(model: &fitment_models::ModelInfo) -> v1::ModelInfo {
    v1::ModelInfo {
        name: model.name.clone(),
        digest: model.digest.to_string(),
        dimension: count(model.dimension),
        max_tokens: count(model.max_tokens),
        kernel: model.compute.kernel.clone(),
        precision: model.compute.precision.to_string(),
        device: model.compute.device.clone(),
        threads: count(model.compute.threads),
    }
}
