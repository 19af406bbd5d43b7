//! Texts to unit vectors, in batches.

use candle_core::{Device, Tensor};

use crate::digest::ModelDigest;
use crate::encoder::Encoder;
use crate::error::ModelError;
use crate::recipe::{Architecture, Pooling, Recipe};
use crate::tokenize::TextTokenizer;
use crate::vector::UnitVector;

/// What a text is to a search; some models want a different prefix for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TextRole {
    /// What is searched for: an intent.
    Query,
    /// What is found: a facet of a component.
    Document,
}

/// What a loaded model is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    /// The name it is installed under, or its folder's name.
    pub name: String,
    /// Equal digests give vectors that may be compared.
    pub digest: ModelDigest,
    /// The transformer family.
    pub architecture: Architecture,
    /// Values in a vector.
    pub dimension: usize,
    /// Tokens kept of a text, special ones counted.
    pub max_tokens: usize,
    /// How token states become one vector.
    pub pooling: Pooling,
    /// Put before a query.
    pub query_prefix: String,
    /// Put before a document.
    pub document_prefix: String,
    /// Bytes of the weights in memory.
    pub weight_bytes: u64,
}

/// Turns texts into unit vectors. Calls may come from several threads; each uses all cores for its arithmetic.
pub trait Embedder: Send + Sync {
    /// What this model is.
    fn info(&self) -> &ModelInfo;

    /// Token ids of `text` without any prefix, special tokens counted, cut to the limit: `[1..=max_tokens]`.
    ///
    /// # Errors
    /// [`ModelError::Tokenize`] and [`ModelError::NoTokens`]; no text is known to give either with a sound tokenizer.
    fn tokenize(&self, text: &str) -> Result<Vec<u32>, ModelError>;

    /// How many tokens [`Embedder::tokenize`] gives.
    ///
    /// # Errors
    /// As [`Embedder::tokenize`].
    fn count_tokens(&self, text: &str) -> Result<usize, ModelError> {
        self.tokenize(text).map(|ids| ids.len())
    }

    /// One unit vector a text, in the order of `texts`: `[texts][dimension]`. What else is in the batch changes a
    /// vector by rounding at most (cosine at least 0.99999). An empty text has a vector too.
    ///
    /// # Errors
    /// As [`Embedder::tokenize`]; [`ModelError::Forward`] and [`ModelError::BadVector`] when the arithmetic fails.
    fn embed(&self, texts: &[&str], role: TextRole) -> Result<Vec<UnitVector>, ModelError>;
}

/// A tokenizer, an encoder and a recipe.
pub(crate) struct SentenceEncoder {
    pub(crate) info: ModelInfo,
    pub(crate) tokenizer: TextTokenizer,
    pub(crate) encoder: Box<dyn Encoder>,
    pub(crate) recipe: Recipe,
    pub(crate) pad_token_id: u32,
    pub(crate) max_batch_tokens: usize,
}

impl Embedder for SentenceEncoder {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn tokenize(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        self.tokenizer.ids(text)
    }

    fn embed(&self, texts: &[&str], role: TextRole) -> Result<Vec<UnitVector>, ModelError> {
        let prefix = match role {
            TextRole::Query => &self.recipe.query_prefix,
            TextRole::Document => &self.recipe.document_prefix,
        };
        let ids = texts
            .iter()
            .map(|text| {
                if prefix.is_empty() {
                    self.tokenizer.ids(text)
                } else {
                    self.tokenizer.ids(&format!("{prefix}{text}"))
                }
            })
            .collect::<Result<Vec<_>, _>>()?;
        let lengths: Vec<usize> = ids.iter().map(Vec::len).collect();
        let mut vectors: Vec<Option<UnitVector>> = vec![None; texts.len()];
        for batch in batches(&lengths, self.max_batch_tokens) {
            let members: Vec<&[u32]> = batch.iter().map(|&text| ids[text].as_slice()).collect();
            for (&text, vector) in batch.iter().zip(self.forward(&members)?) {
                vectors[text] = Some(vector);
            }
        }
        Ok(vectors.into_iter().map(|vector| vector.expect("the batches hold each text once")).collect())
    }
}

impl SentenceEncoder {
    /// One forward pass over one batch, pooled and scaled.
    fn forward(&self, batch: &[&[u32]]) -> Result<Vec<UnitVector>, ModelError> {
        let width = batch.iter().map(|ids| ids.len()).max().unwrap_or_default();
        let states = self
            .states(batch, width)
            .map_err(|source| ModelError::Forward { texts: batch.len(), source: Box::new(source) })?;
        let dimension = self.recipe.dimension;
        states
            .chunks_exact(width * dimension)
            .zip(batch)
            .map(|(states, ids)| {
                UnitVector::new(pool(&states[..ids.len() * dimension], dimension, self.recipe.pooling))
            })
            .collect()
    }

    /// Token states: `[texts * width * dimension]`, row-major.
    fn states(&self, batch: &[&[u32]], width: usize) -> candle_core::Result<Vec<f32>> {
        let shape = (batch.len(), width);
        let mut padded = Vec::with_capacity(batch.len() * width);
        for ids in batch {
            padded.extend_from_slice(ids);
            padded.resize(padded.len() + width - ids.len(), self.pad_token_id);
        }
        let ids = Tensor::from_vec(padded, shape, &Device::Cpu)?;
        let mask = if batch.iter().all(|ids| ids.len() == width) {
            None
        } else {
            let mask: Vec<u32> =
                batch.iter().flat_map(|ids| (0..width).map(|token| u32::from(token < ids.len()))).collect();
            Some(Tensor::from_vec(mask, shape, &Device::Cpu)?)
        };
        self.encoder.forward(&ids, mask.as_ref())?.flatten_all()?.to_vec1()
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
