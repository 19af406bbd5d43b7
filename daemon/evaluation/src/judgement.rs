//! One ranking against its labels.
//!
//! Every measure is defined as `trec_eval` defines it: nDCG takes the grade itself as gain and discounts by
//! `log2(rank + 1)` (Järvelin and Kekäläinen, ACM TOIS 20(4), 2002), precision divides by the cut even where fewer were
//! ranked, and average precision divides by the number of relevant components.

use std::cmp::Reverse;

use crate::ratio;
use crate::run::Answer;

/// A ranking as grades.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Grades of the candidates, best candidate first; 0 is not relevant.
    ranked: Vec<u32>,
    /// Grades of every relevant component, highest first.
    relevant: Vec<u32>,
}

impl Judgement {
    /// Judges an answer by its labels.
    pub fn of(answer: &Answer) -> Self {
        let ranked = answer.ranked.iter().map(|candidate| answer.grade(&candidate.component)).collect();
        Self::new(ranked, answer.relevant.values().copied().collect())
    }

    /// `ranked`: grades of the candidates, best first. `relevant`: grades of all labelled components, in any order.
    pub fn new(ranked: Vec<u32>, mut relevant: Vec<u32>) -> Self {
        relevant.retain(|&grade| grade > 0);
        relevant.sort_unstable_by_key(|&grade| Reverse(grade));
        Self { ranked, relevant }
    }

    /// Whether a right component exists. Every measure of an out-of-scope query is 0.
    pub fn in_scope(&self) -> bool {
        !self.relevant.is_empty()
    }

    /// Number of right components.
    pub fn n_relevant(&self) -> usize {
        self.relevant.len()
    }

    /// 1 if a right component is among the first `k`, else 0.
    pub fn hit(&self, k: usize) -> f64 {
        f64::from(u8::from(self.found(k) > 0))
    }

    /// Share of the right components among the first `k`, 0..=1.
    pub fn recall(&self, k: usize) -> f64 {
        ratio(self.found(k), self.relevant.len() as u64)
    }

    /// Share of right components in the first `k` places, 0..=1.
    pub fn precision(&self, k: usize) -> f64 {
        ratio(self.found(k), k as u64)
    }

    /// 1 if every right component is among the first `k`, else 0.
    pub fn completeness(&self, k: usize) -> f64 {
        f64::from(u8::from(self.in_scope() && self.found(k) == self.relevant.len() as u64))
    }

    /// `1 / rank` of the first right component within the first `k`, else 0.
    pub fn reciprocal_rank(&self, k: usize) -> f64 {
        let first = self.ranked.iter().take(k).position(|&grade| grade > 0);
        first.map_or(0.0, |position| ratio(1, position as u64 + 1))
    }

    /// Normalized discounted cumulative gain of the first `k`, linear gain, 0..=1.
    pub fn ndcg(&self, k: usize) -> f64 {
        let ideal = discounted_gain(&self.relevant, k);
        if ideal == 0.0 { 0.0 } else { discounted_gain(&self.ranked, k) / ideal }
    }

    /// Mean over the right components of the precision at their ranks, 0 for those not ranked; 0..=1.
    pub fn average_precision(&self) -> f64 {
        let hits = (1u64..).zip(&self.ranked).filter(|&(_, &grade)| grade > 0);
        let sum: f64 = (1u64..).zip(hits).map(|(nth, (rank, _))| ratio(nth, rank)).sum();
        if self.relevant.is_empty() { 0.0 } else { sum * ratio(1, self.relevant.len() as u64) }
    }

    fn found(&self, k: usize) -> u64 {
        self.ranked.iter().take(k).filter(|&&grade| grade > 0).count() as u64
    }
}

fn discounted_gain(grades: &[u32], k: usize) -> f64 {
    (2u32..).zip(grades.iter().take(k)).map(|(next_rank, &grade)| f64::from(grade) / f64::from(next_rank).log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(found: f64, expect: f64) {
        assert!((found - expect).abs() < 1e-12, "{found}, expected {expect}");
    }

    #[test]
    fn graded_ranking_by_hand() {
        let judged = Judgement::new(vec![0, 2, 0, 1], vec![1, 2, 1]);
        check(judged.hit(1), 0.0);
        check(judged.hit(3), 1.0);
        check(judged.recall(3), 1.0 / 3.0);
        check(judged.recall(5), 2.0 / 3.0);
        check(judged.precision(1), 0.0);
        check(judged.precision(5), 2.0 / 5.0);
        check(judged.reciprocal_rank(10), 0.5);
        check(judged.reciprocal_rank(1), 0.0);
        check(judged.average_precision(), (1.0 / 2.0 + 2.0 / 4.0) / 3.0);
        let gained = 2.0 / 3f64.log2() + 1.0 / 5f64.log2();
        let ideal = 2.0 + 1.0 / 3f64.log2() + 1.0 / 4f64.log2();
        check(judged.ndcg(10), gained / ideal);
    }

    #[test]
    fn complete_means_every_label() {
        let judged = Judgement::new(vec![1, 0, 0, 0, 0, 1], vec![1, 1]);
        check(judged.completeness(5), 0.0);
        check(judged.completeness(10), 1.0);
        check(Judgement::new(vec![0], vec![]).completeness(5), 0.0);
    }

    #[test]
    fn ideal_order_scores_one_and_nothing_ranked_scores_zero() {
        let ideal = Judgement::new(vec![3, 2, 1], vec![1, 2, 3]);
        let empty = Judgement::new(vec![], vec![1, 2, 3]);
        for (found, expect) in [(&ideal, 1.0), (&empty, 0.0)] {
            check(found.ndcg(10), expect);
            check(found.recall(5), expect);
            check(found.average_precision(), expect);
            check(found.reciprocal_rank(10), expect);
        }
    }

    #[test]
    fn what_lies_beyond_the_cut_does_not_count() {
        let mut grades = vec![0; 10];
        grades.push(1);
        let judged = Judgement::new(grades, vec![1]);
        check(judged.hit(10) + judged.recall(10) + judged.ndcg(10) + judged.reciprocal_rank(10), 0.0);
        check(judged.average_precision(), 1.0 / 11.0);
    }

    #[test]
    fn grade_zero_is_no_label() {
        let judged = Judgement::new(vec![0, 0], vec![0, 0]);
        assert!(!judged.in_scope());
        check(judged.ndcg(10), 0.0);
    }
}
