//! `ModelService`: another encoding model for the catalogue that is served.

use std::path::PathBuf;

use fitment_engine::{Author, EncoderLimits, Engine, EngineError, Method, Stop, Work, evaluate};
use fitment_evaluation::{Comparison, Run};
use fitment_models::{LoadOptions, ModelCache, ModelInfo};
use fitment_proto::v1;
use tonic::{Request, Response, Status};

use super::EngineSlot;
use super::evaluation::{Labelled, labelled};
use super::job::{Event, Events, Jobs, Place, Tell, run};
use super::slot::tenant_of;
use super::status::status_of;

/// The service.
pub(crate) struct ModelService {
    pub(crate) engine: EngineSlot,
    pub(crate) models_dir: PathBuf,
    pub(crate) encoder: LoadOptions,
    pub(crate) limits: EncoderLimits,
    pub(crate) jobs: Jobs,
}

#[tonic::async_trait]
impl v1::model_service_server::ModelService for ModelService {
    type MigrateModelStream = Events<v1::MigrateModelResponse>;

    async fn migrate_model(
        &self,
        request: Request<v1::MigrateModelRequest>,
    ) -> Result<Response<Self::MigrateModelStream>, Status> {
        let engine = self.engine.of(&request)?;
        let tenant = tenant_of(&request);
        let v1::MigrateModelRequest { model, rollback, compare, switch, actor, reason } = request.into_inner();
        let author = engine.viewer().author(actor, reason).map_err(|error| status_of(&error))?;
        let place = self.jobs.start(&tenant, "a change of the model").map_err(|error| status_of(&error))?;
        let name = wanted(&engine, model, rollback).map_err(|error| status_of(&error))?;
        let compare = match compare {
            Some(intents) => Some(labelled(&engine, Some(intents)).await.map_err(|error| status_of(&error))?),
            None => None,
        };
        let (models_dir, options, limits) = (self.models_dir.clone(), self.encoder.clone(), self.limits);
        Ok(run(move |teller, stop| async move {
            let tell: Tell = std::sync::Arc::new(move |step: &str, done, total| teller.tell(step, done, total));
            let from = engine.model();
            let prepared = {
                let (engine, tell, stop, place) = (engine.clone(), tell.clone(), stop.clone(), place.clone());
                blocking(move || {
                    let _place = place;
                    let model = ModelCache::new(&models_dir).get(&name)?;
                    let embedder = fitment_models::load(&model, &options)?;
                    engine.prepare_model(embedder, limits, Work { tell: &*tell, stop: &stop })
                })
                .await?
            };
            let to = prepared.model();
            let comparison = match compare {
                Some(labelled) => Some(measure(&engine, &prepared, labelled, &*tell).await?),
                None => None,
            };
            let changed = Changed { engine, prepared, author, place, stop, tell };
            if switch {
                let engine = changed.switch().await?;
                return Ok(answer(&engine, (from, to), comparison, true));
            }
            Ok(answer(&changed.engine, (from, to), comparison, false))
        }))
    }
}

/// All that a switch needs.
struct Changed {
    engine: Engine,
    prepared: Engine,
    author: Author,
    place: Place,
    stop: Stop,
    tell: Tell,
}

impl Changed {
    async fn switch(self) -> Result<Engine, EngineError> {
        let Self { engine, prepared, author, place, stop, tell } = self;
        blocking(move || {
            let _place = place;
            engine.switch_to(&prepared, &author, Work { tell: &*tell, stop: &stop })?;
            Ok(engine)
        })
        .await
    }
}

impl Event for v1::MigrateModelResponse {
    fn progress(progress: v1::JobProgress) -> Self {
        Self { event: Some(v1::migrate_model_response::Event::Progress(progress)) }
    }
}

/// The name of the model that is asked for.
fn wanted(engine: &Engine, model: String, rollback: bool) -> Result<String, EngineError> {
    if !rollback {
        return match model.as_str() {
            "" => Err(EngineError::field("model", "is empty; name a model, or ask for a rollback")),
            name if fitment_models::is_model_name(name) => Ok(model),
            name => Err(EngineError::field(
                "model",
                format!("`{name}` is no name of a model; `fitment model list` shows them"),
            )),
        };
    }
    if !model.is_empty() {
        return Err(EngineError::field("model", "goes with no rollback; leave one out"));
    }
    let before = engine.model_before()?.map(|before| before.name).filter(|name| !name.is_empty());
    before.ok_or(EngineError::NoModelBefore)
}

/// Both models on the same intents, each with its own ranker in force.
async fn measure(
    engine: &Engine,
    prepared: &Engine,
    labelled: Labelled,
    on_progress: fitment_engine::OnProgress<'_>,
) -> Result<(String, Comparison), EngineError> {
    let (dataset, name, split) = labelled.into_parts();
    let mut runs: Vec<Run> = Vec::with_capacity(2);
    for engine in [&engine.pinned(), prepared] {
        let measured = evaluate::measure(engine, &dataset, &split, Method::Fused, on_progress).await?;
        // One is promised something and the other nothing: figures that hang on it are not compared.
        runs.push(Run { promise: None, ..evaluate::run(engine, &name, &dataset, &split, "fused", &measured) });
    }
    blocking(move || {
        let compared = fitment_evaluation::compare(&runs[0], &runs[1]);
        let compared = compared.map_err(|error| EngineError::Internal(error.to_string()))?;
        Ok((format!("{name} {split}"), compared))
    })
    .await
}

fn answer(
    engine: &Engine,
    (from, to): (ModelInfo, ModelInfo),
    comparison: Option<(String, Comparison)>,
    switched: bool,
) -> v1::MigrateModelResponse {
    let info = engine.info();
    let mut result = v1::MigrateModelResult {
        from: from.name,
        from_digest: from.digest.to_string(),
        to: to.name,
        to_digest: to.digest.to_string(),
        switched,
        revision: info.revision,
        calibration: info.calibration,
        ..Default::default()
    };
    if let Some((measured_on, comparison)) = comparison {
        put_comparison(&mut result, measured_on, comparison);
    }
    v1::MigrateModelResponse { event: Some(v1::migrate_model_response::Event::Result(result)) }
}

/// Puts what was measured into a result.
pub fn put_comparison(result: &mut v1::MigrateModelResult, measured_on: String, comparison: Comparison) {
    result.measured_on = measured_on;
    (result.wins, result.losses) = (comparison.hit_at_1.wins, comparison.hit_at_1.losses);
    let figure = |(name, figure): (String, fitment_evaluation::Difference)| v1::ModelFigure {
        name,
        from: figure.base,
        to: figure.other,
        low: figure.interval[0],
        high: figure.interval[1],
        p_value: figure.p_value,
    };
    result.figures = comparison.differences.into_iter().map(figure).collect();
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| EngineError::Internal(format!("a computation was lost: {error}")))?
}
