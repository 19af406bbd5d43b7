//! Whether a confidence of 0.8 is right eight times in ten.

use serde::{Deserialize, Serialize};

use crate::abstention::{Confidences, Observation};
use crate::ratio;

/// Bins of equal mass.
const BINS: u64 = 15;

/// How far confidences are from the share of right first candidates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Expected calibration error: mean over the queries of their bin's `|accuracy - confidence|`, 0..=1, lower is better
    /// (Naeini et al., AAAI 2015).
    pub ece: f64,
    /// The bins, least confident first.
    pub bins: Vec<Bin>,
}

/// Queries of about the same confidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Lowest confidence in it.
    pub low: f64,
    /// Highest confidence in it.
    pub high: f64,
    /// Queries in it.
    pub n: u64,
    /// Mean confidence.
    pub confidence: f64,
    /// Share whose first candidate is right, 0..=1.
    pub accuracy: f64,
}

/// Sorts queries into at most 15 bins of about equal mass; equal confidences share a bin. An out-of-scope query counts as
/// wrong. `None` without queries, or where a confidence lies outside 0..=1 and thus is no probability.
pub fn calibration(observations: impl IntoIterator<Item = Observation>) -> Option<Calibration> {
    of_confidences(&Confidences::of(observations))
}

/// The same of queries that are sorted already, and may count several times.
pub(crate) fn of_confidences(confidences: &Confidences) -> Option<Calibration> {
    let alike: Vec<Alike> = confidences.rising().collect();
    if alike.is_empty() || alike.iter().any(|one| !(0.0..=1.0).contains(&one.confidence)) {
        return None;
    }
    let n: u64 = alike.iter().map(|one| one.n).sum();
    let mut bins = Vec::new();
    let mut rest = alike.as_slice();
    let mut counted = 0;
    for bin in 1..=BINS {
        let start = rest;
        while let Some((next, others)) = rest.split_first().filter(|_| counted < bin * n / BINS) {
            counted += next.n;
            rest = others;
        }
        let within = &start[..start.len() - rest.len()];
        bins.extend(summary(within));
    }
    let ece = bins.iter().map(|bin| ratio(bin.n, n) * (bin.accuracy - bin.confidence).abs()).sum();
    Some(Calibration { ece, bins })
}

/// Queries of the same confidence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alike {
    pub(crate) confidence: f64,
    pub(crate) n: u64,
    pub(crate) correct: u64,
}

/// `None` of nothing; rising confidences.
fn summary(alike: &[Alike]) -> Option<Bin> {
    let n = alike.iter().map(|one| one.n).sum();
    let sum: f64 = alike.iter().map(|one| one.confidence * ratio(one.n, 1)).sum();
    Some(Bin {
        low: alike.first()?.confidence,
        high: alike.last()?.confidence,
        n,
        confidence: sum * ratio(1, n),
        accuracy: ratio(alike.iter().map(|one| one.correct).sum(), n),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(confidence: f64, correct: bool) -> Observation {
        Observation { confidence, in_scope: true, correct }
    }

    #[test]
    fn error_by_hand() {
        let half_right = (0..10).map(|i| seen(0.8, i % 2 == 0));
        let never_right = (0..10).map(|_| seen(0.1, false));
        let found = calibration(half_right.chain(never_right)).expect("queries");
        assert_eq!(found.bins.iter().map(|bin| bin.n).collect::<Vec<_>>(), [10, 10]);
        assert!((found.ece - (0.5 * 0.3 + 0.5 * 0.1)).abs() < 1e-12, "{}", found.ece);
    }

    #[test]
    fn bins_hold_about_the_same_number() {
        let found = calibration((0..150).map(|i| seen(f64::from(i) / 150.0, i % 3 == 0))).expect("queries");
        assert_eq!(found.bins.len() as u64, BINS);
        assert!(found.bins.iter().all(|bin| bin.n == 10));
    }

    #[test]
    fn one_query_is_one_bin_and_none_is_none() {
        assert_eq!(calibration([seen(0.25, true)]).expect("one").bins.len(), 1);
        assert_eq!(calibration([]), None);
    }

    #[test]
    fn a_score_is_not_taken_for_a_probability() {
        assert_eq!(calibration([seen(17.3, true)]), None);
        assert_eq!(calibration([seen(-0.1, true)]), None);
    }
}
