//! Observations without a labelled intent: the catalogue's own example intents, each taken out in turn.
//!
//! In scope: an example intent is asked while its component is scored without it. Out of scope: it is asked while its whole
//! component is absent. A stand-in: authors' examples are cleaner than what people ask, and an absent component's nearest
//! neighbours are few in a small catalogue.

use fitment_catalog::{LexicalField, Manifest, lexical_fields};
use fitment_index::{DocId, DocSet};
use fitment_models::UnitVector;
use fitment_ranking::{Observation, RankedSignals, Seen, Signal, Stop, term_ids};

use crate::clues::profile_of;
use crate::engine::{Engine, Shared};
use crate::error::EngineError;
use crate::live::{OnProgress, Searchable};
use crate::normalize::normalize_text;
use crate::pipeline::{dense_search, lexical_search, stems_of};
use crate::rank::{Method, Scored, order};
use crate::signals::{self, Context};
use crate::store::StoredVersion;

/// What a synthetic calibration is called.
pub const SYNTHETIC: &str = "synthetic";
/// Example intents that are asked at most, spread evenly over the catalogue.
const MOST_EXAMPLES: usize = 2_000;

/// An example intent of a component.
struct Taken {
    doc: DocId,
    facet: usize,
    text: String,
    vector: UnitVector,
}

/// Observations from the catalogue itself. Blocks, for milliseconds an example intent.
///
/// stop: ends it between two of them. Errors: a catalogue without example intents.
pub fn synthetic(engine: &Engine, stop: &Stop, on_progress: OnProgress<'_>) -> Result<Vec<Seen>, EngineError> {
    let shared = engine.shared();
    let index = shared.index.searchable();
    let allowed = index.view.allowed(None, None, None);
    let examples = examples(&shared, &index, &allowed)?;
    if examples.is_empty() {
        return Err(EngineError::Calibration(
            "no component has an example intent, so nothing stands in for labelled intents; add example_intents to \
             manifests, or labelled intents"
                .into(),
        ));
    }
    let total = examples.len() as u64;
    let mut seen = Vec::with_capacity(2 * examples.len());
    for (done, taken) in (0..).zip(&examples) {
        on_progress("asking example intents", done, total);
        stop.check().map_err(|stopped| EngineError::Calibration(stopped.to_string()))?;
        seen.push(ask(&shared, &index, &allowed, taken, true)?);
        let mut others = allowed.clone();
        others.remove(taken.doc);
        seen.push(ask(&shared, &index, &others, taken, false)?);
    }
    on_progress("asking example intents", total, total);
    Ok(seen)
}

fn examples(shared: &Shared, index: &Searchable, allowed: &DocSet) -> Result<Vec<Taken>, EngineError> {
    let reader = shared.store.read()?;
    let mut found = Vec::new();
    for doc in allowed.iter() {
        let (Some(version), Some(vectors)) = (reader.version(doc)?, index.dense.facets(doc)) else { continue };
        for (facet, (of_version, vector)) in version.facets.iter().zip(vectors).enumerate() {
            if of_version.kind.starts_with("example-intent:") {
                let text = normalize_text(&of_version.text);
                found.push(Taken { doc, facet, text, vector: UnitVector::new(vector)? });
            }
        }
    }
    let step = found.len().div_ceil(MOST_EXAMPLES).max(1);
    Ok(found.into_iter().step_by(step).collect())
}

fn ask(
    shared: &Shared,
    index: &Searchable,
    allowed: &DocSet,
    taken: &Taken,
    in_scope: bool,
) -> Result<Seen, EngineError> {
    let dense = dense_search(shared, index, &taken.vector, allowed)?;
    let words = lexical_search(shared, index, &taken.text, allowed)?;
    let ranker = index.view.ranker();
    let stems = stems_of(&taken.text);
    let context = Context {
        index,
        ranker,
        intent: &taken.text,
        stems: &stems,
        vector: &taken.vector,
        // Its vector of a component is a mean that an example cannot be taken out of: the first model stands in for it.
        second: None,
        allowed,
        dense: &dense,
        words: &words,
    };
    let mut pool = signals::candidates(&context)?;
    if in_scope && let Some(own) = pool.iter_mut().find(|one| one.doc == taken.doc) {
        take_out(shared, &context, taken, own)?;
    }
    let ranked = order(Method::Fused, &ranker.fusion, &taken.text, pool);
    let confidence = ranker.confidence.confidence(&RankedSignals {
        candidates: ranked.iter().map(|one| (one.sum, one.signals)).collect(),
        words: stems.len(),
    });
    let first = ranked.first().map(|one| one.doc);
    let version = first.map(|doc| shared.store.read()?.version(doc)).transpose()?.flatten();
    Ok(Seen {
        observation: Observation {
            confidence: confidence.correct,
            correct: in_scope && first == Some(taken.doc),
            in_scope,
        },
        minimal: version.is_some_and(|version: StoredVersion| !version.open_properties.is_empty()),
    })
}

/// Scores the component of a taken example as if it had never had it.
fn take_out(shared: &Shared, context: &Context<'_>, taken: &Taken, own: &mut Scored) -> Result<(), EngineError> {
    let intent = taken.vector.as_slice();
    let facets = context.index.dense.facets(taken.doc).unwrap_or_default();
    let mut sum = vec![0f32; intent.len()];
    let mut best = 0f32;
    for (_, facet) in facets.iter().enumerate().filter(|(at, _)| *at != taken.facet) {
        sum.iter_mut().zip(facet).for_each(|(sum, value)| *sum += value);
        best = best.max(fitment_index::dot(facet, intent));
    }
    let norm = fitment_index::dot(&sum, &sum).sqrt().max(f32::EPSILON);
    let centroid = fitment_index::dot(&sum, intent) / norm;
    own.signals[Signal::BestFacet.index()] = best;
    own.signals[Signal::Centroid.index()] = centroid;
    own.signals[Signal::SecondStage.index()] = centroid;
    if own.signals[Signal::Unlabelled.index()] > 0.0 {
        own.signals[Signal::Prototype.index()] = centroid;
    }
    // All example intents lose their words, not only the one: which words are whose the index does not say.
    let terms = shared.index.words().explain(context.intent, taken.doc, None)?;
    let of_examples = LexicalField::ExampleIntents.as_str();
    let score: f32 = terms.iter().filter(|term| term.field != of_examples).map(|term| term.score).sum();
    own.signals[Signal::Words.index()] = score / (score + context.words.normalizer.max(f32::EPSILON));
    let Some(bytes) = shared.store.read()?.manifest(taken.doc)? else { return Ok(()) };
    let manifest = Manifest::from_canonical_json("store", &bytes)?;
    let mut fields = lexical_fields(&manifest);
    for (_, text) in fields.iter_mut().filter(|(field, _)| *field == LexicalField::ExampleIntents) {
        let kept: Vec<&str> = text.lines().filter(|line| normalize_text(line) != taken.text).collect();
        *text = kept.join("\n");
    }
    let profile = profile_of(&fields, manifest.aliases());
    let statistics = context.index.view.statistics();
    let query = statistics.query(&term_ids(&context.words.terms), context.intent);
    own.signals[Signal::Coverage.index()] = query.coverage(&profile);
    own.signals[Signal::Trigrams.index()] = query.trigrams(&profile);
    Ok(())
}
