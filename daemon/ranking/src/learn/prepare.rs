//! Every labelled intent with every signal: learnt ones come from labels of other folds.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use rayon::prelude::*;

use super::{Example, FOLDS, LearnOptions, Source};
use crate::adapter::Adapter;
use crate::error::RankingError;
use crate::evidence::{LabelEvidence, QueryView};
use crate::heads::Heads;
use crate::labels::{LabelText, Labels, Vocabulary, dot};
use crate::signal::{Signal, Signals};

/// Least and greatest share of components that lose their labels in each fold.
const HELD_OUT: (f64, f64) = (0.02, 0.25);
/// Fewest labels a labelled component must have on average before they are used as signals.
const LEAST_LABELS: f64 = 1.8;

/// An example with every signal, and its part in the cross-validation.
pub(super) struct Prepared<'a> {
    pub(super) example: &'a Example,
    /// Of each candidate of the pool.
    pub(super) signals: Vec<Signals>,
    pub(super) fold: usize,
    pub(super) unseen: bool,
    /// So that every source counts the same.
    pub(super) weight: f64,
    pub(super) of_target: bool,
}

pub(super) fn in_scope(example: &Example) -> bool {
    !example.label.relevant.is_empty()
}

#[expect(clippy::cast_precision_loss, reason = "counts of labels")]
pub(super) fn labels_suffice(source: &Source) -> bool {
    let owners = || source.examples.iter().flat_map(|example| &example.label.relevant).map(|(component, _)| component);
    let components: BTreeSet<&u32> = owners().collect();
    owners().count() as f64 >= LEAST_LABELS * components.len().max(1) as f64
}

/// How a catalogue's labels lie among its components.
pub(super) struct Spread {
    /// Whether those without labels were left out by whoever labelled, 1, or are hardly ever asked for, 0.
    pub(super) left_out: f64,
    /// Share of future intents that ask for a component without labels.
    unseen_share: f64,
}

/// Where nearly every labelled component has several labels, one without any was not looked at: it will be asked for as
/// often as the others. Where many have one or two, demand is uneven, and the share of intents that ask for something new is
/// what singletons tell of it (Good, "The Population Frequencies of Species", Biometrika 40, 1953).
#[expect(clippy::cast_precision_loss, reason = "counts of labels")]
pub(super) fn spread(source: &Source) -> Spread {
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

/// What a source's labelled intents taught.
pub(super) struct Memory {
    pub(super) labels: Labels,
    pub(super) heads: Heads,
    pub(super) adapter: Adapter,
}

/// Learns from some of a source's intents.
pub(super) fn remember(source: &Source, labels: &[&LabelText]) -> Result<Memory, RankingError> {
    let labels: Vec<&LabelText> = labels.iter().copied().filter(|label| !label.relevant.is_empty()).collect();
    let texts = labels.iter().map(|label| &label.words[..]).chain(source.own.iter().map(|text| &text.words[..]));
    let memory = Labels::new(&source.components, &source.centroids, &labels, Vocabulary::new(texts));
    let heads = Heads::fit(&source.components, &memory, &labels, &source.own)?;
    let adapter = Adapter::fit(&source.centroids, &labels)?;
    Ok(Memory { labels: memory, heads, adapter })
}

pub(super) fn prepare<'a>(
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
    let Memory { labels: memory, heads, adapter } = remember(source, &others)?;
    prepared.par_iter_mut().filter(|one| one.fold == fold).for_each(|one| {
        let label = &one.example.label;
        let query = QueryView { vector: &label.vector, words: &label.words, dot };
        let evidence = LabelEvidence::new(&memory, Some(&heads), query);
        let adapted = adapter.adapt(&label.vector, dot);
        for (signals, candidate) in one.signals.iter_mut().zip(&one.example.pool) {
            evidence.fill(memory.place(&source.components[candidate.component as usize]), signals);
            let centroid = &source.centroids[candidate.component as usize];
            if let Some(adapted) = adapted.as_ref().filter(|_| !centroid.is_empty()) {
                signals[Signal::Adapted.index()] = dot(adapted, centroid);
            }
        }
        one.unseen = is_held_out(label);
    });
    Ok(())
}
