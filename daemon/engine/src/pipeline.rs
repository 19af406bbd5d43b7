//! The match pipeline: from an intent to an answer, each step named once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fitment_catalog::Filter;
use fitment_index::{DenseResult, DocSet, Effort, LexicalResult, Plan};
use fitment_models::{TextRole, UnitVector};
use serde_json::Value;

use crate::calibration::Calibration;
use crate::engine::{Engine, Shared};
use crate::error::EngineError;
use crate::live::Searchable;
use crate::normalize::normalize_intent;
use crate::rank::{LexicalEvidence, Scored, fuse};
use crate::store::{Revision, StoredVersion};
use crate::view::FilterStage;

/// Candidates of one answer at most.
pub const MAX_TOP_K: usize = 100;
/// Candidates of an answer when the caller does not say.
pub const DEFAULT_TOP_K: usize = 5;

/// Rows that a walk through the graph keeps. Its deep list feeds the fusion: the index's default is for ten hits.
const EFFORT: Effort = Effort::Rows(512);

/// An intent and what is asked about it.
#[derive(Clone, Debug, Default)]
pub struct MatchQuery {
    /// The intent as it came.
    pub intent: String,
    /// Candidates wanted, 1..=100; 0: [`DEFAULT_TOP_K`].
    pub top_k: usize,
    /// Which versions may answer.
    pub filter: Option<Filter>,
    /// Configuration that the caller has settled; an object or null.
    pub bound: Value,
    /// The revision that the answer must have seen.
    pub min_revision: Revision,
    /// The intent's vector, where the caller has it; empty: to be encoded.
    pub vector: Vec<f32>,
    /// Whether to say how the answer came about.
    pub explain: bool,
    /// Whether to remember the answer, so that it can be given an outcome.
    pub remember: bool,
}

/// How little must be generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing.
    ZeroGeneration,
    /// A configuration inside a closed schema.
    MinimalGeneration,
    /// Everything: nothing certified fits.
    RawGeneration,
    /// No promise.
    Candidates,
}

/// The answer to an intent.
#[derive(Debug)]
pub struct MatchAnswer {
    /// Unique, ordered by time.
    pub decision_id: uuid::Uuid,
    /// How little must be generated.
    pub outcome: Outcome,
    /// Best first.
    pub candidates: Vec<Candidate>,
    /// Why the answer abstains or promises nothing; empty otherwise.
    pub reason: String,
    /// Score of the best candidate, 0..=1.
    pub confidence: f64,
    /// Revision that was searched.
    pub revision: Revision,
    /// The calibration that was applied.
    pub calibration: Option<Arc<Calibration>>,
    /// Where the time went.
    pub timings: Timings,
    /// How the answer came about.
    pub explanation: Option<Explanation>,
}

/// A component that was considered.
#[derive(Debug)]
pub struct Candidate {
    /// Its record.
    pub version: StoredVersion,
    /// Its score and the parts of it.
    pub scored: Scored,
    /// True for the one that the outcome promises.
    pub is_match: bool,
    /// What would have to be generated to use it.
    pub generation: Outcome,
    /// JSON pointers of required properties that are still open.
    pub open_properties: Vec<String>,
}

/// Where the time of one answer went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// Waiting for the encoder.
    pub queue: Duration,
    /// The encoder.
    pub encode: Duration,
    /// The dense search.
    pub dense: Duration,
    /// The lexical search.
    pub lexical: Duration,
    /// Filter, fusion, outcome.
    pub rank: Duration,
    /// Everything.
    pub total: Duration,
}

/// How an answer came about.
#[derive(Debug)]
pub struct Explanation {
    /// The intent as it was searched.
    pub normalized_intent: String,
    /// Its tokens, after truncation.
    pub tokens: usize,
    /// Whether it was longer than the model's window.
    pub truncated: bool,
    /// What narrowed the catalogue.
    pub stages: Vec<FilterStage>,
    /// How the dense search went.
    pub plan: Plan,
    /// Vectors that it looked at.
    pub rows_visited: usize,
    /// Terms that hit, a list a candidate, heaviest first.
    pub terms: Vec<Vec<fitment_index::TermContribution>>,
    /// What the calibration says of itself.
    pub calibration: String,
}

impl Engine {
    /// Answers an intent.
    ///
    /// Errors: an intent, vector or bound that breaks its limits; `min_revision` ahead of the catalogue; a full queue.
    pub async fn match_intent(&self, query: MatchQuery) -> Result<MatchAnswer, EngineError> {
        let started = Instant::now();
        let intent = normalize_intent(&query.intent)?;
        let query = MatchQuery { top_k: checked_top_k(query.top_k)?, bound: checked_bound(query.bound)?, ..query };
        self.reached(query.min_revision)?;
        let (vector, mut timings) = self.vector_of(&intent, &query.vector).await?;
        self.compute(move |shared| {
            let index = shared.index.searchable();
            let (allowed, stages) = timed(&mut timings.rank, || allowed_set(&index, &query));
            let dense = timed(&mut timings.dense, || dense_search(shared, &index, &vector, &allowed))?;
            let words = timed(&mut timings.lexical, || lexical_search(shared, &index, &intent, &allowed))?;
            let ranked = timed(&mut timings.rank, || rank(shared, &index, &vector, &dense, &words))?;
            let revision = shared.index.revision();
            drop(index);
            let decision = Instant::now();
            let confidence = ranked.first().map_or(0.0, |best| best.score);
            let candidates = read_candidates(shared, ranked, &query)?;
            let mut answer = decide(shared, candidates, confidence, revision);
            answer.explanation =
                query.explain.then(|| explain(shared, &intent, stages, &dense, &answer.candidates)).transpose()?;
            timings.rank += decision.elapsed();
            if query.remember {
                shared.feedback.remember((shared.clock)(), &intent, vector.as_slice(), &answer);
            }
            answer.timings = Timings { total: started.elapsed(), ..timings };
            Ok(answer)
        })
        .await
    }

    async fn vector_of(&self, intent: &str, given: &[f32]) -> Result<(UnitVector, Timings), EngineError> {
        if !given.is_empty() {
            return Ok((checked_vector(given, self.model().dimension)?, Timings::default()));
        }
        let mut encoded = self.encoder().encode(vec![intent.to_owned()], TextRole::Query).await?;
        let vector = encoded.vectors.pop().ok_or_else(|| EngineError::Internal("the encoder gave no vector".into()))?;
        Ok((vector, Timings { queue: encoded.queued, encode: encoded.encoding, ..Timings::default() }))
    }
}

fn checked_top_k(top_k: usize) -> Result<usize, EngineError> {
    match top_k {
        0 => Ok(DEFAULT_TOP_K),
        1..=MAX_TOP_K => Ok(top_k),
        _ => Err(EngineError::field("top_k", format!("is {top_k}; ask for 1 to {MAX_TOP_K} candidates"))),
    }
}

fn checked_bound(bound: Value) -> Result<Value, EngineError> {
    match bound {
        Value::Null => Ok(Value::Object(serde_json::Map::new())),
        Value::Object(_) => Ok(bound),
        _ => Err(EngineError::field("bound_configuration", "is not an object of property names and values")),
    }
}

fn checked_vector(given: &[f32], dimension: usize) -> Result<UnitVector, EngineError> {
    if given.len() != dimension {
        return Err(EngineError::field(
            "vector",
            format!("has {} values, the model's dimension is {dimension}", given.len()),
        ));
    }
    if let Some(position) = given.iter().position(|value| !value.is_finite()) {
        return Err(EngineError::field(
            "vector",
            format!("value {position} is {}; send finite numbers", given[position]),
        ));
    }
    let norm = given.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if (norm - 1.0).abs() > 1e-3 {
        return Err(EngineError::field(
            "vector",
            format!("has length {norm:.6}; send the unit vector that Embed gave"),
        ));
    }
    UnitVector::new(given.to_vec()).map_err(|error| EngineError::field("vector", error.to_string()))
}

fn timed<T>(spent: &mut Duration, step: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = step();
    *spent += started.elapsed();
    result
}

fn allowed_set(index: &Searchable, query: &MatchQuery) -> (DocSet, Vec<FilterStage>) {
    let mut stages = Vec::new();
    let allowed = index.view.allowed(query.filter.as_ref(), query.explain.then_some(&mut stages));
    (allowed, stages)
}

/// The allowed set, or nothing where it leaves nothing out: then no search has to ask it.
fn narrowed<'a>(index: &Searchable, allowed: &'a DocSet) -> Option<&'a DocSet> {
    (allowed.len() < index.view.all().len()).then_some(allowed)
}

fn dense_search(
    shared: &Shared,
    index: &Searchable,
    vector: &UnitVector,
    allowed: &DocSet,
) -> Result<DenseResult, EngineError> {
    Ok(index.dense.search(vector.as_slice(), shared.ranking.depth, narrowed(index, allowed), EFFORT)?)
}

fn lexical_search(
    shared: &Shared,
    index: &Searchable,
    intent: &str,
    allowed: &DocSet,
) -> Result<LexicalResult, EngineError> {
    Ok(shared.index.words().search(intent, shared.ranking.depth, narrowed(index, allowed), None)?)
}

fn rank(
    shared: &Shared,
    index: &Searchable,
    vector: &UnitVector,
    dense: &DenseResult,
    words: &LexicalResult,
) -> Result<Vec<Scored>, EngineError> {
    let scorer = index.dense.scorer(vector.as_slice())?;
    let evidence = LexicalEvidence { hits: &words.hits, reference: words.normalizer.max(f32::EPSILON) };
    Ok(fuse(&shared.ranking, &dense.hits, &evidence, |doc| {
        Some((scorer.facet_scores(doc)?, index.view.card(doc)?.centroid_norm))
    }))
}

fn read_candidates(shared: &Shared, ranked: Vec<Scored>, query: &MatchQuery) -> Result<Vec<Candidate>, EngineError> {
    let reader = shared.store.read()?;
    let mut candidates = Vec::with_capacity(query.top_k);
    for scored in ranked {
        if candidates.len() == query.top_k {
            break;
        }
        // Deleted between the search and now: as absent as if it had been deleted before.
        let Some(version) = reader.version(scored.doc)? else { continue };
        let open_properties = open_properties(&version, &query.bound)?;
        let generation = if open_properties.is_empty() { Outcome::ZeroGeneration } else { Outcome::MinimalGeneration };
        candidates.push(Candidate { version, scored, is_match: false, generation, open_properties });
    }
    Ok(candidates)
}

/// Required properties that neither defaults nor the caller's binding settles, as JSON pointers.
fn open_properties(version: &StoredVersion, bound: &Value) -> Result<Vec<String>, EngineError> {
    let Some(schema) = &version.config_schema else { return Ok(Vec::new()) };
    if bound.as_object().is_none_or(serde_json::Map::is_empty) {
        return Ok(version.open_properties.clone());
    }
    let schema = serde_json::from_str(schema)
        .map_err(|error| EngineError::Internal(format!("a stored schema cannot be read: {error}")))?;
    let schema = fitment_catalog::ConfigSchema::new(schema)
        .map_err(|faults| EngineError::Internal(format!("a stored schema is not valid: {faults:?}")))?;
    let configured = schema.open_configuration(bound);
    let mut open: Vec<String> = configured.open.into_iter().map(|open| open.pointer).collect();
    // A value that the schema refuses settles nothing.
    open.extend(configured.violations.into_iter().map(|violation| violation.pointer));
    open.sort();
    open.dedup();
    Ok(open)
}

fn decide(shared: &Shared, mut candidates: Vec<Candidate>, confidence: f64, revision: Revision) -> MatchAnswer {
    let (calibration, fault) = shared.calibration.in_force();
    let (outcome, reason) = match (&calibration, candidates.first_mut()) {
        (_, None) => (
            Outcome::RawGeneration,
            "no certified component may answer: the catalogue is empty for this request, or the filter leaves nothing"
                .to_owned(),
        ),
        (None, Some(_)) => (Outcome::Candidates, fault),
        (Some(calibration), Some(best)) if confidence >= calibration.threshold => {
            best.is_match = true;
            (best.generation, String::new())
        }
        (Some(calibration), Some(_)) => (
            Outcome::RawGeneration,
            format!(
                "nothing certified meets the intent: the best confidence is {confidence:.3}, under the calibrated {:.3}",
                calibration.threshold
            ),
        ),
    };
    MatchAnswer {
        decision_id: uuid::Uuid::now_v7(),
        outcome,
        candidates,
        reason,
        confidence,
        revision,
        calibration,
        timings: Timings::default(),
        explanation: None,
    }
}

fn explain(
    shared: &Shared,
    intent: &str,
    stages: Vec<FilterStage>,
    dense: &DenseResult,
    candidates: &[Candidate],
) -> Result<Explanation, EngineError> {
    let (tokens, truncated) = shared.encoder.count_tokens(intent)?;
    let terms = candidates
        .iter()
        .map(|candidate| shared.index.words().explain(intent, candidate.scored.doc, None))
        .collect::<Result<_, _>>()?;
    let (calibration, fault) = shared.calibration.in_force();
    Ok(Explanation {
        normalized_intent: intent.to_owned(),
        tokens,
        truncated,
        stages,
        plan: dense.stats.plan,
        rows_visited: dense.stats.rows_scored,
        terms,
        calibration: calibration.map_or(fault, |calibration| calibration.promise()),
    })
}
