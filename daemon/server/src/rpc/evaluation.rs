//! `EvaluationService`: learning, promises and figures on the catalogue that is served.
//!
//! `work` says what is done; the conversions are here.

mod work;

use std::sync::Arc;

use fitment_engine::{Calibration, EngineError, Evidence, KeptRanker, Threshold, Trial};
use fitment_proto::v1;
use tonic::{Request, Response, Status};

use self::work::{Calibrate, Fit, of_blocking};
use super::job::{Event, Events, Jobs, Tell, Teller, run};
use super::slot::tenant_of;
use super::status::{refused, status_of};
use super::{EngineSlot, convert};

pub(crate) use self::work::MAX_CSV_BYTES;
pub(super) use self::work::{Labelled, labelled};

/// Error rate that is promised where none is asked for.
const DEFAULT_MAX_ERROR: f64 = 0.05;
/// Confidence of the promise where none is asked for.
const DEFAULT_CONFIDENCE: f64 = 0.9;

/// The service.
pub(crate) struct EvaluationService {
    pub(crate) engine: EngineSlot,
    pub(crate) jobs: Jobs,
}

#[tonic::async_trait]
impl v1::evaluation_service_server::EvaluationService for EvaluationService {
    type FitStream = Events<v1::FitResponse>;

    async fn fit(&self, request: Request<v1::FitRequest>) -> Result<Response<Self::FitStream>, Status> {
        let engine = self.engine.of(&request)?.pinned();
        let tenant = tenant_of(&request);
        let v1::FitRequest { intents, weights_only, seed, dry_run } = request.into_inner();
        let place = self.jobs.start(&tenant, "a fit").map_err(|error| status_of(&error))?;
        let labelled = work::labelled(&engine, intents).await.map_err(|error| refused(&error))?;
        let model_digest = engine.model().digest.to_string();
        Ok(run(move |teller, stop| async move {
            let fit = Fit { weights_only, seed, dry_run };
            let ranker = work::fit(engine, labelled, fit, place, stop, telling(teller)).await?;
            let result = v1::FitResult { ranker: Some(ranker_to(ranker, &model_digest)) };
            Ok(v1::FitResponse { event: Some(v1::fit_response::Event::Result(result)) })
        }))
    }

    type CalibrateStream = Events<v1::CalibrateResponse>;

    async fn calibrate(
        &self,
        request: Request<v1::CalibrateRequest>,
    ) -> Result<Response<Self::CalibrateStream>, Status> {
        use v1::calibrate_request::Basis;
        let engine = self.engine.of(&request)?.pinned();
        let tenant = tenant_of(&request);
        let v1::CalibrateRequest { basis, max_error, confidence, dry_run } = request.into_inner();
        let asked = || -> Result<(f64, f64), EngineError> {
            Ok((
                share("max_error", max_error, DEFAULT_MAX_ERROR)?,
                share("confidence", confidence, DEFAULT_CONFIDENCE)?,
            ))
        };
        let (max_error, confidence) = asked().map_err(|error| status_of(&error))?;
        let place = self.jobs.start(&tenant, "a calibration").map_err(|error| status_of(&error))?;
        let labelled = match basis {
            None => {
                let error = EngineError::field("basis", "is missing; send labelled intents or ask for synthetic ones");
                return Err(status_of(&error));
            }
            Some(Basis::Synthetic(())) => None,
            Some(Basis::Intents(intents)) => {
                Some(work::labelled(&engine, Some(intents)).await.map_err(|error| refused(&error))?)
            }
        };
        Ok(run(move |teller, stop| async move {
            let calibrate = Calibrate { labelled, max_error, confidence, dry_run };
            let (calibration, warnings) = work::calibrate(engine, calibrate, place, stop, telling(teller)).await?;
            let result = v1::CalibrateResult { calibration: Some(calibration_to(&calibration)), warnings };
            Ok(v1::CalibrateResponse { event: Some(v1::calibrate_response::Event::Result(result)) })
        }))
    }

    type EvaluateStream = Events<v1::EvaluateResponse>;

    async fn evaluate(&self, request: Request<v1::EvaluateRequest>) -> Result<Response<Self::EvaluateStream>, Status> {
        let engine = self.engine.of(&request)?.pinned();
        let tenant = tenant_of(&request);
        let v1::EvaluateRequest { intents, with_answers } = request.into_inner();
        let place = self.jobs.start(&tenant, "an evaluation").map_err(|error| status_of(&error))?;
        let labelled = work::labelled(&engine, intents).await.map_err(|error| refused(&error))?;
        Ok(run(move |teller, _stop| async move {
            let _place = place;
            let tell = telling(teller);
            let (run, report, warnings) = work::measure(engine, labelled, &*tell).await?;
            let internal = |error: serde_json::Error| EngineError::Internal(error.to_string());
            let report_json = serde_json::to_string(&report).map_err(internal)?;
            let answers_json = with_answers.then(|| serde_json::to_string(&run)).transpose().map_err(internal)?;
            let result = v1::EvaluateResult {
                metrics: report.metrics.into_iter().collect(),
                in_scope: report.n_in_scope,
                out_of_scope: report.n_out_of_scope,
                report_json,
                answers_json: answers_json.unwrap_or_default(),
                warnings,
            };
            Ok(v1::EvaluateResponse { event: Some(v1::evaluate_response::Event::Result(result)) })
        }))
    }

    async fn get_ranker(
        &self,
        request: Request<v1::GetRankerRequest>,
    ) -> Result<Response<v1::GetRankerResponse>, Status> {
        let engine = self.engine.of(&request)?;
        let v1::GetRankerRequest { id, with_artefact } = request.into_inner();
        let model_digest = engine.model().digest.to_string();
        let read = of_blocking(move || {
            let ranker = engine.kept_ranker(&id)?;
            let kept = engine.kept_rankers()?.into_iter().find(|kept| kept.id == ranker.id);
            let kept = kept.unwrap_or_else(|| KeptRanker::describe(&ranker, engine.ranker().id == ranker.id));
            let artefact = with_artefact.then(|| serde_json::to_string(&*ranker)).transpose();
            let artefact_json = artefact.map_err(|error| EngineError::Internal(error.to_string()))?;
            Ok((kept, artefact_json.unwrap_or_default()))
        });
        let (kept, artefact_json) = read.await.map_err(|error| status_of(&error))?;
        Ok(Response::new(v1::GetRankerResponse { ranker: Some(ranker_to(kept, &model_digest)), artefact_json }))
    }

    async fn list_rankers(
        &self,
        request: Request<v1::ListRankersRequest>,
    ) -> Result<Response<v1::ListRankersResponse>, Status> {
        let engine = self.engine.of(&request)?;
        let model_digest = engine.model().digest.to_string();
        let kept = of_blocking(move || engine.kept_rankers()).await.map_err(|error| status_of(&error))?;
        let rankers = kept.into_iter().map(|kept| ranker_to(kept, &model_digest)).collect();
        Ok(Response::new(v1::ListRankersResponse { rankers }))
    }

    async fn activate_ranker(
        &self,
        request: Request<v1::ActivateRankerRequest>,
    ) -> Result<Response<v1::ActivateRankerResponse>, Status> {
        let engine = self.engine.of(&request)?;
        let v1::ActivateRankerRequest { id } = request.into_inner();
        if id.is_empty() {
            let fault = "is empty; name a ranker, or `default` for the shipped one";
            return Err(status_of(&EngineError::field("id", fault)));
        }
        let model_digest = engine.model().digest.to_string();
        let activated = of_blocking(move || {
            engine.activate_ranker(&id)?;
            let kept = engine.kept_rankers()?.into_iter().find(|kept| kept.id == id);
            Ok((kept, engine.info().calibration))
        });
        let (kept, calibration) = activated.await.map_err(|error| refused(&error))?;
        let ranker = kept.map(|kept| ranker_to(kept, &model_digest));
        Ok(Response::new(v1::ActivateRankerResponse { ranker, calibration }))
    }

    async fn get_calibration(
        &self,
        request: Request<v1::GetCalibrationRequest>,
    ) -> Result<Response<v1::GetCalibrationResponse>, Status> {
        let engine = self.engine.of(&request)?;
        let calibration = engine.calibration().map(|calibration| calibration_to(&calibration));
        Ok(Response::new(v1::GetCalibrationResponse { calibration, detail: engine.info().calibration }))
    }
}

impl Event for v1::FitResponse {
    fn progress(progress: v1::JobProgress) -> Self {
        Self { event: Some(v1::fit_response::Event::Progress(progress)) }
    }
}

impl Event for v1::CalibrateResponse {
    fn progress(progress: v1::JobProgress) -> Self {
        Self { event: Some(v1::calibrate_response::Event::Progress(progress)) }
    }
}

impl Event for v1::EvaluateResponse {
    fn progress(progress: v1::JobProgress) -> Self {
        Self { event: Some(v1::evaluate_response::Event::Progress(progress)) }
    }
}

fn telling<T: Event>(teller: Arc<Teller<T>>) -> Tell {
    Arc::new(move |step, done, total| teller.tell(step, done, total))
}

/// A share strictly between 0 and 1; 0: the default.
fn share(field: &str, value: f64, default: f64) -> Result<f64, EngineError> {
    if value == 0.0 {
        return Ok(default);
    }
    if value > 0.0 && value < 1.0 {
        return Ok(value);
    }
    Err(EngineError::field(field, format!("is {value}; it must lie strictly between 0 and 1, or be 0 for {default}")))
}

fn ranker_to(ranker: KeptRanker, model_digest: &str) -> v1::Ranker {
    let KeptRanker { id, fitted_on, trials, create_time, in_force, uses_labels, seed, in_scope, out_of_scope } = ranker;
    // The shipped one suits any model.
    let model_digest = if id == fitment_engine::DEFAULT_RANKER { String::new() } else { model_digest.to_owned() };
    v1::Ranker {
        id,
        fitted_on,
        trials: trials.iter().map(trial_to).collect(),
        create_time: create_time.map(convert::timestamp),
        in_force,
        uses_labels,
        seed,
        model_digest,
        in_scope,
        out_of_scope,
    }
}

fn trial_to(trial: &Trial) -> v1::Trial {
    let Trial { choice, hit_at_1, unseen_hit_at_1, taken } = *trial;
    v1::Trial { choice: choice.as_str().to_owned(), hit_at_1, unseen_hit_at_1, taken }
}

fn calibration_to(calibration: &Calibration) -> v1::Calibration {
    let evidence = match calibration.evidence {
        Evidence::Labelled => v1::CalibrationEvidence::Labelled,
        Evidence::CrossFitted => v1::CalibrationEvidence::CrossFitted,
        Evidence::Synthetic => v1::CalibrationEvidence::Synthetic,
    };
    v1::Calibration {
        id: calibration.id.clone(),
        promise: calibration.promise(),
        dataset: calibration.dataset.clone(),
        evidence: evidence as i32,
        max_error: calibration.max_error,
        confidence: calibration.confidence_level,
        zero_generation: calibration.zero.map(threshold_to),
        minimal_generation: calibration.minimal.map(threshold_to),
        in_scope: calibration.in_scope,
        out_of_scope: calibration.out_of_scope,
        coverage: calibration.coverage(),
        ranker_id: calibration.ranker_id.clone(),
        model_digest: calibration.model_digest.clone(),
        catalog_digest: calibration.catalog_digest.clone(),
    }
}

fn threshold_to(found: Threshold) -> v1::CalibrationThreshold {
    let Threshold { threshold, answered, errors, error_bound, coverage } = found;
    v1::CalibrationThreshold { threshold, answered, errors, error_bound, coverage }
}
