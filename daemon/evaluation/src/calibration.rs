//! Whether a confidence of 0.8 is right eight times in ten.

use serde::{Deserialize, Serialize};

use crate::abstention::Observation;
use crate::ratio;

/// Bins of equal mass.
const BINS: usize = 15;

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
    let mut sorted: Vec<Observation> = observations.into_iter().collect();
    if sorted.is_empty() || sorted.iter().any(|seen| !(0.0..=1.0).contains(&seen.confidence)) {
        return None;
    }
    sorted.sort_by(|a, b| a.confidence.total_cmp(&b.confidence));
    let mut bins = Vec::new();
    let mut start = 0;
    for bin in 1..=BINS {
        let mut end = (bin * sorted.len() / BINS).max(start);
        while end > start && sorted.get(end).is_some_and(|next| next.confidence <= sorted[end - 1].confidence) {
            end += 1;
        }
        if end > start {
            bins.push(summary(&sorted[start..end]));
        }
        start = end;
    }
    let n = sorted.len() as u64;
    let ece = bins.iter().map(|bin| ratio(bin.n, n) * (bin.accuracy - bin.confidence).abs()).sum();
    Some(Calibration { ece, bins })
}

/// Of at least one query, sorted.
fn summary(seen: &[Observation]) -> Bin {
    let n = seen.len() as u64;
    let correct = seen.iter().filter(|one| one.correct).count() as u64;
    let sum: f64 = seen.iter().map(|one| one.confidence).sum();
    let end = seen.len() - 1;
    Bin {
        low: seen[0].confidence,
        high: seen[end].confidence,
        n,
        confidence: sum * ratio(1, n),
        accuracy: ratio(correct, n),
    }
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
        assert_eq!(found.bins.len(), BINS);
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
