//! Transformer encoders over candle's tensors that are right in half precision too: `MPNet` ("`MPNet`: Masked and Permuted
//! Pre-training for Language Understanding", 2020), and BERT and `XLM-RoBERTa`, whose implementations in candle-transformers mask
//! padding with the least f32: an infinity in half precision, and infinity times zero is no number.
//!
//! `MPNet` differs from BERT in three things: there are no token types; positions count from `pad_id + 1`, as in `XLM-RoBERTa`; and
//! one table of relative attention bias, `[buckets, heads]`, is shared by all layers, with the bidirectional buckets of T5
//! ("Exploring the Limits of Transfer Learning", 2019, section 2.1).

use candle_core::{D, DType, Module, Result, Tensor};
use candle_nn::{Embedding, LayerNorm, Linear, VarBuilder, embedding, layer_norm, linear, ops::softmax_last_dim};

use super::Encoder;
use crate::load::{Activation, TransformerConfig};
use crate::recipe::Architecture;

/// Distances from here on share the last bucket.
const MAX_DISTANCE: f32 = 128.0;

/// What is added to a padded place's score: finite in half precision too, and far below any score.
const PADDING: f64 = -60_000.0;

pub(super) struct Transformer {
    word_embeddings: Embedding,
    position_embeddings: Embedding,
    /// That of the first type, `[1, dimension]`, where there are types.
    type_embedding: Option<Tensor>,
    embedding_norm: LayerNorm,
    layers: Vec<Layer>,
    /// `[buckets][heads]`; no buckets where places are not compared.
    bias: Vec<Vec<f32>>,
    /// The first token's.
    first_position: u32,
}

/// Where an attention's weights lie below `attention`.
struct Names {
    query: &'static str,
    key: &'static str,
    value: &'static str,
    output: &'static str,
    norm: &'static str,
}

impl Names {
    const fn of(architecture: Architecture) -> Self {
        match architecture {
            Architecture::Mpnet => {
                Self { query: "attn.q", key: "attn.k", value: "attn.v", output: "attn.o", norm: "LayerNorm" }
            }
            Architecture::Bert | Architecture::XlmRoberta => Self {
                query: "self.query",
                key: "self.key",
                value: "self.value",
                output: "output.dense",
                norm: "output.LayerNorm",
            },
        }
    }
}

struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    activation: Activation,
    dense: Linear,
    output_norm: LayerNorm,
    heads: usize,
}

impl Transformer {
    pub(super) fn load(config: &TransformerConfig, weights: &VarBuilder<'_>) -> Result<Self> {
        let (hidden, heads) = (config.hidden_size, config.num_attention_heads);
        let embeddings = weights.pp("embeddings");
        let encoder = weights.pp("encoder");
        let layers = (0..config.num_hidden_layers)
            .map(|index| Layer::load(config, &encoder.pp("layer").pp(index)))
            .collect::<Result<_>>()?;
        let (type_embedding, bias) = match config.architecture {
            Architecture::Mpnet => {
                let shape = (config.relative_attention_num_buckets, heads);
                let bias = encoder.get(shape, "relative_attention_bias.weight")?.to_dtype(DType::F32)?.to_vec2()?;
                (None, bias)
            }
            Architecture::Bert | Architecture::XlmRoberta => {
                let types = embeddings.get((config.type_vocab_size, hidden), "token_type_embeddings.weight")?;
                (Some(types.narrow(0, 0, 1)?), Vec::new())
            }
        };
        Ok(Self {
            word_embeddings: embedding(config.vocab_size, hidden, embeddings.pp("word_embeddings"))?,
            position_embeddings: embedding(
                config.max_position_embeddings,
                hidden,
                embeddings.pp("position_embeddings"),
            )?,
            type_embedding,
            embedding_norm: layer_norm(hidden, config.layer_norm_eps, embeddings.pp("LayerNorm"))?,
            layers,
            bias,
            first_position: match config.architecture {
                Architecture::Bert => 0,
                Architecture::Mpnet | Architecture::XlmRoberta => config.pad_token_id + 1,
            },
        })
    }

    /// The bias of each head for each pair of places: `[1, heads, tokens, tokens]`.
    fn attention_bias(&self, tokens: usize) -> Result<Tensor> {
        let heads = self.bias.first().map_or(0, Vec::len);
        let buckets = relative_bias_by_distance(self.bias.len(), tokens);
        let mut values = Vec::with_capacity(heads * tokens * tokens);
        for head in 0..heads {
            for query in 0..tokens {
                for key in 0..tokens {
                    values.push(self.bias[buckets[key + tokens - query]][head]);
                }
            }
        }
        Tensor::from_vec(values, (1, heads, tokens, tokens), self.word_embeddings.embeddings().device())?
            .to_dtype(self.word_embeddings.embeddings().dtype())
    }
}

/// The bucket of each distance from `-reach` to `reach - 1` places, among `buckets`: only the distance of a key from its
/// query matters.
pub(crate) fn relative_bias_by_distance(buckets: usize, reach: usize) -> Vec<usize> {
    (0..2 * reach).map(|offset| bucket(offset, reach, buckets)).collect()
}

/// The bucket of a key that lies `key_offset - origin` places after its query, among `buckets`.
fn bucket(key_offset: usize, origin: usize, buckets: usize) -> usize {
    let half = buckets / 2;
    let distance = key_offset.abs_diff(origin);
    let side = if key_offset > origin { half } else { 0 };
    // Half of a side's buckets are exact, the rest grow with the logarithm of the distance.
    let exact = half / 2;
    if distance < exact {
        return side + distance;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "distances and buckets are far under 2^24, and the original computes in f32"
    )]
    let far = {
        let growth = (distance as f32 / exact as f32).ln() / (MAX_DISTANCE / exact as f32).ln();
        (growth * (half - exact) as f32) as usize
    };
    side + (exact + far).min(half - 1)
}

impl Layer {
    fn load(config: &TransformerConfig, weights: &VarBuilder<'_>) -> Result<Self> {
        let (hidden, inner, eps) = (config.hidden_size, config.intermediate_size, config.layer_norm_eps);
        let attention = weights.pp("attention");
        let names = Names::of(config.architecture);
        Ok(Self {
            query: linear(hidden, hidden, attention.pp(names.query))?,
            key: linear(hidden, hidden, attention.pp(names.key))?,
            value: linear(hidden, hidden, attention.pp(names.value))?,
            output: linear(hidden, hidden, attention.pp(names.output))?,
            attention_norm: layer_norm(hidden, eps, attention.pp(names.norm))?,
            intermediate: linear(hidden, inner, weights.pp("intermediate").pp("dense"))?,
            activation: config.activation,
            dense: linear(inner, hidden, weights.pp("output").pp("dense"))?,
            output_norm: layer_norm(hidden, eps, weights.pp("output").pp("LayerNorm"))?,
            heads: config.num_attention_heads,
        })
    }

    /// states: `[texts, tokens, dimension]`; bias: added to the scores, `[texts or 1, heads or 1, tokens or 1, tokens]`.
    fn forward(&self, states: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let (texts, tokens, hidden) = states.dims3()?;
        let head_size = hidden / self.heads;
        let split = |projected: Tensor| {
            projected.reshape((texts, tokens, self.heads, head_size))?.transpose(1, 2)?.contiguous()
        };
        #[expect(clippy::cast_precision_loss, reason = "a head has far fewer than 2^52 values")]
        let scale = 1.0 / (head_size as f64).sqrt();
        let query = split((self.query.forward(states)? * scale)?)?;
        let key = split(self.key.forward(states)?)?;
        let value = split(self.value.forward(states)?)?;
        let scores = query.matmul(&key.t()?)?;
        let scores = bias.map_or(Ok(scores.clone()), |bias| scores.broadcast_add(bias))?;
        let context = softmax_last_dim(&scores)?.matmul(&value)?.transpose(1, 2)?.flatten_from(D::Minus2)?;
        let attended = self.attention_norm.forward(&(self.output.forward(&context)? + states)?)?;
        let inner = self.intermediate.forward(&attended)?;
        let inner = match self.activation {
            Activation::Gelu => inner.gelu_erf()?,
            Activation::GeluTanh => inner.gelu()?,
            Activation::Relu => inner.relu()?,
        };
        self.output_norm.forward(&(self.dense.forward(&inner)? + attended)?)
    }
}

impl Encoder for Transformer {
    fn forward(&self, ids: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        let (_texts, tokens) = ids.dims2()?;
        // Padding comes last, so that counting on over it changes no real token's place; its own states are never read.
        let last = self.first_position + u32::try_from(tokens).map_err(candle_core::Error::wrap)?;
        let positions = Tensor::arange(self.first_position, last, ids.device())?;
        let mut embedded =
            self.word_embeddings.forward(ids)?.broadcast_add(&self.position_embeddings.forward(&positions)?)?;
        if let Some(of_type) = &self.type_embedding {
            embedded = embedded.broadcast_add(of_type)?;
        }
        let mut states = self.embedding_norm.forward(&embedded)?;
        let mut bias = if self.bias.is_empty() { None } else { Some(self.attention_bias(tokens)?) };
        if let Some(mask) = mask {
            let padding = ((1.0 - mask.to_dtype(states.dtype())?)? * PADDING)?.unsqueeze(1)?.unsqueeze(1)?;
            bias = Some(match bias {
                Some(bias) => bias.broadcast_add(&padding)?,
                None => padding,
            });
        }
        for layer in &self.layers {
            states = layer.forward(&states, bias.as_ref())?;
        }
        Ok(states)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_those_of_t5() {
        // (key - query, bucket), from the definition: 8 exact, then 8 + floor(8 ln(d/8) / ln 16), at most 15.
        for (offset, expect) in [
            (0, 0),
            (-1, 1),
            (-7, 7),
            (-8, 8),
            (-11, 8),
            (-12, 9),
            (-16, 10),
            (-32, 12),
            (-64, 14),
            (-91, 15),
            (-500, 15),
            (1, 17),
            (7, 23),
            (8, 24),
            (127, 31),
            (500, 31),
        ] {
            assert_eq!(bucket(1000_usize.checked_add_signed(offset).unwrap(), 1000, 32), expect, "offset {offset}");
        }
    }
}
