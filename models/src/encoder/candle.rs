//! candle's forward: the reference, the way to a GPU, and what runs a shape that Fitment's own encoder does not pack.

use candle_core::{DType, Device, Tensor};

use super::Encoder;
use crate::recipe::Pooling;

/// A candle encoder with padding, mask and pooling about it.
pub(crate) struct CandleEncoder {
    pub(crate) encoder: Box<dyn Encoder>,
    pub(crate) device: Device,
    pub(crate) pooling: Pooling,
    pub(crate) dimension: usize,
    pub(crate) pad_token_id: u32,
    pub(crate) max_batch_tokens: usize,
}

impl CandleEncoder {
    /// Pooled states of `texts`, `[dimension]` each, handed to `take` with their text's number, in any order.
    pub(crate) fn encode(&self, texts: &[&[u32]], mut take: impl FnMut(usize, &[f32])) -> candle_core::Result<()> {
        let lengths: Vec<usize> = texts.iter().map(|ids| ids.len()).collect();
        for batch in batches(&lengths, self.max_batch_tokens) {
            let members: Vec<&[u32]> = batch.iter().map(|&text| texts[text]).collect();
            let width = members.iter().map(|ids| ids.len()).max().unwrap_or_default();
            let states = self.states(&members, width)?;
            for ((&text, ids), states) in batch.iter().zip(members).zip(states.chunks_exact(width * self.dimension)) {
                take(text, &pool(&states[..ids.len() * self.dimension], self.dimension, self.pooling));
            }
        }
        Ok(())
    }

    /// Token states: `[texts * width * dimension]`, row-major.
    fn states(&self, batch: &[&[u32]], width: usize) -> candle_core::Result<Vec<f32>> {
        let shape = (batch.len(), width);
        let mut padded = Vec::with_capacity(batch.len() * width);
        for ids in batch {
            padded.extend_from_slice(ids);
            padded.resize(padded.len() + width - ids.len(), self.pad_token_id);
        }
        let ids = Tensor::from_vec(padded, shape, &self.device)?;
        let mask = if batch.iter().all(|ids| ids.len() == width) {
            None
        } else {
            let mask: Vec<u32> =
                batch.iter().flat_map(|ids| (0..width).map(|token| u32::from(token < ids.len()))).collect();
            Some(Tensor::from_vec(mask, shape, &self.device)?)
        };
        self.encoder.forward(&ids, mask.as_ref())?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
    }
}

/// Pools token states `[tokens * dimension]`, at least one token, into `[dimension]`.
fn pool(states: &[f32], dimension: usize, pooling: Pooling) -> Vec<f32> {
    match pooling {
        Pooling::Cls => states[..dimension].to_vec(),
        // The sum has the mean's direction, and only the direction is kept.
        Pooling::Mean => {
            let mut sums = vec![0.0_f64; dimension];
            for state in states.chunks_exact(dimension) {
                for (sum, &value) in sums.iter_mut().zip(state) {
                    *sum += f64::from(value);
                }
            }
            #[expect(clippy::cast_precision_loss, reason = "a text has far fewer than 2^52 tokens")]
            let tokens = (states.len() / dimension) as f64;
            #[expect(clippy::cast_possible_truncation, reason = "a mean of f32 values rounded to the nearest f32")]
            sums.into_iter().map(|sum| (sum / tokens) as f32).collect()
        }
        Pooling::Max => {
            let mut greatest = states[..dimension].to_vec();
            for state in states.chunks_exact(dimension) {
                for (greatest, &value) in greatest.iter_mut().zip(state) {
                    *greatest = greatest.max(value);
                }
            }
            greatest
        }
    }
}

/// Texts of equal or nearly equal length together: padding adds an eighth of a text at most, and a batch's padded
/// tokens stay within `max_tokens` (a longer single text goes alone).
fn batches(lengths: &[usize], max_tokens: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&text| lengths[text]);
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for text in order {
        let length = lengths[text];
        match batches.last_mut() {
            Some(batch)
                if length - lengths[batch[0]] <= lengths[batch[0]] / 8 && (batch.len() + 1) * length <= max_tokens =>
            {
                batch.push(text);
            }
            _ => batches.push(vec![text]),
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools() {
        let states = [1.0, -2.0, 3.0, 4.0];
        assert_eq!(pool(&states, 2, Pooling::Mean), [2.0, 1.0]);
        assert_eq!(pool(&states, 2, Pooling::Cls), [1.0, -2.0]);
        assert_eq!(pool(&states, 2, Pooling::Max), [3.0, 4.0]);
    }

    #[test]
    fn batches_hold_each_text_once_within_the_bound() {
        let lengths = [5, 300, 5, 16, 17, 2, 300, 18, 19, 300, 5];
        let batches = batches(&lengths, 600);
        let mut seen: Vec<usize> = batches.iter().flatten().copied().collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
        for batch in &batches {
            let of: Vec<usize> = batch.iter().map(|&text| lengths[text]).collect();
            let (first, last) = (of[0], of[of.len() - 1]);
            assert!(last - first <= first / 8, "{of:?}");
            assert!(of.len() == 1 || of.len() * last <= 600, "{of:?}");
        }
        assert!(batches.iter().any(|batch| batch.len() == 3));
    }
}
