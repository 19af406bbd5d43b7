//! Learning from labelled intents, by cross-fitting.
//!
//! Labels are signals, so a weight fitted on signals of the very labels that made them would trust them too much. Each
//! intent therefore gets its learnt signals from the other folds' labels. In each fold some components lose all of their
//! labels besides: so the fit sees how components fare that nobody has asked for yet, and does not forget them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::calibration::Observation;
use crate::confidence::{ConfidenceModel, Labelled, RankedSignals};
use crate::error::RankingError;
use crate::evidence::{LabelEvidence, QueryView};
use crate::fusion::Fusion;
use crate::heads::Heads;
use crate::labels::{LabelText, Labels, Vocabulary, dot};
use crate::optimize::minimize;
use crate::signal::{Signal, Signals, counted};

/// Parts of the cross-fit.
const FOLDS: usize = 5;
/// Least and greatest share of components that lose their labels in each fold.
const HELD_OUT: (f64, f64) = (0.02, 0.25);
/// Fewest in-scope intents to learn anything from.
const LEAST_INTENTS: usize = 50;
/// Fewest labels a labelled component must have on average before they are used as signals.
const LEAST_LABELS: f64 = 1.8;
/// Candidates of an intent that the weights are fitted on.
const DEPTH: usize = 60;
/// `RIDGE * |w|^2` is added to the mean loss.
const RIDGE: f64 = 1e-6;
/// What is added to the weight of [`Signal::Unlabelled`], in units of the weighted sum.
const BONUSES: [f64; 8] = [0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0];
/// Signals that need no labels.
const LABEL_FREE: [Signal; 6] =
    [Signal::Centroid, Signal::BestFacet, Signal::Words, Signal::Coverage, Signal::Name, Signal::Trigrams];
/// Weight of a counter-example: none of the public sets has any, so it is stated, not fitted.
const COUNTER_EXAMPLE_WEIGHT: f64 = -10.0;

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
}

impl Choice {
    /// Its name, as artefacts write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Weights => "weights",
            Self::Labels => "labels",
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
    /// What was tried.
    pub trials: Vec<Trial>,
    /// Cross-fitted, of the target's intents, or of all where there is no target.
    pub observations: Vec<Observation>,
    /// Place of the component that came first for each of them.
    pub firsts: Vec<Option<u32>>,
}

/// An example with every signal, and its part in the cross-validation.
struct Prepared<'a> {
    example: &'a Example,
    /// Of each candidate of the pool.
    signals: Vec<Signals>,
    fold: usize,
    unseen: bool,
    /// So that every source counts the same.
    weight: f64,
    of_target: bool,
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
    let in_scope = sources.iter().flat_map(|source| &source.examples).filter(|example| in_scope(example)).count();
    if in_scope < LEAST_INTENTS {
        return Err(RankingError::TooFew(format!(
            "{in_scope} in-scope intents are too few to learn from; {LEAST_INTENTS} are the least, add {} more",
            LEAST_INTENTS - in_scope
        )));
    }
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
        ways.push((Choice::Labels, label_free.into_iter().chain(learnt).collect()));
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
    let labels = match with_labels.filter(|_| best.trial.choice == Choice::Labels) {
        Some(target) => {
            let all: Vec<&LabelText> = sources[target].examples.iter().map(|example| &example.label).collect();
            Some(remember(&sources[target], &all)?)
        }
        None => None,
    };
    on_step("fitted", steps, steps)?;
    Ok(Learnt { fusion: best.fusion, confidence, labels, trials, observations, firsts })
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

fn in_scope(example: &Example) -> bool {
    !example.label.relevant.is_empty()
}

#[expect(clippy::cast_precision_loss, reason = "counts of labels")]
fn labels_suffice(source: &Source) -> bool {
    let owners = || source.examples.iter().flat_map(|example| &example.label.relevant).map(|(component, _)| component);
    let components: BTreeSet<&u32> = owners().collect();
    owners().count() as f64 >= LEAST_LABELS * components.len().max(1) as f64
}

/// How a catalogue's labels lie among its components.
struct Spread {
    /// Whether those without labels were left out by whoever labelled, 1, or are hardly ever asked for, 0.
    left_out: f64,
    /// Share of future intents that ask for a component without labels.
    unseen_share: f64,
}

/// Where nearly every labelled component has several labels, one without any was not looked at: it will be asked for as
/// often as the others. Where many have one or two, demand is uneven, and the share of intents that ask for something new is
/// what singletons tell of it (Good, "The Population Frequencies of Species", Biometrika 40, 1953).
#[expect(clippy::cast_precision_loss, reason = "counts of labels")]
fn spread(source: &Source) -> Spread {
    const FEW: usize = 2;
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for (component, _) in source.examples.iter().flat_map(|example| &example.label.relevant) {
        *counts.entry(*component).or_default() += 1;
    }
    let labelled = counts.len().max(1) as f64;
    let labels: usize = counts.values().sum();
    let of = |wanted: &dyn Fn(usize) -> bool| counts.values().filter(|&&count| wanted(count)).count() as f64;
    let left_out = (1.0 - 4.0 * of(&|count| count <= FEW) / labelled).max(0.0);
    let without = (source.components.len() as f64 - labelled).max(0.0) / source.components.len().max(1) as f64;
    let singletons = of(&|count| count == 1) / labels.max(1) as f64;
    Spread { left_out, unseen_share: left_out * without + (1.0 - left_out) * singletons }
}

/// Labels and heads of some of a source's intents.
fn remember(source: &Source, labels: &[&LabelText]) -> Result<(Labels, Heads), RankingError> {
    let labels: Vec<&LabelText> = labels.iter().copied().filter(|label| !label.relevant.is_empty()).collect();
    let texts = labels.iter().map(|label| &label.words[..]).chain(source.own.iter().map(|text| &text.words[..]));
    let memory = Labels::new(&source.components, &source.centroids, &labels, Vocabulary::new(texts));
    let heads = Heads::fit(&source.components, &memory, &labels, &source.own)?;
    Ok((memory, heads))
}

fn prepare<'a>(
    sources: &'a [Source],
    options: &LearnOptions,
    with_labels: Option<usize>,
    on_fold: &(dyn Fn(u64) + Sync),
) -> Result<Vec<Prepared<'a>>, RankingError> {
    let mut prepared = Vec::new();
    for (place, source) in sources.iter().enumerate() {
        let mut random = SmallRng::seed_from_u64(options.seed ^ place as u64);
        let mut folds: Vec<usize> = (0..source.examples.len()).map(|at| at % FOLDS).collect();
        folds.shuffle(&mut random);
        #[expect(clippy::cast_precision_loss, reason = "counts of intents")]
        let weight = 1.0 / source.examples.len().max(1) as f64;
        let start = prepared.len();
        prepared.extend(source.examples.iter().zip(folds).map(|(example, fold)| Prepared {
            example,
            signals: example.pool.iter().map(|candidate| candidate.signals).collect(),
            fold,
            unseen: false,
            weight,
            of_target: options.target.is_none_or(|target| target == place),
        }));
        if with_labels == Some(place) {
            for fold in 0..FOLDS {
                on_fold(fold as u64);
                options.stop.check()?;
                cross_fit(source, &mut prepared[start..], fold, &mut random)?;
            }
        }
    }
    Ok(prepared)
}

/// Gives the intents of one fold their learnt signals from the labels of the others.
fn cross_fit(
    source: &Source,
    prepared: &mut [Prepared<'_>],
    fold: usize,
    random: &mut impl Rng,
) -> Result<(), RankingError> {
    let share = spread(source).unseen_share.clamp(HELD_OUT.0, HELD_OUT.1);
    let held_out: Vec<bool> = source.components.iter().map(|_| random.random_bool(share)).collect();
    let is_held_out = |label: &LabelText| label.relevant.iter().any(|(component, _)| held_out[*component as usize]);
    let others: Vec<&LabelText> = prepared
        .iter()
        .filter(|one| one.fold != fold && !is_held_out(&one.example.label))
        .map(|one| &one.example.label)
        .collect();
    let (memory, heads) = remember(source, &others)?;
    prepared.par_iter_mut().filter(|one| one.fold == fold).for_each(|one| {
        let label = &one.example.label;
        let query = QueryView { vector: &label.vector, words: &label.words, dot };
        let evidence = LabelEvidence::new(&memory, Some(&heads), query);
        for (signals, candidate) in one.signals.iter_mut().zip(&one.example.pool) {
            evidence.fill(memory.place(&source.components[candidate.component as usize]), signals);
        }
        one.unseen = is_held_out(label);
    });
    Ok(())
}

/// A way to rank with the weights of every fold.
struct Way {
    trial: Trial,
    /// Fitted on everything.
    fusion: Fusion,
    /// Fitted without the fold.
    by_fold: Vec<Fusion>,
    /// Of each prepared example, 1 or 0; out-of-scope ones `None`.
    hits: Vec<Option<f64>>,
}

impl Way {
    fn fixed(fusion: Fusion, prepared: &[Prepared<'_>]) -> Self {
        Self::measured(Choice::Default, vec![fusion.clone(); FOLDS], fusion, prepared)
    }

    fn fit(
        choice: Choice,
        signals: &[Signal],
        prepared: &[Prepared<'_>],
        floor: Option<&Trial>,
        left_out: f64,
    ) -> Result<Self, RankingError> {
        let without = |fold: usize| prepared.iter().filter(move |one| one.fold != fold).collect::<Vec<_>>();
        let by_fold: Vec<Fusion> =
            (0..FOLDS).map(|fold| fit_weights(signals, &without(fold))).collect::<Result<_, _>>()?;
        let fusion = fit_weights(signals, &without(FOLDS))?;
        if !signals.contains(&Signal::Unlabelled) {
            return Ok(Self::measured(choice, by_fold, fusion, prepared));
        }
        // The bonus that costs least among those with which components without labels keep what they had.
        let raised = |fusion: &Fusion, bonus: f64| {
            fusion.clone().with(Signal::Unlabelled, fusion.weight(Signal::Unlabelled) + bonus)
        };
        let ways = BONUSES.map(|bonus| {
            let by_fold = by_fold.iter().map(|fusion| raised(fusion, bonus)).collect();
            Self::measured(choice, by_fold, raised(&fusion, bonus), prepared)
        });
        let kept = floor.and_then(|floor| floor.unseen_hit_at_1);
        let value = |way: &Self| {
            let unseen = way.trial.unseen_hit_at_1.unwrap_or(0.0);
            let lost = kept.map_or(0.0, |kept| (kept - unseen).max(0.0));
            way.trial.hit_at_1 - left_out * lost
        };
        ways.into_iter()
            .reduce(|best, way| if value(&way) > value(&best) { way } else { best })
            .ok_or_else(|| RankingError::Numeric("no bonus was tried".into()))
    }

    fn measured(choice: Choice, by_fold: Vec<Fusion>, fusion: Fusion, prepared: &[Prepared<'_>]) -> Self {
        let hits: Vec<Option<f64>> = prepared
            .par_iter()
            .map(|one| in_scope(one.example).then(|| f64::from(u8::from(first_is_right(&by_fold[one.fold], one)))))
            .collect();
        let mean = |wanted: &dyn Fn(&Prepared<'_>) -> bool| {
            let (mut sum, mut weights) = (0.0, 0.0);
            for (hit, one) in hits.iter().zip(prepared).filter(|(_, one)| wanted(one)) {
                if let Some(hit) = hit {
                    sum += hit * one.weight;
                    weights += one.weight;
                }
            }
            (weights > 0.0).then(|| sum / weights)
        };
        let trial = Trial {
            choice,
            hit_at_1: mean(&|_| true).unwrap_or(0.0),
            unseen_hit_at_1: mean(&|one| one.unseen),
            taken: false,
        };
        Self { trial, fusion, by_fold, hits }
    }

    /// Whether it is better by more than two standard errors of the difference.
    fn beats(&self, other: &Self, prepared: &[Prepared<'_>]) -> bool {
        let differences: Vec<(f64, f64)> = self
            .hits
            .iter()
            .zip(&other.hits)
            .zip(prepared)
            .filter_map(|((mine, theirs), one)| Some(((*mine)? - (*theirs)?, one.weight)))
            .collect();
        let total: f64 = differences.iter().map(|(_, weight)| weight).sum();
        let mean = differences.iter().map(|(difference, weight)| difference * weight).sum::<f64>() / total;
        let spread: f64 =
            differences.iter().map(|(difference, weight)| (weight * (difference - mean) / total).powi(2)).sum();
        mean > 2.0 * spread.sqrt()
    }

    /// Place of the component that comes first.
    fn first(&self, one: &Prepared<'_>) -> Option<u32> {
        ranked(&self.by_fold[one.fold], one).first().map(|&at| one.example.pool[at].component)
    }

    /// The ranked list as it would have been served without the label, and whether it was right.
    fn labelled(&self, one: &Prepared<'_>) -> Labelled {
        let fusion = &self.by_fold[one.fold];
        let order = ranked(fusion, one);
        let candidates = order.iter().map(|&at| (fusion.sum(&one.signals[at]), one.signals[at])).collect();
        Labelled {
            ranked: RankedSignals { candidates, words: one.example.label.words.len() },
            correct: first_is_right(fusion, one),
            in_scope: in_scope(one.example),
            weight: one.weight,
        }
    }
}

/// Places in the pool, best first, without what only the label brought in.
fn ranked(fusion: &Fusion, one: &Prepared<'_>) -> Vec<usize> {
    let sums: Vec<f64> = one.signals.iter().map(|signals| fusion.sum(signals)).collect();
    let mut order: Vec<usize> = (0..sums.len()).filter(|&at| !one.example.pool[at].injected).collect();
    order.sort_by(|&a, &b| sums[b].total_cmp(&sums[a]).then(a.cmp(&b)));
    order
}

fn first_is_right(fusion: &Fusion, one: &Prepared<'_>) -> bool {
    ranked(fusion, one).first().is_some_and(|&at| grade(one.example, at) > 0.0)
}

fn grade(example: &Example, at: usize) -> f64 {
    let component = example.pool[at].component;
    let of = example.label.relevant.iter().find(|(relevant, _)| *relevant == component);
    of.map_or(0.0, |(_, grade)| f64::from(*grade))
}

/// One intent for the fit of weights: candidates and the share of relevance that each has.
struct List {
    /// [candidates, signals that are fitted]
    rows: Vec<f64>,
    targets: Vec<f64>,
    weight: f64,
}

/// Listwise softmax cross-entropy (Cao et al., "Learning to Rank: From Pairwise Approach to Listwise Approach", ICML 2007)
/// of the in-scope intents, and the offset at which a score is one half.
fn fit_weights(signals: &[Signal], prepared: &[&Prepared<'_>]) -> Result<Fusion, RankingError> {
    let width = signals.len();
    let lists: Vec<List> = prepared.par_iter().filter_map(|one| list(signals, one)).collect();
    let total: f64 = lists.iter().map(|list| list.weight).sum();
    let evaluate = |place: &[f64]| {
        let parts: Vec<(f64, Vec<f64>)> = lists
            .par_chunks(128)
            .map(|lists| {
                let (mut loss, mut gradient) = (0.0, vec![0.0; width]);
                let mut sums = Vec::new();
                for list in lists {
                    sums.clear();
                    let rows = list.rows.chunks_exact(width);
                    sums.extend(rows.map(|row| row.iter().zip(place).map(|(value, w)| value * w).sum::<f64>()));
                    let highest = sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let normal = sums.iter().map(|sum| (sum - highest).exp()).sum::<f64>().ln() + highest;
                    let share = list.weight / total;
                    for ((row, sum), target) in list.rows.chunks_exact(width).zip(&sums).zip(&list.targets) {
                        loss -= share * target * (sum - normal);
                        let error = share * ((sum - normal).exp() - target);
                        gradient.iter_mut().zip(row).for_each(|(sum, value)| *sum += error * value);
                    }
                }
                (loss, gradient)
            })
            .collect();
        let mut loss = RIDGE * place.iter().map(|w| w * w).sum::<f64>();
        let mut gradient: Vec<f64> = place.iter().map(|w| 2.0 * RIDGE * w).collect();
        for (part, by_place) in parts {
            loss += part;
            gradient.iter_mut().zip(by_place).for_each(|(sum, value)| *sum += value);
        }
        (loss, gradient)
    };
    let weights = minimize(vec![3.0; width], 300, evaluate)?;
    let named = signals.iter().copied().zip(weights).chain([(Signal::CounterExample, COUNTER_EXAMPLE_WEIGHT)]);
    let fusion = Fusion::new(named, 0.0)?;
    let offset = offset(&fusion, prepared);
    let weights = Signal::ALL.into_iter().map(|signal| (signal, fusion.weight(signal)));
    Fusion::new(weights.filter(|(_, weight)| *weight != 0.0), offset)
}

fn list(signals: &[Signal], one: &Prepared<'_>) -> Option<List> {
    let mut order: Vec<usize> = (0..one.signals.len()).collect();
    // The strongest rivals by meaning and by words, whatever the weights turn out to be.
    let rough = |at: usize| {
        let of = |signal: Signal| one.signals[at][signal.index()];
        let learnt = if of(Signal::Unlabelled) > 0.0 { 0.0 } else { of(Signal::LabelWords) };
        of(Signal::Centroid) + of(Signal::Words) + of(Signal::Prototype) + learnt
    };
    order.sort_by(|&a, &b| rough(b).total_cmp(&rough(a)));
    let mut kept: Vec<usize> = order.iter().copied().take(DEPTH).collect();
    kept.extend(order.iter().copied().skip(DEPTH).filter(|&at| grade(one.example, at) > 0.0));
    // Of the candidates at hand, so that they sum to one whatever the pool lacks: else the gradient is not the loss's.
    let total: f64 = kept.iter().map(|&at| grade(one.example, at)).sum();
    if total <= 0.0 || kept.len() < 2 {
        return None;
    }
    let targets: Vec<f64> = kept.iter().map(|&at| grade(one.example, at) / total).collect();
    let rows = kept
        .iter()
        .flat_map(|&at| signals.iter().map(move |signal| counted(one.signals[at][signal.index()])))
        .collect();
    Some(List { rows, targets, weight: one.weight })
}

/// The weighted sum from which a first candidate is right more often than not, by bisection on the mean of its scores.
fn offset(fusion: &Fusion, prepared: &[&Prepared<'_>]) -> f64 {
    let firsts: Vec<(f64, f64, f64)> = prepared
        .par_iter()
        .filter_map(|one| {
            let first = *ranked(fusion, one).first()?;
            let right = f64::from(u8::from(grade(one.example, first) > 0.0));
            Some((fusion.sum(&one.signals[first]), right, one.weight))
        })
        .collect();
    let right: f64 = firsts.iter().map(|(_, right, weight)| right * weight).sum();
    let (mut low, mut high) = (-1e4, 1e4);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        let expected: f64 = firsts.iter().map(|(sum, _, weight)| weight / (1.0 + (middle - sum).exp())).sum();
        if expected > right { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// The confidence fitted on everything, and the confidences of each intent by models that did not see its fold.
fn confidence(
    prepared: &[Prepared<'_>],
    labelled: &[Labelled],
) -> Result<(ConfidenceModel, Vec<Observation>), RankingError> {
    if labelled.iter().all(|one| one.in_scope) {
        return Err(RankingError::TooFew(
            "the labelled intents hold no out-of-scope ones, so nothing teaches when to abstain; add some".into(),
        ));
    }
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
