//! Fitting the weights of the signals to labelled intents.

use rayon::prelude::*;

use super::prepare::Prepared;
use super::way::{grade, ranked};
use crate::error::RankingError;
use crate::fusion::Fusion;
use crate::optimize::minimize;
use crate::signal::{Signal, counted};

/// Candidates of an intent that the weights are fitted on.
const DEPTH: usize = 60;
/// `RIDGE * |w|^2` is added to the mean loss.
const RIDGE: f64 = 1e-6;
/// Weight of a counter-example: none of the public sets has any, so it is stated, not fitted.
const COUNTER_EXAMPLE_WEIGHT: f64 = -10.0;

/// One intent for the fit of weights: candidates and the share of relevance that each has.
struct List {
    /// [candidates, signals that are fitted]
    rows: Vec<f64>,
    targets: Vec<f64>,
    weight: f64,
}

/// Listwise softmax cross-entropy (Cao et al., "Learning to Rank: From Pairwise Approach to Listwise Approach", ICML 2007)
/// of the in-scope intents, and the offset at which a score is one half.
pub(super) fn fit_weights(signals: &[Signal], prepared: &[&Prepared<'_>]) -> Result<Fusion, RankingError> {
    let width = signals.len();
    let lists: Vec<List> = prepared.par_iter().filter_map(|one| list(signals, one)).collect();
    let total: f64 = lists.iter().map(|list| list.weight).sum();
    // The cross-fit never sees an intent beside its own label, a match does: a weight below zero, which few labels suffice for,
    // would turn an intent that was asked before away from the very component that met it. Such weights are squares.
    let squared: Vec<bool> = signals.iter().map(|signal| signal.is_nearness()).collect();
    let weights_at = |place: &[f64]| -> Vec<f64> {
        place.iter().zip(&squared).map(|(value, squared)| if *squared { value * value } else { *value }).collect()
    };
    let evaluate = |at: &[f64]| {
        let place = &weights_at(at);
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
        for ((slope, value), _) in gradient.iter_mut().zip(at).zip(&squared).filter(|(_, squared)| **squared) {
            *slope *= 2.0 * value;
        }
        (loss, gradient)
    };
    let start = squared.iter().map(|squared| if *squared { 3f64.sqrt() } else { 3.0 }).collect();
    let weights = weights_at(&minimize(start, 300, evaluate)?);
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
