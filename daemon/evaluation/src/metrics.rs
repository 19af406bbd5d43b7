//! The figures of a run by name, as point estimates and under resampling weights.
//!
//! A figure that has no queries to speak of is left out: ranking measures without in-scope queries, AUROC and FPR95 when
//! one of the sides is empty, precision when nothing was answered. No figure is ever NaN.

use std::collections::BTreeMap;

use crate::abstention::{Confidences, Observation, Order};
use crate::bootstrap;
use crate::calibration::of_confidences;
use crate::judgement::Judgement;
use crate::ratio;
use crate::run::{Answer, Run};

/// A measure of one ranking.
pub type Measure = fn(&Judgement) -> f64;

/// Measures of one in-scope query, 0..=1, higher is better; a run's figure is their mean.
pub const MEASURES: [(&str, Measure); 15] = [
    ("hit@1", |judged| judged.hit(1)),
    ("hit@3", |judged| judged.hit(3)),
    ("hit@5", |judged| judged.hit(5)),
    ("hit@10", |judged| judged.hit(10)),
    ("recall@5", |judged| judged.recall(5)),
    ("recall@10", |judged| judged.recall(10)),
    ("precision@1", |judged| judged.precision(1)),
    ("precision@5", |judged| judged.precision(5)),
    ("precision@10", |judged| judged.precision(10)),
    ("ndcg@5", |judged| judged.ndcg(5)),
    ("ndcg@10", |judged| judged.ndcg(10)),
    ("mrr@10", |judged| judged.reciprocal_rank(10)),
    ("completeness@5", |judged| judged.completeness(5)),
    ("completeness@10", |judged| judged.completeness(10)),
    ("map", Judgement::average_precision),
];

/// Precision, in percent, that an oracle's threshold has to keep, and the name of the coverage that is left.
const ORACLE_COVERAGE: [(f64, &str); 4] =
    [(80.0, "coverage@80"), (90.0, "coverage@90"), (95.0, "coverage@95"), (99.0, "coverage@99")];

/// Whether less of a figure is better.
pub fn lower_is_better(name: &str) -> bool {
    matches!(name, "fpr95" | "aurc" | "ece")
}

/// The measures of one in-scope query.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryFigures<'run> {
    /// The answer's id.
    pub id: &'run str,
    /// Each of [`MEASURES`] by its name.
    pub values: BTreeMap<&'static str, f64>,
}

/// The measures of every in-scope query, in the order of the answers.
pub fn per_query(run: &Run) -> impl Iterator<Item = QueryFigures<'_>> {
    run.answers.iter().filter(|answer| answer.in_scope()).map(|answer| {
        let judged = Judgement::of(answer);
        QueryFigures {
            id: &answer.id,
            values: MEASURES.iter().map(|&(name, measure)| (name, measure(&judged))).collect(),
        }
    })
}

/// A run in columns, for counting under weights.
pub(crate) struct Sheet {
    /// For each of [`MEASURES`], its value for each query; 0 for an out-of-scope one.
    columns: Vec<Vec<f64>>,
    in_scope: Vec<bool>,
    correct: Vec<bool>,
    /// Whether a component was promised.
    answered: Vec<bool>,
    /// Whether the tier was the expected one, where both are known.
    tier_agrees: Vec<Option<bool>>,
    order: Order,
    /// By how sure the answers are that anything fits.
    scope_order: Order,
    /// Whether a promise was in force.
    promised: bool,
}

impl Sheet {
    pub(crate) fn of(run: &Run) -> Self {
        Self::new(&run.answers.iter().collect::<Vec<_>>(), run.promise.is_some())
    }

    /// `promised`: whether a promise was in force.
    pub(crate) fn new(answers: &[&Answer], promised: bool) -> Self {
        let judged: Vec<Judgement> = answers.iter().copied().map(Judgement::of).collect();
        let observations: Vec<Observation> = answers.iter().copied().map(Observation::of).collect();
        Self {
            columns: MEASURES.iter().map(|(_, measure)| judged.iter().map(measure).collect()).collect(),
            in_scope: judged.iter().map(Judgement::in_scope).collect(),
            correct: observations.iter().map(|seen| seen.correct).collect(),
            answered: answers.iter().map(|answer| promised && answer.answered()).collect(),
            tier_agrees: answers.iter().map(|answer| Some(answer.outcome? == answer.expected?)).collect(),
            order: Order::of(&observations),
            scope_order: Order::of(&answers.iter().copied().map(Observation::of_scope).collect::<Vec<_>>()),
            promised,
        }
    }

    /// Number of queries.
    pub(crate) fn len(&self) -> usize {
        self.in_scope.len()
    }

    /// The value of each measure for every query.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (&'static str, &[f64])> {
        MEASURES.iter().zip(&self.columns).map(|(&(name, _), column)| (name, column.as_slice()))
    }

    /// Number of in-scope queries.
    pub(crate) fn n_in_scope(&self) -> u64 {
        self.in_scope.iter().filter(|&&inside| inside).count() as u64
    }

    /// Every figure, each query counted once.
    pub(crate) fn figures(&self) -> BTreeMap<&'static str, f64> {
        self.weighted(&vec![1; self.len()])
    }

    /// 95 % interval of every figure.
    pub(crate) fn intervals(&self) -> BTreeMap<&'static str, [f64; 2]> {
        bootstrap::intervals(self.len(), |weights| self.weighted(weights))
    }

    /// Every figure, query `i` counted `weights[i]` times.
    pub(crate) fn weighted(&self, weights: &[u32]) -> BTreeMap<&'static str, f64> {
        let mut figures = BTreeMap::new();
        let inside = count(weights, |query| self.in_scope[query]);
        if inside > 0 {
            let scale = ratio(1, inside);
            for (name, column) in self.columns() {
                // Out-of-scope queries hold 0 and add nothing.
                let sum: f64 = column.iter().zip(weights).map(|(value, &weight)| value * f64::from(weight)).sum();
                figures.insert(name, sum * scale);
            }
        }
        figures.extend(self.abstention(weights, inside));
        let with_tier = count(weights, |query| self.tier_agrees[query].is_some());
        if with_tier > 0 {
            let agreeing = count(weights, |query| self.tier_agrees[query] == Some(true));
            figures.insert("tier_accuracy", ratio(agreeing, with_tier));
        }
        figures
    }

    fn abstention(&self, weights: &[u32], inside: u64) -> BTreeMap<&'static str, f64> {
        let mut figures = confidence_figures(&self.order.weighted(weights), &self.scope_order.weighted(weights));
        // Without a promise nothing is answered: no intent is covered.
        if (self.promised || figures.contains_key("auroc")) && inside > 0 {
            let covered = count(weights, |query| self.answered[query] && self.in_scope[query]);
            figures.insert("coverage", ratio(covered, inside));
        }
        let answered = count(weights, |query| self.answered[query]);
        if answered > 0 {
            let right = count(weights, |query| self.answered[query] && self.correct[query]);
            figures.insert("precision", ratio(right, answered));
        }
        figures
    }
}

fn confidence_figures(confidences: &Confidences, scope: &Confidences) -> BTreeMap<&'static str, f64> {
    let sides = [
        ("auroc", scope.auroc()),
        ("fpr95", scope.false_positive_rate(95)),
        ("aurc", confidences.area_under_risk_coverage()),
        ("ece", of_confidences(confidences).map(|found| found.ece)),
    ];
    let mut figures: BTreeMap<_, _> = sides.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    if confidences.n_in_scope() > 0 {
        for (percent, name) in ORACLE_COVERAGE {
            let point = confidences.oracle(1.0 - percent / 100.0);
            figures.insert(name, point.map_or(0.0, |point| point.coverage));
        }
    }
    figures
}

fn count(weights: &[u32], counts: impl Fn(usize) -> bool) -> u64 {
    (0..).zip(weights).filter(|&(query, _)| counts(query)).map(|(_, &weight)| u64::from(weight)).sum()
}
