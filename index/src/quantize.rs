//! int8 codes of unit vectors, coarse and fine.
//!
//! Symmetric, one scale a row: `code = round(x / scale)`, `scale = max|x| / 127`. The dot product of two coded 384-d unit
//! vectors is within about 0.003 of the true one, so what a search finds by codes is re-scored by `code + fine / 254`, where
//! `fine` is the code of what rounding left over: 16 bits a number, within 2e-5 of the true dot product (384 numbers: some 2e-6), in half of f32's memory.

use crate::error::IndexError;
use crate::kernels::{CODE_ALIGN, kernels};

/// Fine codes between two codes.
pub(crate) const FINE_STEPS: f32 = 254.0;
/// How far from 1 the length of a unit vector may be.
const UNIT_TOLERANCE: f64 = 1e-3;

/// A query as a search needs it: padded f32 and its codes.
pub(crate) struct Query {
    /// Padded to `CODE_ALIGN`.
    pub(crate) vector: Vec<f32>,
    /// Padded to `CODE_ALIGN`.
    pub(crate) codes: Vec<i8>,
    pub(crate) scale: f32,
}

impl Query {
    /// The approximate cosine with itself: 1 but for what coding lost.
    pub(crate) fn self_score(&self) -> f32 {
        approximate(kernels().dot_i8(&self.codes, &self.codes), self.scale, self.scale)
    }

    /// Checks and codes a query.
    pub(crate) fn new(vector: &[f32], dimension: usize) -> Result<Self, IndexError> {
        let norm = check_unit(vector, dimension)?;
        let mut padded: Vec<f32> = vector.iter().map(|x| x / norm).collect();
        let stride = dimension.next_multiple_of(CODE_ALIGN);
        let (mut codes, mut fine) = (vec![0; stride], vec![0; stride]);
        let scale = encode(&padded, &mut codes, &mut fine);
        padded.resize(stride, 0.0);
        Ok(Self { vector: padded, codes, scale })
    }
}

/// Refuses what must never reach an index: another dimension, NaN, infinities, zero, and lengths other than 1.
/// Returns the length, so that the caller can take the last rounding off.
pub(crate) fn check_unit(vector: &[f32], dimension: usize) -> Result<f32, IndexError> {
    if vector.len() != dimension {
        return Err(IndexError::Dimension { expected: dimension, actual: vector.len() });
    }
    if let Some((position, &value)) = vector.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        return Err(IndexError::NotFinite { position, value });
    }
    let norm = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    let within = (norm - 1.0).abs() <= UNIT_TOLERANCE;
    #[expect(clippy::cast_possible_truncation, reason = "a length of about 1 loses its last digits only")]
    let norm = norm as f32;
    if within { Ok(norm) } else { Err(IndexError::NotUnit { norm }) }
}

/// Codes `vector` into the front of `codes` and what is left of it into `fine`, leaves the padding as it is, and returns the
/// scale (above 0).
pub(crate) fn encode(vector: &[f32], codes: &mut [i8], fine: &mut [i8]) -> f32 {
    let largest = vector.iter().fold(0f32, |largest, x| largest.max(x.abs()));
    let scale = (largest / 127.0).max(f32::MIN_POSITIVE);
    for ((code, fine), &x) in codes.iter_mut().zip(fine).zip(vector) {
        let (quotient, nearest) = (x / scale, (x / scale).round());
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the quotient is within -127..=127 by the choice of scale, what is left of it within half of one"
        )]
        {
            *code = nearest as i8;
            *fine = ((quotient - nearest) * FINE_STEPS).round() as i8;
        }
    }
    scale
}

/// What [`encode`] was given, up to rounding; one number for each code.
pub(crate) fn decode(codes: &[i8], fine: &[i8], scale: f32) -> Vec<f32> {
    codes.iter().zip(fine).map(|(&code, &fine)| (f32::from(code) + f32::from(fine) / FINE_STEPS) * scale).collect()
}

/// A dot product of codes as an approximate cosine.
#[inline]
#[expect(clippy::cast_precision_loss, reason = "an approximation by nature; the loss is below 1e-7")]
pub(crate) fn approximate(dot: i32, query_scale: f32, row_scale: f32) -> f32 {
    dot as f32 * (query_scale * row_scale)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bad_vectors_are_refused() {
        assert!(matches!(check_unit(&[1.0], 2), Err(IndexError::Dimension { expected: 2, actual: 1 })));
        assert!(matches!(check_unit(&[1.0, f32::NAN], 2), Err(IndexError::NotFinite { position: 1, .. })));
        assert!(matches!(check_unit(&[f32::INFINITY, 0.0], 2), Err(IndexError::NotFinite { position: 0, .. })));
        assert!(matches!(check_unit(&[0.0, 0.0], 2), Err(IndexError::NotUnit { .. })));
        assert!(matches!(check_unit(&[1.0, 1.0], 2), Err(IndexError::NotUnit { .. })));
        assert!(matches!(check_unit(&[f32::MAX, f32::MAX], 2), Err(IndexError::NotUnit { .. })));
        assert!(check_unit(&[0.6, 0.8], 2).is_ok());
        assert!(check_unit(&[0.6, 0.8005], 2).is_ok());
    }

    #[test]
    fn codes_keep_the_largest_at_127() {
        let (mut codes, mut fine) = ([9i8; 4], [9i8; 4]);
        let scale = encode(&[0.6, -0.8, 0.0], &mut codes, &mut fine);
        assert_eq!((codes, fine), ([95, -127, 0, 9], [64, 0, 0, 9]));
        assert!((scale - 0.8 / 127.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn what_is_decoded_is_what_was_coded(vector in prop::collection::vec(-1f32..1.0, 1..40)) {
            let (mut codes, mut fine) = (vec![0; vector.len()], vec![0; vector.len()]);
            let scale = encode(&vector, &mut codes, &mut fine);
            for (x, y) in vector.iter().zip(decode(&codes, &fine, scale)) {
                // Half a fine step, and the rounding of f32.
                prop_assert!((x - y).abs() <= scale * (0.5 / FINE_STEPS + 1e-4), "{x} {y}");
            }
        }
    }
}
