//! A way to rank, measured by cross-validation.

use rayon::prelude::*;

use super::prepare::{Prepared, in_scope};
use super::weights::fit_weights;
use super::{Choice, Example, FOLDS, Trial};
use crate::confidence::{Labelled, RankedSignals};
use crate::error::RankingError;
use crate::fusion::Fusion;
use crate::signal::{Signal, Signals};

/// What is added to the weight of [`Signal::Unlabelled`], in units of the weighted sum.
const BONUSES: [f64; 8] = [0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0];

/// A way to rank with the weights of every fold.
pub(super) struct Way {
    pub(super) trial: Trial,
    /// Fitted on everything.
    pub(super) fusion: Fusion,
    /// Fitted without the fold.
    by_fold: Vec<Fusion>,
    /// Of each prepared example, 1 or 0; out-of-scope ones `None`.
    hits: Vec<Option<f64>>,
}

impl Way {
    pub(super) fn fixed(fusion: Fusion, prepared: &[Prepared<'_>]) -> Self {
        Self::measured(Choice::Default, vec![fusion.clone(); FOLDS], fusion, prepared)
    }

    pub(super) fn fit(
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

    /// Whether it is better beyond chance: by more than two standard errors of the difference, between two ways that learn from
    /// labels alike by one.
    pub(super) fn beats(&self, other: &Self, prepared: &[Prepared<'_>]) -> bool {
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
        let alike = [self, other].iter().all(|way| matches!(way.trial.choice, Choice::Labels | Choice::Adapter));
        mean > if alike { 1.0 } else { 2.0 } * spread.sqrt()
    }

    /// The signals that there are where this way is in force: what it does not use is not kept for it.
    fn served(&self, mut signals: Signals) -> Signals {
        let choice = self.trial.choice;
        for signal in Signal::ALL.into_iter().filter(|signal| signal.is_learnt()) {
            let kept = if signal == Signal::Adapted {
                choice == Choice::Adapter
            } else {
                matches!(choice, Choice::Labels | Choice::Adapter)
            };
            if !kept {
                signals[signal.index()] = 0.0;
            }
        }
        signals
    }

    /// Place of the component that comes first.
    pub(super) fn first(&self, one: &Prepared<'_>) -> Option<u32> {
        ranked(&self.by_fold[one.fold], one).first().map(|&at| one.example.pool[at].component)
    }

    /// The ranked list as it would have been served without the label, and whether it was right.
    pub(super) fn labelled(&self, one: &Prepared<'_>) -> Labelled {
        let fusion = &self.by_fold[one.fold];
        let order = ranked(fusion, one);
        let candidates = order.iter().map(|&at| (fusion.sum(&one.signals[at]), self.served(one.signals[at]))).collect();
        Labelled {
            ranked: RankedSignals { candidates, words: one.example.label.words.len() },
            correct: first_is_right(fusion, one),
            in_scope: in_scope(one.example),
            weight: one.weight,
        }
    }
}

/// Places in the pool, best first, without what only the label brought in.
pub(super) fn ranked(fusion: &Fusion, one: &Prepared<'_>) -> Vec<usize> {
    let sums: Vec<f64> = one.signals.iter().map(|signals| fusion.sum(signals)).collect();
    let mut order: Vec<usize> = (0..sums.len()).filter(|&at| !one.example.pool[at].injected).collect();
    order.sort_by(|&a, &b| sums[b].total_cmp(&sums[a]).then(a.cmp(&b)));
    order
}

fn first_is_right(fusion: &Fusion, one: &Prepared<'_>) -> bool {
    ranked(fusion, one).first().is_some_and(|&at| grade(one.example, at) > 0.0)
}

pub(super) fn grade(example: &Example, at: usize) -> f64 {
    let component = example.pool[at].component;
    let of = example.label.relevant.iter().find(|(relevant, _)| *relevant == component);
    of.map_or(0.0, |(_, grade)| f64::from(*grade))
}
