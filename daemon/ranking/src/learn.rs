//! Learning from labelled intents, by cross-fitting.
//!
//! Labels are signals, so a weight fitted on signals of the very labels that made them would trust them too much. Each
//! intent therefore gets its learnt signals from the other folds' labels. In each fold some components lose all of their
//! labels besides: so the fit sees how components fare that nobody has asked for yet, and does not forget them.

mod prepare;
mod way;
mod weights;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use self::prepare::{Memory, Prepared, in_scope, labels_suffice, prepare, remember, spread};
use self::way::Way;
use crate::adapter::Adapter;
use crate::calibration::Observation;
use crate::confidence::{ConfidenceModel, Labelled};
use crate::error::RankingError;
use crate::fusion::Fusion;
use crate::heads::Heads;
use crate::labels::{LabelText, Labels};
use crate::signal::{Signal, Signals};

/// Parts of the cross-fit.
const FOLDS: usize = 5;
/// Fewest in-scope intents to learn anything from.
const LEAST_INTENTS: usize = 50;
/// Signals that need no labels.
const LABEL_FREE: [Signal; 6] =
    [Signal::Centroid, Signal::BestFacet, Signal::Words, Signal::Coverage, Signal::Name, Signal::Trigrams];

/// Labelled intents of one catalogue, with their candidates.
#[derive(Clone, Debug)]
pub struct Example {
    /// The intent; without a relevant component it is out of scope.
    pub label: LabelText,
    /// Its candidates.
    pub pool: Vec<Candidate>,
}

/// A candidate of a labelled intent.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Place of its component.
    pub component: u32,
    /// Its signals that need no labels.
    pub signals: Signals,
    /// True when only the label brought it in: weights are fitted with it, nothing is measured with it.
    pub injected: bool,
}

/// A catalogue with its labelled intents.
#[derive(Clone, Debug)]
pub struct Source {
    /// Names of components.
    pub components: Vec<String>,
    /// Centroid of each component's facets, unit length.
    pub centroids: Vec<Vec<f32>>,
    /// The components' facets, each relevant for its component.
    pub own: Vec<LabelText>,
    /// The labelled intents.
    pub examples: Vec<Example>,
}

/// What to learn.
#[derive(Clone, Debug)]
pub struct LearnOptions {
    /// Place of the source that will be served: its labels become signals. `None`: weights only.
    pub target: Option<usize>,
    /// The ranking that is kept when nothing is better.
    pub default: Option<Fusion>,
    /// Whether candidates carry the second stage's signal, so that its weight is fitted too.
    pub second_stage: bool,
    /// Seed of folds and of held-out components.
    pub seed: u64,
    /// Ends the fit between two steps.
    pub stop: Stop,
}

/// Tells long work that nobody waits for it any more; clones tell the same.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on the work may end.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Errors: [`RankingError::Stopped`] once it was told so.
    pub fn check(&self) -> Result<(), RankingError> {
        if self.0.load(Ordering::Relaxed) { Err(RankingError::Stopped) } else { Ok(()) }
    }
}

/// One way to rank, measured by cross-validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// What was tried.
    pub choice: Choice,
    /// Share of in-scope intents whose first candidate is right.
    #[serde(rename = "hit@1")]
    pub hit_at_1: f64,
    /// The same over intents whose components had lost their labels; absent where there were none.
    #[serde(rename = "unseen_hit@1")]
    pub unseen_hit_at_1: Option<f64>,
    /// Whether it was taken.
    pub taken: bool,
}

/// A way to rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// The weights that were there before.
    Default,
    /// New weights of the signals that need no labels.
    Weights,
    /// Labels as signals, with heads over vectors and words.
    Labels,
    /// The same, and a query adapter.
    Adapter,
}

impl Choice {
    /// Its name, as artefacts write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Weights => "weights",
            Self::Labels => "labels",
            Self::Adapter => "adapter",
        }
    }
}

/// What was learnt.
#[derive(Clone, Debug)]
pub struct Learnt {
    /// The weights.
    pub fusion: Fusion,
    /// The confidence.
    pub confidence: ConfidenceModel,
    /// Labels and heads, where they help.
    pub labels: Option<(Labels, Heads)>,
    /// The query adapter, where it helps besides.
    pub adapter: Option<Adapter>,
    /// What was tried.
    pub trials: Vec<Trial>,
    /// Cross-fitted, of the target's intents, or of all where there is no target.
    pub observations: Vec<Observation>,
    /// Place of the component that came first for each of them.
    pub firsts: Vec<Option<u32>>,
}
/// Learns weights, confidence and, where they help, labels as signals.
///
/// `on_step`: told what is done, how many steps are behind and how many there are. Errors: too few intents; no out-of-scope
/// intents at all; a fit that fails.
pub fn learn(
    sources: &[Source],
    options: &LearnOptions,
    on_step: &(dyn Fn(&str, u64, u64) + Sync),
) -> Result<Learnt, RankingError> {
    check(sources, options)?;
    let examples = || sources.iter().flat_map(|source| &source.examples);
    let inside = examples().filter(|example| in_scope(example)).count();
    check_learnable(inside, examples().count() - inside)?;
    let steps = FOLDS as u64 + 3;
    let with_labels = options.target.filter(|&target| labels_suffice(&sources[target]));
    let mut prepared = prepare(sources, options, with_labels, &|fold| on_step("cross-fitting", fold, steps))?;
    if with_labels.is_some() {
        // What is known of the catalogue itself is worth more than what is known of others.
        prepared.retain(|one| one.of_target);
    }
    let on_step = |what: &str, done: u64, total: u64| {
        on_step(what, done, total);
        options.stop.check()
    };
    on_step("fitting weights", FOLDS as u64, steps)?;
    let second_stage = options.second_stage.then_some(Signal::SecondStage);
    let label_free: Vec<Signal> = LABEL_FREE.into_iter().chain(second_stage).collect();
    let mut ways = vec![(Choice::Weights, label_free.clone())];
    if with_labels.is_some() {
        let learnt = Signal::ALL.into_iter().filter(|signal| signal.is_learnt());
        let all: Vec<Signal> = label_free.into_iter().chain(learnt).collect();
        ways.push((Choice::Labels, all.iter().copied().filter(|&signal| signal != Signal::Adapted).collect()));
        ways.push((Choice::Adapter, all));
    }
    let mut best: Option<Way> = None;
    let mut trials = Vec::new();
    let default = options.default.clone();
    let default = if options.second_stage { default.map(Fusion::with_second_stage) } else { default };
    let default = default.map(|fusion| Way::fixed(fusion, &prepared));
    let floor = default.as_ref().map(|way| way.trial.clone());
    let left_out = with_labels.map_or(0.0, |target| spread(&sources[target]).left_out);
    let fitted =
        ways.into_iter().map(|(choice, signals)| Way::fit(choice, &signals, &prepared, floor.as_ref(), left_out));
    for way in default.into_iter().map(Ok).chain(fitted) {
        let way = way?;
        options.stop.check()?;
        trials.push(way.trial.clone());
        if best.as_ref().is_none_or(|best| way.beats(best, &prepared)) {
            best = Some(way);
        }
    }
    let best = best.ok_or_else(|| RankingError::Numeric("nothing was tried".into()))?;
    for trial in &mut trials {
        trial.taken = trial.choice == best.trial.choice;
    }
    on_step("fitting the confidence", FOLDS as u64 + 1, steps)?;
    let labelled: Vec<Labelled> = prepared.par_iter().map(|one| best.labelled(one)).collect();
    let (confidence, observations) = confidence(&prepared, &labelled)?;
    let firsts = prepared.iter().filter(|one| one.of_target).map(|one| best.first(one)).collect();
    on_step("fitting heads", FOLDS as u64 + 2, steps)?;
    prepared.clear();
    let remembered = match with_labels.filter(|_| matches!(best.trial.choice, Choice::Labels | Choice::Adapter)) {
        Some(target) => {
            let all: Vec<&LabelText> = sources[target].examples.iter().map(|example| &example.label).collect();
            Some(remember(&sources[target], &all)?)
        }
        None => None,
    };
    let (labels, adapter) = remembered.map(|Memory { labels, heads, adapter }| ((labels, heads), adapter)).unzip();
    let adapter = adapter.filter(|_| best.trial.choice == Choice::Adapter);
    on_step("fitted", steps, steps)?;
    Ok(Learnt { fusion: best.fusion, confidence, labels, adapter, trials, observations, firsts })
}

/// Whether so many labelled intents suffice to learn from, which can be said before any of them is encoded.
///
/// Errors: too few in scope, none out of scope; says how many more are needed.
pub fn check_learnable(in_scope: usize, out_of_scope: usize) -> Result<(), RankingError> {
    if in_scope < LEAST_INTENTS {
        return Err(RankingError::TooFew(format!(
            "{in_scope} in-scope intents are too few to learn from; {LEAST_INTENTS} are the least, add {} more",
            LEAST_INTENTS - in_scope
        )));
    }
    if out_of_scope == 0 {
        return Err(RankingError::TooFew(format!(
            "the {in_scope} labelled intents hold no out-of-scope ones, so nothing teaches when to abstain; add some, best one \
             for every five in scope: {}",
            in_scope.div_ceil(5)
        )));
    }
    Ok(())
}

/// Errors: a place that is out of range, or vectors, grades or signals that cannot be computed with.
fn check(sources: &[Source], options: &LearnOptions) -> Result<(), RankingError> {
    let refuse =
        |name, value: &dyn std::fmt::Display, range| Err(RankingError::Range { name, value: value.to_string(), range });
    if let Some(target) = options.target.filter(|&target| target >= sources.len()) {
        return refuse("the place of the target", &target, "among the sources");
    }
    for source in sources {
        let components = source.components.len();
        if source.centroids.len() != components {
            return refuse("the number of centroids", &source.centroids.len(), "at the number of components");
        }
        let texts = || source.own.iter().chain(source.examples.iter().map(|example| &example.label));
        let dimension = texts().next().map_or(0, |text| text.vector.len());
        let vectors = texts().map(|text| &text.vector);
        for vector in vectors.chain(source.centroids.iter().filter(|centroid| !centroid.is_empty())) {
            if vector.len() != dimension {
                return refuse("a vector's dimension", &vector.len(), "at that of the others");
            }
            if let Some(value) = vector.iter().find(|value| !value.is_finite()) {
                return refuse("a value of a vector", value, "within the finite");
            }
        }
        for (component, grade) in texts().flat_map(|text| &text.relevant) {
            if *component as usize >= components {
                return refuse("a relevant component's place", component, "among the components");
            }
            if !(grade.is_finite() && *grade > 0.0) {
                return refuse("a grade", grade, "above 0");
            }
        }
        let mut candidates = source.examples.iter().flat_map(|example| &example.pool);
        if let Some(candidate) = candidates.find(|candidate| candidate.component as usize >= components) {
            return refuse("a candidate's place", &candidate.component, "among the components");
        }
    }
    Ok(())
}

/// The confidence fitted on everything, and the confidences of each intent by models that did not see its fold.
fn confidence(
    prepared: &[Prepared<'_>],
    labelled: &[Labelled],
) -> Result<(ConfidenceModel, Vec<Observation>), RankingError> {
    let pairs = || prepared.iter().zip(labelled);
    let models: Vec<ConfidenceModel> = (0..FOLDS)
        .map(|fold| {
            let others: Vec<&Labelled> = pairs().filter(|(one, _)| one.fold != fold).map(|(_, one)| one).collect();
            ConfidenceModel::fit(&others)
        })
        .collect::<Result<_, _>>()?;
    let observations = pairs()
        .filter(|(one, _)| one.of_target)
        .map(|(one, labelled)| Observation {
            confidence: models[one.fold].confidence(&labelled.ranked).correct,
            correct: labelled.correct,
            in_scope: labelled.in_scope,
        })
        .collect();
    let all: Vec<&Labelled> = labelled.iter().collect();
    Ok((ConfidenceModel::fit(&all)?, observations))
}
