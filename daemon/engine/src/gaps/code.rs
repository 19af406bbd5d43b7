//! Vectors in a byte a value: small enough to keep many, near enough to group them.

/// A unit vector, each value in 1/127 of the largest one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Code {
    values: Box<[i8]>,
    scale: f32,
}

impl Code {
    /// vector: [dimension], finite.
    pub(crate) fn of(vector: &[f32]) -> Self {
        let largest = vector.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        #[expect(clippy::cast_possible_truncation, reason = "within -127..=127 by the scale")]
        let values = vector.iter().map(|value| (value / scale).round() as i8).collect();
        Self { values, scale }
    }

    /// The vector, of length 1.
    pub(crate) fn vector(&self) -> Vec<f32> {
        let values: Vec<f32> = self.values.iter().map(|&value| f32::from(value) * self.scale).collect();
        unit(values)
    }

    /// Scale, little-endian, then the values.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.scale.to_le_bytes().to_vec();
        bytes.extend_from_slice(bytemuck::cast_slice(&self.values));
        bytes
    }

    /// `None`: the bytes are none of a vector of this dimension.
    pub(crate) fn from_bytes(bytes: &[u8], dimension: usize) -> Option<Self> {
        let (scale, values) = bytes.split_first_chunk::<4>()?;
        let scale = f32::from_le_bytes(*scale);
        (values.len() == dimension && scale.is_finite() && scale > 0.0)
            .then(|| Self { values: bytemuck::cast_slice(values).into(), scale })
    }
}

/// A vector stretched to length 1; one of length 0 stays.
pub(super) fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        for value in &mut vector {
            *value /= length;
        }
    }
    vector
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_code_is_near_its_vector_and_survives_its_bytes(values in prop::collection::vec(-1.0f32..1.0, 8..64)) {
            prop_assume!(values.iter().any(|value| value.abs() > 1e-3));
            let vector = unit(values);
            let code = Code::of(&vector);
            let cosine: f32 = code.vector().iter().zip(&vector).map(|(a, b)| a * b).sum();
            prop_assert!(cosine > 0.999, "{cosine}");
            prop_assert_eq!(Code::from_bytes(&code.to_bytes(), vector.len()), Some(code.clone()));
            prop_assert_eq!(Code::from_bytes(&code.to_bytes(), vector.len() + 1), None);
        }
    }
}
