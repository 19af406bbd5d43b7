//! Measuring the matcher on labelled intents.
//!
//! Each intent goes through the same pipeline as a caller's. What is fitted (a ranker, thresholds) is fitted on splits that
//! the caller names; figures and reports are made by `fitment_evaluation` from the answers alone.

mod files;
mod recalibrate;
mod sufficient;
mod synthetic;

use std::time::Instant;

use fitment_catalog::{Dataset, ExpectedOutcome, Filter, Format, LabelledIntent};
use fitment_evaluation::{Answer, InSample, Promise, Ranked, Run, Signal as Share, Tier};
use fitment_models::TextRole;
use fitment_ranking::{Fingerprints, Observation, Ranker, Seen};

pub use self::files::{CatalogFile, LabelledFiles, read_catalog_file, read_catalog_folder, read_dataset};
pub use self::recalibrate::recalibrate;
pub use self::sufficient::{check_learnable, check_promisable};
pub use self::synthetic::{SYNTHETIC, synthetic};
use crate::admission::{CallContext, WorkClass};
use crate::audit::Author;
use crate::calibration::{Calibration, Evidence, Thresholds, fit};
use crate::drift::Reference;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::live::OnProgress;
use crate::normalize::normalize_intent;
use crate::pipeline::{Candidate, MatchAnswer, MatchQuery, Outcome};
use crate::rank::Method;
use crate::writes::Import;

/// Ranks that the metrics look at.
const DEPTH: usize = 10;
/// Intents encoded in one go.
const ENCODED_AT_ONCE: usize = 32;
/// Manifests written in one commit.
const IMPORT_BATCH: usize = 64;
/// Wrong answers that are looked at again, to say which words they had.
const EXPLAINED: usize = 60;

/// What became of one labelled intent.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Its answer, judged.
    pub answer: Answer,
    /// As a calibration wants it.
    pub seen: Seen,
    /// Nearest facet's cosine of the first candidate, -1..=1.
    pub top_cosine: f64,
    /// The intent's vector.
    pub vector: Vec<f32>,
    /// The same by the second stage's model; empty when it is off.
    second_vector: Vec<f32>,
}

/// Writes manifests into an engine's catalogue. Errors: the first manifest that is refused.
pub async fn load(
    engine: &Engine,
    manifests: Vec<CatalogFile>,
    on_progress: OnProgress<'_>,
) -> Result<(), EngineError> {
    let total = manifests.len() as u64;
    let mut done = 0;
    let mut manifests = manifests.into_iter().peekable();
    on_progress("indexing components", 0, total);
    while manifests.peek().is_some() {
        let items = manifests.by_ref().take(IMPORT_BATCH).map(|CatalogFile { source, manifest, standing }| Import {
            author: Author::default(),
            manifest,
            format: Format::Auto,
            source,
            expected_digest: String::new(),
            request_id: String::new(),
            allow_near_duplicate: true,
            standing,
        });
        for result in engine.import(items.collect()).await? {
            result?;
            done += 1;
        }
        on_progress("indexing components", done, total);
    }
    Ok(())
}

/// The intents of a split.
///
/// Errors: a split without intents; a label that names a component which the catalogue does not hold.
pub(crate) fn intents_of<'d>(
    engine: &Engine,
    dataset: &'d Dataset,
    split: &'d str,
) -> Result<Vec<&'d LabelledIntent>, EngineError> {
    let intents = sufficient::some_intents(dataset, split)?;
    for intent in &intents {
        for name in intent.judgements.keys() {
            if !engine.has_component(name) {
                let fault = format!("`{}` expects {name}, which the catalogue does not hold", intent.id);
                return Err(EngineError::field("dataset", fault));
            }
        }
    }
    Ok(intents)
}

/// Whether the labels of a split speak of components that the catalogue holds; nothing is encoded for it.
///
/// Errors: a split without intents; a label that names a component which the catalogue does not hold.
pub fn check_known(engine: &Engine, dataset: &Dataset, split: &str) -> Result<(), EngineError> {
    intents_of(engine, dataset, split).map(|_| ())
}

/// Answers every intent of a split, one after the other, so that the time of each is its own; vectors are made in batches.
///
/// Errors: as [`Engine::training_set`].
pub async fn measure(
    engine: &Engine,
    dataset: &Dataset,
    split: &str,
    method: Method,
    on_progress: OnProgress<'_>,
) -> Result<Vec<Measured>, EngineError> {
    let engine = &engine.pinned();
    let intents = intents_of(engine, dataset, split)?;
    engine.complete_second_stage(on_progress).await?;
    let total = intents.len() as u64;
    let mut measured = Vec::with_capacity(intents.len());
    for chunk in intents.chunks(ENCODED_AT_ONCE) {
        on_progress("matching intents", measured.len() as u64, total);
        let mut texts = Vec::with_capacity(chunk.len());
        for intent in chunk {
            texts.push(normalize_intent(&intent.text).map_err(|error| of_intent(intent, error))?);
        }
        let started = Instant::now();
        let vectors = engine.shared().encoder.encode_bulk(&texts, TextRole::Query).await?;
        // Given, so that figures do not hang on how busy the machine is.
        let mut second = engine.second_vectors(&texts).await?.into_iter();
        let encode_us = micros(started) / chunk.len().max(1) as u64;
        for (intent, vector) in chunk.iter().zip(vectors) {
            let second = second.next().map(|vector| vector.into_inner().into_vec()).unwrap_or_default();
            let query = query_of(intent, vector.into_inner().into_vec(), second, method);
            let mut one = measure_one(engine, intent, query).await?;
            one.answer.encode_us = encode_us;
            one.answer.latency_us += encode_us;
            measured.push(one);
        }
    }
    explain_worst(engine, &intents, &mut measured, method).await?;
    on_progress("matching intents", total, total);
    Ok(measured)
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn of_intent(intent: &LabelledIntent, error: EngineError) -> EngineError {
    match error {
        EngineError::InvalidField { field, description } => {
            EngineError::InvalidField { field: format!("dataset: intent `{}`: {field}", intent.id), description }
        }
        other => other,
    }
}

fn query_of(intent: &LabelledIntent, vector: Vec<f32>, second_vector: Vec<f32>, method: Method) -> MatchQuery {
    let filter = intent.candidates.as_ref().map(|names| Filter::Or(names.iter().cloned().map(Filter::Name).collect()));
    MatchQuery {
        intent: intent.text.clone(),
        top_k: DEPTH,
        filter,
        vector,
        second_vector,
        method,
        context: CallContext::own(WorkClass::Background),
        ..MatchQuery::default()
    }
}

async fn measure_one(engine: &Engine, intent: &LabelledIntent, query: MatchQuery) -> Result<Measured, EngineError> {
    let (vector, second_vector) = (query.vector.clone(), query.second_vector.clone());
    let started = Instant::now();
    let answer = engine.match_intent(query).await.map_err(|error| of_intent(intent, error))?;
    let latency_us = micros(started);
    let ranker = engine.ranker();
    let judged = Answer {
        id: intent.id.clone(),
        intent: intent.text.clone(),
        ranked: answer.candidates.iter().map(|candidate| ranked(&ranker, candidate)).collect(),
        relevant: intent.judgements.iter().map(|(name, &grade)| (name.to_string(), grade)).collect(),
        confidence: answer.confidence,
        in_scope_confidence: Some(answer.in_scope),
        outcome: tier(answer.outcome),
        expected: expected(intent),
        kind: intent.out_of_scope_kind.clone().or_else(|| intent.example_type.clone()),
        tags: tags(engine, intent),
        names_component: intent.names_component,
        unseen_component: intent.unseen_component,
        language: answer.foreign_language.map(str::to_owned),
        latency_us,
        encode_us: 0,
    };
    let seen = Seen {
        observation: Observation {
            confidence: answer.confidence,
            correct: judged.first_is_right(),
            in_scope: !intent.out_of_scope(),
        },
        minimal: is_minimal(&answer),
    };
    let top_cosine = answer.candidates.first().map_or(0.0, |first| first.scored.top_cosine());
    Ok(Measured { answer: judged, seen, top_cosine, vector, second_vector })
}

fn is_minimal(answer: &MatchAnswer) -> bool {
    answer.candidates.first().is_some_and(|first| first.generation == Outcome::MinimalGeneration)
}

fn ranked(ranker: &Ranker, candidate: &Candidate) -> Ranked {
    let share = |(signal, share): (fitment_ranking::Signal, f64)| Share {
        name: signal.as_str().to_owned(),
        value: candidate.scored.signal(signal),
        share,
    };
    Ranked {
        component: candidate.version.card.name.to_string(),
        title: candidate.version.card.title.clone(),
        score: candidate.scored.score,
        signals: ranker.fusion.shares(&candidate.scored.signals).into_iter().map(share).collect(),
        matched_text: candidate
            .version
            .facets
            .get(candidate.scored.best_facet)
            .map(|facet| facet.text.clone())
            .unwrap_or_default(),
        terms: Vec::new(),
    }
}

fn tags(engine: &Engine, intent: &LabelledIntent) -> Vec<String> {
    intent.judgements.keys().next().map(|name| engine.tags_of(name)).unwrap_or_default()
}

fn tier(outcome: Outcome) -> Option<Tier> {
    match outcome {
        Outcome::ZeroGeneration => Some(Tier::ZeroGeneration),
        Outcome::MinimalGeneration => Some(Tier::MinimalGeneration),
        Outcome::RawGeneration => Some(Tier::RawGeneration),
        Outcome::Candidates => None,
    }
}

fn expected(intent: &LabelledIntent) -> Option<Tier> {
    match intent.outcome {
        Some(ExpectedOutcome::ZeroGeneration) => Some(Tier::ZeroGeneration),
        Some(ExpectedOutcome::MinimalGeneration) => Some(Tier::MinimalGeneration),
        Some(ExpectedOutcome::RawGeneration) => Some(Tier::RawGeneration),
        None => intent.out_of_scope().then_some(Tier::RawGeneration),
    }
}

/// Adds the words that hit to the answers that are most surely wrong.
async fn explain_worst(
    engine: &Engine,
    intents: &[&LabelledIntent],
    measured: &mut [Measured],
    method: Method,
) -> Result<(), EngineError> {
    let mut wrong: Vec<usize> = (0..measured.len()).filter(|&at| !measured[at].seen.observation.correct).collect();
    wrong.sort_by(|&a, &b| measured[b].answer.confidence.total_cmp(&measured[a].answer.confidence));
    wrong.truncate(EXPLAINED);
    for at in wrong {
        let Measured { vector, second_vector, .. } = &measured[at];
        let query = query_of(intents[at], vector.clone(), second_vector.clone(), method);
        let query = MatchQuery { explain: true, ..query };
        let answer = engine.match_intent(query).await?;
        let terms = answer.explanation.map(|explanation| explanation.terms).unwrap_or_default();
        for (ranked, terms) in measured[at].answer.ranked.iter_mut().zip(terms) {
            ranked.terms = terms.into_iter().map(|term| term.term).collect();
            ranked.terms.dedup();
        }
    }
    Ok(())
}

/// A measured split as `fitment_evaluation` reads it. A baseline was fitted on nothing.
pub fn run(engine: &Engine, name: &str, dataset: &Dataset, split: &str, system: &str, measured: &[Measured]) -> Run {
    let info = engine.info();
    let fused = system == "fused";
    let calibration = engine.calibration().filter(|_| fused);
    let ranker = Some(engine.ranker()).filter(|_| fused);
    Run {
        dataset: name.to_owned(),
        dataset_digest: dataset.digest().to_string(),
        split: split.to_owned(),
        system: system.to_owned(),
        model: info.model.name.clone(),
        model_digest: info.model.digest.to_string(),
        n_components: info.matchable,
        in_sample: InSample {
            ranking: ranker.as_ref().map_or(0, |ranker| seen_by_ranker(ranker, name, dataset, split)),
            promise: calibration.as_ref().map_or(0, |calibration| seen_by_promise(calibration, name, dataset, split)),
        },
        fitted_on: ranker.map(|ranker| ranker.fitted_on.clone()).unwrap_or_default(),
        component_ids: dataset.ids.iter().map(|(name, id)| (name.to_string(), id.clone())).collect(),
        promise: calibration.map(|calibration| promise(&calibration)),
        answers: measured.iter().map(|one| one.answer.clone()).collect(),
    }
}

/// How many intents of a split a ranker was fitted on.
fn seen_by_ranker(ranker: &Ranker, name: &str, dataset: &Dataset, split: &str) -> u64 {
    // One from before its intents were kept is told by the name of its data set, to be on the safe side.
    let by_name = ranker.intents.is_empty() && ranker.fitted_on.contains(&format!("{name} {split}"));
    if by_name || learnt_from(ranker, dataset, split) {
        return dataset.split(split).count() as u64;
    }
    among(&ranker.intents, dataset, split)
}

/// How many intents of a split a promise was fitted on.
fn seen_by_promise(calibration: &Calibration, name: &str, dataset: &Dataset, split: &str) -> u64 {
    let by_name = calibration.intents.is_empty() && calibration.dataset == format!("{name} {split}");
    if by_name || calibration.dataset_digest == dataset.split_digest(split).to_string() {
        return dataset.split(split).count() as u64;
    }
    among(&calibration.intents, dataset, split)
}

fn among(intents: &Fingerprints, dataset: &Dataset, split: &str) -> u64 {
    dataset.split(split).filter(|intent| intents.contains(&intent.text)).count() as u64
}

/// The intents of a split, to be known again.
pub fn fingerprints(dataset: &Dataset, split: &str) -> Fingerprints {
    Fingerprints::of(dataset.split(split).map(|intent| intent.text.as_str()))
}

fn promise(calibration: &Calibration) -> Promise {
    let largest = calibration.thresholds().max_by_key(|found| found.answered);
    Promise {
        max_error: calibration.max_error,
        confidence_level: calibration.confidence_level,
        threshold: largest.map_or(1.0, |found| found.threshold),
        error_bound: calibration.error_bound(),
        n_in_scope: calibration.in_scope,
        n_out_of_scope: calibration.out_of_scope,
        coverage: calibration.coverage(),
        text: calibration.promise(),
    }
}

/// What a calibration is made of.
pub struct CalibrationBasis<'a> {
    /// The data set, in words.
    pub name: &'a str,
    /// Digest of its intents.
    pub dataset_digest: String,
    /// Where the observations come from.
    pub evidence: Evidence,
    /// The observations.
    pub seen: &'a [Seen],
    /// The intents behind them.
    pub intents: Fingerprints,
    /// What the confidences looked like, so that drift can be seen.
    pub reference: Option<Reference>,
}

/// Fits a calibration for the engine's catalogue and ranker. Returns it with warnings.
pub fn calibrate(
    engine: &Engine,
    basis: CalibrationBasis<'_>,
    max_error: f64,
    confidence_level: f64,
) -> Result<(Calibration, Vec<String>), EngineError> {
    let Thresholds { zero, minimal, warnings } = fit(basis.seen, max_error, confidence_level)?;
    let info = engine.info();
    let in_scope = basis.seen.iter().filter(|seen| seen.observation.in_scope).count() as u64;
    let mut calibration = Calibration {
        id: String::new(),
        model_digest: info.model.digest.to_string(),
        catalog_digest: engine.catalog_digest(),
        fitted_revision: info.revision,
        changed_before: 0,
        fitted_versions: info.matchable as u64,
        dataset_digest: basis.dataset_digest,
        dataset: basis.name.to_owned(),
        evidence: basis.evidence,
        ranking: engine.ranking(),
        second_stage_digest: engine.second_stage_digest().unwrap_or_default(),
        ranker_id: engine.ranker().id.clone(),
        max_error,
        confidence_level,
        zero,
        minimal,
        nothing_to_configure: minimal.is_none() && !engine.has_configurable()?,
        in_scope,
        out_of_scope: basis.seen.len() as u64 - in_scope,
        reference: basis.reference,
        intents: basis.intents,
    };
    calibration.id = calibration.fingerprint()?;
    Ok((calibration, warnings))
}

/// What a measured split says for a calibration, and what stands behind it: intents that the ranker in force learnt from are
/// judged by the parts of its fit that had not seen them.
pub fn observations(engine: &Engine, dataset: &Dataset, split: &str, measured: &[Measured]) -> (Vec<Seen>, Evidence) {
    let ranker = engine.ranker();
    if learnt_from(&ranker, dataset, split) && !ranker.observations.is_empty() {
        return (ranker.observations.clone(), Evidence::CrossFitted);
    }
    (measured.iter().map(|one| one.seen).collect(), Evidence::Labelled)
}

/// Whether a ranker learnt from these very labelled intents.
pub fn learnt_from(ranker: &Ranker, dataset: &Dataset, split: &str) -> bool {
    ranker.dataset_digests.contains(&dataset.split_digest(split).to_string())
}

/// What the answers to a split looked like, for drift to be measured against.
pub fn reference(measured: &[Measured]) -> Option<Reference> {
    let confidence: Vec<f64> = measured.iter().map(|one| one.answer.confidence).collect();
    let top_cosine: Vec<f64> = measured.iter().map(|one| one.top_cosine).collect();
    let vectors: Vec<&[f32]> = measured.iter().map(|one| &one.vector[..]).collect();
    Reference::of(&confidence, &top_cosine, &vectors)
}
