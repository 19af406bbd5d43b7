//! Vectors of length one.

use crate::error::ModelError;

/// A vector of length one: the only form in which an embedding leaves this crate.
///
/// Holding one proves that its values are finite and not all zero, so that a dot product of two is their cosine.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitVector(Box<[f32]>);

impl UnitVector {
    /// Scales `values` to length one; the sum is taken in f64.
    ///
    /// # Errors
    /// [`ModelError::BadVector`] when there is no value, a value is NaN or infinite, or all are zero.
    pub fn new(values: impl Into<Box<[f32]>>) -> Result<Self, ModelError> {
        let mut values = values.into();
        let dimension = values.len();
        let refuse = |reason| Err(ModelError::BadVector { dimension, reason });
        if values.iter().any(|value| !value.is_finite()) {
            return refuse("holds NaN or an infinity");
        }
        let norm = values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
        if norm == 0.0 {
            return refuse(if dimension == 0 { "is empty" } else { "is all zero" });
        }
        for value in &mut values {
            #[expect(clippy::cast_possible_truncation, reason = "a value of -1..=1 rounded to the nearest f32")]
            {
                *value = (f64::from(*value) / norm) as f32;
            }
        }
        Ok(Self(values))
    }

    /// The values: `[dimension]`, each -1..=1, squares summing to one up to rounding.
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }

    /// The number of values.
    pub fn dimension(&self) -> usize {
        self.0.len()
    }

    /// The values, given away.
    pub fn into_inner(self) -> Box<[f32]> {
        self.0
    }

    /// Cosine of the angle to `other`, -1..=1, summed in f64; zero when the dimensions differ.
    pub fn cosine(&self, other: &Self) -> f64 {
        if self.dimension() != other.dimension() {
            return 0.0;
        }
        let dot: f64 = self.0.iter().zip(&other.0).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
        dot.clamp(-1.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_to_length_one() {
        let vector = UnitVector::new(vec![3.0, 4.0]).unwrap();
        assert_eq!(vector.as_slice(), [0.6, 0.8]);
        assert!((vector.cosine(&vector) - 1.0).abs() < 1e-7);
    }

    #[test]
    fn keeps_the_extremes_of_f32() {
        for value in [f32::MAX, f32::MIN_POSITIVE, 1e-45] {
            assert_eq!(UnitVector::new(vec![value, 0.0]).unwrap().as_slice(), [1.0, 0.0]);
        }
    }

    #[test]
    fn refuses_what_has_no_direction() {
        for values in [vec![], vec![0.0, -0.0], vec![1.0, f32::NAN], vec![f32::INFINITY]] {
            assert!(matches!(UnitVector::new(values), Err(ModelError::BadVector { .. })));
        }
    }
}
