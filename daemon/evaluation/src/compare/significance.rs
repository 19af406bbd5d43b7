//! The paired randomisation test: were the two systems the same, each query's difference could as well have the other sign.

use rand::Rng;

use crate::bootstrap::generator;
use crate::ratio;

/// Random assignments of signs.
const ROUNDS: u64 = 10_000;
/// Sums that differ by rounding alone are equal.
const SLACK: f64 = 1e-12;

/// Two-sided p-value of each column's sum. `columns`: for each figure, the differences of the queries, all of one length;
/// every column meets the same signs. A p-value is at least `1 / 10,001`, as the observed assignment counts as one.
pub(super) fn sign_flips(columns: &[Vec<f64>]) -> Vec<f64> {
    let observed: Vec<f64> = columns.iter().map(|column| column.iter().sum::<f64>().abs() - SLACK).collect();
    let changed: Vec<Vec<(usize, f64)>> = columns.iter().map(|column| non_zero(column)).collect();
    let n = columns.first().map_or(0, Vec::len);
    let mut as_large = vec![1; columns.len()];
    let mut random = generator();
    for _ in 0..ROUNDS {
        let signs: Vec<u64> = (0..n.div_ceil(64)).map(|_| random.next_u64()).collect();
        for ((column, observed), as_large) in changed.iter().zip(&observed).zip(&mut as_large) {
            *as_large += u64::from(signed_sum(column, &signs).abs() >= *observed);
        }
    }
    as_large.into_iter().map(|count| ratio(count, ROUNDS + 1)).collect()
}

fn non_zero(column: &[f64]) -> Vec<(usize, f64)> {
    column.iter().copied().enumerate().filter(|&(_, difference)| difference.abs() > 0.0).collect()
}

fn signed_sum(column: &[(usize, f64)], signs: &[u64]) -> f64 {
    let flipped = |query: usize| signs[query / 64] >> (query % 64) & 1 == 1;
    column.iter().map(|&(query, difference)| if flipped(query) { -difference } else { difference }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_systems_differ_by_chance_alone() {
        assert_eq!(sign_flips(&[vec![0.0; 40]]), [1.0]);
    }

    /// Of 2^n assignments, exactly two have a sum as large as that of n equal differences.
    #[test]
    fn few_queries_by_hand() {
        let found = sign_flips(&[vec![1.0; 5]])[0];
        assert!((found - 2.0 / 32.0).abs() < 0.01, "{found}");
        assert!((sign_flips(&[vec![0.3]])[0] - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_clear_difference_is_no_chance() {
        assert!(sign_flips(&[vec![0.1; 200]])[0] < 2e-4);
    }

    #[test]
    fn a_column_has_the_same_p_value_in_any_company() {
        let (one, two) = (vec![1.0, 0.0, 1.0, -1.0, 1.0, 1.0], vec![0.0, 1.0, 0.0, 0.0, -1.0, 0.0]);
        let both = sign_flips(&[one.clone(), two]);
        assert_eq!(sign_flips(&[one])[0].to_bits(), both[0].to_bits());
    }
}
