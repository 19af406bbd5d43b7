//! Learning from labelled intents: candidates and signals as a match has them, handed to `fitment_ranking`.

use std::collections::{BTreeMap, BTreeSet};

use fitment_catalog::{ComponentName, Dataset, Filter, LabelledIntent};
use fitment_index::{DocId, DocMap, DocSet};
use fitment_models::{TextRole, UnitVector};
use fitment_ranking::{Candidate, Example, Fingerprints, LabelText, LearnOptions, Ranker, Seen, Source, Stop, learn};

use crate::engine::{Engine, Shared};
use crate::error::EngineError;
use crate::live::{OnProgress, Searchable};
use crate::normalize::normalize_intent;
use crate::pipeline::{dense_search, lexical_search, stems_of};
use crate::rank::Scored;
use crate::second_stage::centroid;
use crate::signals::{self, Context};

/// Intents encoded in one go.
const ENCODED_AT_ONCE: usize = 256;
/// Facets whose words make up the background vocabulary.
const MOST_FACETS: usize = 20_000;
/// Nearest other labelled intents whose components join an intent's candidates.
const NEIGHBOURS: usize = 50;

/// Labelled intents of one catalogue as signals, and what they are called.
pub struct TrainingSet {
    /// Candidates and signals.
    pub source: Source,
    /// `name split`.
    pub name: String,
    /// Digest of the labelled intents of that split.
    pub dataset_digest: String,
    /// Digest of the catalogue that they speak of.
    pub catalog_digest: String,
    /// The labelled intents, to be known again.
    pub intents: Fingerprints,
    /// Places of components that need a configuration.
    minimal: Vec<bool>,
    /// Whether the second stage's signal is there.
    second_stage: bool,
}

/// What a fit may use.
#[derive(Clone, Debug)]
pub struct FitOptions {
    /// Place of the training set whose catalogue will be served: its labels become signals where that helps.
    pub target: Option<usize>,
    /// Seed of every random choice.
    pub seed: u64,
    /// Ends the fit between two steps.
    pub stop: Stop,
}

impl Engine {
    /// Makes the labelled intents of a split ready to learn from: encodes them and gathers their candidates.
    ///
    /// Errors: a split without intents; a label that names a component which the catalogue does not hold.
    pub async fn training_set(
        &self,
        name: &str,
        dataset: &Dataset,
        split: &str,
        on_progress: OnProgress<'_>,
    ) -> Result<TrainingSet, EngineError> {
        let intents: Vec<LabelledIntent> =
            crate::evaluate::intents_of(self, dataset, split)?.into_iter().cloned().collect();
        let total = intents.len() as u64;
        let mut texts = Vec::with_capacity(intents.len());
        for intent in &intents {
            texts.push(normalize_intent(&intent.text).map_err(|error| named(&intent.id, error))?);
        }
        let mut vectors = Vec::with_capacity(texts.len());
        for chunk in texts.chunks(ENCODED_AT_ONCE) {
            on_progress("encoding intents", vectors.len() as u64, total);
            vectors.extend(self.shared().encoder.encode_bulk(chunk, TextRole::Query).await?);
        }
        on_progress("encoding intents", total, total);
        self.complete_second_stage(on_progress).await?;
        let second = self.second_vectors(&texts).await?;
        let second_stage = !second.is_empty();
        let source = self.compute(move |shared| gather(shared, &intents, &texts, &vectors, &second)).await?;
        Ok(TrainingSet {
            second_stage,
            minimal: source.1,
            source: source.0,
            name: format!("{name} {split}"),
            dataset_digest: dataset.split_digest(split).to_string(),
            catalog_digest: self.catalog_digest(),
            intents: crate::evaluate::fingerprints(dataset, split),
        })
    }
}

/// Learns a ranker from training sets; blocks, for seconds to minutes.
///
/// `model_digest`: of the model that all of them were encoded with. default: the ranking that is kept when nothing is better.
/// Errors: too few intents, none out of scope.
pub fn fit_ranker(
    sets: Vec<TrainingSet>,
    model_digest: &str,
    default: Option<&Ranker>,
    options: &FitOptions,
    on_progress: OnProgress<'_>,
) -> Result<Ranker, EngineError> {
    let names: Vec<String> = sets.iter().map(|set| set.name.clone()).collect();
    let digests = sets.iter().map(|set| set.dataset_digest.clone()).collect();
    let catalog_digest = options.target.map(|target| sets[target].catalog_digest.clone()).unwrap_or_default();
    let intents = sets.iter().fold(Fingerprints::default(), |all, set| all.with(&set.intents));
    let second_stage = sets.iter().all(|set| set.second_stage);
    let minimal: Vec<Vec<bool>> = sets.iter().map(|set| set.minimal.clone()).collect();
    let sources: Vec<Source> = sets.into_iter().map(|set| set.source).collect();
    let learn_options = LearnOptions {
        target: options.target,
        default: default.map(|ranker| ranker.fusion.clone()),
        second_stage,
        seed: options.seed,
        stop: options.stop.clone(),
    };
    let learnt = learn(&sources, &learn_options, &|what, done, total| on_progress(what, done, total))
        .map_err(|error| EngineError::Learning(error.to_string()))?;
    // The observations are of the target, or of every set in turn.
    let sorts = match options.target {
        Some(target) => vec![(&minimal[target], sources[target].examples.len())],
        None => minimal.iter().zip(&sources).map(|(minimal, source)| (minimal, source.examples.len())).collect(),
    };
    let sorts = sorts.into_iter().flat_map(|(minimal, count)| std::iter::repeat_n(minimal, count));
    let observations = learnt
        .observations
        .iter()
        .zip(&learnt.firsts)
        .zip(sorts)
        .map(|((&observation, first), minimal)| Seen {
            observation,
            minimal: first.is_some_and(|first| minimal[first as usize]),
        })
        .collect();
    let (labels, heads) = learnt.labels.unzip();
    let mut ranker = Ranker {
        format: Ranker::FORMAT,
        id: String::new(),
        model_digest: model_digest.to_owned(),
        catalog_digest: if labels.is_some() { catalog_digest } else { String::new() },
        fitted_on: names,
        dataset_digests: digests,
        seed: options.seed,
        trials: learnt.trials,
        fusion: learnt.fusion,
        confidence: learnt.confidence,
        labels,
        heads,
        adapter: learnt.adapter,
        observations,
        intents,
    };
    let bytes = serde_json::to_vec(&ranker).map_err(|error| EngineError::Learning(error.to_string()))?;
    let digest = fitment_catalog::Digest::of(&bytes).to_string();
    ranker.id = digest.rsplit(':').next().unwrap_or_default().chars().take(16).collect();
    Ok(ranker)
}

fn named(id: &str, error: EngineError) -> EngineError {
    match error {
        EngineError::InvalidField { field, description } => {
            EngineError::InvalidField { field: format!("dataset: intent `{id}`: {field}"), description }
        }
        other => other,
    }
}

/// Components by place, and the place of each document.
struct Components {
    names: Vec<String>,
    docs: Vec<DocId>,
    places: DocMap<u32>,
    by_name: BTreeMap<ComponentName, u32>,
}

fn components(index: &Searchable) -> Components {
    let allowed = index.view.allowed(None, None, None);
    let mut found =
        Components { names: Vec::new(), docs: Vec::new(), places: DocMap::default(), by_name: BTreeMap::new() };
    // In the order of names, which is the same in whatever order they were written.
    for ((name, _), doc) in index.view.after(None).filter(|(_, doc)| allowed.contains(*doc)) {
        let place = u32::try_from(found.names.len()).unwrap_or(u32::MAX);
        found.names.push(name.to_string());
        found.docs.push(doc);
        found.places.insert(doc, place);
        found.by_name.insert(name.clone(), place);
    }
    found
}

fn gather(
    shared: &Shared,
    intents: &[LabelledIntent],
    texts: &[String],
    vectors: &[UnitVector],
    second: &[UnitVector],
) -> Result<(Source, Vec<bool>), EngineError> {
    let index = shared.index.searchable();
    let components = components(&index);
    let labels: Vec<LabelText> = intents
        .iter()
        .zip(texts)
        .zip(vectors)
        .map(|((intent, text), vector)| {
            #[expect(clippy::cast_precision_loss, reason = "grades are small numbers")]
            let relevant = intent
                .judgements
                .iter()
                .filter_map(|(name, &grade)| Some((*components.by_name.get(name)?, grade as f32)))
                .collect();
            LabelText { vector: vector.as_slice().to_vec(), words: stems_of(text), relevant }
        })
        .collect();
    let mut examples = Vec::with_capacity(labels.len());
    for (at, (intent, label)) in intents.iter().zip(&labels).enumerate() {
        let filter =
            intent.candidates.as_ref().map(|names| Filter::Or(names.iter().cloned().map(Filter::Name).collect()));
        let allowed = index.view.allowed(filter.as_ref(), None, None);
        let dense = dense_search(shared, &index, &vectors[at], &allowed)?;
        let words = lexical_search(shared, &index, &texts[at], &allowed)?;
        let context = Context {
            index: &index,
            ranker: Ranker::shipped(),
            intent: &texts[at],
            stems: &label.words,
            vector: &vectors[at],
            second: second.get(at),
            allowed: &allowed,
            dense: &dense,
            words: &words,
        };
        let doc_of = |(component, _): &(u32, f32)| components.docs[*component as usize];
        let mut found: DocSet = signals::proposed(&context, None).into_iter().collect();
        let neighbours = nearest_labels(&labels, at, NEIGHBOURS);
        let of_neighbours = neighbours.into_iter().flat_map(|other| &labels[other].relevant).map(doc_of);
        found.extend(of_neighbours.filter(|&doc| allowed.contains(doc)));
        let mut docs = found.clone();
        docs.extend(label.relevant.iter().map(doc_of));
        let candidate = |one: Scored| {
            let component = *components.places.get(&one.doc)?;
            Some(Candidate { component, signals: one.signals, injected: !found.contains(one.doc) })
        };
        let pool = signals::with_signals(&context, docs.iter(), None)?;
        let mut pool: Vec<Candidate> = pool.into_iter().filter_map(candidate).collect();
        pool.sort_unstable_by_key(|one| one.component);
        examples.push(Example { label: label.clone(), pool });
    }
    let reader = shared.store.read()?;
    let mut centroids = Vec::with_capacity(components.docs.len());
    let mut own = Vec::new();
    let mut minimal = Vec::with_capacity(components.docs.len());
    let labelled: BTreeSet<u32> =
        labels.iter().flat_map(|label| &label.relevant).map(|(component, _)| *component).collect();
    for (place, &doc) in (0u32..).zip(&components.docs) {
        let facets = index.dense.facets(doc).unwrap_or_default();
        centroids.push(centroid(facets.iter().map(Vec::as_slice), shared.encoder.info().dimension));
        let version = reader.version(doc)?;
        minimal.push(version.as_ref().is_some_and(|version| !version.open_properties.is_empty()));
        if labelled.contains(&place) || own.len() < MOST_FACETS {
            let texts = version.map(|version| version.facets).unwrap_or_default();
            own.extend(texts.iter().zip(facets).map(|(facet, vector)| LabelText {
                vector,
                words: stems_of(&facet.text),
                relevant: vec![(place, 1.0)],
            }));
        }
    }
    Ok((Source { components: components.names, centroids, own, examples }, minimal))
}

/// Places of the nearest other labelled intents.
fn nearest_labels(labels: &[LabelText], at: usize, most: usize) -> Vec<usize> {
    let vector = &labels[at].vector;
    let mut others: Vec<(f32, usize)> = labels
        .iter()
        .enumerate()
        .filter(|(other, label)| *other != at && !label.relevant.is_empty())
        .map(|(other, label)| (fitment_index::dot(&label.vector, vector), other))
        .collect();
    if others.len() > most {
        others.select_nth_unstable_by(most, |a, b| b.0.total_cmp(&a.0));
        others.truncate(most);
    }
    others.into_iter().map(|(_, other)| other).collect()
}
