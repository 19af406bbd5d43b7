//! Measuring the matcher on labelled intents.
//!
//! Each intent goes through the same pipeline as a caller's. Figures on a split are computed from the answers alone; what
//! is fitted (a threshold) is fitted on a split that the caller names.

mod files;
mod metrics;

use std::collections::BTreeMap;

use fitment_catalog::{Dataset, ExpectedOutcome, Filter, Format, LabelledIntent};
use futures_util::future::join_all;
use serde::Serialize;

pub use self::files::{LabelledFiles, read_catalog_folder, read_dataset};
pub use self::metrics::{Judged, metrics};
use crate::calibration::{Calibration, Observation, fit, ratio};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::live::OnProgress;
use crate::pipeline::{MatchQuery, Outcome};
use crate::writes::Import;

/// Ranks that the metrics look at.
const DEPTH: usize = 10;
/// Intents in flight at once; the encoder batches what waits.
const IN_FLIGHT: usize = 32;
/// Manifests written in one commit.
const IMPORT_BATCH: usize = 64;

/// What an evaluation found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The data set, as it was named.
    pub dataset: String,
    /// Digest of the labelled intents.
    pub dataset_digest: String,
    /// The split that was measured.
    pub split: String,
    /// Intents with a right answer.
    pub n_in_scope: usize,
    /// Intents with none.
    pub n_out_of_scope: usize,
    /// Components in the catalogue.
    pub n_components: usize,
    /// Name of the encoding model.
    pub model: String,
    /// Digest of the encoding model.
    pub model_digest: String,
    /// How scores were made.
    pub ranking: crate::rank::Ranking,
    /// Every metric by name.
    pub metrics: BTreeMap<String, f64>,
}

/// What became of one labelled intent.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Its ranking, judged.
    pub judged: Judged,
    /// What was answered.
    pub outcome: Outcome,
    /// The outcome that its label expects.
    pub expected: Option<ExpectedOutcome>,
}

/// Writes manifests into an engine's catalogue. Errors: the first manifest that is refused.
pub async fn load(
    engine: &Engine,
    manifests: Vec<(String, Vec<u8>)>,
    on_progress: OnProgress<'_>,
) -> Result<(), EngineError> {
    let total = manifests.len() as u64;
    let mut done = 0;
    let mut manifests = manifests.into_iter().peekable();
    on_progress("indexing components", 0, total);
    while manifests.peek().is_some() {
        let items = manifests.by_ref().take(IMPORT_BATCH).map(|(source, manifest)| Import {
            manifest,
            format: Format::Auto,
            source,
            expected_digest: String::new(),
            request_id: String::new(),
        });
        for result in engine.import(items.collect()).await? {
            result?;
            done += 1;
        }
        on_progress("indexing components", done, total);
    }
    Ok(())
}

/// Answers every intent of a split.
///
/// Errors: a split without intents; a label that names a component which the catalogue does not hold.
pub async fn measure(
    engine: &Engine,
    dataset: &Dataset,
    split: &str,
    on_progress: OnProgress<'_>,
) -> Result<Vec<Measured>, EngineError> {
    let intents: Vec<&LabelledIntent> = dataset.split(split).collect();
    if intents.is_empty() {
        let mut splits: Vec<&str> = dataset.intents.iter().map(|intent| intent.split.as_str()).collect();
        splits.sort_unstable();
        splits.dedup();
        return Err(EngineError::field(
            "split",
            format!(
                "`{split}` holds no intents; the data set has {}",
                if splits.is_empty() { "none at all".into() } else { splits.join(", ") }
            ),
        ));
    }
    for intent in &intents {
        for name in intent.judgements.keys() {
            if !engine.has_component(name) {
                let fault = format!("`{}` expects {name}, which the catalogue does not hold", intent.id);
                return Err(EngineError::field("dataset", fault));
            }
        }
    }
    let mut measured = Vec::with_capacity(intents.len());
    for chunk in intents.chunks(IN_FLIGHT) {
        on_progress("matching intents", measured.len() as u64, intents.len() as u64);
        for result in join_all(chunk.iter().map(|intent| measure_one(engine, intent))).await {
            measured.push(result?);
        }
    }
    on_progress("matching intents", measured.len() as u64, intents.len() as u64);
    Ok(measured)
}

async fn measure_one(engine: &Engine, intent: &LabelledIntent) -> Result<Measured, EngineError> {
    let filter = intent.candidates.as_ref().map(|names| Filter::Or(names.iter().cloned().map(Filter::Name).collect()));
    let query = MatchQuery { intent: intent.text.clone(), top_k: DEPTH, filter, ..MatchQuery::default() };
    let answer = engine.match_intent(query).await.map_err(|error| match error {
        EngineError::InvalidField { field, description } => {
            EngineError::InvalidField { field: format!("dataset: intent `{}`: {field}", intent.id), description }
        }
        other => other,
    })?;
    let grade = |name| intent.judgements.get(name).copied().unwrap_or(0);
    Ok(Measured {
        judged: Judged {
            grades: answer.candidates.iter().map(|candidate| grade(&candidate.version.card.name)).collect(),
            relevant: intent.judgements.values().copied().collect(),
            confidence: answer.confidence,
        },
        outcome: answer.outcome,
        expected: intent.outcome,
    })
}

/// The figures of a split.
pub fn report(engine: &Engine, name: &str, dataset: &Dataset, split: &str, measured: &[Measured]) -> Report {
    let judged: Vec<Judged> = measured.iter().map(|one| one.judged.clone()).collect();
    let mut metrics = metrics(&judged);
    metrics.extend(promise_metrics(measured));
    let info = engine.info();
    let n_in_scope = judged.iter().filter(|query| query.in_scope()).count();
    Report {
        dataset: name.to_owned(),
        dataset_digest: dataset.digest().to_string(),
        split: split.to_owned(),
        n_in_scope,
        n_out_of_scope: judged.len() - n_in_scope,
        n_components: info.matchable,
        model: info.model.name.clone(),
        model_digest: info.model.digest.to_string(),
        ranking: engine.ranking().clone(),
        metrics,
    }
}

/// Coverage, precision and outcome accuracy, where a calibration is in force.
fn promise_metrics(measured: &[Measured]) -> BTreeMap<String, f64> {
    let mut metrics = BTreeMap::new();
    if measured.iter().any(|one| one.outcome == Outcome::Candidates) {
        return metrics;
    }
    let promised = |one: &&Measured| matches!(one.outcome, Outcome::ZeroGeneration | Outcome::MinimalGeneration);
    let answered: Vec<&Measured> = measured.iter().filter(promised).collect();
    let correct = answered.iter().filter(|one| one.judged.observation().correct).count() as u64;
    let in_scope = measured.iter().filter(|one| one.judged.in_scope()).count() as u64;
    let covered = answered.iter().filter(|one| one.judged.in_scope()).count() as u64;
    metrics.insert("coverage".into(), ratio(covered, in_scope));
    if !answered.is_empty() {
        metrics.insert("precision".into(), ratio(correct, answered.len() as u64));
    }
    let labelled: Vec<bool> = measured.iter().filter_map(|one| Some(agrees(one.outcome, one.expected?))).collect();
    if !labelled.is_empty() {
        let right = labelled.iter().filter(|&&agrees| agrees).count() as u64;
        metrics.insert("outcome_accuracy".into(), ratio(right, labelled.len() as u64));
    }
    metrics
}

fn agrees(outcome: Outcome, expected: ExpectedOutcome) -> bool {
    match expected {
        ExpectedOutcome::ZeroGeneration => outcome == Outcome::ZeroGeneration,
        ExpectedOutcome::MinimalGeneration => outcome == Outcome::MinimalGeneration,
        ExpectedOutcome::RawGeneration => outcome == Outcome::RawGeneration,
    }
}

/// Fits a calibration on what a split showed.
pub fn calibrate(
    engine: &Engine,
    name: &str,
    dataset: &Dataset,
    measured: &[Measured],
    max_error: f64,
    confidence_level: f64,
) -> Result<Calibration, EngineError> {
    let observations: Vec<Observation> = measured.iter().map(|one| one.judged.observation()).collect();
    let found = fit(&observations, max_error, confidence_level)?;
    let info = engine.info();
    let in_scope = observations.iter().filter(|seen| seen.in_scope).count() as u64;
    let mut calibration = Calibration {
        id: String::new(),
        model_digest: info.model.digest.to_string(),
        catalog_digest: engine.catalog_digest(),
        fitted_revision: info.revision,
        fitted_versions: info.matchable as u64,
        dataset_digest: dataset.digest().to_string(),
        dataset: name.to_owned(),
        ranking: engine.ranking().clone(),
        max_error,
        confidence_level,
        threshold: found.threshold,
        in_scope,
        out_of_scope: observations.len() as u64 - in_scope,
        answered: found.answered,
        errors: found.errors,
        error_bound: found.error_bound,
        coverage: found.coverage,
    };
    calibration.id = calibration.fingerprint()?;
    Ok(calibration)
}
