//! Retrieval metrics over ranked names and graded relevance.
//!
//! nDCG uses the exponential gain `2^grade - 1` and a `log2(rank + 1)` discount (Burges et al., ICML 2005); in-scope
//! queries only. AUROC and FPR95 ask how well the confidence tells in-scope from out-of-scope queries.

use std::collections::BTreeMap;

use crate::calibration::{Observation, ratio};

/// One query's ranking, judged.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Grades of the ranked components, best first; 0 is not relevant.
    pub grades: Vec<u32>,
    /// Grades of every relevant component, ranked or not.
    pub relevant: Vec<u32>,
    /// Confidence of the answer.
    pub confidence: f64,
}

impl Judged {
    /// Whether a right answer exists.
    pub fn in_scope(&self) -> bool {
        !self.relevant.is_empty()
    }

    /// As the calibration wants it: is the first one right?
    pub fn observation(&self) -> Observation {
        Observation { confidence: self.confidence, correct: self.hit(1) > 0.0, in_scope: self.in_scope() }
    }

    fn hit(&self, k: usize) -> f64 {
        f64::from(u8::from(self.grades.iter().take(k).any(|&grade| grade > 0)))
    }

    fn recall(&self, k: usize) -> f64 {
        let found = self.grades.iter().take(k).filter(|&&grade| grade > 0).count();
        ratio(found as u64, self.relevant.len() as u64)
    }

    fn reciprocal_rank(&self, k: usize) -> f64 {
        self.grades.iter().take(k).position(|&grade| grade > 0).map_or(0.0, |rank| ratio(1, rank as u64 + 1))
    }

    fn ndcg(&self, k: usize) -> f64 {
        let mut ideal = self.relevant.clone();
        ideal.sort_unstable_by(|a, b| b.cmp(a));
        let best = discounted_gain(&ideal, k);
        if best == 0.0 { 0.0 } else { discounted_gain(&self.grades, k) / best }
    }
}

fn discounted_gain(grades: &[u32], k: usize) -> f64 {
    (2u32..)
        .zip(grades.iter().take(k))
        .map(|(rank, &grade)| (f64::from(grade).exp2() - 1.0) / f64::from(rank).log2())
        .sum()
}

/// Every metric over a set of judged queries, by its name. What has no queries to speak of is left out: the ranking
/// metrics without in-scope ones, AUROC and FPR95 when one of the sides is empty.
pub fn metrics(judged: &[Judged]) -> BTreeMap<String, f64> {
    let in_scope: Vec<&Judged> = judged.iter().filter(|query| query.in_scope()).collect();
    let mean = |value: &dyn Fn(&Judged) -> f64| {
        let sum: f64 = in_scope.iter().map(|query| value(query)).sum();
        #[expect(clippy::cast_precision_loss, reason = "query counts are far below 2^52")]
        let count = in_scope.len().max(1) as f64;
        sum / count
    };
    let ranked = [
        ("hit@1".to_owned(), mean(&|query| query.hit(1))),
        ("hit@5".to_owned(), mean(&|query| query.hit(5))),
        ("recall@5".to_owned(), mean(&|query| query.recall(5))),
        ("recall@10".to_owned(), mean(&|query| query.recall(10))),
        ("ndcg@10".to_owned(), mean(&|query| query.ndcg(10))),
        ("mrr@10".to_owned(), mean(&|query| query.reciprocal_rank(10))),
    ];
    let mut metrics: BTreeMap<String, f64> = if in_scope.is_empty() { BTreeMap::new() } else { ranked.into() };
    let inside: Vec<f64> = in_scope.iter().map(|query| query.confidence).collect();
    let outside: Vec<f64> = judged.iter().filter(|query| !query.in_scope()).map(|query| query.confidence).collect();
    if !inside.is_empty() && !outside.is_empty() {
        metrics.insert("auroc".to_owned(), auroc(&inside, &outside));
        metrics.insert("fpr95".to_owned(), false_positive_rate(&inside, &outside, 0.95));
    }
    metrics
}

/// Probability that an in-scope confidence exceeds an out-of-scope one, ties counted half (Mann-Whitney U).
fn auroc(inside: &[f64], outside: &[f64]) -> f64 {
    let mut outside = outside.to_vec();
    outside.sort_by(f64::total_cmp);
    let mut twice_wins = 0u64;
    for value in inside {
        let below = outside.partition_point(|other| other < value);
        let not_above = outside.partition_point(|other| other <= value);
        twice_wins += (below + not_above) as u64;
    }
    ratio(twice_wins, 2 * (inside.len() * outside.len()) as u64)
}

/// Share of out-of-scope queries that pass the threshold at which `recall` of the in-scope ones pass.
fn false_positive_rate(inside: &[f64], outside: &[f64], recall: f64) -> f64 {
    let mut inside = inside.to_vec();
    inside.sort_by(|a, b| b.total_cmp(a));
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank among the queries"
    )]
    let needed = ((inside.len() as f64 * recall).ceil() as usize).clamp(1, inside.len());
    let threshold = inside[needed - 1];
    ratio(outside.iter().filter(|&&value| value >= threshold).count() as u64, outside.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(judged: &[Judged], name: &str, expect: f64) {
        let found = metrics(judged)[name];
        assert!((found - expect).abs() < 1e-9, "{name}: {found}, expected {expect}");
    }

    fn query(grades: &[u32], relevant: &[u32], confidence: f64) -> Judged {
        Judged { grades: grades.to_vec(), relevant: relevant.to_vec(), confidence }
    }

    #[test]
    fn worked_examples() {
        let one = [query(&[0, 2, 0, 1], &[2, 1, 1], 0.5)];
        check(&one, "hit@1", 0.0);
        check(&one, "hit@5", 1.0);
        check(&one, "recall@10", 2.0 / 3.0);
        check(&one, "mrr@10", 0.5);
        let gained = 3.0 / 3f64.log2() + 1.0 / 5f64.log2();
        let ideal = 3.0 + 1.0 / 3f64.log2() + 1.0 / 4f64.log2();
        check(&one, "ndcg@10", gained / ideal);
    }

    #[test]
    fn what_lies_beyond_the_cut_does_not_count() {
        let mut grades = vec![0; 10];
        grades.push(1);
        let one = [query(&grades, &[1], 0.5)];
        for name in ["recall@10", "ndcg@10", "mrr@10"] {
            check(&one, name, 0.0);
        }
    }

    #[test]
    fn confidence_is_judged_between_the_two_sides() {
        let both = [query(&[1], &[1], 0.9), query(&[1], &[1], 0.5), query(&[0], &[], 0.5), query(&[0], &[], 0.1)];
        check(&both, "auroc", (1.0 + 1.0 + 0.5 + 1.0) / 4.0);
        check(&both, "fpr95", 0.5);
        assert!(!metrics(&both[..2]).contains_key("auroc"));
    }
}
