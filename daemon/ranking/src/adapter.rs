//! A linear query adapter: intents move towards the components that meet them, while every component's vector stays.

use ndarray::{Array2, ArrayView2, Axis, Slice};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::RankingError;
use crate::labels::LabelText;
use crate::optimize::{minimize, softmax_loss};
use crate::packed;

/// Cosines are scaled by this before the softmax: an inverse temperature.
const SCALE: f64 = 10.0;
/// `RIDGE * |shift|^2` is added to the mean loss, so that few labels move little.
const RIDGE: f64 = 0.02;
const ITERATIONS: u64 = 60;
/// Most numbers of the shift, those of 4,096 dimensions.
const MOST_NUMBERS: usize = 1 << 24;
/// The largest number of the shift: far beyond any that is learnt.
const MOST_VALUE: f32 = 1e3;

/// Adds `shift * q` to an intent's vector `q`.
///
/// Fitted contrastively: the softmax over the labelled components' centroids is to name the component that was asked for
/// (van den Oord et al., "Representation Learning with Contrastive Predictive Coding", 2018). Components without labels are
/// no negatives, so that nothing is pushed away from them for the lack of labels alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adapter {
    dimension: usize,
    /// [dimension, dimension]
    #[serde(with = "packed::floats")]
    shift: Vec<f32>,
}

/// A labelled intent and one of its components.
struct Pair<'a> {
    vector: &'a [f32],
    class: usize,
    weight: f64,
}

impl Adapter {
    /// centroids: of every component's facets, unit length, by the places that `labels` speak of; one without facets is empty
    /// and left out. Errors: a fit that fails.
    pub(crate) fn fit(centroids: &[Vec<f32>], labels: &[&LabelText]) -> Result<Self, RankingError> {
        const CHUNK: usize = 128;
        let mut classes: Vec<u32> = labels.iter().flat_map(|label| &label.relevant).map(|(place, _)| *place).collect();
        classes.retain(|&place| !centroids[place as usize].is_empty());
        classes.sort_unstable();
        classes.dedup();
        let mut pairs = Vec::new();
        for label in labels {
            let total: f32 = label.relevant.iter().map(|(_, grade)| grade).sum();
            for (place, grade) in &label.relevant {
                let Ok(class) = classes.binary_search(place) else { continue };
                pairs.push(Pair { vector: &label.vector, class, weight: f64::from(grade / total) });
            }
        }
        let dimension = pairs.first().map_or(0, |pair| pair.vector.len());
        let rows = |vectors: &mut dyn ExactSizeIterator<Item = &[f32]>| {
            let mut rows = Array2::<f64>::zeros((vectors.len(), dimension));
            for (mut row, vector) in rows.outer_iter_mut().zip(vectors) {
                row.iter_mut().zip(vector).for_each(|(to, &from)| *to = f64::from(from));
            }
            rows
        };
        let queries = rows(&mut pairs.iter().map(|pair| pair.vector));
        let components = rows(&mut classes.iter().map(|&place| &centroids[place as usize][..]));
        let still = queries.dot(&components.t()) * SCALE;
        let total: f64 = pairs.iter().map(|pair| pair.weight).sum();
        let evaluate = |place: &[f64]| {
            let shift = ArrayView2::from_shape((dimension, dimension), place).expect("the place is a square");
            // The components as the moved intents see them.
            let seen = components.dot(&shift) * SCALE;
            let parts: Vec<(f64, Array2<f64>)> = pairs
                .par_chunks(CHUNK)
                .enumerate()
                .map(|(chunk, of_chunk)| {
                    let rows = Slice::from(chunk * CHUNK..chunk * CHUNK + of_chunk.len());
                    let queries = queries.slice_axis(Axis(0), rows);
                    let mut logits = queries.dot(&seen.t()) + still.slice_axis(Axis(0), rows);
                    let mut loss = 0.0;
                    for (mut row, pair) in logits.outer_iter_mut().zip(of_chunk) {
                        let row = row.as_slice_mut().expect("a fresh product lies row by row");
                        loss += softmax_loss(row, pair.class, pair.weight / total);
                    }
                    (loss, logits.t().dot(&queries))
                })
                .collect();
            let mut by_component = Array2::<f64>::zeros((classes.len(), dimension));
            let mut loss = RIDGE * place.iter().map(|value| value * value).sum::<f64>();
            for (of_chunk, by_part) in parts {
                loss += of_chunk;
                by_component += &by_part;
            }
            let gradient = components.t().dot(&by_component) * SCALE;
            (loss, gradient.iter().zip(place).map(|(value, at)| value + 2.0 * RIDGE * at).collect())
        };
        let found = minimize(vec![0.0; dimension * dimension], ITERATIONS, evaluate)?;
        #[expect(clippy::cast_possible_truncation, reason = "a shift needs no more than single precision")]
        let shift = found.iter().map(|&value| value as f32).collect();
        Ok(Self { dimension, shift })
    }

    /// Errors: numbers that do not fit each other, or the labels' dimension.
    pub(crate) fn check(&self, dimension: usize) -> Result<(), RankingError> {
        let fits = self.dimension == dimension
            && self.dimension.checked_mul(self.dimension) == Some(self.shift.len())
            && self.shift.len() <= MOST_NUMBERS
            && self.shift.iter().all(|value| value.abs() <= MOST_VALUE);
        if fits { Ok(()) } else { Err(RankingError::Damaged("the query adapter does not match the labels".into())) }
    }

    /// An intent's vector after the move, unit length; `None` for a vector of another dimension, which is of another model.
    ///
    /// vector: [dimension], unit length. dot: of two vectors of the same length.
    pub fn adapt(&self, vector: &[f32], dot: fn(&[f32], &[f32]) -> f32) -> Option<Vec<f32>> {
        if vector.is_empty() || vector.len() != self.dimension {
            return None;
        }
        let rows = self.shift.chunks_exact(self.dimension);
        let mut moved: Vec<f32> = rows.zip(vector).map(|(row, value)| value + dot(row, vector)).collect();
        let norm = dot(&moved, &moved).sqrt();
        if !norm.is_finite() || norm < 1e-6 {
            return None;
        }
        for value in &mut moved {
            *value /= norm;
        }
        Some(moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::dot;

    /// Those who want component 0 speak along the third axis, those who want component 1 along the fourth.
    fn fitted() -> (Adapter, Vec<Vec<f32>>) {
        let centroids = vec![vec![1.0, 0.0, 0.0, 0.0], vec![0.0, 1.0, 0.0, 0.0], vec![0.6, 0.8, 0.0, 0.0], Vec::new()];
        let label = |at: usize| {
            let mut vector = vec![0.0; 4];
            vector[2 + at % 2] = 1.0;
            LabelText { vector, words: Vec::new(), relevant: vec![(u32::from(at % 2 == 1), 1.0)] }
        };
        let mut labels: Vec<LabelText> = (0..20).map(label).collect();
        // A component without facets cannot be moved towards.
        labels.push(LabelText { vector: vec![0.5; 4], words: Vec::new(), relevant: vec![(3, 1.0)] });
        let labels: Vec<&LabelText> = labels.iter().collect();
        (Adapter::fit(&centroids, &labels).expect("can be fitted"), centroids)
    }

    #[test]
    fn intents_move_towards_what_met_them() {
        let (adapter, centroids) = fitted();
        assert_eq!(adapter.check(4), Ok(()));
        for (asked, right, wrong) in [([0.0, 0.0, 1.0, 0.0], 0, 1), ([0.0, 0.0, 0.0, 1.0], 1, 0)] {
            let moved = adapter.adapt(&asked, dot).expect("of the same dimension");
            assert!((dot(&moved, &moved) - 1.0).abs() < 1e-5, "unit length");
            assert!(dot(&moved, &centroids[right]) > 0.2 + dot(&moved, &centroids[wrong]), "{moved:?}");
        }
    }

    #[test]
    fn what_labels_say_nothing_of_stays_where_it_is() {
        let (adapter, _) = fitted();
        let moved = adapter.adapt(&[1.0, 0.0, 0.0, 0.0], dot).expect("of the same dimension");
        assert!(moved[0] > 0.999, "{moved:?}");
        assert_eq!(adapter.adapt(&[1.0; 3], dot), None, "of another model");
    }

    #[test]
    fn nothing_to_learn_is_no_failure_and_damage_is_seen() {
        let nothing = Adapter::fit(&[], &[]).expect("nothing to fit");
        assert_eq!((nothing.check(0), nothing.adapt(&[], dot)), (Ok(()), None));
        let (adapter, _) = fitted();
        assert!(adapter.check(5).is_err());
        assert!(Adapter { shift: vec![0.0; 15], ..adapter.clone() }.check(4).is_err());
        assert!(Adapter { shift: vec![f32::NAN; 16], ..adapter }.check(4).is_err());
    }
}
